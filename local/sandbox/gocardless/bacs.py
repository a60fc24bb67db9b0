"""The Bacs calendar: working days of England and the hours at which things happen in London.

A request before 16:00 counts today. A new mandate is active two working days later; a payment is charged three working
days later (four for a new mandate), is out of reach two working days before, has its result one working day after, and
is paid out one more working day after.
"""

from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LONDON = ZoneInfo("Europe/London")
CUT_OFF, OPENING, NOON = time(16), time(9), time(12)
MANDATE_DAYS, CHARGE_DAYS, CHARGE_DAYS_AFTER_MANDATE, SUBMIT_DAYS = 2, 3, 2, 2
RESULT_DAYS, PAYOUT_DAYS = 1, 2
# Single holidays moved or added by proclamation since 2022; the rest follows from rules.
MOVED = {date(2022, 6, 2), date(2022, 6, 3), date(2022, 9, 19), date(2023, 5, 8)}
NOT_HELD = {date(2022, 5, 30)}


def easter(year: int) -> date:
    """Year -> Easter Sunday (the anonymous Gregorian algorithm).

    >>> easter(2026)
    datetime.date(2026, 4, 5)
    """
    golden, century, rest = year % 19, *divmod(year, 100)
    leap, short = divmod(century, 4)
    moon = (19 * golden + century - leap - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * short + 2 * (rest // 4) - moon - rest % 4) % 7
    late = (golden + 11 * moon + 22 * weekday) // 451
    month, day = divmod(moon + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)


@lru_cache(maxsize=64)
def bank_holidays(year: int) -> frozenset[date]:
    """Year -> the bank holidays of England."""
    sunday = easter(year)
    days = {sunday - timedelta(2), sunday + timedelta(1), _monday_from(date(year, 5, 1))}
    days |= {_monday_from(date(year, 5, 25)), _monday_from(date(year, 8, 25))}
    for fixed in (date(year, 1, 1), date(year, 12, 25), date(year, 12, 26)):
        day = fixed
        while day.weekday() > 4 or day in days:
            day += timedelta(1)
        days.add(day)
    return frozenset((days | {day for day in MOVED if day.year == year}) - NOT_HELD)


def _monday_from(day: date) -> date:
    return day + timedelta(-day.weekday() % 7)


def is_working(day: date) -> bool:
    """Whether the banks work on that day."""
    return day.weekday() < 5 and day not in bank_holidays(day.year)


def rolled(day: date) -> date:
    """Day -> itself, or the next working day."""
    while not is_working(day):
        day += timedelta(1)
    return day


def after(day: date, working_days: int) -> date:
    """Day and a number of working days, negative ones back -> day."""
    step = timedelta(1 if working_days > 0 else -1)
    for _ in range(abs(working_days)):
        day += step
        while not is_working(day):
            day += step
    return day


def counts_from(moment: datetime) -> date:
    """Instant -> the working day a request made then counts from."""
    local = moment.astimezone(LONDON)
    return rolled(local.date() if local.time() < CUT_OFF else local.date() + timedelta(1))


def at(day: date, hour: time) -> datetime:
    """London day and hour -> UTC instant."""
    return datetime.combine(day, hour, LONDON).astimezone(UTC)


def mandate_active_on(created: datetime) -> date:
    """Instant of a mandate's creation -> the day it becomes active."""
    return after(counts_from(created), MANDATE_DAYS)


def next_charge_date(now: datetime, active_on: date | None) -> date:
    """Now, and the day a mandate that is not active yet will be -> the earliest day a new payment can be charged."""
    soonest = after(counts_from(now), CHARGE_DAYS)
    return max(soonest, after(active_on, CHARGE_DAYS_AFTER_MANDATE)) if active_on else soonest
