"""Payments that are not owed any more, stopped by real clients where it is not too late, whatever the network does."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from integrations.clock import SystemClock
from integrations.gocardless.client import DirectDebits
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from models.actions import memberships, payments
from models.actions.vault import Vault
from models.ports import OutcomeUnknown, PaymentGateway, Refused
from models.rules.lifecycle import Cause
from models.rules.states import JobState, PaymentOutcome, PaymentStatus, Provider
from models.tables.coursepro import ReviewItem
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from tests.build import BY, NOW, a_fee, a_membership, happening
from tests.integrations.conftest import an_order
from tests.workers.conftest import Sandbox
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

# The vendor's library hands httpx its form in a way httpx is giving up.
pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
P = PaymentStatus
CREATE, CANCEL = "/payments$", "/actions/cancel$"


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
    """A fee on a mandate at the direct debit provider's sandbox, and the worker."""

    membership: Membership
    fee: Payment
    sandbox: Sandbox
    runner: Runner

    async def run(self) -> list[tuple[str, JobState]]:
        """Run the waiting jobs of this payment, in their order -> what became of each."""
        rows = await Job.filter(subject=f"payments.collect:{self.fee.id}", state=JobState.READY).order_by("id")
        for row in rows:
            await Job.filter(id=row.id).update(run_at=None)
            await self.runner.run(row.id)
        return [(row.kind, row.state) for row in await Job.filter(id__in=[row.id for row in rows]).order_by("id")]

    async def ends(self) -> None:
        """The membership is cancelled."""
        await memberships.by_staff(self.membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)

    async def now(self) -> tuple[PaymentStatus, str | None]:
        """(status, how the question about it stands)"""
        item = await ReviewItem.get_or_none(subject=str(self.fee.id))
        return (await Payment.get(id=self.fee.id)).status, item.state.value if item else None

    def there(self) -> list[str]:
        """The statuses of the payments at the provider."""
        return [one["status"] for one in self.sandbox.state_of("gocardless.payments")]

    def fault(self, path: str, kind: str) -> None:
        """Let the provider's library lose a call, with all its own repeats of a create that is not answered."""
        times = 3 if path == CREATE and kind == "drop_answer" else 1
        self.sandbox.post("/faults", provider="gocardless", path=path, kind=kind, times=times, seconds=1.5)


@pytest.fixture
async def till(outside: Outside, secret_key: str, sandbox: Sandbox) -> AsyncIterator[Till]:
    token, url = sandbox.credentials["gocardless"]["access_token"], sandbox.urls["gocardless"]
    gateway = DirectDebits(token, api_base=url, answer_seconds=0.7)
    membership = await a_membership()
    mandate = sandbox.do("gocardless", "create_mandate")["mandate"]
    await Mandate.filter(id=membership.mandate_id).update(external_id=mandate)
    world = Outside(Only(gateway, Vault(secret_key)), SystemClock(), outside.bus)
    yield Till(membership, await a_fee(membership), sandbox, Runner(HANDLERS, {}, world, silent))
    await gateway.close()


async def test_a_payment_not_yet_with_the_banks_is_taken_back(till: Till) -> None:
    await till.run()
    assert (await till.now(), till.there()) == ((P.SUBMITTED, None), ["pending_submission"])
    await till.ends()
    async with happening() as seen:
        assert await till.run() == [("payments.cancel", JobState.DONE)]
    assert (await till.now(), till.there()) == ((P.CANCELLED, None), ["cancelled"])
    assert seen.events == ["PaymentUpdated"]
    await Job.filter(kind="payments.cancel").update(state="READY")
    async with happening() as seen:
        await till.run()
    assert (seen.events, till.there()) == ([], ["cancelled"]), "a job that runs again asks for nothing"


