"""What a place on a course costs: price x timetable x way of paying x credits held -> Quote. Source: Groovio."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from models.rules.explain import Step, step
from models.rules.money import Money, split
from models.rules.pricing import check_amount
from models.rules.refusals import Code, Refusal
from models.rules.timetable import ClassState, Session, Timetable, timetable

__all__ = [
    "Basis",
    "ClassState",
    "Line",
    "Method",
    "Pricing",
    "Quote",
    "Session",
    "SettledBy",
    "Step",
    "Timetable",
    "check_valid_through",
    "quote",
    "quotes",
    "shares",
    "timetable",
]


class Pricing(StrEnum):
    """Whether a course that has begun still costs its full price, or only its future classes (R124, R132)."""

    FULL_RATE = "FULL_RATE"
    PRORATED = "PRORATED"


class Basis(StrEnum):
    """The classes a course price is shared over: all ever scheduled, or those not deleted (D6)."""

    SCHEDULED = "SCHEDULED"
    NOT_DELETED = "NOT_DELETED"


class Method(StrEnum):
    """How a student pays (R113)."""

    PAYMENT = "PAYMENT"
    MEMBERSHIP = "MEMBERSHIP"
    PACKAGE = "PACKAGE"
    PACKAGE_AND_CHARGE = "PACKAGE_AND_CHARGE"


class SettledBy(StrEnum):
    """What pays for one class: a credit, money, nothing as it has passed, nothing as it was deleted."""

    CREDIT = "CREDIT"
    CHARGE = "CHARGE"
    FREE = "FREE"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Line:
    """One class of a quote: its share of the price in minor units, what settles it, and the rule that says so."""

    session_id: UUID
    state: ClassState
    share: int
    settled_by: SettledBy
    because: str


@dataclass(frozen=True, slots=True)
class Quote:
    """What a booking takes: whole credits and a charge; the lines settled by CHARGE sum to that charge (D8)."""

    credits: int
    charge: Money
    lines: tuple[Line, ...]
    because: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    """What settles the classes of one state: `first`, and `then` where credits run out; a code refuses."""

    rule: str
    text: str
    first: SettledBy | Code
    then: SettledBy | Code = Code.INSUFFICIENT_CREDITS


_M, _P, _S, _C = Method, Pricing, ClassState, SettledBy
_PAST_IS_FREE = _Cell("R132", "a prorated course is paid for its future classes only", _C.FREE)
_DELETED_IS_FREE = _Cell("R136", "a deleted class of a prorated course costs nothing", _C.DELETED)
_CREDIT_EACH = "a credit for each class to come"
_CREDITS_FIRST = "credits first, then each class they do not reach is charged its share"

# The summary table of the document, read by class instead of by scenario: a course has begun exactly when one of its
# classes has elapsed (D5), so the rows about courses under way are the ELAPSED cells here.
SETTLEMENT: dict[tuple[Method, Pricing], dict[ClassState, _Cell]] = {
    (_M.PAYMENT, _P.FULL_RATE): {
        _S.ELAPSED: _Cell("R124", "the full course amount covers completed classes", _C.CHARGE),
        _S.DELETED: _Cell("R118", "a deletion does not lower the full course amount", _C.CHARGE),
        _S.FUTURE: _Cell("R114", "the full course amount is charged", _C.CHARGE),
    },
    (_M.PAYMENT, _P.PRORATED): {
        _S.ELAPSED: _PAST_IS_FREE,
        _S.DELETED: _DELETED_IS_FREE,
        _S.FUTURE: _Cell("R132", "each class to come is charged its share", _C.CHARGE),
    },
    (_M.MEMBERSHIP, _P.FULL_RATE): {
        _S.ELAPSED: _Cell("R122", "a membership joins before the course begins", Code.MEMBERSHIP_FULL_RATE_STARTED),
        _S.DELETED: _Cell("R119", "a deleted class takes no credit", _C.DELETED),
        _S.FUTURE: _Cell("R115", _CREDIT_EACH, _C.CREDIT),
    },
    (_M.MEMBERSHIP, _P.PRORATED): {
        _S.ELAPSED: _PAST_IS_FREE,
        _S.DELETED: _DELETED_IS_FREE,
        _S.FUTURE: _Cell("R133", _CREDIT_EACH, _C.CREDIT),
    },
    (_M.PACKAGE, _P.FULL_RATE): {
        _S.ELAPSED: _Cell("R131", "a package alone joins before the course begins", Code.PACKAGE_CANNOT_COVER_ELAPSED),
        _S.DELETED: _Cell("R120", "a deleted class takes no credit", _C.DELETED),
        _S.FUTURE: _Cell("R116", _CREDIT_EACH, _C.CREDIT),
    },
    (_M.PACKAGE, _P.PRORATED): {
        _S.ELAPSED: _PAST_IS_FREE,
        _S.DELETED: _DELETED_IS_FREE,
        _S.FUTURE: _Cell("R133", _CREDIT_EACH, _C.CREDIT),
    },
    (_M.PACKAGE_AND_CHARGE, _P.FULL_RATE): {
        _S.ELAPSED: _Cell("R126", "a completed class is always charged", _C.CHARGE),
        _S.DELETED: _Cell("R130", "a deleted class costs nothing", _C.DELETED),
        _S.FUTURE: _Cell("R117", _CREDITS_FIRST, _C.CREDIT, _C.CHARGE),
    },
    (_M.PACKAGE_AND_CHARGE, _P.PRORATED): {
        _S.ELAPSED: _PAST_IS_FREE,
        _S.DELETED: _DELETED_IS_FREE,
        _S.FUTURE: _Cell("R134", _CREDITS_FIRST, _C.CREDIT, _C.CHARGE),
    },
}
assert SETTLEMENT.keys() == {(method, pricing) for method in Method for pricing in Pricing}
assert all(cells.keys() == set(ClassState) for cells in SETTLEMENT.values())

_PACKAGE_JOINS_LATE = _Cell("R131", "a package may join late here, for the future classes alone", _C.FREE)

NOT_VALID: dict[Method, Code] = {
    Method.MEMBERSHIP: Code.MEMBERSHIP_NOT_VALID,
    Method.PACKAGE: Code.PACKAGE_NOT_VALID,
    Method.PACKAGE_AND_CHARGE: Code.PACKAGE_NOT_VALID,
}


def shares(price: int, classes: Timetable, basis: Basis = Basis.SCHEDULED) -> list[int]:
    """(price in minor units, timetable) -> each class's share in the timetable's order, summing to the price.

    Over all scheduled classes, or over those not deleted (a deleted one then has no share); none at all -> [].
    Source: D2, D6
    """
    counted = [basis is Basis.SCHEDULED or state is not ClassState.DELETED for _, state in classes.classes]
    if not any(counted):
        return [0] * len(counted)
    parts = iter(split(price, sum(counted)))
    return [next(parts) if counts else 0 for counts in counted]


def quote(
    price: Money,
    pricing: Pricing,
    sessions: Iterable[Session],
    at: datetime,
    method: Method,
    credits_held: int,
    basis: Basis = Basis.SCHEDULED,
    *,
    package_joins_late: bool = False,
) -> Quote:
    """(course price, pricing, classes, UTC instant, way of paying, whole credits held) -> Quote, or raises Refusal.

    Credits settle the earliest classes to come, money the rest. `package_joins_late` lets a package alone join a
    full-rate course under way for its future classes. Refusals: NEGATIVE_AMOUNT, NO_FUTURE_CLASSES,
    MEMBERSHIP_FULL_RATE_STARTED, PACKAGE_CANNOT_COVER_ELAPSED, INSUFFICIENT_CREDITS; ValueError for credits below 0.
    Source: Groovio, all scenarios; R113-R142, E1-E6
    """
    if credits_held < 0:
        raise ValueError(f"{credits_held} credits held")
    check_amount(price.minor_units)
    classes = timetable(sessions, at)
    if classes.future == 0:
        raise Refusal(Code.NO_FUTURE_CLASSES, f"{classes.elapsed} have passed, {classes.deleted} were deleted.")
    cells = dict(SETTLEMENT[method, pricing])
    if package_joins_late and method is Method.PACKAGE and pricing is Pricing.FULL_RATE:
        cells[ClassState.ELAPSED] = _PACKAGE_JOINS_LATE
    lines = _lines(classes, shares(price.minor_units, classes, basis), cells, credits_held, basis)
    charge = sum(line.share for line in lines if line.settled_by is SettledBy.CHARGE)
    used = sum(line.settled_by is SettledBy.CREDIT for line in lines)
    because = _because(price, classes, lines, credits_held, basis, method)
    return Quote(used, Money(charge, price.currency), lines, because)


def quotes(
    price: Money,
    pricing: Pricing,
    sessions: Iterable[Session],
    at: datetime,
    credits_held: Mapping[Method, int],
    basis: Basis = Basis.SCHEDULED,
    *,
    package_joins_late: bool = False,
) -> dict[Method, Quote | Refusal]:
    """As `quote`, for every way of paying side by side: method -> Quote, or the Refusal instead of raising it.

    `credits_held` has the credits each method could draw; a method it leaves out draws none. Source: Groovio; R113
    """
    known = tuple(sessions)
    answers: dict[Method, Quote | Refusal] = {}
    for method in Method:
        held = credits_held.get(method, 0)
        try:
            answers[method] = quote(
                price, pricing, known, at, method, held, basis, package_joins_late=package_joins_late
            )
        except Refusal as refusal:
            answers[method] = refusal
    return answers


def check_valid_through(classes: Timetable, method: Method, valid_until: datetime | None) -> None:
    """Refuse credits that end before the last class to come starts (MEMBERSHIP_NOT_VALID, PACKAGE_NOT_VALID).

    `valid_until` is the first instant they are no longer valid, None for no end. Source: R123
    """
    last = classes.last_future
    if method in NOT_VALID and last is not None and valid_until is not None and last.starts_at >= valid_until:
        found = f"Valid until {valid_until:%Y-%m-%d}, the last class is on {last.starts_at:%Y-%m-%d}."
        raise Refusal(NOT_VALID[method], found)


def _lines(
    classes: Timetable, parts: list[int], cells: Mapping[ClassState, _Cell], credits_held: int, basis: Basis
) -> tuple[Line, ...]:
    left = credits_held
    lines = []
    for (session, state), share in zip(classes.classes, parts, strict=True):
        cell = cells[state]
        settled = cell.first
        if state is ClassState.DELETED and basis is Basis.NOT_DELETED:
            settled = SettledBy.DELETED  # it has no share of the price, so nothing of it is paid
        elif settled is SettledBy.CREDIT:
            settled, left = (settled, left - 1) if left else (cell.then, 0)
        if isinstance(settled, Code):
            raise _refused(settled, classes, credits_held)
        lines.append(Line(session.id, state, share, settled, f"{cell.rule}: {cell.text}"))
    return tuple(lines)


def _refused(code: Code, classes: Timetable, held: int) -> Refusal:
    if code is Code.INSUFFICIENT_CREDITS:
        return Refusal(code, f"{classes.future - held} short: {classes.future} credits needed, {held} held.")
    return Refusal(code, f"{classes.elapsed} of {len(classes.classes)} classes have passed.")


def _because(
    price: Money, classes: Timetable, lines: tuple[Line, ...], held: int, basis: Basis, method: Method
) -> tuple[Step, ...]:
    over = len(lines) - (classes.deleted if basis is Basis.NOT_DELETED else 0)
    steps = [
        step("D6", "the price is shared over the classes", price=price.minor_units, classes=over, basis=basis.value),
        step("D4", "the classes now", elapsed=classes.elapsed, deleted=classes.deleted, future=classes.future),
    ]
    if method is Method.PACKAGE_AND_CHARGE and held == 0:
        steps.append(step("R140", "NO_CREDITS: every class is charged its share", credits=0))
    groups = Counter((line.because, line.settled_by) for line in lines)
    for (because, settled_by), number in groups.items():
        rule, _, text = because.partition(": ")
        amount = sum(line.share for line in lines if (line.because, line.settled_by) == (because, settled_by))
        steps.append(step(rule, text, settled_by=settled_by.value, classes=number, amount=amount))
    return tuple(steps)
