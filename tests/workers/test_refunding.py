"""Giving money back through the real clients, whatever the network does: exactly one refund at the provider."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from integrations.clock import SystemClock
from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from models.actions import inbound, refunds
from models.actions.vault import Vault
from models.ports import Collection, PaymentGateway, ReceivedEvent, WebhookSource
from models.rules.states import JobState, PaymentStatus, Provider, RefundStatus
from models.tables.job import Job
from models.tables.payment import Payment, Refund
from tests.build import BY, NOW, a_fee, a_membership, a_name
from tests.sandbox.conftest import Receiver
from tests.workers.conftest import Sandbox
from workers.jobs import payments as handlers
from workers.runner import Runner, Wakes
from workers.work import Outside

# The vendor's library hands httpx its form in a way httpx is giving up.
pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
S = RefundStatus
CREATE = "/refunds$"
MOST_RUNS = 6


class Only(Registry):
    """Providers of which only one gateway is set up."""

    def __init__(self, gateway: PaymentGateway, vault: Vault) -> None:
        super().__init__(vault, None)
        self._gateway = gateway

    async def payments(self, provider: Provider) -> PaymentGateway:
        return self._gateway


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Till:
    """A fee of 35.00 that was really taken at a provider's sandbox, and the worker that gives it back."""

    provider: Provider
    payment: Payment
    sandbox: Sandbox
    gateway: PaymentGateway
    webhooks: WebhookSource
    runner: Runner

    async def give_back(self, amount: int) -> Refund:
        """Ask for a refund."""
        return await refunds.refund_payment(self.payment.id, amount=amount, reason="Pool shut", acting=BY, at=NOW)

    async def run(self, made: Refund) -> Job:
        """Run the job of a refund, due or not -> its row."""
        job = await Job.filter(kind="payments.refund", payload__contains={"refund_id": str(made.id)}).first()
        assert job is not None
        await Job.filter(id=job.id).update(run_at=None)
        await self.runner.run(job.id)
        return await Job.get(id=job.id)

    async def run_until_done(self, made: Refund) -> int:
        """Run its job until it is done -> how many runs it took."""
        for runs in range(1, MOST_RUNS + 1):
            if (await self.run(made)).state is JobState.DONE:
                return runs
        pytest.fail(f"not done after {MOST_RUNS} runs")

    async def ask(self) -> None:
        """The janitor comes by, long after."""
        await Refund.filter(payment_id=self.payment.id).update(updated_at=NOW.replace(year=2025))
        others = Refund.exclude(payment_id=self.payment.id)
        await others.update(updated_at=NOW.replace(year=2100))
        await Payment.all().update(updated_at=NOW.replace(year=2100))
        job = await Job.create(kind="payments.ask", key=a_name("ask"))
        await self.runner.run(job.id)

    def fault(self, kind: str, times: int = 1, path: str = CREATE) -> None:
        """Let the next calls go wrong."""
        self.sandbox.post(
            "/faults", provider=self.provider.value.lower(), path=path, kind=kind, times=times, seconds=1.5
        )

    def there(self) -> list[tuple[str | None, int, str]]:
        """The refunds at the provider: (our id, amount, status)."""
        kind = "stripe.refund" if self.provider is Provider.STRIPE else "gocardless.refunds"
        return [(one["metadata"].get("refund_id"), one["amount"], one["status"]) for one in self.sandbox.state_of(kind)]

    async def hears_of(self, reference: str, events: int, receiver: Receiver) -> None:
        """Wait until so many webhook events about a refund have come, and apply them all."""
        hook = f"/webhooks/{self.provider.value.lower()}"

        def about_it() -> list[ReceivedEvent]:
            arrived = [self.webhooks.verify(one.body, one.headers) for one in receiver.at(hook)]
            return [event for told in arrived for event in told if event.object_id == reference]

        receiver.wait(hook, lambda _requests: len(about_it()) >= events)
        for event in about_it():
            for fact in await self.webhooks.facts(event):
                await inbound.apply(fact, acting="webhook", at=NOW)

    def end(self, made: str, *, well: bool) -> None:
        """The refund arrives, or its bank sends it back."""
        name = self.provider.value.lower()
        arrives = "complete_refund" if self.provider is Provider.STRIPE else "pay_refund"
        self.sandbox.do(name, arrives if well else "fail_refund", refund=made)


