"""Every mutation once, from end to end: its object as it is now, its job, no errors; and once more for the same key."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import pytest_asyncio
from graphql import GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type

from models.actions.vault import Vault
from models.rules.booking import Method, Pricing
from models.rules.calendar import months_after
from models.rules.corrections import CorrectionCause, Proposal
from models.rules.invoicing import Kind
from models.rules.lifecycle import Cause, Status
from models.rules.partners import DeliveryState
from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from models.rules.states import (
    AttendanceSource,
    BookingStatus,
    InvoiceStatus,
    JobState,
    MandateStatus,
    PaymentPurpose,
    PaymentStatus,
    Provider,
    ReviewKind,
    SubscriptionStatus,
    UserState,
)
from models.tables.booking import Booking, WaitingPlace
from models.tables.centre import Centre, SettingGroup
from models.tables.course import Attendance, ClassSession, Course
from models.tables.coursepro import Drift, RecordClaim, ReviewItem
from models.tables.inbox import InboxEvent
from models.tables.invoice import Allocation, Correction, Invoice, Shipment
from models.tables.job import Job
from models.tables.membership import ClassType, Mandate, Membership, MembershipType, PaymentOption, Subscription
from models.tables.package import PackageOffer
from models.tables.partner import WebhookEndpoint, WebhookMessage
from models.tables.payment import Payment
from models.tables.pricing import PricingOption
from models.tables.row import Row
from models.tables.setting import ApiKey
from models.tables.user import ExternalLink, User, UserField
from resolvers.reads.ids import encode, split
from schema.root import schema

ROOT = Path(__file__).resolve().parents[2]

SCHEMA: GraphQLSchema = schema._schema
assert SCHEMA.mutation_type
MUTATIONS = SCHEMA.mutation_type.fields
TODAY = date.today()  # noqa: DTZ011  # the API's own day, whichever it is
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
CLAIM = "the-token-of-a-link-that-was-sent"
NAMES = {Subscription: "CardSubscription", InboxEvent: "WebhookEvent"}
Words = dict[str, Any]


@dataclass
class World:
    """Rows for mutations to act upon, each found by a word; `ids[word]` is its global id."""

    ids: dict[str, str]

    def put(self, word: str, row: Row) -> Any:
        """Remember a row -> its own id."""
        self.ids[word] = encode(NAMES.get(type(row), type(row).__name__), row.id)
        return row.id


async def a_world(member: User, vault: Vault) -> World:
    """A centre that sells a course and a membership, and what its member holds, owes and was invoiced."""
    world = World({})
    world.put("member", member)
    world.put(
        "newcomer", await User.create(first_name="New", last_name="Comer", email="n@a.test", email_key="n@a.test")
    )
    for provider, kind in ((Provider.STRIPE, "payment_method"), (Provider.NOOKAL, "patient")):
        await ExternalLink.create(user_id=member.id, provider=provider, kind=kind, external_id=f"{kind}_1")
    await _unclear(world)
    world.put("group", await SettingGroup.create(name="Shire"))
    centre = world.put("centre", await Centre.create(name="North", zone="Europe/London", currency="GBP"))
    await _catalogue(world, centre)
    world.put("key", await ApiKey.create(name="old", public_part="old", secret_hash="0" * 64, role="PARTNER"))
    world.put("dead", await Job.create(kind="payments.ask", key="dead", state=JobState.DEAD, attempts=12))
    world.put("waiting", await Job.create(kind="payments.ask", key="waiting"))
    told: Words = {
        "provider": Provider.STRIPE,
        "event_id": "evt_1",
        "event_type": "invoice.paid",
        "body": {"id": "evt_1"},
    }
    world.put("webhook", await InboxEvent.create(**told))
    await _hooks(world, vault)
    await _holdings(world, member.id, centre)
    return world


async def _hooks(world: World, vault: Vault) -> None:
    """Endpoints of partners, one switched off, and messages that failed."""
    sealed = vault.seal({"secrets": '[{"secret": "whsec_c2VjcmV0", "until": null}]'})
    told: Words = {"topics": ["INVOICE"], "secrets": sealed, "hint": "…abcd"}
    hook = world.put("hook", await WebhookEndpoint.create(url="https://hooks.example.org/1", **told))
    off: Words = {"enabled": False, "disabled_because": "It answered 410 Gone."}
    world.put("hook that is off", await WebhookEndpoint.create(url="https://hooks.example.org/2", **told, **off))
    about: Words = {"topic": "INVOICE", "name": "InvoiceOpened", "subject": f"invoice:{UUID(int=1)}"}
    failed: Words = {"state": DeliveryState.FAILED, "attempts": 3, "last_status": 500, **about}
    for word in ("message", "another message"):
        world.put(word, await WebhookMessage.create(endpoint_id=hook, event_id=word, body={"type": "t"}, **failed))


async def _unclear(world: World) -> None:
    """Who may be whom, a link to claim a record by, a tie that is wrong, and a field that is collected."""
    provisional: Words = {"last_name": "Visional", "email": "p@a.test", "email_key": "p@a.test"}
    claimer = await User.create(first_name="Pro", state=UserState.PROVISIONAL, **provisional)
    told: Words = {"expires_at": NOW + DAY, "token_hash": hashlib.sha256(CLAIM.encode()).hexdigest()}
    await RecordClaim.create(user_id=claimer.id, **told)
    wrong: Words = {"provider": Provider.STRIPE, "kind": "customer", "external_id": "cus_of_somebody_else"}
    world.put("link", await ExternalLink.create(user_id=claimer.id, **wrong))
    asked: Words = {"kind": ReviewKind.USER_MATCH, "provider": Provider.COURSEPRO, "subject": "cp_1"}
    known: Words = {"candidates": [str(uuid_of(world, "newcomer"))], "compared": {"email": True}}
    given = {"first_name": "New", "last_name": "Comer", "email": "n@a.test"}
    world.put("question", await ReviewItem.create(**asked, evidence={**known, "given": given}))
    await UserField.create(name="allergy", label="Allergies")


async def _catalogue(world: World, centre: UUID) -> None:
    for word, frequency in (("once", Frequency.FIXED), ("monthly", Frequency.RECURRING)):
        terms: Words = {"option_type": OptionType.STANDARD, "frequency": frequency, "amount": 2000, "currency": "GBP"}
        world.put(word, await PricingOption.create(name=word, **terms))
    class_type = world.put("class type", await ClassType.create(name="Lane swimming"))
    kind: Words = {"integration": Integration.NONE, "kind": MembershipKind.ONGOING}
    plan = world.put("plan", await MembershipType.create(name="Gold", product="prod_1", centre_id=centre, **kind))
    await PaymentOption.create(membership_type_id=plan, pricing_option_id=uuid_of(world, "monthly"))
    fee: Words = {"option_type": OptionType.COURSEPRO_COURSE, "frequency": Frequency.RECURRING}
    world.put("course fee", await PricingOption.create(name="Swimming", amount=3200, currency="GBP", **fee))
    lessons: Words = {"integration": Integration.COURSEPRO_COURSE, "kind": MembershipKind.ONGOING}
    world.put("lessons", await MembershipType.create(name="Lessons", **lessons))
    await PaymentOption.create(
        membership_type_id=uuid_of(world, "lessons"), pricing_option_id=uuid_of(world, "course fee"), coursepro=True
    )
    course = await Course.create(
        name="Beginners", centre_id=centre, class_type_id=class_type, pricing_option_id=uuid_of(world, "once"),
        pricing=Pricing.FULL_RATE, capacity=8,
    )  # fmt: skip
    world.put("course", course)
    offered: Words = {"pricing_option_id": uuid_of(world, "once"), "credits": 10}
    world.put("offer", await PackageOffer.create(name="Ten lessons", **offered))
    full = await Course.create(
        name="Sought after", centre_id=centre, pricing_option_id=uuid_of(world, "once"), pricing=Pricing.FULL_RATE,
        capacity=1,
    )  # fmt: skip
    world.put("full course", full)
    for held in (course, full):
        times: Words = {"starts_at": NOW + DAY, "ends_at": NOW + DAY + timedelta(hours=1)}
        await ClassSession.create(course_id=held.id, class_type_id=class_type, centre_id=centre, **times)
    await _roster(world, full, centre)


async def _roster(world: World, full: Course, centre: UUID) -> None:
    """The full course's one booking and who waits for it, and who was expected at a class that has begun."""
    member, newcomer = uuid_of(world, "member"), uuid_of(world, "newcomer")
    terms: Words = {"method": Method.PAYMENT, "status": BookingStatus.CONFIRMED, "credits": 0, "charge": 0}
    await Booking.create(course_id=full.id, user_id=newcomer, currency="GBP", **terms)
    course = await Course.create(
        name="Over", centre_id=centre, pricing_option_id=uuid_of(world, "once"), pricing=Pricing.FULL_RATE, capacity=8
    )
    world.put("waiting place", await WaitingPlace.create(course_id=course.id, user_id=member))
    world.put("newcomer's place", await WaitingPlace.create(course_id=course.id, user_id=newcomer))
    session = await ClassSession.create(
        course_id=course.id, centre_id=centre, starts_at=NOW - DAY, ends_at=NOW - DAY + timedelta(hours=1)
    )
    seat = await Attendance.create(class_session_id=session.id, user_id=member, source=AttendanceSource.DUEFLOW)
    world.put("seat", seat)
    world.put("session of the seat", session)
    again: Words = {"centre_id": centre, "pricing_option_id": uuid_of(world, "once"), "pricing": Pricing.FULL_RATE}
    for word in ("third course", "booking", "booking to cancel"):
        course = await Course.create(name=word, capacity=8, **again)
        times: Words = {"starts_at": NOW + DAY, "ends_at": NOW + DAY + timedelta(hours=1)}
        session = await ClassSession.create(course_id=course.id, centre_id=centre, **times)
        held = {"course_id": course.id, "user_id": member, "currency": "GBP", **terms}
        world.put(word, course if word == "third course" else await Booking.create(**held))
    world.put("class to delete", session)


