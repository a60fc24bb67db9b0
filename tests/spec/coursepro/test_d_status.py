"""What a membership's status lets its holder do, and what moves it, as the document on CoursePro reads in section D."""

from datetime import UTC, date, datetime, timedelta
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from models.rules.access import (
    Entry,
    NoEntry,
    Place,
    Window,
    at_the_gate,
    earns_token,
    may_enter,
    no_entry,
    token_window,
)
from models.rules.calendar import Days, day_at, midnight, months_after, period_of, periods_begun, term_of
from models.rules.dunning import SuspendOn, next_attempt, suspends
from models.rules.fees import no_longer_owed
from models.rules.lifecycle import (
    MOVES,
    STANDING,
    STOPS_PAYMENTS,
    TERMINAL,
    Cause,
    Standing,
    Status,
    WhileSuspended,
    bills,
    move,
    move_or_refuse,
)
from models.rules.refusals import Code, Refusal

CLASS_START = datetime(2025, 9, 3, 17, 0, tzinfo=UTC)
CLASS_END = CLASS_START + timedelta(minutes=45)
WINDOW = token_window(CLASS_START, CLASS_END)


# Payment failure


def test_a_failed_debit_suspends_and_shuts_the_door() -> None:
    status = move(Status.ACTIVE, Cause.PAYMENT_FAILED)
    assert status is Status.SUSPENDED
    assert STANDING[status] == Standing(bills=False, enters=False, coursepro="Unavailable")
    assert may_enter(Status.ACTIVE, WINDOW, CLASS_START)
    assert not may_enter(status, WINDOW, CLASS_START)
    assert not earns_token(status)


def test_a_cancelled_instruction_suspends_and_does_not_cancel() -> None:
    assert move(Status.ACTIVE, Cause.MANDATE_CANCELLED) is Status.SUSPENDED


def test_the_first_failure_suspends_unless_set_to_wait_for_the_last() -> None:
    assert suspends(SuspendOn.FIRST_FAILURE, will_be_retried=True)
    assert suspends(SuspendOn.FIRST_FAILURE, will_be_retried=False)
    assert not suspends(SuspendOn.RETRIES_EXHAUSTED, will_be_retried=True)
    assert suspends(SuspendOn.RETRIES_EXHAUSTED, will_be_retried=False)


def test_a_failed_debit_is_tried_again_by_the_calendar_then_given_up() -> None:
    """Days on which the banks work, counted from the failure: 3 April is Good Friday, 6 April Easter Monday."""
    failed_on = date(2026, 4, 2)
    assert [next_attempt(failures, failed_on) for failures in (1, 2, 3)] == [date(2026, 4, 7), date(2026, 4, 13), None]
    assert next_attempt(1, failed_on, (2,)) == date(2026, 4, 8)
    assert next_attempt(1, failed_on, ()) is None
    with pytest.raises(ValueError, match="0 failed attempts"):
        next_attempt(0, failed_on)


def test_a_second_failure_is_no_move() -> None:
    assert move(Status.SUSPENDED, Cause.PAYMENT_FAILED) is None


def test_payment_made_good_makes_the_course_usable_again() -> None:
    status = move(Status.SUSPENDED, Cause.PAYMENT_MADE_GOOD, suspended_for=Cause.PAYMENT_FAILED)
    assert status is Status.ACTIVE
    assert STANDING[status].coursepro == "Active"


@pytest.mark.parametrize(
    ("suspended_for", "lifted_by"),
    [
        (Cause.PAYMENT_FAILED, {Cause.PAYMENT_MADE_GOOD, Cause.RESOLVED_BY_STAFF}),
        (Cause.PAYMENT_CHARGED_BACK, {Cause.PAYMENT_MADE_GOOD, Cause.RESOLVED_BY_STAFF}),
        (Cause.MANDATE_CANCELLED, {Cause.MANDATE_REPLACED, Cause.RESOLVED_BY_STAFF}),
        (Cause.SUSPENDED_BY_STAFF, {Cause.RESOLVED_BY_STAFF}),
    ],
)
def test_a_suspension_is_lifted_by_what_answers_it(suspended_for: Cause, lifted_by: set[Cause]) -> None:
    assert {cause for cause in Cause if move(Status.SUSPENDED, cause, suspended_for) is Status.ACTIVE} == lifted_by


def test_a_suspended_membership_still_ends_whatever_it_was_suspended_for() -> None:
    for suspended_for in (Cause.PAYMENT_FAILED, Cause.MANDATE_CANCELLED, Cause.SUSPENDED_BY_STAFF):
        assert move(Status.SUSPENDED, Cause.COURSE_CANCELLED, suspended_for) is Status.CANCELLED
        assert move(Status.SUSPENDED, Cause.CANCELLED_BY_STAFF, suspended_for) is Status.CANCELLED


