"""Which invoice pays for an attendance and, for each that could, why or why not; nothing is written."""

from dataclasses import dataclass
from uuid import UUID

from models.actions import claimants
from models.rules.explain import Step, step
from models.rules.invoicing import LeftOutReason
from models.rules.spreading import OverlapRule, Seat, spread, taken_by, walked
from models.tables.course import Attendance
from models.tables.invoice import Invoice


@dataclass(frozen=True, slots=True)
class Candidate:
    """An invoice looked at for an attendance, why it leaves it out (None where it pays), and its walk to classes."""

    invoice_id: UUID
    reason: LeftOutReason | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """Who pays for an attendance, what decided that, and what was looked at."""

    paid_by: UUID | None
    by: OverlapRule | None
    candidates: tuple[Candidate, ...]
    steps: tuple[Step, ...]


async def why_not(attendance_id: UUID, invoice_id: UUID | None = None) -> Answer:
    """(an attendance, an invoice to look at too) -> who pays for it, and why the others do not."""
    seat = await Attendance.get(id=attendance_id).prefetch_related("class_session")
    session = seat.class_session
    if session.deleted_at is not None or session.class_type_id is None:
        why = step("R93", "only classes of a known kind that were not deleted are paid for", session=str(session.id))
        return Answer(None, None, (), (why,))
    changed = {seat.user_id: [session.starts_at]}
    ids = await claimants.around(changed, billed=False) | await claimants.around(changed, billed=True)
    carriers = Invoice.filter(allocations__current=True, allocations__shares__attendance_id=seat.id)
    ids |= {each.id for each in await carriers} | ({invoice_id} if invoice_id else set())
    known = await claimants.walks(ids)
    mine = [found for each in known.values() if (found := each.claimant()) and found.who == seat.user_id]
    claiming = sorted(mine, key=lambda each: (each.period.end, each.claim.invoice_id))
    seats = (await claimants.seats(claiming)).get(seat.user_id, [])
    place = next((each for each in seats if each.attendance.id == seat.id), None)
    if place is None:
        why = step("R99", "no invoice of this person pays for the time of this class", starts_at=f"{session.starts_at}")
        return Answer(None, None, (), (why,))
    open_ = [each for each in claiming if not known[each.claim.invoice_id].billed]
    taken = taken_by(place, open_)
    pays = place.carried_by
    rulings = spread(open_, {seat.user_id: [place]})
    candidates = []
    for each in claiming:
        invoice = known[each.claim.invoice_id]
        ruling = rulings.get(invoice.id) or spread([each], {seat.user_id: [place]})[invoice.id]
        reason = next((left.reason for left in ruling.matching.left_out), None)
        if invoice.billed:
            reason = _of_billed(invoice.id, place, reason)
        candidates.append(Candidate(invoice.id, reason, walked(invoice.walk, invoice.covered, ruling)))
    by = taken.by if taken is not None and taken.invoice_id == pays else None
    return Answer(pays, by, tuple(candidates), _said(pays, by))


def _of_billed(mine: UUID, place: Seat, reason: LeftOutReason | None) -> LeftOutReason | None:
    """One that is billed off pays for what it carries, whatever was marked since, and for nothing more by itself."""
    if place.carried_by == mine:
        return None
    return reason or LeftOutReason.BILLED_OFF_ALREADY


def _said(pays: UUID | None, by: OverlapRule | None) -> tuple[Step, ...]:
    if pays is None:
        return (step("R106", "no invoice pays for it"),)
    return (step("R91", "an attendance is paid for by one invoice", invoice=str(pays), decided_by=by or "none"),)
