"""Money asked for, money given back, and what became of either."""

from uuid import UUID

from tortoise import fields

from models.rules.states import PaymentPurpose, PaymentStatus, Provider, RefundStatus
from models.tables.row import Row, belongs_to, check, choice, minor_units, one_of, unique


class Payment(Row):
    """One obligation, collected at most once.

    `key` is the idempotency key sent to the provider, stored before the call; `generation` rises only when the
    provider surely never executed the earlier one. `reference` is the provider's id of the collection. `asks` counts
    how often the provider was asked what became of it; `retry_on` is the day it is asked for again. One that is
    CARRIED is part of the amount of the payment `carried_by`, or of the next one where there is none yet.
    """

    user_id: UUID
    user = belongs_to("User", "payments")
    purpose: PaymentPurpose = choice(PaymentPurpose)
    booking_id: UUID | None
    booking = belongs_to("Booking", "payment", null=True, single=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "payments", null=True)
    package_id: UUID | None
    package = belongs_to("Package", "payment", null=True, single=True)
    mandate_id: UUID | None
    mandate = belongs_to("Mandate", "payments", null=True)
    provider: Provider = choice(Provider)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)
    status: PaymentStatus = choice(PaymentStatus, default=PaymentStatus.DUE)
    due_on = fields.DateField()
    retry_on = fields.DateField(null=True)
    carried_by_id: UUID | None
    carried_by = belongs_to("Payment", "carries", null=True)
    period_start = fields.DateField(null=True)
    key = fields.CharField(max_length=120, unique=True)
    generation = fields.IntField(default=1)
    reference = fields.CharField(max_length=255, null=True)
    attempts = fields.IntField(default=0)
    asks = fields.IntField(default=0)
    failure = fields.CharField(max_length=60, null=True)
    will_retry = fields.BooleanField(default=False)

    class Meta:
        table = "payment"
        constraints = (
            one_of("payment", "purpose", PaymentPurpose),
            one_of("payment", "status", PaymentStatus),
            one_of("payment", "provider", Provider),
            check("payment_amount_positive", "amount > 0"),
            check(
                "payment_is_for_one_thing",
                "(purpose = 'BOOKING') = (booking_id IS NOT NULL)"
                " AND (purpose = 'MEMBERSHIP_FEE') = (membership_id IS NOT NULL)"
                " AND (purpose = 'PACKAGE') = (package_id IS NOT NULL)",
            ),
            unique("payment_reference_once", "provider", "reference"),
            check("payment_carried_is_carried", "carried_by_id IS NULL OR status = 'CARRIED'"),
            unique("payment_fee_once_per_period", "membership_id", "period_start", where="status <> 'CANCELLED'"),
        )
        indexes = (
            ("user_id", "id"),
            ("status", "due_on"),
            ("membership_id", "id"),
            ("retry_on",),
            ("status", "id"),
            ("provider", "id"),
            ("due_on", "id"),
            ("amount", "id"),
            ("created_at", "id"),
        )


class Refund(Row):
    """Money to give back of one payment, at most once; all refunds of a payment never exceed what was received.

    `key`, `generation`, `reference`, `attempts` and `asks` are as a payment's.
    """

    payment_id: UUID
    payment = belongs_to("Payment", "refunds")
    user_id: UUID
    user = belongs_to("User", "refunds")
    provider: Provider = choice(Provider)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)
    status: RefundStatus = choice(RefundStatus, default=RefundStatus.DUE)
    reason = fields.CharField(max_length=200)
    key = fields.CharField(max_length=120, unique=True)
    generation = fields.IntField(default=1)
    reference = fields.CharField(max_length=255, null=True)
    attempts = fields.IntField(default=0)
    asks = fields.IntField(default=0)
    failure = fields.CharField(max_length=60, null=True)

    class Meta:
        table = "refund"
        constraints = (
            one_of("refund", "provider", Provider),
            one_of("refund", "status", RefundStatus),
            check("refund_amount_positive", "amount > 0"),
            unique("refund_reference_once", "provider", "reference"),
        )
        indexes = (("payment_id", "id"), ("user_id", "id"))
