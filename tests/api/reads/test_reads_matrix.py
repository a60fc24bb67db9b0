"""The matrix: every root field and every type of the schema, for every kind of caller, one table, nothing by default.

A letter is who sees something there, or may do it: Admin, Finance, Desk, Partner, Mpartner with `money:read`, and of
members the one it belongs to (Self) and any Other. A field or type the tables do not name fails the test that looks for
it; a caller whose letter is not there is told what is told of a thing that does not exist.
"""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from graphql import Executor, GraphQLError, create_source_event_stream, get_named_type, is_leaf_type, parse

from models.rules.pricing import Integration, MembershipKind
from models.rules.refusals import Refusal
from models.rules.states import Role
from models.tables.membership import MembershipType, PaymentOption
from resolvers.may import MAY
from resolvers.permissions import Audience
from resolvers.reads.ids import encode
from resolvers.reads.meaning import ENTITIES
from resolvers.viewer import Viewer
from schema.root import schema

CORE: Any = schema._schema
CALLERS = {
    "A": "admin",
    "F": "finance",
    "D": "desk",
    "P": "partner",
    "M": "partner_money",
    "S": "member",
    "O": "other member",
}
EVERYBODY = "AFDPMSO"
UNKNOWN = UUID(int=404_404)

# type: (a row of it, who sees that one); what belongs to a member is Ann's here, but what only Ben has
TYPES: dict[str, tuple[int, str]] = {
    "AccessToken": (95, "AFDPMS"),
    "Allocation": (103, "AFDMO"),
    "AllocationShare": (104, "AFDMO"),
    "ApiKey": (117, "A"),
    "Attendance": (90, "AFDPMS"),
    "AuditEntry": (116, "AF"),
    "BillingPolicy": (0, "AFD"),
    "Booking": (86, "AFDPMS"),
    "BookingLine": (84, "AFDPMS"),
    "CardSubscription": (75, "AFDMO"),
    "Centre": (41, EVERYBODY),
    "ClassSession": (81, EVERYBODY),
    "ClassType": (52, EVERYBODY),
    "Correction": (106, "AFDM"),
    "Course": (80, EVERYBODY),
    "CourseMapping": (56, "AFDPM"),
    "Coverage": (55, EVERYBODY),
    "CreditEntry": (87, "AFDPMS"),
    "Drift": (57, "AFD"),
    "ExternalLink": (11, "AFDPMS"),
    "Invoice": (100, "AFDMO"),
    "InvoiceItem": (101, "AFDMO"),
    "Job": (110, "AFDPMS"),
    "LedgerEntry": (106, "AF"),
    "Mandate": (60, "AFDMS"),
    "Membership": (61, "AFDPMS"),
    "MembershipType": (53, EVERYBODY),
    "Notification": (21, "AFDS"),
    "Package": (85, "AFDPMS"),
    "PackageOffer": (79, EVERYBODY),
    "Payment": (70, "AFDMS"),
    "PaymentOption": (54, EVERYBODY),
    "PriceOverride": (51, EVERYBODY),
    "PricingOption": (50, EVERYBODY),
    "ProbeRun": (112, "AD"),
    "ProviderSetting": (118, "A"),
    "Refund": (71, "AFDMS"),
    "ReviewItem": (36, "AFD"),
    "SettingGroup": (40, EVERYBODY),
    "Shipment": (105, "AFM"),
    "User": (1, "AFDPMS"),
    "UserField": (30, EVERYBODY),
    "WaitingPlace": (97, "AFDPMS"),
    "WebhookEndpoint": (113, "A"),
    "WebhookEvent": (115, "A"),
    "WebhookMessage": (114, "A"),
}


def the(type_name: str, key: UUID | None = None) -> str:
    """The row of the table above, or another of its type."""
    return encode(type_name, key or UUID(int=TYPES[type_name][0]))