async def _holdings(world: World, user_id: UUID, centre: UUID) -> None:
    signed: Words = {"provider": Provider.GOCARDLESS, "external_id": "MD1", "status": MandateStatus.ACTIVE}
    mandate = world.put("mandate", await Mandate.create(user_id=user_id, **signed))
    signed["external_id"] = "MD2"
    world.put("mandate to cancel", await Mandate.create(user_id=user_id, **signed))
    plan = uuid_of(world, "plan")
    for word in ("to cancel", "to suspend", "to reinstate", "to complete", "to sync", "to collect", "sold", "owing"):
        suspended = word == "to reinstate"
        row = await Membership.create(
            user_id=user_id, membership_type_id=plan, centre_id=centre, pricing_option_id=uuid_of(world, "monthly"),
            mandate_id=mandate, amount=2000, currency="GBP", starts_on=months_after(TODAY, -1),
            status=Status.SUSPENDED if suspended else Status.ACTIVE,
            reason=Cause.SUSPENDED_BY_STAFF.value if suspended else None,
        )  # fmt: skip
        world.put(word, row)
    failed = await Payment.create(
        user_id=user_id, purpose=PaymentPurpose.MEMBERSHIP_FEE, membership_id=uuid_of(world, "sold"),
        mandate_id=mandate, provider=Provider.GOCARDLESS, amount=2000, currency="GBP", status=PaymentStatus.FAILED,
        due_on=TODAY - DAY, key="payment:failed:1", reference="PM1",
    )  # fmt: skip
    world.put("failed", failed)
    owed: Words = {"membership_id": uuid_of(world, "owing"), "mandate_id": mandate, "provider": Provider.GOCARDLESS}
    await Payment.create(
        user_id=user_id, purpose=PaymentPurpose.MEMBERSHIP_FEE, amount=2000, currency="GBP",
        status=PaymentStatus.CHARGED_BACK, due_on=TODAY - DAY, key="payment:owed:1", reference="PM3", **owed,
    )  # fmt: skip
    received = await Payment.create(
        user_id=user_id, purpose=PaymentPurpose.MEMBERSHIP_FEE, membership_id=uuid_of(world, "sold"),
        mandate_id=mandate, provider=Provider.GOCARDLESS, amount=2000, currency="GBP", status=PaymentStatus.CONFIRMED,
        due_on=TODAY - DAY, key="payment:received:1", reference="PM2", period_start=TODAY - 40 * DAY,
    )  # fmt: skip
    world.put("received", received)
    mirrored: Words = {"provider": Provider.STRIPE, "customer": "cus_1", "product": "prod_1"}
    mine = await Subscription.create(
        external_id="sub_1", status=SubscriptionStatus.ACTIVE, user_id=user_id, membership_id=uuid_of(world, "sold"),
        **mirrored,
    )  # fmt: skip
    stray = await Subscription.create(external_id="sub_2", status=SubscriptionStatus.ACTIVE, **mirrored)
    world.put("stray subscription", stray)
    for months_ago, word in ((0, "running invoice"), (1, "due invoice"), (2, "billed invoice")):
        start = NOW - 30 * (months_ago + 1) * DAY + (20 * DAY if word == "running invoice" else 0 * DAY)
        invoice = await Invoice.create(
            provider=Provider.STRIPE, external_id=f"in_{months_ago}", subscription_id=mine.id,
            membership_id=uuid_of(world, "sold"), user_id=user_id, attendee_id=user_id, status=InvoiceStatus.PAID,
            currency="GBP", amount_paid=2000, period_start=start, period_end=start + 29 * DAY,
            billed_off_at=NOW - DAY if word == "billed invoice" else None,
        )  # fmt: skip
        world.put(word, invoice)
    billed = uuid_of(world, "billed invoice")
    await Allocation.create(invoice_id=billed, version=1, kind=Kind.AD_HOC, amount=2000, currency="GBP")
    await Shipment.create(invoice_id=billed, system=Provider.NOOKAL, reference="DUE-in_2")
    await _put_aside(world, billed)


