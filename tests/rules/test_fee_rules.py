"""Which fees a membership owes: one a period, none beside them."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.calendar import Days, billing_month
from models.rules.fees import NEVER, FirstPeriod, Terms, paid_until, passed_unbilled
from models.rules.lifecycle import Status, WhileSuspended
from models.rules.money import split
from models.rules.pricing import MembershipKind


def days(kind: MembershipKind, starts_on: date, until: date, *rest: Any, **more: Any) -> list[date]:
    """The first day of each period owed by a day."""
    return [period.start for period in Terms(kind, starts_on, *rest, **more).owed(None, until)]


def test_a_recurring_fee_falls_due_on_each_anniversary() -> None:
    """R5: the 31st clamps to the month's end and comes back."""
    owed = days(MembershipKind.ONGOING, date(2026, 1, 31), date(2026, 4, 10))
    assert owed == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)]
    assert days(MembershipKind.ONGOING, date(2024, 1, 31), date(2024, 2, 29))[1] == date(2024, 2, 29)


def test_none_falls_due_after_the_end() -> None:
    owed = days(MembershipKind.ONGOING, date(2026, 1, 10), date(2026, 6, 1), date(2026, 2, 10))
    assert owed == [date(2026, 1, 10)]


def test_a_fixed_fee_is_owed_once() -> None:
    first = date(2026, 1, 10)
    assert days(MembershipKind.FIXED_TERM, first, date(2026, 3, 1), date(2026, 4, 10)) == [first]
    assert days(MembershipKind.SESSIONS, first, date(2026, 3, 1)) == [first]


def test_what_took_over_owes_nothing_before_its_day_and_counts_from_there() -> None:
    """R59."""
    moved, paid = date(2026, 1, 20), date(2026, 2, 10)
    assert days(MembershipKind.ONGOING, moved, date(2026, 3, 10), None, paid) == [paid, date(2026, 3, 10)]
    assert days(MembershipKind.FIXED_TERM, moved, paid, date(2026, 5, 10), paid) == [paid]
    assert days(MembershipKind.FIXED_TERM, moved, NEVER, date(2026, 4, 10), date(2026, 4, 10)) == []
    assert days(MembershipKind.SESSIONS, moved, moved, None, NEVER) == []


@pytest.mark.parametrize(
    ("starts_on", "billing_day", "periods", "first_costs"),
    [
        # 12 of 31 days of March, and 3100 a month is 100 a day
        (date(2026, 3, 20), 1, [date(2026, 3, 20), date(2026, 4, 1), date(2026, 5, 1)], 12_00),
        # the month that bills runs from 15 March: 26 of its 31 days
        (date(2026, 3, 20), 15, [date(2026, 3, 20), date(2026, 4, 15), date(2026, 5, 15)], 26_00),
        (date(2026, 3, 15), 15, [date(2026, 3, 15), date(2026, 4, 15), date(2026, 5, 15)], 31_00),
        # the 31st bills on the last day of shorter months; 10 of the 28 days from 31 January
        (date(2026, 2, 18), 31, [date(2026, 2, 18), date(2026, 2, 28), date(2026, 3, 31)], 11_10),
        # a leap year: one of the 31 days from 29 January
        (date(2024, 2, 28), 29, [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 29)], 1_00),
    ],
)
def test_a_common_billing_day_and_a_first_period_pro_rata(
    starts_on: date, billing_day: int, periods: list[date], first_costs: int
) -> None:
    terms = Terms(MembershipKind.ONGOING, starts_on, billing_day=billing_day)
    owed = list(terms.owed(None, periods[-1]))
    assert [period.start for period in owed] == periods
    assert [before.end for before in owed[:-1]] == periods[1:], "none is left out, none twice"
    assert [terms.price(period, 31_00, FirstPeriod.PRO_RATA) for period in owed] == [first_costs, 31_00, 31_00]
    assert {terms.price(period, 31_00, FirstPeriod.FULL) for period in owed} == {31_00}


