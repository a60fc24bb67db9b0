"""How lists are narrowed and sorted."""

from datetime import date, datetime
from typing import Any

import strawberry

from models.rules.corrections import CorrectionCause, CorrectionState
from models.rules.invoicing import Hold, Mark
from models.rules.ledger import Movement
from models.rules.lifecycle import Status
from models.rules.matching import normalised_email
from models.rules.partners import DeliveryState
from models.rules.pricing import Integration, OptionType
from models.rules.states import (
    BookingStatus,
    InboxState,
    InvoiceStatus,
    JobState,
    MandateStatus,
    Owner,
    PaymentStatus,
    Probe,
    Provider,
    ReviewKind,
    ReviewState,
    SubscriptionStatus,
    UserState,
    WaitingState,
)
from resolvers.reads.declare import given, orders, where

ID = strawberry.ID


def _ids(type_name: str, column: str = "id") -> Any:
    return where(
        f"Only those whose {column.replace('_', ' ')} is one of these.",
        f"{{row}}.{column} = ANY({{value}}::uuid[])",
        ids=type_name,
    )


def _of(type_name: str, column: str) -> Any:
    return where(f"Only those of this {type_name}.", f"{{row}}.{column} = {{value}}::uuid", ids=type_name)


def _words(column: str) -> Any:
    return where(f"Only those whose {column} is one of these.", f"{{row}}.{column} = ANY({{value}}::text[])")


def _instants(column: str) -> Any:
    return where(
        f"Only those whose {column.replace('_', ' ')} lies within.",
        f"{{row}}.{column} {{op}} {{value}}::timestamptz",
        bounds=True,
    )


def _days(column: str) -> Any:
    return where(
        f"Only those whose {column.replace('_', ' ')} lies within.",
        f"{{row}}.{column} {{op}} {{value}}::date",
        bounds=True,
    )


def _is(description: str, condition: str) -> Any:
    return where(description, f"({condition}) = {{value}}::boolean")


@given("A stretch of instants; either side may be left open.")
class DateTimeRange:
    """[gte, lt)."""

    gte: datetime | None = strawberry.field(description="The first instant inside.", default=strawberry.UNSET)
    lt: datetime | None = strawberry.field(description="The first instant no longer inside.", default=strawberry.UNSET)


@given("A stretch of days; either side may be left open.")
class DateRange:
    """[gte, lt)."""

    gte: date | None = strawberry.field(description="The first day inside.", default=strawberry.UNSET)
    lt: date | None = strawberry.field(description="The first day no longer inside.", default=strawberry.UNSET)


@strawberry.input(one_of=True, description="Exactly one way to name a user.")
class UserBy:
    """By id, e-mail address or another system's id."""

    id: strawberry.Maybe[ID] = where("By id.", "{row}.id = {value}::uuid", ids="User")
    email: strawberry.Maybe[str] = where(
        "By e-mail address, whatever its case; the user longest known where several share it.",
        "{row}.email_key = {value}::text",
        plain=normalised_email,
    )
    coursepro_id: strawberry.Maybe[str] = where(
        "By the id CoursePro knows the user by.",
        "{row}.id = (SELECT user_id FROM external_link WHERE provider = 'COURSEPRO' AND kind = 'user'"
        " AND state <> 'UNLINKED' AND external_id = {value}::text)",
    )


@strawberry.input(one_of=True, description="Exactly one way to name an invoice.")
class InvoiceBy:
    """By id or its provider's id."""

    id: strawberry.Maybe[ID] = where("By id.", "{row}.id = {value}::uuid", ids="Invoice")
    external_id: strawberry.Maybe[str] = where(
        "By its provider's id, as Stripe's `in_...`.", "{row}.external_id = {value}::text"
    )


@strawberry.input(one_of=True, description="Exactly one way to name a payment.")
class PaymentBy:
    """By id or its provider's id."""

    id: strawberry.Maybe[ID] = where("By id.", "{row}.id = {value}::uuid", ids="Payment")
    reference: strawberry.Maybe[str] = where(
        "By its provider's id, as GoCardless' `PM...` or Stripe's `pi_...`.", "{row}.reference = {value}::text"
    )


