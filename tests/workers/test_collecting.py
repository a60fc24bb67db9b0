"""Collecting money, whatever the network does: the key is stored before the call, and a lost answer is looked up.

The gateways here are the other side of the port: each behaves in one way a provider may.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest

from integrations.clock import SystemClock
from integrations.registry import Registry
from models.actions import asking, dunning, payments, reviews
from models.actions.vault import Vault
from models.ports import (
    CONFLICT,
    Collected,
    Collection,
    OutcomeUnknown,
    PaymentGateway,
    Refunded,
    RefundOrder,
    Refused,
    Unavailable,
)
from models.rules.lifecycle import Status
from models.rules.refusals import Code
from models.rules.states import JobState, PaymentOutcome, PaymentStatus, Provider, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from tests.build import BY, NOW, a_fee, a_membership, a_name, happening, refused
from workers.jobs import payments as handlers
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
Out, P = PaymentOutcome, PaymentStatus


@dataclass
class Gateway:
    """Keeps what it collected by key; `answers` says how each call goes, in turn, and "ok" once they are used up."""

    answers: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    taken: dict[str, Collected] = field(default_factory=dict)
    meanwhile: Callable[[Collected], Awaitable[object]] | None = None
    stored: list[tuple[int, str]] = field(default_factory=list)

    async def collect(self, order: Collection) -> Collected:
        self.calls.append(f"collect {order.key}")
        row = await Payment.get(id=order.payment_id)
        self.stored.append((row.generation, row.key))
        how = self.answers.pop(0) if self.answers else "ok"
        if how == "refused":
            raise Refused("The mandate is not active", code="mandate_is_inactive")
        if how == "another's":
            raise Refused("The key stands for another payment", code=CONFLICT)
        if how == "unavailable":
            raise Unavailable("503", code="UNAVAILABLE")
        if how == "lost before":
            raise OutcomeUnknown("no answer", code="TIMEOUT")
        if how == "answered 5xx":
            raise OutcomeUnknown("500", code=asking.ANSWERED_ERROR)
        collected = self.taken.setdefault(order.key, Collected(f"PM:{order.key}", None))
        if how == "declined":
            collected = Collected(collected.reference, Out.FAILED, "insufficient_funds")
        if self.meanwhile:
            await self.meanwhile(collected)
        if how == "lost after":
            raise OutcomeUnknown("no answer", code="TIMEOUT")
        return collected

    async def look_up(self, order: Collection) -> Collected | None:
        self.calls.append("look up")
        if self.answers[:1] == ["look up refused"]:
            raise Refused("No such customer", code=self.answers.pop(0).upper())
        found = [taken for key, taken in self.taken.items() if key.startswith(f"payment:{order.payment_id}")]
        return found[0] if found else None

    async def status(self, reference: str) -> Collected:
        self.calls.append(f"status {reference}")
        if self.answers[:1] == ["status unavailable"]:
            raise Unavailable("503", code=self.answers.pop(0).upper())
        return Collected(reference, Out.FAILED, "refer_to_payer", will_retry=True)

    async def retry(self, reference: str, key: str) -> Collected:
        self.calls.append(f"retry {reference} {key}")
        return Collected(reference, None)

    async def cancel(self, reference: str, key: str) -> Collected:
        raise AssertionError(f"nobody asked to cancel {reference} under {key}")

    async def refund(self, order: RefundOrder) -> Refunded:
        raise AssertionError(f"nobody asked to give {order.amount} back")

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        raise AssertionError(f"nobody asked to give {order.amount} back")

    async def refund_status(self, reference: str) -> Refunded:
        raise AssertionError(f"nobody asked about {reference}")


class Only(Registry):
    """Providers of which only the payments are set up."""

    def __init__(self, gateway: Gateway, vault: Vault) -> None:
        super().__init__(vault, None)
        self._gateway = gateway

    async def payments(self, provider: Provider) -> PaymentGateway:
        assert provider is Provider.GOCARDLESS
        return self._gateway


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Till:
    """A fee that is due, its job, and the worker that runs it."""

    fee: Payment
    membership: Membership
    gateway: Gateway
    runner: Runner

    async def run(self, kind: str = "payments.collect") -> Job:
        """Run the newest job of a kind for this payment, due or not -> its row."""
        mine = Job.filter(kind=kind, payload__contains={"payment_id": str(self.fee.id)})
        job = await mine.order_by("-id").first()
        assert job is not None
        await Job.filter(id=job.id).update(run_at=None)
        await self.runner.run(job.id)
        return await Job.get(id=job.id)

    async def ask(self, *, later: timedelta = timedelta()) -> Job:
        """Let so much time pass for this payment alone, and run the janitor -> its row."""
        row = await Payment.get(id=self.fee.id)
        await Payment.filter(id=row.id).update(updated_at=row.updated_at - later)
        others = Payment.filter(status__in=("SUBMITTED", "UNKNOWN")).exclude(id=row.id)
        await others.update(updated_at=NOW.replace(year=2100))
        job = await Job.create(kind="payments.ask", key=a_name("ask"))
        await self.runner.run(job.id)
        return await Job.get(id=job.id)

    async def question(self) -> ReviewItem | None:
        """What a person is asked about this payment now."""
        return await ReviewItem.get_or_none(kind="OUTCOME_UNKNOWN", subject=str(self.fee.id), state="OPEN")

    async def now(self) -> tuple[PaymentStatus, str | None, str | None, int, int]:
        """(status, reference, failure, generation, attempts)"""
        row = await Payment.get(id=self.fee.id)
        return row.status, row.reference, row.failure, row.generation, row.attempts


@pytest.fixture
async def till(outside: Outside, secret_key: str) -> Till:
    membership = await a_membership()
    fee = await a_fee(membership)
    gateway = Gateway()
    world = Outside(Only(gateway, Vault(secret_key)), SystemClock(), outside.bus)
    kinds = {
        "payments.collect": handlers.collect,
        "payments.retry": handlers.retry,
        "payments.ask": handlers.ask,
    }
    return Till(fee, membership, gateway, Runner(kinds, {}, world, silent))


def reference(till: Till, generation: int = 1) -> str:
    return f"PM:payment:{till.fee.id}:{generation}"


def collect(till: Till, generation: int = 1) -> str:
    return f"collect payment:{till.fee.id}:{generation}"


async def test_an_answer_is_a_submission_and_no_more(till: Till) -> None:
    """Success is only believed from the provider's own news."""
    job = await till.run()
    assert job.state is JobState.DONE
    assert await till.now() == (P.SUBMITTED, reference(till), None, 1, 1)
    assert till.gateway.calls == [collect(till)]


