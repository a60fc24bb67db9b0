"""How bookings end: what comes back, by which policy, exactly once, whatever state the charge is in."""

import asyncio
from typing import Any

import pytest

from models.actions import payments
from models.actions.bookings import book_course
from models.actions.cancellations import cancel_booking, delete_class_session
from models.actions.packages import balance
from models.rules.booking import Method, Pricing
from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import BookingStatus, Owner, PaymentOutcome, PaymentStatus
from models.tables.booking import Booking, BookingLine
from models.tables.course import Attendance, ClassSession, Course
from models.tables.package import CreditEntry
from models.tables.payment import Payment, Refund
from models.tables.row import new_id
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_course,
    a_member_with_card,
    a_package,
    a_user,
    happening,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
PAYMENT, MEMBERSHIP, PACKAGE, PACKAGE_AND_CHARGE = Method
FULL_RATE, PRORATED = Pricing


async def booked(user: User, course: Course, method: Method = PAYMENT, at: Any = NOW, *, paid: bool = True) -> Booking:
    booking = await book_course(user_id=user.id, course_id=course.id, method=method, acting=BY, at=at)
    if booking.charge and paid:
        await settle(booking, PaymentOutcome.CONFIRMED)
    return await Booking.get(id=booking.id)


async def settle(booking: Booking, outcome: PaymentOutcome) -> None:
    payment = await Payment.get(booking_id=booking.id)
    await payments.settle(payment.id, outcome, reference=f"pi_{payment.id}", acting="webhook:STRIPE", at=NOW)


async def refunds(booking: Booking) -> list[int]:
    return [row.amount for row in await Refund.filter(payment__booking_id=booking.id).order_by("id")]


async def setting(course: Course, **settings: Any) -> Course:
    await Course.filter(id=course.id).update(**settings)
    return await Course.get(id=course.id)


async def sessions(course: Course) -> list[ClassSession]:
    return await ClassSession.filter(course_id=course.id).order_by("starts_at")


# -- a person cancels -------------------------------------------------------------------------------------------------


async def test_before_the_course_begins_all_of_it_comes_back() -> None:
    user, course = await a_member_with_card(), await a_course(deleted=2, future=6)
    booking = await booked(user, course)
    async with happening() as seen:
        ended = await cancel_booking(booking.id, acting="key:desk", at=NOW)
    assert ended.status is BookingStatus.CANCELLED
    assert await refunds(booking) == [80_00]
    assert seen.events == ["BookingReleased", "RefundDue"]
    assert seen.kinds == ["payments.refund", "live.publish"]
    assert seen.verbs == ["release_booking", "refund_payment"]
    assert seen.audit[0].after == {"status": "CANCELLED", "credits": 0, "money": 80_00}
    assert [step["rule"] for step in seen.audit[0].because] == ["0036"]
    assert {row.mark for row in await Attendance.filter(booking_id=booking.id)} == {Mark.CANCELLED}


async def test_then_the_classes_to_come_credits_as_credits_and_money_as_money() -> None:
    user, course = await a_member_with_card(), await a_course(elapsed=2, future=6)
    package = await a_package(user, 4)
    booking = await booked(user, course, PACKAGE_AND_CHARGE)
    assert (booking.credits, booking.charge, await balance(package.id)) == (4, 40_00, 0)
    await cancel_booking(booking.id, acting=BY, at=NOW + WEEK + 2 * HOUR)  # two more classes have passed
    assert await balance(package.id) == 2
    assert await refunds(booking) == [20_00]
    kept = await BookingLine.filter(booking_id=booking.id, given_back_at=None)
    assert sorted((line.settled_by, line.share) for line in kept) == [("CHARGE", 10_00)] * 2 + [("CREDIT", 10_00)] * 2


async def test_cancelling_restores_the_balance_entry_by_entry() -> None:
    user, course = await a_user(), await a_course(future=6)
    packages = [await a_package(user, 3, valid_until=NOW + weeks * WEEK) for weeks in (20, 30)]
    booking = await booked(user, course, PACKAGE)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    assert [await balance(package.id) for package in packages] == [3, 3]
    entries = await CreditEntry.filter(booking_id=booking.id).order_by("id")
    drawn = {entry.id: entry for entry in entries if entry.delta == -1}
    assert [(drawn[back.reverses_id].package_id, back.delta) for back in entries if back.reverses_id] == [
        (entry.package_id, 1) for entry in drawn.values()
    ]
    assert len(drawn) == 6