def test_a_suspended_membership_is_billed_no_new_cycle_unless_set_to_accrue() -> None:
    assert not bills(Status.SUSPENDED)
    assert bills(Status.SUSPENDED, WhileSuspended.ACCRUE)
    assert [status for status in Status if bills(status)] == [Status.ACTIVE]
    assert not bills(Status.FROZEN, WhileSuspended.ACCRUE)


# Cancelling a course


LIVE = [status for status in Status if status not in TERMINAL]


@pytest.mark.parametrize("status", LIVE)
def test_a_course_cancelled_or_completed_ends_the_membership_wherever_it_stands(status: Status) -> None:
    assert move(status, Cause.COURSE_CANCELLED) is Status.CANCELLED
    assert move(status, Cause.COURSE_COMPLETED) is Status.COMPLETED


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize("cause", Cause)
def test_nothing_moves_an_ended_membership(status: Status, cause: Cause) -> None:
    assert move(status, cause) is None
    assert not STANDING[status].bills
    assert not STANDING[status].enters


def test_an_end_that_was_decided_stops_what_is_owed_and_a_term_that_ran_its_course_does_not() -> None:
    """R48: and nobody owes a period that begins on the last day or later."""
    ending = {cause for (_, cause), leads_to in MOVES.items() if leads_to in TERMINAL}
    assert ending >= STOPS_PAYMENTS
    assert Cause.TERM_ENDED in ending - STOPS_PAYMENTS
    march, april = date(2026, 3, 2), date(2026, 4, 2)
    assert no_longer_owed(Status.CANCELLED, "COURSE_CANCELLED", april, march)
    assert not no_longer_owed(Status.COMPLETED, "TERM_ENDED", april, march)
    assert no_longer_owed(Status.COMPLETED, "TERM_ENDED", april, april)
    assert no_longer_owed(Status.ACTIVE, "STARTED", april, april), "its end was announced"
    assert not no_longer_owed(Status.SUSPENDED, "PAYMENT_FAILED", None, march), "arrears stay"
    assert not no_longer_owed(Status.CANCELLED, "COURSE_CANCELLED", april, None), "and can be settled after the end"


def test_a_failure_after_the_end_does_not_raise_the_dead() -> None:
    assert move(Status.CANCELLED, Cause.PAYMENT_FAILED) is None
    assert move(Status.CANCELLED, Cause.PAYMENT_MADE_GOOD) is None


# Beginning, freezing, ending


@pytest.mark.parametrize(
    ("status", "cause", "leads_to"),
    [
        (Status.PENDING, Cause.MANDATE_READY, Status.ACTIVE),
        (Status.PENDING, Cause.FIRST_PAYMENT_MADE, Status.ACTIVE),
        (Status.PENDING, Cause.FREE_OF_CHARGE, Status.ACTIVE),
        (Status.PENDING, Cause.STARTS_LATER, Status.FUTURE),
        (Status.FUTURE, Cause.STARTED, Status.ACTIVE),
        (Status.ACTIVE, Cause.FROZEN_BY_STAFF, Status.FROZEN),
        (Status.FROZEN, Cause.UNFROZEN, Status.ACTIVE),
        (Status.FROZEN, Cause.PAYMENT_CHARGED_BACK, Status.SUSPENDED),
        (Status.ACTIVE, Cause.SUSPENDED_BY_STAFF, Status.SUSPENDED),
        (Status.ACTIVE, Cause.TERM_ENDED, Status.COMPLETED),
        (Status.ACTIVE, Cause.COMPLETED_BY_STAFF, Status.COMPLETED),
        (Status.ACTIVE, Cause.CANCELLED_BY_STAFF, Status.CANCELLED),
        (Status.ACTIVE, Cause.SUBSCRIPTION_ENDED, Status.CANCELLED),
        (Status.PENDING, Cause.LAPSED, Status.EXPIRED),
    ],
)
def test_the_moves_of_a_membership(status: Status, cause: Cause, leads_to: Status) -> None:
    assert move(status, cause) is leads_to
    assert move_or_refuse(status, cause) is leads_to


def test_a_person_is_told_when_a_move_is_not_allowed() -> None:
    with pytest.raises(Refusal) as refused:
        move_or_refuse(Status.CANCELLED, Cause.RESOLVED_BY_STAFF)
    assert refused.value.code is Code.ILLEGAL_MOVE
    assert refused.value.message == (
        "A membership that is CANCELLED cannot be moved by RESOLVED_BY_STAFF. Choose a change its present state allows."
    )


def test_the_words_told_to_coursepro() -> None:
    assert {status: standing.coursepro for status, standing in STANDING.items()} == {
        Status.PENDING: None,
        Status.FUTURE: "Active",
        Status.ACTIVE: "Active",
        Status.SUSPENDED: "Unavailable",
        Status.FROZEN: "Unavailable",
        Status.CANCELLED: "Cancelled",
        Status.COMPLETED: "Completed",
        Status.EXPIRED: "Unavailable",
    }


# Access control