@given("Which users.")
class UserFilter:
    """For lists of users."""

    ids: list[ID] | None = _ids("User")
    state: list[UserState] | None = _words("state")
    email: str | None = where(
        "Only those with this e-mail address, whatever its case.",
        "{row}.email_key = {value}::text",
        plain=normalised_email,
    )
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which centres.")
class CentreFilter:
    """For lists of centres."""

    ids: list[ID] | None = _ids("Centre")
    setting_group_id: ID | None = _of("SettingGroup", "setting_group_id")


@given("Which pricing options.")
class PricingOptionFilter:
    """For lists of pricing options."""

    ids: list[ID] | None = _ids("PricingOption")
    type: list[OptionType] | None = _words("option_type")


@given("Which membership types.")
class MembershipTypeFilter:
    """For lists of membership types."""

    ids: list[ID] | None = _ids("MembershipType")
    integration: list[Integration] | None = _words("integration")


@given("Which memberships.")
class MembershipFilter:
    """For lists of memberships."""

    ids: list[ID] | None = _ids("Membership")
    status: list[Status] | None = _words("status")
    user_id: ID | None = _of("User", "user_id")
    type_id: ID | None = _of("MembershipType", "membership_type_id")
    centre_id: ID | None = _of("Centre", "centre_id")
    starts_on: DateRange | None = _days("starts_on")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which mandates.")
class MandateFilter:
    """For lists of mandates."""

    ids: list[ID] | None = _ids("Mandate")
    status: list[MandateStatus] | None = _words("status")
    user_id: ID | None = _of("User", "user_id")


@given("Which card subscriptions.")
class CardSubscriptionFilter:
    """For lists of card subscriptions."""

    ids: list[ID] | None = _ids("CardSubscription")
    status: list[SubscriptionStatus] | None = _words("status")
    user_id: ID | None = _of("User", "user_id")
    linked: bool | None = _is("Whether it is known whose they are.", "{row}.user_id IS NOT NULL")
    managed: bool | None = _is(
        "Whether a membership type stands for their product.",
        "EXISTS (SELECT 1 FROM membership_type mt WHERE mt.product = {row}.product)",
    )


@given("Which courses.")
class CourseFilter:
    """For lists of courses."""

    ids: list[ID] | None = _ids("Course")
    centre_id: ID | None = _of("Centre", "centre_id")
    owner: list[Owner] | None = _words("owner")
    ends_after: datetime | None = where(
        "Only those with a class that starts after this instant.",
        "EXISTS (SELECT 1 FROM class_session s WHERE s.course_id = {row}.id"
        " AND s.deleted_at IS NULL AND s.starts_at > {value}::timestamptz)",
    )


@given("Which class sessions.")
class ClassSessionFilter:
    """For lists of class sessions."""

    ids: list[ID] | None = _ids("ClassSession")
    centre_id: ID | None = _of("Centre", "centre_id")
    starts_at: DateTimeRange | None = _instants("starts_at")
    deleted: bool | None = _is("Whether they were deleted.", "{row}.deleted_at IS NOT NULL")


@given("Which attendances.")
class AttendanceFilter:
    """For lists of attendances."""

    ids: list[ID] | None = _ids("Attendance")
    mark: list[Mark] | None = _words("mark")
    user_id: ID | None = _of("User", "user_id")


@given("Which bookings.")
class BookingFilter:
    """For lists of bookings."""

    ids: list[ID] | None = _ids("Booking")
    status: list[BookingStatus] | None = _words("status")
    user_id: ID | None = _of("User", "user_id")
    course_id: ID | None = _of("Course", "course_id")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which places on waiting lists.")
class WaitingPlaceFilter:
    """For lists of waiting places."""

    ids: list[ID] | None = _ids("WaitingPlace")
    state: list[WaitingState] | None = _words("state")
    user_id: ID | None = _of("User", "user_id")
    course_id: ID | None = _of("Course", "course_id")


@given("Which packages.")
class PackageFilter:
    """For lists of packages."""

    ids: list[ID] | None = _ids("Package")
    user_id: ID | None = _of("User", "user_id")
    valid_from: DateTimeRange | None = _instants("valid_from")


@given("Which packs on sale.")
class PackageOfferFilter:
    """For lists of package offers."""

    ids: list[ID] | None = _ids("PackageOffer")
    class_type_id: ID | None = _of("ClassType", "class_type_id")
    course_id: ID | None = _of("Course", "course_id")


@given("Which movements of credits.")
class CreditEntryFilter:
    """For lists of credit entries."""

    ids: list[ID] | None = _ids("CreditEntry")
    booking_id: ID | None = _of("Booking", "booking_id")


