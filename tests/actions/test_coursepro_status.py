"""What the course system may do to a membership, from every state: end it, and never lift what we shut (R45-R49)."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest

from models.actions import access, course_ends, dunning, memberships, payments, refunds, rosters
from models.rules.facts import Attendee, AttendeesPosted, CourseEnd, CourseEnded, StatusClaimed
from models.rules.invoicing import Mark
from models.rules.lifecycle import STANDING, TERMINAL, Cause, Status
from models.rules.refusals import Code
from models.rules.states import PaymentOutcome, PaymentStatus, RefundOutcome, ReviewState
from models.tables.centre import Centre
from models.tables.course import AccessToken, Attendance, ClassSession
from models.tables.coursepro import Drift, ReviewItem
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.payment import Payment
from models.tables.row import new_id
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_centre,
    a_fee,
    a_membership,
    a_name,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
Out, P = PaymentOutcome, PaymentStatus
CAUSES = {CourseEnd.CANCELLED: Cause.COURSE_CANCELLED, CourseEnd.COMPLETED: Cause.COURSE_COMPLETED}
OTHER = {CourseEnd.CANCELLED: CourseEnd.COMPLETED, CourseEnd.COMPLETED: CourseEnd.CANCELLED}
FIRST_DAY = date(2025, 3, 2)  # a year before NOW


def an_end(membership: Membership, end: CourseEnd, **options: Any) -> CourseEnded:
    values = {"provider": "COURSEPRO", "occurred_at": NOW, "actor": "front desk", "event_id": a_name("ev")}
    return CourseEnded(membership_id=membership.id, end=end, **{**values, **options})


async def told(fact: CourseEnded | StatusClaimed | AttendeesPosted, at: datetime = NOW) -> None:
    action: Any = {
        CourseEnded: course_ends.course_ended,
        StatusClaimed: course_ends.status_claimed,
        AttendeesPosted: rosters.attendees_posted,
    }[type(fact)]
    await action(fact, acting="webhook:COURSEPRO", at=at)


def a_place(membership: Membership, starts_at: datetime, **options: Any) -> AttendeesPosted:
    """One person's place in one class."""
    mark = options.pop("mark", Mark.BOOKED)
    values = {
        "provider": "COURSEPRO",
        "course_id": "SWIM-1",
        "session_id": f"{membership.id}:{starts_at:%m%dT%H}",
        "occurred_at": NOW,
        "event_id": a_name("ev"),
        **options,
    }
    attendee = Attendee(external_id=values.pop("attendance_id", "A1"), membership_id=membership.id, mark=mark)
    return AttendeesPosted(starts_at=starts_at, ends_at=starts_at + HOUR, attendees=(attendee,), **values)


async def windows(membership: Membership) -> list[tuple[datetime, datetime]]:
    """The windows of the open tokens, oldest first."""
    rows = await AccessToken.filter(membership_id=membership.id, revoked_at=None).order_by("valid_from")
    return [(row.valid_from, row.valid_until) for row in rows]


async def questions(membership: Membership) -> dict[str, str]:
    """Payment -> how the question stands whether it is to be given back."""
    fees = {str(fee.id) for fee in await Payment.filter(membership_id=membership.id)}
    items = await ReviewItem.filter(subject__in=list(fees)).order_by("created_at")
    return {item.subject: item.state.value for item in items}


@dataclass(slots=True)
class Fees:
    """A fee in each status, of the year that passed; DUE twice, and one taken for a period still to come."""

    by_name: dict[str, Payment]

    def __getitem__(self, name: str) -> str:
        return str(self.by_name[name].id)

    async def now(self) -> dict[str, str]:
        ids = [fee.id for fee in self.by_name.values()]
        rows = {row.id: row.status.value for row in await Payment.filter(id__in=ids)}
        return {name: rows[fee.id] for name, fee in self.by_name.items()}


async def fees_of(membership: Membership) -> Fees:
    names = [*(status.value for status in P), "TRIED", "AHEAD"]
    made = {}
    for number, name in enumerate(names):
        status = {"TRIED": "DUE", "AHEAD": "CONFIRMED"}.get(name, name)
        fee = new_id()
        made[name] = await Payment.create(
            id=fee,
            user_id=membership.user_id,
            purpose="MEMBERSHIP_FEE",
            membership_id=membership.id,
            mandate_id=membership.mandate_id,
            provider="GOCARDLESS",
            amount=35_00,
            currency="GBP",
            status=status,
            due_on=FIRST_DAY,
            period_start=date(2026, 4, 2) if name == "AHEAD" else FIRST_DAY + timedelta(days=number),
            key=f"payment:{fee}:1",
            attempts=0 if name == "DUE" else 1,
            reference=None if name in ("DUE", "TRIED", "UNKNOWN") else f"PM{fee}",
        )
    return Fees(made)


