"""Billed-off invoices on their way to the practice system and the books, each once (R89, R107, R111, R112)."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import money_proof
from models.actions.unit import unit
from models.actions.users import linked, linked_before
from models.ports import Outgoing, OutgoingCredit, OutgoingInvoice, OutgoingVoid, ShippedItem
from models.rules.calendar import day_at
from models.rules.corrections import ShipmentKind, Shipped, issued, reference, standing
from models.rules.events import InvoiceBilledOff, InvoiceShipped
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ShipmentState
from models.tables.centre import Centre
from models.tables.course import Attendance
from models.tables.invoice import Allocation, AllocationShare, Correction, Invoice, InvoiceItem, Shipment
from models.tables.membership import Membership, MembershipType
from models.tables.user import User


async def awaited(invoice_id: UUID, system: Provider) -> bool:
    """Whether anything of an invoice still has to reach a system."""
    return await Shipment.filter(invoice_id=invoice_id, system=system).exclude(state=ShipmentState.SHIPPED).exists()


async def asked_by(invoice_ids: Collection[UUID]) -> Counter[UUID]:
    """What the lines of each invoice ask for, in minor units."""
    asked = Counter[UUID]()
    for invoice_id, amount in await InvoiceItem.filter(invoice_id__in=invoice_ids).values_list("invoice_id", "amount"):
        asked[invoice_id] += amount
    return asked


async def prepare(nets: Mapping[Invoice, int], systems: Iterable[Provider]) -> None:
    """Write down what each system is to get of invoices that are billed off, each with its net."""
    asked = await asked_by([invoice.id for invoice in nets])
    await Shipment.bulk_create(
        [
            Shipment(invoice_id=invoice.id, system=system, kind=kind, reference=_named(invoice, kind))
            for invoice, net in nets.items()
            for system in systems
            for kind in issued(system, asked[invoice.id], net)
        ]
    )


def _named(invoice: Invoice, kind: ShipmentKind) -> str:
    first = f"DUE-{invoice.external_id}"
    return first if kind is ShipmentKind.INVOICE else reference(first, kind, 0)


async def begin_shipment(invoice_id: UUID, system: Provider, *, acting: str, at: datetime) -> Outgoing | None:
    """Write down that a system is about to get an invoice, or what corrects it -> what to send, the first of it.

    None where it has all of it, or is to get none. Raises Refusal MONEY_BREAK.
    """
    async with unit(acting=acting, at=at):
        rows = await Shipment.every(invoice_id=invoice_id, system=system, lock=True, order=("id",))
        shipment = next((row for row in rows if row.state is not ShipmentState.SHIPPED), None)
        if shipment is None:
            return None
        await money_proof.check_invoice(invoice_id)
        shipment.state = ShipmentState.SENDING
        await shipment.save(update_fields=["state"])
        earlier = [Shipped(row.kind, row.external_id or "") for row in rows if row.state is ShipmentState.SHIPPED]
        return await _outgoing(shipment, standing(earlier))


async def begin_others(system: Provider, limit: int, *, acting: str, at: datetime) -> dict[UUID, OutgoingInvoice]:
    """Write down that a system is about to get further invoices nobody has begun to send -> what to send, by shipment.

    One that somebody else is about to begin is left to them; one whose money does not add up, to its own job.
    """
    async with unit(acting=acting, at=at):
        first = Shipment.filter(system=system, kind=ShipmentKind.INVOICE, correction_id__isnull=True)
        waiting = first.filter(state=ShipmentState.PENDING).select_for_update(skip_locked=True)
        free = await waiting.order_by("id").limit(limit)
        unsound = await money_proof.unsound(row.invoice_id for row in free)
        rows = [row for row in free if row.invoice_id not in unsound]
        await Shipment.filter(id__in=[row.id for row in rows]).update(state=ShipmentState.SENDING)
        found = {row.invoice_id: await _outgoing(row, ()) for row in rows}
        return {invoice_id: each for invoice_id, each in found.items() if isinstance(each, OutgoingInvoice)}


async def _outgoing(shipment: Shipment, stands: Sequence[Shipped]) -> Outgoing:
    if shipment.kind is ShipmentKind.VOID:
        notes = tuple(each.external_id for each in stands if each.kind is ShipmentKind.CREDIT_NOTE)
        (voided,) = (each.external_id for each in stands if each.kind is ShipmentKind.INVOICE)
        return OutgoingVoid(shipment.reference, voided, notes)
    sold = await _sold(shipment.invoice_id)
    if shipment.kind is ShipmentKind.CREDIT_NOTE:
        correction = await Correction.one(id=shipment.correction_id)
        back = correction.amount if correction else None
        if back is None:  # it goes with the invoice: of its lines this did not stay
            version = await Allocation.known(invoice_id=sold.invoice.id, current=True)
            back = (await asked_by([sold.invoice.id]))[sold.invoice.id] - version.amount
        item = ShippedItem(f"{sold.kind.name}: given back", back)
        return OutgoingCredit(
            await _addressed(shipment, sold, (item,)), sold.invoice.number or sold.invoice.external_id
        )
    items = await (_itemised(sold) if shipment.system is Provider.NOOKAL else _plain(sold))
    return await _addressed(shipment, sold, items)


async def _addressed(shipment: Shipment, sold: "_Sold", items: tuple[ShippedItem, ...]) -> OutgoingInvoice:
    return OutgoingInvoice(
        reference=shipment.reference,
        customer_ref=await linked(sold.attends, shipment.system, "patient"),
        customer_name=f"{sold.user.first_name} {sold.user.last_name}",
        customer_email=sold.user.email,
        currency=sold.invoice.currency,
        issued_on=day_at(sold.invoice.period_end, ZoneInfo(sold.centre.zone)),
        items=items,
        location_ref=sold.centre.practice_location,
        known_as=await linked_before(sold.attends, shipment.system, "patient"),
    )


@dataclass(frozen=True, slots=True)
class _Sold:
    """A billed-off invoice with whom, what and where it was sold, and who attends the classes it pays for (R92)."""

    invoice: Invoice
    user: User
    attends: UUID
    kind: MembershipType
    centre: Centre


async def _sold(invoice_id: UUID) -> _Sold:
    invoice = await Invoice.known(id=invoice_id)
    membership = await Membership.known(id=invoice.membership_id)
    user = await User.known(id=invoice.user_id)
    return _Sold(
        invoice,
        user,
        invoice.attendee_id or user.id,
        await MembershipType.known(id=membership.membership_type_id),
        await Centre.known(id=membership.centre_id),
    )


async def _itemised(sold: _Sold) -> tuple[ShippedItem, ...]:
    """One line a class, or one ad-hoc line tied to no class where none is left (R107)."""
    allocation = await Allocation.known(invoice_id=sold.invoice.id, current=True)
    shares = await AllocationShare.every(allocation_id=allocation.id, order=("position",))
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
    rows = await InvoiceItem.every(invoice_id=sold.invoice.id, order=("position",))
    return tuple(ShippedItem(row.description, row.amount) for row in rows)


async def shipped(
    invoice_id: UUID, system: Provider, *, external_id: str, acting: str, at: datetime, reference: str | None = None
) -> None:
    """The other system has the invoice, or what corrects it (`reference`), under its own id."""
    async with unit(acting=acting, at=at) as work:
        rows = await Shipment.every(invoice_id=invoice_id, system=system, lock=True, order=("id",))
        shipment = next((row for row in rows if row.state is not ShipmentState.SHIPPED), None)
        if shipment is None or reference not in (None, shipment.reference):
            return
        shipment.state, shipment.external_id, shipment.shipped_at = ShipmentState.SHIPPED, external_id, at
        await shipment.save(update_fields=["state", "external_id", "shipped_at"])
        after = {"system": system, "kind": shipment.kind, "external_id": external_id}
        work.audit("ship_invoice", shipment, after=after)
        invoice = await Invoice.known(id=invoice_id)
        work.emit(InvoiceShipped(invoice_id=invoice_id, user_id=invoice.user_id))


async def ship_again(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Have a billed-off invoice's missing shipments tried now. Raises Refusal NOT_FOUND, INVOICE_NOT_DUE."""
    async with unit(acting=acting, at=at) as work:
        invoice = await Invoice.one(id=invoice_id)
        if invoice is None:
            raise Refusal(Code.NOT_FOUND, field=("invoiceId",))
        if invoice.billed_off_at is None:
            raise Refusal(Code.INVOICE_NOT_DUE, "It is not billed off yet.", field=("invoiceId",))
        if await Shipment.filter(invoice_id=invoice_id).exclude(state=ShipmentState.SHIPPED).exists():
            work.audit("ship_again", invoice, after={"billed_off_at": invoice.billed_off_at})
            work.emit(InvoiceBilledOff(invoice_id=invoice.id, user_id=invoice.user_id))
    return invoice
