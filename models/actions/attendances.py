"""Who is in which class, as the practice system or our desk marks it; each change spreads the invoices it touches."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import allocations, claimants, corrections
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import user_of
from models.rules.attendance import check_mark, check_ours
from models.rules.diary import AttendanceSeen, RosterSeen
from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.rules.states import AttendanceSource, Provider, ShipmentState
from models.tables.centre import Centre
from models.tables.course import Attendance, ClassSession, Course
from models.tables.invoice import AllocationShare, Invoice, Shipment
from models.tables.membership import ClassType

Changed = defaultdict[UUID, set[datetime]]  # whose invoices of which moments follow


@repeated
async def attendances_seen(facts: Sequence[AttendanceSeen], *, acting: str, at: datetime) -> int:
    """Mirror a page of attendances -> how many differed from what was known; invoices follow in the same transaction.

    Patients nobody is linked to, and locations that are no centre of ours, are left out; linking one reads theirs anew.
    """
    changed: Changed = defaultdict(set)
    async with unit(acting=acting, at=at) as work:
        differed = [await _mirror(work, fact, changed) for fact in facts]
        await corrections.classes_changed(work, changed)
    return sum(differed)


@repeated
async def rosters_seen(rosters: Sequence[RosterSeen], *, acting: str, at: datetime) -> int:
    """Mirror classes whole -> how many places differed: who was in one and is not named any more has left it."""
    changed: Changed = defaultdict(set)
    async with unit(acting=acting, at=at) as work:
        differed = [await _mirror(work, fact, changed) for roster in rosters for fact in roster.attendances]
        left = [await _leave(work, roster, changed) for roster in rosters]
        await corrections.classes_changed(work, changed)
    return sum(differed) + sum(left)


@repeated
async def classes_listed(held: Collection[str], start: datetime, end: datetime, *, acting: str, at: datetime) -> int:
    """The ids of all classes the practice has between two instants -> how many of ours are gone, or are back.

    A class that was deleted over there is in no list of changes. A list without any class of a time we know classes of
    is not believed.
    """
    changed: Changed = defaultdict(set)
    async with unit(acting=acting, at=at) as work:
        known = ClassSession.filter(source=AttendanceSource.NOOKAL, starts_at__gte=start, starts_at__lt=end)
        sessions = await known.select_for_update().order_by("id")
        if not held:
            return 0
        differ = [each for each in sessions if (each.external_ref in held) is (each.deleted_at is not None)]
        for session in differ:
            session.deleted_at = None if session.external_ref in held else at
            await session.save(update_fields=["deleted_at"])
            work.audit("class_listed", session, after={"deleted_at": session.deleted_at})
            for seat in await Attendance.every(class_session_id=session.id):
                changed[seat.user_id].add(session.starts_at)
        await corrections.classes_changed(work, changed)
    return len(differ)


async def _leave(work: Unit, roster: RosterSeen, changed: Changed) -> int:
    """Cancel the places of a class that its roster does not name -> how many."""
    session = await ClassSession.one(source=AttendanceSource.NOOKAL, external_ref=roster.session_id)
    if session is None:
        return 0
    named = [await user_of(Provider(roster.provider), "patient", fact.patient_id) for fact in roster.attendances]
    standing = Attendance.filter(class_session_id=session.id, source=AttendanceSource.NOOKAL)
    gone = await standing.exclude(mark=Mark.CANCELLED).select_for_update().order_by("id")
    gone = [seat for seat in gone if seat.user_id not in named]
    for seat in gone:
        before, seat.mark = seat.mark, Mark.CANCELLED
        await seat.save(update_fields=["mark"])
        work.audit("attendance_gone", seat, before={"mark": before}, after={"mark": seat.mark})
        changed[seat.user_id].add(session.starts_at)
    return len(gone)


@repeated
async def mark_attendance(attendance_id: UUID, mark: Mark, *, acting: str, at: datetime) -> Attendance:
    """Write whether a person came to a class of ours; invoices follow in the same transaction.

    Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO, OWNED_BY_NOOKAL, INVALID_INPUT.
    """
    async with unit(acting=acting, at=at) as work:
        seat = await Attendance.one(id=attendance_id, lock=True)
        if seat is None:
            raise Refusal(Code.NOT_FOUND, field=("attendanceId",))
        session = await ClassSession.known(id=seat.class_session_id)
        course = await Course.one(id=session.course_id) if session.course_id else None
        check_ours(seat.source, session.source, course.owner if course else None)
        check_mark(seat.mark, mark, session.starts_at, session.deleted_at is not None, at)
        if seat.mark is not mark:
            before, seat.mark = seat.mark, mark
            await seat.save(update_fields=["mark"])
            work.audit("mark_attendance", seat, before={"mark": before}, after={"mark": mark})
            await corrections.classes_changed(work, {seat.user_id: [session.starts_at]})
    return seat


@repeated
async def choose_invoice(
    attendance_id: UUID, invoice_id: UUID | None = None, *, acting: str, at: datetime
) -> Attendance:
    """Have an attendance paid for by the invoice a person names; by the rule again, where none is named (R91).

    Raises Refusal NOT_FOUND, INVOICE_ALREADY_BILLED, INVALID_INPUT (that invoice could not pay for it).
    """
    async with unit(acting=acting, at=at) as work:
        seat = await Attendance.one(id=attendance_id, lock=True)
        if seat is None:
            raise Refusal(Code.NOT_FOUND, field=("attendanceId",))
        if invoice_id is not None:
            await _check_could_pay(seat, invoice_id)
        if seat.paid_by_id != invoice_id:
            before, seat.paid_by_id = seat.paid_by_id, invoice_id
            await seat.save(update_fields=["paid_by_id"])
            work.audit("choose_invoice", seat, before={"invoice_id": before}, after={"invoice_id": invoice_id})
            session = await ClassSession.known(id=seat.class_session_id)
            await allocations.reallocate_around(work, {seat.user_id: [session.starts_at]})
    return seat


async def _check_could_pay(seat: Attendance, invoice_id: UUID) -> None:
    invoice = await Invoice.one(id=invoice_id)
    if invoice is None:
        raise Refusal(Code.NOT_FOUND, field=("invoiceId",))
    claimant = (await claimants.walks([invoice_id]))[invoice_id].claimant()
    seats = (await claimants.seats([claimant] if claimant else [])).get(seat.user_id, [])
    place = next((each for each in seats if each.attendance.id == seat.id), None)
    if claimant is None or place is None or not claimant.claims(place.attendance):
        said = "That invoice is another person's, of another time, or does not cover such classes."
        raise Refusal(Code.INVALID_INPUT, said, field=("invoiceId",))
    if invoice.billed_off_at or place.billed_by:
        raise Refusal(Code.INVOICE_ALREADY_BILLED, field=("invoiceId",))


async def _mirror(work: Unit, fact: AttendanceSeen, changed: Changed) -> bool:
    """One attendance as it is now -> whether that differs; `changed` takes whose invoices of which moments follow."""
    user_id = await user_of(Provider(fact.provider), "patient", fact.patient_id)
    centre = await Centre.one(practice_location=fact.location_id)
    if user_id is None or centre is None:
        return False
    class_type, _ = await ClassType.get_or_create(practice_id=fact.class_type_id, defaults={"name": fact.class_name})
    session, moved_from = await _session(fact, class_type.id, centre.id)
    if moved_from is not None:
        for seated in await Attendance.every(class_session_id=session.id):
            changed[seated.user_id] |= {moved_from, fact.starts_at}
    seat = await Attendance.one(class_session_id=session.id, user_id=user_id, lock=True)
    by_hand = fact.invoiced and not await _ours(seat, fact)
    if seat is None:
        seat = await Attendance.create(
            class_session_id=session.id,
            user_id=user_id,
            source=AttendanceSource.NOOKAL,
            mark=fact.mark,
            invoiced_elsewhere=by_hand,
        )
    elif (seat.mark, seat.invoiced_elsewhere) == (fact.mark, by_hand):
        return moved_from is not None
    else:
        seat.mark, seat.invoiced_elsewhere = fact.mark, by_hand
        await seat.save(update_fields=["mark", "invoiced_elsewhere"])
    work.audit("attendance_seen", seat, after={"mark": fact.mark, "invoiced_elsewhere": by_hand})
    changed[user_id].add(fact.starts_at)
    return True


async def _session(fact: AttendanceSeen, class_type_id: UUID, centre_id: UUID) -> tuple[ClassSession, datetime | None]:
    """The class session of a fact, and when it started before where it was moved."""
    values: dict[str, Any] = {
        "starts_at": fact.starts_at,
        "ends_at": fact.ends_at,
        "class_type_id": class_type_id,
        "centre_id": centre_id,
        "deleted_at": None,
    }
    session, made = await ClassSession.get_or_create(
        source=AttendanceSource.NOOKAL, external_ref=fact.session_id, defaults=values
    )
    if made or all(getattr(session, name) == value for name, value in values.items()):
        return session, None
    before = session.starts_at
    session.update_from_dict(values)
    await session.save(update_fields=list(values))
    return session, before


async def _ours(seat: Attendance | None, fact: AttendanceSeen) -> bool:
    """Whether the invoice the practice system has on this seat is one we shipped (R105)."""
    if fact.invoice_id is not None:
        return await Shipment.has(system=fact.provider, external_id=fact.invoice_id)
    return seat is not None and await AllocationShare.exists(
        attendance_id=seat.id,
        allocation__current=True,
        allocation__invoice__billed_off_at__isnull=False,
        allocation__invoice__shipments__state__in=(ShipmentState.SENDING, ShipmentState.SHIPPED),
    )
