"""The books: which accounts money stands on, and between which two each movement carries it.

Every entry names one account it is taken to (debit) and one it comes from (credit), so the books balance by themselves:

    money with us            what it is there for
    -------------            --------------------
    RECEIVABLE      =        CHARGED                                  asked for, not in yet
    CASH + FEES + PAID_BACK  =  HELD + ALLOCATED + CREDIT + REFUNDED  received
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from models.rules.states import PaymentPurpose, PaymentStatus, RefundStatus


class Account(StrEnum):
    """Where money stands. The first four grow by debits, the others by credits."""

    RECEIVABLE = "RECEIVABLE"
    CASH = "CASH"
    FEES = "FEES"
    PAID_BACK = "PAID_BACK"
    CHARGED = "CHARGED"
    HELD = "HELD"
    ALLOCATED = "ALLOCATED"
    CREDIT = "CREDIT"
    REFUNDED = "REFUNDED"


class Movement(StrEnum):
    """What happened to money."""

    CHARGED = "CHARGED"
    CHARGE_DROPPED = "CHARGE_DROPPED"
    CLEARED = "CLEARED"
    RECEIVED = "RECEIVED"
    RETURNED = "RETURNED"
    CHARGED_AGAIN = "CHARGED_AGAIN"
    ALLOCATED = "ALLOCATED"
    FREED = "FREED"
    CREDITED = "CREDITED"
    CREDIT_USED = "CREDIT_USED"
    REFUNDED = "REFUNDED"
    PAID_BACK = "PAID_BACK"
    REFUND_FAILED = "REFUND_FAILED"
    PAID_IN_AGAIN = "PAID_IN_AGAIN"
    FEE_TAKEN = "FEE_TAKEN"
    FEE_GIVEN_BACK = "FEE_GIVEN_BACK"


class Carries(NamedTuple):
    """The account a movement takes money to, and the one it comes from."""

    debit: Account
    credit: Account


_A = Account
MOVEMENTS: dict[Movement, Carries] = {
    Movement.CHARGED: Carries(_A.RECEIVABLE, _A.CHARGED),  # somebody is asked for it
    Movement.CHARGE_DROPPED: Carries(_A.CHARGED, _A.RECEIVABLE),  # and is not any more
    Movement.RECEIVED: Carries(_A.CASH, _A.HELD),  # it came
    Movement.CLEARED: Carries(_A.CHARGED, _A.RECEIVABLE),  # which answers what was asked for
    Movement.RETURNED: Carries(_A.HELD, _A.CASH),  # the bank took it back
    Movement.CHARGED_AGAIN: Carries(_A.RECEIVABLE, _A.CHARGED),  # so it is owed as before
    Movement.ALLOCATED: Carries(_A.HELD, _A.ALLOCATED),  # it pays for something
    Movement.FREED: Carries(_A.ALLOCATED, _A.HELD),  # and does not any more
    Movement.CREDITED: Carries(_A.HELD, _A.CREDIT),  # the payer's to use later
    Movement.CREDIT_USED: Carries(_A.CREDIT, _A.HELD),
    Movement.REFUNDED: Carries(_A.HELD, _A.REFUNDED),  # it is to go back
    Movement.PAID_BACK: Carries(_A.PAID_BACK, _A.CASH),  # and went
    Movement.REFUND_FAILED: Carries(_A.REFUNDED, _A.HELD),  # it could not
    Movement.PAID_IN_AGAIN: Carries(_A.CASH, _A.PAID_BACK),
    Movement.FEE_TAKEN: Carries(_A.FEES, _A.CASH),  # what the provider keeps
    Movement.FEE_GIVEN_BACK: Carries(_A.CASH, _A.FEES),
}
assert MOVEMENTS.keys() == set(Movement)
BY_DEBIT = frozenset({_A.RECEIVABLE, _A.CASH, _A.FEES, _A.PAID_BACK})  # these grow by debits


class Stage(StrEnum):
    """How a payment stands in the books: owed by its payer, received from him, or neither."""

    OWED = "OWED"
    RECEIVED = "RECEIVED"
    OFF = "OFF"


class Returning(StrEnum):
    """How a refund stands in the books: to go back, gone back, or not."""

    ASKED = "ASKED"
    PAID = "PAID"
    OFF = "OFF"


_P, _R, _M = PaymentStatus, RefundStatus, Movement
STAGES: dict[PaymentStatus, Stage] = {
    _P.DUE: Stage.OWED,
    _P.SUBMITTED: Stage.OWED,
    _P.UNKNOWN: Stage.OWED,
    _P.CONFIRMED: Stage.RECEIVED,
    _P.PAID_OUT: Stage.RECEIVED,
    _P.FAILED: Stage.OWED,
    _P.CHARGED_BACK: Stage.OWED,
    _P.CANCELLED: Stage.OFF,
    _P.CARRIED: Stage.OFF,  # the payment that carries it is charged with it
    _P.WRITTEN_OFF: Stage.OFF,
}
RETURNING: dict[RefundStatus, Returning] = {
    _R.DUE: Returning.ASKED,
    _R.SUBMITTED: Returning.ASKED,
    _R.UNKNOWN: Returning.ASKED,
    _R.SUCCEEDED: Returning.PAID,
    _R.FAILED: Returning.OFF,
}
assert STAGES.keys() == set(PaymentStatus)
assert RETURNING.keys() == set(RefundStatus)

# (where it stood, where it stands) -> what moved, each of its whole amount; `None` is before there was one.
STEPS: dict[tuple[Stage | None, Stage], tuple[Movement, ...]] = {
    (None, Stage.OWED): (_M.CHARGED,),
    (None, Stage.RECEIVED): (_M.RECEIVED,),
    (None, Stage.OFF): (),
    (Stage.OWED, Stage.RECEIVED): (_M.CLEARED, _M.RECEIVED),
    (Stage.OWED, Stage.OFF): (_M.CHARGE_DROPPED,),
    (Stage.RECEIVED, Stage.OWED): (_M.RETURNED, _M.CHARGED_AGAIN),
    (Stage.RECEIVED, Stage.OFF): (_M.RETURNED,),
    (Stage.OFF, Stage.OWED): (_M.CHARGED_AGAIN,),
    (Stage.OFF, Stage.RECEIVED): (_M.RECEIVED,),  # nobody asked for it any more, and it came
}
REFUND_STEPS: dict[tuple[Returning | None, Returning], tuple[Movement, ...]] = {
    (None, Returning.ASKED): (_M.REFUNDED,),
    (None, Returning.PAID): (_M.REFUNDED, _M.PAID_BACK),
    (None, Returning.OFF): (),
    (Returning.ASKED, Returning.PAID): (_M.PAID_BACK,),
    (Returning.ASKED, Returning.OFF): (_M.REFUND_FAILED,),
    (Returning.PAID, Returning.ASKED): (_M.PAID_IN_AGAIN,),
    (Returning.PAID, Returning.OFF): (_M.PAID_IN_AGAIN, _M.REFUND_FAILED),
    (Returning.OFF, Returning.ASKED): (_M.REFUNDED,),
    (Returning.OFF, Returning.PAID): (_M.REFUNDED, _M.PAID_BACK),
}


class Moved(NamedTuple):
    """A movement of so many minor units."""

    movement: Movement
    amount: int


def stage(status: PaymentStatus, purpose: PaymentPurpose) -> Stage:
    """(a payment's status, what it is for) -> how it stands in the books.

    A booking whose charge failed is released and not asked for again, so nothing is owed for it.
    """
    released = status is PaymentStatus.FAILED and purpose is PaymentPurpose.BOOKING
    return Stage.OFF if released else STAGES[status]


def steps(before: Stage | None, after: Stage, amount: int) -> list[Moved]:
    """(where a payment stood, where it stands, minor units) -> what moved; nothing where both are one."""
    return [] if before is after else [Moved(movement, amount) for movement in STEPS[before, after]]


def refund_steps(before: Returning | None, after: Returning, amount: int) -> list[Moved]:
    """(where a refund stood, where it stands, minor units) -> what moved; nothing where both are one."""
    return [] if before is after else [Moved(movement, amount) for movement in REFUND_STEPS[before, after]]


def with_purpose(moved: Iterable[Moved], allocated: int, wanted: int) -> list[Moved]:
    """(what moved, minor units allocated so far, and now) -> all that moved, in order.

    What no longer pays for something is freed before it can go; what came in pays for something afterwards.
    """
    freed = [Moved(Movement.FREED, allocated - wanted)] if wanted < allocated else []
    pays = [Moved(Movement.ALLOCATED, wanted - allocated)] if wanted > allocated else []
    return [*freed, *moved, *pays]


class Mirrored(NamedTuple):
    """The money of a subscription invoice, minor units: as its provider tells it, or as the books have it.

    `credit` is what it left its payer as credit, less what earlier credit paid of it.
    """

    paid: int = 0
    refunded: int = 0
    credit: int = 0

    @property
    def net(self) -> int:
        """What is there to be allocated."""
        return self.paid - self.refunded - self.credit


def mirrored(booked: Mirrored, told: Mirrored) -> list[Moved]:
    """(an invoice's money in the books, as its provider tells it) -> what moved meanwhile."""
    figures = (
        (told.paid - booked.paid, (_M.RECEIVED,), (_M.RETURNED,)),
        (told.refunded - booked.refunded, (_M.REFUNDED, _M.PAID_BACK), (_M.PAID_IN_AGAIN, _M.REFUND_FAILED)),
        (told.credit - booked.credit, (_M.CREDITED,), (_M.CREDIT_USED,)),
    )
    return [Moved(movement, abs(more)) for more, up, down in figures if more for movement in (up if more > 0 else down)]


def balances(moved: Iterable[Moved]) -> dict[Account, int]:
    """Movements -> what stands on each account, minor units, as it grows: debits of the first four, else credits."""
    found = dict.fromkeys(Account, 0)
    for movement, amount in moved:
        debit, credit = MOVEMENTS[movement]
        found[debit] += amount if debit in BY_DEBIT else -amount
        found[credit] += amount if credit not in BY_DEBIT else -amount
    return found
