"""One subscription invoice over the classes it paid for. Source: BOS, how the Nookal invoice is calculated."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from models.rules.explain import Step, step
from models.rules.money import split
from models.rules.refusals import Code, Refusal


class Mark(StrEnum):
    """How an attendance stands in the clinic's calendar (R96, R98)."""

    BOOKED = "BOOKED"
    ATTENDED = "ATTENDED"
    DNA = "DNA"
    CANCELLED = "CANCELLED"


class LeftOutReason(StrEnum):
    """Why an attendance is not paid for by an invoice (R89, R91, R97-R99, R104, R105)."""

    NOT_COVERED = "NOT_COVERED"
    OUTSIDE_PERIOD = "OUTSIDE_PERIOD"
    MARKED_CANCELLED = "MARKED_CANCELLED"
    MARKED_DNA = "MARKED_DNA"
    INVOICED_BY_HAND = "INVOICED_BY_HAND"
    BILLED_BY_OTHER_INVOICE = "BILLED_BY_OTHER_INVOICE"
    BILLED_OFF_ALREADY = "BILLED_OFF_ALREADY"


class Hold(StrEnum):
    """Why an invoice waits instead of being billed off (R100, R101, R103, R109)."""

    NO_SUBSCRIPTION = "NO_SUBSCRIPTION"
    SUBSCRIPTION_UNLINKED = "SUBSCRIPTION_UNLINKED"
    UNMANAGED_PRODUCT = "UNMANAGED_PRODUCT"
    PATIENT_UNLINKED = "PATIENT_UNLINKED"
    UNPAID = "UNPAID"


class Kind(StrEnum):
    """Shared over classes, or one line that only records that money was taken (R106, R107)."""

    CLASSES = "CLASSES"
    AD_HOC = "AD_HOC"


@dataclass(frozen=True, slots=True)
class Period:
    """Two UTC instants, the first inside and the last outside; ValueError when it ends before it starts (D3)."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.end < self.start:
            raise ValueError(f"a period cannot end at {self.end} and start at {self.start}")

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True)
class Coverage:
    """A class type a membership type covers, from one instant on and before another; None leaves a side open (R97)."""

    class_type_id: UUID
    since: datetime | None = None
    until: datetime | None = None

    def covers(self, class_type_id: UUID, at: datetime) -> bool:
        """Whether a class of this type that starts at this instant is covered."""
        begun = self.since is None or self.since <= at
        return begun and class_type_id == self.class_type_id and (self.until is None or at < self.until)


class Attendance(NamedTuple):
    """One client's place in one class; `invoiced_by_hand` means by any invoice that is not ours (R105)."""

    id: UUID
    session_id: UUID
    class_type_id: UUID
    starts_at: datetime
    mark: Mark
    invoiced_by_hand: bool = False
    billed_by_other_invoice: bool = False


class LeftOut(NamedTuple):
    """An attendance an invoice does not pay for, and why (D8)."""

    attendance_id: UUID
    reason: LeftOutReason


class Matching(NamedTuple):
    """The attendances an invoice pays for, by class start then id, and those it leaves out."""

    kept: tuple[Attendance, ...]
    left_out: tuple[LeftOut, ...]


class Share(NamedTuple):
    """What one attendance takes of the amount, in minor units; no attendance on an ad-hoc line (R107)."""

    attendance_id: UUID | None
    amount: int


@dataclass(frozen=True, slots=True)
class Allocation:
    """How an amount was shared; the shares always sum to it (R110)."""

    kind: Kind
    shares: tuple[Share, ...]
    because: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """An invoice that could pay for an attendance: its period's end, breadth of its type, birth of its subscription."""

    invoice_id: UUID
    period_end: datetime
    class_types_covered: int
    subscribed_at: datetime


def covers(covered: Iterable[Coverage], attendance: Attendance) -> bool:
    """Whether one of these covers the class of an attendance at its start. Source: R97."""
    for each in covered:  # noqa: SIM110  asked for each class of each invoice: a generator would cost as much again
        if each.covers(attendance.class_type_id, attendance.starts_at):
            return True
    return False


_IN_ORDER = attrgetter("starts_at", "id")


def matching_classes(
    attendances: Iterable[Attendance], covered: frozenset[UUID] | Collection[Coverage], period: Period
) -> Matching:
    """(the patient's attendances, class types covered, invoice period) -> Matching(kept, left_out), both ordered.

    `covered` is a set of class type ids, or coverages with dates, judged as of the class's start. The mark as it
    stands now counts. Source: BOS, find matching classes; R96-R99, R103-R106
    """
    kept: list[Attendance] = []
    left_out: list[LeftOut] = []
    coverages = tuple(each if isinstance(each, Coverage) else Coverage(each) for each in covered)
    for attendance in sorted(attendances, key=_IN_ORDER):
        reason = _left_out(attendance, coverages, period)
        if reason is None:
            kept.append(attendance)
        else:
            left_out.append(LeftOut(attendance.id, reason))
    return Matching(tuple(kept), tuple(left_out))


