"""Who sees which rows and which fields, as the table of permissions says it, in plain Python."""

from collections.abc import Callable, Mapping

from models.rules.scopes import MONEY_READ
from models.rules.states import Role
from resolvers.viewer import Viewer
from tests.api.reads.oracle.world import Row, World

MEMBER, DESK, FINANCE, ADMIN = Role.MEMBER.value, Role.FRONT_DESK.value, Role.FINANCE.value, Role.ADMIN.value
PARTNER, PARTNER_MONEY = Role.PARTNER.value, "PARTNER with money:read"

STAFF = frozenset({DESK, FINANCE, ADMIN})
PARTNERS = frozenset({PARTNER, PARTNER_MONEY})
EVERYBODY = STAFF | PARTNERS | {MEMBER}
_MONEY = STAFF | {PARTNER_MONEY}
_OFFICE = frozenset({ADMIN})
_WORKING = STAFF | PARTNERS

# Who sees every row of a type.
WHOLE: Mapping[str, frozenset[str] | set[str]] = {
    **dict.fromkeys(
        (
            *("Centre", "SettingGroup", "PricingOption", "PriceOverride", "MembershipType", "PaymentOption"),
            *("ClassType", "PackageOffer", "Coverage", "Course", "ClassSession", "UserField"),
        ),
        EVERYBODY,
    ),
    **dict.fromkeys(
        (
            *("User", "ExternalLink", "Membership", "Booking", "BookingLine", "WaitingPlace", "Attendance"),
            *("AccessToken", "Package", "CreditEntry", "CourseMapping"),
        ),
        _WORKING,
    ),
    **dict.fromkeys(
        (
            *("Mandate", "Payment", "Refund", "CardSubscription", "Invoice", "InvoiceItem", "Allocation"),
            *("AllocationShare", "Correction"),
        ),
        _MONEY,
    ),
    **dict.fromkeys(("ReviewItem", "Notification", "Drift", "BillingPolicy"), STAFF),
    "Shipment": {FINANCE, ADMIN, PARTNER_MONEY},
    "AuditEntry": {FINANCE, ADMIN},
    "LedgerEntry": {FINANCE, ADMIN},
    "ProbeRun": {DESK, ADMIN},
    **dict.fromkeys(("Job", "WebhookEvent", "ApiKey", "ProviderSetting", "WebhookEndpoint", "WebhookMessage"), _OFFICE),
}

Rule = Callable[[World, Row, Viewer], bool]


def _own(_world: World, row: Row, viewer: Viewer) -> bool:
    return viewer.user_id is not None and row["user_id"] == viewer.user_id


def _of(table: str, key: str, then: Rule = _own) -> Rule:
    def rule(world: World, row: Row, viewer: Viewer) -> bool:
        up = world.get(table, row[key])
        return up is not None and then(world, up, viewer)

    return rule


def _pays_or_attends(_world: World, row: Row, viewer: Viewer) -> bool:
    return viewer.user_id is not None and viewer.user_id in (row["user_id"], row["attendee_id"])


# Which of the others a member sees.
OF_MEMBER: Mapping[str, Rule] = {
    **dict.fromkeys(
        (
            *("ExternalLink", "Membership", "Booking", "WaitingPlace", "Attendance", "AccessToken", "Package"),
            *("Notification", "Mandate", "Payment", "Refund", "CardSubscription", "Job"),
        ),
        _own,
    ),
    "User": lambda _world, row, viewer: row["id"] == viewer.user_id,
    "BookingLine": _of("booking", "booking_id"),
    "CreditEntry": _of("package", "package_id"),
    "Invoice": _pays_or_attends,
    "InvoiceItem": _of("invoice", "invoice_id", _pays_or_attends),
    "Allocation": _of("invoice", "invoice_id", _pays_or_attends),
    "AllocationShare": _of("allocation", "allocation_id", _of("invoice", "invoice_id", _pays_or_attends)),
}


def _set_up_by(_world: World, row: Row, viewer: Viewer) -> bool:
    return bool(row["api_key_id"] == viewer.key_id)


def _concerns_a_person_or_was_asked_for(world: World, row: Row, viewer: Viewer) -> bool:
    return row["user_id"] is not None or bool(world.where("export_file", job_id=row["id"], api_key_id=viewer.key_id))


# Which of the others who works with the operator sees: each of STAFF and PARTNERS, by what they asked for.
OF_KEY: Mapping[str, tuple[frozenset[str], Rule]] = {
    "Job": (_WORKING, _concerns_a_person_or_was_asked_for),
    "WebhookEndpoint": (PARTNERS, _set_up_by),
    "WebhookMessage": (PARTNERS, _of("webhook_endpoint", "endpoint_id", _set_up_by)),
}

# Who alone is told a field.
ALONE: Mapping[str, frozenset[str] | set[str]] = {
    "ExternalLink.evidence": STAFF,
    "Mandate.authorisationUrl": STAFF | {MEMBER},
    "Membership.arrears": STAFF | {MEMBER, PARTNER_MONEY},
    "Job.error": STAFF,
    "Job.key": {FINANCE, ADMIN},
    "Payment.key": {FINANCE, ADMIN},
    "Refund.key": {FINANCE, ADMIN},
}


def who(viewer: Viewer) -> str:
    """A caller's role; a partner that may see money is one of its own."""
    return PARTNER_MONEY if viewer.role is Role.PARTNER and MONEY_READ in viewer.scopes else viewer.role.value


def seen(world: World, kind: str, row: Row | None, viewer: Viewer) -> bool:
    """Whether there is such a row for this caller."""
    if row is None:
        return False
    role = who(viewer)
    if role in WHOLE[kind]:
        return True
    if role == MEMBER:
        return kind in OF_MEMBER and OF_MEMBER[kind](world, row, viewer)
    asks, rule = OF_KEY.get(kind, (frozenset[str](), _own))
    return role in asks and rule(world, row, viewer)


def sees_some(kind: str, viewer: Viewer) -> bool:
    """Whether a caller may see any row of a type."""
    role = who(viewer)
    if role == MEMBER:
        return role in WHOLE[kind] or kind in OF_MEMBER
    return role in WHOLE[kind] or (kind in OF_KEY and role in OF_KEY[kind][0])


def told(field: str, viewer: Viewer) -> bool:
    """Whether a caller is told "Type.field" of the rows it sees."""
    return field not in ALONE or who(viewer) in ALONE[field]