@pytest.mark.parametrize(
    ("policy", "back"),
    [
        (CancellationPolicy.FUTURE_CLASSES, [60_00]),
        (CancellationPolicy.EVERYTHING, [80_00]),
        (CancellationPolicy.NOTHING, []),
    ],
)
async def test_the_courses_policy_decides(policy: CancellationPolicy, back: list[int]) -> None:
    course = await setting(await a_course(elapsed=2, future=6), on_cancellation=policy)
    booking = await booked(await a_member_with_card(), course)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    assert await refunds(booking) == back


async def test_classes_within_the_notice_are_not_given_back() -> None:
    course = await setting(await a_course(future=4), notice_hours=7 * 24 + 1)  # the first two start within it
    booking = await booked(await a_member_with_card(), course)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    assert await refunds(booking) == [40_00]


async def test_a_charge_nobody_asked_for_yet_is_never_asked_for() -> None:
    booking = await booked(await a_member_with_card(), await a_course(future=4), paid=False)
    async with happening() as seen:
        await cancel_booking(booking.id, acting=BY, at=NOW)
    assert (await Payment.get(booking_id=booking.id)).status is PaymentStatus.CANCELLED
    assert seen.events == ["BookingReleased", "PaymentUpdated"]
    assert await refunds(booking) == []


async def test_a_charge_on_its_way_comes_back_when_it_arrives_and_only_then() -> None:
    booking = await booked(await a_member_with_card(), await a_course(future=4), paid=False)
    payment = await Payment.get(booking_id=booking.id)
    await payments.begin_collection(payment.id, acting=BY, at=NOW)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    assert await refunds(booking) == []
    await settle(booking, PaymentOutcome.CONFIRMED)
    await settle(booking, PaymentOutcome.PAID_OUT)
    assert await refunds(booking) == [80_00]
    assert (await Booking.get(id=booking.id)).status is BookingStatus.CANCELLED


async def test_money_that_comes_after_the_booking_was_released_goes_back() -> None:
    booking = await booked(await a_member_with_card(), await a_course(future=4), paid=False)
    await settle(booking, PaymentOutcome.FAILED)
    assert (await Booking.get(id=booking.id)).status is BookingStatus.RELEASED
    await settle(booking, PaymentOutcome.CONFIRMED)
    assert await refunds(booking) == [80_00]


async def test_what_cannot_be_cancelled() -> None:
    booking = await booked(await a_member_with_card(), await a_course(future=4))
    async with refused(Code.NOT_FOUND, "bookingId"):
        await cancel_booking(new_id(), acting=BY, at=NOW)
    await cancel_booking(booking.id, acting=BY, at=NOW)
    async with refused(Code.BOOKING_NOT_CANCELLABLE, "bookingId"):
        await cancel_booking(booking.id, acting=BY, at=NOW)


async def test_ten_cancellations_at_once_give_back_once() -> None:
    user, course = await a_member_with_card(), await a_course(elapsed=2, future=6)
    package = await a_package(user, 3)
    booking = await booked(user, course, PACKAGE_AND_CHARGE)
    answers = await asyncio.gather(
        *(cancel_booking(booking.id, acting=BY, at=NOW) for _ in range(10)), return_exceptions=True
    )
    assert [each.code for each in answers if isinstance(each, Refusal)] == [Code.BOOKING_NOT_CANCELLABLE] * 9
    assert (await balance(package.id), await refunds(booking)) == (3, [30_00])


async def test_a_cancellation_and_the_news_of_its_payment_may_cross() -> None:
    for _ in range(5):
        booking = await booked(await a_member_with_card(), await a_course(future=4), paid=False)
        payment = await Payment.get(booking_id=booking.id)
        await payments.begin_collection(payment.id, acting=BY, at=NOW)
        await asyncio.gather(settle(booking, PaymentOutcome.CONFIRMED), cancel_booking(booking.id, acting=BY, at=NOW))
        assert await refunds(booking) == [80_00]


# -- the centre deletes a class ---------------------------------------------------------------------------------------

