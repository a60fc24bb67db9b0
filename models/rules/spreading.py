"""Which of several invoices pays for which attendance. An attendance is billed once (R91, R96-R107)."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from models.rules.explain import Step, step
from models.rules.invoicing import (
    Attendance,
    Claim,
    Coverage,
    Hold,
    LeftOutReason,
    Matching,
    Period,
    covers,
    hold_reason,
    matching_classes,
)


class OverlapRule(StrEnum):
    """What decided which of several invoices pays for an attendance (R91)."""

    BILLED_OFF = "BILLED_OFF"
    CHOSEN = "CHOSEN"
    ONLY_CLAIM = "ONLY_CLAIM"
    EARLIER_PERIOD_END = "EARLIER_PERIOD_END"
    NARROWER_TYPE = "NARROWER_TYPE"
    OLDER_SUBSCRIPTION = "OLDER_SUBSCRIPTION"
    FIRST_KNOWN = "FIRST_KNOWN"


@dataclass(frozen=True, slots=True)
class Walk:
    """From an invoice to what it may pay for: whose classes, by which membership type, and what is missing (R100-R103).

    `membership_type` is None where no membership of ours is behind it, `patient` where nobody is linked; it is not
    `owned` where its product is managed here and nobody knows whose it is.
    """

    subscription_id: UUID | None
    membership_id: UUID | None
    who: UUID | None
    patient: str | None
    paid: bool
    owned: bool = True

    @property
    def hold(self) -> Hold | None:
        """The first thing missing. Source: R100, R101, R103, R109."""
        return hold_reason(
            subscribed=self.subscription_id is not None,
            owned=self.owned,
            managed=self.membership_id is not None,
            patient_linked=self.patient is not None or self.who is None,
            paid=self.paid,
        )


@dataclass(frozen=True, slots=True)
class Claimant:
    """An invoice that may pay for classes; one that will never be paid claims none."""

    claim: Claim
    who: UUID
    period: Period
    covered: tuple[Coverage, ...]
    payable: bool = True

    def claims(self, attendance: Attendance) -> bool:
        """Whether it could pay for a class of that kind at that time, whoever else could."""
        return self.payable and attendance.starts_at in self.period and covers(self.covered, attendance)


class Seat(NamedTuple):
    """A person's attendance, the invoice a person chose for it, and the one whose current allocation carries it."""

    attendance: Attendance
    chosen: UUID | None = None
    carried_by: UUID | None = None
    billed: bool = False

    @property
    def billed_by(self) -> UUID | None:
        """The invoice that carries it, where that one is billed off."""
        return self.carried_by if self.billed else None


class Taken(NamedTuple):
    """The invoice that pays for an attendance, and what decided that."""

    invoice_id: UUID
    by: OverlapRule


class Ruling(NamedTuple):
    """What an invoice pays for and leaves out, and who takes each attendance that is not simply its own."""

    matching: Matching
    disputed: Mapping[UUID, Taken]


# The parts of the rule in their order, each with what it compares.
_PARTS: tuple[tuple[OverlapRule, str], ...] = (
    (OverlapRule.EARLIER_PERIOD_END, "period_end"),
    (OverlapRule.NARROWER_TYPE, "class_types_covered"),
    (OverlapRule.OLDER_SUBSCRIPTION, "subscribed_at"),
    (OverlapRule.FIRST_KNOWN, "invoice_id"),
)


def taken_by(seat: Seat, claimants: Iterable[Claimant]) -> Taken | None:
    """(a seat, the invoices of its person) -> which of them pays, and which part of the rule says so; None for none.

    What is billed off stays; then a person's choice, as long as that invoice could pay; then the earliest period end,
    the narrower type, the older subscription. Source: R91
    """
    if (billed_by := seat.billed_by) is not None:
        return Taken(billed_by, OverlapRule.BILLED_OFF)
    claims = [each.claim for each in claimants if each.claims(seat.attendance)]
    if not claims:
        return None
    if seat.chosen is not None and seat.chosen in [claim.invoice_id for claim in claims]:
        return Taken(seat.chosen, OverlapRule.CHOSEN)
    if len(claims) == 1:
        return Taken(claims[0].invoice_id, OverlapRule.ONLY_CLAIM)
    for rule, name in _PARTS:
        least = min(getattr(claim, name) for claim in claims)
        left = [claim for claim in claims if getattr(claim, name) == least]
        if len(left) == 1:
            return Taken(left[0].invoice_id, rule)
        claims = left
    raise AssertionError("two invoices with one id")


