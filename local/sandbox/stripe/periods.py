"""Billing periods: from an anchor, every n days, weeks, months or years; a short month ends on its last day."""

import calendar
from datetime import UTC, datetime, timedelta

DAYS = {"day": 1, "week": 7}
MONTHS = {"month": 1, "year": 12}


def shifted(anchor: int, interval: str, count: int) -> int:
    """Anchor in seconds and `count` intervals later -> seconds.

    >>> shifted(1706659200, "month", 1)  # 31 January 2024 -> 29 February 2024
    1709164800
    """
    moment = datetime.fromtimestamp(anchor, UTC)
    if interval in DAYS:
        return int((moment + timedelta(days=DAYS[interval] * count)).timestamp())
    months = moment.year * 12 + moment.month - 1 + MONTHS[interval] * count
    year, month = divmod(months, 12)
    day = min(moment.day, calendar.monthrange(year, month + 1)[1])
    return int(moment.replace(year=year, month=month + 1, day=day).timestamp())


def next_end(anchor: int, interval: str, count: int, start: int) -> int:
    """Anchor, interval and the start of a period -> the period's end: the first anniversary after `start`."""
    steps = 1
    while (end := shifted(anchor, interval, count * steps)) <= start:
        steps += 1
    return end
