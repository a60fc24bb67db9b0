"""Booking a course: what is written with it, every refusal that writes nothing, and what many at once cannot do."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from models.actions import bookings, cancellations, memberships, payments
from models.actions.bookings import book_course
from models.actions.packages import balance, grant_package
from models.actions.unit import unit
from models.rules.booking import Method, Pricing
from models.rules.invoicing import Mark
from models.rules.lifecycle import Cause
from models.rules.refusals import Code, Refusal
from models.rules.states import BookingStatus, Owner, PaymentOutcome, PaymentPurpose, PaymentStatus, Provider
from models.tables.booking import Booking
from models.tables.course import Attendance, Course
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.package import CreditEntry, Package
from models.tables.payment import Payment
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
    a_membership,
    a_package,
    a_user,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
PAYMENT, MEMBERSHIP, PACKAGE, PACKAGE_AND_CHARGE = Method


async def book(user: User, course: Course, method: Method = PAYMENT, package: Package | None = None) -> Booking:
    return await book_course(
        user_id=user.id,
        course_id=course.id,
        method=method,
        package_id=package.id if package else None,
        acting=BY,
        at=NOW,
    )


async def seats(booking: Booking) -> list[tuple[Any, Mark]]:
    """(start, mark) of each place, in the order of the classes."""
    rows = await Attendance.filter(booking_id=booking.id).prefetch_related("class_session")
    return sorted((row.class_session.starts_at, row.mark) for row in rows)


async def entries(package: Package) -> list[tuple[int, str]]:
    return [(row.delta, row.reason) for row in await CreditEntry.filter(package_id=package.id).order_by("id")]


# -- what a booking writes --------------------------------------------------------------------------------------------


async def test_package_and_charge_on_a_full_rate_course_under_way() -> None:
    """Scenario 2, 2 elapsed, 2 deleted, 4 to come, of 80.00: 4 credits and 20.00, all in one transaction."""
    user = await a_member_with_card()
    course = await a_course(elapsed=2, deleted=2, future=4)
    package = await a_package(user, 10)
    async with happening() as seen:
        booking = await book(user, course, PACKAGE_AND_CHARGE, package)
    assert (booking.status, booking.credits, booking.charge, booking.currency) == (
        BookingStatus.AWAITING_PAYMENT,
        4,
        20_00,
        "GBP",
    )
    assert await entries(package) == [(10, "GRANT"), *[(-1, "BOOKING")] * 4]
    assert await balance(package.id) == 6
    first = NOW + 2 * WEEK + HOUR
    assert await seats(booking) == [(first + n * WEEK, Mark.BOOKED) for n in range(4)]
    payment = await Payment.get(booking_id=booking.id)
    assert (payment.amount, payment.currency, payment.status, payment.purpose, payment.provider) == (
        20_00,
        "GBP",
        PaymentStatus.DUE,
        PaymentPurpose.BOOKING,
        Provider.STRIPE,
    )
    assert (payment.key, payment.generation, payment.attempts) == (f"payment:{payment.id}:1", 1, 0)
    assert seen.events == ["BookingMade", "PaymentDue"]
    assert [(event["topic"], event["ids"]) for event in seen.told] == [
        ("booking", {"booking_id": str(booking.id), "user_id": str(user.id)}),
        ("payment", {"payment_id": str(payment.id), "user_id": str(user.id)}),
    ]
    assert [(job.kind, job.subject) for job in seen.jobs] == [
        ("payments.collect", f"payments.collect:{payment.id}"),
        ("live.publish", None),
    ]
    entry, charged = seen.audit
    assert (entry.actor, entry.verb, entry.subject_id, entry.after) == (
        BY,
        "book_course",
        booking.id,
        {"credits": 4, "charge": 20_00, "carried": 0},
    )
    assert [step["rule"] for step in entry.because] == ["D6", "D4", "R126", "R130", "R117", "0035"]
    assert entry.because == booking.because == charged.because
    assert (charged.verb, charged.subject_id) == ("charge_booking", payment.id)
    assert charged.after == {"amount": 20_00, "carried": 0}


@pytest.mark.parametrize(
    ("elapsed", "deleted", "future", "pricing", "held", "drawn", "charged"),
    [
        (0, 0, 8, Pricing.FULL_RATE, 3, 3, 50_00),
        (0, 2, 6, Pricing.FULL_RATE, 10, 6, 0),
        (2, 0, 6, Pricing.FULL_RATE, 10, 6, 20_00),
        (2, 0, 6, Pricing.FULL_RATE, 3, 3, 50_00),
        (2, 2, 4, Pricing.FULL_RATE, 3, 3, 30_00),
        (2, 0, 6, Pricing.PRORATED, 3, 3, 30_00),
        (2, 2, 4, Pricing.PRORATED, 10, 4, 0),
    ],
    ids=["E1", "E2", "E3 ten", "E3 three", "E4", "E5", "E6"],
)
async def test_the_rows_of_the_summary_table_through_the_database(
    elapsed: int, deleted: int, future: int, pricing: Pricing, held: int, drawn: int, charged: int
) -> None:
    user = await a_member_with_card()
    course = await a_course(elapsed=elapsed, deleted=deleted, future=future, pricing=pricing)
    package = await a_package(user, held)
    booking = await book(user, course, PACKAGE_AND_CHARGE, package)
    assert (booking.credits, booking.charge) == (drawn, charged)
    assert await balance(package.id) == held - drawn
    assert len(await seats(booking)) == future
    confirmed = charged == 0
    assert booking.status is (BookingStatus.CONFIRMED if confirmed else BookingStatus.AWAITING_PAYMENT)
    assert await Payment.filter(booking_id=booking.id).count() == (0 if confirmed else 1)


async def test_a_booking_that_owes_nothing_is_confirmed_at_once() -> None:
    user = await a_user()
    package = await a_package(user, 8)
    async with happening() as seen:
        booking = await book(user, await a_course(future=8), PACKAGE, package)
    assert booking.status is BookingStatus.CONFIRMED
    assert seen.events == ["BookingMade", "BookingConfirmed"]
    assert seen.kinds == ["live.publish"]
    assert await balance(package.id) == 0


async def test_a_membership_draws_the_credits_that_end_first() -> None:
    user = await a_user()
    membership = await a_membership(user)
    late, soon = [
        await a_package(user, 10, membership_id=membership.id, valid_until=NOW + weeks * WEEK) for weeks in (40, 20)
    ]
    await a_package(user, 10)  # not the membership's
    booking = await book(user, await a_course(future=8), MEMBERSHIP)
    assert (booking.credits, booking.status) == (8, BookingStatus.CONFIRMED)
    assert (await balance(soon.id), await balance(late.id)) == (2, 10)


# -- every no, and nothing of it written ------------------------------------------------------------------------------


async def test_what_does_not_exist_is_not_booked() -> None:
    user, course = await a_member_with_card(), await a_course(future=8)
    async with refused(Code.NOT_FOUND, "courseId"):
        await book_course(user_id=user.id, course_id=new_id(), method=PAYMENT, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "userId"):
        await book_course(user_id=new_id(), course_id=course.id, method=PAYMENT, acting=BY, at=NOW)


async def test_a_course_of_coursepro_is_booked_there() -> None:
    user, course = await a_member_with_card(), await a_course(future=8)
    await Course.filter(id=course.id).update(owner=Owner.COURSEPRO)
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await book(user, course)


async def test_one_live_booking_a_student() -> None:
    user, course = await a_member_with_card(), await a_course(future=8)
    await book(user, course)
    async with refused(Code.ALREADY_BOOKED, "courseId"):
        await book(user, course)


async def test_a_full_course_takes_nobody() -> None:
    course = await a_course(future=8, capacity=1)
    await book(await a_member_with_card(), course)
    late = await a_member_with_card()
    async with refused(Code.COURSE_FULL, "courseId"):
        await book(late, course)


async def test_a_charge_needs_a_card() -> None:
    """Also where credits were drawn and places taken before the charge came up."""
    user, course = await a_user(), await a_course(elapsed=2, future=6)
    package = await a_package(user, 10)
    async with refused(Code.NO_CARD_ON_FILE, "userId"):
        await book(user, course)
    async with refused(Code.NO_CARD_ON_FILE, "userId"):
        await book(user, course, PACKAGE_AND_CHARGE, package)
    assert await balance(package.id) == 10


async def test_credits_need_a_package_of_the_students_own_that_is_valid_now() -> None:
    user, course = await a_member_with_card(), await a_course(future=8)
    another_s = await a_package(await a_user())
    membership_s = await a_package(user, membership_id=(await a_membership(user)).id)
    ended, of_tomorrow = await a_package(user), await a_package(user)
    await Package.filter(id=ended.id).update(valid_from=NOW - WEEK, valid_until=NOW)
    await Package.filter(id=of_tomorrow.id).update(valid_from=NOW + HOUR)
    for method in (PACKAGE, PACKAGE_AND_CHARGE):
        for package in (another_s, membership_s, ended, of_tomorrow):
            async with refused(Code.PACKAGE_NOT_VALID, "packageId"):
                await book(user, course, method, package)


async def test_without_a_package_named_all_are_drawn_from_those_that_end_first_before_the_others() -> None:
    user = await a_member_with_card()
    ends = (None, NOW + 30 * WEEK, NOW + 2 * WEEK)
    never, later, soon = [await a_package(user, 3, valid_until=until) for until in ends]
    booking = await book(user, await a_course(future=8), PACKAGE_AND_CHARGE)
    assert (booking.credits, booking.charge) == (8, 0)
    assert [await balance(package.id) for package in (soon, later, never)] == [1, 0, 0]
    without = await book(user, await a_course(future=4), PACKAGE_AND_CHARGE, never)
    assert (without.credits, without.charge) == (0, 80_00)
    assert await balance(soon.id) == 1


async def test_a_package_for_one_course_pays_for_no_other() -> None:
    user, course, other = await a_user(), await a_course(future=2), await a_course(future=2)
    package = await a_package(user, 10, course_id=course.id)
    async with refused(Code.PACKAGE_NOT_VALID, "packageId"):
        await book(user, other, PACKAGE, package)
    async with refused(Code.INSUFFICIENT_CREDITS):
        await book(user, other, PACKAGE)
    assert (await book(user, course, PACKAGE)).credits == 2


async def test_credits_must_reach_the_last_class() -> None:
    """R123: the last of 8 weekly classes begins 7 weeks and an hour from now."""
    user, course = await a_member_with_card(), await a_course(future=8)
    last = NOW + 7 * WEEK + HOUR
    short = await a_package(user, valid_until=last)
    async with refused(Code.PACKAGE_NOT_VALID):
        await book(user, course, PACKAGE, short)
    enough = await a_package(user, valid_until=last + HOUR)
    assert (await book(user, course, PACKAGE, enough)).credits == 8

    member = await a_user()
    membership = await a_membership(member)
    await a_package(member, 8, membership_id=membership.id, valid_until=NOW + WEEK)
    await Membership.filter(id=membership.id).update(ends_on=last.date())
    async with refused(Code.MEMBERSHIP_NOT_VALID):
        await book(member, course, MEMBERSHIP)
    await Membership.filter(id=membership.id).update(ends_on=(last + DAY).date())
    assert (await book(member, course, MEMBERSHIP)).credits == 8  # this period's credits, the membership's time


async def test_a_membership_must_stand() -> None:
    user, course = await a_user(), await a_course(future=8)
    async with refused(Code.MEMBERSHIP_REQUIRED):
        await book(user, course, MEMBERSHIP)
    membership = await a_membership(user)
    async with refused(Code.MEMBERSHIP_REQUIRED):
        await book(user, course, MEMBERSHIP)
    await a_package(user, 8, membership_id=membership.id)
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    async with refused(Code.MEMBERSHIP_REQUIRED):
        await book(user, course, MEMBERSHIP)
    await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    assert (await book(user, course, MEMBERSHIP)).credits == 8


async def test_the_rules_refusals_write_nothing_either() -> None:
    user = await a_member_with_card()
    seven, under_way = await a_package(user, 7), await a_course(elapsed=2, future=6)
    membership = await a_membership(user)
    await a_package(user, 10, membership_id=membership.id)
    ahead, over = await a_course(future=8), await a_course(elapsed=8)
    async with refused(Code.INSUFFICIENT_CREDITS):
        await book(user, ahead, PACKAGE, seven)
    async with refused(Code.PACKAGE_CANNOT_COVER_ELAPSED):
        await book(user, under_way, PACKAGE, seven)
    async with refused(Code.MEMBERSHIP_FULL_RATE_STARTED):
        await book(user, under_way, MEMBERSHIP)
    for method in (PAYMENT, MEMBERSHIP):
        async with refused(Code.NO_FUTURE_CLASSES):
            await book(user, over, method)


async def test_a_package_is_granted_or_refused_whole() -> None:
    user = await a_user()
    options: dict[str, Any] = {"user_id": user.id, "name": "Ten", "acting": BY, "at": NOW}
    for granted in (0, -5):
        async with refused(Code.INVALID_INPUT, "credits"):
            await grant_package(**options, granted=granted)
    async with refused(Code.INVALID_INPUT, "validUntil"):
        await grant_package(**options, granted=1, valid_until=NOW)
    async with refused(Code.NOT_FOUND, "userId"):
        await grant_package(**{**options, "user_id": new_id()}, granted=1)
    for membership_id in (new_id(), (await a_membership()).id):
        async with refused(Code.NOT_FOUND, "membershipId"):
            await grant_package(**options, granted=1, membership_id=membership_id)
    async with refused(Code.NOT_FOUND, "classTypeId"):
        await grant_package(**options, granted=1, class_type_id=new_id())


# -- many at once -----------------------------------------------------------------------------------------------------


async def settled_all(*waiting: Any) -> tuple[list[Any], list[Code]]:
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    refusals = [answer.code for answer in answers if isinstance(answer, Refusal)]
    others = [answer for answer in answers if not isinstance(answer, Refusal)]
    assert not [answer for answer in others if isinstance(answer, BaseException)], answers
    return others, refusals


async def test_twenty_at_once_for_three_places() -> None:
    course = await a_course(future=8, capacity=3)
    users = [await a_member_with_card() for _ in range(20)]
    made, refusals = await settled_all(*(book(user, course) for user in users))
    assert len(made) == 3
    assert refusals == [Code.COURSE_FULL] * 17
    assert await Booking.filter(course_id=course.id).count() == 3
    assert await Payment.filter(booking__course_id=course.id).count() == 3
    assert await Attendance.filter(class_session__course_id=course.id).count() == 3 * 8


async def test_one_student_asking_ten_times_at_once_is_booked_once() -> None:
    user, course = await a_member_with_card(), await a_course(future=8)
    made, refusals = await settled_all(*(book(user, course) for _ in range(10)))
    assert len(made) == 1
    assert refusals == [Code.ALREADY_BOOKED] * 9


async def test_bookings_at_once_never_overdraw_one_package() -> None:
    user = await a_user()
    package = await a_package(user, 10)
    courses = [await a_course(future=4) for _ in range(5)]
    made, refusals = await settled_all(*(book(user, course, PACKAGE, package) for course in courses))
    assert len(made) == 2
    assert refusals == [Code.INSUFFICIENT_CREDITS] * 3
    assert await balance(package.id) == 2

    payer = await a_member_with_card()
    shared = await a_package(payer, 10)
    made, refusals = await settled_all(
        *(book(payer, course, PACKAGE_AND_CHARGE, shared) for course in [await a_course(future=8) for _ in range(3)])
    )
    assert refusals == []
    assert sorted(booking.credits for booking in made) == [0, 2, 8]
    assert sorted(booking.charge for booking in made) == [0, 60_00, 80_00]
    assert await balance(shared.id) == 0


# -- what becomes of it -----------------------------------------------------------------------------------------------


async def settle(payment_id: UUID, outcome: PaymentOutcome, failure: str | None = None) -> bool:
    return await payments.settle(payment_id, outcome, failure=failure, acting="webhook:STRIPE", at=NOW)


async def test_a_failed_payment_gives_places_and_credits_back_once() -> None:
    user = await a_member_with_card()
    course = await a_course(elapsed=2, future=6, capacity=1)
    package = await a_package(user, 10)
    booking = await book(user, course, PACKAGE_AND_CHARGE, package)
    payment = await Payment.get(booking_id=booking.id)
    async with happening() as seen:
        assert await settle(payment.id, PaymentOutcome.FAILED, "card_declined") is True
    booking = await Booking.get(id=booking.id)
    assert booking.status is BookingStatus.RELEASED
    assert await entries(package) == [(10, "GRANT"), *[(-1, "BOOKING")] * 6, *[(1, "RELEASED")] * 6]
    moved = await CreditEntry.filter(booking_id=booking.id).order_by("id")
    assert [(back.reverses_id, back.class_session_id) for back in moved[6:]] == [
        (drawn.id, drawn.class_session_id) for drawn in moved[:6]
    ]
    assert {mark for _, mark in await seats(booking)} == {Mark.CANCELLED}
    assert seen.events == ["PaymentUpdated", "PaymentMissed", "BookingReleased"]
    assert seen.kinds == ["notifications.payment_failed", "live.publish"]
    assert [(entry.verb, entry.after) for entry in seen.audit] == [
        ("settle_payment", {"status": "FAILED", "failure": "card_declined"}),
        ("release_booking", {"status": "RELEASED", "credits": 6, "money": 20_00}),
    ]
    (why,) = seen.audit[1].because
    assert (why["rule"], why["text"], why["figures"]) == (
        "0036",
        "payment FAILED: card_declined",
        {"classes": 8, "credits": 6, "amount": 20_00},
    )
    async with nothing_written():
        assert await settle(payment.id, PaymentOutcome.FAILED, "card_declined") is False
    await settle(payment.id, PaymentOutcome.CANCELLED)
    assert await balance(package.id) == 10

    again = await book(user, course, PACKAGE_AND_CHARGE, package)
    assert {mark for _, mark in await seats(again)} == {Mark.BOOKED}, "the place is free, for the same student, too"
    assert len(await seats(again)) == 6
    assert await balance(package.id) == 4


async def test_many_failures_at_once_release_once() -> None:
    user = await a_member_with_card()
    package = await a_package(user, 3)
    booking = await book(user, await a_course(future=8), PACKAGE_AND_CHARGE, package)
    payment = await Payment.get(booking_id=booking.id)
    news = await asyncio.gather(*(settle(payment.id, PaymentOutcome.FAILED) for _ in range(6)))
    assert sorted(news) == [False] * 5 + [True]
    assert await balance(package.id) == 3


async def test_a_paid_booking_is_confirmed_once() -> None:
    booking = await book(await a_member_with_card(), await a_course(future=8))
    payment = await Payment.get(booking_id=booking.id)
    async with happening() as seen:
        await settle(payment.id, PaymentOutcome.CONFIRMED)
    assert (await Booking.get(id=booking.id)).status is BookingStatus.CONFIRMED
    assert seen.events == ["PaymentUpdated", "BookingConfirmed"]
    assert seen.verbs == ["settle_payment", "confirm_booking"]
    async with nothing_written(), unit(acting=BY, at=NOW) as work:
        await bookings.confirm(work, booking.id)
    async with happening() as seen:
        await settle(payment.id, PaymentOutcome.PAID_OUT)
    assert seen.events == ["PaymentUpdated"]


async def test_what_was_released_is_not_confirmed_and_not_released_again() -> None:
    booking = await book(await a_member_with_card(), await a_course(future=8))
    async with unit(acting=BY, at=NOW) as work:
        assert await cancellations.release(work, booking.id, because="the card was declined") is True
    async with nothing_written(), unit(acting=BY, at=NOW) as work:
        assert await cancellations.release(work, booking.id, because="again") is False
        await bookings.confirm(work, booking.id)
    assert (await Booking.get(id=booking.id)).status is BookingStatus.RELEASED


async def test_a_release_leaves_the_classes_that_passed_as_they_were() -> None:
    booking = await book(await a_member_with_card(), await a_course(future=4))
    later = NOW + 2 * WEEK
    async with unit(acting=BY, at=later) as work:
        await cancellations.release(work, booking.id, because="the card was declined")
    assert [mark for _, mark in await seats(booking)] == [Mark.BOOKED, Mark.BOOKED, Mark.CANCELLED, Mark.CANCELLED]


async def test_no_job_of_a_booking_is_ever_doubled() -> None:
    keys = [job.key for job in await Job.all()]
    assert len(keys) == len(set(keys))
