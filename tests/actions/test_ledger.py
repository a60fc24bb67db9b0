"""Money in balance: every movement is written down, proved against the rows, and what breaks is not shipped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import pytest
from tortoise.exceptions import IntegrityError

from models.actions import (
    bookings,
    cancellations,
    invoices,
    ledger,
    memberships,
    money_proof,
    moves,
    offers,
    payments,
    refunds,
    reviews,
    shipments,
)
from models.actions.transaction import transaction
from models.actions.unit import unit
from models.rules.booking import Method
from models.rules.facts import FeesTaken
from models.rules.invoicing import Kind, Mark
from models.rules.ledger import Movement
from models.rules.lifecycle import Cause
from models.rules.proof import Check
from models.rules.refusals import Code, Refusal
from models.rules.states import (
    PaymentOutcome,
    PaymentPurpose,
    PaymentStatus,
    Provider,
    RefundOutcome,
    ReviewKind,
    ReviewState,
)
from models.tables.booking import Booking, BookingLine
from models.tables.coursepro import ReviewItem
from models.tables.invoice import Allocation, Invoice, Shipment
from models.tables.ledger import LedgerEntry
from models.tables.payment import Payment, Refund
from models.tables.row import new_id
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    a_centre,
    a_course,
    a_fee,
    a_member_with_card,
    a_membership,
    a_name,
    a_package,
    a_package_offer,
    a_subscriber,
    attend,
    nothing_written,
    refused,
    sql,
    tell,
)

pytestmark = pytest.mark.usefixtures("database")
END = NOW + WEEK
Out, R, M = PaymentOutcome, RefundOutcome, Movement
BY_NOW: dict[str, Any] = {"acting": BY, "at": NOW}


@pytest.fixture(autouse=True)
async def balanced(database: None) -> Any:
    """After each test all books hold, whatever happened in it."""
    yield
    proof = await money_proof.prove()
    assert proof.holds, (proof.equation, [(each.subject, each.because) for each in proof.breaks])


async def entries(about: Payment | Invoice) -> list[tuple[Movement, int]]:
    """What moved, in the order it was written."""
    column = "payment_id" if isinstance(about, Payment) else "invoice_id"
    return [(each.movement, each.amount) for each in await LedgerEntry.filter(**{column: about.id}).order_by("id")]


async def equation(about: Payment | Invoice) -> str:
    proof = await money_proof.prove((type(about).__name__, about.id))
    assert not proof.breaks, [each.because for each in proof.breaks]
    return proof.equation


async def settle(payment: Payment, outcome: PaymentOutcome) -> bool:
    return await payments.settle(payment.id, outcome, reference=f"PM{payment.id}", **BY_NOW)


async def booked(price: int = 80_00, **course: Any) -> tuple[Booking, Payment]:
    user = await a_member_with_card()
    found = await a_course(future=8, price=price, **course)
    booking = await bookings.book_course(user_id=user.id, course_id=found.id, method=Method.PAYMENT, **BY_NOW)
    return booking, await Payment.get(booking_id=booking.id)


# -- bookings ----------------------------------------------------------------------------------------------------------


async def test_a_booking_is_charged_received_and_given_back() -> None:
    booking, payment = await booked()
    assert await entries(payment) == [(M.CHARGED, 80_00)]
    assert await equation(payment) == "0.00 = 0.00 + 0.00 + 0.00 + 0.00 GBP", "nothing is received yet"
    await settle(payment, Out.CONFIRMED)
    await settle(payment, Out.PAID_OUT)
    assert await entries(payment) == [(M.CHARGED, 80_00), (M.CLEARED, 80_00), (M.RECEIVED, 80_00), (M.ALLOCATED, 80_00)]
    assert await equation(payment) == "80.00 = 80.00 + 0.00 + 0.00 + 0.00 GBP"

    await cancellations.cancel_booking(booking.id, acting=BY, at=NOW + 2 * WEEK)  # two of eight were held
    assert (await entries(payment))[4:] == [(M.FREED, 60_00), (M.REFUNDED, 60_00)]
    made = await Refund.get(payment_id=payment.id)
    await refunds.settle(made.id, R.SUCCEEDED, reference="re_1", **BY_NOW)
    await refunds.settle(made.id, R.FAILED, **BY_NOW)
    assert (await entries(payment))[6:] == [(M.PAID_BACK, 60_00), (M.PAID_IN_AGAIN, 60_00), (M.REFUND_FAILED, 60_00)]
    assert await equation(payment) == "80.00 = 20.00 + 0.00 + 0.00 + 60.00 GBP", "it pays for no class any more"
    key = {each.key for each in await LedgerEntry.filter(payment_id=payment.id)}
    assert len(key) == 9


async def test_a_charge_nobody_was_asked_for_is_dropped() -> None:
    booking, payment = await booked()
    await cancellations.cancel_booking(booking.id, **BY_NOW)
    assert await entries(payment) == [(M.CHARGED, 80_00), (M.CHARGE_DROPPED, 80_00)]


async def test_money_that_comes_for_a_released_booking_goes_back() -> None:
    _, payment = await booked()
    await settle(payment, Out.FAILED)
    await settle(payment, Out.CONFIRMED)
    assert await entries(payment) == [
        (M.CHARGED, 80_00),
        (M.CHARGE_DROPPED, 80_00),
        (M.RECEIVED, 80_00),
        (M.REFUNDED, 80_00),
    ]


async def test_money_moves_along_with_its_booking() -> None:
    """A third of it is carried, and stays allocated by the payment it came by; what the next one lacks is charged."""
    booking, first = await booked(80_00)
    await settle(first, Out.CONFIRMED)
    cheap, dear = await a_course(future=3, price=30_00), await a_course(future=4, price=100_00)
    second = await moves.move_booking(booking.id, cheap.id, **BY_NOW)
    assert (await entries(first))[4:] == [(M.FREED, 50_00), (M.REFUNDED, 50_00)]
    third = await moves.move_booking(second.id, dear.id, **BY_NOW)
    assert len(await entries(first)) == 6, "the same 30.00 pay for the dear one"
    last = await Payment.get(booking_id=third.id)
    assert (third.carried, await entries(last)) == (30_00, [(M.CHARGED, 70_00)])
    await settle(last, Out.CONFIRMED)
    both = await money_proof.prove(("User", booking.user_id))
    assert (both.equation, both.holds) == ("150.00 = 100.00 + 50.00 + 0.00 + 0.00 GBP", True)

    await settle(first, Out.CHARGED_BACK)
    broken = await money_proof.prove(("Payment", first.id))
    assert [(each.check, each.because) for each in broken.breaks] == [
        (Check.HELD, "-50.00 is held: more went than came")
    ], "the bank took back what had been refunded: somebody has to know"
    await settle(first, Out.CONFIRMED)
    assert await Refund.filter(payment_id=first.id).count() == 1, "what the newest booking lives on is not given back"
    await cancellations.cancel_booking(third.id, **BY_NOW)
    assert await equation(first) == "80.00 = 0.00 + 80.00 + 0.00 + 0.00 GBP"
    assert await equation(last) == "70.00 = 0.00 + 70.00 + 0.00 + 0.00 GBP"


# -- fees and packages -------------------------------------------------------------------------------------------------


async def test_a_fee_goes_up_and_down_as_its_bank_says() -> None:
    fee = await a_fee(await a_membership())
    for outcome in (
        Out.SUBMITTED,
        Out.CONFIRMED,
        Out.FAILED,
        Out.SUBMITTED,
        Out.CONFIRMED,
        Out.CHARGED_BACK,
        Out.CONFIRMED,
    ):
        assert await settle(fee, outcome)
        assert not await settle(fee, outcome)
    up = [(M.CLEARED, 35_00), (M.RECEIVED, 35_00), (M.ALLOCATED, 35_00)]
    down = [(M.FREED, 35_00), (M.RETURNED, 35_00), (M.CHARGED_AGAIN, 35_00)]
    assert await entries(fee) == [(M.CHARGED, 35_00), *up, *down, *up, *down, *up]
    assert await equation(fee) == "35.00 = 35.00 + 0.00 + 0.00 + 0.00 GBP"


async def test_money_of_an_ended_membership_is_held_until_somebody_decides() -> None:
    membership = await a_membership()
    fee = await a_fee(membership)
    await payments.begin_collection(fee.id, **BY_NOW)
    await settle(fee, Out.SUBMITTED)
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, **BY_NOW)
    await settle(fee, Out.CONFIRMED)
    assert await entries(fee) == [(M.CHARGED, 35_00), (M.CLEARED, 35_00), (M.RECEIVED, 35_00)]
    assert await equation(fee) == "35.00 = 0.00 + 0.00 + 0.00 + 35.00 GBP"
    made = await refunds.refund_payment(fee.id, amount=10_00, reason="kept the rest", **BY_NOW)
    assert (await entries(fee))[3:] == [(M.REFUNDED, 10_00), (M.ALLOCATED, 25_00)]
    await refunds.settle(made.id, R.FAILED, **BY_NOW)
    assert (await entries(fee))[5:] == [(M.FREED, 25_00), (M.REFUND_FAILED, 10_00)], "the question is open again"
    asked = await ReviewItem.get(subject=str(fee.id))
    await reviews.settle_review(asked.id, answer="the term was used", **BY_NOW)
    assert (await entries(fee))[7:] == [(M.ALLOCATED, 35_00)]


async def test_a_package_pays_for_credits() -> None:
    user, offer = await a_member_with_card(), await a_package_offer(50_00)
    ids: dict[str, Any] = {"package_offer_id": offer.id, "user_id": user.id, "centre_id": (await a_centre()).id}
    package = await offers.buy_package(**ids, **BY_NOW)
    payment = await Payment.get(package_id=package.id)
    await settle(payment, Out.CONFIRMED)
    await refunds.refund_payment(payment.id, amount=20_00, reason="goodwill", **BY_NOW)
    assert await equation(payment) == "50.00 = 30.00 + 20.00 + 0.00 + 0.00 GBP"
    await settle(payment, Out.FAILED)
    made = await Refund.get(payment_id=payment.id)
    assert await refunds.begin_refund(made.id, **BY_NOW) is None, "it was not sent yet, and is dropped"
    assert await entries(payment) == [
        (M.CHARGED, 50_00),
        (M.CLEARED, 50_00),
        (M.RECEIVED, 50_00),
        (M.ALLOCATED, 50_00),
        (M.FREED, 20_00),
        (M.REFUNDED, 20_00),
        (M.FREED, 30_00),
        (M.RETURNED, 50_00),
        (M.CHARGED_AGAIN, 50_00),
        (M.REFUND_FAILED, 20_00),
    ]


async def test_what_a_provider_keeps_is_written_once_and_may_come_back() -> None:
    fee = await a_fee(await a_membership())
    await settle(fee, Out.CONFIRMED)
    told: dict[str, Any] = {"provider": "GOCARDLESS", "currency": "GBP", "occurred_at": NOW}
    for reference, kept in (("PO1", 55), ("PO1", 55), ("PO2", -55)):
        await tell(FeesTaken(reference=reference, fees=((f"PM{fee.id}", kept), ("PM of others", 1)), **told))
    await tell(FeesTaken(**{**told, "currency": "EUR"}, reference="PO3", fees=((f"PM{fee.id}", 1),)))
    assert (await entries(fee))[4:] == [(M.FEE_TAKEN, 55), (M.FEE_GIVEN_BACK, 55)]
    await tell(FeesTaken(reference="PO4", fees=((f"PM{fee.id}", 60),), **told))
    (sums,) = (await money_proof.prove(("Payment", fee.id))).sums
    assert (sums.fees, sums.equation) == (60, "35.00 = 35.00 + 0.00 + 0.00 + 0.00"), "a fee changes nothing of that"


async def test_who_tells_the_same_at_once_moves_it_once() -> None:
    fee = await a_fee(await a_membership())
    await asyncio.gather(*(settle(fee, Out.CONFIRMED) for _ in range(4)))
    await asyncio.gather(*(refunds.refund_payment(fee.id, amount=10_00, reason="x", **BY_NOW) for _ in range(3)))
    assert await equation(fee) == "35.00 = 5.00 + 30.00 + 0.00 + 0.00 GBP"


# -- subscription invoices ---------------------------------------------------------------------------------------------


async def test_an_invoice_is_received_spread_refunded_and_credited() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    assert await entries(invoice) == [(M.RECEIVED, 50_00), (M.ALLOCATED, 50_00)]
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    await attend(clinic.seat(2, NOW + 2 * DAY, Mark.DNA))
    assert len(await entries(invoice)) == 2, "other classes, the same money"
    await tell(clinic.invoiced(50_00, amount_refunded=20_00))
    assert (await entries(invoice))[2:] == [(M.FREED, 20_00), (M.REFUNDED, 20_00), (M.PAID_BACK, 20_00)]
    await tell(clinic.invoiced(50_00, amount_refunded=0))
    assert (await entries(invoice))[5:] == [(M.PAID_IN_AGAIN, 20_00), (M.REFUND_FAILED, 20_00), (M.ALLOCATED, 20_00)]
    assert await equation(invoice) == "50.00 = 50.00 + 0.00 + 0.00 + 0.00 GBP"


async def test_an_invoice_of_nobody_holds_its_money() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(50_00, subscription_id=None))
    invoice = await clinic.invoice()
    assert await equation(invoice) == "50.00 = 0.00 + 0.00 + 0.00 + 50.00 GBP"
    await tell(clinic.invoiced(50_00))
    assert await entries(invoice) == [(M.RECEIVED, 50_00), (M.ALLOCATED, 50_00)]
    assert (await money_proof.prove(("User", clinic.user.id))).equation == "50.00 = 50.00 + 0.00 + 0.00 + 0.00 GBP"


async def test_credit_is_left_by_one_invoice_and_used_by_the_next() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(50_00), clinic.invoiced(40_00, name="2", start=END, end=END + WEEK))
    first, second = await clinic.invoice(), await clinic.invoice("2")
    await mirrored(first, credited=10_00)
    await mirrored(second, credit_used=10_00)
    assert await equation(first) == "50.00 = 40.00 + 0.00 + 10.00 + 0.00 GBP"
    assert await equation(second) == "40.00 = 40.00 + 0.00 + -10.00 + 10.00 GBP", "as long as it is spread over 40.00"
    whole = await money_proof.prove(("User", clinic.user.id))
    assert whole.equation == "90.00 = 80.00 + 0.00 + 0.00 + 10.00 GBP"


async def mirrored(invoice: Invoice, **figures: int) -> None:
    """The invoice's row as its provider would have it."""
    async with unit(**BY_NOW) as work:
        locked = await Invoice.filter(id=invoice.id).select_for_update().get()
        await locked.update_from_dict(figures).save()
        await ledger.invoice_mirrored(work, locked)