async def _put_aside(world: World, billed: UUID) -> None:
    """A seat whose invoice a person chose, two corrections, and what is otherwise elsewhere."""
    chosen = await Attendance.create(
        class_session_id=uuid_of(world, "session of the seat"), user_id=uuid_of(world, "newcomer"),
        source=AttendanceSource.DUEFLOW, paid_by_id=uuid_of(world, "running invoice"),
    )  # fmt: skip
    world.put("chosen seat", chosen)
    old = await Invoice.create(
        provider=Provider.STRIPE, external_id="in_9", status=InvoiceStatus.PAID, currency="GBP", amount_paid=2000,
        period_start=NOW - 99 * DAY, period_end=NOW - 90 * DAY, billed_off_at=NOW - 90 * DAY,
    )  # fmt: skip
    change: Words = {"was": {"amount_refunded": 0}, "now": {"amount_refunded": 500}}
    refunded: Words = {"proposal": Proposal.CREDIT_NOTE, "amount": 500, "change": change}
    apply = await Correction.create(invoice_id=old.id, cause=CorrectionCause.REFUNDED, **refunded)
    world.put("correction", apply)
    dismiss = await Correction.create(invoice_id=billed, cause=CorrectionCause.REFUNDED, **refunded)
    world.put("correction to dismiss", dismiss)
    differs = await Drift.create(
        provider=Provider.STRIPE, subject_type="Invoice", subject_id=billed, field="amount_paid", ours="2000",
        theirs="2100", cause="report:1", at=NOW,
    )  # fmt: skip
    world.put("drift", differs)