# -- both ends, from every state --------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", list(CourseEnd))
@pytest.mark.parametrize("status", list(Status))
async def test_a_course_that_ends_ends_its_membership_and_its_money_wherever_both_stand(
    status: Status, end: CourseEnd
) -> None:
    """R47-R49: once, twice, late, and with a payment in each state."""
    membership = await a_membership(starts_on=FIRST_DAY)
    if status is Status.ACTIVE:
        await told(a_place(membership, NOW + DAY))
    before = {"status": status, "reason": Cause.SUSPENDED_BY_STAFF if status is Status.SUSPENDED else "FREE_OF_CHARGE"}
    await Membership.filter(id=membership.id).update(**before)
    fees = await fees_of(membership)
    stood = await fees.now()
    fact = an_end(membership, end)
    async with happening() as seen:
        await told(fact)
    row = await Membership.get(id=membership.id)

    if status in TERMINAL:
        assert (row.status, row.version, await fees.now(), seen.kinds) == (status, membership.version, stood, [])
        differs = status.value != end.value
        assert [(each.field, each.ours, each.theirs) for each in await Drift.filter(subject_id=row.id)] == (
            [("status", status.value, end.value)] if differs else []
        )
        async with nothing_written():
            await told(fact)
        return

    assert (row.status, row.reason, row.version) == (Status(end.value), CAUSES[end], membership.version + 1)
    assert row.ends_on == NOW.date()
    assert await windows(membership) == []
    assert await fees.now() == {**stood, "DUE": "CANCELLED"}, "what nobody was asked for is dropped in the same moment"
    in_flight = {fees[name]: "OPEN" for name in ("UNKNOWN", "TRIED")}
    assert await questions(membership) == {**in_flight, fees["AHEAD"]: "OPEN"}
    shut = ["AccessRevoked"] if status is Status.ACTIVE else []
    assert seen.events == [*shut, "PaymentUpdated", "MembershipStatusChanged"]
    asked = [job.payload["payment_id"] for job in seen.jobs if job.kind == "payments.cancel"]
    assert sorted(asked) == sorted(fees[name] for name in ("SUBMITTED", "UNKNOWN", "TRIED"))
    assert seen.kinds == [
        *["payments.cancel"] * 3,
        "courses.push_membership",
        "packages.grant_to_membership",
        "live.publish",
    ]
    assert seen.audit[0].because == [CAUSES[end], "by front desk"]
    async with nothing_written():
        await told(fact)
    async with happening() as seen:
        await told(an_end(membership, OTHER[end]))
    assert (seen.verbs, seen.kinds) == ([], []), "another end is written down, and changes nothing"
    await _news_after_the_end(membership, fees)


async def _news_after_the_end(membership: Membership, fees: Fees) -> None:
    """What comes of the payments in flight: taken is asked about, fallen is not any more, whoever tells and when."""

    async def news(name: str, outcome: PaymentOutcome) -> str | None:
        await payments.settle(fees.by_name[name].id, outcome, acting="webhook:GOCARDLESS", at=NOW + DAY)
        return (await questions(membership)).get(fees[name])

    assert await news("SUBMITTED", Out.CONFIRMED) == "OPEN"
    assert await news("SUBMITTED", Out.PAID_OUT) == "OPEN"
    assert await news("SUBMITTED", Out.FAILED) == "DROPPED"
    assert await news("UNKNOWN", Out.SUBMITTED) == "OPEN"
    assert await news("UNKNOWN", Out.CANCELLED) == "DROPPED"
    assert await news("TRIED", Out.FAILED) == "DROPPED"
    assert await news("DUE", Out.CONFIRMED) == "OPEN", "a call thought lost arrived after all"
    row = await Membership.get(id=membership.id)
    assert row.version == membership.version + 1, "no money moves what has ended"
    assert not STANDING[row.status].bills
    async with refused(Code.PAYMENT_NOT_COLLECTABLE):
        await a_fee(membership)


