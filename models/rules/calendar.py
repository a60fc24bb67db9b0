"""Days and periods: anniversaries that clamp to a month's end and come back (R5), and days of a centre's zone (D3)."""

from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from itertools import count, takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo


class Days(NamedTuple):
    """A run of days, its first inside and its last outside (D3)."""

    start: date
    end: date


def months_after(day: date, n: int) -> date:
    """The same day of the month `n` months on, clamped to that month's end. Source: R5.

    Counting always from the first day lets the 31st come back: 31 January + 1 -> 28 February, + 2 -> 31 March.
    """
    years, month = divmod(day.month - 1 + n, 12)
    year, month = day.year + years, month + 1
    return date(year, month, min(day.day, monthrange(year, month)[1]))


def period_of(start: date, n: int) -> Days:
    """The n-th monthly period, counted from 0, of what began on `start`. Source: R5, R10."""
    return Days(months_after(start, n), months_after(start, n + 1))


def periods_begun(start: date, today: date) -> Iterator[Days]:
    """Every monthly period of what began on `start` whose first day has come by `today`, oldest first. Source: R5."""
    return takewhile(lambda period: period.start <= today, (period_of(start, n) for n in count()))


def period_on(start: date, day: date) -> Days | None:
    """The monthly period of what began on `start` that a day lies in, None before the first. Source: R5."""
    if day < start:
        return None
    n = (day.year - start.year) * 12 + day.month - start.month
    return period_of(start, n if months_after(start, n) <= day else n - 1)


def clamped(month: date, day: int) -> date:
    """(any day of a month, the number of a day) -> that day of the month, or the month's last. Source: R5."""
    return month.replace(day=min(day, monthrange(month.year, month.month)[1]))


def billing_month(billing_day: int, day: date) -> Days:
    """(the day of the month that bills, a day) -> the days from the last such day, itself perhaps, to the next one.

    A month without that day bills on its last: 31 -> 31 January, 28 February, 31 March.
    """
    this = clamped(day, billing_day)
    first = day.replace(day=1)
    if this > day:
        return Days(clamped(months_after(first, -1), billing_day), this)
    return Days(this, clamped(months_after(first, 1), billing_day))


def term_of(start: date, months: int = 3) -> Days:
    """The days of a fixed term: three calendar months unless configured otherwise. Source: R6."""
    return Days(start, months_after(start, months))


def day_at(at: datetime, zone: ZoneInfo) -> date:
    """An aware instant -> the day it falls on in the centre's zone. Source: D3."""
    return at.astimezone(zone).date()


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """A day of the centre's zone -> the UTC instant it begins at. Source: D3."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
