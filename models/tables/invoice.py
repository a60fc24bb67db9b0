"""Subscription invoices mirrored from the card provider, split over classes, and shipped (R82-R112)."""

from uuid import UUID

from tortoise import fields

from models.rules.corrections import CorrectionCause, CorrectionState, Proposal, ShipmentKind
from models.rules.invoicing import Kind
from models.rules.states import InvoiceStatus, Provider, ShipmentState
from models.tables.row import Row, belongs_to, check, choice, document, minor_units, one_of, unique


class Invoice(Row):
    """A mirrored invoice. Its period is its lines' [period_start, period_end), never the invoice's own look-back (R95).

    `hold` says why it is not billed off yet; once billed off its last allocation is frozen. `amount_refunded` is what
    went back of it in money, `credited` what it left the customer as credit, `credit_used` what earlier credit paid of
    `total`, in which `tax` stands and from which `discount` is off. `user` pays it, `attendee` is whose classes it pays
    for: its subscription's beneficiary, until it is billed off. Of the credit it left, `drawn` was money of another
    invoice (`drawn_from`, its id there) and is taken off that one.
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
    attendee_id: UUID | None
    attendee = belongs_to("User", "attended_invoices", null=True)
    status: InvoiceStatus = choice(InvoiceStatus)
    currency = fields.CharField(max_length=3)
    amount_paid: int = minor_units()
    amount_refunded: int = minor_units(default=0)
    total: int = minor_units(default=0)
    tax: int = minor_units(default=0)
    discount: int = minor_units(default=0)
    credit_used: int = minor_units(default=0)
    credited: int = minor_units(default=0)
    drawn: int = minor_units(default=0)
    drawn_from = fields.CharField(max_length=255, null=True)
    period_start = fields.DatetimeField()
    period_end = fields.DatetimeField()
    hold = fields.CharField(max_length=40, null=True)
    billed_off_at = fields.DatetimeField(null=True)

    class Meta:
        table = "invoice"
        constraints = (
            one_of("invoice", "status", InvoiceStatus),
            check("invoice_period_in_order", "period_start < period_end"),
            check("invoice_attended_where_paid", "(user_id IS NULL) = (attendee_id IS NULL)"),
            check("invoice_refund_within_paid", "amount_refunded BETWEEN 0 AND amount_paid"),
            unique("invoice_once", "provider", "external_id"),
        )
        indexes = (
            ("user_id", "id"),
            ("attendee_id", "period_end"),
            ("drawn_from",),
            ("billed_off_at", "period_end"),
            ("subscription_id", "id"),
            ("membership_id", "id"),
            ("status", "id"),
            ("hold", "id"),
            ("period_end", "id"),
        )


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


class Correction(Row):
    """What changed at an invoice after it was billed off, and the change proposed for it; a person applies it.

    `change` holds what was and what is; `amount` is what a credit note gives back, empty where it is voided and issued
    anew.
    """

    invoice_id: UUID
    invoice = belongs_to("Invoice", "corrections")
    cause: CorrectionCause = choice(CorrectionCause)
    proposal: Proposal = choice(Proposal)
    state: CorrectionState = choice(CorrectionState, default=CorrectionState.OPEN)
    amount: int | None = minor_units(null=True)
    change = document(default=dict)
    answer = fields.CharField(max_length=255, null=True)

    class Meta:
        table = "correction"
        constraints = (
            one_of("correction", "cause", CorrectionCause),
            one_of("correction", "proposal", Proposal),
            one_of("correction", "state", CorrectionState),
            check("correction_amount_positive", "amount > 0"),
            check("correction_credit_note_has_amount", "(proposal = 'CREDIT_NOTE') = (amount IS NOT NULL)"),
            unique("correction_open_once", "invoice_id", "cause", where="state = 'OPEN'"),
        )
        indexes = (("state", "id"), ("invoice_id", "id"), ("cause", "id"))


class Shipment(Row):
    """A document's journey to one system; `reference` is ours, stands in what is sent and finds it again.

    An invoice ships once to each system, to the books with a credit note where not all its lines ask for stayed; what
    a correction ships names it.
    """

    invoice_id: UUID
    invoice = belongs_to("Invoice", "shipments")
    correction_id: UUID | None
    correction = belongs_to("Correction", "shipments", null=True)
    kind: ShipmentKind = choice(ShipmentKind, default=ShipmentKind.INVOICE)
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
            one_of("shipment", "kind", ShipmentKind),
            check("shipment_corrects_or_bills", "kind <> 'VOID' OR correction_id IS NOT NULL"),
            unique("shipment_once", "invoice_id", "system", "kind", where="correction_id IS NULL"),
            unique("shipment_of_correction_once", "correction_id", "system", "kind"),
            unique("shipment_reference_once", "system", "reference"),
        )
