"""Money given back: never more than was received, however many ask at once; a refund that fails gave nothing back."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from models.actions import payments, refunds
from models.actions.inbound import apply
from models.actions.unit import unit
from models.ports import RefundOrder
from models.rules.facts import RefundFact
from models.rules.refusals import Code, Refusal
from models.rules.states import (
    REFUND_SETTLEMENTS,
    PaymentOutcome,
    PaymentStatus,
    Provider,
    RefundOutcome,
    RefundStatus,
    refund_settled,
)
from models.tables.payment import Payment, Refund
from models.tables.row import new_id
from tests.build import BY, NOW, a_fee, a_membership, a_name, happening, nothing_written, refused

pytestmark = pytest.mark.usefixtures("database")
Out, S = RefundOutcome, RefundStatus


async def received(outcome: PaymentOutcome = PaymentOutcome.CONFIRMED) -> Payment:
    """A fee of 35.00 that was taken."""
    fee = await a_fee(await a_membership())
    await payments.settle(fee.id, outcome, reference=a_name("PM"), acting=BY, at=NOW)
    return await Payment.get(id=fee.id)


async def give_back(payment: Payment, amount: int | None = None, **options: Any) -> Refund:
    return await refunds.refund_payment(
        payment.id, amount=amount, reason="Pool shut", acting="key:office", at=NOW, **options
    )


async def settle(made: Refund, outcome: RefundOutcome, **options: Any) -> bool:
    return await refunds.settle(made.id, outcome, acting=BY, at=NOW, **options)


async def statuses(payment: Payment) -> list[tuple[int, RefundStatus]]:
    return [(each.amount, each.status) for each in await Refund.filter(payment_id=payment.id).order_by("id")]


# -- asked for --------------------------------------------------------------------------------------------------------


async def test_a_part_is_given_back_by_a_job_of_its_payment() -> None:
    payment = await received()
    async with happening() as seen:
        made = await give_back(payment, 10_00, currency="GBP")
    assert (made.amount, made.currency, made.status, made.reason) == (10_00, "GBP", S.DUE, "Pool shut")
    assert (made.key, made.user_id, made.provider) == (f"refund:{made.id}:1", payment.user_id, Provider.GOCARDLESS)
    assert seen.events == ["RefundDue"]
    ids = {"payment_id": str(payment.id), "refund_id": str(made.id), "user_id": str(payment.user_id)}
    assert [(job.kind, job.subject, job.payload) for job in seen.jobs if job.kind != "live.publish"] == [
        ("payments.refund", f"payments.refund:{payment.id}", ids)
    ]
    assert [(entry.actor, entry.verb, entry.subject_id, entry.after, entry.because) for entry in seen.audit] == [
        ("key:office", "refund_payment", made.id, {"payment_id": str(payment.id), "amount": 10_00}, ["Pool shut"])
    ]
    assert await refunds.refundable(payment.id) == 25_00
    assert (await Payment.get(id=payment.id)).status is PaymentStatus.CONFIRMED, "a refund is not the payment's status"


async def test_without_an_amount_all_that_is_left_is_given_back() -> None:
    payment = await received(PaymentOutcome.PAID_OUT)
    await give_back(payment, 10_00)
    assert (await give_back(payment)).amount == 25_00
    assert await refunds.refundable(payment.id) == 0
    async with refused(Code.REFUND_TOO_LARGE, "amount"):
        await give_back(payment)


async def test_never_more_than_is_left() -> None:
    payment = await received()
    async with refused(Code.REFUND_TOO_LARGE, "amount"):
        await give_back(payment, 35_01)
    await give_back(payment, 35_00)
    with pytest.raises(Refusal) as over:
        await give_back(payment, 1)
    assert over.value.message.startswith("0.00 GBP is left of this payment.")


@pytest.mark.parametrize("amount", [0, -1])
async def test_a_refund_is_more_than_nothing(amount: int) -> None:
    payment = await received()
    async with refused(Code.INVALID_INPUT, "amount"):
        await give_back(payment, amount)


async def test_only_money_that_was_received_and_in_its_own_currency() -> None:
    payment = await received()
    for status in set(PaymentStatus) - {PaymentStatus.CONFIRMED, PaymentStatus.PAID_OUT}:
        await Payment.filter(id=payment.id).update(status=status)
        assert await refunds.refundable(payment.id) == 0
        async with refused(Code.PAYMENT_NOT_REFUNDABLE, "paymentId"):
            await give_back(payment, 1)
    await Payment.filter(id=payment.id).update(status=PaymentStatus.CONFIRMED)
    async with refused(Code.CURRENCY_MISMATCH, "amount", "currency"):
        await give_back(payment, 1, currency="EUR")
    async with refused(Code.NOT_FOUND, "paymentId"):
        await refunds.refund_payment(new_id(), reason="x", acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "paymentId"):
        await refunds.refundable(new_id())


async def test_twenty_at_once_never_give_back_more_than_was_received() -> None:
    payment = await received()
    done = await asyncio.gather(*(give_back(payment, 10_00) for _ in range(20)), return_exceptions=True)
    refusals = [each for each in done if isinstance(each, Refusal)]
    assert len(refusals) == 17
    assert {each.code for each in refusals} == {Code.REFUND_TOO_LARGE}
    assert await statuses(payment) == [(10_00, S.DUE)] * 3
    assert await refunds.refundable(payment.id) == 5_00


async def test_inside_another_actions_unit_it_is_undone_with_it() -> None:
    payment = await received()

    async def cancel_and_fail() -> None:
        async with unit(acting=BY, at=NOW) as work:
            await refunds.refund(work, payment.id, 10_00, reason="booking cancelled")
            raise ZeroDivisionError

    async with nothing_written():
        with pytest.raises(ZeroDivisionError):
            await cancel_and_fail()
    async with happening() as seen, unit(acting=BY, at=NOW) as work:
        made = await refunds.refund(work, payment.id, 10_00, reason="booking cancelled")
    assert (seen.events, made.reason) == (["RefundDue"], "booking cancelled")


# -- sent -------------------------------------------------------------------------------------------------------------


async def begin(made: Refund) -> RefundOrder | None:
    attempt = await refunds.begin_refund(made.id, acting=BY, at=NOW)
    return attempt.order if attempt else None


async def test_the_order_counts_what_the_provider_gives_back_already() -> None:
    payment = await received()
    first, second = await give_back(payment, 10_00), await give_back(payment, 5_00)
    await settle(first, Out.SUBMITTED, reference=a_name("RF"))
    assert await begin(second) == RefundOrder(
        refund_id=second.id,
        payment_reference=payment.reference or "",
        key=second.key,
        amount=5_00,
        currency="GBP",
        refunded_so_far=10_00,
        metadata={"refund_id": str(second.id)},
    )
    assert await begin(first) is None, "it is on its way"
    await settle(first, Out.FAILED)
    again = await begin(second)
    assert again is not None
    assert again.refunded_so_far == 0


async def test_a_refund_of_money_that_failed_meanwhile_is_dropped() -> None:
    payment = await received()
    made = await give_back(payment, 10_00)
    await payments.settle(payment.id, PaymentOutcome.FAILED, acting=BY, at=NOW)
    async with happening() as seen:
        assert await begin(made) is None
    row = await Refund.get(id=made.id)
    assert (row.status, row.failure, row.attempts) == (S.FAILED, "PAYMENT_NOT_RECEIVED", 0)
    assert (seen.events, seen.verbs) == (["RefundUpdated"], ["drop_refund"])


async def test_one_that_may_have_been_sent_is_looked_for_whatever_became_of_the_payment() -> None:
    payment = await received()
    made = await give_back(payment, 10_00)
    await begin(made)
    await refunds.outcome_unknown(made.id, code="TIMEOUT", acting=BY, at=NOW)
    await payments.settle(payment.id, PaymentOutcome.CHARGED_BACK, acting=BY, at=NOW)
    attempt = await refunds.begin_refund(made.id, acting=BY, at=NOW)
    assert attempt is not None
    assert (attempt.look_first, attempt.answered_error) == (True, False)


async def test_a_fresh_key_is_stored_and_counted() -> None:
    made = await give_back(await received(), 10_00)
    order = await refunds.fresh_key(made.id, acting=BY, at=NOW)
    row = await Refund.get(id=made.id)
    assert (order.key, row.key, row.generation) == (f"refund:{made.id}:2", f"refund:{made.id}:2", 2)


# -- settled ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", list(Out))
@pytest.mark.parametrize("status", list(S))
async def test_every_status_and_every_outcome(status: RefundStatus, outcome: RefundOutcome) -> None:
    made = await give_back(await received(), 10_00)
    await Refund.filter(id=made.id).update(status=status, reference=f"RF:{made.id}")
    if status not in REFUND_SETTLEMENTS[outcome][0]:
        async with nothing_written():
            assert await settle(made, outcome, reference="RF2", failure="x") is False
        return
    async with happening() as seen:
        assert await settle(made, outcome, failure="y" * 80) is True
    row = await Refund.get(id=made.id)
    assert (row.status, row.reference, row.failure) == (refund_settled(status, outcome), f"RF:{made.id}", "y" * 60)
    assert [(event["name"], event["topic"], event["ids"]) for event in seen.told] == [
        (
            "RefundUpdated",
            "payment",
            {"payment_id": str(made.payment_id), "refund_id": str(made.id), "user_id": str(made.user_id)},
        )
    ]
    assert seen.kinds == ["live.publish"]
    assert [(entry.verb, entry.before) for entry in seen.audit] == [("settle_refund", {"status": status.value})]
    async with nothing_written():
        assert await settle(made, outcome) is False


async def test_a_bank_that_sends_it_back_late_makes_it_refundable_again() -> None:
    payment = await received()
    made = await give_back(payment)
    await settle(made, Out.SUCCEEDED, reference=a_name("RF"))
    assert await refunds.refundable(payment.id) == 0
    await settle(made, Out.FAILED, failure="bounced")
    assert await refunds.refundable(payment.id) == 35_00
    again = await give_back(payment)
    assert again.id != made.id
    assert await statuses(payment) == [(35_00, S.FAILED), (35_00, S.DUE)]


# -- news from outside ------------------------------------------------------------------------------------------------


def news(payment: Payment | None, made: Refund | None, outcome: RefundOutcome, **options: Any) -> RefundFact:
    values: dict[str, Any] = {
        "outcome": outcome,
        "refund_reference": str(made.id) if made else None,
        "payment_reference": str(payment.id) if payment else None,
        "provider": "GOCARDLESS",
        "external_id": "RF_other",
        "payment_external_id": payment.reference if payment else "PM_other",
        "amount": 10_00,
        "currency": "GBP",
        "occurred_at": NOW,
    }
    return RefundFact(**values | options)


async def tell(fact: RefundFact) -> None:
    await apply(fact, acting="webhook:GOCARDLESS", at=NOW)


async def test_news_finds_its_refund_by_our_reference_or_the_providers() -> None:
    payment = await received()
    made = await give_back(payment, 10_00)
    reference = a_name("RF")
    await tell(news(payment, made, Out.SUBMITTED, external_id=reference))
    await tell(news(None, None, Out.SUCCEEDED, external_id=reference))
    row = await Refund.get(id=made.id)
    assert (row.status, row.reference, row.failure) == (S.SUCCEEDED, reference, None)
    await tell(news(None, None, Out.FAILED, external_id=reference, cause="bounced"))
    async with nothing_written():
        await tell(news(None, None, Out.SUCCEEDED, external_id=reference))
    row = await Refund.get(id=made.id)
    assert (row.status, row.failure) == (S.FAILED, "bounced")
    assert await Refund.filter(payment_id=payment.id).count() == 1


@pytest.mark.parametrize("how", ["our id", "the provider's id"])
async def test_a_refund_made_at_the_provider_is_written_down(how: str) -> None:
    payment = await received()
    reference = a_name("RF")
    told = payment if how == "our id" else None
    fact = news(told, None, Out.SUCCEEDED, external_id=reference, payment_external_id=payment.reference)
    async with happening() as seen:
        await tell(fact)
    (made,) = await Refund.filter(payment_id=payment.id)
    assert (made.amount, made.currency, made.status, made.reference) == (10_00, "GBP", S.SUCCEEDED, reference)
    assert (made.reason, made.user_id, made.attempts) == ("made at the provider", payment.user_id, 0)
    assert seen.events == ["RefundUpdated", "RefundUpdated"]
    assert [(entry.verb, entry.because) for entry in seen.audit] == [
        ("refund_seen", ["made at the provider"]),
        ("settle_refund", []),
    ]
    assert await refunds.refundable(payment.id) == 25_00
    async with nothing_written():
        await tell(fact)


async def test_a_second_refund_under_our_id_is_another_one() -> None:
    """Where a look-up did not find the first: it is counted, or more would go back than came."""
    payment = await received()
    made = await give_back(payment, 10_00)
    for reference in (a_name("RF"), a_name("RF")):
        fact = news(payment, made, Out.SUCCEEDED, external_id=reference)
        for _ in range(2):
            await tell(fact)
    assert await statuses(payment) == [(10_00, S.SUCCEEDED), (10_00, S.SUCCEEDED)]
    assert await refunds.refundable(payment.id) == 15_00


async def test_a_refund_made_at_the_provider_and_told_many_times_at_once_is_one() -> None:
    payment = await received()
    fact = news(payment, None, Out.SUBMITTED, external_id=a_name("RF"))
    await asyncio.gather(*(tell(fact) for _ in range(5)))
    assert await statuses(payment) == [(10_00, S.SUBMITTED)]


@pytest.mark.parametrize("reference", [None, "somebody-elses", str(UUID(int=7))])
async def test_refunds_of_others_payments_are_left_alone(reference: str | None) -> None:
    fact = news(None, None, Out.SUCCEEDED, refund_reference=reference, payment_reference=reference)
    async with nothing_written():
        await tell(fact)


async def test_another_provider_cannot_settle_our_refund() -> None:
    payment = await received()
    made = await give_back(payment, 10_00)
    async with nothing_written():
        await tell(news(payment, made, Out.SUCCEEDED, provider="STRIPE"))


# -- asked about ------------------------------------------------------------------------------------------------------


async def test_silent_refunds_are_asked_about_also_those_whose_answer_was_lost() -> None:
    payment = await received()
    due, sent, lost = [await give_back(payment, part) for part in (1_00, 2_00, 4_00)]
    await settle(sent, Out.SUBMITTED, reference=a_name("RF"))
    await refunds.outcome_unknown(lost.id, code="TIMEOUT", acting=BY, at=NOW)
    mine = [due.id, sent.id, lost.id]
    assert [made.id for made, _ in await refunds.to_ask_about() if made.id in mine] == [], "they have six hours"
    await Refund.filter(id__in=mine).update(updated_at=NOW.replace(year=2025))
    asked = {made.id: order for made, order in await refunds.to_ask_about() if made.id in mine}
    assert asked.keys() == {sent.id, lost.id}
    assert asked[lost.id].refunded_so_far == 2_00
