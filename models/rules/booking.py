"""What a place on a course costs: price x timetable x way of paying x credits held -> Quote. Source: Groovio."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from hashlib import sha256
from uuid import UUID

from models.rules.credits import Lot, Purse
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
    "quote",
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
    """One class of a quote: its share of the price in minor units, what settles it, and the rule that says so.

    `package_id` is where the credit comes from, where one settles it.
    """

    session_id: UUID
    state: ClassState
    share: int
    settled_by: SettledBy
    because: str
    package_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Quote:
    """What a booking takes: whole credits and a charge; the lines settled by CHARGE sum to that charge (D8).

    Its price is shared over so many classes (`shared_over`), counted as `basis` says (D6).
    """

    credits: int
    charge: Money
    lines: tuple[Line, ...]
    because: tuple[Step, ...]
    basis: Basis
    shared_over: int

    @property
    def terms(self) -> str:
        """A digest of all that is taken: two quotes with the same terms draw and charge the same for each class."""
        each = "".join(f";{line.session_id}:{line.share}:{line.settled_by}" for line in self.lines)
        taken = f"{self.credits}:{self.charge.minor_units}:{self.charge.currency}{each}"
        return sha256(taken.encode()).hexdigest()[:32]


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
    lots: Sequence[Lot] = (),
    basis: Basis = Basis.SCHEDULED,
    *,
    package_joins_late: bool = False,
) -> Quote:
    """(course price, pricing, classes, UTC instant, way of paying, credits held) -> Quote, or raises Refusal.

    Credits settle the earliest classes to come, money the rest. `package_joins_late` lets a package alone join a
    full-rate course under way for its future classes. Refusals: NEGATIVE_AMOUNT, NO_FUTURE_CLASSES,
    MEMBERSHIP_FULL_RATE_STARTED, PACKAGE_CANNOT_COVER_ELAPSED, INSUFFICIENT_CREDITS, and MEMBERSHIP_NOT_VALID or
    PACKAGE_NOT_VALID where enough credits end too soon.
    Source: Groovio, all scenarios; R113-R142, E1-E6
    """
    check_amount(price.minor_units)
    classes = timetable(sessions, at)
    shared_over = len(classes.classes) - (classes.deleted if basis is Basis.NOT_DELETED else 0)
    start = (
        step("D6", "the price is shared over the classes", price=price.minor_units, classes=shared_over, basis=basis),
        step("D4", "the classes now", elapsed=classes.elapsed, deleted=classes.deleted, future=classes.future),
    )
    if classes.future == 0:
        found = f"{classes.elapsed} have passed, {classes.deleted} were deleted."
        raise Refusal(Code.NO_FUTURE_CLASSES, found, steps=(*start, step("D5", "no class is still to come")))
    cells = dict(SETTLEMENT[method, pricing])
    if package_joins_late and method is Method.PACKAGE and pricing is Pricing.FULL_RATE:
        cells[ClassState.ELAPSED] = _PACKAGE_JOINS_LATE
    purse = Purse(lots)
    refuse = partial(_refused, method=method, classes=classes, held=purse.held, start=start)
    lines = _lines(classes, shares(price.minor_units, classes, basis), cells, purse, basis, refuse)
    charge = sum(line.share for line in lines if line.settled_by is SettledBy.CHARGE)
    used = sum(line.settled_by is SettledBy.CREDIT for line in lines)
    because = (*start, *_because(lines, purse, method))
    return Quote(used, Money(charge, price.currency), lines, because, basis, shared_over)


def _lines(
    classes: Timetable,
    parts: list[int],
    cells: Mapping[ClassState, _Cell],
    purse: Purse,
    basis: Basis,
    refuse: Callable[[Code, _Cell], Refusal],
) -> tuple[Line, ...]:
    lines = []
    for (session, state), share in zip(classes.classes, parts, strict=True):
        cell = cells[state]
        settled, package_id = cell.first, None
        if state is ClassState.DELETED and basis is Basis.NOT_DELETED:
            settled = SettledBy.DELETED  # it has no share of the price, so nothing of it is paid
        elif settled is SettledBy.CREDIT and (package_id := purse.draw(session.starts_at)) is None:
            settled = cell.then
        if isinstance(settled, Code):
            raise refuse(settled, cell)
        lines.append(Line(session.id, state, share, settled, f"{cell.rule}: {cell.text}", package_id))
    return tuple(lines)


def _refused(
    code: Code, cell: _Cell, *, method: Method, classes: Timetable, held: int, start: tuple[Step, ...]
) -> Refusal:
    found = f"{classes.elapsed} of {len(classes.classes)} classes have passed."
    if code is Code.INSUFFICIENT_CREDITS and held >= classes.future:
        code, found = NOT_VALID[method], "They end before the last class starts."
    elif code is Code.INSUFFICIENT_CREDITS:
        found = f"{classes.future - held} short: {classes.future} credits needed, {held} held."
    last = step(cell.rule, cell.text, refused=code, credits_held=held, classes_to_come=classes.future)
    return Refusal(code, found, steps=(*start, last))


def _because(lines: tuple[Line, ...], purse: Purse, method: Method) -> tuple[Step, ...]:
    steps = []
    if method is Method.PACKAGE_AND_CHARGE and purse.held == 0:
        steps.append(step("R140", "NO_CREDITS: every class is charged its share", credits=0))
    groups: dict[tuple[str, SettledBy], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line.because, line.settled_by].append(line)
    for (because, settled_by), group in groups.items():
        rule, _, text = because.partition(": ")
        amount = sum(line.share for line in group)
        steps.append(step(rule, text, settled_by=settled_by, classes=len(group), amount=amount))
    for package_id, drawn in Counter(line.package_id for line in lines if line.package_id).items():
        steps.append(step("0035", "credits that end first are drawn first", package=str(package_id), credits=drawn))
    return tuple(steps)
