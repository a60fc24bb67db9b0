"""Monthly periods follow one another without gap or overlap, for any first day."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from models.rules.calendar import months_after, period_of, period_on, periods_begun

days = st.dates(date(1970, 1, 1), date(2100, 12, 31))


@given(days, st.integers(0, 600))
def test_each_period_begins_where_the_one_before_ended(start: date, n: int) -> None:
    assert period_of(start, n).end == period_of(start, n + 1).start
    assert period_of(start, n).start < period_of(start, n).end


@given(days, st.integers(-600, 600))
def test_the_day_of_the_month_is_kept_or_the_months_last(start: date, n: int) -> None:
    then = months_after(start, n)
    assert (then.year * 12 + then.month) - (start.year * 12 + start.month) == n
    assert then.day == start.day or (then.day < start.day and date.fromordinal(then.toordinal() + 1).day == 1)


@given(days, st.integers(0, 1500))
def test_today_lies_in_the_last_period_begun(start: date, later: int) -> None:
    today = date.fromordinal(start.toordinal() + later)
    begun = list(periods_begun(start, today))
    assert begun[0].start == start
    assert begun[-1].start <= today < begun[-1].end
    assert period_on(start, today) == begun[-1]


@given(days, st.integers(1, 1500))
def test_no_period_holds_a_day_before_the_first(start: date, earlier: int) -> None:
    assert period_on(start, date.fromordinal(start.toordinal() - earlier)) is None
