"""Which system decides what, as the document on CoursePro reads in its introduction and section A."""

from datetime import timedelta

import pytest

from models.actions import attendances, bookings, cancellations, course_ends, courses, memberships, rosters
from models.rules.booking import Method
from models.rules.facts import Attendee, AttendeesPosted, StatusClaimed
from models.rules.invoicing import Mark
from models.rules.lifecycle import Cause, Status
from models.rules.refusals import Code, Refusal
from models.rules.states import Owner
from models.tables.course import AccessToken, Attendance, ClassSession, Course
from models.tables.coursepro import Drift
from models.tables.membership import Membership
from tests.build import BY, DAY, HOUR, NOW, a_course, a_membership, a_name, a_user, nothing_written, refused
from tests.sold import WHO, a_bought

pytestmark = pytest.mark.usefixtures("database")


def a_roster(membership: Membership) -> AttendeesPosted:
    """CoursePro tells that a member is to attend a class tomorrow."""
    starts_at = NOW + DAY
    return AttendeesPosted(
        provider="COURSEPRO",
        course_id="SWIM-1",
        session_id=a_name("session"),
        starts_at=starts_at,
        ends_at=starts_at + HOUR,
        attendees=(Attendee(external_id=a_name("A"), membership_id=membership.id, mark=Mark.BOOKED),),
        occurred_at=NOW,
        event_id=a_name("ev"),
    )


async def test_the_price_is_ours() -> None:
    """R1, R20: what is bought there costs what it costs here."""
    membership, sold = await a_bought()
    assert (membership.amount, membership.currency) == (sold.option.amount, "GBP")
    assert membership.pricing_option_id == sold.option.id


async def test_the_course_is_theirs() -> None:
    """R15, R16, R19: it is neither edited nor booked nor ended here."""
    course = await a_course(future=2)
    await Course.filter(id=course.id).update(owner=Owner.COURSEPRO)
    session = await ClassSession.filter(course_id=course.id).order_by("-starts_at").first()
    assert session is not None
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await courses.update_course(course_id=course.id, capacity=3, **WHO)
    with pytest.raises(Refusal, match=Code.OWNED_BY_COURSEPRO):  # which is kept, as every answer to a booking is
        await bookings.book_course(course_id=course.id, user_id=(await a_user()).id, method=Method.PAYMENT, **WHO)
    async with refused(Code.OWNED_BY_COURSEPRO, "courseId"):
        await cancellations.delete_class_session(session.id, **WHO)


async def test_who_attends_is_theirs_to_say_and_who_enters_is_ours() -> None:
    """R13, R14, R18: a roster makes a token for the class; the marks on it are not ours to make."""
    membership = await a_membership()
    await rosters.attendees_posted(a_roster(membership), **WHO)
    token = await AccessToken.get(membership_id=membership.id)
    around = timedelta(minutes=30)
    assert (token.valid_from, token.valid_until) == (NOW + DAY - around, NOW + DAY + HOUR + around)
    seat = await Attendance.get(membership_id=membership.id)
    async with refused(Code.OWNED_BY_COURSEPRO, "attendanceId"):
        await attendances.mark_attendance(seat.id, Mark.ATTENDED, acting=BY, at=NOW + 2 * DAY)


async def test_the_status_is_ours() -> None:
    """R4, R12, R45: what we shut stays shut, whatever is said there; the claim is kept."""
    membership = await a_membership()
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, **WHO)
    claim = StatusClaimed(
        provider="COURSEPRO",
        membership_id=membership.id,
        claimed="active",
        occurred_at=NOW,
        event_id=a_name("ev"),
    )
    await course_ends.status_claimed(claim, **WHO)
    assert (await Membership.get(id=membership.id)).status is Status.SUSPENDED
    kept = await Drift.get(subject_id=membership.id)
    assert (kept.field, kept.ours, kept.theirs) == ("status", "SUSPENDED", "active")
    async with nothing_written():
        await course_ends.status_claimed(claim, **WHO)
