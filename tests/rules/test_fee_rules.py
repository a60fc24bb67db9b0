"""Which fees a membership owes: one a period, none beside them."""

from datetime import date

import pytest

from models.rules.fees import NEVER, fees_owed, paid_until
from models.rules.pricing import MembershipKind


def test_a_recurring_fee_falls_due_on_each_anniversary_up_to_a_month_ahead() -> None:
    owed = list(fees_owed(MembershipKind.ONGOING, date(2026, 1, 31), None, date(2026, 3, 10)))
    assert owed == [date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)]


def test_none_falls_due_after_the_end() -> None:
    owed = list(fees_owed(MembershipKind.ONGOING, date(2026, 1, 10), date(2026, 2, 10), date(2026, 6, 1)))
    assert owed == [date(2026, 1, 10)]


def test_a_fixed_fee_is_owed_once() -> None:
    assert list(fees_owed(MembershipKind.FIXED_TERM, date(2026, 1, 10), date(2026, 4, 10), date(2026, 3, 1))) == [
        date(2026, 1, 10)
    ]
    assert list(fees_owed(MembershipKind.SESSIONS, date(2026, 1, 10), None, date(2026, 3, 1))) == [date(2026, 1, 10)]


def test_what_took_over_owes_nothing_before_its_day_and_counts_from_there() -> None:
    """R59."""
    moved, paid = date(2026, 1, 20), date(2026, 2, 10)
    owed = list(fees_owed(MembershipKind.ONGOING, moved, None, date(2026, 3, 1), paid))
    assert owed == [paid, date(2026, 3, 10)]
    assert list(fees_owed(MembershipKind.FIXED_TERM, moved, date(2026, 5, 10), moved, paid)) == [paid]
    assert list(fees_owed(MembershipKind.FIXED_TERM, moved, date(2026, 4, 10), moved, date(2026, 4, 10))) == []
    assert list(fees_owed(MembershipKind.SESSIONS, moved, None, moved, NEVER)) == []


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