AS_PRICED, ITS_SHARE, KEPT = DeletionPolicy


@pytest.mark.parametrize(
    ("pricing", "method", "policy", "credits_back", "money_back"),
    [
        (FULL_RATE, PAYMENT, AS_PRICED, 0, []),  # R118: a deletion does not lower the full amount
        (FULL_RATE, PAYMENT, ITS_SHARE, 0, [10_00]),
        (PRORATED, PAYMENT, AS_PRICED, 0, [10_00]),  # R136
        (PRORATED, PAYMENT, KEPT, 0, []),
        (FULL_RATE, PACKAGE, AS_PRICED, 1, []),  # R120
        (FULL_RATE, PACKAGE, KEPT, 0, []),
        (FULL_RATE, PACKAGE_AND_CHARGE, AS_PRICED, 1, []),  # R130
    ],
)
async def test_a_class_deleted_after_it_was_booked(
    pricing: Pricing, method: Method, policy: DeletionPolicy, credits_back: int, money_back: list[int]
) -> None:
    user = await a_member_with_card()
    course = await setting(await a_course(future=8, pricing=pricing), on_deletion=policy)
    package = await a_package(user, 8)
    booking = await booked(user, course, method)
    before = await balance(package.id)
    third = (await sessions(course))[2]
    await delete_class_session(third.id, acting=BY, at=NOW)
    assert (await balance(package.id) - before, await refunds(booking)) == (credits_back, money_back)
    assert (await Booking.get(id=booking.id)).status is BookingStatus.CONFIRMED
    assert (await Attendance.get(class_session_id=third.id)).mark is Mark.CANCELLED


async def test_what_a_deletion_gave_back_a_cancellation_does_not_give_again() -> None:
    user, course = await a_member_with_card(), await a_course(future=8, pricing=PRORATED)
    package = await a_package(user, 5)
    booking = await booked(user, course, PACKAGE_AND_CHARGE)
    rows = await sessions(course)
    for gone in (rows[0], rows[7]):  # one paid by a credit, one by money
        await delete_class_session(gone.id, acting=BY, at=NOW)
    assert (await balance(package.id), await refunds(booking)) == (1, [10_00])
    await cancel_booking(booking.id, acting=BY, at=NOW)
    assert (await balance(package.id), await refunds(booking)) == (5, [10_00, 20_00])


async def test_a_deletion_while_the_charge_is_on_its_way_comes_back_with_it() -> None:
    course = await a_course(future=8, pricing=PRORATED)
    booking = await booked(await a_member_with_card(), course, paid=False)
    async with happening() as seen:
        await delete_class_session((await sessions(course))[0].id, acting=BY, at=NOW)
    assert seen.events == ["BookingChanged"]
    assert seen.verbs == ["delete_class_session", "return_class"]
    await settle(booking, PaymentOutcome.CONFIRMED)
    assert await refunds(booking) == [10_00]


async def test_a_class_that_had_passed_when_it_was_booked_stays_paid() -> None:
    course = await a_course(elapsed=2, future=6)
    booking = await booked(await a_member_with_card(), await setting(course, on_deletion=ITS_SHARE))
    await delete_class_session((await sessions(course))[0].id, acting=BY, at=NOW)
    assert await refunds(booking) == []


async def test_what_cannot_be_deleted() -> None:
    course = await a_course(future=2)
    first = (await sessions(course))[0]
    await delete_class_session(first.id, acting=BY, at=NOW)
    async with refused(Code.CLASS_ALREADY_DELETED, "classSessionId"):
        await delete_class_session(first.id, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "classSessionId"):
        await delete_class_session(new_id(), acting=BY, at=NOW)
    await setting(course, owner=Owner.COURSEPRO)
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await delete_class_session((await sessions(course))[1].id, acting=BY, at=NOW)


async def test_a_deleted_class_counts_in_the_price_but_not_in_the_credits_of_later_bookings() -> None:
    course = await a_course(future=8)
    await delete_class_session((await sessions(course))[0].id, acting=BY, at=NOW)
    user = await a_user()
    await a_package(user, 7)
    booking = await booked(user, course, PACKAGE, NOW + DAY)
    assert (booking.credits, booking.charge) == (7, 0)