def spread(claimants: Sequence[Claimant], seats: Mapping[UUID, Sequence[Seat]]) -> dict[UUID, Ruling]:
    """(invoices of any people, those people's seats) -> what each invoice pays for and what it leaves out, and why."""
    theirs: defaultdict[UUID, list[Claimant]] = defaultdict(list)
    for each in claimants:
        theirs[each.who].append(each)
    held = {who: _held(mine, seats.get(who, ())) for who, mine in theirs.items()}
    return {each.claim.invoice_id: _ruling(each, held[each.who]) for each in claimants}


def _held(claimants: Sequence[Claimant], seats: Iterable[Seat]) -> list[tuple[Attendance, Taken | None]]:
    """(the invoices of a person, that person's seats) -> each with who takes it; None where nobody could dispute it."""
    alone = len(claimants) == 1 and claimants[0].payable
    return [
        (seat.attendance, None if alone and not seat.billed else taken_by(seat, claimants))  # most people have one
        for seat in seats
    ]


def _ruling(mine: Claimant, held: Sequence[tuple[Attendance, Taken | None]]) -> Ruling:
    attendances, disputed = [], {}
    for attendance, taken in held:
        by_other = taken is not None and taken.invoice_id != mine.claim.invoice_id
        attendances.append(attendance._replace(billed_by_other_invoice=True) if by_other else attendance)
        if taken is not None and (by_other or taken.by is not OverlapRule.ONLY_CLAIM):
            disputed[attendance.id] = taken
    return Ruling(matching_classes(attendances, mine.covered, mine.period), disputed)


def linked_together(touched: Collection[UUID], claimants: Iterable[Claimant]) -> list[Claimant]:
    """Of all invoices of some people, those whose periods touch one of `touched`, or one that does, and so on."""
    theirs: defaultdict[UUID, list[Claimant]] = defaultdict(list)
    for each in sorted(claimants, key=lambda each: (each.period.start, each.claim.invoice_id)):
        theirs[each.who].append(each)
    found: list[Claimant] = []
    for mine in theirs.values():
        chain: list[Claimant] = []
        until = None
        for each in mine:
            if until is not None and each.period.start >= until:
                found += chain if any(one.claim.invoice_id in touched for one in chain) else ()
                chain, until = [], None
            chain.append(each)
            until = each.period.end if until is None else max(until, each.period.end)
        found += chain if any(one.claim.invoice_id in touched for one in chain) else ()
    return found


def _who_takes(taken: Taken) -> str:
    return f"{taken.invoice_id} ({taken.by})"


_LEFT_OUT: Mapping[LeftOutReason, tuple[str, str]] = {
    LeftOutReason.NOT_COVERED: ("R97", "classes that the membership type does not cover are left out"),
    LeftOutReason.MARKED_CANCELLED: ("R104", "attendances marked as cancelled are left out"),
    LeftOutReason.MARKED_DNA: ("R104", "attendances marked as not attended are left out"),
    LeftOutReason.INVOICED_BY_HAND: ("R105", "attendances invoiced by hand are left out"),
    LeftOutReason.BILLED_BY_OTHER_INVOICE: ("R91", "attendances that another invoice pays for are left out"),
}


def walked(walk: Walk, covered: Collection[Coverage], ruling: Ruling | None = None) -> tuple[Step, ...]:
    """What an invoice's walk to its classes met, step by step: found, missing, kept, and left out with the reasons.

    Without a ruling, only the way to the classes.
    """
    steps = [
        step("R100", "the subscription it belongs to", subscription=str(walk.subscription_id or "none")),
        step("R101", "the membership that is set up for it", membership=str(walk.membership_id or "none")),
        step("R102", "the kinds of class that one covers", kinds=len({each.class_type_id for each in covered})),
        step("R103", "whose classes it pays for", user=str(walk.who or "none"), patient=walk.patient or "none"),
    ]
    if (hold := walk.hold) is not None:
        steps.append(step("R109", "it waits for what is missing", hold=hold.value))
    if ruling is None:
        return tuple(steps)
    matching, disputed = ruling
    left = [each for each in matching.left_out if each.reason in _LEFT_OUT]
    for reason, count in sorted(Counter(each.reason for each in left).items()) if left else ():
        rule, text = _LEFT_OUT[reason]
        which = [each.attendance_id for each in left if each.reason is reason]
        by_other = reason is LeftOutReason.BILLED_BY_OTHER_INVOICE
        told = {str(each): _who_takes(disputed[each]) if by_other else reason.value for each in which}
        steps.append(step(rule, text, count=count, **told))
    told = (
        {str(each.id): disputed[each.id].by.value for each in matching.kept if each.id in disputed} if disputed else {}
    )
    if told:
        steps.append(step("R91", "classes that another invoice could pay for too fall to this one", **told))
    steps.append(step("R106", "classes that remain, within the period", classes=len(matching.kept)))
    return tuple(steps)
