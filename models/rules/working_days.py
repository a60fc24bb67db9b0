"""The days English banks work on: what is collected by direct debit is charged on one of these. Source: R11.

Saturdays, Sundays and the bank holidays of England are none. The holidays follow from rules, those moved or added by
proclamation stand in a table; a day that is none rolls forward.
"""

from datetime import date, timedelta
from functools import cache

_DAY = timedelta(days=1)
_SATURDAY = 5
# year -> (days added, days not held) by proclamation
PROCLAIMED: dict[int, tuple[frozenset[date], frozenset[date]]] = {
    2022: (frozenset({date(2022, 6, 2), date(2022, 6, 3), date(2022, 9, 19)}), frozenset({date(2022, 5, 30)})),
    2023: (frozenset({date(2023, 5, 8)}), frozenset()),
}


def easter_sunday(year: int) -> date:
    """Gauss's rule for the Gregorian calendar, with its two exceptions.

    >>> easter_sunday(2026)
    datetime.date(2026, 4, 5)
    """
    century = year // 100
    moon = 15 + century - (8 * century + 13) // 25 - century // 4
    full = (19 * (year % 19) + moon) % 30
    sunday = (2 * (year % 4) + 4 * (year % 7) + 6 * full + 4 + century - century // 4) % 7
    days = full + sunday
    if (days == 35 or (days == 34 and full == 28 and year % 19 > 10)) and sunday == 6:
        days -= 7
    return date(year, 3, 22) + days * _DAY


@cache
def bank_holidays(year: int) -> frozenset[date]:
    """The bank holidays of England in a year; one that falls on a weekend moves to the next day that is free."""
    easter = easter_sunday(year)
    days = {easter - 2 * _DAY, easter + _DAY, _monday(date(year, 5, 1)), _monday(date(year, 5, 25))}
    days.add(_monday(date(year, 8, 25)))
    for held in (date(year, 1, 1), date(year, 12, 25), date(year, 12, 26)):
        day = held
        while day.weekday() >= _SATURDAY or day in days:
            day += _DAY
        days.add(day)
    added, dropped = PROCLAIMED.get(year, (frozenset(), frozenset()))
    return frozenset((days | added) - dropped)


def _monday(day: date) -> date:
    """A day -> itself, or the Monday after it."""
    return day + -day.weekday() % 7 * _DAY


def is_working(day: date) -> bool:
    """Whether the banks work on a day."""
    return day.weekday() < _SATURDAY and day not in bank_holidays(day.year)


def rolled(day: date) -> date:
    """A day -> itself, or the next working day."""
    while not is_working(day):
        day += _DAY
    return day


def working_days_after(day: date, number: int) -> date:
    """(a day, how many working days) -> that many working days later; 0 is the day itself. ValueError below 0."""
    if number < 0:
        raise ValueError(f"{number} working days")
    for _ in range(number):
        day = rolled(day + _DAY)
    return day