async def test_money_that_goes_back_after_billing_off_is_freed() -> None:
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    await mirrored(invoice, amount_refunded=20_00)
    assert await equation(invoice) == "50.00 = 30.00 + 20.00 + 0.00 + 0.00 GBP", "the version billed off stays"


# -- breaks ------------------------------------------------------------------------------------------------------------


async def ship(invoice: Invoice) -> Any:
    return await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)


async def questions(about: UUID) -> list[tuple[ReviewState, str]]:
    found = ReviewItem.filter(kind=ReviewKind.MONEY_BREAK, subject=str(about)).order_by("id")
    return [(each.state, each.evidence["equation"]) for each in await found]


async def test_a_tampered_invoice_is_found_stopped_repaired_and_shipped() -> None:
    clinic, other = await a_subscriber(), await a_subscriber()
    for each in (clinic, other):
        await attend(each.seat(1, NOW + DAY), each.seat(2, NOW + 2 * DAY))
        await tell(each.invoiced(50_00))
    invoice, sound = await clinic.invoice(), await other.invoice()
    paid = "UPDATE invoice SET amount_paid = $2 WHERE id = $1"

    await sql(paid, invoice.id, 60_00)
    async with refused(Code.MONEY_BREAK, "invoiceId"):
        await invoices.bill_off(invoice.id, acting=BY, at=END)
    await sql(paid, invoice.id, 50_00)
    for billed in (invoice, sound):
        await invoices.bill_off(billed.id, acting=BY, at=END)

    shares = "UPDATE allocation_share SET amount = amount + $2 WHERE allocation_id IN (SELECT id FROM allocation"
    shares += " WHERE invoice_id = $1 AND current) AND position = 1"
    await sql(shares, invoice.id, -5_00)
    async with refused(Code.MONEY_BREAK, "invoiceId"):
        await ship(invoice)
    with pytest.raises(Refusal) as caught:
        await ship(invoice)
    assert caught.value.message.startswith(
        "50.00 ≠ 45.00 + 0.00 + 0.00 + 0.00 GBP: 50.00 is allocated in the books, 45.00"
    )
    assert await ship(sound) is not None, "another one is not stopped by it"
    assert await money_proof.unsound([invoice.id, sound.id]) == {invoice.id}

    for _ in range(2):
        found = await money_proof.prove_books(acting=BY, at=END)
        assert {(each.check, each.subject_id) for each in found.breaks} == {
            (Check.ALLOCATED, invoice.id),
            (Check.SHARES, invoice.id),
        }
    assert await questions(invoice.id) == [(ReviewState.OPEN, "50.00 ≠ 45.00 + 0.00 + 0.00 + 0.00 GBP")], "asked once"
    await sql(shares, invoice.id, 5_00)
    await money_proof.prove_books(acting=BY, at=END)
    assert [state for state, _ in await questions(invoice.id)] == [ReviewState.DROPPED]
    outgoing = await ship(invoice)
    assert [item.amount for item in outgoing.items] == [25_00, 25_00]
    assert [row.state for row in await Shipment.filter(invoice_id=invoice.id)] == ["SENDING"]


