"""Subscription invoices: mirrored, spread over the classes they paid for, billed off once (R82-R112)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.actions.bookings import explained
from models.actions.subscriptions import mirrored
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.rules import invoicing
from models.rules.events import InvoiceBilledOff, InvoiceOpened, InvoiceReallocated
from models.rules.facts import InvoiceSeen
from models.rules.invoicing import Claim, Coverage, Hold, Period
from models.rules.refusals import Code, Refusal
from models.rules.states import InvoiceStatus, Provider
from models.tables.course import Attendance
from models.tables.invoice import Allocation, AllocationShare, Invoice, InvoiceItem, Shipment
from models.tables.membership import Coverage as CoverageRow
from models.tables.membership import Membership, Subscription
from models.tables.setting import ProviderSetting

GRACE = timedelta(0)  # R89: the document allows none; clinics that mark late set one


@repeated
async def invoice_seen(fact: InvoiceSeen, *, acting: str, at: datetime) -> None:
    """Mirror an invoice as its provider has it now and spread its money at once (R86).

    One that was billed off keeps its figures: what happens to it afterwards is for a person to decide.
    """
    async with unit(acting=acting, at=at) as work:
        subscription = await _subscription(fact)
        invoice = await Invoice.filter(provider=fact.provider, external_id=fact.external_id).select_for_update().first()
        if invoice and invoice.billed_off_at:
            return
        opened = invoice is None
        values: dict[str, Any] = {
            "number": fact.number,
            "subscription_id": subscription.id if subscription else None,
            "membership_id": subscription.membership_id if subscription else None,
            "user_id": subscription.user_id if subscription else None,
            "status": fact.status,
            "currency": fact.currency.upper(),
            "amount_paid": fact.amount_paid,
            "amount_refunded": fact.amount_refunded,
            "period_start": fact.period.start,
            "period_end": fact.period.end,
        }
        if invoice is None:
            invoice = await Invoice.create(provider=fact.provider, external_id=fact.external_id, **values)
        else:
            invoice.update_from_dict(values)
            await invoice.save(update_fields=list(values))
        await _mirror_items(invoice, fact)
        if opened:
            work.audit("open_invoice", invoice, after={"amount_paid": fact.amount_paid, "status": fact.status})
            work.emit(InvoiceOpened(invoice_id=invoice.id, user_id=invoice.user_id))
        await reallocate(work, [invoice])


async def _subscription(fact: InvoiceSeen) -> Subscription | None:
    if fact.subscription_id is None:
        return None
    product = next((line.product_id for line in fact.lines if line.product_id and not line.proration), "")
    return await mirrored(fact.provider, fact.subscription_id, customer=fact.customer_id, product=product or "")


async def _mirror_items(invoice: Invoice, fact: InvoiceSeen) -> None:
    for position, line in enumerate(fact.lines):
        await InvoiceItem.update_or_create(
            invoice_id=invoice.id,
            external_id=line.external_id,
            defaults={
                "position": position,
                "description": line.description[:500],
                "amount": line.amount,
                "product": line.product_id,
                "proration": line.proration,
            },
        )
    seen = [line.external_id for line in fact.lines]
    await InvoiceItem.filter(invoice_id=invoice.id).exclude(external_id__in=seen).delete()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An invoice that may pay for classes, with what it covers."""

    invoice: Invoice
    covered: tuple[Coverage, ...]
    subscribed_at: datetime

    @property
    def period(self) -> Period:
        return Period(self.invoice.period_start, self.invoice.period_end)

    @property
    def claim(self) -> Claim:
        return Claim(self.invoice.id, self.invoice.period_end, len(self.covered), self.subscribed_at)


async def reallocate(work: Unit, touched: Sequence[Invoice]) -> None:
    """Spread invoices of one user anew, together with those whose periods overlap (an attendance is billed once, R91).

    A version is written only where the shares differ from the present ones; the older versions stay.
    """
    for invoice in touched:
        if invoice.user_id is None:
            await _hold(invoice)
    user_ids = {invoice.user_id for invoice in touched if invoice.user_id}
    for user_id in sorted(user_ids):
        mine = [invoice for invoice in touched if invoice.user_id == user_id]
        await _reallocate_user(
            work, user_id, min(each.period_start for each in mine), max(each.period_end for each in mine)
        )


