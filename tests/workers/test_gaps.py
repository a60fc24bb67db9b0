"""What no webhook told: events that never came are taken in from the vendors' lists, and at night all is compared."""

import hashlib
import hmac
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.clock import SystemClock
from integrations.gocardless import calls
from integrations.registry import Registry
from models.actions import inbound, jobs, memberships, offers, refunds
from models.actions.settings import configure_provider
from models.actions.vault import Vault
from models.ports import ReceivedEvent
from models.rules.lifecycle import Cause, Status
from models.rules.states import JobState, PaymentStatus, Provider, RefundStatus
from models.tables.coursepro import Drift
from models.tables.inbox import InboxEvent
from models.tables.job import Job
from models.tables.membership import Mandate, Membership, Subscription
from models.tables.payment import Payment, Refund
from models.tables.user import ExternalLink
from tests.build import BY, NOW, a_centre, a_fee, a_member_with_card, a_membership, a_package_offer, sql
from tests.workers.conftest import Sandbox
from workers.jobs import gaps, news
from workers.jobs import payments as handlers
from workers.kinds import AT_START
from workers.runner import Runner, Wakes
from workers.work import Outside

# The vendor's library hands httpx its form in a way httpx is giving up.
pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
P = PaymentStatus
EVERY = {"inbox.catch_up": 3600.0, "payments.reconcile": 86_400.0}


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class World:
    """Both vendors in the sandbox, the worker's jobs, and no webhook that ever arrives."""

    sandbox: Sandbox
    runner: Runner
    registry: Registry

    async def run(self, kind: str) -> Job:
        """Run all due jobs of a kind until none is left, or one waits for somebody -> the last."""
        while True:
            waiting = Job.filter(kind=kind, state="READY")
            job = await (waiting if kind in EVERY else waiting.filter(run_at=None)).order_by("id").first()
            if job is None:
                return await Job.filter(kind=kind).order_by("-id").first()  # type: ignore[return-value]  # there is one
            await Job.filter(id=job.id).update(run_at=None)
            await self.runner.run(job.id)
            after = await Job.get(id=job.id)
            if kind in EVERY and after.error_code != "UNFINISHED":
                return after

    async def a_debit(self) -> tuple[Payment, str]:
        """A fee that was collected at GoCardless -> it, its mandate there."""
        there = self.sandbox.do("gocardless", "create_mandate")["mandate"]
        fee = await a_fee(await a_membership())
        await Mandate.filter(id=fee.mandate_id).update(external_id=there)
        await self.run("payments.collect")
        return await Payment.get(id=fee.id), there

    async def a_charge(self) -> Payment:
        """A package that was charged to a card at Stripe."""
        made = self.sandbox.do("stripe", "create_customer_with_card", email="ada@example.test", name="Ada")
        user = await a_member_with_card()
        for kind, external_id in made.items():
            await ExternalLink.filter(user_id=user.id, kind=kind).update(external_id=external_id)
        offer = await a_package_offer()
        where = {"centre_id": (await a_centre()).id, "package_offer_id": offer.id}
        bought = await offers.buy_package(user_id=user.id, **where, acting=BY, at=NOW)
        await self.run("payments.collect")
        return await Payment.get(package_id=bought.id)


@pytest.fixture
async def world(sandbox: Sandbox, outside: Outside, secret_key: str) -> AsyncIterator[World]:
    vault = Vault(secret_key)
    for provider in (Provider.STRIPE, Provider.GOCARDLESS):
        name = provider.lower()
        await configure_provider(
            provider,
            settings={"api_base": sandbox.urls[name]},
            secrets=sandbox.credentials[name],
            enabled=True,
            vault=vault,
            acting=BY,
            at=NOW,
            local=True,
        )
        sandbox.post("/webhooks", provider=name, hold=True)
    await Job.all().delete()
    await jobs.ensure_recurring(EVERY)
    registry = Registry(vault, sandbox.urls["admin"], clock=SystemClock())
    kinds = {
        "payments.collect": handlers.collect,
        "payments.refund": handlers.refund,
        "inbox.apply": news.apply_webhook,
        "inbox.catch_up": gaps.catch_up,
        "payments.reconcile": gaps.reconcile,
    }
    yield World(sandbox, Runner(kinds, EVERY, Outside(registry, SystemClock(), outside.bus), silent), registry)
    await registry.close()
    await sql("TRUNCATE provider_setting, inbox_event, drift, subscription, payment CASCADE")


async def status(row: Payment) -> PaymentStatus:
    return (await Payment.get(id=row.id)).status


