"""What the vendors' two libraries do on their own, or their services in silence, and where it would hurt."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
import respx
import stripe
from gocardless_pro import errors

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.errors import mapped
from integrations.gocardless.webhook import MANDATES
from integrations.gocardless.words import OUTCOMES
from integrations.http import Effect
from integrations.stripe import facts
from integrations.stripe.client import StripeAccount
from integrations.stripe.errors import answered
from models.ports import Collected, OutcomeUnknown, RateLimited, Unavailable
from models.rules.facts import RefundFact
from models.rules.mirroring import reference_of
from models.rules.states import PaymentOutcome, RefundOutcome, SubscriptionStatus
from tests.integrations.conftest import Sandbox, an_order
from tests.sandbox.conftest import until

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
BASE = "http://127.0.0.1:1"
AT = datetime(2026, 3, 1, tzinfo=UTC)
Sample = Callable[[str], Any]


@pytest.fixture
async def account() -> AsyncIterator[StripeAccount]:
    client = StripeAccount("sk_test_1", api_base=BASE)
    yield client
    await client.close()


@pytest.fixture
async def debits(sandbox: Sandbox) -> AsyncIterator[DirectDebits]:
    token = sandbox.credentials["gocardless"]["access_token"]
    client = DirectDebits(token, api_base=sandbox.urls["gocardless"], answer_seconds=2)
    yield client
    await client.close()


# -- Stripe -----------------------------------------------------------------------------------------------------------


async def test_a_write_is_sent_once_under_our_key_in_the_version_we_know(
    account: StripeAccount, sample: Sample, respx_mock: respx.MockRouter
) -> None:
    """The library's own retries would be silent, and a newer one would bring another version along."""
    order = an_order(customer="cus_1", payment_method="pm_1")
    charge = respx_mock.post(f"{BASE}/v1/payment_intents").respond(503)
    with pytest.raises(OutcomeUnknown):
        await account.collect(order)
    (call,) = charge.calls
    sent = call.request.headers
    assert (sent["Idempotency-Key"], sent["Stripe-Version"]) == (order.key, "2026-10-28.endive")
    intent = sample("stripe_openapi_fixtures/payment_intent.json")
    read = respx_mock.get(f"{BASE}/v1/payment_intents/pi_1")
    read.side_effect = [respx.MockResponse(503), respx.MockResponse(200, json={**intent, "status": "succeeded"})]
    assert (await account.status("pi_1")).outcome is PaymentOutcome.CONFIRMED
    assert len(read.calls) == 2, "a read is asked again"