class _Undone(Exception):
    """Rolls back."""


@asynccontextmanager
async def undone() -> AsyncIterator[None]:
    """Whatever is written inside is rolled back at its end."""
    with suppress(_Undone):
        async with transaction():
            yield
            raise _Undone


_STRAY = """
INSERT INTO ledger_entry
  (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at, payment_id)
VALUES (gen_random_uuid(), now(), now(), 'stray', {}, 100, '{}', now(), $1)
"""


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        ("UPDATE payment SET amount = 3600 WHERE id = $1", {Check.RECEIVED, Check.ALLOCATED}),
        (
            "UPDATE payment SET status = 'FAILED' WHERE id = $1",
            {Check.RECEIVED, Check.ALLOCATED, Check.RECEIVABLE},
        ),
        (
            "UPDATE refund SET amount = 900 WHERE payment_id = $1",
            {Check.REFUNDED, Check.PAID_BACK, Check.ALLOCATED},
        ),
        (_STRAY.format("'ALLOCATED', 'HELD', 'CREDIT'", "GBP"), {Check.ENTRIES, Check.HELD}),
        (_STRAY.format("'RECEIVED', 'CASH', 'HELD'", "EUR"), {Check.ENTRIES}),
        (_STRAY.format("'RECEIVED', 'CASH', 'HELD'", "GBP"), {Check.RECEIVED}),
    ],
)
async def test_each_row_that_is_changed_by_hand_is_found(spoil: str, found: set[Check]) -> None:
    fee = await a_fee(await a_membership())
    await settle(fee, Out.CONFIRMED)
    made = await refunds.refund_payment(fee.id, amount=10_00, reason="x", **BY_NOW)
    await refunds.settle(made.id, R.SUCCEEDED, reference=a_name("re"), **BY_NOW)
    async with undone():
        await sql(spoil, fee.id)
        for about in (("Payment", fee.id), ("User", fee.user_id), None):
            proof = await money_proof.prove(about)
            assert ({each.check for each in proof.breaks}, proof.holds) == (found, False)
            assert {each.subject_id for each in proof.breaks} == {fee.id}