async def _reallocate_user(work: Unit, user_id: UUID, start: datetime, end: datetime) -> None:
    overlapping = (
        await Invoice.filter(user_id=user_id, period_start__lt=end, period_end__gt=start)
        .select_for_update()
        .order_by("id")
    )
    candidates = [await _candidate(invoice) for invoice in overlapping if invoice.billed_off_at is None]
    if not candidates:
        return
    start = min(each.invoice.period_start for each in candidates)
    end = max(each.invoice.period_end for each in candidates)
    seats = await _seats(user_id, start, end)
    billed = await _billed_elsewhere(seats)
    for candidate in candidates:
        attendances = [_as_rule(seat, billed, candidate, candidates) for seat in seats]
        matching = invoicing.matching_classes(attendances, candidate.covered, candidate.period)
        await _hold(candidate.invoice)
        await _write_version(work, candidate.invoice, matching.kept)


async def _candidate(invoice: Invoice) -> _Candidate:
    membership = await Membership.get_or_none(id=invoice.membership_id) if invoice.membership_id else None
    rows = await CoverageRow.filter(membership_type_id=membership.membership_type_id) if membership else []
    subscription = await Subscription.get_or_none(id=invoice.subscription_id) if invoice.subscription_id else None
    return _Candidate(
        invoice,
        tuple(Coverage(row.class_type_id, row.covered_from, row.covered_until) for row in rows),
        subscription.created_at if subscription else invoice.created_at,
    )


async def _seats(user_id: UUID, start: datetime, end: datetime) -> list[Attendance]:
    return (
        await Attendance.filter(
            user_id=user_id,
            class_session__starts_at__gte=start,
            class_session__starts_at__lt=end,
            class_session__class_type_id__isnull=False,
            class_session__deleted_at__isnull=True,
        )
        .prefetch_related("class_session")
        .order_by("id")
    )


async def _billed_elsewhere(seats: Sequence[Attendance]) -> set[UUID]:
    """The attendances that an invoice billed off already carries."""
    carried: list[UUID] = await AllocationShare.filter(  # type: ignore[assignment]  # flat values
        attendance_id__in=[seat.id for seat in seats],
        allocation__current=True,
        allocation__invoice__billed_off_at__isnull=False,
    ).values_list("attendance_id", flat=True)
    return set(carried)


def _as_rule(
    seat: Attendance, billed: set[UUID], mine: _Candidate, candidates: Iterable[_Candidate]
) -> invoicing.Attendance:
    session = seat.class_session
    claims = [
        each.claim
        for each in candidates
        if session.starts_at in each.period
        and any(part.covers(session.class_type_id, session.starts_at) for part in each.covered)
    ]
    taken = bool(claims) and invoicing.first_claim(claims).invoice_id != mine.invoice.id
    return invoicing.Attendance(
        id=seat.id,
        session_id=session.id,
        class_type_id=session.class_type_id,
        starts_at=session.starts_at,
        mark=seat.mark,
        invoiced_by_hand=seat.invoiced_elsewhere,
        billed_by_other_invoice=taken or seat.id in billed,
    )


async def _hold(invoice: Invoice) -> None:
    needs_patient = invoice.user_id is not None and await linked(invoice.user_id, Provider.NOOKAL, "patient") is None
    hold = invoicing.hold_reason(
        subscribed=invoice.subscription_id is not None,
        managed=invoice.membership_id is not None,
        patient_linked=not needs_patient,
        paid=invoice.status is InvoiceStatus.PAID,
    )
    if invoice.hold != hold:
        invoice.hold = hold
        await invoice.save(update_fields=["hold"])


async def _write_version(work: Unit, invoice: Invoice, kept: Sequence[invoicing.Attendance]) -> None:
    allocation = invoicing.allocate(invoicing.net_paid(invoice.amount_paid, invoice.amount_refunded), kept)
    wanted = [(share.attendance_id, share.amount) for share in allocation.shares if share.attendance_id]
    current = await Allocation.filter(invoice_id=invoice.id, current=True).prefetch_related("shares").first()
    total = sum(share.amount for share in allocation.shares)
    if current is not None:
        held = sorted(current.shares, key=lambda share: share.position)  # type: ignore[attr-defined]  # reverse relation
        if [(share.attendance_id, share.amount) for share in held] == wanted and current.amount == total:
            return
        await Allocation.filter(id=current.id).update(current=False)
    version = await Allocation.create(
        invoice_id=invoice.id,
        version=current.version + 1 if current else 1,
        kind=allocation.kind,
        amount=total,
        currency=invoice.currency,
        because=explained(allocation.because),
    )
    await AllocationShare.bulk_create(
        [
            AllocationShare(allocation_id=version.id, attendance_id=attendance_id, position=position, amount=amount)
            for position, (attendance_id, amount) in enumerate(wanted)
        ]
    )
    work.audit("allocate_invoice", invoice, after={"version": version.version, "shares": wanted})
    if current is not None:
        work.emit(InvoiceReallocated(invoice_id=invoice.id, user_id=invoice.user_id))