@pytest.fixture(params=[Provider.STRIPE, Provider.GOCARDLESS])
async def till(request: Any, outside: Outside, secret_key: str, sandbox: Sandbox) -> AsyncIterator[Till]:
    provider: Provider = request.param
    credentials, urls = sandbox.credentials[provider.lower()], sandbox.urls[provider.lower()]
    fee = await a_fee(await a_membership())
    wanted: dict[str, Any]
    gateway: StripeAccount | DirectDebits
    webhooks: WebhookSource
    secrets = [credentials["webhook_secret"]]
    if provider is Provider.STRIPE:
        gateway = StripeAccount(credentials["api_key"], api_base=urls, answer_seconds=0.7)
        webhooks = StripeWebhooks(gateway, secrets, SystemClock())
        who = {"email": "jo@example.org", "name": "Jo", "card": "pm_card_pendingRefund"}
        wanted = sandbox.do("stripe", "create_customer_with_card", **who)
    else:
        gateway = DirectDebits(credentials["access_token"], api_base=urls, answer_seconds=0.7)
        webhooks = DirectDebitWebhooks(gateway, secrets)
        wanted = {"mandate": sandbox.do("gocardless", "create_mandate")["mandate"]}
    order = Collection(fee.id, fee.key, fee.amount, fee.currency, "Fee", fee.due_on, **wanted)
    reference = (await gateway.collect(order)).reference
    if provider is Provider.GOCARDLESS:
        sandbox.do("gocardless", "confirm_payment", payment=reference)
    await Payment.filter(id=fee.id).update(provider=provider, reference=reference, status=PaymentStatus.CONFIRMED)
    world = Outside(Only(gateway, Vault(secret_key)), SystemClock(), outside.bus)
    kinds = {"payments.refund": handlers.refund, "payments.ask": handlers.ask}
    yield Till(provider, await Payment.get(id=fee.id), sandbox, gateway, webhooks, Runner(kinds, {}, world, silent))
    await gateway.close()


async def now(made: Refund) -> tuple[RefundStatus, str | None, int]:
    row = await Refund.get(id=made.id)
    return row.status, row.failure, row.generation


async def test_parts_are_given_back_one_after_the_other(till: Till) -> None:
    first, second = await till.give_back(10_00), await till.give_back(25_00)
    assert (await till.run(second)).state is JobState.READY, "the earlier one of this payment goes first"
    assert await till.run_until_done(first) == 1
    assert await till.run_until_done(second) == 1
    assert [(ours, amount) for ours, amount, _ in till.there()] == [(str(first.id), 10_00), (str(second.id), 25_00)]
    assert await now(first) == await now(second) == (S.SUBMITTED, None, 1)
    await Job.filter(kind="payments.refund").update(state="READY")
    await till.run(first)
    assert len(till.there()) == 2, "a job that runs again asks for nothing"


@pytest.mark.parametrize("kind", ["500_before", "500_after", "html_502", "timeout", "drop_answer", "429"])
async def test_a_lost_answer_never_gives_back_twice(till: Till, kind: str) -> None:
    # GoCardless's library repeats a create itself, under the same key
    lasting = till.provider is Provider.GOCARDLESS and kind in ("html_502", "timeout", "drop_answer")
    till.fault(kind, times=3 if lasting else 1)
    made = await till.give_back(10_00)
    job = await till.run(made)
    assert job.state is JobState.READY
    assert (await now(made))[0] is (S.DUE if kind == "429" else S.UNKNOWN)
    assert await refunds.refundable(till.payment.id) == 25_00, "it may have been given back"
    await till.run_until_done(made)
    assert [(ours, amount) for ours, amount, _ in till.there()] == [(str(made.id), 10_00)]
    fresh = till.provider is Provider.STRIPE and kind == "500_before"
    assert await now(made) == (S.SUBMITTED, None, 2 if fresh else 1)


