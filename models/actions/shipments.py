"""Billed-off invoices on their way to the practice system and the books, each once (R89, R107, R111, R112)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import money_proof
from models.actions.unit import unit
from models.ports import Outgoing, OutgoingCredit, OutgoingInvoice, OutgoingVoid, ShippedItem
from models.rules.calendar import day_at
from models.rules.corrections import ShipmentKind, Shipped, issued, reference, standing
from models.rules.events import InvoiceBilledOff, InvoiceShipped
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ShipmentState
from models.tables import sql
from models.tables.invoice import Correction, Invoice, InvoiceItem, Shipment

Sold = Mapping[str, Any]  # a row of _SOLD
# Billed-off invoices ($1) with whom, what and where they were sold, and as whom a system ($2) knows and knew who
# attends the classes they pay for (R92).
_SOLD = """
SELECT i.id, coalesce(i.number, i.external_id) AS number, i.currency, i.period_end, a.amount, t.name AS kind,
  u.first_name || ' ' || u.last_name AS customer_name, u.email, c.zone, c.practice_location,
  (SELECT min(l.external_id) FROM external_link l WHERE l.user_id = coalesce(i.attendee_id, i.user_id)
    AND l.provider = $2 AND l.kind = 'patient' AND l.state = 'LINKED') AS customer_ref,
  ARRAY(SELECT l.external_id::text FROM external_link l WHERE l.user_id = coalesce(i.attendee_id, i.user_id)
    AND l.provider = $2 AND l.kind = 'patient' AND l.state = 'UNLINKED' ORDER BY l.id DESC) AS known_as
FROM invoice i JOIN allocation a ON a.invoice_id = i.id AND a.current JOIN membership m ON m.id = i.membership_id
JOIN membership_type t ON t.id = m.membership_type_id JOIN centre c ON c.id = m.centre_id
JOIN user_account u ON u.id = i.user_id WHERE i.id = ANY($1::uuid[])
"""
_CLASSES = """
SELECT a.invoice_id, s.amount, k.name, k.practice_id, h.starts_at, h.external_ref
FROM allocation a JOIN allocation_share s ON s.allocation_id = a.id JOIN attendance p ON p.id = s.attendance_id
JOIN class_session h ON h.id = p.class_session_id JOIN class_type k ON k.id = h.class_type_id
WHERE a.invoice_id = ANY($1::uuid[]) AND a.current ORDER BY a.invoice_id, s.position
"""


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
        if shipment.kind is not ShipmentKind.VOID:
            return (await _outgoing(system, [shipment]))[invoice_id]
        earlier = [Shipped(row.kind, row.external_id or "") for row in rows if row.state is ShipmentState.SHIPPED]
        return _void(shipment, standing(earlier))


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
        found = await _outgoing(system, rows)
        return {invoice_id: each for invoice_id, each in found.items() if isinstance(each, OutgoingInvoice)}


async def _outgoing(system: Provider, rows: Sequence[Shipment]) -> dict[UUID, OutgoingInvoice | OutgoingCredit]:
    """Documents of one system, at most one an invoice -> what to send, by invoice."""
    ids = [row.invoice_id for row in rows]
    sold = {each["id"]: each for each in await sql.rows(_SOLD, ids, system)}
    items = await (_itemised(ids, sold) if system is Provider.NOOKAL else _plain(ids))
    found: dict[UUID, OutgoingInvoice | OutgoingCredit] = {}
    for row in rows:
        of = sold[row.invoice_id]
        if row.kind is ShipmentKind.CREDIT_NOTE:
            item = ShippedItem(f"{of['kind']}: given back", await _given_back(row, of["amount"]))
            found[row.invoice_id] = OutgoingCredit(_addressed(row, of, [item]), of["number"])
        else:
            found[row.invoice_id] = _addressed(row, of, items[row.invoice_id])
    return found


async def _given_back(shipment: Shipment, stayed: int) -> int:
    correction = await Correction.one(id=shipment.correction_id)
    if correction is None or correction.amount is None:  # it goes with the invoice: of its lines this did not stay
        return (await asked_by([shipment.invoice_id]))[shipment.invoice_id] - stayed
    return correction.amount


def _void(shipment: Shipment, stands: Sequence[Shipped]) -> OutgoingVoid:
    notes = tuple(each.external_id for each in stands if each.kind is ShipmentKind.CREDIT_NOTE)
    (voided,) = (each.external_id for each in stands if each.kind is ShipmentKind.INVOICE)
    return OutgoingVoid(shipment.reference, voided, notes)


def _addressed(shipment: Shipment, sold: Sold, items: Sequence[ShippedItem]) -> OutgoingInvoice:
    return OutgoingInvoice(
        reference=shipment.reference,
        customer_ref=sold["customer_ref"],
        customer_name=sold["customer_name"],
        customer_email=sold["email"],
        currency=sold["currency"],
        issued_on=day_at(sold["period_end"], ZoneInfo(sold["zone"])),
        items=tuple(items),
        location_ref=sold["practice_location"],
        known_as=tuple(sold["known_as"]),
    )


async def _itemised(invoice_ids: Sequence[UUID], sold: Mapping[UUID, Sold]) -> Mapping[UUID, Sequence[ShippedItem]]:
    """One line a class, or one ad-hoc line tied to no class where none is left (R107)."""
    items = defaultdict[UUID, list[ShippedItem]](list)
    for row in await sql.rows(_CLASSES, invoice_ids):
        day = day_at(row["starts_at"], ZoneInfo(sold[row["invoice_id"]]["zone"]))
        words = f"{row['name']}, {day:%d %b %Y}"
        items[row["invoice_id"]].append(ShippedItem(words, row["amount"], row["external_ref"], row["practice_id"]))
    return {each: items[each] or [ShippedItem(sold[each]["kind"], sold[each]["amount"])] for each in invoice_ids}


async def _plain(invoice_ids: Sequence[UUID]) -> Mapping[UUID, Sequence[ShippedItem]]:
    """The invoices' own lines, never their classes (R112)."""
    items = defaultdict[UUID, list[ShippedItem]](list)
    for row in await InvoiceItem.filter(invoice_id__in=invoice_ids).order_by("invoice_id", "position"):
        items[row.invoice_id].append(ShippedItem(row.description, row.amount))
    return items


async def shipped(
    invoice_id: UUID, system: Provider, *, external_id: str, acting: str, at: datetime, reference: str | None = None
) -> bool:
    """The other system has the invoice, or what corrects it (`reference`), under its own id -> is more to go?"""
    async with unit(acting=acting, at=at) as work:
        rows = await Shipment.every(invoice_id=invoice_id, system=system, lock=True, order=("id",))
        left = [row for row in rows if row.state is not ShipmentState.SHIPPED]
        if not left or reference not in (None, left[0].reference):
            return bool(left)
        shipment = left[0]
        shipment.state, shipment.external_id, shipment.shipped_at = ShipmentState.SHIPPED, external_id, at
        await shipment.save(update_fields=["state", "external_id", "shipped_at"])
        after = {"system": system, "kind": shipment.kind, "external_id": external_id}
        work.audit("ship_invoice", shipment, after=after)
        invoice = await Invoice.known(id=invoice_id)
        work.emit(InvoiceShipped(invoice_id=invoice_id, user_id=invoice.user_id))
    return len(left) > 1


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
