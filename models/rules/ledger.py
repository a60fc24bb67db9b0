"""The books: which accounts money stands on, and between which two each movement carries it.

Every entry names one account it is taken to (debit) and one it comes from (credit), so the books balance by themselves:

    money with us            what it is there for
    -------------            --------------------
    RECEIVABLE      =        CHARGED                                  asked for, not in yet
    CASH + FEES + PAID_BACK  =  HELD + ALLOCATED + CREDIT + REFUNDED  received
"""

from enum import StrEnum
from typing import NamedTuple


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