async def test_what_is_on_its_way_is_not_collected_again(till: Till) -> None:
    await till.run()
    await Job.filter(kind="payments.collect").update(state="READY")
    await till.run()
    assert till.gateway.calls == [collect(till)]


async def test_the_order_says_what_the_fee_is(till: Till) -> None:
    attempt = await payments.begin_collection(till.fee.id, acting=BY, at=NOW)
    assert attempt is not None
    order = attempt.order
    mandate = await Mandate.get(id=till.fee.mandate_id)
    assert (order.amount, order.currency, order.charge_on, order.mandate) == (
        35_00,
        "GBP",
        date(2026, 3, 2),
        mandate.external_id,
    )
    assert (order.description, order.metadata) == ("Membership fee", {"payment_id": str(till.fee.id)})
    assert (attempt.provider, attempt.look_first, attempt.answered_error) == (Provider.GOCARDLESS, False, False)


async def test_a_lost_answer_is_looked_up_and_found(till: Till) -> None:
    till.gateway.answers = ["lost after"]
    async with happening() as seen:
        job = await till.run()
    assert (job.state, job.error_code) == (JobState.READY, "TIMEOUT")
    assert await till.now() == (P.UNKNOWN, None, "TIMEOUT", 1, 1)
    assert seen.events == ["PaymentUpdated"]
    assert (await till.run()).state is JobState.DONE
    assert await till.now() == (P.SUBMITTED, reference(till), None, 1, 2)
    assert till.gateway.calls == [collect(till), "look up"]


async def test_a_lost_answer_that_is_not_found_is_asked_for_with_the_same_key(till: Till) -> None:
    till.gateway.answers = ["lost before"]
    await till.run()
    await till.run()
    assert till.gateway.calls == [collect(till), "look up", collect(till)]
    assert await till.now() == (P.SUBMITTED, reference(till), None, 1, 2)


async def test_after_an_answered_error_a_fresh_key_is_stored_before_it_is_used(till: Till) -> None:
    """The provider would only repeat its 500 under the old one."""
    till.gateway.answers = ["answered 5xx"]
    job = await till.run()
    assert job.error_code == "ANSWERED_ERROR"
    async with happening() as seen:
        await till.run()
    assert till.gateway.calls == [collect(till), "look up", collect(till, 2)]
    assert till.gateway.stored == [(1, f"payment:{till.fee.id}:1"), (2, f"payment:{till.fee.id}:2")]
    assert await till.now() == (P.SUBMITTED, reference(till, 2), None, 2, 2)
    assert [entry.after for entry in seen.audit if entry.verb == "fresh_key"] == [{"generation": 2}]


