"""What the course system says of a membership's standing: it ends courses, and never lifts what we suspended."""

from datetime import datetime
from zoneinfo import ZoneInfo

from models.actions import drift, endings, memberships
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.calendar import day_at
from models.rules.facts import CourseEnd, CourseEnded, StatusClaimed
from models.rules.lifecycle import STANDING, TERMINAL, Cause
from models.tables.centre import Centre
from models.tables.membership import Membership

CAUSES: dict[CourseEnd, Cause] = {
    CourseEnd.CANCELLED: Cause.COURSE_CANCELLED,
    CourseEnd.COMPLETED: Cause.COURSE_COMPLETED,
}


@repeated
async def course_ended(fact: CourseEnded, *, acting: str, at: datetime) -> None:
    """A customer's course was cancelled or completed: its membership ends and no more money is taken (R47-R49).

    Told of a day to come, it stands until then; told late, it ended on the day named. Once ended, a repeat changes
    nothing, and another end is only written down. Raises Refusal NOT_FOUND.
    """
    cause, because = CAUSES[fact.end], (f"by {fact.actor or fact.provider}",)
    async with unit(acting=acting, at=at) as work:
        membership = await memberships.locked_to_end(fact.membership_id)
        if membership.status in TERMINAL:
            await _disagree(work, membership, fact)
            return
        zone = ZoneInfo((await Centre.known(id=membership.centre_id)).zone)
        day = day_at(fact.effective_at or at, zone)
        if day > day_at(at, zone):
            await endings.announce(work, membership, cause, day, because)
        else:
            await memberships.move(work, membership, cause, because=because, ended_on=day)


async def _disagree(work: Unit, membership: Membership, fact: CourseEnded) -> None:
    if membership.status.value != fact.end.value:
        await _drift(work, membership, fact.provider, fact.end.value, fact.event_id or fact.occurred_at.isoformat())


@repeated
async def status_claimed(fact: StatusClaimed, *, acting: str, at: datetime) -> None:
    """The course system claims a standing for a membership: only ours counts, and a difference is written down (R45).

    Raises Refusal NOT_FOUND.
    """
    async with unit(acting=acting, at=at) as work:
        membership = await memberships.locked(fact.membership_id)
        ours = STANDING[membership.status].coursepro or membership.status.value
        if ours.lower() != fact.claimed.lower():
            await _drift(work, membership, fact.provider, fact.claimed, fact.event_id)


async def _drift(work: Unit, membership: Membership, provider: str, theirs: str, cause: str) -> None:
    subject = ("Membership", membership.id)
    await drift.note(work, provider, subject, "status", ours=membership.status.value, theirs=theirs, cause=cause)