# root: (its arguments, who is told something); rows are those of the table above
QUERIES: dict[str, tuple[str, str]] = {
    "viewer": ("", EVERYBODY),
    "node": (f'id: "{the("Payment")}"', "AFDMS"),
    "nodes": (f'ids: ["{the("Payment")}"]', "AFDMS"),
    "user": (f'by: {{id: "{the("User")}"}}', "AFDPMS"),
    "users": ("", EVERYBODY),
    "userFields": ("", EVERYBODY),
    "reviewItems": ("", "AFD"),
    "membershipType": (f'id: "{the("MembershipType")}"', EVERYBODY),
    "membershipTypes": ("", EVERYBODY),
    "membership": (f'id: "{the("Membership")}"', "AFDPMS"),
    "memberships": ("", EVERYBODY),
    "pricingOption": (f'id: "{the("PricingOption")}"', EVERYBODY),
    "pricingOptions": ("", EVERYBODY),
    "priceAt": (f'pricingOptionId: "{the("PricingOption")}", centreId: "{the("Centre")}", on: "2026-01-05"', EVERYBODY),
    "bookingQuotes": (f'courseId: "{the("Course")}", userId: "{the("User")}"', "AFDPMS"),
    "explain": (f'id: "{the("Booking")}"', "AFDPMS"),
    "whyNot": (f'courseId: "{the("Course")}", userId: "{the("User")}", method: MEMBERSHIP', "AFDPMS"),
    "mappingSheet": ("", "AFDPM"),
    "mappingSheetCsv": ("", "AFDPM"),
    "courseMappings": ("", "AFDPM"),
    "drifts": ("", "AFD"),
    "mayEnter": (f'userId: "{the("User")}", centreId: "{the("Centre")}"', "AFDPMS"),
    "centres": ("", EVERYBODY),
    "course": (f'id: "{the("Course")}"', EVERYBODY),
    "courses": ("", EVERYBODY),
    "booking": (f'id: "{the("Booking")}"', "AFDPMS"),
    "bookings": ("", "AFDPMS"),
    "package": (f'id: "{the("Package")}"', "AFDPMS"),
    "packages": ("", "AFDPMS"),
    "packageOffer": (f'id: "{the("PackageOffer")}"', EVERYBODY),
    "packageOffers": ("", EVERYBODY),
    "invoice": (f'by: {{id: "{the("Invoice")}"}}', "AFDMO"),
    "invoices": ("", "AFDMO"),
    "cardSubscription": (f'id: "{the("CardSubscription")}"', "AFDMO"),
    "cardSubscriptions": ("", "AFDMO"),
    "corrections": ("", "AFDM"),
    "revenueReport": ('from: "2026-01-01", to: "2026-02-01", by: PERIOD', "AF"),
    "payment": (f'by: {{id: "{the("Payment")}"}}', "AFDMS"),
    "payments": ("", "AFDMS"),
    "billingPolicy": ("", "AFD"),
    "ledgerEntries": ("", "AF"),
    "moneyProof": (f'about: "{the("Payment")}"', "AFS"),
    "mandates": ("", "AFDMS"),
    "job": (f'id: "{the("Job")}"', "AFDPMS"),
    "jobs": ("", "AFDPMS"),
    "webhookEvents": ("", "A"),
    "webhookEndpoints": ("", "A"),
    "webhookMessages": ("", "A"),
    "accessTokens": ("", "AFDPMS"),
    "providerSettings": ("", "A"),
    "integrationReadiness": ("", "AD"),
    "probeRuns": ("", "AD"),
    "apiKeys": ("", "A"),
    "auditTrail": (f'subjectId: "{the("CardSubscription")}"', "AF"),
}