def uuid_of(world: World, word: str) -> UUID:
    """The row's own id of what a word names."""
    return split(world.ids[word])[1]


def _times(days: int) -> dict[str, str]:
    start = (NOW + days * DAY).replace(microsecond=0)
    return {"startsAt": start.isoformat(), "endsAt": (start + timedelta(hours=1)).isoformat()}


def _of(**words: str) -> Callable[[dict[str, str]], Words]:
    """Fields that each hold the id of what the word names."""
    return lambda ids: {field: ids[word] for field, word in words.items()}


# mutation: (ids of the world -> its input, what its object shows, the kind of its job)
EXAMPLES: dict[str, tuple[Callable[[dict[str, str]], Words], dict[str, Any] | None, str | None]] = {
    "createUser": (
        lambda ids: {"firstName": "Ida", "lastName": "Berg", "email": "ida@example.test", "dateOfBirth": "1990-02-28"},
        {"firstName": "Ida", "email": "ida@example.test", "dateOfBirth": "1990-02-28", "state": "ACTIVE"},
        None,
    ),
    "linkUser": (
        lambda ids: {"userId": ids["newcomer"], "provider": "NOOKAL", "kind": "patient", "externalId": "77"},
        {"provider": "NOOKAL", "kind": "patient", "externalId": "77", "state": "LINKED"},
        "invoices.respread",
    ),
    "signUp": (
        lambda ids: {"firstName": "Sig", "lastName": "Nup", "email": "sig@example.test", "phone": "020 7946 0000"},
        {"firstName": "Sig", "phone": "020 7946 0000", "state": "ACTIVE"},
        None,
    ),
    "claimRecord": (lambda ids: {"token": CLAIM}, {"firstName": "Pro", "state": "ACTIVE"}, None),
    "updateUser": (
        lambda ids: {"userId": ids["member"], "lastName": "Told", "phone": None},
        {"lastName": "Told", "phone": None, "version": 2, "syncState": "NOT_LINKED"},
        "courses.push_user",
    ),
    "setUserField": (
        lambda ids: {"name": "school", "label": "School", "required": False},
        {"name": "school", "label": "School", "required": False},
        "courses.push_fields",
    ),
    "removeUserField": (lambda ids: {"name": "allergy"}, None, "courses.push_fields"),
    "unlinkUser": (
        lambda ids: {"externalLinkId": ids["link"], "reason": "Somebody else's card"},
        {"provider": "STRIPE", "state": "UNLINKED"},
        "invoices.respread",
    ),
    "settleReview": (
        _of(reviewItemId="question", userId="newcomer"),
        {"kind": "USER_MATCH", "state": "SETTLED", "subject": "cp_1"},
        None,
    ),
    "syncUsers": (lambda ids: {"provider": "COURSEPRO"}, None, "courses.sync_users"),
    "createSettingGroup": (lambda ids: {"name": "City pools"}, {"name": "City pools"}, None),
    "createCentre": (
        lambda ids: {"name": "South", "zone": "Asia/Tokyo", "currency": "JPY", "settingGroupId": ids["group"]},
        {"name": "South", "zone": "Asia/Tokyo", "currency": "JPY", "minutesBefore": 30, "minutesAfter": 30},
        None,
    ),
    "updateCentre": (
        lambda ids: {"centreId": ids["centre"], "minutesBefore": 15},
        {"minutesBefore": 15, "minutesAfter": 30},
        None,
    ),
    "createPricingOption": (
        lambda ids: {
            "name": "Term",
            "type": "STANDARD",
            "frequency": "FIXED",
            "price": {"amount": "20.50", "currency": "GBP"},
        },
        {"name": "Term", "type": "STANDARD", "frequency": "FIXED"},
        None,
    ),
    "setPriceOverride": (
        lambda ids: {"pricingOptionId": ids["once"], "centreId": ids["centre"], "amount": 1850},
        {"effectiveFrom": None},
        None,
    ),
    "createMembershipType": (
        lambda ids: {
            "name": "Silver",
            "integration": "NONE",
            "kind": "ONGOING",
            "pricingOptionIds": [ids["monthly"]],
            "classTypeIds": [ids["class type"]],
            "creditsPerPeriod": 8,
        },
        {"name": "Silver", "integration": "NONE", "kind": "ONGOING", "creditsPerPeriod": 8},
        None,
    ),
    "updatePricingOption": (
        lambda ids: {"pricingOptionId": ids["course fee"], "name": "Swimming lessons", "amount": 3300},
        {"name": "Swimming lessons", "type": "COURSEPRO_COURSE", "frequency": "RECURRING"},
        None,
    ),
    "updateMembershipType": (
        lambda ids: {"membershipTypeId": ids["lessons"], "name": "Swimming", "integration": "COURSEPRO_COURSE"},
        {"name": "Swimming", "integration": "COURSEPRO_COURSE", "kind": "ONGOING"},
        None,
    ),
    "cloneMembershipTypeForFrequency": (
        lambda ids: {
            "membershipTypeId": ids["plan"],
            "pricingOptionId": ids["once"],
            "kind": "SESSIONS",
            "sessions": 5,
        },
        {"name": "Gold (sessions)", "integration": "NONE", "kind": "SESSIONS", "sessions": 5, "product": None},
        None,
    ),
    "mapCourse": (
        lambda ids: {"courseRef": "SWIM-1", "pricingOptionId": ids["course fee"], "centreId": ids["centre"]},
        {"courseRef": "SWIM-1", "verifiedAt": None},
        None,
    ),
    "startMembership": (
        lambda ids: {
            "userId": ids["member"],
            "membershipTypeId": ids["plan"],
            "centreId": ids["centre"],
            "pricingOptionId": ids["monthly"],
            "mandateId": ids["mandate"],
            "startsOn": TODAY.isoformat(),
        },
        {"status": "ACTIVE", "startsOn": TODAY.isoformat()},
        "courses.push_membership",
    ),
    "cancelMembership": (_of(membershipId="to cancel"), {"status": "CANCELLED"}, "courses.push_membership"),
    "suspendMembership": (_of(membershipId="to suspend"), {"status": "SUSPENDED"}, "courses.push_membership"),
    "reinstateMembership": (_of(membershipId="to reinstate"), {"status": "ACTIVE"}, "courses.push_membership"),
    "completeMembership": (_of(membershipId="to complete"), {"status": "COMPLETED"}, "courses.push_membership"),
    "syncMembership": (_of(membershipId="to sync"), {"status": "ACTIVE"}, "courses.push_membership"),
    "createCourse": (
        lambda ids: {
            "name": "Advanced",
            "centreId": ids["centre"],
            "pricingOptionId": ids["once"],
            "pricing": "PRORATED",
            "capacity": 4,
            "sessions": [_times(3), _times(10)],
        },
        {"name": "Advanced", "pricing": "PRORATED", "capacity": 4, "owner": "DUEFLOW"},
        None,
    ),
    "updateCourse": (
        lambda ids: {"courseId": ids["course"], "capacity": 9, "onCancellation": "EVERYTHING", "offerHours": 12},
        {"name": "Beginners", "capacity": 9, "onCancellation": "EVERYTHING", "offerHours": 12, "noticeHours": 0},
        None,
    ),
    "joinWaitingList": (
        _of(courseId="full course", userId="member"),
        {"state": "WAITING", "position": 1, "offeredUntil": None},
        None,
    ),
    "leaveWaitingList": (_of(waitingPlaceId="waiting place"), {"state": "LEFT", "position": None}, None),
    "markAttendance": (
        lambda ids: {"attendanceId": ids["seat"], "mark": "ATTENDED"},
        {"mark": "ATTENDED", "source": "DUEFLOW"},
        None,
    ),
    "bookCourse": (
        lambda ids: {"courseId": ids["course"], "userId": ids["member"], "method": "PAYMENT"},
        {"status": "AWAITING_PAYMENT", "method": "PAYMENT", "credits": 0},
        "payments.collect",
    ),
    "chooseInvoice": (_of(attendanceId="chosen seat"), {"mark": "BOOKED"}, None),
    "createPackageOffer": (
        lambda ids: {
            "name": "Five classes",
            "pricingOptionId": ids["once"],
            "credits": 5,
            "validDays": 90,
            "courseId": ids["course"],
        },
        {"name": "Five classes", "credits": 5, "validDays": 90},
        None,
    ),
    "buyPackage": (
        lambda ids: {
            "packageOfferId": ids["offer"],
            "userId": ids["member"],
            "centreId": ids["centre"],
            "mandateId": ids["mandate"],
        },
        {"name": "Ten lessons", "balance": 0, "periodStart": None},
        "payments.collect",
    ),
    "moveBooking": (
        lambda ids: {"bookingId": ids["booking"], "courseId": ids["third course"]},
        {"status": "AWAITING_PAYMENT", "method": "PAYMENT", "credits": 0},
        "payments.collect",
    ),
    "cancelBooking": (
        lambda ids: {"bookingId": ids["booking to cancel"]},
        {"status": "CANCELLED"},
        None,
    ),
    "deleteClassSession": (_of(classSessionId="class to delete"), {"source": "DUEFLOW"}, None),
    "grantPackage": (
        lambda ids: {"userId": ids["member"], "name": "Ten classes", "credits": 10, "classTypeId": ids["class type"]},
        {"name": "Ten classes"},
        None,
    ),
    "startDirectDebit": (
        lambda ids: {"userId": ids["member"], "currency": "GBP"},
        {"status": "PENDING", "provider": "GOCARDLESS"},
        "mandates.start",
    ),
    "cancelMandate": (
        lambda ids: {"mandateId": ids["mandate to cancel"], "reason": "Asked by telephone"},
        {"status": "ACTIVE", "externalId": "MD2"},
        "mandates.cancel",
    ),
    "settleArrears": (
        lambda ids: {"membershipId": ids["owing"], "by": "CARD", "reason": "Paid at the desk"},
        {"status": "ACTIVE", "nextFeeOn": None},
        "payments.collect",
    ),
    "configureBilling": (
        lambda ids: {"retryAfterDays": [2, 4], "aheadDays": 5, "billingDay": 1, "suspendOn": "RETRIES_EXHAUSTED"},
        {"retryAfterDays": [2, 4], "aheadDays": 5, "billingDay": 1, "whileSuspended": "HOLD", "graceHours": 0},
        None,
    ),
    "collectPayment": (
        lambda ids: {"membershipId": ids["to collect"], "periodStart": months_after(TODAY, -1).isoformat()},
        {"status": "DUE", "purpose": "MEMBERSHIP_FEE", "periodStart": months_after(TODAY, -1).isoformat()},
        "payments.collect",
    ),
    "retryPayment": (_of(paymentId="failed"), {"status": "FAILED", "attempts": 1}, "payments.retry"),
    "refundPayment": (
        lambda ids: {
            "paymentId": ids["received"],
            "amount": {"amount": "12.50", "currency": "GBP"},
            "reason": "Pool shut",
        },
        {"status": "DUE", "reason": "Pool shut", "failure": None, "attempts": 0},
        "payments.refund",
    ),
    "createPaymentLink": (
        _of(membershipTypeId="plan", userId="member"),
        {"name": "Gold"},
        "subscriptions.payment_link",
    ),
    "linkSubscription": (
        _of(subscriptionId="stray subscription", userId="newcomer"),
        {"externalId": "sub_2"},
        "courses.push_membership",
    ),
    "allocateInvoice": (_of(invoiceId="running invoice"), {"billedOffAt": None, "hold": None}, None),
    "billOffInvoice": (_of(invoiceId="due invoice"), {"externalId": "in_1"}, "practice.ship_invoice"),
    "shipInvoice": (_of(invoiceId="billed invoice"), {"externalId": "in_2"}, "practice.ship_invoice"),
    "applyCorrection": (
        _of(correctionId="correction"),
        {"cause": "REFUNDED", "state": "APPLIED", "proposal": "CREDIT_NOTE"},
        "practice.ship_invoice",
    ),
    "dismissCorrection": (
        lambda ids: {"correctionId": ids["correction to dismiss"], "reason": "It was a test."},
        {"cause": "REFUNDED", "state": "DISMISSED", "answer": "It was a test."},
        None,
    ),
    "reportDrift": (lambda ids: {"providers": ["STRIPE"]}, None, "drift.report"),
    "repairDrift": (lambda ids: {"driftIds": [ids["drift"]]}, None, "mirror.read"),
    "configureProvider": (
        lambda ids: {
            "provider": "STRIPE",
            "settings": [],
            "secrets": [{"name": "api_key", "value": "sk_test_1"}, {"name": "webhook_secret", "value": "whsec_1"}],
        },
        {"provider": "STRIPE", "enabled": True},
        None,
    ),
    "configureCoursePro": (
        lambda ids: {"userSyncEnabled": False, "clientId": "club", "userSyncUrl": "https://coursepro.example.org/u"},
        {"provider": "COURSEPRO", "enabled": False},
        None,
    ),
    "runIntegrationProbe": (lambda ids: {"probe": "BORN_HERE"}, None, "courses.probe"),
    "createApiKey": (
        lambda ids: {"name": "web", "role": "MEMBER", "userId": ids["member"], "scopes": ["money:read"]},
        {"name": "web", "role": "MEMBER", "scopes": ["money:read"]},
        None,
    ),
    "rotateApiKey": (
        lambda ids: {"keyId": ids["key"], "overlapHours": 0},
        {"name": "old", "previousUntil": None},
        None,
    ),
    "revokeApiKey": (_of(keyId="key"), {"name": "old"}, None),
    "retryJob": (_of(jobId="dead"), None, "payments.ask"),
    "cancelJob": (_of(jobId="waiting"), None, "payments.ask"),
    "replayWebhook": (_of(webhookEventId="webhook"), {"eventId": "evt_1", "state": "RECEIVED"}, "inbox.apply"),
    "createWebhookEndpoint": (
        lambda ids: {"url": "https://hooks.example.org/new", "topics": ["PAYMENT", "BOOKING"], "description": "till"},
        {"topics": ["BOOKING", "PAYMENT"], "enabled": True, "description": "till", "disabledBecause": None},
        None,
    ),
    "updateWebhookEndpoint": (
        lambda ids: {"webhookEndpointId": ids["hook"], "topics": ["MEMBERSHIP"]},
        {"topics": ["MEMBERSHIP"], "url": "https://hooks.example.org/1"},
        None,
    ),
    "rotateWebhookSecret": (_of(webhookEndpointId="hook"), {"url": "https://hooks.example.org/1"}, None),
    "enableWebhookEndpoint": (
        _of(webhookEndpointId="hook that is off"),
        {"enabled": True, "disabledBecause": None},
        None,
    ),
    "redeliverWebhook": (_of(webhookMessageId="message"), {"state": "PENDING"}, "webhooks.deliver"),
    "redeliverWebhooks": (
        lambda ids: {"webhookEndpointId": ids["hook"], "since": f"{NOW - DAY:%Y-%m-%d}T00:00:00Z"},
        {"enabled": True},
        "webhooks.deliver",
    ),
    "sendTestWebhook": (_of(webhookEndpointId="hook"), {"topic": "TEST", "state": "PENDING"}, "webhooks.deliver"),
    "disableWebhookEndpoint": (
        _of(webhookEndpointId="hook"),
        {"enabled": False, "disabledBecause": "Switched off by hand."},
        None,
    ),
    "usersExport": (
        lambda ids: {"format": "CSV", "filter": {"createdAt": {"gte": f"{TODAY}T00:00:00Z"}, "state": ["ACTIVE"]}},
        None,
        "exports.write",
    ),
    "membershipsExport": (
        lambda ids: {"format": "NDJSON", "filter": {"userId": ids["member"], "startsOn": {"lt": f"{TODAY}"}}},
        None,
        "exports.write",
    ),
    "invoicesExport": (lambda ids: {"format": "NDJSON"}, None, "exports.write"),
    "advanceClock": (
        lambda ids: {"to": (NOW + timedelta(hours=1)).isoformat()},
        None,
        "sandbox.move_clock",
    ),
}