async def test_a_fresh_key_whose_answer_is_lost_is_kept(till: Till) -> None:
    till.gateway.answers = ["answered 5xx", "lost before"]
    for _ in range(3):
        await till.run()
    assert till.gateway.calls == [collect(till), "look up", collect(till, 2), "look up", collect(till, 2)]
    assert (await till.now())[3] == 2


async def test_a_look_up_that_is_refused_proves_nothing(till: Till) -> None:
    till.gateway.answers = ["lost after", "look up refused"]
    await till.run()
    job = await till.run()
    assert (job.state, job.error_code) == (JobState.READY, "LOOK UP REFUSED")
    assert (await till.now())[0] is P.UNKNOWN
    await till.run()
    assert (await till.now())[:2] == (P.SUBMITTED, reference(till))


async def test_an_unavailable_provider_is_asked_again(till: Till) -> None:
    till.gateway.answers = ["unavailable"]
    job = await till.run()
    assert (job.state, job.error_code) == (JobState.READY, "UNAVAILABLE")
    assert (await till.now())[0] is P.DUE
    await till.run()
    assert (await till.now())[0] is P.SUBMITTED


async def test_a_refusal_is_a_failure_and_suspends(till: Till) -> None:
    till.gateway.answers = ["refused"]
    async with happening() as seen:
        job = await till.run()
    assert job.state is JobState.DONE
    assert await till.now() == (P.FAILED, None, "mandate_is_inactive", 1, 1)
    assert (await Membership.get(id=till.membership.id)).status is Status.SUSPENDED
    assert seen.events == ["PaymentUpdated", "PaymentMissed", "MembershipStatusChanged"]


async def test_a_decline_in_the_answer_is_final_at_once(till: Till) -> None:
    till.gateway.answers = ["declined"]
    await till.run()
    assert await till.now() == (P.FAILED, reference(till), "insufficient_funds", 1, 1)


@pytest.mark.parametrize("outcome", [Out.FAILED, Out.CANCELLED, Out.CONFIRMED])
@pytest.mark.parametrize("answer", ["ok", "lost after"])
async def test_news_that_overtakes_the_answer_stands(till: Till, outcome: PaymentOutcome, answer: str) -> None:
    """The webhook comes before the provider's answer is written down, or while it is lost."""

    async def webhook(collected: Collected) -> None:
        context = asyncio.create_task(  # another worker's
            payments.settle(till.fee.id, outcome, reference=collected.reference, acting="webhook", at=NOW)
        )
        await context

    till.gateway.meanwhile = webhook
    till.gateway.answers = [answer]
    async with happening() as seen:
        await till.run()
        await till.run()
    row = await Payment.get(id=till.fee.id)
    assert (row.status, row.reference) == (P(outcome.value), reference(till))
    assert seen.events.count("PaymentMissed") == (outcome is Out.FAILED)
    assert seen.events.count("PaymentUpdated") == 1


async def test_a_decline_told_twice_is_missed_once(till: Till) -> None:
    async def webhook(collected: Collected) -> None:
        await payments.settle(till.fee.id, Out.FAILED, reference=collected.reference, acting="webhook", at=NOW)

    till.gateway.meanwhile = webhook
    till.gateway.answers = ["declined"]
    async with happening() as seen:
        await till.run()
    assert seen.events.count("PaymentMissed") == 1
    assert (await till.now())[0] is P.FAILED


async def test_a_failed_fee_is_retried_under_its_reference(till: Till) -> None:
    await till.run()
    await payments.settle(till.fee.id, Out.FAILED, acting=BY, at=NOW)
    await dunning.retry_payment(till.fee.id, acting=BY, at=NOW)
    await till.run("payments.retry")
    assert till.gateway.calls[-1] == f"retry {reference(till)} payment:{till.fee.id}:retry:2"
    assert (await till.now())[0] is P.SUBMITTED
    await Job.filter(kind="payments.retry").update(state="READY")
    await till.run("payments.retry")
    assert sum(call.startswith("retry") for call in till.gateway.calls) == 1, "it is not failed any more"