@given("Which payments.")
class PaymentFilter:
    """For lists of payments."""

    ids: list[ID] | None = _ids("Payment")
    status: list[PaymentStatus] | None = _words("status")
    provider: list[Provider] | None = _words("provider")
    user_id: ID | None = _of("User", "user_id")
    due_on: DateRange | None = _days("due_on")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which invoices.")
class InvoiceFilter:
    """For lists of invoices."""

    ids: list[ID] | None = _ids("Invoice")
    status: list[InvoiceStatus] | None = _words("status")
    user_id: ID | None = _of("User", "user_id")
    period_end: DateTimeRange | None = _instants("period_end")
    billed_off: bool | None = _is("Whether they are billed off.", "{row}.billed_off_at IS NOT NULL")
    held: bool | None = _is("Whether something holds them back.", "{row}.hold IS NOT NULL")
    hold: list[Hold] | None = _words("hold")
    credit_used: bool | None = _is("Whether earlier credit paid a part of them.", "{row}.credit_used > 0")


@given("Which movements of money.")
class LedgerEntryFilter:
    """For lists of ledger entries."""

    ids: list[ID] | None = _ids("LedgerEntry")
    movement: list[Movement] | None = _words("movement")
    payment_id: ID | None = _of("Payment", "payment_id")
    invoice_id: ID | None = _of("Invoice", "invoice_id")
    user_id: ID | None = _of("User", "user_id")
    at: DateTimeRange | None = _instants("at")


@given("Which corrections.")
class CorrectionFilter:
    """For lists of corrections."""

    ids: list[ID] | None = _ids("Correction")
    state: list[CorrectionState] | None = _words("state")
    cause: list[CorrectionCause] | None = _words("cause")
    invoice_id: ID | None = _of("Invoice", "invoice_id")


@given("Which access tokens.")
class AccessTokenFilter:
    """For lists of access tokens."""

    ids: list[ID] | None = _ids("AccessToken")
    user_id: ID | None = _of("User", "user_id")
    centre_id: ID | None = _of("Centre", "centre_id")
    valid_until: DateTimeRange | None = _instants("valid_until")
    revoked: bool | None = _is("Whether they were taken back.", "{row}.revoked_at IS NOT NULL")


@given("Which questions.")
class ReviewItemFilter:
    """For lists of review items."""

    ids: list[ID] | None = _ids("ReviewItem")
    kind: list[ReviewKind] | None = _words("kind")
    state: list[ReviewState] | None = _words("state")
    user_id: ID | None = _of("User", "user_id")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which messages.")
class NotificationFilter:
    """For lists of messages."""

    ids: list[ID] | None = _ids("Notification")
    sent: bool | None = _is("Whether they were sent.", "{row}.sent_at IS NOT NULL")


@given("Which jobs.")
class JobFilter:
    """For lists of jobs."""

    ids: list[ID] | None = _ids("Job")
    status: list[JobState] | None = where(
        "Only those whose status is one of these.", "{row}.state = ANY({value}::text[])"
    )
    kind: list[str] | None = _words("kind")
    user_id: ID | None = _of("User", "user_id")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which webhook events.")
class WebhookEventFilter:
    """For lists of webhook events."""

    ids: list[ID] | None = _ids("WebhookEvent")
    provider: list[Provider] | None = _words("provider")
    state: list[InboxState] | None = _words("state")
    created_at: DateTimeRange | None = _instants("created_at")


@given("Which audit entries.")
class AuditEntryFilter:
    """For lists of audit entries."""

    ids: list[ID] | None = _ids("AuditEntry")
    verb: list[str] | None = _words("verb")
    at: DateTimeRange | None = _instants("at")


@given("Which API keys.")
class ApiKeyFilter:
    """For lists of API keys."""

    ids: list[ID] | None = _ids("ApiKey")
    revoked: bool | None = _is("Whether they were taken back.", "{row}.revoked_at IS NOT NULL")


@given("Which trial purchases.")
class ProbeRunFilter:
    """For lists of trial purchases."""

    ids: list[ID] | None = _ids("ProbeRun")
    probe: list[Probe] | None = _words("probe")
    passed: bool | None = _is("Whether they went well.", "{row}.passed")


