"""Which fees a membership owes, and from when on each may be asked for. Source: CoursePro, A and B; R5, R6, R10."""

from collections.abc import Iterator
from datetime import date, timedelta

from models.rules.calendar import Days, periods_begun
from models.rules.pricing import FREQUENCY, Frequency, MembershipKind

AHEAD = timedelta(days=31)  # how long before its period begins a fee may be prepared


def fees_owed(kind: MembershipKind, starts_on: date, ends_on: date | None, today: date) -> Iterator[date]:
    """(kind, first day, first day after the last, today) -> the first day of each period whose fee may be asked for.

    A recurring fee falls due on each anniversary (R5), a fixed one once, on the first day (R6, R10).
    """
    if FREQUENCY[kind] is Frequency.FIXED:
        yield starts_on
        return
    periods: Iterator[Days] = periods_begun(starts_on, today + AHEAD)
    yield from (period.start for period in periods if ends_on is None or period.start < ends_on)
