"""Who is to attend the course system's classes, and who did: places that make tokens, and evidence (R14, R18, R60).

Its messages come in any order and more than once: of what is told about a class or a place, the word spoken last
counts, however late it arrives. When each was spoken stands in the audit trail.
"""

from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from models.actions import access, drift
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.access import earns_token
from models.rules.facts import Attendee, AttendeesPosted
from models.rules.invoicing import Mark
from models.rules.lifecycle import Status
from models.rules.states import AttendanceSource
from models.tables.audit import AuditEntry
from models.tables.centre import Centre
from models.tables.course import Attendance, ClassSession
from models.tables.membership import Membership
from models.tables.row import Row

ATTENDANCES = UUID("5ad1a6b0-7a0f-5a8e-9d51-0c6a5e8e3b10")  # the name space of the course system's attendance ids
TOLD = "told"
NOT_YET = frozenset({Status.PENDING, Status.FUTURE})


@repeated
async def attendees_posted(fact: AttendeesPosted, *, acting: str, at: datetime) -> None:
    """The course system tells of the places in one class: who may enter gets a token, who may not is written down.

    A place of a membership that does not stand is kept, so that its token is made when it stands again (R42, R46).
    """
    async with unit(acting=acting, at=at) as work:
        ids = {attendee.membership_id for attendee in fact.attendees}
        locked = Membership.filter(id__in=list(ids)).select_for_update().order_by("id")
        known = {row.id: row for row in await locked}
        for missing in sorted(ids - known.keys()):
            await _note(work, fact, missing, "membership", ours=None)
        centre_id = await _centre(work, fact, list(known.values()))
        if centre_id is None:
            return
        session = await _session(work, fact, centre_id)
        for attendee in fact.attendees:
            if attendee.membership_id in known:
                await _seat(work, fact, attendee, known[attendee.membership_id], session)
        for membership in known.values():
            if earns_token(membership.status):
                await access.issue(work, membership)


async def _centre(work: Unit, fact: AttendeesPosted, memberships: list[Membership]) -> UUID | None:
    """Where the class is; None where nobody here is in it, or it is at a place we do not know."""
    if not memberships:
        return None
    if fact.centre_ref is None:
        return memberships[0].centre_id
    centre = await Centre.one(id=fact.centre_ref) if _is_uuid(fact.centre_ref) else None
    if centre is not None:
        return centre.id
    for membership in memberships:
        await _note(work, fact, membership.id, "centre_id", ours=str(membership.centre_id), theirs=fact.centre_ref)
    return None


def _is_uuid(word: str) -> bool:
    try:
        UUID(word)
    except ValueError:
        return False
    return True


async def _session(work: Unit, fact: AttendeesPosted, centre_id: UUID) -> ClassSession:
    values = {"starts_at": fact.starts_at, "ends_at": fact.ends_at, "centre_id": centre_id}
    session, made = await ClassSession.get_or_create(
        source=AttendanceSource.COURSEPRO, external_ref=fact.session_id, defaults=values
    )
    if fact.centre_ref is None:
        values["centre_id"] = session.centre_id
    if await _spoken_before(work, session, fact.occurred_at, values, made):
        return session
    if any(getattr(session, name) != value for name, value in values.items()):
        session.update_from_dict(values)
        await session.save(update_fields=list(values))
        await access.session_moved(session.id)
    return session


async def _seat(
    work: Unit, fact: AttendeesPosted, attendee: Attendee, membership: Membership, session: ClassSession
) -> None:
    """One place: found by the attendance id, else by who is in the class; its word is older than ours, or it counts."""
    seat_id = uuid5(ATTENDANCES, f"{membership.user_id}:{attendee.external_id}")
    by_id = await Attendance.one(id=seat_id)
    by_class = await Attendance.one(class_session_id=session.id, user_id=membership.user_id)
    seat = by_id or by_class
    values: dict[str, Any] = {"class_session_id": session.id, "membership_id": membership.id, "mark": attendee.mark}
    made = seat is None
    if seat is None:
        source = AttendanceSource.COURSEPRO
        seat = await Attendance.create(id=seat_id, user_id=membership.user_id, source=source, **values)
    if await _spoken_before(work, seat, fact.occurred_at, values, made):
        return
    if by_id is not None and by_class is not None and by_id.id != by_class.id:
        # the person has a place in that class by another attendance: this one gives way to it
        values |= {"class_session_id": by_id.class_session_id, "mark": Mark.CANCELLED}
    left, values_now = seat.class_session_id, {name: getattr(seat, name) for name in values}
    if values_now != values:
        seat.update_from_dict(values)
        await seat.save(update_fields=list(values))
    if left != session.id or seat.mark is Mark.CANCELLED:
        await access.revoke(work, membership, class_session_id=left)
    if seat.mark is Mark.BOOKED and not earns_token(membership.status) and membership.status not in NOT_YET:
        await _note(work, fact, membership.id, "roster", ours=membership.status.value)


async def _spoken_before(work: Unit, row: Row, spoken_at: datetime, values: dict[str, Any], made: bool = False) -> bool:
    """Whether later news of a row was heard already; else remember this word, unless it is a mere repeat."""
    heard = None if made else await AuditEntry.filter(subject_id=row.id, verb=TOLD).order_by("-id").first()
    last = datetime.fromisoformat(heard.after["spoken_at"]) if heard else None
    if last is not None and spoken_at < last:
        return True
    same = all(getattr(row, name) == value for name, value in values.items())
    if made or last is None or spoken_at > last or not same:
        work.audit(TOLD, row, after={"spoken_at": spoken_at, **values})
    return False


async def _note(
    work: Unit, fact: AttendeesPosted, membership_id: UUID, field: str, *, ours: str | None, theirs: str | None = None
) -> None:
    subject, cause = ("Membership", membership_id), fact.event_id or fact.occurred_at.isoformat()
    theirs = theirs or f"expected in {fact.session_id}"
    await drift.note(work, fact.provider, subject, field, ours=ours, theirs=theirs, cause=cause)