@given("Which mappings of courses.")
class CourseMappingFilter:
    """For lists of mappings."""

    ids: list[ID] | None = _ids("CourseMapping")
    course_ref: list[str] | None = _words("course_ref")
    pricing_option_id: ID | None = _of("PricingOption", "pricing_option_id")
    centre_id: ID | None = _of("Centre", "centre_id")
    verified: bool | None = _is("Whether a valid cart used them.", "{row}.verified_at IS NOT NULL")


@given("Which drifts.")
class DriftFilter:
    """For lists of drifts."""

    ids: list[ID] | None = _ids("Drift")
    provider: list[Provider] | None = _words("provider")
    field: list[str] | None = _words("field")
    cause: list[str] | None = _words("cause")
    at: DateTimeRange | None = _instants("at")


@given("Which endpoints.")
class WebhookEndpointFilter:
    """For lists of endpoints."""

    ids: list[ID] | None = _ids("WebhookEndpoint")
    enabled: bool | None = _is("Whether they are sent anything.", "{row}.enabled")


@given("Which messages to partners.")
class WebhookMessageFilter:
    """For lists of messages."""

    ids: list[ID] | None = _ids("WebhookMessage")
    endpoint_id: ID | None = _of("WebhookEndpoint", "endpoint_id")
    state: list[DeliveryState] | None = _words("state")
    topic: list[str] | None = _words("topic")
    created_at: DateTimeRange | None = _instants("created_at")


# Ids are made in order of time, so the order of creation is theirs.
_CREATED = ("id:uuid", "When it was created.")
_NAMED = ("name:text", "Its name.")
_AT = "timestamptz"

orders(
    "User",
    CREATED_AT=_CREATED,
    LAST_NAME=("last_name:text", "Family name."),
    FIRST_NAME=("first_name:text", "Given name."),
)
orders("Centre", CREATED_AT=_CREATED, NAME=_NAMED)
orders("PricingOption", CREATED_AT=_CREATED, NAME=_NAMED)
orders("MembershipType", CREATED_AT=_CREATED, NAME=_NAMED)
orders("Membership", CREATED_AT=_CREATED, STARTS_ON=("starts_on:date", "Its first day."))
orders("Mandate", CREATED_AT=_CREATED)
orders("CardSubscription", CREATED_AT=_CREATED)
orders("Course", CREATED_AT=_CREATED, NAME=_NAMED)
orders("ClassSession", CREATED_AT=_CREATED, STARTS_AT=(f"starts_at:{_AT}", "When it starts."))
orders("Attendance", CREATED_AT=_CREATED)
orders("Booking", CREATED_AT=_CREATED)
orders("WaitingPlace", CREATED_AT=_CREATED)
orders("Package", CREATED_AT=_CREATED, VALID_FROM=(f"valid_from:{_AT}", "The first instant it is valid."))
orders("PackageOffer", CREATED_AT=_CREATED, NAME=_NAMED)
orders("CreditEntry", CREATED_AT=_CREATED)
orders(
    "Payment", CREATED_AT=_CREATED, DUE_ON=("due_on:date", "The day it is due."), AMOUNT=("amount:bigint", "How much.")
)
orders("Invoice", CREATED_AT=_CREATED, PERIOD_END=(f"period_end:{_AT}", "The end of what it pays for."))
orders("LedgerEntry", CREATED_AT=_CREATED, AT=(f"at:{_AT}", "When it happened."))
orders("AccessToken", CREATED_AT=_CREATED, VALID_UNTIL=(f"valid_until:{_AT}", "The first instant it no longer opens."))
orders("ReviewItem", CREATED_AT=_CREATED)
orders("Notification", CREATED_AT=_CREATED)
orders("Job", CREATED_AT=_CREATED)
orders("WebhookEvent", CREATED_AT=_CREATED)
orders("AuditEntry", CREATED_AT=_CREATED, AT=(f"at:{_AT}", "When it happened."))
orders("ProbeRun", CREATED_AT=_CREATED, AT=(f"at:{_AT}", "When it was looked for."))
orders("CourseMapping", CREATED_AT=_CREATED, COURSE_REF=("course_ref:text", "The course's id there."))
orders("Correction", CREATED_AT=_CREATED)
orders("Drift", CREATED_AT=_CREATED, AT=(f"at:{_AT}", "When it was said."))
orders("WebhookEndpoint", CREATED_AT=_CREATED)
orders("WebhookMessage", CREATED_AT=_CREATED)
orders("ApiKey", CREATED_AT=_CREATED, NAME=_NAMED)
