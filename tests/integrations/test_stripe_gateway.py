"""Stripe behind PaymentGateway and SubscriptionSeller, against the sandbox process."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from integrations.stripe.client import StripeAccount
from local.state import held_ports
from models.ports import Collected, Collection, OutcomeUnknown, ProviderError, RateLimited, Refused, Unavailable
from models.rules.states import PaymentOutcome
from tests.integrations.conftest import Sandbox, an_order

CREATE = "/v1/payment_intents$"
# The vendor's library hands httpx its form in a way httpx is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
async def stripe_account(sandbox: Sandbox) -> AsyncIterator[StripeAccount]:
    account = StripeAccount(
        sandbox.credentials["stripe"]["api_key"], api_base=sandbox.urls["stripe"], answer_seconds=0.7
    )
    yield account
    await account.close()


@pytest.fixture
def order(sandbox: Sandbox) -> Collection:
    card = sandbox.do("stripe", "create_customer_with_card", email="jo@example.org", name="Jo Swim")
    return an_order(customer=card["customer"], payment_method=card["payment_method"])


def intents(sandbox: Sandbox, order: Collection) -> list[str]:
    """Ids of the payment intents there are for an order."""
    ours = str(order.payment_id)
    return [one["id"] for one in sandbox.state_of("stripe.payment_intent") if one["metadata"].get("payment_id") == ours]


def fault(sandbox: Sandbox, kind: str, path: str = CREATE, times: int = 1, seconds: float = 1.5) -> None:
    sandbox.post("/faults", provider="stripe", path=path, kind=kind, times=times, seconds=seconds)


async def test_a_card_is_charged(stripe_account: StripeAccount, sandbox: Sandbox, order: Collection) -> None:
    collected = await stripe_account.collect(order)

    (intent,) = sandbox.state_of("stripe.payment_intent")
    assert collected == Collected(intent["id"], PaymentOutcome.CONFIRMED)
    assert (intent["amount"], intent["currency"], intent["customer"]) == (2500, "gbp", order.customer)
    assert intent["metadata"] == {"payment_id": str(order.payment_id)}
    (call,) = [call for call in sandbox.get("/calls?provider=stripe") if call["method"] == "POST"]
    assert (call["idempotency_key"], call["status"]) == (order.key, 200)


async def test_the_same_order_twice_is_one_charge(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    first, second = await stripe_account.collect(order), await stripe_account.collect(order)
    assert first == second
    assert intents(sandbox, order) == [first.reference]


async def test_a_key_used_for_another_amount_is_refused(stripe_account: StripeAccount, order: Collection) -> None:
    await stripe_account.collect(order)
    other = an_order(key=order.key, amount=9900, customer=order.customer, payment_method=order.payment_method)
    with pytest.raises(Refused) as refused:
        await stripe_account.collect(other)
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"


async def test_a_key_used_with_another_card_stands_for_what_was_charged_then(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    """The card was changed between two attempts: Stripe says that the key is another request's, and has our payment."""
    first = await stripe_account.collect(order)
    assert await stripe_account.collect(replace(order, description="Swimming, with another card")) == first
    assert intents(sandbox, order) == [first.reference]


@pytest.mark.parametrize("change", [{"amount": 9900}, {"currency": "EUR"}])
async def test_what_was_made_under_our_id_and_is_not_what_was_ordered_is_never_ours(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection, change: dict[str, Any]
) -> None:
    await stripe_account.collect(order)
    other = replace(order, **change)
    for ask in (stripe_account.look_up, stripe_account.collect):
        with pytest.raises(Refused) as refused:
            await ask(other)
        assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    assert len(intents(sandbox, order)) == 1


async def test_a_declined_card_is_an_outcome(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    sandbox.do("stripe", "decline_card", payment_method=order.payment_method, decline_code="insufficient_funds")
    collected = await stripe_account.collect(order)
    assert collected == Collected(intents(sandbox, order)[0], PaymentOutcome.FAILED, "insufficient_funds")
    assert await stripe_account.status(collected.reference) == collected


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"amount": 1}, "amount_too_small"),
        ({"customer": "cus_nobody"}, "resource_missing"),
        ({"payment_method": None}, "NO_PAYMENT_METHOD"),
        ({"customer": None}, "NO_PAYMENT_METHOD"),
    ],
)
async def test_what_stripe_refuses(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection, fields: dict[str, object], code: str
) -> None:
    card = {"customer": order.customer, "payment_method": order.payment_method}
    wrong = an_order(**card | fields)
    with pytest.raises(Refused) as refused:
        await stripe_account.collect(wrong)
    assert refused.value.code == code
    assert intents(sandbox, wrong) == []


@pytest.mark.parametrize(
    ("kind", "raised", "code", "charged"),
    [
        ("500_before", OutcomeUnknown, "ANSWERED_ERROR", 0),
        ("500_after", OutcomeUnknown, "ANSWERED_ERROR", 1),
        ("html_502", OutcomeUnknown, "NO_ANSWER", 0),
        ("timeout", OutcomeUnknown, "NO_ANSWER", 0),
        ("drop_answer", OutcomeUnknown, "NO_ANSWER", 1),
        ("429", RateLimited, "RATE_LIMITED", 0),
    ],
)
async def test_a_lost_answer_never_charges_twice(
    stripe_account: StripeAccount,
    sandbox: Sandbox,
    order: Collection,
    kind: str,
    raised: type[ProviderError],
    code: str,
    charged: int,
) -> None:
    fault(sandbox, kind)
    with pytest.raises(ProviderError) as failed:
        await stripe_account.collect(order)
    assert (type(failed.value), failed.value.code) == (raised, code)
    assert len(intents(sandbox, order)) == charged

    found = await stripe_account.look_up(order)
    assert (found is not None) == bool(charged)
    settled = found or await stripe_account.collect(order)
    assert settled == Collected(intents(sandbox, order)[0], PaymentOutcome.CONFIRMED)
    assert len(intents(sandbox, order)) == 1


