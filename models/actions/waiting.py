"""The waiting list of a course: joined and left by people, and places that come free offered in its order.

Whoever changes who holds a place locks the course's row first, so live bookings and standing offers never pass its
capacity. Only giving a booking up comes before that lock: it makes room and takes none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from models.actions import notifications
from models.actions.notifications import Message
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.events import PlaceOffered, WaitingListJoined, WaitingPlaceClosed
from models.rules.refusals import Code, Refusal
from models.rules.states import Owner, WaitingState
from models.rules.timetable import Session, Timetable, timetable
from models.rules.waiting import HOLDS_A_PLACE, IN_LINE, InLine, kept_from, offer_ends
from models.tables import sql
from models.tables.booking import Booking, WaitingPlace
from models.tables.course import ClassSession, Course
from models.tables.user import User


@repeated
async def join_waiting_list(*, course_id: UUID, user_id: UUID, acting: str, at: datetime) -> WaitingPlace:
    """Put a person at the end of a full course's line.

    Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO, NO_FUTURE_CLASSES, ALREADY_BOOKED, ALREADY_WAITING, COURSE_HAS_PLACES.
    """
    async with unit(acting=acting, at=at) as work:
        course = await locked(course_id)
        if not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if course.owner is Owner.COURSEPRO:
            raise Refusal(Code.OWNED_BY_COURSEPRO, field=("courseId",))
        if (await _classes(course.id, at)).future == 0:
            raise Refusal(Code.NO_FUTURE_CLASSES, field=("courseId",))
        await _check_not_booked(course.id, user_id)
        free = await _pass_on(work, course)
        if await WaitingPlace.exists(course_id=course.id, user_id=user_id, state__in=IN_LINE):
            raise Refusal(Code.ALREADY_WAITING, field=("courseId",))
        if free:
            raise Refusal(Code.COURSE_HAS_PLACES, f"{free} of {course.capacity} are free.", field=("courseId",))
        place = await WaitingPlace.create(course_id=course.id, user_id=user_id)
        work.audit("join_waiting_list", place, after={"course_id": course.id, "user_id": user_id})
        work.emit(WaitingListJoined(waiting_place_id=place.id, user_id=user_id))
    return place


@repeated
async def leave_waiting_list(waiting_place_id: UUID, *, acting: str, at: datetime) -> WaitingPlace:
    """Give a place in line up; one that was offered goes to the next. Raises Refusal NOT_FOUND, ILLEGAL_MOVE."""
    async with unit(acting=acting, at=at) as work:
        seen = await WaitingPlace.one(id=waiting_place_id)
        if seen is None:
            raise Refusal(Code.NOT_FOUND, field=("waitingPlaceId",))
        course = await locked(seen.course_id)
        place = await WaitingPlace.known(id=waiting_place_id)
        if place.state not in IN_LINE:
            found = f"The place is {place.state}."
            raise Refusal(Code.ILLEGAL_MOVE, found, field=("waitingPlaceId",), because="First come, first served")
        await _close(work, "leave_waiting_list", [place], WaitingState.LEFT)
        await _pass_on(work, course)
    return place


async def whose(waiting_place_id: UUID) -> UUID | None:
    """The person a place in line belongs to, None where there is no such place."""
    place = await WaitingPlace.one(id=waiting_place_id)
    return place.user_id if place else None


async def check_place(course: Course, user_id: UUID, at: datetime) -> None:
    """Refuse a person for whom a locked course has no place: ALREADY_BOOKED, COURSE_FULL.

    Free places are kept for those they were offered to, and for who waits before this person.
    """
    (seen,) = await sql.rows(
        """
        SELECT count(*) AS booked, coalesce(bool_or(user_id = $2), false) AS has_one,
          EXISTS (SELECT FROM waiting_place WHERE course_id = $1 AND state = ANY($4)) AS some_wait
        FROM booking WHERE course_id = $1 AND status = ANY($3)
        """,
        course.id,
        user_id,
        list(HOLDS_A_PLACE),
        list(IN_LINE),
    )
    if seen["has_one"]:
        raise Refusal(Code.ALREADY_BOOKED, field=("courseId",))
    free = course.capacity - seen["booked"]
    if free > 0 and seen["some_wait"]:
        line = await WaitingPlace.filter(course_id=course.id, state__in=IN_LINE).order_by("id")
        free -= kept_from([InLine(each.user_id, each.state, each.offered_until) for each in line], user_id, at)
    if free <= 0:
        raise Refusal(Code.COURSE_FULL, field=("courseId",))


async def take_offer(work: Unit, booking: Booking) -> None:
    """Whoever booked a locked course waits no longer, with an offer or without.

    Offers that have ended lapse with it: the place taken may be that of one of them.
    """
    ended = Q(state=WaitingState.OFFERED, offered_until__lte=work.at)
    line = WaitingPlace.filter(Q(user_id=booking.user_id, state__in=IN_LINE) | ended, course_id=booking.course_id)
    closed = await line.order_by("id")
    mine = [place for place in closed if place.user_id == booking.user_id]
    await _close(work, "take_offer", mine, WaitingState.TAKEN, because=(f"booking {booking.id}",))
    others = [place for place in closed if place.user_id != booking.user_id]
    await _close(work, "lapse_offer", others, WaitingState.LAPSED)


async def offer_places(work: Unit, course_id: UUID) -> None:
    """Offer the course's free places to those who wait, in their order; offers that ended are passed on, too."""
    await _pass_on(work, await locked(course_id))


