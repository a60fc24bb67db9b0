"""Membership types with their payment options and covered classes, memberships, and the mandates that pay them."""

from uuid import UUID

from tortoise import fields

from models.rules.lifecycle import Status
from models.rules.pricing import Integration, MembershipKind
from models.rules.states import MandateStatus, Provider, SubscriptionStatus
from models.tables.row import Row, belongs_to, check, choice, minor_units, one_of, unique


class MembershipType(Row):
    """What can be bought. The integration is fixed at creation (R27); a product belongs to one type (R94).

    `centre` is where the memberships of subscriptions to `product` belong; others name theirs when they start.
    """

    name = fields.CharField(max_length=120)
    integration: Integration = choice(Integration)
    kind: MembershipKind = choice(MembershipKind)
    term_months = fields.IntField(null=True)
    sessions = fields.IntField(null=True)
    credits_per_period = fields.IntField(null=True)
    product = fields.CharField(max_length=255, null=True, unique=True)
    centre_id: UUID | None
    centre = belongs_to("Centre", "membership_types", null=True)

    class Meta:
        table = "membership_type"
        constraints = (
            one_of("membership_type", "integration", Integration),
            one_of("membership_type", "kind", MembershipKind),
            check("membership_type_grants_credits", "credits_per_period >= 1"),
            check("membership_type_product_has_centre", "product IS NULL OR centre_id IS NOT NULL"),
            check(
                "membership_type_term",
                "(kind = 'FIXED_TERM') = (term_months IS NOT NULL) AND coalesce(term_months, 1) >= 1",
            ),
            check(
                "membership_type_sessions",
                "(kind = 'SESSIONS') = (sessions IS NOT NULL) AND coalesce(sessions, 1) >= 1",
            ),
        )


class PaymentOption(Row):
    """A pricing option of a membership type. `coursepro` repeats the type's integration for constraint R29."""

    membership_type_id: UUID
    membership_type = belongs_to("MembershipType", "payment_options")
    pricing_option_id: UUID
    pricing_option = belongs_to("PricingOption", "payment_options")
    coursepro = fields.BooleanField(default=False)

    class Meta:
        table = "payment_option"
        constraints = (
            unique("payment_option_once", "membership_type_id", "pricing_option_id"),
            unique("payment_option_single_for_coursepro", "membership_type_id", where="coursepro"),
        )


class ClassType(Row):
    """A kind of class; `practice_id` is its id in the practice system (R93)."""

    name = fields.CharField(max_length=120)
    practice_id = fields.CharField(max_length=64, null=True, unique=True)

    class Meta:
        table = "class_type"


class Coverage(Row):
    """From when until when a membership type covers a class type; read as of the class's start (R97)."""

    membership_type_id: UUID
    membership_type = belongs_to("MembershipType", "coverage")
    class_type_id: UUID
    class_type = belongs_to("ClassType", "coverage")
    covered_from = fields.DatetimeField()
    covered_until = fields.DatetimeField(null=True)

    class Meta:
        table = "coverage"
        constraints = (
            check("coverage_in_order", "covered_until IS NULL OR covered_from < covered_until"),
            unique("coverage_open_once", "membership_type_id", "class_type_id", where="covered_until IS NULL"),
        )


class Mandate(Row):
    """A direct debit instruction at its provider; pending until it can be charged."""

    user_id: UUID
    user = belongs_to("User", "mandates")
    provider: Provider = choice(Provider)
    external_id = fields.CharField(max_length=255, null=True)
    request_id = fields.CharField(max_length=255, null=True)
    authorisation_url: str | None = fields.TextField(null=True)
    status: MandateStatus = choice(MandateStatus, default=MandateStatus.PENDING)

    class Meta:
        table = "mandate"
        constraints = (
            one_of("mandate", "status", MandateStatus),
            one_of("mandate", "provider", Provider),
            unique("mandate_once", "provider", "external_id"),
            unique("mandate_request_once", "provider", "request_id"),
        )
        indexes = (("user_id", "id"), ("status", "id"))


class Membership(Row):
    """One person's membership. `version` rises with every change of status, so a late push is known as late.

    One that took over from another when its course was moved owes fees from `fees_from` on, not for what was paid.

    `amount` is the agreed fee; empty where the card provider keeps the price of the subscription. `next_fee_on` is the
    first day of the next period to be asked for, None where none is; `billing_day` the day of the month its periods
    begin on, None for its anniversary.
    """

    user_id: UUID
    user = belongs_to("User", "memberships")
    membership_type_id: UUID
    membership_type = belongs_to("MembershipType", "memberships")
    centre_id: UUID
    centre = belongs_to("Centre", "memberships")
    pricing_option_id: UUID | None
    pricing_option = belongs_to("PricingOption", "memberships", null=True)
    mandate_id: UUID | None
    mandate = belongs_to("Mandate", "memberships", null=True)
    amount: int | None = minor_units(null=True)
    currency = fields.CharField(max_length=3)
    status: Status = choice(Status)
    reason = fields.CharField(max_length=40, null=True)
    starts_on = fields.DateField()
    ends_on = fields.DateField(null=True)
    course_ref = fields.CharField(max_length=64, null=True)
    cart_ref = fields.CharField(max_length=64, null=True)
    moved_from_id: UUID | None
    moved_from = belongs_to("Membership", "moved_to", null=True, single=True)
    fees_from = fields.DateField(null=True)
    next_fee_on = fields.DateField(null=True)
    billing_day = fields.IntField(null=True)
    version = fields.IntField(default=1)

    class Meta:
        table = "membership"
        constraints = (
            one_of("membership", "status", Status),
            check("membership_amount_not_negative", "amount >= 0"),
            check("membership_days_in_order", "ends_on IS NULL OR starts_on <= ends_on"),
            check("membership_billing_day_known", "billing_day BETWEEN 1 AND 31"),
        )
        indexes = (
            ("user_id", "id"),
            ("status", "id"),
            ("next_fee_on", "id"),
            ("updated_at", "id"),
            ("membership_type_id", "id"),
            ("centre_id", "id"),
            ("mandate_id", "id"),
            ("starts_on", "id"),
            ("created_at", "id"),
        )


class Subscription(Row):
    """A card subscription mirrored from its provider; whose it is stays empty until it is sure (R82-R92).

    It pays for the classes of `beneficiary`, a parent's child perhaps, else of the user themselves (R92).
    """

    provider: Provider = choice(Provider)
    external_id = fields.CharField(max_length=255)
    customer = fields.CharField(max_length=255)
    product = fields.CharField(max_length=255)
    status: SubscriptionStatus = choice(SubscriptionStatus)
    user_id: UUID | None
    user = belongs_to("User", "subscriptions", null=True)
    beneficiary_id: UUID | None
    beneficiary = belongs_to("User", "subscriptions_for", null=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "subscription", null=True, single=True)

    class Meta:
        table = "subscription"
        constraints = (
            one_of("subscription", "status", SubscriptionStatus),
            unique("subscription_once", "provider", "external_id"),
        )
        indexes = (("user_id", "id"), ("status", "id"))