def document(mutation: str) -> str:
    """The mutation with every field of its payload, and every plain field of its objects."""
    payload = get_named_type(MUTATIONS[mutation].type)
    assert isinstance(payload, GraphQLObjectType)
    takes = MUTATIONS[mutation].args["input"].type
    return f"mutation It($input: {takes}) {{ it: {mutation}(input: $input) {{ {_leaves(payload, 2)} }} }}"


def _leaves(what: GraphQLObjectType, depth: int) -> str:
    words = []
    for name, field in what.fields.items():
        inner = get_named_type(field.type)
        if is_leaf_type(inner):
            words.append(name)
        elif depth > 1 and isinstance(inner, GraphQLObjectType):
            words.append(f"{name} {{ {_leaves(inner, depth - 1)} }}")
    return " ".join(words)


async def stored(connection: asyncpg.Connection) -> dict[str, tuple[int, str | None]]:
    """Each table -> how many rows it has and a digest of them."""
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    digest = "md5(string_agg(t::text, '|' ORDER BY t::text))"
    noted = {"audit_entry": "WHERE verb NOT LIKE 'refuse\\_%'"}  # that something was refused is written down
    each = [f"SELECT '{table}', count(*), {digest} FROM {table} t {noted.get(table, '')}" for (table,) in tables]
    return {name: (count, digest) for name, count, digest in await connection.fetch(" UNION ALL ".join(each))}


