"""A membership's states, the causes that move it, and what each state lets its holder do. Source: CoursePro, D."""

from enum import StrEnum
from typing import NamedTuple

from models.rules.refusals import Code, Refusal


class Status(StrEnum):
    """Where a membership stands (D10)."""

    PENDING = "PENDING"
    FUTURE = "FUTURE"
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    FROZEN = "FROZEN"
    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"
    EXPIRED = "EXPIRED"


TERMINAL = frozenset({Status.CANCELLED, Status.COMPLETED, Status.EXPIRED})


class Cause(StrEnum):
    """Why a membership moves; the course system owns the ends of courses, we own the causes of payment (D7, R61)."""

    MANDATE_READY = "MANDATE_READY"
    FIRST_PAYMENT_MADE = "FIRST_PAYMENT_MADE"
    FREE_OF_CHARGE = "FREE_OF_CHARGE"
    STARTS_LATER = "STARTS_LATER"
    TOOK_OVER = "TOOK_OVER"
    STARTED = "STARTED"
    PAYMENT_FAILED = "PAYMENT_FAILED"
    PAYMENT_CHARGED_BACK = "PAYMENT_CHARGED_BACK"
    MANDATE_CANCELLED = "MANDATE_CANCELLED"
    PAYMENT_MADE_GOOD = "PAYMENT_MADE_GOOD"
    MANDATE_REPLACED = "MANDATE_REPLACED"
    RESOLVED_BY_STAFF = "RESOLVED_BY_STAFF"
    SUSPENDED_BY_STAFF = "SUSPENDED_BY_STAFF"
    FROZEN_BY_STAFF = "FROZEN_BY_STAFF"
    UNFROZEN = "UNFROZEN"
    COURSE_CANCELLED = "COURSE_CANCELLED"
    COURSE_COMPLETED = "COURSE_COMPLETED"
    COURSE_MOVED = "COURSE_MOVED"
    SUBSCRIPTION_PAUSED = "SUBSCRIPTION_PAUSED"
    SUBSCRIPTION_ENDED = "SUBSCRIPTION_ENDED"
    CANCELLED_BY_STAFF = "CANCELLED_BY_STAFF"
    COMPLETED_BY_STAFF = "COMPLETED_BY_STAFF"
    TERM_ENDED = "TERM_ENDED"
    LAPSED = "LAPSED"


_S, _C = Status, Cause
# Ends that were decided, not reached: nothing may be taken after them. A term that ran its course owes its last fee.
STOPS_PAYMENTS = frozenset(
    {
        _C.COURSE_CANCELLED,
        _C.COURSE_COMPLETED,
        _C.SUBSCRIPTION_ENDED,
        _C.CANCELLED_BY_STAFF,
        _C.COMPLETED_BY_STAFF,
        _C.LAPSED,
    }
)
_LIVE = tuple(status for status in Status if status not in TERMINAL)
_RUNNING = (_S.FUTURE, _S.ACTIVE, _S.FROZEN)

# What lifts a suspension answers what caused it: money does not lift what staff imposed, nor a card what a bank ended.
LIFTED_BY: dict[Cause, frozenset[Cause]] = {
    _C.PAYMENT_FAILED: frozenset({_C.PAYMENT_MADE_GOOD, _C.RESOLVED_BY_STAFF}),
    _C.PAYMENT_CHARGED_BACK: frozenset({_C.PAYMENT_MADE_GOOD, _C.RESOLVED_BY_STAFF}),
    _C.SUBSCRIPTION_PAUSED: frozenset({_C.PAYMENT_MADE_GOOD, _C.RESOLVED_BY_STAFF}),
    _C.MANDATE_CANCELLED: frozenset({_C.MANDATE_REPLACED, _C.RESOLVED_BY_STAFF}),
    _C.SUSPENDED_BY_STAFF: frozenset({_C.RESOLVED_BY_STAFF}),
}

