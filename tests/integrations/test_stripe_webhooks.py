"""What Stripe sends: which signatures count, and what its events mean by the latest state of their objects."""

import json
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import respx
import stripe

from integrations.stripe import facts, invoices
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import BEGINNING, EXACTLY, StripeWebhooks
from models.ports import BadSignature, Collection, ReceivedEvent, Unavailable
from models.rules.facts import (
    CheckoutCompleted,
    FeesTaken,
    InvoiceGone,
    InvoiceSeen,
    Mirrored,
    ObjectTouched,
    PaymentCancelled,
    PaymentChargedBack,
    PaymentFact,
    PaymentFailed,
    PaymentSucceeded,
    RefundFact,
    SubscriptionSeen,
)
from models.rules.invoicing import Period
from models.rules.states import InvoiceStatus, SubscriptionStatus
from tests.integrations.conftest import Sandbox, StoppedClock, an_order
from tests.sandbox.conftest import Receiver

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SECRET = "whsec_sandbox"
BODY = json.dumps({"object": "event", "id": "evt_1", "type": "invoice.paid", "created": 1767225600}).encode()


@pytest.fixture
async def stripe_account(sandbox: Sandbox) -> AsyncIterator[StripeAccount]:
    account = StripeAccount(sandbox.credentials["stripe"]["api_key"], api_base=sandbox.urls["stripe"])
    yield account
    await account.close()


@pytest.fixture
def webhooks(stripe_account: StripeAccount, clock: StoppedClock) -> StripeWebhooks:
    return StripeWebhooks(stripe_account, [SECRET], clock)


@pytest.fixture
def reader(clock: StoppedClock) -> StripeWebhooks:
    """A reader that has nobody to ask: for signatures alone."""
    return StripeWebhooks(StripeAccount("sk_test_x", api_base="http://127.0.0.1:1"), [SECRET], clock)