async def received(provider: Provider) -> set[str]:
    rows: Any = await InboxEvent.filter(provider=provider).values_list("event_id", flat=True)
    return set(rows)


def cared_for(world: World) -> set[str]:
    """The events of GoCardless somebody here cares for."""
    kinds = ("payments", "refunds", "mandates")
    events = world.sandbox.state_of("gocardless.events")
    return {one["id"] for one in events if one["resource_type"] in kinds or one["action"] == "fulfilled"}


async def test_three_days_without_a_webhook_are_caught_up_with_and_each_event_is_taken_in_once(world: World) -> None:
    debit, _ = await world.a_debit()
    charge = await world.a_charge()
    assert (await status(debit), await status(charge)) == (P.SUBMITTED, P.SUBMITTED)
    world.sandbox.do("gocardless", "confirm_payment", payment=debit.reference)
    world.sandbox.advance(days=3)
    job = await world.run("inbox.catch_up")
    assert (job.state, job.error_code) == (JobState.READY, None)
    assert await received(Provider.GOCARDLESS) == cared_for(world)
    assert await InboxEvent.exists(provider=Provider.STRIPE, event_type="payment_intent.succeeded")
    assert not await InboxEvent.exists(event_type__startswith="customer.c"), "nobody cares for a new customer"
    await world.run("inbox.apply")
    assert (await status(debit), await status(charge)) == (P.CONFIRMED, P.CONFIRMED)
    assert not await InboxEvent.exclude(state__in=("APPLIED", "IGNORED")).exists()

    before = await InboxEvent.all().count()
    await world.run("inbox.catch_up")
    late = await InboxEvent.filter(provider=Provider.STRIPE).first()
    assert late is not None
    again = ReceivedEvent(late.event_id, late.event_type, late.object_id, late.body)
    assert await inbound.receive(Provider.STRIPE, [again]) == 0, "its webhook comes after all"
    assert await InboxEvent.all().count() == before
    assert await Job.filter(kind="inbox.apply").count() == before