async def test_entries_stay_as_they_were_written() -> None:
    fee = await a_fee(await a_membership())
    with pytest.raises(IntegrityError, match="never changed"):
        await LedgerEntry.filter(payment_id=fee.id).update(amount=1)
    with pytest.raises(IntegrityError, match="never changed"):
        await LedgerEntry.filter(payment_id=fee.id).delete()


# -- rows of an earlier version ----------------------------------------------------------------------------------------


async def an_old(payment: dict[str, Any]) -> Payment:
    """A payment as it was written before there were books."""
    payment_id = new_id()
    made = await Payment.create(
        id=payment_id,
        provider=Provider.STRIPE,
        currency="GBP",
        due_on=NOW.date(),
        key=f"payment:{payment_id}:1",
        **payment,
    )
    await sql("UPDATE payment SET created_at = '2026-01-01' WHERE id = $1", payment_id)
    return made


async def test_what_was_there_before_the_books_is_opened_once() -> None:
    """As it stands: what was received, what of it is to go back, what a booking still lives on."""
    user = await a_member_with_card()
    await a_package(user)
    course = await a_course(future=8)
    booking = await bookings.book_course(user_id=user.id, course_id=course.id, method=Method.PACKAGE, **BY_NOW)
    await sql("UPDATE booking_line SET settled_by = 'CHARGE' WHERE booking_id = $1", booking.id)
    await BookingLine.filter(booking_id=booking.id, class_session__starts_at__gt=NOW + 2 * WEEK).update(
        given_back_at=NOW
    )
    for_booking = {"user_id": user.id, "purpose": PaymentPurpose.BOOKING, "booking_id": booking.id, "amount": 80_00}
    payment = await an_old({**for_booking, "status": PaymentStatus.PAID_OUT})
    await Refund.create(
        payment_id=payment.id, user_id=user.id, provider="STRIPE", amount=60_00, currency="GBP", reason="x", key="old"
    )
    of = (await a_membership(user)).id
    fee = {"user_id": user.id, "purpose": PaymentPurpose.MEMBERSHIP_FEE, "membership_id": of, "amount": 35_00}
    owed = await an_old(fee)
    moves_first = await an_old(fee)
    clinic = await a_subscriber()
    period: dict[str, Any] = {
        "period_start": NOW,
        "period_end": END,
        "currency": "GBP",
        "status": "PAID",
        "provider": "STRIPE",
    }
    invoice = await Invoice.create(
        external_id=a_name("in"),
        user_id=clinic.user.id,
        attendee_id=clinic.user.id,
        amount_paid=50_00,
        amount_refunded=20_00,
        **period,
    )
    await Allocation.create(invoice_id=invoice.id, version=1, kind=Kind.AD_HOC, amount=30_00, currency="GBP")
    await sql("UPDATE invoice SET created_at = '2026-01-01' WHERE id = $1", invoice.id)

    assert (await money_proof.prove()).holds, "not opened yet is not broken"
    await settle(moves_first, Out.CONFIRMED)
    assert await entries(moves_first) == [(M.RECEIVED, 35_00), (M.ALLOCATED, 35_00)], "as it stands after that"
    await ledger.open_books(**BY_NOW)
    assert sorted(await entries(payment)) == [(M.ALLOCATED, 20_00), (M.RECEIVED, 80_00), (M.REFUNDED, 60_00)]
    assert await entries(owed) == [(M.CHARGED, 35_00)]
    back = [(M.ALLOCATED, 30_00), (M.PAID_BACK, 20_00), (M.RECEIVED, 50_00), (M.REFUNDED, 20_00)]
    assert sorted(await entries(invoice)) == back
    async with nothing_written():
        await ledger.open_books(**BY_NOW)
    await settle(owed, Out.CONFIRMED)
    assert (await entries(owed))[1:] == [(M.CLEARED, 35_00), (M.RECEIVED, 35_00), (M.ALLOCATED, 35_00)]

    async with undone():
        forgotten = await an_old({**fee, "period_start": None})
        await sql("UPDATE payment SET created_at = now() WHERE id = $1", forgotten.id)
        breaks = (await money_proof.prove()).breaks
        assert [each.check for each in breaks] == [Check.RECEIVABLE], "younger than the books, and not in them"