async def test_one_that_is_with_the_banks_waits_for_a_person_and_is_dropped_where_it_fails(till: Till) -> None:
    await till.run()
    reference = (await Payment.get(id=till.fee.id)).reference
    till.sandbox.advance(days=3)
    assert till.there() == ["submitted"]
    await till.ends()
    assert await till.run() == [("payments.cancel", JobState.DONE)]
    assert await till.now() == (P.SUBMITTED, "OPEN")
    item = await ReviewItem.get(subject=str(till.fee.id))
    assert item.evidence["why"] == "cancellation_failed"
    for outcome, state in ((PaymentOutcome.CONFIRMED, "OPEN"), (PaymentOutcome.FAILED, "DROPPED")):
        await payments.settle(till.fee.id, outcome, reference=reference, acting="webhook", at=NOW)
        assert await till.now() == (P(outcome.value), state)


@pytest.mark.parametrize(("kind", "arrived"), [("drop_answer", True), ("500_before", False)])
async def test_one_whose_answer_was_lost_is_looked_for_and_then_stopped(till: Till, kind: str, arrived: bool) -> None:
    """The end comes while nobody knows whether it was asked for; no second one is made."""
    till.fault(CREATE, kind)
    assert await till.run() == [("payments.collect", JobState.READY)]
    await till.ends()
    assert await till.now() == (P.UNKNOWN, "OPEN")
    ran = await till.run()
    assert ran == [("payments.collect", JobState.DONE), ("payments.cancel", JobState.DONE)]
    assert await till.now() == (P.CANCELLED, "DROPPED")
    assert till.there() == (["cancelled"] if arrived else [])


async def test_a_worker_that_dies_at_asking_leaves_nothing_to_be_taken(till: Till) -> None:
    attempt = await payments.begin_collection(till.fee.id, acting=BY, at=NOW)
    assert attempt is not None
    gateway = await till.runner._outside.providers.payments(Provider.GOCARDLESS)
    await gateway.collect(attempt.order)
    await till.ends()
    assert (await till.now(), till.there()) == ((P.DUE, "OPEN"), ["pending_submission"])
    await till.run()
    assert (await till.now(), till.there()) == ((P.CANCELLED, "DROPPED"), ["cancelled"])


@pytest.mark.parametrize("kind", ["500_before", "500_after", "drop_answer"])
async def test_a_lost_answer_to_the_wish_to_stop_is_asked_for_again(till: Till, kind: str) -> None:
    await till.run()
    await till.ends()
    till.fault(CANCEL, kind)
    for _ in range(3):
        ran = await till.run()
        if not ran or ran[-1][1] is JobState.DONE:
            break
    assert till.there() == ["cancelled"]
    status, question = await till.now()
    if status is P.SUBMITTED:  # its library asked again by itself and was told that it is too late: the news comes
        await payments.settle(till.fee.id, PaymentOutcome.CANCELLED, acting="webhook", at=NOW)
        status, question = await till.now()
    assert (status, question) in ((P.CANCELLED, None), (P.CANCELLED, "DROPPED"))


async def test_a_card_payment_is_cancelled_only_where_nothing_was_taken(sandbox: Sandbox) -> None:
    account = StripeAccount(
        sandbox.credentials["stripe"]["api_key"], api_base=sandbox.urls["stripe"], answer_seconds=0.7
    )
    who: dict[str, Any] = {"email": "jo@example.org", "name": "Jo"}
    declined = sandbox.do("stripe", "create_customer_with_card", **who, card="pm_card_chargeCustomerFail")
    refused = await account.collect(an_order(**declined))
    assert refused.outcome is PaymentOutcome.FAILED
    assert (await account.cancel(refused.reference, "k1")).outcome is PaymentOutcome.CANCELLED
    paid = await account.collect(an_order(**sandbox.do("stripe", "create_customer_with_card", **who)))
    with pytest.raises(Refused) as too_late:
        await account.cancel(paid.reference, "k2")
    assert too_late.value.code == "payment_intent_unexpected_state"
    sandbox.post("/faults", provider="stripe", path="/cancel$", kind="html_502")
    with pytest.raises(OutcomeUnknown):
        await account.cancel(refused.reference, "k3")
    await account.close()