MOVES: dict[tuple[Status, Cause], Status] = {
    # A place is taken once its money is sure: mandate usable, first payment in, or nothing to pay (R11, R22, R83).
    (_S.PENDING, _C.MANDATE_READY): _S.ACTIVE,
    (_S.PENDING, _C.FIRST_PAYMENT_MADE): _S.ACTIVE,
    (_S.PENDING, _C.FREE_OF_CHARGE): _S.ACTIVE,
    (_S.PENDING, _C.STARTS_LATER): _S.FUTURE,
    (_S.FUTURE, _C.STARTED): _S.ACTIVE,
    # A customer who moves to a course of another price goes on where the earlier membership stood (R19, R59).
    (_S.PENDING, _C.TOOK_OVER): _S.ACTIVE,
    # A missed payment or a cancelled instruction suspends, whoever cancelled it (R12, R40); so may staff.
    **{(status, cause): _S.SUSPENDED for status in _RUNNING for cause in LIFTED_BY},
    # Resolved here and nowhere else (R45, R46).
    (_S.SUSPENDED, _C.PAYMENT_MADE_GOOD): _S.ACTIVE,
    (_S.SUSPENDED, _C.MANDATE_REPLACED): _S.ACTIVE,
    (_S.SUSPENDED, _C.RESOLVED_BY_STAFF): _S.ACTIVE,
    (_S.ACTIVE, _C.FROZEN_BY_STAFF): _S.FROZEN,
    (_S.FROZEN, _C.UNFROZEN): _S.ACTIVE,
    # The end of the course ends the membership from wherever it stands; so do we (R47-R49).
    **{(status, _C.COURSE_CANCELLED): _S.CANCELLED for status in _LIVE},
    **{(status, _C.COURSE_MOVED): _S.CANCELLED for status in _LIVE},
    **{(status, _C.SUBSCRIPTION_ENDED): _S.CANCELLED for status in _LIVE},
    **{(status, _C.CANCELLED_BY_STAFF): _S.CANCELLED for status in _LIVE},
    **{(status, _C.COURSE_COMPLETED): _S.COMPLETED for status in _LIVE},
    **{(status, _C.COMPLETED_BY_STAFF): _S.COMPLETED for status in _LIVE if status is not _S.PENDING},
    **{(status, _C.TERM_ENDED): _S.COMPLETED for status in _LIVE if status is not _S.PENDING},  # R6
    **{(status, _C.LAPSED): _S.EXPIRED for status in _LIVE},  # a sign-up never finished, sessions never used
}


class Standing(NamedTuple):
    """What a state means: whether cycles are billed, whether it opens the door, and CoursePro's word for it."""

    bills: bool
    enters: bool
    coursepro: str | None


STANDING: dict[Status, Standing] = {  # R39, R41-R43, R46, R49
    _S.PENDING: Standing(bills=False, enters=False, coursepro=None),
    _S.FUTURE: Standing(bills=False, enters=False, coursepro="Active"),
    _S.ACTIVE: Standing(bills=True, enters=True, coursepro="Active"),
    _S.SUSPENDED: Standing(bills=False, enters=False, coursepro="Unavailable"),
    _S.FROZEN: Standing(bills=False, enters=False, coursepro="Unavailable"),
    _S.CANCELLED: Standing(bills=False, enters=False, coursepro="Cancelled"),
    _S.COMPLETED: Standing(bills=False, enters=False, coursepro="Completed"),
    _S.EXPIRED: Standing(bills=False, enters=False, coursepro="Unavailable"),
}
assert STANDING.keys() == set(Status)


class WhileSuspended(StrEnum):
    """Whether new cycles fall due during a suspension: held back, or added to the arrears (R39)."""

    HOLD = "HOLD"
    ACCRUE = "ACCRUE"


def move(status: Status, cause: Cause, suspended_for: Cause | None = None) -> Status | None:
    """(state, cause) -> the state it leads to, or None where the cause changes nothing: a repeat, or news too late.

    With `suspended_for`, a suspension is only lifted by what answers it. Source: CoursePro, D; R12, R39-R49
    """
    leads_to = MOVES.get((status, cause))
    lifts = status is Status.SUSPENDED and leads_to is Status.ACTIVE
    if lifts and suspended_for is not None and cause not in LIFTED_BY[suspended_for]:
        return None
    return leads_to


def move_or_refuse(status: Status, cause: Cause, suspended_for: Cause | None = None) -> Status:
    """As `move`, for what a person asks: Refusal ILLEGAL_MOVE instead of None. Source: CoursePro, D; R39-R49."""
    leads_to = move(status, cause, suspended_for)
    if leads_to is None:
        raise Refusal(Code.ILLEGAL_MOVE, f"A membership that is {status} cannot be moved by {cause}.")
    return leads_to


def stops_payments(status: Status, reason: str | None) -> bool:
    """(state, the cause that led to it) -> whether it ended so that no more is owed. Source: CoursePro, D; R48."""
    return status in TERMINAL and reason is not None and Cause(reason) in STOPS_PAYMENTS


def bills(status: Status, while_suspended: WhileSuspended = WhileSuspended.HOLD) -> bool:
    """(state, policy) -> whether its next cycle falls due. Source: CoursePro, D; R39, R49."""
    accrues = status is Status.SUSPENDED and while_suspended is WhileSuspended.ACCRUE
    return STANDING[status].bills or accrues