def signed(body: bytes = BODY, secret: str = SECRET, age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    return {"Stripe-Signature": stripe.WebhookSignature.generate_signature_header(body.decode(), secret, at)}


# -- signatures --------------------------------------------------------------------------------------------------------


def test_a_signed_event_is_read(reader: StripeWebhooks) -> None:
    assert reader.verify(BODY, signed()) == [
        ReceivedEvent("evt_1", "invoice.paid", None, json.loads(BODY)),
    ]


@pytest.mark.parametrize("age", [299, -299])
def test_the_clocks_may_differ_by_five_minutes(reader: StripeWebhooks, age: int) -> None:
    assert len(reader.verify(BODY, signed(age=age))) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Stripe-Signature": ""},
        {"Stripe-Signature": "nonsense"},
        {"Stripe-Signature": "t=abc,v1=00"},
        {"Stripe-Signature": "v1=00"},
        {"Stripe-Signature": f"t={int(time.time())},v0=00"},
        {"Stripe-Signature": f"t={int(time.time())},v1=Ã¼"},
        signed(secret="whsec_other"),
        signed(age=301),
        signed(age=-3600),
        signed(b"{}"),
    ],
    ids=["none", "empty", "nonsense", "no time", "only v1", "only v0", "latin-1", "other", "old", "future", "swapped"],
)
def test_what_is_no_signature_of_ours(reader: StripeWebhooks, headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        reader.verify(BODY, headers)


def test_the_body_counts_byte_for_byte(reader: StripeWebhooks) -> None:
    with pytest.raises(BadSignature):
        reader.verify(json.dumps(json.loads(BODY), indent=1).encode(), signed())


@pytest.mark.parametrize("body", [b"not json", b"[]", b"null", b"{}", b'{"id": 1, "type": "x"}'])
def test_a_signed_body_that_is_no_event(reader: StripeWebhooks, body: bytes) -> None:
    with pytest.raises(BadSignature):
        reader.verify(body, signed(body))


def test_a_body_that_is_not_utf8(reader: StripeWebhooks) -> None:
    with pytest.raises(BadSignature):
        reader.verify(b"\xff\xfe", signed())


def test_while_a_secret_is_rolled_both_count(clock: StoppedClock) -> None:
    account = StripeAccount("sk_test_x", api_base="http://127.0.0.1:1")
    both = StripeWebhooks(account, ["whsec_new", "whsec_old"], clock)
    assert both.verify(BODY, signed(secret="whsec_new")) == both.verify(BODY, signed(secret="whsec_old"))
    twice = (
        f"{signed(secret='whsec_gone')['Stripe-Signature']},v1={signed(secret='whsec_old')['Stripe-Signature'][-64:]}"
    )
    assert len(both.verify(BODY, {"stripe-signature": twice})) == 1


@pytest.mark.parametrize("secrets", [[], [""], [" \t"]])
def test_a_blank_secret_signs_nothing(clock: StoppedClock, secrets: list[str]) -> None:
    blank = StripeWebhooks(StripeAccount("sk_test_x", api_base="http://127.0.0.1:1"), secrets, clock)
    with pytest.raises(BadSignature):
        blank.verify(BODY, signed(secret=""))


def test_a_thin_event_is_the_same_event(reader: StripeWebhooks) -> None:
    thin = {
        "object": "v2.core.event",
        "id": "evt_thin",
        "type": "v1.invoice.paid",
        "created": "2026-01-01T00:00:00.000Z",
        "livemode": False,
        "related_object": {"id": "in_1", "type": "invoice", "url": "/v1/invoices/in_1"},
        "snapshot_event": "evt_1",
    }
    body = json.dumps(thin).encode()
    assert reader.verify(body, signed(body)) == [ReceivedEvent("evt_1", "invoice.paid", "in_1", thin)]
    del thin["snapshot_event"]
    body = json.dumps(thin).encode()
    assert reader.verify(body, signed(body))[0].event_id == "evt_thin"


# -- what events mean --------------------------------------------------------------------------------------------------


def received(receiver: Receiver, webhooks: StripeWebhooks, event_type: str) -> list[ReceivedEvent]:
    """Wait for an event of the type -> all of it received so far, verified."""

    def those(requests: list[Any]) -> list[Any]:
        return [one for one in requests if one.json["type"] == event_type]

    arrived = those(receiver.wait("/webhooks/stripe", lambda requests: bool(those(requests))))
    return [event for one in arrived for event in webhooks.verify(one.body, one.headers)]


def thin(kind: str, object_id: str, created: int = 1767225600) -> ReceivedEvent:
    return ReceivedEvent(f"evt_{object_id}", kind, object_id, {"created": created, "livemode": False})


@pytest.fixture
def order(sandbox: Sandbox) -> Collection:
    card = sandbox.do("stripe", "create_customer_with_card", email="jo@example.org", name="Jo Swim")
    return an_order(customer=card["customer"], payment_method=card["payment_method"])


async def test_a_payment_that_succeeded(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, receiver: Receiver, order: Collection
) -> None:
    collected = await stripe_account.collect(order)
    (event,) = received(receiver, webhooks, "payment_intent.succeeded")
    assert event.object_id == collected.reference
    occurred_at = datetime.fromtimestamp(event.body["created"], UTC)
    succeeded, kept = await webhooks.facts(event)
    assert succeeded == PaymentSucceeded(
        payment_reference=str(order.payment_id),
        provider="STRIPE",
        external_id=collected.reference,
        occurred_at=occurred_at,
    )
    assert isinstance(kept, FeesTaken)
    assert kept.reference.startswith("txn_")
    ((payment, fee),) = kept.fees
    assert (payment, kept.currency, kept.occurred_at) == (collected.reference, order.currency, occurred_at)
    assert 0 < fee < order.amount


async def test_a_late_failure_event_tells_the_latest_state(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    sandbox.do("stripe", "decline_card", payment_method=order.payment_method, decline_code="do_not_honor")
    failed = await stripe_account.collect(order)
    (event,) = received(receiver, webhooks, "payment_intent.payment_failed")
    (fact,) = await webhooks.facts(event)
    assert isinstance(fact, PaymentFailed)
    assert (fact.payment_reference, fact.cause) == (str(order.payment_id), "do_not_honor")

    sandbox.do("stripe", "accept_card", payment_method=order.payment_method)
    await stripe_account.retry(failed.reference, f"{order.key}:2")
    fact, _ = await webhooks.facts(event)
    assert isinstance(fact, PaymentSucceeded)


async def test_a_success_told_after_its_dispute_gives_nothing_back(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    reference = (await stripe_account.collect(order)).reference
    (event,) = received(receiver, webhooks, "payment_intent.succeeded")
    dispute = sandbox.do("stripe", "dispute_payment", payment_intent=reference)["dispute"]
    fact, _ = await webhooks.facts(event)
    assert isinstance(fact, PaymentChargedBack)
    assert (fact.external_id, fact.cause) == (reference, "fraudulent")
    sandbox.do("stripe", "end_dispute", dispute=dispute, won=False)
    assert isinstance((await webhooks.facts(event))[0], PaymentChargedBack)


async def test_a_payment_that_is_not_ours_says_nothing(
    webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver
) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
    (event,) = received(receiver, webhooks, "payment_intent.succeeded")
    assert await webhooks.facts(event) == []


async def test_a_sign_up_by_payment_link(
    webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver, clock: StoppedClock
) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    bought = sandbox.do(
        "stripe",
        "complete_payment_link",
        price=sold["price"],
        email="ada@example.org",
        name="Ada Byron",
        client_reference_id="user-1",
        metadata={"desk": "north"},
    )
    (event,) = received(receiver, webhooks, "checkout.session.completed")
    checkout, touched = await webhooks.facts(event)
    assert touched == ObjectTouched(provider="STRIPE", kind=Mirrored.SUBSCRIPTION, external_id=bought["subscription"])
    (seen,) = await webhooks.read(Mirrored.SUBSCRIPTION, bought["subscription"])
    assert checkout == CheckoutCompleted(
        provider="STRIPE",
        external_id=bought["checkout_session"],
        customer_id=bought["customer"],
        subscription_id=bought["subscription"],
        payment_id=None,
        user_reference="user-1",
        email="ada@example.org",
        name="Ada Byron",
        occurred_at=datetime.fromtimestamp(event.body["created"], UTC),
        metadata=(("desk", "north"),),
    )
    (sub,) = sandbox.state_of("stripe.subscription")
    assert seen == SubscriptionSeen(
        provider="STRIPE",
        external_id=bought["subscription"],
        customer_id=bought["customer"],
        product_ids=(sold["product"],),
        status=SubscriptionStatus.ACTIVE,
        started_at=datetime.fromtimestamp(sub["start_date"], UTC),
        seen_at=clock.at,
        email="ada@example.org",
        name="Ada Byron",
        user_reference="user-1",
    )
    (created,) = received(receiver, webhooks, "customer.subscription.created")
    assert await webhooks.facts(created) == [seen], "the subscription alone leads to the checkout that sold it"


async def test_a_cancelled_subscription_ended_then(
    webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver
) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    bought = sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
    sandbox.do("stripe", "cancel_subscription", subscription=bought["subscription"])
    (event,) = received(receiver, webhooks, "customer.subscription.deleted")
    (seen,) = await webhooks.facts(event)
    assert isinstance(seen, SubscriptionSeen)
    (sub,) = sandbox.state_of("stripe.subscription")
    assert (seen.status, seen.cancelled_at) == (
        SubscriptionStatus.CANCELED,
        datetime.fromtimestamp(sub["ended_at"], UTC),
    )


async def test_a_renewal_pays_for_the_time_ahead(
    webhooks: StripeWebhooks, sandbox: Sandbox, clock: StoppedClock
) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    bought = sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
    sandbox.advance(days=32)
    first, renewal = sandbox.state_of("stripe.invoice")
    assert first["id"] == bought["invoice"]
    assert renewal["period_start"] < renewal["lines"]["data"][0]["period"]["start"] == renewal["period_end"]

    (seen,) = await webhooks.facts(thin("invoice.paid", renewal["id"]))
    line = renewal["lines"]["data"][0]
    ahead = Period(
        datetime.fromtimestamp(line["period"]["start"], UTC), datetime.fromtimestamp(line["period"]["end"], UTC)
    )
    assert isinstance(seen, InvoiceSeen)
    assert seen == InvoiceSeen(
        provider="STRIPE",
        external_id=renewal["id"],
        number=renewal["number"],
        customer_id=bought["customer"],
        subscription_id=bought["subscription"],
        status=InvoiceStatus.PAID,
        currency="AUD",
        total=10000,
        amount_paid=10000,
        amount_refunded=0,
        period=ahead,
        lines=seen.lines,
        created_at=datetime.fromtimestamp(renewal["created"], UTC),
        seen_at=clock.at,
    )
    (only,) = seen.lines
    assert (only.external_id, only.amount, only.period, only.product_id) == (line["id"], 10000, ahead, sold["product"])
    assert (only.quantity, only.proration, only.description) == (1, False, "1 × Pilates")


@pytest.mark.parametrize("event_type", ["refund.created", "charge.refunded"])
async def test_a_refund_is_seen_on_the_invoice_it_was_paid_back_of(
    webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver, event_type: str
) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    bought = sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
    (made,) = sandbox.state_of("stripe.invoice_payment")
    for amount in (2500, 1000):
        sandbox.do("stripe", "refund_payment", payment_intent=made["payment"]["payment_intent"], amount=amount)
    event = received(receiver, webhooks, event_type)[0]
    (touched,) = await webhooks.facts(event)
    assert touched == ObjectTouched(provider="STRIPE", kind=Mirrored.INVOICE, external_id=bought["invoice"])
    (seen,) = await webhooks.read(Mirrored.INVOICE, bought["invoice"])
    assert isinstance(seen, InvoiceSeen)
    assert (seen.external_id, seen.status) == (bought["invoice"], InvoiceStatus.PAID)
    assert (seen.total, seen.amount_paid, seen.amount_refunded) == (10000, 10000, 3500)


async def test_a_refund_of_a_one_off_payment_touches_no_invoice(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    collected = await stripe_account.collect(order)
    sandbox.do("stripe", "refund_payment", payment_intent=collected.reference)
    (event,) = received(receiver, webhooks, "refund.created")
    (fact,) = await webhooks.facts(event)
    assert isinstance(fact, RefundFact)


async def test_an_invoice_of_more_lines_than_a_page_is_read_whole(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox
) -> None:
    v1 = stripe_account.v1
    card = sandbox.do("stripe", "create_customer_with_card", email="b@example.org", name="B")
    prices = [
        sandbox.do("stripe", "create_product", name=f"Class {n}", amount=100 + n, currency="aud", interval="month")
        for n in range(12)
    ]
    await v1.subscriptions.create_async(
        {"customer": card["customer"], "items": [{"price": one["price"]} for one in prices]}
    )
    (made,) = sandbox.state_of("stripe.invoice")
    assert made["lines"]["has_more"]
    (seen,) = await webhooks.facts(thin("invoice.paid", made["id"]))
    assert isinstance(seen, InvoiceSeen)
    assert [line.amount for line in seen.lines] == [100 + n for n in range(12)]
    assert sum(line.amount for line in seen.lines) == seen.total == made["total"]


async def test_a_change_in_mid_period_keeps_the_period_of_the_subscription(
    stripe_account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox
) -> None:
    small = sandbox.do("stripe", "create_product", name="Small", amount=5000, currency="aud", interval="month")
    large = sandbox.do("stripe", "create_product", name="Large", amount=9000, currency="aud", interval="month")
    bought = sandbox.do("stripe", "complete_payment_link", price=small["price"], email="c@example.org", name="C")
    sandbox.advance(days=10)
    (sub,) = sandbox.state_of("stripe.subscription")
    item = sub["items"]["data"][0]["id"]
    await stripe_account.v1.subscriptions.update_async(
        bought["subscription"], {"items": [{"id": item, "price": large["price"]}]}
    )
    sandbox.advance(days=25)
    renewal = sandbox.state_of("stripe.invoice")[-1]
    (seen,) = await webhooks.facts(thin("invoice.paid", renewal["id"]))
    assert isinstance(seen, InvoiceSeen)
    back, ahead, main = seen.lines
    assert (back.proration, ahead.proration, main.proration) == (True, True, False)
    assert back.amount < 0 < ahead.amount
    assert back.amount + ahead.amount + 9000 == seen.total
    assert seen.period == main.period
    assert main.period.start == back.period.end


@pytest.mark.parametrize("kind", ["customer.created", "payment_link.created", "invoice.upcoming", "price.updated"])
async def test_events_nobody_cares_about(webhooks: StripeWebhooks, sandbox: Sandbox, kind: str) -> None:
    assert await webhooks.facts(thin(kind, "x_1")) == []
    assert sandbox.get("/calls?provider=stripe") == []


async def test_an_object_deleted_since_says_nothing(webhooks: StripeWebhooks) -> None:
    assert await webhooks.facts(thin("invoice.updated", "in_gone")) == []
    assert await webhooks.facts(thin("credit_note.voided", "cn_gone")) == []
    assert await webhooks.read(Mirrored.INVOICE, "in_gone") == []
    assert await webhooks.facts(thin("invoice.deleted", "in_gone")) == [
        InvoiceGone(provider="STRIPE", external_id="in_gone")
    ]


async def test_an_event_of_the_live_account_is_not_ours(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    live = ReceivedEvent("evt_1", "invoice.paid", "in_1", {"created": 1767225600, "livemode": True})
    assert await webhooks.facts(live) == []
    assert sandbox.get("/calls?provider=stripe") == []


async def test_while_stripe_is_down_the_event_waits(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    sandbox.post("/faults", provider="stripe", kind="500_before", times=3)
    with pytest.raises(Unavailable):
        await webhooks.facts(thin("invoice.paid", "in_1"))


# -- the vendor's own objects ------------------------------------------------------------------------------------------

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_the_vendors_invoice(sample: Callable[[str], Any]) -> None:
    whole = sample("stripe_openapi_fixtures/invoice.json")
    seen = invoices.invoice(whole, whole["lines"]["data"], 0, AT)
    moment = datetime.fromtimestamp(1721954054, UTC)
    assert seen is not None
    assert (seen.external_id, seen.customer_id) == ("in_1Pgc6tB7WZ01zgkWu9fdqL6I", "cus_QXg1o8vcGmoR32")
    assert (seen.status, seen.currency, seen.total, seen.number) == (InvoiceStatus.DRAFT, "USD", 1000, None)
    assert (seen.subscription_id, seen.period) == ("subscription", Period(moment, moment + timedelta(seconds=1)))
    assert [(line.amount, line.proration, line.product_id) for line in seen.lines] == [(1000, True, None)]


def test_the_vendors_subscription(sample: Callable[[str], Any]) -> None:
    sub = sample("stripe_openapi_fixtures/subscription.json")
    seen = facts.subscription(sub, sub["items"]["data"], AT)
    assert seen is not None
    assert (seen.external_id, seen.status) == ("sub_1Pgc6rB7WZ01zgkWNy0Cn5nw", SubscriptionStatus.ACTIVE)
    assert (seen.product_ids, seen.customer_id) == (("prod_QXg1hqf4jFNsqG",), "cus_QXg1o8vcGmoR32")


def test_the_vendors_payment_intent_and_session(sample: Callable[[str], Any]) -> None:
    intent = sample("stripe_openapi_fixtures/payment_intent.json")
    assert facts.payment(intent, AT) is None
    ours = intent | {"metadata": {"payment_id": "p1"}, "status": "canceled", "cancellation_reason": "duplicate"}
    assert facts.payment(ours, AT) == PaymentCancelled(
        payment_reference="p1", provider="STRIPE", external_id=intent["id"], occurred_at=AT, cause="duplicate"
    )
    assert facts.checkout(sample("stripe_openapi_fixtures/checkout.session.json"), AT) is None


@pytest.mark.parametrize(
    ("status", "kind", "cause"),
    [
        ("needs_response", PaymentChargedBack, "fraudulent"),
        ("lost", PaymentChargedBack, "fraudulent"),
        ("won", PaymentSucceeded, None),
    ],
)
@pytest.mark.parametrize("event_type", ["charge.dispute.funds_withdrawn", "charge.dispute.funds_reinstated"])
async def test_a_dispute_takes_the_money_back_until_it_is_won(
    reader: StripeWebhooks,
    sample: Callable[[str], Any],
    respx_mock: respx.MockRouter,
    event_type: str,
    status: str,
    kind: type[PaymentFact],
    cause: str | None,
) -> None:
    disputed = sample("stripe_openapi_fixtures/dispute.json") | {
        "id": "du_1",
        "status": status,
        "reason": "fraudulent",
        "payment_intent": "pi_1",
    }
    ours = {"id": "pi_1", "metadata": {"payment_id": "p1"}, "amount": disputed["amount"]}
    intent = sample("stripe_openapi_fixtures/payment_intent.json") | ours
    respx_mock.get("http://127.0.0.1:1/v1/disputes/du_1").respond(json=disputed)
    respx_mock.get("http://127.0.0.1:1/v1/payment_intents/pi_1").respond(json=intent)
    respx_mock.get("http://127.0.0.1:1/v1/invoice_payments").respond(
        json={"object": "list", "data": [], "has_more": False, "url": "/v1/invoice_payments"}
    )
    assert await reader.facts(thin(event_type, "du_1", created=int(AT.timestamp()))) == [
        kind(payment_reference="p1", provider="STRIPE", external_id="pi_1", occurred_at=AT, cause=cause)
    ]


def test_the_types_cared_for_are_the_vendors(sample: Callable[[str], Any]) -> None:
    types = sample("derived/stripe_16_1_0_event_types.json")["snapshot_event_types"]
    assert EXACTLY.keys() <= set(types)
    assert all(any(kind.startswith(start) for kind in types) for start in BEGINNING)


def test_invoices_of_older_versions() -> None:
    """Before 2025-03-31 the subscription stood at the top, and a line had its own."""
    line = {
        "id": "il_1",
        "amount": 5000,
        "description": "Pilates",
        "period": {"start": 1767225600, "end": 1769904000},
        "price": {"id": "price_1", "product": "prod_1"},
        "proration": False,
        "subscription": "sub_1",
        "quantity": 2,
        "discount_amounts": [{"amount": 1000, "discount": "di_1"}],
        "tax_amounts": [{"amount": 400, "inclusive": False}, {"amount": 99, "inclusive": True}],
    }
    whole = {
        "id": "in_1",
        "status": "open",
        "customer": {"id": "cus_1", "email": "a@example.org"},
        "currency": "gbp",
        "total": 4400,
        "amount_paid": 0,
        "created": 1767225600,
        "period_start": 1764547200,
        "period_end": 1767225600,
        "subscription": "sub_1",
        "number": "A-1",
    }
    seen = invoices.invoice(whole, [line], 0, AT)
    assert seen is not None
    assert (seen.subscription_id, seen.customer_id) == ("sub_1", "cus_1")
    assert seen.period == Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
    assert [(one.amount, one.quantity, one.product_id) for one in seen.lines] == [(4400, 2, "prod_1")]


def test_a_state_stripe_invents_tomorrow_is_left_alone() -> None:
    assert facts.subscription({"id": "s", "customer": "c", "status": "asleep", "start_date": 0}, [], AT) is None
    assert invoices.invoice({"id": "i", "customer": "c", "status": None, "currency": "gbp"}, [], 0, AT) is None
