"""Which fees a membership owes: one a period, none beside them."""

from datetime import date

from models.rules.fees import fees_owed
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