async def reallocate_around(work: Unit, user_id: UUID, moments: Iterable[datetime]) -> None:
    """Spread the user's unbilled invoices anew whose period holds one of these class starts."""
    touched: dict[UUID, Invoice] = {}
    for moment in moments:
        rows = await Invoice.filter(
            user_id=user_id, period_start__lte=moment, period_end__gt=moment, billed_off_at__isnull=True
        )
        touched |= {row.id: row for row in rows}
    await reallocate(work, list(touched.values()))


@repeated
async def allocate_invoice(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Spread one invoice anew from what is known now. Raises Refusal NOT_FOUND, INVOICE_ALREADY_BILLED."""
    async with unit(acting=acting, at=at) as work:
        invoice = await _locked(invoice_id)
        if invoice.billed_off_at:
            raise Refusal(Code.INVOICE_ALREADY_BILLED, field=("invoiceId",))
        if invoice.subscription_id:
            subscription = await Subscription.get(id=invoice.subscription_id)
            invoice.user_id, invoice.membership_id = subscription.user_id, subscription.membership_id
            await invoice.save(update_fields=["user_id", "membership_id"])
        await reallocate(work, [invoice])
    return invoice


async def _locked(invoice_id: UUID) -> Invoice:
    invoice = await Invoice.filter(id=invoice_id).select_for_update().first()
    if invoice is None:
        raise Refusal(Code.NOT_FOUND, field=("invoiceId",))
    return invoice


async def due_to_bill_off(at: datetime, limit: int = 500) -> list[UUID]:
    """Invoices whose period and grace are over and that nothing holds, oldest first."""
    ids: Any = (
        await Invoice.filter(billed_off_at__isnull=True, hold__isnull=True, period_end__lte=at - GRACE)
        .order_by("period_end", "id")
        .limit(limit)
        .values_list("id", flat=True)
    )
    return list(ids)


@repeated
async def bill_off(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Freeze an invoice's allocation and have it shipped, once (R89, R99).

    Raises Refusal NOT_FOUND, INVOICE_ALREADY_BILLED, INVOICE_NOT_DUE, or what holds it: NO_SUBSCRIPTION,
    UNMANAGED_PRODUCT, PATIENT_UNLINKED, INVOICE_NOT_PAID.
    """
    async with unit(acting=acting, at=at) as work:
        invoice = await _locked(invoice_id)
        if invoice.billed_off_at is None:
            await reallocate(work, [invoice])
            await invoice.refresh_from_db(fields=["hold"])
        invoicing.check_bill_off(
            billed=invoice.billed_off_at is not None,
            hold=Hold(invoice.hold) if invoice.hold else None,
            period_end=invoice.period_end,
            grace=GRACE,
            at=at,
        )
        allocation = await Allocation.get(invoice_id=invoice.id, current=True)
        net = invoicing.net_paid(invoice.amount_paid, invoice.amount_refunded)
        if allocation.amount != net:
            raise AssertionError(f"allocated {allocation.amount} != received {net} for invoice {invoice.id}")
        invoice.billed_off_at = at
        await invoice.save(update_fields=["billed_off_at"])
        for system in await _ships_to():
            await Shipment.create(invoice_id=invoice.id, system=system, reference=f"DUE-{invoice.external_id}")
        work.audit("bill_off_invoice", invoice, after={"version": allocation.version, "amount": allocation.amount})
        work.emit(InvoiceBilledOff(invoice_id=invoice.id, user_id=invoice.user_id))
    return invoice


async def _ships_to() -> list[Provider]:
    """Where billed-off invoices go: always the practice system, the books where their shipper is switched on (R111)."""
    books = await ProviderSetting.get_or_none(provider=Provider.XERO, enabled=True)
    return [Provider.NOOKAL, Provider.XERO] if books else [Provider.NOOKAL]