async def test_a_person_answers_by_a_refund_and_is_asked_anew_where_it_fails() -> None:
    membership = await a_membership()
    fee = await a_fee(membership)
    await payments.settle(fee.id, Out.SUBMITTED, reference=a_name("PM"), acting=BY, at=NOW)
    await told(an_end(membership, CourseEnd.CANCELLED))
    await payments.settle(fee.id, Out.CONFIRMED, acting=BY, at=NOW)
    made = await refunds.refund_payment(fee.id, reason="Course cancelled", acting="key:office", at=NOW)
    item = await ReviewItem.get(subject=str(fee.id))
    assert (item.state, item.answer) == (ReviewState.SETTLED, f"refund {made.id}")
    assert (item.user_id, item.evidence["amount"], item.evidence["why"]) == (
        membership.user_id,
        35_00,
        "it was taken after the end",
    )
    await payments.settle(fee.id, Out.PAID_OUT, acting=BY, at=NOW)
    assert (await ReviewItem.get(subject=str(fee.id))).state is ReviewState.SETTLED, "it is not asked twice"
    await refunds.settle(made.id, RefundOutcome.FAILED, acting=BY, at=NOW)
    assert (await ReviewItem.get(subject=str(fee.id))).state is ReviewState.OPEN


async def test_a_failed_fee_is_not_tried_again_after_the_end() -> None:
    """Arrears remain (R49): a person collects them by hand, no job does."""
    membership = await a_membership()
    fee = await a_fee(membership)
    await payments.settle(fee.id, Out.FAILED, reference=a_name("PM"), acting=BY, at=NOW)
    await dunning.retry_payment(fee.id, acting=BY, at=NOW)
    await told(an_end(membership, CourseEnd.CANCELLED))
    assert await dunning.to_retry(fee.id) is None
    assert (await Payment.get(id=fee.id)).status is P.FAILED
    await payments.settle(fee.id, Out.SUBMITTED, acting=BY, at=NOW)  # its provider tries again by itself
    assert await Job.filter(kind="payments.cancel", subject=f"payments.collect:{fee.id}").count() == 1


async def test_a_term_that_ran_its_course_owes_its_last_fee() -> None:
    membership = await a_membership(starts_on=FIRST_DAY)
    fees = await fees_of(membership)
    stood = await fees.now()
    await memberships.due(membership.id, Cause.TERM_ENDED, acting=BY, at=NOW)
    assert (await Membership.get(id=membership.id)).status is Status.COMPLETED
    assert await fees.now() == stood
    assert await questions(membership) == {fees["AHEAD"]: "OPEN"}, "only what was taken for later days"


async def test_an_end_told_late_was_on_its_own_day_and_what_was_taken_since_is_looked_at() -> None:
    membership = await a_membership(starts_on=FIRST_DAY)
    fee = await a_fee(membership)
    await payments.settle(fee.id, Out.CONFIRMED, acting=BY, at=NOW)
    await told(an_end(membership, CourseEnd.CANCELLED, effective_at=NOW - 3 * DAY), at=NOW + DAY)
    row = await Membership.get(id=membership.id)
    assert (row.status, row.ends_on) == (Status.CANCELLED, (NOW - 3 * DAY).date())
    assert await questions(membership) == {str(fee.id): "OPEN"}


async def test_an_end_to_come_lets_the_membership_stand_until_then_and_takes_nothing_for_later() -> None:
    """R47: the day named counts; the fee of the period under way stays owed."""
    membership = await a_membership()
    march, april = await a_fee(membership), await a_fee(membership, date(2026, 4, 2))
    fact = an_end(membership, CourseEnd.COMPLETED, effective_at=NOW + 4 * WEEK)
    async with happening() as seen:
        await told(fact)
    row = await Membership.get(id=membership.id)
    assert (row.status, row.ends_on, row.version) == (Status.ACTIVE, date(2026, 3, 30), membership.version)
    assert [(await Payment.get(id=fee.id)).status for fee in (march, april)] == [P.DUE, P.CANCELLED]
    assert seen.events == ["PaymentUpdated"]
    async with nothing_written():
        await told(fact)
    async with refused(Code.PAYMENT_NOT_COLLECTABLE, "periodStart"):
        await a_fee(membership, date(2026, 4, 2))
    assert (row.id, Cause.COURSE_COMPLETED) not in await memberships.due_to_move(date(2026, 3, 29))
    assert (row.id, Cause.COURSE_COMPLETED) in await memberships.due_to_move(date(2026, 3, 30))
    await memberships.due(row.id, Cause.COURSE_COMPLETED, acting=BY, at=NOW + 5 * WEEK)
    row = await Membership.get(id=membership.id)
    assert (row.status, row.reason, row.ends_on) == (Status.COMPLETED, "COURSE_COMPLETED", date(2026, 3, 30))


