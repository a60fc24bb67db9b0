"""The days English banks work on, against the list the government publishes."""

from datetime import date

import pytest

from local.sandbox.gocardless import bacs
from models.rules.working_days import bank_holidays, easter_sunday, is_working, rolled, working_days_after

PUBLISHED = {
    2022: "01-03 04-15 04-18 05-02 06-02 06-03 08-29 09-19 12-26 12-27",
    2023: "01-02 04-07 04-10 05-01 05-08 05-29 08-28 12-25 12-26",
    2024: "01-01 03-29 04-01 05-06 05-27 08-26 12-25 12-26",
    2025: "01-01 04-18 04-21 05-05 05-26 08-25 12-25 12-26",
    2026: "01-01 04-03 04-06 05-04 05-25 08-31 12-25 12-28",
    2027: "01-01 03-26 03-29 05-03 05-31 08-30 12-27 12-28",
    2028: "01-03 04-14 04-17 05-01 05-29 08-28 12-25 12-26",
}


@pytest.mark.parametrize("year", PUBLISHED)
def test_the_bank_holidays_are_those_published(year: int) -> None:
    assert sorted(bank_holidays(year)) == [date.fromisoformat(f"{year}-{day}") for day in PUBLISHED[year].split()]


def test_they_are_those_the_sandboxs_banks_keep() -> None:
    """Two calendars, written apart: by Gauss's rule for Easter and by another one."""
    for year in range(1980, 2150):
        assert easter_sunday(year) == bacs.easter(year)
        assert bank_holidays(year) == bacs.bank_holidays(year)


def test_a_day_that_is_none_rolls_forward() -> None:
    good_friday, tuesday = date(2026, 4, 3), date(2026, 4, 7)
    assert not is_working(good_friday)
    assert [rolled(day) for day in (date(2026, 4, 2), good_friday, tuesday)] == [date(2026, 4, 2), tuesday, tuesday]
    assert rolled(date(2026, 12, 26)) == date(2026, 12, 29)
    assert [working_days_after(date(2026, 4, 1), number) for number in (0, 1, 2, 10)] == [
        date(2026, 4, 1),
        date(2026, 4, 2),
        tuesday,
        date(2026, 4, 17),
    ]
    with pytest.raises(ValueError, match="-1 working days"):
        working_days_after(good_friday, -1)
