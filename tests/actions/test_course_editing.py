"""Changing a course and marking who came: what is written, what is refused, and what follows from it."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from models.actions import courses
from models.actions.attendances import mark_attendance
from models.actions.bookings import book_course
from models.actions.cancellations import release
from models.actions.courses import MOST_HOURS, update_course
from models.actions.unit import unit
from models.actions.waiting import join_waiting_list, places_kept
from models.rules.booking import Basis, Method, Pricing
from models.rules.invoicing import Mark
from models.rules.refusals import Code
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import AttendanceSource, Owner, WaitingState
from models.tables.booking import Booking, WaitingPlace
from models.tables.course import Attendance, ClassSession, Course
from models.tables.row import new_id
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_centre,
    a_course,
    a_subscriber,
    a_user,
    an_option,
    attend,
    happening,
    nothing_written,
    refused,
    spread,
    tell,
)

pytestmark = pytest.mark.usefixtures("database")
OFFERED, WAITING = WaitingState.OFFERED, WaitingState.WAITING
TERMS: dict[str, Any] = {
    "per_class_basis": Basis.NOT_DELETED,
    "package_joins_late": True,
    "on_cancellation": CancellationPolicy.NOTHING,
    "on_deletion": DeletionPolicy.ITS_SHARE,
    "notice_hours": 48,
    "offer_hours": 2,
}


async def update(course: Course, **changes: Any) -> Course:
    return await update_course(course.id, **changes, acting=BY, at=NOW)


async def book(user: User, course: Course) -> Booking:
    return await book_course(user_id=user.id, course_id=course.id, method=Method.PAYMENT, acting=BY, at=NOW)


async def mark(seat: Attendance, as_: Mark, **options: Any) -> Attendance:
    return await mark_attendance(seat.id, as_, **{"acting": "key:desk", "at": NOW, **options})


# -- courses ----------------------------------------------------------------------------------------------------------


async def test_a_course_is_created_on_the_terms_given() -> None:
    good: dict[str, Any] = {
        "name": "Beginners",
        "centre_id": (await a_centre()).id,
        "pricing_option_id": (await an_option()).id,
        "pricing": Pricing.FULL_RATE,
        "capacity": 4,
        "sessions": [(NOW + DAY, NOW + DAY + HOUR)],
        "acting": BY,
        "at": NOW,
    }
    course = await Course.get(id=(await courses.create_course(**good, **TERMS)).id)
    assert {name: getattr(course, name) for name in TERMS} == TERMS
    plain = await Course.get(id=(await courses.create_course(**good)).id)
    assert (plain.notice_hours, plain.offer_hours, plain.package_joins_late) == (0, 24, False)
    async with refused(Code.INVALID_INPUT, "offerHours"):
        await courses.create_course(**good, offer_hours=0)


async def test_what_changed_is_kept_with_what_it_was() -> None:
    course = await a_course(future=8, capacity=10)
    async with happening() as seen:
        after = await update(course, name="Improvers", capacity=10, **TERMS)
    assert (after.name, after.capacity) == ("Improvers", 10)
    row = await Course.get(id=course.id)
    assert {name: getattr(row, name) for name in TERMS} == TERMS
    (entry,) = seen.audit
    assert (entry.actor, entry.verb, entry.subject_id) == (BY, "update_course", course.id)
    assert entry.before == {
        "name": course.name,
        "per_class_basis": "SCHEDULED",
        "package_joins_late": False,
        "on_cancellation": "FUTURE_CLASSES",
        "on_deletion": "AS_PRICED",
        "notice_hours": 0,
        "offer_hours": 24,
    }
    assert entry.after == {
        "name": "Improvers",
        "per_class_basis": "NOT_DELETED",
        "package_joins_late": True,
        "on_cancellation": "NOTHING",
        "on_deletion": "ITS_SHARE",
        "notice_hours": 48,
        "offer_hours": 2,
    }
    assert (seen.events, seen.kinds) == ([], [])


async def test_nothing_is_written_where_nothing_differs() -> None:
    course = await a_course(future=8, capacity=10)
    async with nothing_written():
        assert (await update(course, name=course.name, capacity=10)).id == course.id
        await update(course)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"capacity": 0}, "capacity"),
        ({"notice_hours": -1}, "noticeHours"),
        ({"notice_hours": MOST_HOURS + 1}, "noticeHours"),
        ({"offer_hours": 0}, "offerHours"),
        ({"offer_hours": MOST_HOURS + 1}, "offerHours"),
    ],
)
async def test_numbers_that_cannot_be_meant(changes: dict[str, int], field: str) -> None:
    course = await a_course(future=8)
    async with refused(Code.INVALID_INPUT, field):
        await update(course, name="Never", **changes)


async def test_what_is_not_ours_or_not_there_is_not_changed() -> None:
    course = await a_course(future=8)
    await Course.filter(id=course.id).update(owner=Owner.COURSEPRO)
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await update(course, name="Never")
    async with refused(Code.NOT_FOUND, "courseId"):
        await update_course(new_id(), name="Never", acting=BY, at=NOW)


async def test_the_capacity_stays_above_what_is_booked_and_offered() -> None:
    course = await a_course(future=8, price=0, capacity=3)
    held = [await book(await a_user(), course) for _ in range(3)]
    ada = await a_user()
    await join_waiting_list(course_id=course.id, user_id=ada.id, acting=BY, at=NOW)
    async with unit(acting=BY, at=NOW) as work:
        for booking in held[:2]:
            await release(work, booking.id, because="asked")
    assert await places_kept(course.id, NOW) == 2, "one booked, one offered"
    async with refused(Code.CAPACITY_TAKEN, "capacity"):
        await update(course, capacity=1)
    assert (await update(course, capacity=2)).capacity == 2
    async with refused(Code.COURSE_FULL, "courseId"):
        await book(await User.get(id=held[0].user_id), course)


async def test_more_places_are_offered_to_who_waits() -> None:
    course = await a_course(future=8, price=0, capacity=1)
    await book(await a_user(), course)
    for _ in range(3):
        await join_waiting_list(course_id=course.id, user_id=(await a_user()).id, acting=BY, at=NOW)
    async with happening() as seen:
        await update(course, capacity=3, offer_hours=2)
    assert seen.events == ["PlaceOffered", "PlaceOffered"]
    assert seen.verbs == ["update_course", "offer_place", "offer_place"]
    line = await WaitingPlace.filter(course_id=course.id).order_by("id")
    assert [(place.state, place.offered_until) for place in line] == [
        (OFFERED, NOW + 2 * HOUR),
        (OFFERED, NOW + 2 * HOUR),
        (WAITING, None),
    ]


# -- attendances ------------------------------------------------------------------------------------------------------


async def a_seat(starts_in: timedelta = -HOUR, **session: Any) -> Attendance:
    """A place in a class of ours."""
    centre = await a_centre()
    start = NOW + starts_in
    held = await ClassSession.create(centre_id=centre.id, starts_at=start, ends_at=start + HOUR, **session)
    source = session.get("source", AttendanceSource.DUEFLOW)
    return await Attendance.create(class_session_id=held.id, user_id=(await a_user()).id, source=source)


async def test_who_came_is_marked_and_can_be_corrected() -> None:
    seat = await a_seat()
    async with happening() as seen:
        assert (await mark(seat, Mark.ATTENDED)).mark is Mark.ATTENDED
    (entry,) = seen.audit
    assert (entry.actor, entry.verb, entry.subject_id, entry.before, entry.after) == (
        "key:desk",
        "mark_attendance",
        seat.id,
        {"mark": "BOOKED"},
        {"mark": "ATTENDED"},
    )
    assert (seen.events, seen.kinds) == ([], [])
    async with nothing_written():
        await mark(seat, Mark.ATTENDED)
    await mark(seat, Mark.DNA)
    await mark(seat, Mark.BOOKED)
    assert (await Attendance.get(id=seat.id)).mark is Mark.BOOKED


async def test_marks_the_desk_does_not_give() -> None:
    seat, to_come = await a_seat(), await a_seat(HOUR)
    async with refused(Code.INVALID_INPUT, "mark"):
        await mark(seat, Mark.CANCELLED)
    for early in (Mark.ATTENDED, Mark.DNA):
        async with refused(Code.INVALID_INPUT, "mark"):
            await mark(to_come, early)
    assert (await mark(to_come, Mark.ATTENDED, at=NOW + HOUR)).mark is Mark.ATTENDED
    await Attendance.filter(id=seat.id).update(mark=Mark.CANCELLED)
    for any_mark in (Mark.ATTENDED, Mark.BOOKED):
        async with refused(Code.INVALID_INPUT, "attendanceId"):
            await mark(seat, any_mark)
    gone = await a_seat(deleted_at=NOW - DAY)
    async with refused(Code.INVALID_INPUT, "attendanceId"):
        await mark(gone, Mark.ATTENDED)
    async with refused(Code.NOT_FOUND, "attendanceId"):
        await mark_attendance(new_id(), Mark.ATTENDED, acting=BY, at=NOW)


async def test_marks_that_are_another_systems() -> None:
    of_nookal = await a_seat(source=AttendanceSource.NOOKAL, external_ref=f"n:{new_id()}")
    async with refused(Code.OWNED_BY_NOOKAL, "attendanceId"):
        await mark(of_nookal, Mark.ATTENDED)
    of_coursepro = await a_seat(source=AttendanceSource.COURSEPRO, external_ref=f"c:{new_id()}")
    mirrored = await a_course(elapsed=2)
    await Course.filter(id=mirrored.id).update(owner=Owner.COURSEPRO)
    of_its_course = await a_seat(course_id=mirrored.id)
    for seat in (of_coursepro, of_its_course):
        async with refused(Code.OWNED_BY_COURSEPRO, "attendanceId"):
            await mark(seat, Mark.ATTENDED)


async def test_invoices_follow_a_mark_in_the_same_transaction() -> None:
    """100.00 over a class of the practice's and one of ours; ours was missed, and then it was not."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + HOUR, Mark.ATTENDED))
    class_type_id: UUID = (await ClassSession.get(external_ref=f"{clinic.location}:1")).class_type_id or new_id()
    ours = await ClassSession.create(
        class_type_id=class_type_id, centre_id=clinic.centre.id, starts_at=NOW + DAY, ends_at=NOW + DAY + HOUR
    )
    seat = await Attendance.create(class_session_id=ours.id, user_id=clinic.user.id, source=AttendanceSource.DUEFLOW)
    await tell(clinic.invoiced(100_00))
    invoice = await clinic.invoice()
    assert await spread(invoice) == [50_00, 50_00]
    async with happening() as seen:
        await mark(seat, Mark.DNA, at=NOW + 2 * DAY)
    assert await spread(invoice) == [100_00]
    assert seen.events == ["InvoiceReallocated"]
    assert seen.verbs == ["mark_attendance", "allocate_invoice"]
    await mark(seat, Mark.ATTENDED, at=NOW + 2 * DAY)
    assert await spread(invoice) == [50_00, 50_00]
    billed = NOW + WEEK
    await type(invoice).filter(id=invoice.id).update(billed_off_at=billed)
    async with happening() as seen:
        await mark(seat, Mark.DNA, at=billed)
    assert (seen.events, seen.verbs) == (["CorrectionOpened"], ["mark_attendance", "open_correction"])
    assert await spread(invoice) == [50_00, 50_00]