def test_a_token_opens_from_half_an_hour_before_the_class_until_half_an_hour_after() -> None:
    assert Window(CLASS_START - timedelta(minutes=30), CLASS_END + timedelta(minutes=30)) == WINDOW
    moment = timedelta(microseconds=1)
    assert no_entry(Status.ACTIVE, WINDOW, WINDOW.valid_from - moment) is NoEntry.TOO_EARLY
    assert no_entry(Status.ACTIVE, WINDOW, WINDOW.valid_from) is None
    assert no_entry(Status.ACTIVE, WINDOW, WINDOW.valid_until - moment) is None
    assert no_entry(Status.ACTIVE, WINDOW, WINDOW.valid_until) is NoEntry.TOO_LATE


def test_a_revoked_token_opens_nothing() -> None:
    assert no_entry(Status.ACTIVE, WINDOW, CLASS_START, revoked=True) is NoEntry.TOKEN_REVOKED
    assert not may_enter(Status.ACTIVE, WINDOW, CLASS_START, revoked=True)


def test_of_several_places_the_one_that_opens_longest_counts_and_else_the_nearest() -> None:
    hour = timedelta(hours=1)
    first, second = uuid4(), uuid4()
    later = Window(WINDOW.valid_from + 4 * hour, WINDOW.valid_until + 4 * hour)
    places = [Place(first, Status.ACTIVE, WINDOW, False), Place(second, Status.ACTIVE, later, False)]
    assert at_the_gate([], CLASS_START) == Entry(NoEntry.NO_TOKEN)
    assert at_the_gate(places, CLASS_START) == Entry(None, WINDOW.valid_until, first)
    assert at_the_gate(places, WINDOW.valid_until) == Entry(NoEntry.TOO_LATE, None, first)
    assert at_the_gate(places, later.valid_from - hour / 2) == Entry(NoEntry.TOO_EARLY, None, second)
    overlapping = [places[0], Place(second, Status.ACTIVE, Window(WINDOW.valid_from, later.valid_until), False)]
    assert at_the_gate(overlapping, CLASS_START) == Entry(None, later.valid_until, second)
    suspended = [Place(first, Status.SUSPENDED, WINDOW, True), places[1]]
    assert at_the_gate(suspended, CLASS_START) == Entry(NoEntry.MEMBERSHIP_NOT_ACTIVE, None, first)
    again = [Place(first, Status.ACTIVE, WINDOW, True), places[0]]
    assert at_the_gate(again, CLASS_START).no is None, "a token made anew opens"


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ACTIVE])
def test_only_an_active_membership_enters(status: Status) -> None:
    assert no_entry(status, WINDOW, CLASS_START) is NoEntry.MEMBERSHIP_NOT_ACTIVE


def test_the_time_around_a_class_is_configurable_but_never_nothing() -> None:
    on_the_dot = token_window(CLASS_START, CLASS_END, timedelta(0), timedelta(0))
    assert on_the_dot == Window(CLASS_START, CLASS_END)
    with pytest.raises(ValueError, match="leaves no time to enter"):
        token_window(CLASS_START, CLASS_START, timedelta(0), timedelta(0))


# Courses and memberships: the days of each type


def test_a_monthly_membership_of_the_31st_clamps_and_comes_back() -> None:
    joined = date(2024, 1, 31)
    assert [months_after(joined, n) for n in range(5)] == [
        date(2024, 1, 31),
        date(2024, 2, 29),
        date(2024, 3, 31),
        date(2024, 4, 30),
        date(2024, 5, 31),
    ]
    assert period_of(joined, 0) == Days(date(2024, 1, 31), date(2024, 2, 29))
    assert period_of(joined, 1) == Days(date(2024, 2, 29), date(2024, 3, 31))
    assert months_after(date(2025, 11, 30), 3) == date(2026, 2, 28)


def test_the_periods_begun_are_those_whose_first_day_has_come() -> None:
    joined = date(2025, 1, 31)
    assert list(periods_begun(joined, date(2025, 1, 30))) == []
    assert [period.start for period in periods_begun(joined, date(2025, 2, 28))] == [joined, date(2025, 2, 28)]


def test_a_fixed_course_lasts_three_months_unless_configured() -> None:
    assert term_of(date(2025, 11, 30)) == Days(date(2025, 11, 30), date(2026, 2, 28))
    assert term_of(date(2025, 9, 1), months=6) == Days(date(2025, 9, 1), date(2026, 3, 1))


def test_days_are_those_of_the_centre() -> None:
    auckland = ZoneInfo("Pacific/Auckland")
    assert day_at(datetime(2025, 6, 1, 12, 0, tzinfo=UTC), auckland) == date(2025, 6, 2)
    assert midnight(date(2025, 6, 2), auckland) == datetime(2025, 6, 1, 12, 0, tzinfo=UTC)
    london = ZoneInfo("Europe/London")
    spring = midnight(date(2025, 3, 31), london) - midnight(date(2025, 3, 30), london)
    assert spring == timedelta(hours=23)