_MARKS = {Mark.CANCELLED: LeftOutReason.MARKED_CANCELLED, Mark.DNA: LeftOutReason.MARKED_DNA}


def _left_out(attendance: Attendance, coverages: tuple[Coverage, ...], period: Period) -> LeftOutReason | None:
    if not period.start <= attendance.starts_at < period.end:
        return LeftOutReason.OUTSIDE_PERIOD
    if not covers(coverages, attendance):
        return LeftOutReason.NOT_COVERED
    if (marked := _MARKS.get(attendance.mark)) is not None:
        return marked
    if attendance.invoiced_by_hand:
        return LeftOutReason.INVOICED_BY_HAND
    return LeftOutReason.BILLED_BY_OTHER_INVOICE if attendance.billed_by_other_invoice else None


def allocate(amount: int, kept: Iterable[Attendance]) -> Allocation:
    """(minor units the client was charged, attendances) -> Allocation whose shares sum to that amount.

    Evenly, a class's normal price plays no part; the last classes carry the remainder; no class left -> one ad-hoc
    line. ValueError when `amount` < 0. Source: BOS, to calculate the charges; R106-R110
    """
    if amount < 0:
        raise ValueError(f"cannot allocate {amount}")
    ordered = sorted(kept, key=_IN_ORDER)
    if not ordered:
        why = step("R107", "no class is left: one line records that the client was charged", amount=amount)
        return Allocation(Kind.AD_HOC, (Share(None, amount),), (why,))
    amounts = split(amount, len(ordered))
    shares = tuple([Share(each.id, share) for each, share in zip(ordered, amounts, strict=True)])
    why = step("R109", "the amount charged is divided by the classes", amount=amount, classes=len(ordered))
    exact = step("R110", "the last classes carry the remainder", least=amounts[0], most=amounts[-1])
    return Allocation(Kind.CLASSES, shares, (why, exact))


def net_paid(amount_paid: int, refunded: int, credited: int = 0, credit_used: int = 0) -> int:
    """(minor units paid, refunded, left as credit, paid by earlier credit) -> what is shared; ValueError when below 0.

    Tax is inside and discounts are off, as the client was charged. Credit is shared where it is used, so that each cent
    is shared once. Source: BOS; R109
    """
    net = amount_paid - refunded - credited + credit_used
    if refunded < 0 or net < 0:
        raise ValueError(f"{refunded} refunded, {credited} credited of {amount_paid} paid")
    return net


def billable(period_end: datetime, grace: timedelta, at: datetime) -> bool:
    """(end of the period, time allowed for late marks, now) -> whether the invoice may be billed off. Source: R89."""
    return at >= period_end + grace


def hold_reason(
    *, subscribed: bool, managed: bool, patient_linked: bool, paid: bool, owned: bool = True
) -> Hold | None:
    """The first thing missing on the walk from invoice to classes, or None when nothing is.

    Source: BOS, find matching classes; R92, R100, R101, R103, R109
    """
    walk = {
        Hold.NO_SUBSCRIPTION: subscribed,
        Hold.SUBSCRIPTION_UNLINKED: owned,
        Hold.UNMANAGED_PRODUCT: managed,
        Hold.PATIENT_UNLINKED: patient_linked,
        Hold.UNPAID: paid,
    }
    return next((hold for hold, there in walk.items() if not there), None)


HELD: dict[Hold, Code] = {
    Hold.NO_SUBSCRIPTION: Code.NO_SUBSCRIPTION,
    Hold.SUBSCRIPTION_UNLINKED: Code.SUBSCRIPTION_UNLINKED,
    Hold.UNMANAGED_PRODUCT: Code.UNMANAGED_PRODUCT,
    Hold.PATIENT_UNLINKED: Code.PATIENT_UNLINKED,
    Hold.UNPAID: Code.INVOICE_NOT_PAID,
}


def check_bill_off(*, billed: bool, hold: Hold | None, period_end: datetime, grace: timedelta, at: datetime) -> None:
    """Refuse to bill off what was billed, is held, or is not over: INVOICE_ALREADY_BILLED, the hold's, INVOICE_NOT_DUE.

    Source: BOS; R89, R100-R103, R109
    """
    if billed:
        raise Refusal(Code.INVOICE_ALREADY_BILLED)
    if hold is not None:
        raise Refusal(HELD[hold])
    if not billable(period_end, grace, at):
        raise Refusal(Code.INVOICE_NOT_DUE, f"Its period ends {period_end:%Y-%m-%d %H:%M} UTC.")
