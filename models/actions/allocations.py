"""An invoice's money over the classes it paid for, in versions; older ones stay (R86-R88, R91, R96-R110)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from models.actions.unit import Unit, plain
from models.actions.users import linked
from models.rules import invoicing
from models.rules.events import InvoiceReallocated
from models.rules.invoicing import Claim, Coverage, Period
from models.rules.states import InvoiceStatus, Provider
from models.tables.course import Attendance
from models.tables.invoice import Allocation, AllocationShare, Invoice
from models.tables.membership import Coverage as CoverageRow
from models.tables.membership import Membership, MembershipType, Subscription

_NEVER_PAID = (InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE)  # such a one must not keep a class from another


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
    candidates = [await _candidate(invoice) for invoice in await _claimants(user_id, start, end)]
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


async def _claimants(user_id: UUID, start: datetime, end: datetime) -> list[Invoice]:
    """The user's unbilled invoices that touch a span, those that touch these, and so on: each may claim a class."""
    while True:
        invoices = (
            await Invoice.filter(
                user_id=user_id, period_start__lt=end, period_end__gt=start, billed_off_at__isnull=True
            )
            .select_for_update()
            .order_by("id")
        )
        wider = (
            min([start, *(invoice.period_start for invoice in invoices)]),
            max([end, *(invoice.period_end for invoice in invoices)]),
        )
        if wider == (start, end):
            return invoices
        start, end = wider


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
        if each.invoice.status not in _NEVER_PAID
        and session.starts_at in each.period
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
        owned=invoice.user_id is not None or not await _is_managed(invoice),
        managed=invoice.membership_id is not None,
        patient_linked=not needs_patient,
        paid=invoice.status is InvoiceStatus.PAID,
    )
    if invoice.hold != hold:
        invoice.hold = hold
        await invoice.save(update_fields=["hold"])


async def _is_managed(invoice: Invoice) -> bool:
    """Whether an invoice whose person is unknown is of a product that has a membership type (R101)."""
    subscription = await Subscription.get_or_none(id=invoice.subscription_id)
    return subscription is not None and await MembershipType.exists(product=subscription.product)


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
        because=plain(allocation.because),
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