@pytest.mark.parametrize("kind", ["500_before", "html_502", "timeout", "drop_answer"])
async def test_a_read_that_stays_unanswered_is_unavailable(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection, kind: str
) -> None:
    fault(sandbox, kind, path="", times=3)
    with pytest.raises(Unavailable):
        await stripe_account.look_up(order)
    assert await stripe_account.look_up(order) is None


async def test_one_bad_answer_to_a_read_is_not_noticed(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    fault(sandbox, "html_502", path="")
    assert await stripe_account.look_up(order) is None


async def test_nobody_listens(order: Collection) -> None:
    account = StripeAccount("sk_test_x", api_base=f"http://127.0.0.1:{held_ports(1)[0]}")
    with pytest.raises(Unavailable):
        await account.collect(order)
    await account.close()


async def test_a_wrong_key_is_ours_to_mend_and_no_payers_failure(sandbox: Sandbox, order: Collection) -> None:
    account = StripeAccount("sk_test_wrong", api_base=sandbox.urls["stripe"])
    with pytest.raises(Unavailable) as refused:
        await account.status("pi_1")
    assert refused.value.code == "CREDENTIALS"
    await account.close()


async def test_looking_up_reads_every_page(stripe_account: StripeAccount, sandbox: Sandbox, order: Collection) -> None:
    oldest = await stripe_account.collect(order)
    card = {"customer": order.customer, "payment_method": order.payment_method}
    for _ in range(5):
        await asyncio.gather(*(stripe_account.collect(an_order(**card)) for _ in range(20)))
    assert await stripe_account.look_up(order) == oldest
    assert await stripe_account.look_up(an_order(**card)) is None


async def test_of_two_intents_the_one_that_succeeded_counts(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    paid = await stripe_account.collect(order)
    sandbox.do("stripe", "decline_card", payment_method=order.payment_method)
    again = an_order(payment_id=order.payment_id, customer=order.customer, payment_method=order.payment_method)
    assert (await stripe_account.collect(again)).outcome is PaymentOutcome.FAILED
    assert await stripe_account.look_up(order) == paid


async def test_a_retry_confirms_the_same_intent(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    sandbox.do("stripe", "decline_card", payment_method=order.payment_method)
    failed = await stripe_account.collect(order)
    again = await stripe_account.retry(failed.reference, f"{order.key}:2")
    assert again == Collected(failed.reference, PaymentOutcome.FAILED, "generic_decline")

    sandbox.do("stripe", "accept_card", payment_method=order.payment_method)
    paid = await stripe_account.retry(failed.reference, f"{order.key}:3")
    assert paid == Collected(failed.reference, PaymentOutcome.CONFIRMED)
    assert await stripe_account.retry(failed.reference, f"{order.key}:4") == paid
    assert intents(sandbox, order) == [failed.reference]


async def test_money_a_bank_took_back_is_not_there_whatever_the_intent_says(
    stripe_account: StripeAccount, sandbox: Sandbox, order: Collection
) -> None:
    paid = await stripe_account.collect(order)
    dispute = sandbox.do("stripe", "dispute_payment", payment_intent=paid.reference)["dispute"]
    lost = Collected(paid.reference, PaymentOutcome.CHARGED_BACK, "fraudulent")
    assert await stripe_account.status(paid.reference) == await stripe_account.look_up(order) == lost
    sandbox.do("stripe", "end_dispute", dispute=dispute, won=True)
    assert await stripe_account.status(paid.reference) == paid


async def test_a_payment_link_is_made_once_and_names_the_user(stripe_account: StripeAccount, sandbox: Sandbox) -> None:
    sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="aud", interval="month")
    user = uuid4()
    asked: dict[str, Any] = {"product": sold["product"], "metadata": {"membership_type_id": "mt"}}
    url = await stripe_account.payment_link(**asked, reference=f"{user}_{user}", email="a+b@example.org", key="link:1")
    again = await stripe_account.payment_link(**asked, reference=None, email=None, key="link:2")

    (link,) = sandbox.state_of("stripe.payment_link")
    assert url == f"{link['url']}?client_reference_id={user}_{user}&prefilled_email=a%2Bb%40example.org"
    assert again == link["url"]
    told = {"membership_type_id": "mt", "product": sold["product"], "price": sold["price"]}
    assert (link["metadata"], link["subscription_data"]["metadata"]) == (told, told)
    # what is sold by it carries both: the reference on the checkout, the metadata on the subscription too
    sandbox.do("stripe", "complete_payment_link", payment_link=url, email="a@example.org", name="A")
    (session,), (sub,) = sandbox.state_of("stripe.checkout.session"), sandbox.state_of("stripe.subscription")
    assert (session["client_reference_id"], session["metadata"], sub["metadata"]) == (f"{user}_{user}", told, told)


async def test_a_product_without_a_recurring_price_is_not_sold(stripe_account: StripeAccount, sandbox: Sandbox) -> None:
    product = await stripe_account.v1.products.create_async({"name": "Towel"})
    with pytest.raises(Refused) as refused:
        await stripe_account.payment_link(product=product.id, metadata={}, reference=None, email=None, key="link:3")
    assert refused.value.code == "NO_RECURRING_PRICE"