# who may: what they may do; a member for itself
MUTATIONS: dict[str, str] = {
    "A": """
        advanceClock cancelJob cloneMembershipTypeForFrequency configureCoursePro configureProvider createApiKey
        createCentre createMembershipType createPackageOffer createPricingOption createSettingGroup
        removeUserField replayWebhook retryJob revokeApiKey rotateApiKey runIntegrationProbe setPriceOverride
        setUserField updateCentre updateMembershipType updatePricingOption
    """,
    "AD": """
        cancelMembership completeMembership createCourse deleteClassSession grantPackage mapCourse markAttendance
        reinstateMembership suspendMembership syncMembership syncUsers updateCourse
    """,
    "ADP": """
        claimRecord createUser signUp startMembership
    """,
    "ADPS": """
        bookCourse buyPackage cancelBooking createPaymentLink joinWaitingList leaveWaitingList moveBooking
        startDirectDebit
    """,
    "ADS": """
        updateUser
    """,
    "AF": """
        allocateInvoice applyCorrection billOffInvoice collectPayment configureBilling dismissCorrection
        refundPayment repairDrift reportDrift retryPayment settleArrears shipInvoice
    """,
    "AFD": """
        chooseInvoice linkSubscription linkUser settleReview unlinkUser
    """,
    "AFDS": """
        cancelMandate
    """,
    "AP": """
        createWebhookEndpoint disableWebhookEndpoint enableWebhookEndpoint redeliverWebhook redeliverWebhooks
        rotateWebhookSecret sendTestWebhook updateWebhookEndpoint
    """,
    "AFDP": """
        invoicesExport membershipsExport usersExport
    """,
}

# subscription: the type whose events it tells; `events` tells those of all, each to who sees its row
SUBSCRIPTIONS: dict[str, tuple[str, str]] = {
    "membershipStatusChanged": ("membershipId", "Membership"),
    "bookingUpdated": ("bookingId", "Booking"),
    "waitingPlaceUpdated": ("waitingPlaceId", "WaitingPlace"),
    "paymentUpdated": ("paymentId", "Payment"),
    "invoiceUpdated": ("invoiceId", "Invoice"),
    "jobUpdated": ("id", "Job"),
}


@pytest.fixture(scope="module", autouse=True)
async def sold_at_coursepro(ask: Any) -> None:
    """Something for the sheet of what is entered in CoursePro."""
    terms: dict[str, Any] = {"integration": Integration.COURSEPRO_COURSE, "kind": MembershipKind.ONGOING}
    lessons = await MembershipType.create(id=UUID(int=58), name="Lessons", **terms)
    await PaymentOption.create(membership_type_id=lessons.id, pricing_option_id=UUID(int=50), coursepro=True)


def test_nothing_of_the_schema_is_forgotten() -> None:
    done = [name for names in MUTATIONS.values() for name in names.split()]
    assert ENTITIES.keys() == TYPES.keys()
    assert CORE.query_type.fields.keys() == QUERIES.keys()
    assert sorted(CORE.mutation_type.fields) == sorted(done)
    assert CORE.subscription_type.fields.keys() == SUBSCRIPTIONS.keys() | {"events"}
    assert set(Role) == {Role.MEMBER, Role.FRONT_DESK, Role.FINANCE, Role.ADMIN, Role.PARTNER}
    assert len(Audience) + 1 == len(CALLERS)


def test_who_may_do_what_is_as_the_table_says() -> None:
    letters = {Role.ADMIN: "A", Role.FINANCE: "F", Role.FRONT_DESK: "D", Role.PARTNER: "P", Role.MEMBER: "S"}
    for who, names in MUTATIONS.items():
        for name in names.split():
            verb = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
            assert {letters[role] for role in MAY[verb]} == set(who), name


async def told(ask: Any, query: str, caller: str) -> tuple[Any, list[str]]:
    """What is answered -> (the root's value, the codes of the errors)."""
    data, errors = await ask.result(query, caller)
    codes = [getattr(getattr(error, "original_error", None), "code", error.message) for error in errors]
    return (data or {}).get("it"), codes


def something(value: Any, *, empty_tells: bool) -> bool:
    """Whether a value tells of any row; a list that may be null tells of one by being there."""
    if isinstance(value, list) and empty_tells:
        return True
    if isinstance(value, dict) and "totalCount" in value:
        return bool(value["totalCount"])
    if isinstance(value, str):
        return len(value.splitlines()) > 1  # a sheet has a line of names
    return any(each is not None for each in value) if isinstance(value, list) else value is not None


