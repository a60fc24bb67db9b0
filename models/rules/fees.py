"""Which fees a membership owes, and from when on each may be asked for. Source: CoursePro, A and B; R5, R6, R10."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from models.rules.calendar import Days, billing_month, period_on
from models.rules.lifecycle import Cause, Status, WhileSuspended, bills, stops_payments
from models.rules.money import split
from models.rules.pricing import FREQUENCY, Frequency, MembershipKind


class FirstPeriod(StrEnum):
    """What a period shorter than a month costs, at the beginning where periods begin on a set day: all, or its days."""

    FULL = "FULL"
    PRO_RATA = "PRO_RATA"


NEVER = date.max
AHEAD = timedelta(days=31)  # how long before its period begins a fee may be asked for by hand


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides when a membership is asked for money: its kind and days, `ends_on` the first that is not its own.

    What took over from another membership owes nothing before `fees_from` and counts from there; a fixed price that
    was paid already is owed from `NEVER` on. `billing_day` is the day of the month that bills, None for anniversaries.
    """

    kind: MembershipKind
    starts_on: date
    ends_on: date | None = None
    fees_from: date | None = None
    billing_day: int | None = None

    @property
    def once(self) -> bool:
        """Whether one price is paid once (R6, R10)."""
        return FREQUENCY[self.kind] is Frequency.FIXED

    @property
    def first(self) -> date | None:
        """The first day a fee is owed for, None where none is."""
        first = max(self.starts_on, self.fees_from or self.starts_on)
        paid_already = self.once and self.fees_from is not None and first >= self._end
        return None if paid_already or first == NEVER else first

    @property
    def _end(self) -> date:
        return self.ends_on or NEVER

    def period(self, day: date) -> Days | None:
        """The period a day lies in, as its fee has it; None before the first and from the end on."""
        first = self.first
        if first is None or day < first:
            return None
        if self.once:
            return Days(first, self._end)
        if day >= self._end:
            return None
        if self.billing_day is None:
            return period_on(first, day)
        month = billing_month(self.billing_day, day)
        return Days(max(month.start, first), month.end)

    def begins(self, day: date) -> Days | None:
        """The period that begins on a day, None where none does."""
        period = self.period(day)
        return period if period and period.start == day else None

    def owed(self, since: date | None, until: date) -> Iterator[Days]:
        """Every period that begins by a day, from the one that begins on `since`, else from the first. Source: R5."""
        day = since or self.first
        while day is not None and day <= until and (period := self.period(day)) is not None:
            yield period
            day = None if self.once else period.end

    def price(self, period: Days, amount: int, first_period: FirstPeriod) -> int:
        """(a period, the price of a month, policy) -> what it costs, minor units; the days of a month share its price.

        Only a first period that ends on the day that bills can be short: it costs all, or the last of these shares.
        """
        if self.once or self.billing_day is None or first_period is FirstPeriod.FULL:
            return amount
        month = billing_month(self.billing_day, period.start)
        of_month, of_period = (month.end - month.start).days, (month.end - period.start).days
        return sum(split(amount, of_month)[-of_period:])


def bills_now(status: Status, *, once: bool, while_suspended: WhileSuspended = WhileSuspended.HOLD) -> bool:
    """(state, whether one price is paid once, policy) -> whether its next fee may be asked for. Source: R39, R49.

    A price that is paid once is asked for before it opens anything, a monthly one as soon as its first day is near.
    """
    if once:
        return status in (Status.PENDING, Status.FUTURE) or bills(status)  # no next fee could carry it
    return status is Status.FUTURE or bills(status, while_suspended)


def passed_unbilled(
    period: Days,
    today: date,
    moves: Iterable[tuple[date, Status]],
    *,
    while_suspended: WhileSuspended = WhileSuspended.HOLD,
) -> bool:
    """(a month, today, the days a membership moved and where to, oldest first, policy) -> whether nobody owes it.

    So it is where the whole month passed while the membership was held, or waited for its money: one under way when
    that ended is owed. Source: R39
    """
    if period.end > today:
        return False
    stood = Status.PENDING
    on: list[Status] = []
    for day, status in moves:
        if day > period.start:
            on += [stood] if not on else []
            if day < period.end:
                on.append(status)
        stood = status
    return not any(bills_now(each, once=False, while_suspended=while_suspended) for each in on or [stood])


def paid_until(
    was: MembershipKind,
    becomes: MembershipKind,
    starts_on: date,
    ends_on: date | None,
    fees_from: date | None,
    asked: Iterable[date],
    billing_day: int | None = None,
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
    period = Terms(was, starts_on, fees_from=fees_from, billing_day=billing_day).period(last)
    return period.end if period else fees_from


def no_longer_owed(status: Status, reason: str | None, ends_on: date | None, period_start: date | None) -> bool:
    """(a membership's state, its cause and first day after the last, a fee's period) -> whether it may not be taken.

    Nothing is once the course was cancelled or completed; before that, nothing for days after the end. What is for no
    period settles arrears, which remain. Source: R48, R49
    """
    if reason == Cause.COURSE_MOVED or period_start is None:
        return False  # what took over from it lives on what was asked for here (R59)
    later = ends_on is not None and period_start >= ends_on
    return later or stops_payments(status, reason)
