"""Which fees a membership owes, and from when on each may be asked for. Source: CoursePro, A and B; R5, R6, R10."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import StrEnum

from models.rules.calendar import Days, period_on, periods_begun
from models.rules.lifecycle import Cause, Status, stops_payments
from models.rules.pricing import FREQUENCY, Frequency, MembershipKind


class FirstPeriod(StrEnum):
    """What a period shorter than a month costs, at the beginning where periods begin on a set day: all, or its days."""

    FULL = "FULL"
    PRO_RATA = "PRO_RATA"


NEVER = date.max
AHEAD = timedelta(days=31)  # how long before its period begins a fee may be prepared


def fees_owed(
    kind: MembershipKind, starts_on: date, ends_on: date | None, today: date, fees_from: date | None = None
) -> Iterator[date]:
    """(kind, first day, first day after the last, today) -> the first day of each period whose fee may be asked for.

    A recurring fee falls due on each anniversary (R5), a fixed one once, on the first day (R6, R10). What took over
    from another membership owes nothing before `fees_from` and counts from there; a fixed price that was paid already
    is owed from `NEVER` on.
    """
    first = max(starts_on, fees_from or starts_on)
    if FREQUENCY[kind] is Frequency.FIXED:
        if fees_from is None or first < (ends_on or NEVER):
            yield first
        return
    periods: Iterator[Days] = periods_begun(first, today + AHEAD)
    yield from (period.start for period in periods if ends_on is None or period.start < ends_on)


def paid_until(
    was: MembershipKind,
    becomes: MembershipKind,
    starts_on: date,
    ends_on: date | None,
    fees_from: date | None,
    asked: Iterable[date],
) -> date | None:
    """(kind before and after, days of the one before, first days of its periods paid or asked for) -> paid until when.

    None where nothing was. Sessions are paid for good, for sessions again; a paid term holds to its end. Source: R59
    """
    last = max(asked, default=None)
    if was is MembershipKind.SESSIONS:
        paid = last is not None or fees_from == NEVER
        return NEVER if paid and becomes is MembershipKind.SESSIONS else None
    if last is None:
        return fees_from
    if was is MembershipKind.FIXED_TERM:
        return ends_on
    period = period_on(max(starts_on, fees_from or starts_on), last)
    return period.end if period else fees_from


def no_longer_owed(status: Status, reason: str | None, ends_on: date | None, period_start: date | None) -> bool:
    """(a membership's state, its cause and first day after the last, a fee's period) -> whether it may not be taken.

    Nothing is once the course was cancelled or completed; before that, nothing for days after the end. Source: R48, R49
    """
    if reason == Cause.COURSE_MOVED:
        return False  # what took over from it lives on what was asked for here (R59)
    later = ends_on is not None and period_start is not None and period_start >= ends_on
    return later or stops_payments(status, reason)