def asking(root: str, arguments: str) -> str:
    """A query for as little of a root as tells whether there is something."""
    inner = get_named_type(CORE.query_type.fields[root].type)
    chosen = "totalCount" if "totalCount" in getattr(inner, "fields", ()) else "__typename"
    selection = "" if is_leaf_type(inner) else f" {{ {chosen} }}"
    return f"{{ it: {root}{f'({arguments})' if arguments else ''}{selection} }}"


@pytest.mark.parametrize("root", QUERIES)
async def test_a_root_tells_just_those_of_the_table(root: str, ask: Any) -> None:
    arguments, who = QUERIES[root]
    seen = ""
    for letter, caller in CALLERS.items():
        value, errors = await told(ask, asking(root, arguments), caller)
        empty_tells = not str(CORE.query_type.fields[root].type).endswith("!")
        seen += letter if something(value, empty_tells=empty_tells) else ""
        assert letter not in who or errors == [], (letter, errors)
    assert seen == who


@pytest.mark.parametrize("root", [root for root, (arguments, _) in QUERIES.items() if '"' in arguments])
async def test_what_may_not_be_seen_is_answered_as_what_does_not_exist(root: str, ask: Any) -> None:
    arguments, who = QUERIES[root]
    nothing = arguments
    for type_name in TYPES:
        nothing = nothing.replace(the(type_name), the(type_name, UNKNOWN))
    for letter, caller in CALLERS.items():
        if letter not in who:
            refused = await told(ask, asking(root, arguments), caller)
            assert refused == await told(ask, asking(root, nothing), caller), caller


@pytest.mark.parametrize("type_name", TYPES)
async def test_a_node_is_seen_by_just_those_of_the_table(type_name: str, ask: Any, viewers: dict[str, Viewer]) -> None:
    given = the(type_name) if type_name != "BillingPolicy" else None
    if given is None:
        given = (await ask.data("{ billingPolicy { id } }", "admin"))["billingPolicy"]["id"]
    seen = ""
    nothing = await ask.answer(f'{{ node(id: "{the(type_name, UNKNOWN)}") {{ id }} }}', "admin")
    for letter, caller in CALLERS.items():
        answer = await ask.answer(f'{{ node(id: "{given}") {{ id }} }}', caller)
        if answer != nothing:
            seen += letter
    assert seen == TYPES[type_name][1]


class Still:
    """A bus on which nothing happens."""

    async def cursor(self) -> str:
        return "1-0"


async def watched(ask: Any, root: str, key: str, viewer: Viewer) -> tuple[bool, list[str]]:
    """What a subscription tells first -> (whether it tells of the thing, the errors)."""
    argument, _ = SUBSCRIPTIONS[root]
    document = parse(f'subscription {{ it: {root}({argument}: "{key}") {{ kind cursor }} }}')
    clock = SimpleNamespace(now=lambda: None)
    context = SimpleNamespace(viewer=viewer, reader=ask.reader, clock=clock, bus=Still(), resume_after=None)
    executor: Any = Executor.build(CORE, document, context_value=context)
    watch: Any = create_source_event_stream(executor)
    try:
        return await watch.present() is not None, []
    except (Refusal, GraphQLError) as no:
        return False, [str(no)]


@pytest.mark.parametrize("root", SUBSCRIPTIONS)
async def test_a_thing_is_watched_by_just_those_who_see_it(root: str, ask: Any, viewers: dict[str, Viewer]) -> None:
    type_name = SUBSCRIPTIONS[root][1]
    seen = ""
    for letter, caller in CALLERS.items():
        sees, errors = await watched(ask, root, the(type_name), viewers[caller])
        seen += letter if sees else ""
        if not sees:
            assert (sees, errors) == await watched(ask, root, the(type_name, UNKNOWN), viewers[caller])
            assert errors
    assert seen == TYPES[type_name][1]