async def places_kept(course_id: UUID, at: datetime) -> int:
    """The places of a course that are booked or offered."""
    offered = WaitingPlace.filter(course_id=course_id, state=WaitingState.OFFERED, offered_until__gt=at)
    return await _booked(course_id) + await offered.count()


async def to_pass_on(at: datetime) -> list[UUID]:
    """The courses where an offer has ended, or where people wait and no class is to come any more."""
    ended = await _courses_of(WaitingPlace.filter(state=WaitingState.OFFERED, offered_until__lte=at))
    waited_for = await _courses_of(WaitingPlace.filter(state=WaitingState.WAITING))
    to_come = ClassSession.filter(course_id__in=waited_for, deleted_at__isnull=True, starts_at__gt=at)
    return sorted(ended | waited_for - await _courses_of(to_come))


@repeated
async def lapse_offers(course_id: UUID, *, acting: str, at: datetime) -> None:
    """End the offers of a course whose time has passed, and offer their places to the next."""
    async with unit(acting=acting, at=at) as work:
        await offer_places(work, course_id)


async def notify_offered(waiting_place_id: UUID, *, acting: str, at: datetime) -> Message | None:
    """Write to a person about an offered place, once -> the message, or None where it was sent or the offer is over."""
    async with unit(acting=acting, at=at):
        place = await WaitingPlace.get(id=waiting_place_id).prefetch_related("course__centre")
        if place.state is not WaitingState.OFFERED or place.offered_until is None or place.offered_until <= at:
            return None
        ends = place.offered_until.astimezone(ZoneInfo(place.course.centre.zone))
        return await notifications.write(
            place.user_id,
            kind="PLACE_OFFERED",
            cause=f"waiting_place:{place.id}",
            text=(
                f"a place on {place.course.name} has come free. It is kept for you until {ends:%H:%M on %d %B %Y}; "
                "book the course by then to take it."
            ),
        )


async def locked(course_id: UUID) -> Course:
    """The course's row, locked. Raises Refusal NOT_FOUND."""
    course = await Course.one(id=course_id, lock=True)
    if course is None:
        raise Refusal(Code.NOT_FOUND, field=("courseId",))
    return course


async def _courses_of(rows: QuerySet[Any]) -> set[UUID]:
    ids: list[UUID] = await rows.distinct().values_list("course_id", flat=True)  # type: ignore[assignment]  # flat
    return set(ids)


async def _check_not_booked(course_id: UUID, user_id: UUID) -> None:
    if await Booking.exists(course_id=course_id, user_id=user_id, status__in=HOLDS_A_PLACE):
        raise Refusal(Code.ALREADY_BOOKED, field=("courseId",))


async def _booked(course_id: UUID) -> int:
    return await Booking.filter(course_id=course_id, status__in=HOLDS_A_PLACE).count()


async def _classes(course_id: UUID, at: datetime) -> Timetable:
    rows = await ClassSession.every(course_id=course_id)
    return timetable((Session(row.id, row.starts_at, row.deleted_at is not None) for row in rows), at)


async def _pass_on(work: Unit, course: Course) -> int:
    """Lapse what has ended, offer what is free on a locked course -> how many places are left for anybody."""
    await _lapse(work, course.id)
    line = WaitingPlace.filter(course_id=course.id).order_by("id")
    free = max(0, course.capacity - await places_kept(course.id, work.at))
    until = offer_ends(work.at, course.offer_hours, await _classes(course.id, work.at))
    if until is None:
        over = await line.filter(state=WaitingState.WAITING)
        await _close(work, "lapse_offer", over, WaitingState.LAPSED, because=("no class is to come",))
        return free
    first = await line.filter(state=WaitingState.WAITING).limit(free) if free else []
    for place in first:
        place.state, place.offered_until = WaitingState.OFFERED, until
        await place.save(update_fields=["state", "offered_until"])
        work.audit("offer_place", place, after={"offered_until": until})
        work.emit(PlaceOffered(waiting_place_id=place.id, user_id=place.user_id))
    return free - len(first)


async def _lapse(work: Unit, course_id: UUID) -> None:
    offers = WaitingPlace.filter(course_id=course_id, state=WaitingState.OFFERED).order_by("id")
    await _close(work, "lapse_offer", await offers.filter(offered_until__lte=work.at), WaitingState.LAPSED)


async def _close(
    work: Unit, verb: str, places: Sequence[WaitingPlace], state: WaitingState, *, because: Sequence[str] = ()
) -> None:
    for place in places:
        before, place.state = place.state, state
        await place.save(update_fields=["state"])
        work.audit(verb, place, before={"state": before}, after={"state": state}, because=because)
        work.emit(WaitingPlaceClosed(waiting_place_id=place.id, user_id=place.user_id))