async def test_a_worker_that_dies_after_the_call_leaves_one_refund(till: Till) -> None:
    made = await till.give_back(10_00)
    attempt = await refunds.begin_refund(made.id, acting=BY, at=NOW)
    assert attempt is not None
    gone = await till.gateway.refund(attempt.order)
    await till.run_until_done(made)
    assert len(till.there()) == 1
    assert (await Refund.get(id=made.id)).reference == gone.reference


async def test_a_later_part_waits_for_one_whose_answer_was_lost(till: Till) -> None:
    till.fault("500_after")
    first, second = await till.give_back(10_00), await till.give_back(5_00)
    await till.run(first)
    assert (await till.run(second)).state is JobState.READY
    await till.run_until_done(first)
    await till.run_until_done(second)
    assert [amount for _, amount, _ in till.there()] == [10_00, 5_00]


async def test_what_the_provider_refuses_has_failed_and_may_be_asked_for_anew(till: Till) -> None:
    """Somebody gave all of it back in the provider's dashboard, and we have not heard of it yet."""
    name = till.provider.value.lower()
    of = {"payment_intent" if till.provider is Provider.STRIPE else "payment": till.payment.reference}
    till.sandbox.do(name, "refund_payment", amount=35_00, **of)
    made = await till.give_back(10_00)
    assert (await till.run(made)).state is JobState.DONE
    status, failure, _ = await now(made)
    assert status is S.FAILED
    assert failure in ("charge_already_refunded", "amount")
    assert await refunds.refundable(till.payment.id) == 35_00
    assert len(till.there()) == 1


async def test_from_the_wish_to_the_bank_and_back(till: Till, receiver: Receiver) -> None:
    """The webhooks alone tell what becomes of ours, and of one made by hand."""
    payment, name = till.payment, till.provider.value.lower()
    made = await till.give_back(10_00)
    await till.run_until_done(made)
    reference = (await Refund.get(id=made.id)).reference
    assert reference is not None
    till.end(reference, well=True)
    await till.hears_of(reference, 2, receiver)
    assert (await now(made))[0] is S.SUCCEEDED

    of = {"payment_intent" if till.provider is Provider.STRIPE else "payment": payment.reference}
    by_hand = till.sandbox.do(name, "refund_payment", amount=5_00, **of)["refund"]
    await till.hears_of(by_hand, 1, receiver)
    assert await refunds.refundable(payment.id) == 20_00
    theirs = await Refund.get(reference=by_hand)
    assert (theirs.payment_id, theirs.amount, theirs.reason) == (payment.id, 5_00, refunds.MADE_THERE)

    till.end(reference, well=False)
    await till.hears_of(reference, 3, receiver)
    assert (await now(made))[0] is S.FAILED
    assert await refunds.refundable(payment.id) == 30_00, "only what was given back by hand stays away"


@pytest.mark.parametrize(("well", "status"), [(True, S.SUCCEEDED), (False, S.FAILED)])
async def test_news_that_never_came_is_asked_for(till: Till, well: bool, status: RefundStatus) -> None:
    made = await till.give_back(10_00)
    await till.run_until_done(made)
    await till.ask()
    assert (await now(made))[0] is S.SUBMITTED
    reference = (await Refund.get(id=made.id)).reference
    assert reference is not None
    till.end(reference, well=well)
    await till.ask()
    assert (await now(made))[0] is status
    assert ((await now(made))[1] is None) is well


async def test_a_lost_answer_is_found_by_the_janitor_too(till: Till) -> None:
    till.fault("500_after")
    made = await till.give_back(10_00)
    await till.run(made)
    await till.ask()
    assert (await now(made))[0] is S.SUBMITTED
    assert (await till.run(made)).state is JobState.DONE
    assert len(till.there()) == 1


async def test_a_lost_answer_nobody_knows_of_stays_unknown(till: Till) -> None:
    till.fault("500_before")
    made = await till.give_back(10_00)
    await till.run(made)
    await till.ask()
    assert (await now(made))[0] is S.UNKNOWN