async def test_something_else_under_our_key_is_refused_loudly_and_left_to_a_person(till: Till) -> None:
    """It is neither ours nor a failure: nobody knows whether the member paid."""
    till.gateway.answers = ["another's"]
    async with happening() as seen:
        job = await till.run()
    assert (job.state, job.error_code) == (JobState.DEAD, CONFLICT)
    assert await till.now() == (P.UNKNOWN, None, CONFLICT, 1, 1)
    assert seen.events == ["PaymentUpdated"]
    assert (await Membership.get(id=till.membership.id)).status is Status.ACTIVE
    question = await till.question()
    assert question is not None
    assert (question.user_id, question.evidence["of"], question.evidence["amount"], question.evidence["why"]) == (
        till.membership.user_id,
        "Payment",
        35_00,
        "the provider has something else under our name",
    )


# -- the janitor ------------------------------------------------------------------------------------------------------

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def test_news_that_never_came_is_asked_for(till: Till) -> None:
    await till.run()
    await till.ask()
    assert (await till.now())[0] is P.SUBMITTED, "it has six hours"
    till.gateway.answers = ["status unavailable"]
    job = await till.ask(later=6 * HOUR)
    assert (job.state, job.attempts, job.error_code) == (JobState.READY, 0, "STATUS UNAVAILABLE")
    assert (await Payment.get(id=till.fee.id)).asks == 0, "it was not answered"
    await till.ask()
    assert till.gateway.calls[-1] == f"status {reference(till)}"
    assert await till.now() == (P.FAILED, reference(till), "refer_to_payer", 1, 1)
    fee = await Payment.get(id=till.fee.id)
    assert (fee.will_retry, fee.retry_on) == (True, None), "the bank tries again: nobody else does"
    assert (await Membership.get(id=till.membership.id)).status is Status.SUSPENDED


async def test_an_unknown_outcome_is_asked_about_for_six_days_and_then_by_a_person_once(till: Till) -> None:
    """Five minutes, an hour, then daily for five days; it stays unknown, whatever the job that asked does meanwhile."""
    till.gateway.answers = ["lost before", "look up refused", "look up refused"]
    for _ in range(3):
        await till.run()
    await Job.filter(kind="payments.collect").update(state="DEAD")
    for number, wait in enumerate([5 * MINUTE, HOUR, DAY, DAY, DAY, DAY, DAY]):
        calls = len(till.gateway.calls)
        await till.ask(later=wait - MINUTE)
        assert len(till.gateway.calls) == calls, "not yet"
        assert await till.question() is None
        await till.ask(later=MINUTE)
        assert till.gateway.calls[calls:] == ["look up"]
        assert (await Payment.get(id=till.fee.id)).asks == number + 1
    calls = len(till.gateway.calls)
    await till.ask(later=30 * DAY)
    assert len(till.gateway.calls) == calls
    assert await till.now() == (P.UNKNOWN, None, "LOOK UP REFUSED", 1, 3)
    question = await till.question()
    assert question is not None
    assert question.evidence["why"] == "the provider was asked 7 times"
    await payments.settle(till.fee.id, Out.CONFIRMED, reference="PM-late", acting="webhook", at=NOW)
    await question.refresh_from_db()
    assert (question.state, question.answer) == (ReviewState.DROPPED, "payment CONFIRMED")


async def test_the_janitor_finds_what_arrived(till: Till) -> None:
    till.gateway.answers = ["lost after"]
    await till.run()
    await till.ask(later=5 * MINUTE)
    assert await till.now() == (P.SUBMITTED, reference(till), None, 1, 1)
    assert (await till.run()).state is JobState.DONE
    assert till.gateway.calls == [collect(till), "look up"]


@pytest.mark.parametrize(
    ("answer", "status", "found"),
    [("NOT_MADE", P.FAILED, None), ("MADE PM123", P.SUBMITTED, "PM123"), ("ASK_AGAIN", P.UNKNOWN, None)],
)
async def test_what_a_person_found_out(till: Till, answer: str, status: PaymentStatus, found: str | None) -> None:
    till.gateway.answers = ["another's"]
    await till.run()
    question = await till.question()
    assert question is not None
    async with refused(Code.INVALID_INPUT, "answer"):
        await reviews.settle_review(question.id, answer="I think it worked", acting=BY, at=NOW)
    settled = await reviews.settle_review(question.id, answer=answer, acting=BY, at=NOW)
    assert (settled.state, settled.answer) == (ReviewState.SETTLED, answer)
    assert (await till.now())[:2] == (status, found)
    if status is P.UNKNOWN:
        await till.ask(later=5 * MINUTE)
        assert till.gateway.calls[-1] == "look up"
    if status is P.FAILED:
        await dunning.retry_payment(till.fee.id, acting=BY, at=NOW)
        await Job.filter(kind="payments.collect", state="DEAD").update(state="DONE")
        await till.run()
        assert till.gateway.calls == [collect(till), "look up", collect(till)], "the same key, after a look"