async def test_a_long_list_is_read_in_turns_and_goes_on_where_it_was_broken_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Newest first: what was broken off must not make the older ones look known."""
    monkeypatch.setattr(calls, "MOST_ON_A_PAGE", 3)
    monkeypatch.setattr(gaps, "PAGES_A_TURN", 1)
    for _ in range(4):
        world.sandbox.do("gocardless", "create_mandate")
    wanted = cared_for(world)
    assert len(wanted) > 6
    job = await Job.get(key="inbox.catch_up")
    await world.runner.run(job.id)
    row = await Job.get(id=job.id)
    place = row.payload["GOCARDLESS"]
    assert (row.error_code, len(await received(Provider.GOCARDLESS))) == ("UNFINISHED", 3)
    assert place["after"] in wanted

    world.sandbox.post("/faults", provider="gocardless", kind="500_before", path="/events", times=1)
    await Job.filter(id=job.id).update(run_at=None)
    await world.runner.run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (JobState.READY, 0, "NO_ANSWER")
    assert row.payload["GOCARDLESS"] == place
    assert "until" in row.payload["STRIPE"], "the other vendor's list was read"
    await world.run("inbox.catch_up")
    assert await received(Provider.GOCARDLESS) == wanted
    assert (await Job.get(id=job.id)).payload["GOCARDLESS"].keys() == {"until"}


async def test_an_event_to_go_on_behind_that_is_gone_begins_the_list_anew(world: World) -> None:
    world.sandbox.do("gocardless", "create_mandate")
    since = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    place = {"since": since, "began": since, "after": "EV_gone"}
    await Job.filter(key="inbox.catch_up").update(payload={"GOCARDLESS": place})
    job = await world.run("inbox.catch_up")
    assert (job.state, job.error_code) == (JobState.READY, "invalid_cursor")
    await world.run("inbox.catch_up")
    assert await received(Provider.GOCARDLESS) == cared_for(world)


async def test_a_worker_that_starts_catches_up_at_once(world: World) -> None:
    await world.run("inbox.catch_up")
    later = datetime.now(UTC) + timedelta(hours=1)
    for ago, hurried in ((10, False), (3600, True)):
        finished = datetime.now(UTC) - timedelta(seconds=ago)
        await Job.filter(key="inbox.catch_up").update(run_at=later, finished_at=finished)
        await jobs.hurry(AT_START)
        assert ((await Job.get(key="inbox.catch_up")).run_at is None) is hurried


async def test_a_batch_of_250_with_one_bad_event_is_taken_in_but_for_that_one(world: World) -> None:
    """No id, odd links, no time: each must not hold up the others."""
    debit, _ = await world.a_debit()
    world.sandbox.do("gocardless", "confirm_payment", payment=debit.reference)
    (true,) = [
        one
        for one in world.sandbox.state_of("gocardless.events")
        if one["links"].get("payment") == debit.reference and one["action"] == "confirmed"
    ]
    events: list[Any] = [{**true, "id": f"EVX{number}", "resource_type": "payouts"} for number in range(245)]
    odd: list[Any] = [{**true, "id": "EVY1", "links": None}, {**true, "id": "EVY2", "links": {"payment": 7}}]
    body = json.dumps({"events": [*events, {"action": "created"}, *odd, true, {**true, "id": "EVY3"}]}).encode()
    secret = world.sandbox.credentials["gocardless"]["webhook_secret"].encode()
    headers = {"Webhook-Signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}
    source = await world.registry.webhooks(Provider.GOCARDLESS)
    stored = await inbound.receive(Provider.GOCARDLESS, source.verify(body, headers))
    assert stored == len(events) + 4 == 249
    await world.run("inbox.apply")
    assert await status(debit) is P.CONFIRMED
    states: Any = await InboxEvent.filter(event_id__startswith="EV").values_list("state", flat=True)
    assert Counter(states) == {"IGNORED": 247, "APPLIED": 2}


# -- every night ------------------------------------------------------------------------------------------------------


async def test_what_differs_at_night_is_settled_as_news_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A debit confirmed and one failed, a refund paid, a mandate cancelled, a subscription ended: nothing was told."""
    monkeypatch.setattr(gaps, "ROWS_A_TURN", 2)
    (paid, _), (failed, _), (_, ended) = [await world.a_debit() for _ in range(3)]
    charge = await world.a_charge()
    world.sandbox.do("gocardless", "confirm_payment", payment=paid.reference)
    world.sandbox.do("gocardless", "fail_payment", payment=failed.reference)
    world.sandbox.do("gocardless", "cancel_mandate", mandate=ended)
    sold = world.sandbox.do("stripe", "create_product", name="Club", amount=50_00, currency="gbp")
    bought = world.sandbox.do("stripe", "complete_payment_link", email="a@example.test", name="A", price=sold["price"])
    world.sandbox.do("stripe", "cancel_subscription", subscription=bought["subscription"])
    await Subscription.create(
        provider="STRIPE", external_id=bought["subscription"], customer=bought["customer"], product="p", status="ACTIVE"
    )
    job = await world.run("payments.reconcile")
    assert (job.state, job.error_code, job.payload) == (JobState.READY, None, {})
    assert [await status(row) for row in (paid, failed, charge)] == [P.CONFIRMED, P.FAILED, P.CONFIRMED]
    assert (await Mandate.get(external_id=ended)).status == "CANCELLED"
    assert (await Subscription.get(external_id=bought["subscription"])).status == "CANCELED"
    assert not await Drift.all().exists()

    made = await refunds.refund_payment(charge.id, reason="rain", amount=10_00, acting=BY, at=NOW)
    await world.run("payments.refund")
    await world.run("payments.reconcile")
    assert (await Refund.get(id=made.id)).status is RefundStatus.SUCCEEDED


async def test_another_amount_is_no_news_but_a_drift(world: World) -> None:
    debit, _ = await world.a_debit()
    await Payment.filter(id=debit.id).update(amount=36_00)
    for _ in range(2):
        await world.run("payments.reconcile")
    (drift,) = await Drift.filter(subject_id=debit.id)
    assert (drift.provider, drift.subject_type, drift.field) == (Provider.GOCARDLESS, "Payment", "amount")
    assert (drift.ours, drift.theirs, drift.cause) == ("3600", "3500", f"reconcile:{debit.reference}")
    assert await status(debit) is P.SUBMITTED


async def test_what_a_person_decided_since_is_not_decided_again_by_the_same_news(world: World) -> None:
    debit, there = await world.a_debit()
    world.sandbox.do("gocardless", "cancel_mandate", mandate=there)
    await world.run("payments.reconcile")
    membership = await Membership.get(id=debit.membership_id)
    assert membership.status is Status.SUSPENDED
    await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    await world.run("payments.reconcile")
    assert (await Membership.get(id=membership.id)).status is Status.ACTIVE


async def test_what_is_gone_there_holds_up_nothing(world: World) -> None:
    gone, _ = await world.a_debit()
    there, _ = await world.a_debit()
    await Payment.filter(id=gone.id).update(reference="PM_gone")
    world.sandbox.do("gocardless", "confirm_payment", payment=there.reference)
    await world.run("payments.reconcile")
    assert (await status(gone), await status(there)) == (P.SUBMITTED, P.CONFIRMED)
