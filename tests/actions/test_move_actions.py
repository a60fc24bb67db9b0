"""Changing a booking for one of another course: no cent and no credit is made or lost on the way."""

from datetime import datetime, timedelta

import pytest

from models.actions import payments
from models.actions.bookings import book_course
from models.actions.cancellations import cancel_booking
from models.actions.moves import move_booking
from models.actions.packages import balance
from models.rules.booking import Method
from models.rules.refusals import Code
from models.rules.states import BookingStatus, PaymentOutcome
from models.tables.booking import Booking
from models.tables.course import Course
from models.tables.payment import Payment, Refund
from models.tables.user import User
from tests.build import BY, NOW, WEEK, a_course, a_member_with_card, a_package, happening, refused

pytestmark = pytest.mark.usefixtures("database")
PAYMENT, MEMBERSHIP, PACKAGE, PACKAGE_AND_CHARGE = Method


async def booked(user: User, course: Course, method: Method = PAYMENT) -> Booking:
    booking = await book_course(user_id=user.id, course_id=course.id, method=method, acting=BY, at=NOW)
    await pay(booking)
    return booking


async def move(booking: Booking, course: Course, method: Method | None = None, at: datetime = NOW) -> Booking:
    return await move_booking(booking.id, course.id, method=method, acting=BY, at=at)


async def pay(booking: Booking, outcome: PaymentOutcome = PaymentOutcome.CONFIRMED) -> None:
    for payment in await Payment.filter(booking_id=booking.id):
        await payments.settle(payment.id, outcome, reference=f"pi_{payment.id}", acting="webhook", at=NOW)


async def money(user: User) -> tuple[list[int], list[int]]:
    """What a student was charged, and what was refunded."""
    charged = [row.amount for row in await Payment.filter(user_id=user.id).order_by("id")]
    return charged, [row.amount for row in await Refund.filter(user_id=user.id).order_by("id")]


async def test_the_difference_is_charged() -> None:
    user = await a_member_with_card()
    before, dearer = await booked(user, await a_course(future=4, price=40_00)), await a_course(future=4, price=60_00)
    async with happening() as seen:
        after = await move(before, dearer)
    assert (after.status, after.charge, after.carried, after.moved_from_id) == (
        BookingStatus.AWAITING_PAYMENT,
        60_00,
        40_00,
        before.id,
    )
    assert (await Booking.get(id=before.id)).status is BookingStatus.CANCELLED
    assert await money(user) == ([40_00, 20_00], [])
    assert seen.events == ["BookingReleased", "BookingMade", "PaymentDue"]
    assert seen.verbs == ["release_booking", "move_booking", "charge_booking"]
    await pay(after)
    assert (await Booking.get(id=after.id)).status is BookingStatus.CONFIRMED


async def test_the_difference_is_refunded() -> None:
    user = await a_member_with_card()
    after = await move(await booked(user, await a_course(future=4, price=80_00)), await a_course(future=4, price=50_00))
    assert (after.status, after.charge, after.carried) == (BookingStatus.CONFIRMED, 50_00, 50_00)
    assert await money(user) == ([80_00], [30_00])


async def test_what_has_passed_stays_paid_and_the_rest_moves() -> None:
    user = await a_member_with_card()
    before = await booked(user, await a_course(future=8))
    # a week on two classes have passed: 60.00 are still to come, and of the other course all is
    after = await move(before, await a_course(future=8, elapsed=0), at=NOW + timedelta(minutes=30))
    assert (after.carried, await money(user)) == (80_00, ([80_00], []))
    again = await move(after, await a_course(future=10, price=100_00), at=NOW + WEEK + timedelta(hours=2))
    assert (again.charge, again.carried) == (100_00, 60_00)
    assert await money(user) == ([80_00, 40_00], [])


async def test_credits_come_back_before_they_are_drawn_again() -> None:
    user = await a_member_with_card()
    package = await a_package(user, 4)
    before = await booked(user, await a_course(future=4), PACKAGE)
    after = await move(before, await a_course(future=4))
    assert (after.method, after.credits, await balance(package.id)) == (PACKAGE, 4, 0)
    third = await move(after, await a_course(future=2, price=20_00), PAYMENT)
    assert (third.charge, await balance(package.id)) == (20_00, 4)


async def test_cancelling_what_was_moved_gives_all_of_it_back_by_both_payments() -> None:
    user = await a_member_with_card()
    after = await move(await booked(user, await a_course(future=4, price=40_00)), await a_course(future=4, price=60_00))
    await pay(after)
    await cancel_booking(after.id, acting=BY, at=NOW)
    assert await money(user) == ([40_00, 20_00], [20_00, 40_00])


async def test_where_the_difference_fails_what_was_carried_comes_back() -> None:
    user = await a_member_with_card()
    after = await move(await booked(user, await a_course(future=4, price=40_00)), await a_course(future=4, price=60_00))
    await pay(after, PaymentOutcome.FAILED)
    assert (await Booking.get(id=after.id)).status is BookingStatus.RELEASED
    assert await money(user) == ([40_00, 20_00], [40_00])


async def test_there_and_back_and_away_leaves_nothing_behind() -> None:
    user = await a_member_with_card()
    cheap, dear = await a_course(future=4, price=30_00), await a_course(future=4, price=70_00)
    booking = await booked(user, cheap)
    for course in (dear, cheap, dear):
        booking = await move(booking, course)
        await pay(booking)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    charged, refunded = await money(user)
    assert sum(charged) == sum(refunded)
    assert charged == [30_00, 40_00, 40_00]


async def test_what_cannot_be_moved() -> None:
    user = await a_member_with_card()
    course, other = await a_course(future=4), await a_course(future=4)
    waiting = await book_course(user_id=user.id, course_id=course.id, method=PAYMENT, acting=BY, at=NOW)
    async with refused(Code.BOOKING_NOT_MOVABLE, "bookingId"):
        await move(waiting, other)  # its payment is not in
    await pay(waiting)
    async with refused(Code.BOOKING_NOT_MOVABLE, "bookingId"):
        await move(waiting, course)
    full = await a_course(future=4, capacity=1)
    await booked(await a_member_with_card(), full)
    async with refused(Code.COURSE_FULL, "courseId"):
        await move(waiting, full)
    async with refused(Code.INSUFFICIENT_CREDITS):
        await move(waiting, other, PACKAGE)
    assert (await Booking.get(id=waiting.id)).status is BookingStatus.CONFIRMED
