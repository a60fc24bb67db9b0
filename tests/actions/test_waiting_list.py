"""Waiting for a place: the order kept, the free place offered, kept and passed on, and many who want it at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from models.actions import notifications, payments, waiting
from models.actions.bookings import book_course
from models.actions.cancellations import release
from models.actions.unit import unit
from models.actions.waiting import join_waiting_list, lapse_offers, leave_waiting_list, notify_offered
from models.rules.booking import Method
from models.rules.refusals import Code
from models.rules.states import BookingStatus, Owner, PaymentOutcome, WaitingState
from models.tables.booking import Booking, WaitingPlace
from models.tables.course import ClassSession, Course
from models.tables.payment import Payment
from models.tables.row import new_id
from models.tables.user import User
from tests.actions.test_booking_actions import settled_all
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_course,
    a_member_with_card,
    a_user,
    happening,
    nothing_written,
    refused,
    sql,
)

pytestmark = pytest.mark.usefixtures("database")
WAITING, OFFERED, TAKEN, LAPSED, LEFT = WaitingState


async def book(user: User, course: Course, at: datetime = NOW) -> Booking:
    return await book_course(user_id=user.id, course_id=course.id, method=Method.PAYMENT, acting=BY, at=at)


async def join(user: User, course: Course, at: datetime = NOW) -> WaitingPlace:
    return await join_waiting_list(course_id=course.id, user_id=user.id, acting=BY, at=at)


async def leave(place: WaitingPlace, at: datetime = NOW) -> WaitingPlace:
    return await leave_waiting_list(place.id, acting=BY, at=at)


async def give_up(booking: Booking, at: datetime = NOW) -> bool:
    async with unit(acting=BY, at=at) as work:
        return await release(work, booking.id, because="asked")


async def lapse(course: Course, at: datetime) -> None:
    await lapse_offers(course.id, acting=BY, at=at)


async def line(course: Course) -> list[tuple[UUID, WaitingState]]:
    return [(place.user_id, place.state) for place in await WaitingPlace.filter(course_id=course.id).order_by("id")]


async def a_full_course(capacity: int = 1, **options: Any) -> tuple[Course, list[Booking]]:
    """A course that costs nothing, every place of it booked."""
    course = await a_course(capacity=capacity, price=0, **{"future": 8, **options})
    return course, [await book(await a_user(), course) for _ in range(capacity)]


async def people(number: int) -> list[User]:
    return [await a_user(f"P{n}") for n in range(number)]


# -- joining ----------------------------------------------------------------------------------------------------------


async def test_joining_is_told_and_charges_nothing() -> None:
    course, _ = await a_full_course()
    ada = await a_user()
    async with happening() as seen:
        place = await join(ada, course)
    assert (place.state, place.offered_until) == (WAITING, None)
    assert [(event["topic"], event["name"], event["ids"]) for event in seen.told] == [
        ("waiting_list", "WaitingListJoined", {"waiting_place_id": str(place.id), "user_id": str(ada.id)})
    ]
    assert seen.kinds == ["live.publish"]
    assert [(entry.verb, entry.subject_id) for entry in seen.audit] == [("join_waiting_list", place.id)]


async def test_only_a_full_course_of_ours_with_classes_to_come_is_waited_for() -> None:
    course, (booking,) = await a_full_course()
    ada, ben, holder = await a_user(), await a_user(), await User.get(id=booking.user_id)
    async with refused(Code.NOT_FOUND, "courseId"):
        await join_waiting_list(course_id=new_id(), user_id=ada.id, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "userId"):
        await join_waiting_list(course_id=course.id, user_id=new_id(), acting=BY, at=NOW)
    async with refused(Code.ALREADY_BOOKED, "courseId"):
        await join(holder, course)
    async with refused(Code.NO_FUTURE_CLASSES, "courseId"):
        await join(ada, course, NOW + 8 * WEEK)
    with_room = await a_course(future=8, price=0, capacity=1)
    async with refused(Code.COURSE_HAS_PLACES, "courseId"):
        await join(ada, with_room)
    await join(ada, course)
    async with refused(Code.ALREADY_WAITING, "courseId"):
        await join(ada, course)
    await Course.filter(id=course.id).update(owner=Owner.COURSEPRO)
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await join(ben, course)


# -- a place comes free -----------------------------------------------------------------------------------------------


async def test_a_freed_place_goes_to_the_first_in_line_for_a_day() -> None:
    course, (booking,) = await a_full_course()
    ada, ben = await people(2)
    first = await join(ada, course)
    await join(ben, course)
    async with happening() as seen:
        assert await give_up(booking) is True
    assert await line(course) == [(ada.id, OFFERED), (ben.id, WAITING)]
    assert (await WaitingPlace.get(id=first.id)).offered_until == NOW + DAY
    assert seen.events == ["BookingReleased", "PlaceOffered"]
    assert seen.kinds == ["notifications.place_offered", "live.publish"]
    assert seen.jobs[0].payload == {"waiting_place_id": str(first.id), "user_id": str(ada.id)}
    assert seen.verbs == ["release_booking", "offer_place"]


async def test_a_failed_payment_frees_its_place_for_who_waits() -> None:
    course = await a_course(future=8, capacity=1)
    booking = await book(await a_member_with_card(), course)
    ada = await a_user()
    await join(ada, course)
    payment = await Payment.get(booking_id=booking.id)
    async with happening() as seen:
        await payments.settle(payment.id, PaymentOutcome.FAILED, acting="webhook:STRIPE", at=NOW)
    assert seen.events == ["PaymentUpdated", "PaymentMissed", "BookingReleased", "PlaceOffered"]
    assert await line(course) == [(ada.id, OFFERED)]


async def test_an_offered_place_cannot_be_taken_by_another() -> None:
    course, (booking,) = await a_full_course()
    ada, ben, stranger = await people(3)
    for each in (ada, ben):
        await join(each, course)
    await give_up(booking)
    for other in (ben, stranger):
        async with refused(Code.COURSE_FULL, "courseId"):
            await book(other, course)
    async with refused(Code.ALREADY_WAITING, "courseId"):
        await join(ada, course)
    async with happening() as seen:
        taken = await book(ada, course, NOW + DAY - HOUR)
    assert taken.status is BookingStatus.CONFIRMED
    assert seen.events == ["BookingMade", "WaitingPlaceClosed", "BookingConfirmed"]
    assert seen.verbs == ["book_course", "take_offer"]
    assert await line(course) == [(ada.id, TAKEN), (ben.id, WAITING)]


async def test_an_offer_that_ends_is_passed_on_and_its_person_joins_anew() -> None:
    course, (booking,) = await a_full_course()
    ada, ben, stranger = await people(3)
    for each in (ada, ben):
        await join(each, course)
    await give_up(booking)
    over = NOW + DAY
    assert course.id not in await waiting.to_pass_on(over - HOUR)
    async with nothing_written():
        await lapse(course, over - HOUR)
    assert course.id in await waiting.to_pass_on(over)
    for late in (ada, stranger):  # before anybody came round to it, the place is already the next one's
        async with refused(Code.COURSE_FULL, "courseId"):
            await book(late, course, over)
    async with happening() as seen:
        await lapse(course, over)
    assert seen.events == ["WaitingPlaceClosed", "PlaceOffered"]
    assert seen.verbs == ["lapse_offer", "offer_place"]
    assert await line(course) == [(ada.id, LAPSED), (ben.id, OFFERED)]
    assert course.id not in await waiting.to_pass_on(over)
    async with nothing_written():
        await lapse(course, over)
    await join(ada, course, over)
    assert await line(course) == [(ada.id, LAPSED), (ben.id, OFFERED), (ada.id, WAITING)]


async def test_who_is_next_may_book_a_place_whose_offer_has_ended() -> None:
    course, (booking,) = await a_full_course()
    ada, ben = await people(2)
    for each in (ada, ben):
        await join(each, course)
    await give_up(booking)
    async with happening() as seen:
        await book(ben, course, NOW + DAY)
    assert seen.events == ["BookingMade", "WaitingPlaceClosed", "WaitingPlaceClosed", "BookingConfirmed"]
    assert await line(course) == [(ada.id, LAPSED), (ben.id, TAKEN)]
    async with refused(Code.COURSE_FULL, "courseId"):
        await book(ada, course, NOW + DAY)


async def test_an_offer_nobody_else_waits_for_leaves_a_free_place() -> None:
    course, (booking,) = await a_full_course()
    await join(await a_user(), course)
    await give_up(booking)
    await lapse(course, NOW + DAY)
    assert (await book(await a_user(), course, NOW + DAY)).status is BookingStatus.CONFIRMED


async def test_no_offer_outlasts_the_last_class_and_no_line_does() -> None:
    course, (one, two) = await a_full_course(2, future=1)
    ada, ben = await people(2)
    first = await join(ada, course)
    await join(ben, course)
    await give_up(one)
    starts = (await ClassSession.get(course_id=course.id)).starts_at
    assert (await WaitingPlace.get(id=first.id)).offered_until == starts == NOW + HOUR
    async with happening() as seen:
        await give_up(two, starts)
    assert seen.events == ["BookingReleased", "WaitingPlaceClosed", "WaitingPlaceClosed"]
    assert await line(course) == [(ada.id, LAPSED), (ben.id, LAPSED)]

    deserted, _ = await a_full_course(future=1)
    await join(ada, deserted)
    assert deserted.id in await waiting.to_pass_on(NOW + HOUR)
    await lapse(deserted, NOW + HOUR)
    assert await line(deserted) == [(ada.id, LAPSED)]


async def test_leaving_gives_an_offer_to_the_next() -> None:
    course, (booking,) = await a_full_course()
    ada, ben, cleo = await people(3)
    first, second, _ = [await join(each, course) for each in (ada, ben, cleo)]
    async with happening() as seen:
        assert (await leave(second)).state is LEFT
    assert (seen.events, seen.verbs) == (["WaitingPlaceClosed"], ["leave_waiting_list"])
    await give_up(booking)
    async with happening() as seen:
        await leave(first)
    assert seen.events == ["WaitingPlaceClosed", "PlaceOffered"]
    assert await line(course) == [(ada.id, LEFT), (ben.id, LEFT), (cleo.id, OFFERED)]
    async with refused(Code.ILLEGAL_MOVE, "waitingPlaceId"):
        await leave(first)
    async with refused(Code.NOT_FOUND, "waitingPlaceId"):
        await leave_waiting_list(new_id(), acting=BY, at=NOW)


async def test_an_offer_is_written_to_its_person_once_while_it_stands() -> None:
    course, (booking,) = await a_full_course()
    ada = await a_user()
    place = await join(ada, course)
    assert await notify_offered(place.id, acting=BY, at=NOW) is None
    await give_up(booking)
    message = await notify_offered(place.id, acting=BY, at=NOW)
    assert message is not None
    note, reader = message
    assert (note.kind, note.cause, reader.id) == ("PLACE_OFFERED", f"waiting_place:{place.id}", ada.id)
    assert note.text == (
        f"Dear Ada, a place on {course.name} has come free. It is kept for you until 10:00 on 03 March 2026; "
        "book the course by then to take it."
    )
    again = await notify_offered(place.id, acting=BY, at=NOW)
    assert again is not None
    assert again[0].id == note.id, "the same message while it has not left"
    await notifications.sent(note.id, at=NOW)
    async with nothing_written():
        assert await notify_offered(place.id, acting=BY, at=NOW) is None
        assert await notify_offered(place.id, acting=BY, at=NOW + DAY) is None


# -- many at once -----------------------------------------------------------------------------------------------------


async def a_crowd(number: int) -> list[User]:
    """People who need nothing but a name, written at once."""
    crowd = [User(first_name="P", last_name=str(n), email="p@a.test", email_key="p@a.test") for n in range(number)]
    await User.bulk_create(crowd)
    return crowd


async def places(course: Course) -> tuple[int, int]:
    """(live bookings, standing offers), of one instant."""
    (row,) = await sql(
        "SELECT (SELECT count(*) FROM booking WHERE course_id = $1 AND status IN ('AWAITING_PAYMENT', 'CONFIRMED'))"
        " AS live, (SELECT count(*) FROM waiting_place WHERE course_id = $1 AND state = 'OFFERED') AS offered",
        course.id,
    )
    return row["live"], row["offered"]


@asynccontextmanager
async def never_oversold(course: Course) -> AsyncIterator[None]:
    """Looks all the while, as often as the database answers."""

    async def look() -> None:
        while True:
            assert sum(await places(course)) <= course.capacity

    looking = asyncio.create_task(look())
    try:
        yield
        assert not looking.done(), looking.exception()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_two_hundred_at_once_for_ten_places() -> None:
    course = await a_course(future=2, capacity=10, price=0)
    crowd = await a_crowd(200)
    async with never_oversold(course):
        made, refusals = await settled_all(*(book(user, course) for user in crowd))
    assert len(made) == 10
    assert refusals == [Code.COURSE_FULL] * 190
    assert await places(course) == (10, 0)


async def test_fifty_at_once_stand_in_line_in_the_order_they_were_let_in() -> None:
    course, (booking,) = await a_full_course(future=2)
    await sql("CREATE TABLE arrival (number bigserial, place uuid)")
    await sql(
        "CREATE FUNCTION arrived() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO arrival (place) VALUES (NEW.id); RETURN NEW; END'"
    )
    await sql("CREATE TRIGGER arrived AFTER INSERT ON waiting_place FOR EACH ROW EXECUTE FUNCTION arrived()")
    try:
        joined, refusals = await settled_all(*(join(user, course) for user in await a_crowd(50)))
        arrived = [UUID(str(row["place"])) for row in await sql("SELECT place FROM arrival ORDER BY number")]
    finally:
        await sql("DROP TABLE arrival CASCADE")
        await sql("DROP FUNCTION arrived() CASCADE")
    assert (len(joined), refusals) == (50, [])
    assert arrived == sorted(place.id for place in joined)
    await give_up(booking)
    assert [state for _, state in await line(course)] == [OFFERED] + [WAITING] * 49


async def test_one_person_joining_ten_times_at_once_waits_once() -> None:
    course, _ = await a_full_course()
    ada = await a_user()
    joined, refusals = await settled_all(*(join(ada, course) for _ in range(10)))
    assert (len(joined), refusals) == (1, [Code.ALREADY_WAITING] * 9)


async def test_giving_up_booking_joining_leaving_and_lapsing_at_once_lose_no_place_and_sell_none_twice() -> None:
    course, held = await a_full_course(5, future=4)
    crowd = await a_crowd(60)
    at = NOW
    for turn in range(3):
        at += DAY  # what was offered before has ended
        mine = crowd[turn * 20 : turn * 20 + 20]
        lined_up = await WaitingPlace.filter(course_id=course.id, state__in=(WAITING, OFFERED)).order_by("id")
        async with never_oversold(course):
            answers, refusals = await settled_all(
                *(give_up(booking, at) for booking in held),
                *(join(user, course, at) for user in mine[:12]),
                *(book(user, course, at) for user in mine[8:]),
                *(leave(place, at) for place in lined_up[-2:]),
                lapse(course, at),
                *(book(User(id=place.user_id), course, at) for place in lined_up[:3]),
            )
        assert set(refusals) <= {Code.COURSE_FULL, Code.COURSE_HAS_PLACES, Code.ALREADY_BOOKED, Code.ILLEGAL_MOVE}
        assert len(answers) + len(refusals) == len(held) + 12 + 12 + min(2, len(lined_up)) + 1 + min(3, len(lined_up))
        await lapse(course, at)
        live, offered = await places(course)
        assert live + offered <= 5
        in_line = [state for _, state in await line(course) if state in (WAITING, OFFERED)]
        assert in_line == sorted(in_line, key=[OFFERED, WAITING].index), "offers go by the line"
        assert live + offered == 5 or WAITING not in in_line, "a place is free while somebody waits"
        held = await Booking.filter(course_id=course.id, status=BookingStatus.CONFIRMED)
