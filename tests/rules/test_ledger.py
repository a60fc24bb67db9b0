"""The books: what each event moves, and that whatever happens to a payment they balance."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.rules.ledger import (
    BY_DEBIT,
    MOVEMENTS,
    REFUND_STEPS,
    RETURNING,
    STEPS,
    Account,
    Mirrored,
    Moved,
    Movement,
    Returning,
    Stage,
    balances,
    mirrored,
    refund_steps,
    stage,
    steps,
    with_purpose,
)
from models.rules.proof import Books, Break, Check, Proof, told
from models.rules.states import (
    PaymentOutcome,
    PaymentPurpose,
    PaymentStatus,
    Provider,
    RefundOutcome,
    RefundStatus,
    refund_settled,
    refundable,
    settled,
)
from models.tables.row import new_id

A, M, P = Account, Movement, PaymentStatus


def figures(*moved: Moved) -> dict[Account, int]:
    return {account: amount for account, amount in balances(moved).items() if amount}


@pytest.mark.parametrize(
    ("movement", "moves"),
    [
        (M.CHARGED, {A.RECEIVABLE: 5, A.CHARGED: 5}),
        (M.CHARGE_DROPPED, {A.RECEIVABLE: -5, A.CHARGED: -5}),
        (M.CLEARED, {A.RECEIVABLE: -5, A.CHARGED: -5}),
        (M.CHARGED_AGAIN, {A.RECEIVABLE: 5, A.CHARGED: 5}),
        (M.RECEIVED, {A.CASH: 5, A.HELD: 5}),
        (M.RETURNED, {A.CASH: -5, A.HELD: -5}),
        (M.ALLOCATED, {A.HELD: -5, A.ALLOCATED: 5}),
        (M.FREED, {A.HELD: 5, A.ALLOCATED: -5}),
        (M.CREDITED, {A.HELD: -5, A.CREDIT: 5}),
        (M.CREDIT_USED, {A.HELD: 5, A.CREDIT: -5}),
        (M.REFUNDED, {A.HELD: -5, A.REFUNDED: 5}),
        (M.PAID_BACK, {A.CASH: -5, A.PAID_BACK: 5}),
        (M.REFUND_FAILED, {A.HELD: 5, A.REFUNDED: -5}),
        (M.PAID_IN_AGAIN, {A.CASH: 5, A.PAID_BACK: -5}),
        (M.FEE_TAKEN, {A.CASH: -5, A.FEES: 5}),
        (M.FEE_GIVEN_BACK, {A.CASH: 5, A.FEES: -5}),
    ],
)
def test_what_each_movement_does(movement: Movement, moves: dict[Account, int]) -> None:
    """Both sides of the books move by the same, for whatever is moved."""
    assert figures(Moved(movement, 5)) == moves
    ours = sum(amount for account, amount in moves.items() if account in BY_DEBIT)
    assert ours == sum(amount for account, amount in moves.items() if account not in BY_DEBIT)


def test_every_step_is_told() -> None:
    assert set(STEPS) == {(a, b) for a in (None, *Stage) for b in Stage if a is not b}
    assert set(REFUND_STEPS) == {(a, b) for a in (None, *Returning) for b in Returning if a is not b}
    assert {M.FEE_TAKEN, M.FEE_GIVEN_BACK} | {M.ALLOCATED, M.FREED, M.CREDITED, M.CREDIT_USED} | {
        each for moves in (*STEPS.values(), *REFUND_STEPS.values()) for each in moves
    } == set(MOVEMENTS)


@pytest.mark.parametrize(
    ("before", "after", "moves"),
    [
        (P.DUE, P.SUBMITTED, []),
        (P.SUBMITTED, P.CONFIRMED, [M.CLEARED, M.RECEIVED]),
        (P.CONFIRMED, P.PAID_OUT, []),
        (P.SUBMITTED, P.FAILED, []),
        (P.PAID_OUT, P.FAILED, [M.RETURNED, M.CHARGED_AGAIN]),
        (P.CONFIRMED, P.CHARGED_BACK, [M.RETURNED, M.CHARGED_AGAIN]),
        (P.CHARGED_BACK, P.CONFIRMED, [M.CLEARED, M.RECEIVED]),
        (P.DUE, P.CANCELLED, [M.CHARGE_DROPPED]),
        (P.CANCELLED, P.CONFIRMED, [M.RECEIVED]),
        (P.FAILED, P.CARRIED, [M.CHARGE_DROPPED]),
        (P.FAILED, P.WRITTEN_OFF, [M.CHARGE_DROPPED]),
        (P.CARRIED, P.DUE, [M.CHARGED_AGAIN]),
    ],
)
def test_what_a_fees_status_moves(before: PaymentStatus, after: PaymentStatus, moves: list[Movement]) -> None:
    fee = PaymentPurpose.MEMBERSHIP_FEE
    assert steps(stage(before, fee), stage(after, fee), 700) == [Moved(movement, 700) for movement in moves]


def test_a_booking_whose_charge_failed_owes_nothing() -> None:
    """It is released, and not asked for again."""
    assert stage(P.FAILED, PaymentPurpose.BOOKING) is Stage.OFF
    assert stage(P.CHARGED_BACK, PaymentPurpose.BOOKING) is Stage.OWED


def test_what_a_refund_moves() -> None:
    assert refund_steps(Returning.ASKED, Returning.PAID, 3) == [Moved(M.PAID_BACK, 3)]
    assert refund_steps(Returning.PAID, Returning.OFF, 3) == [Moved(M.PAID_IN_AGAIN, 3), Moved(M.REFUND_FAILED, 3)]
    assert refund_steps(Returning.ASKED, Returning.ASKED, 3) == []


def test_money_is_freed_before_it_goes_and_allocated_after_it_came() -> None:
    assert with_purpose([Moved(M.RETURNED, 5)], 5, 0) == [Moved(M.FREED, 5), Moved(M.RETURNED, 5)]
    assert with_purpose([Moved(M.RECEIVED, 5)], 0, 4) == [Moved(M.RECEIVED, 5), Moved(M.ALLOCATED, 4)]


def test_an_invoice_moves_by_what_differs() -> None:
    assert mirrored(Mirrored(), Mirrored(50, 0, -10)) == [Moved(M.RECEIVED, 50), Moved(M.CREDIT_USED, 10)]
    assert mirrored(Mirrored(50, 0, 0), Mirrored(50, 20, 5)) == [
        Moved(M.REFUNDED, 20),
        Moved(M.PAID_BACK, 20),
        Moved(M.CREDITED, 5),
    ]
    assert mirrored(Mirrored(50, 20, 5), Mirrored(30, 0, 5)) == [
        Moved(M.RETURNED, 20),
        Moved(M.PAID_IN_AGAIN, 20),
        Moved(M.REFUND_FAILED, 20),
    ]


def test_the_equation_in_figures() -> None:
    assert Books("GBP", 50_00, 25_00, 20_00, 0, 5_00).equation == "50.00 = 25.00 + 20.00 + 0.00 + 5.00"
    broken = Books("JPY", 60, 50)
    assert (broken.holds, broken.equation) == (False, "60 ≠ 50 + 0 + 0 + 0")
    differs = Break(Check.RECEIVED, "Invoice", new_id(), None, Provider.STRIPE, 50, 60, broken)
    assert told([differs]) == "60 ≠ 50 + 0 + 0 + 0 JPY: 50 was received in the books, 60 by the row."
    assert not Proof((Books("JPY"),), (differs,)).holds
    assert Proof((), ()).equation == "0"


AMOUNT = 100


@dataclass
class Payment:
    """A fee as the rules move it: its status, its refunds, and all it moved."""

    status: PaymentStatus = PaymentStatus.DUE
    refunds: list[tuple[RefundStatus, int]] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=lambda: steps(None, Stage.OWED, AMOUNT))

    def move(self, moves: list[Moved]) -> None:
        received = AMOUNT if self.status in (P.CONFIRMED, P.PAID_OUT) else 0
        wanted = max(received - self.given_back, 0)
        self.moved += with_purpose(moves, balances(self.moved)[A.ALLOCATED], wanted)

    @property
    def given_back(self) -> int:
        return sum(amount for status, amount in self.refunds if status is not RefundStatus.FAILED)

    def news(self, outcome: PaymentOutcome) -> None:
        after = settled(self.status, outcome)
        if after is not None:
            fee = PaymentPurpose.MEMBERSHIP_FEE
            before, self.status = stage(self.status, fee), after
            self.move(steps(before, stage(after, fee), AMOUNT))

    def refund(self, amount: int) -> None:
        if amount <= refundable(self.status, AMOUNT, self.refunds):
            self.refunds.append((RefundStatus.DUE, amount))
            self.move(refund_steps(None, Returning.ASKED, amount))

    def refund_news(self, outcome: RefundOutcome) -> None:
        for number, (status, amount) in enumerate(self.refunds):
            after = refund_settled(status, outcome)
            if after is not None:
                self.refunds[number] = (after, amount)
                self.move(refund_steps(RETURNING[status], RETURNING[after], amount))
                return


happens = st.one_of(st.sampled_from(PaymentOutcome), st.sampled_from(RefundOutcome), st.integers(1, AMOUNT))


@given(st.lists(happens, max_size=30))
def test_whatever_happens_to_a_payment_the_books_balance(story: list[PaymentOutcome | RefundOutcome | int]) -> None:
    """Held is never below nothing, unless what was given back is taken back by the bank as well: that shows there."""
    fee = Payment()
    for what in story:
        match what:
            case PaymentOutcome():
                fee.news(what)
            case RefundOutcome():
                fee.refund_news(what)
            case amount:
                fee.refund(amount)
        has = balances(fee.moved)
        received = AMOUNT if fee.status in (P.CONFIRMED, P.PAID_OUT) else 0
        assert has[A.CASH] + has[A.FEES] + has[A.PAID_BACK] == received
        assert received == has[A.ALLOCATED] + has[A.REFUNDED] + has[A.CREDIT] + has[A.HELD]
        assert (
            has[A.RECEIVABLE]
            == has[A.CHARGED]
            == (AMOUNT if stage(fee.status, PaymentPurpose.PACKAGE) is Stage.OWED else 0)
        )
        assert has[A.REFUNDED] == fee.given_back
        assert has[A.HELD] == min(received - fee.given_back, 0)