async def test_a_course_that_is_to_end_before_a_membership_of_it_begins_lets_it_never_begin() -> None:
    first_day = (NOW + 20 * DAY).date()
    membership = await a_membership(starts_on=first_day)
    fee = await a_fee(membership, first_day)
    await told(an_end(membership, CourseEnd.CANCELLED, effective_at=NOW + 5 * DAY))
    row = await Membership.get(id=membership.id)
    assert (row.status, row.ends_on) == (Status.FUTURE, first_day)
    assert (await Payment.get(id=fee.id)).status is P.CANCELLED
    mine = [cause for each, cause in await memberships.due_to_move(first_day) if each == row.id]
    assert mine == [Cause.COURSE_CANCELLED], "it does not start first"


async def test_a_fee_for_days_after_an_end_to_come_is_not_tried_again_and_does_not_suspend() -> None:
    membership = await a_membership()
    later = await a_fee(membership, date(2026, 4, 2))
    await payments.settle(later.id, Out.SUBMITTED, reference=a_name("PM"), acting=BY, at=NOW)
    await told(an_end(membership, CourseEnd.COMPLETED, effective_at=NOW + 4 * WEEK))
    await payments.settle(later.id, Out.FAILED, acting=BY, at=NOW)
    row, later = await Membership.get(id=membership.id), await Payment.get(id=later.id)
    assert (row.status, later.status, later.retry_on) == (Status.ACTIVE, P.FAILED, None)
    async with refused(Code.PAYMENT_NOT_RETRYABLE, "paymentId"):
        await dunning.retry_payment(later.id, acting=BY, at=NOW)


async def test_what_rode_on_a_payment_that_was_cancelled_is_not_owed_for_days_after_the_end() -> None:
    membership = await a_membership()
    march, april = await a_fee(membership), await a_fee(membership, date(2026, 4, 2))
    await Payment.filter(id=april.id).update(status=P.CARRIED, carried_by_id=march.id)
    await told(an_end(membership, CourseEnd.CANCELLED))
    april = await Payment.get(id=april.id)
    assert (april.status, april.carried_by_id) == (P.CANCELLED, None)


# -- never a way back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.FROZEN, *sorted(TERMINAL)])
async def test_the_course_system_cannot_lift_what_we_shut(status: Status) -> None:
    """R45: what it claims is kept as evidence, once for each message, and nothing moves."""
    membership = await a_membership()
    await Membership.filter(id=membership.id).update(status=status, reason="SUSPENDED_BY_STAFF")
    claim = StatusClaimed(
        provider="COURSEPRO", membership_id=membership.id, claimed="active", occurred_at=NOW, event_id=a_name("ev")
    )
    place = a_place(membership, NOW + DAY)
    async with happening() as seen:
        await told(claim)
        await told(place)
    row = await Membership.get(id=membership.id)
    assert (row.status, row.version, await windows(membership)) == (status, membership.version, [])
    assert (seen.events, seen.kinds) == ([], [])
    drifted = await Drift.filter(subject_id=membership.id).order_by("created_at")
    assert [(each.field, each.ours, each.theirs, each.cause) for each in drifted] == [
        ("status", status.value, "active", claim.event_id),
        ("roster", status.value, f"expected in {place.session_id}", place.event_id),
    ]
    async with nothing_written():
        await told(claim)
        await told(place)


async def test_a_claim_that_agrees_says_nothing() -> None:
    membership = await a_membership()
    claim = StatusClaimed(
        provider="COURSEPRO", membership_id=membership.id, claimed="active", occurred_at=NOW, event_id=a_name("ev")
    )
    async with nothing_written():
        await told(claim)


async def test_reinstated_here_its_tokens_come_back_from_the_roster_for_what_is_to_come() -> None:
    """R46: also those told while it was suspended; with the minutes of the centre where the class is."""
    membership = await a_membership()
    elsewhere = await a_centre(minutes_before=10, minutes_after=0)
    passed, next_day, later = NOW - DAY, NOW + DAY, NOW + 2 * DAY
    await told(a_place(membership, passed, attendance_id="A0"), at=NOW - 2 * DAY)
    await told(a_place(membership, next_day, attendance_id="A1"))
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    await told(a_place(membership, later, attendance_id="A2", centre_ref=str(elsewhere.id)))
    assert await windows(membership) == [(passed - HOUR / 2, passed + HOUR + HOUR / 2)], "it was over before"
    async with happening() as seen:
        await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    minutes = timedelta(minutes=10)
    assert (await windows(membership))[1:] == [
        (next_day - HOUR / 2, next_day + HOUR + HOUR / 2),
        (later - minutes, later + HOUR),
    ]
    assert seen.events == ["AccessGranted", "MembershipStatusChanged"]


