"""Billed-off invoices on their way to the practice system and the books, each once (R89, R107, R111, R112)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import money_proof
from models.actions.unit import unit
from models.actions.users import linked
from models.ports import OutgoingInvoice, ShippedItem
from models.rules.calendar import day_at
from models.rules.events import InvoiceBilledOff, InvoiceShipped
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ShipmentState
from models.tables.centre import Centre
from models.tables.course import Attendance
from models.tables.invoice import Allocation, AllocationShare, Invoice, InvoiceItem, Shipment
from models.tables.membership import Membership, MembershipType
from models.tables.user import User


async def awaited(invoice_id: UUID, system: Provider) -> bool:
    """Whether an invoice still has to reach a system."""
    return await Shipment.filter(invoice_id=invoice_id, system=system).exclude(state=ShipmentState.SHIPPED).exists()


async def begin_shipment(invoice_id: UUID, system: Provider, *, acting: str, at: datetime) -> OutgoingInvoice | None:
    """Write down that a system is about to get an invoice -> what to send, or None where it has it or is not to.

    Raises Refusal MONEY_BREAK.
    """
    async with unit(acting=acting, at=at):
        shipment = await Shipment.filter(invoice_id=invoice_id, system=system).select_for_update().first()
        if shipment is None or shipment.state is ShipmentState.SHIPPED:
            return None
        await money_proof.check_invoice(invoice_id)
        shipment.state = ShipmentState.SENDING
        await shipment.save(update_fields=["state"])
        sold = await _sold(invoice_id)
        items = await (_itemised(sold) if system is Provider.NOOKAL else _plain(sold))
        return OutgoingInvoice(
            reference=shipment.reference,
            customer_ref=await linked(sold.user.id, system, "patient"),
            customer_name=f"{sold.user.first_name} {sold.user.last_name}",
            customer_email=sold.user.email,
            currency=sold.invoice.currency,
            issued_on=day_at(sold.invoice.period_end, ZoneInfo(sold.centre.zone)),
            items=items,
            location_ref=sold.centre.practice_location,
        )


@dataclass(frozen=True, slots=True)
class _Sold:
    """A billed-off invoice with whom, what and where it was sold."""

    invoice: Invoice
    user: User
    kind: MembershipType
    centre: Centre


async def _sold(invoice_id: UUID) -> _Sold:
    invoice = await Invoice.get(id=invoice_id)
    membership = await Membership.get(id=invoice.membership_id)
    return _Sold(
        invoice,
        await User.get(id=invoice.user_id),
        await MembershipType.get(id=membership.membership_type_id),
        await Centre.get(id=membership.centre_id),
    )


async def _itemised(sold: _Sold) -> tuple[ShippedItem, ...]:
    """One line a class, or one ad-hoc line tied to no class where none is left (R107)."""
    allocation = await Allocation.get(invoice_id=sold.invoice.id, current=True)
    shares = await AllocationShare.filter(allocation_id=allocation.id).order_by("position")
    if not shares:
        return (ShippedItem(sold.kind.name, allocation.amount),)
    zone = ZoneInfo(sold.centre.zone)
    classes = {
        seat.id: seat.class_session
        for seat in await Attendance.filter(id__in=[share.attendance_id for share in shares]).prefetch_related(
            "class_session__class_type"
        )
    }
    items = []
    for share in shares:
        session = classes[share.attendance_id]
        day = day_at(session.starts_at, zone)
        items.append(ShippedItem(f"{session.class_type.name}, {day:%d %b %Y}", share.amount, session.external_ref))
    return tuple(items)


async def _plain(sold: _Sold) -> tuple[ShippedItem, ...]:
    """The invoice's own lines, never its classes (R112)."""
    rows = await InvoiceItem.filter(invoice_id=sold.invoice.id).order_by("position")
    return tuple(ShippedItem(row.description, row.amount) for row in rows)


async def shipped(invoice_id: UUID, system: Provider, *, external_id: str, acting: str, at: datetime) -> None:
    """The other system has the invoice under its own id."""
    async with unit(acting=acting, at=at) as work:
        shipment = await Shipment.filter(invoice_id=invoice_id, system=system).select_for_update().get()
        if shipment.state is ShipmentState.SHIPPED:
            return
        shipment.state, shipment.external_id, shipment.shipped_at = ShipmentState.SHIPPED, external_id, at
        await shipment.save(update_fields=["state", "external_id", "shipped_at"])
        work.audit("ship_invoice", shipment, after={"system": system, "external_id": external_id})
        invoice = await Invoice.get(id=invoice_id)
        work.emit(InvoiceShipped(invoice_id=invoice_id, user_id=invoice.user_id))


async def ship_again(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Have a billed-off invoice's missing shipments tried now. Raises Refusal NOT_FOUND, INVOICE_NOT_DUE."""
    async with unit(acting=acting, at=at) as work:
        invoice = await Invoice.get_or_none(id=invoice_id)
        if invoice is None:
            raise Refusal(Code.NOT_FOUND, field=("invoiceId",))
        if invoice.billed_off_at is None:
            raise Refusal(Code.INVOICE_NOT_DUE, "It is not billed off yet.", field=("invoiceId",))
        if await Shipment.filter(invoice_id=invoice_id).exclude(state=ShipmentState.SHIPPED).exists():
            work.audit("ship_again", invoice)
            work.emit(InvoiceBilledOff(invoice_id=invoice.id, user_id=invoice.user_id))
    return invoice