@pytest_asyncio.fixture(scope="module")
async def watching(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Looks at the tables from outside."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture(scope="module")
async def client(api: Any) -> AsyncIterator[httpx.AsyncClient]:
    """One connection for all questions."""
    async with api.client() as client:
        yield client


@pytest.fixture(scope="module", autouse=True)
def clock_that_may_be_moved() -> Iterator[None]:
    """The API of this module runs as on one machine, where the clock of the sandbox may be moved."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUEFLOW_SANDBOX_ADMIN", "http://127.0.0.1:9")
        yield


@pytest_asyncio.fixture(scope="module")
async def world(api: Any, secret_key: str) -> World:
    """The rows, beside the API."""
    return await a_world(api.member, Vault(secret_key))


def test_every_mutation_has_its_example() -> None:
    assert EXAMPLES.keys() == MUTATIONS.keys()


def test_everything_a_mutation_takes_and_gives_is_described() -> None:
    for name, field in MUTATIONS.items():
        takes, gives = get_named_type(field.args["input"].type), get_named_type(field.type)
        assert isinstance(takes, GraphQLInputObjectType)
        assert isinstance(gives, GraphQLObjectType)
        parts = {"field": field, "input": field.args["input"], "takes": takes, "gives": gives}
        parts |= takes.fields | gives.fields
        assert [part for part, each in parts.items() if not each.description] == [], name


def test_everything_in_the_schema_is_described() -> None:
    silent = []
    for name, kind in SCHEMA.type_map.items():
        parts: dict[str, Any] = {"": kind, **getattr(kind, "fields", {}), **getattr(kind, "values", {})}
        for part, each in dict(parts).items():
            parts |= {f"{part}({argument}:)": told for argument, told in getattr(each, "args", {}).items()}
        silent += [f"{name}.{part}" for part, each in parts.items() if not each.description]
    assert [each for each in silent if not each.startswith("__")] == []


@pytest.mark.parametrize("mutation", EXAMPLES)
async def test_it_is_done_and_told_and_done_once(
    mutation: str, client: httpx.AsyncClient, world: World, watching: asyncpg.Connection
) -> None:
    makes, shown, kind = EXAMPLES[mutation]
    before = await stored(watching)
    asked = {"query": document(mutation), "variables": {"input": makes(world.ids)}}
    headers = {"idempotency-key": f"key of {mutation}"}
    told = (await client.post("/graphql", json=asked, headers=headers)).json()
    assert "errors" not in told, told
    payload = told["data"]["it"]
    assert payload["userErrors"] == []
    assert (payload["job"] or {}).get("kind") == kind
    beside = ("userErrors", "job", "token", "secret", "quote", "repairs")
    (subject,) = [value for name, value in payload.items() if name not in beside] or [None]
    assert (subject is None) == (shown is None)
    assert {name: (subject or {})[name] for name in shown or {}} == (shown or {})
    after = await stored(watching)
    assert after != before
    await _written_down(mutation, watching, before["audit_entry"][0])
    again = await client.post("/graphql", json=asked, headers=headers)
    assert again.json() == {"data": told["data"], "extensions": {"idempotency": {"replayed": True}}}
    assert await stored(watching) == after


# what makes something new, or asks another system, has nothing to show of how it was
BEGINS = re.compile(
    "create|start|book|buy|grant|join|sign|claim|sync|report|run|set|choose|configure|map|link|collect|retry|refund|ship"
    "|send|redeliverWebhooks|users|memberships|invoices"
)
AS_IT_WAS = {"allocateInvoice"}  # of the example: it was spread just so already


async def _written_down(mutation: str, watching: asyncpg.Connection, before: int) -> None:
    """Who did it, to what, and what it was before, stands in the audit trail."""
    rows = await watching.fetch("SELECT * FROM audit_entry ORDER BY id OFFSET $1", before)
    if mutation in AS_IT_WAS:
        return
    assert rows, f"{mutation} leaves no trace"
    assert {row["actor"] for row in rows} == {"key:admin"}
    assert any(row["after"] for row in rows)
    assert any(row["before"] for row in rows) or BEGINS.match(mutation), f"{mutation}: what it was is not told"


async def test_many_at_once_are_done_once(client: httpx.AsyncClient, world: World) -> None:
    asked = {"query": document("createSettingGroup"), "variables": {"input": {"name": "Twice"}}}
    answers = await asyncio.gather(
        *(client.post("/graphql", json=asked, headers={"idempotency-key": "twice"}) for _ in range(5))
    )
    ends = ["errors" in told or "extensions" in told for told in (answer.json() for answer in answers)]
    assert ends.count(False) == 1
    assert await SettingGroup.filter(name="Twice").count() == 1


async def test_a_key_that_was_made_lets_its_caller_in(api: Any) -> None:
    made = await api.ask(document("createApiKey"), input={"name": "till", "role": "FRONT_DESK"})
    token = made["data"]["it"]["token"]
    api.keys["till"] = token
    assert (await api.ask("{ viewer { name role } }", "till"))["data"]["viewer"] == {
        "name": "till",
        "role": "FRONT_DESK",
    }
    revoked = await api.ask(document("revokeApiKey"), input={"keyId": made["data"]["it"]["apiKey"]["id"]})
    assert revoked["data"]["it"]["apiKey"]["revokedAt"] is not None


async def test_a_member_joins_a_line_and_leaves_it(api: Any, world: World) -> None:
    own: Words = {"courseId": world.ids["full course"], "userId": world.ids["member"]}
    held = await WaitingPlace.filter(user_id=uuid_of(world, "member"), course_id=uuid_of(world, "full course"))
    for place in held:  # of the example
        await api.ask(document("leaveWaitingList"), input={"waitingPlaceId": encode("WaitingPlace", place.id)})
    joined = (await api.ask(document("joinWaitingList"), "MEMBER", input=own))["data"]["it"]
    assert (joined["userErrors"], joined["waitingPlace"]["position"]) == ([], 1)
    line = "query L($id: ID!) { course(id: $id) { placesTaken placesOffered waitingList { nodes { id state } } } }"
    mine = {"id": joined["waitingPlace"]["id"], "state": "WAITING"}
    told = (await api.ask(line, "MEMBER", id=own["courseId"]))["data"]["course"]
    assert (told["placesTaken"], told["placesOffered"], told["waitingList"]["nodes"][-1]) == (1, 0, mine)
    left = await api.ask(document("leaveWaitingList"), "MEMBER", input={"waitingPlaceId": mine["id"]})
    assert left["data"]["it"]["waitingPlace"]["state"] == "LEFT"
