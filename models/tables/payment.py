"""Money asked for and what became of it."""

from uuid import UUID

from tortoise import fields

from models.rules.states import PaymentPurpose, PaymentStatus, Provider
from models.tables.row import Row, belongs_to, check, choice, minor_units, one_of, unique


class Payment(Row):
    """One obligation, collected at most once.

    `key` is the idempotency key sent to the provider, stored before the call; `generation` rises only when the
    provider surely never executed the earlier one. `reference` is the provider's id of the collection.
    """

    user_id: UUID
    user = belongs_to("User", "payments")
    purpose: PaymentPurpose = choice(PaymentPurpose)
    booking_id: UUID | None
    booking = belongs_to("Booking", "payment", null=True, single=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "payments", null=True)
    mandate_id: UUID | None
    mandate = belongs_to("Mandate", "payments", null=True)
    provider: Provider = choice(Provider)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)
    status: PaymentStatus = choice(PaymentStatus, default=PaymentStatus.DUE)
    due_on = fields.DateField()
    period_start = fields.DateField(null=True)
    key = fields.CharField(max_length=120, unique=True)
    generation = fields.IntField(default=1)
    reference = fields.CharField(max_length=255, null=True)
    attempts = fields.IntField(default=0)
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
                " AND (purpose = 'MEMBERSHIP_FEE') = (membership_id IS NOT NULL)",
            ),
            unique("payment_reference_once", "provider", "reference"),
            unique("payment_fee_once_per_period", "membership_id", "period_start", where="status <> 'CANCELLED'"),
        )
        indexes = (("user_id", "id"), ("status", "due_on"))
