"""Subscription invoices mirrored from the card provider, split over classes, and shipped (R82-R112)."""

from uuid import UUID

from tortoise import fields

from models.rules.invoicing import Kind
from models.rules.states import InvoiceStatus, Provider, ShipmentState
from models.tables.row import Row, belongs_to, check, choice, document, minor_units, one_of, unique


class Invoice(Row):
    """A mirrored invoice. Its period is its lines' [period_start, period_end), never the invoice's own look-back (R95).

    `hold` says why it is not billed off yet; once billed off its last allocation is frozen.
    """

    provider: Provider = choice(Provider)
    external_id = fields.CharField(max_length=255)
    number = fields.CharField(max_length=64, null=True)
    subscription_id: UUID | None
    subscription = belongs_to("Subscription", "invoices", null=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "invoices", null=True)
    user_id: UUID | None
    user = belongs_to("User", "invoices", null=True)
    status: InvoiceStatus = choice(InvoiceStatus)
    currency = fields.CharField(max_length=3)
    amount_paid: int = minor_units()
    amount_refunded: int = minor_units(default=0)
    period_start = fields.DatetimeField()
    period_end = fields.DatetimeField()
    hold = fields.CharField(max_length=40, null=True)
    billed_off_at = fields.DatetimeField(null=True)

    class Meta:
        table = "invoice"
        constraints = (
            one_of("invoice", "status", InvoiceStatus),
            check("invoice_period_in_order", "period_start < period_end"),
            check("invoice_refund_within_paid", "amount_refunded BETWEEN 0 AND amount_paid"),
            unique("invoice_once", "provider", "external_id"),
        )
        indexes = (("user_id", "id"), ("billed_off_at", "period_end"))


class InvoiceItem(Row):
    """A line of the mirrored invoice as its provider wrote it; accounting gets these, never classes (R112)."""

    invoice_id: UUID
    invoice = belongs_to("Invoice", "items")
    external_id = fields.CharField(max_length=255)
    position = fields.IntField()
    description = fields.CharField(max_length=500)
    amount: int = minor_units()
    product = fields.CharField(max_length=255, null=True)
    proration = fields.BooleanField(default=False)

    class Meta:
        table = "invoice_item"
        constraints = (unique("invoice_item_once", "invoice_id", "external_id"),)


class Allocation(Row):
    """One version of how an invoice's money is spread; older versions stay (R86-R88)."""

    invoice_id: UUID
    invoice = belongs_to("Invoice", "allocations")
    version = fields.IntField()
    kind: Kind = choice(Kind)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)
    because = document(default=list)
    current = fields.BooleanField(default=True)

    class Meta:
        table = "allocation"
        constraints = (
            one_of("allocation", "kind", Kind),
            unique("allocation_version_once", "invoice_id", "version"),
            unique("allocation_one_current", "invoice_id", where="current"),
        )


class AllocationShare(Row):
    """What one attendance carries of an allocation, in minor units of its currency."""

    allocation_id: UUID
    allocation = belongs_to("Allocation", "shares")
    attendance_id: UUID
    attendance = belongs_to("Attendance", "shares")
    position = fields.IntField()
    amount: int = minor_units()

    class Meta:
        table = "allocation_share"
        constraints = (
            unique("allocation_share_once", "allocation_id", "attendance_id"),
            unique("allocation_share_position", "allocation_id", "position"),
        )


class Shipment(Row):
    """One invoice's journey to one system; `reference` is ours, stands in what is sent and finds it again."""

    invoice_id: UUID
    invoice = belongs_to("Invoice", "shipments")
    system: Provider = choice(Provider)
    state: ShipmentState = choice(ShipmentState, default=ShipmentState.PENDING)
    reference = fields.CharField(max_length=120)
    external_id = fields.CharField(max_length=255, null=True)
    shipped_at = fields.DatetimeField(null=True)

    class Meta:
        table = "shipment"
        constraints = (
            one_of("shipment", "system", Provider),
            one_of("shipment", "state", ShipmentState),
            check(
                "shipment_shipped_has_id", "(state = 'SHIPPED') = (external_id IS NOT NULL AND shipped_at IS NOT NULL)"
            ),
            unique("shipment_once", "invoice_id", "system"),
            unique("shipment_reference_once", "system", "reference"),
        )