@given(
    start=st.dates(date(2000, 1, 1), date(2100, 1, 1)),
    billing_day=st.integers(1, 31),
    amount=st.integers(1, 10**6),
)
def test_the_days_before_and_those_of_a_first_period_cost_a_month_together(
    start: date, billing_day: int, amount: int
) -> None:
    terms = Terms(MembershipKind.ONGOING, start, billing_day=billing_day)
    period = terms.period(start)
    month = billing_month(billing_day, start)
    assert period == (start, month.end)
    assert period is not None
    assert month.start <= start < month.end
    shares = split(amount, (month.end - month.start).days)
    before = sum(shares[: (start - month.start).days])
    assert before + terms.price(period, amount, FirstPeriod.PRO_RATA) == amount
    assert terms.begins(month.end) is not None
    assert terms.begins(month.end + timedelta(days=1)) is None


MARCH = Days(date(2026, 3, 2), date(2026, 4, 2))


@pytest.mark.parametrize(
    ("moves", "today", "nobody_owes_it"),
    [
        ([(2, 1, Status.ACTIVE), (2, 20, Status.SUSPENDED)], date(2026, 4, 2), True),
        ([(2, 1, Status.ACTIVE), (3, 2, Status.SUSPENDED), (4, 2, Status.ACTIVE)], date(2026, 4, 2), True),
        ([(2, 1, Status.ACTIVE), (2, 20, Status.FROZEN)], date(2026, 4, 1), False),  # it is still under way
        ([(2, 1, Status.ACTIVE), (3, 3, Status.SUSPENDED)], date(2026, 5, 2), False),  # it stood on the first day
        ([(2, 1, Status.ACTIVE), (2, 20, Status.SUSPENDED), (4, 1, Status.ACTIVE)], date(2026, 5, 2), False),
        ([(2, 1, Status.ACTIVE)], date(2026, 5, 2), False),
        ([(4, 20, Status.ACTIVE)], date(2026, 5, 2), True),  # its money was not sure before
        ([], date(2026, 5, 2), True),
    ],
)
def test_a_month_that_passed_wholly_while_held_is_owed_by_nobody(
    moves: list[tuple[int, int, Status]], today: date, nobody_owes_it: bool
) -> None:
    """R39."""
    stood = [(date(2026, month, day), status) for month, day, status in moves]
    assert passed_unbilled(MARCH, today, stood) is nobody_owes_it
    suspended_only = nobody_owes_it and not any(status is Status.SUSPENDED for *_, status in moves)
    assert passed_unbilled(MARCH, today, stood, while_suspended=WhileSuspended.ACCRUE) is suspended_only


JAN, FEB, MAR, APR = (date(2026, month, 10) for month in range(1, 5))
ONGOING, TERM, SESSIONS = MembershipKind


@pytest.mark.parametrize(
    ("was", "becomes", "fees_from", "asked", "until"),
    [
        (ONGOING, ONGOING, None, [], None),
        (ONGOING, ONGOING, None, [JAN, FEB], MAR),
        (ONGOING, TERM, None, [JAN], FEB),
        (ONGOING, ONGOING, MAR, [], MAR),  # moved a second time before the first fee
        (ONGOING, ONGOING, FEB, [FEB], MAR),
        (TERM, TERM, None, [JAN], APR),
        (TERM, ONGOING, None, [JAN], APR),
        (TERM, TERM, None, [], None),
        (SESSIONS, SESSIONS, None, [JAN], NEVER),
        (SESSIONS, SESSIONS, NEVER, [], NEVER),
        (SESSIONS, ONGOING, None, [JAN], None),
        (SESSIONS, SESSIONS, None, [], None),
    ],
)
def test_until_when_is_paid(
    was: MembershipKind, becomes: MembershipKind, fees_from: date | None, asked: list[date], until: date | None
) -> None:
    ends_on = APR if was is TERM else None
    assert paid_until(was, becomes, JAN, ends_on, fees_from, asked) == until