# -- rosters ----------------------------------------------------------------------------------------------------------


async def test_what_is_told_of_a_place_comes_in_any_order_and_twice_and_ends_alike() -> None:
    """R60: booked, moved by an hour, taken off, put back; the word spoken last counts, each message once."""
    ends = []
    for order in permutations(range(4)):
        membership, session = await a_membership(), a_name("session")

        def messages(membership: Membership = membership, session: str = session) -> list[AttendeesPosted]:
            def said(minute: int, start: datetime, mark: Mark = Mark.BOOKED) -> AttendeesPosted:
                spoken_at = NOW + timedelta(minutes=minute)
                return a_place(membership, start, session_id=session, occurred_at=spoken_at, mark=mark)

            moved = NOW + DAY + HOUR
            return [said(0, NOW + DAY), said(1, moved), said(2, moved, Mark.CANCELLED), said(3, moved)]

        for number in order:
            fact = messages()[number]
            await told(fact)
            async with nothing_written():
                await told(fact)
        (seat,) = await Attendance.filter(membership_id=membership.id)
        starts_at = (await ClassSession.get(external_ref=session)).starts_at
        ends.append((seat.mark, starts_at, await windows(membership)))
    moved = NOW + DAY + HOUR
    assert ends == [(Mark.BOOKED, moved, [(moved - HOUR / 2, moved + HOUR + HOUR / 2)])] * 24


async def test_marks_are_kept_as_evidence_and_a_roster_that_comes_late_does_not_undo_them() -> None:
    """R18: and an attendance that moves to another class leaves no way into the first."""
    membership = await a_membership()
    await told(a_place(membership, NOW - 2 * HOUR, mark=Mark.ATTENDED, occurred_at=NOW))
    await told(a_place(membership, NOW - 2 * HOUR, occurred_at=NOW - DAY))
    (seat,) = await Attendance.filter(membership_id=membership.id)
    assert (seat.mark, await windows(membership)) == (Mark.ATTENDED, [])
    await told(a_place(membership, NOW + DAY, attendance_id="A2"))
    await told(a_place(membership, NOW + 2 * DAY, attendance_id="A2", occurred_at=NOW + HOUR))
    assert [since for since, _ in await windows(membership)] == [NOW + 2 * DAY - HOUR / 2]
    assert await Attendance.filter(membership_id=membership.id).count() == 2


async def test_a_class_at_a_place_nobody_knows_opens_no_door() -> None:
    membership = await a_membership()
    await told(a_place(membership, NOW + DAY, centre_ref="riverside"))
    assert (await windows(membership), await Attendance.filter(membership_id=membership.id).count()) == ([], 0)
    (drifted,) = await Drift.filter(subject_id=membership.id)
    assert (drifted.field, drifted.theirs) == ("centre_id", "riverside")


async def test_the_minutes_of_a_centre_change_for_classes_to_come() -> None:
    membership = await a_membership()
    await told(a_place(membership, NOW - 3 * HOUR, attendance_id="A0"), at=NOW - DAY)
    await told(a_place(membership, NOW + DAY))
    before = await windows(membership)
    async with happening() as seen:
        await access.update_centre(membership.centre_id, minutes_before=5, acting=BY, at=NOW)
    assert await windows(membership) == [before[0], (NOW + DAY - timedelta(minutes=5), before[1][1])]
    assert [(entry.before, entry.after) for entry in seen.audit] == [({"minutes": [30, 30]}, {"minutes": [5, 30]})]
    assert (await Centre.get(id=membership.centre_id)).minutes_before == 5
    for minutes in (-1, 24 * 60 + 1):
        async with refused(Code.INVALID_INPUT, "minutesAfter"):
            await access.update_centre(membership.centre_id, minutes_after=minutes, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "centreId"):
        await access.update_centre(new_id(), minutes_after=1, acting=BY, at=NOW)
    async with nothing_written():
        await access.update_centre(membership.centre_id, minutes_before=5, acting=BY, at=NOW)