async def test_a_proxy_is_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's own setting fails with every call; what the environment says is obeyed."""
    asked: list[bytes] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(proxy, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        for name in ("NO_PROXY", "no_proxy", "http_proxy"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        account = StripeAccount("sk_test_1", api_base="http://stripe.test")
        with pytest.raises(Unavailable):
            await account.status("pi_1")
        await account.close()
    assert {line.split(b"?")[0] for line in asked} == {b"GET http://stripe.test/v1/payment_intents/pi_1"}


def test_nothing_blocks_the_loop_or_writes_to_the_disk(account: StripeAccount) -> None:
    with pytest.raises(RuntimeError):
        account.v1.customers.list()
    assert stripe.enable_telemetry is False


@pytest.mark.parametrize(("effect", "lost"), [(Effect.READ, Unavailable), (Effect.WRITE, OutcomeUnknown)])
async def test_a_number_that_is_none_is_a_lost_answer(effect: Effect, lost: type[Exception]) -> None:
    """The library reads decimals itself, and what it raises then is none of its own errors."""

    async def call() -> Decimal:
        return Decimal("twelve")

    with pytest.raises(lost):
        await answered(call(), effect)


def test_a_finished_checkout_is_not_a_paid_one(sample: Sample) -> None:
    session = sample("stripe_openapi_fixtures/checkout.session.json") | {"status": "complete", "customer": "cus_1"}
    assert facts.checkout(session | {"payment_status": "unpaid"}, AT) is None
    for paid in ("paid", "no_payment_required"):
        assert facts.checkout(session | {"payment_status": paid}, AT) is not None


@pytest.mark.parametrize(
    ("said", "status", "ended"),
    [
        ({"pause_collection": {"behavior": "void"}}, SubscriptionStatus.ACTIVE, None),
        ({"cancel_at_period_end": True, "canceled_at": 1772323200}, SubscriptionStatus.ACTIVE, None),
        ({"status": "canceled", "canceled_at": 1, "ended_at": 1772323200}, SubscriptionStatus.CANCELED, AT),
        ({"status": "incomplete_expired"}, SubscriptionStatus.INCOMPLETE_EXPIRED, None),
    ],
    ids=["collection paused", "to end", "ended", "never began"],
)
def test_a_subscription_stands_by_its_state_and_ends_when_it_ended(
    sample: Sample, said: dict[str, Any], status: SubscriptionStatus, ended: datetime | None
) -> None:
    sub = sample("stripe_openapi_fixtures/subscription.json") | {"canceled_at": None, "ended_at": None} | said
    seen = facts.subscription(sub, sub["items"]["data"], AT)
    assert seen is not None
    assert (seen.status, seen.cancelled_at) == (status, ended)


@pytest.mark.parametrize(("status", "outcome"), [("lost", RefundOutcome.SUCCEEDED), ("won", RefundOutcome.FAILED)])
def test_a_dispute_about_a_part_is_a_refund_made_there(sample: Sample, status: str, outcome: RefundOutcome) -> None:
    """What was not disputed was received, and is not owed again."""
    intent = sample("stripe_openapi_fixtures/payment_intent.json")
    intent |= {"id": "pi_1", "metadata": {"payment_id": "p1"}, "amount": 3500}
    disputed = sample("stripe_openapi_fixtures/dispute.json")
    disputed |= {"id": "du_1", "status": status, "amount": 1000, "currency": "gbp"}
    assert facts.dispute(disputed, intent, AT) == RefundFact(
        outcome=outcome,
        refund_reference=None,
        payment_reference="p1",
        provider="STRIPE",
        external_id="du_1",
        payment_external_id="pi_1",
        amount=1000,
        currency="GBP",
        occurred_at=AT,
        cause=status,
    )


def test_a_links_address_carries_a_reference_that_is_not_dropped() -> None:
    """Stripe drops one of other characters, or a longer one, without a word."""
    for reference in (reference_of(UUID(int=1)), reference_of(UUID(int=1), UUID(int=2))):
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,200}", reference)


# -- GoCardless -------------------------------------------------------------------------------------------------------


async def test_a_call_that_is_cancelled_happens_all_the_same_and_is_found(
    debits: DirectDebits, sandbox: Sandbox
) -> None:
    """It runs in a thread: our key and our id in its metadata are what makes that harmless."""
    mandate = sandbox.do("gocardless", "create_mandate")["mandate"]
    order = an_order(mandate=mandate, charge_on=sandbox.now().date())
    sandbox.post("/faults", provider="gocardless", path="/payments$", kind="drop_answer", times=1)
    asked = asyncio.create_task(debits.collect(order))
    posted = [("POST", "/payments")]
    calls = partial(sandbox.get, "/calls?provider=gocardless")
    await asyncio.to_thread(until, lambda: [each for each in calls() if (each["method"], each["path"]) in posted], bool)
    asked.cancel()
    with suppress(asyncio.CancelledError):
        await asked
    again = await debits.collect(order)
    assert await debits.look_up(order) == again == Collected(again.reference, None)
    (payment,) = sandbox.state_of("gocardless.payments")
    assert payment["id"] == again.reference


async def test_the_list_of_events_is_really_read_from_an_instant_on(debits: DirectDebits, sandbox: Sandbox) -> None:
    """The library sends a nested filter as a wrong one, and the list would be all there is."""
    sandbox.do("gocardless", "create_mandate")
    told = [each async for page in debits.events(sandbox.now() - timedelta(days=1), None) for each in page]
    assert "mandates" in {each["resource_type"] for each in told}
    assert [page async for page in debits.events(sandbox.now() + timedelta(days=1), None)] == [[]]


def test_a_429_is_over_with_the_minute() -> None:
    """The exception carries no header that says so."""
    found = mapped(errors.RateLimitError({"code": 429, "type": "invalid_api_usage", "errors": None}), Effect.WRITE)
    assert isinstance(found, RateLimited)
    assert 0 < found.retry_after <= 60


def test_every_state_the_vendor_names_is_known() -> None:
    payments = "pending_customer_approval pending_submission submitted confirmed paid_out cancelled failed charged_back"
    assert OUTCOMES.keys() == {*payments.split(), "customer_approval_denied"}
    mandates = "pending_customer_approval pending_submission submitted active suspended_by_payer failed cancelled"
    assert MANDATES.keys() == {*mandates.split(), "expired", "consumed", "blocked"}


async def test_fees_are_told_to_half_a_penny(debits: DirectDebits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Summed exactly for each payment, rounded at the end; one given back is below zero."""
    fee = {"type": "gocardless_fee"}
    items = [
        {**fee, "amount": "-10.5", "links": {"payment": "PM1"}},
        {**fee, "amount": "-20.5", "links": {"payment": "PM1"}},
        {**fee, "amount": "-12.5", "links": {"payment": "PM2"}},
        {**fee, "amount": "40.0", "links": {"payment": "PM3"}},
        {**fee, "amount": "-5.0", "links": {}},
        {"type": "payment_paid_out", "amount": "3500.0", "links": {"payment": "PM1"}},
    ]

    async def listed(*_: Any) -> list[Any]:
        return items

    async def fetched(*_: Any) -> Any:
        return {"currency": "GBP"}

    monkeypatch.setattr(debits, "_all", listed)
    monkeypatch.setattr(debits, "_fetch", fetched)
    assert await debits.kept_of("PO1") == ("GBP", {"PM1": 31, "PM2": 13, "PM3": -40})
