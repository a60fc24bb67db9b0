"""The Stripe sandbox through the vendor's own client: cards, payments, refunds, idempotency, errors, events."""

from typing import Any

import httpx
import pytest
import stripe

HOOK = "/webhooks/stripe"
# The vendor's client hands form bytes to httpx by a name httpx would rather see go.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def member(sandbox: Any, **said: Any) -> tuple[str, str]:
    """-> ids of a customer and the card that pays."""
    made = sandbox.do("stripe", "create_customer_with_card", email="ada@example.com", name="Ada", **said)
    return made["customer"], made["payment_method"]


def verified(sandbox: Any, receiver: Any, *kinds: str) -> list[Any]:
    """Wait until an event of each kind arrived -> all events so far, each with its signature checked by the client."""
    key, secret = (sandbox.credentials["stripe"][name] for name in ("api_key", "webhook_secret"))
    check = stripe.StripeClient(key)
    hooks = receiver.wait(HOOK, lambda got: set(kinds) <= {one.json["type"] for one in got})
    return [check.construct_event(one.body, one.headers["stripe-signature"], secret) for one in hooks]


async def pay(client: Any, customer: str, card: str, key: str, amount: int = 2500) -> Any:
    params: Any = {
        "amount": amount,
        "currency": "gbp",
        "customer": customer,
        "payment_method": card,
        "off_session": True,
        "confirm": True,
        "metadata": {"booking": "b1"},
    }
    return await client.v1.payment_intents.create_async(params, {"idempotency_key": key})


async def test_a_good_card_is_charged_off_session(sandbox: Any, client: Any, receiver: Any) -> None:
    customer, card = member(sandbox)
    intent = await pay(client, customer, card, "k1")
    assert (intent.status, intent.amount, intent.amount_received, intent.currency) == ("succeeded", 2500, 2500, "gbp")
    found = await client.v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge.balance_transaction"]})
    assert (found.latest_charge.paid, found.latest_charge.balance_transaction.net) == (True, 2500 - 57)
    events = verified(sandbox, receiver, "payment_intent.succeeded")
    (told,) = [one for one in events if one.type == "payment_intent.succeeded"]
    assert (told.data.object.id, told.api_version) == (intent.id, stripe.api_version)
    assert told.request.idempotency_key == "k1"


@pytest.mark.parametrize("code", ["generic_decline", "insufficient_funds"])
async def test_a_declined_card_is_a_card_error_with_events(sandbox: Any, client: Any, receiver: Any, code: str) -> None:
    customer, card = member(sandbox)
    sandbox.do("stripe", "decline_card", payment_method=card, decline_code=code)
    with pytest.raises(stripe.CardError) as declined:
        await pay(client, customer, card, "k1")
    error: Any = declined.value
    assert (error.http_status, error.code, error.error.decline_code) == (402, "card_declined", code)
    intent = await client.v1.payment_intents.retrieve_async(error.error.payment_intent.id)
    assert (intent.status, intent.last_payment_error.decline_code) == ("requires_payment_method", code)
    verified(sandbox, receiver, "payment_intent.payment_failed", "charge.failed")
    sandbox.do("stripe", "accept_card", payment_method=card)
    again = await client.v1.payment_intents.confirm_async(intent.id, {"payment_method": card, "off_session": True})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_the_same_key_gives_the_first_answer_again(sandbox: Any, client: Any) -> None:
    customer, card = member(sandbox)
    first = await pay(client, customer, card, "k1")
    second = await pay(client, customer, card, "k1")
    assert first.id == second.id
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError) as refused:
        await pay(client, customer, card, "k1", amount=2501)
    error: Any = refused.value.error
    assert error.type == "idempotency_error"
    sandbox.advance(hours=25)
    assert (await pay(client, customer, card, "k1")).id != first.id


async def test_a_declined_answer_is_replayed_and_a_refused_request_is_not(sandbox: Any, client: Any) -> None:
    customer, card = member(sandbox)
    sandbox.do("stripe", "decline_card", payment_method=card)
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            await pay(client, customer, card, "k1")
    assert len(sandbox.state_of("stripe.payment_intent")) == 1
    with pytest.raises(stripe.InvalidRequestError):
        await pay(client, customer, "pm_unknown", "k2")
    sandbox.do("stripe", "accept_card", payment_method=card)
    assert (await pay(client, customer, card, "k2")).status == "succeeded"


async def test_a_500_after_the_charge_stays_the_answer_of_its_key(sandbox: Any, client: Any) -> None:
    customer, card = member(sandbox)
    sandbox.post("/faults", provider="stripe", kind="500_after", path="/payment_intents")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            await pay(client, customer, card, "k1")
    found = await client.v1.payment_intents.search_async({"query": "metadata['booking']:'b1' AND status:'succeeded'"})
    assert [one.amount for one in found.data] == [2500]


async def test_a_dropped_answer_is_healed_by_the_clients_own_retry(sandbox: Any) -> None:
    customer, card = member(sandbox)
    http: Any = stripe.HTTPXClient(timeout=10)
    key, url = sandbox.credentials["stripe"]["api_key"], sandbox.urls["stripe"]
    client: Any = stripe.StripeClient(key, http_client=http, max_network_retries=1, base_addresses={"api": url})
    sandbox.post("/faults", provider="stripe", kind="drop_answer", path="/payment_intents")
    intent = await pay(client, customer, card, "k1")
    await http.close_async()
    assert intent.last_response.headers["Idempotent-Replayed"] == "true"
    assert [one["id"] for one in sandbox.state_of("stripe.payment_intent")] == [intent.id]


async def test_errors_are_the_clients_classes(sandbox: Any, client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as unknown:
        await client.v1.customers.retrieve_async("cus_none")
    assert (unknown.value.http_status, unknown.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError) as param:
        await client.v1.payment_intents.create_async({"amount": 100})
    assert (param.value.http_status, param.value.code, param.value.param) == (400, "parameter_missing", "currency")
    with pytest.raises(stripe.InvalidRequestError) as small:
        await client.v1.payment_intents.create_async({"amount": 5, "currency": "gbp"})
    assert small.value.code == "amount_too_small"
    with pytest.raises(stripe.AuthenticationError):
        await client.v1.customers.list_async({}, {"api_key": "sk_test_other"})
    sandbox.post("/faults", provider="stripe", kind="429")
    with pytest.raises(stripe.RateLimitError):
        await client.v1.customers.list_async()
    sandbox.post("/faults", provider="stripe", kind="html_502")
    with pytest.raises(stripe.APIError):
        await client.v1.customers.list_async()
    sandbox.post("/faults", provider="stripe", kind="timeout", seconds=0.1)
    with pytest.raises(stripe.APIConnectionError):
        await client.v1.customers.list_async()


def test_a_request_id_is_answered_and_no_key_is_401(sandbox: Any) -> None:
    answer = httpx.get(sandbox.urls["stripe"] + "/v1/customers", trust_env=False)
    assert (answer.status_code, answer.headers["request-id"][:4]) == (401, "req_")
    key = sandbox.credentials["stripe"]["api_key"]
    assert httpx.get(sandbox.urls["stripe"] + "/v1/customers", auth=(key, ""), trust_env=False).status_code == 200


async def test_refunds_add_up_and_end_at_the_charge(sandbox: Any, client: Any, receiver: Any) -> None:
    customer, card = member(sandbox)
    intent = await pay(client, customer, card, "k1")
    part = await client.v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 1000, "metadata": {"why": "rain"}}
    )
    assert (part.status, part.amount, part.charge) == ("succeeded", 1000, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.refunds.create_async({"payment_intent": intent.id, "amount": 1501})
    await client.v1.refunds.create_async({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as over:
        await client.v1.refunds.create_async({"payment_intent": intent.id})
    assert over.value.code == "charge_already_refunded"
    events = verified(sandbox, receiver, "refund.created")
    receiver.wait(HOOK, lambda got: sum(one.json["type"] == "charge.refunded" for one in got) == 2)
    events = verified(sandbox, receiver, "charge.refunded")
    cumulative = sorted(one.data.object.amount_refunded for one in events if one.type == "charge.refunded")
    assert cumulative == [1000, 2500]
    listed = await client.v1.refunds.list_async({"payment_intent": intent.id})
    assert [one.amount for one in listed.data] == [1500, 1000]
    assert (await client.v1.refunds.retrieve_async(part.id)).metadata.why == "rain"


async def test_a_refund_may_wait_and_may_be_sent_back(sandbox: Any, client: Any, receiver: Any) -> None:
    card = sandbox.do("stripe", "create_customer_with_card", email="a@b.c", name="A", card="pm_card_pendingRefund")
    intent = await pay(client, card["customer"], card["payment_method"], "k1")
    wanted = {"payment_intent": intent.id, "amount": 1000}
    made = await client.v1.refunds.create_async(wanted, {"idempotency_key": "refund:1"})
    again = await client.v1.refunds.create_async(wanted, {"idempotency_key": "refund:1"})
    assert (made.status, again.id) == ("pending", made.id)
    assert sandbox.do("stripe", "complete_refund", refund=made.id)["status"] == "succeeded"
    assert sandbox.admin.post("/do/stripe/complete_refund", json={"refund": made.id}).status_code == 409
    sandbox.do("stripe", "fail_refund", refund=made.id, reason="lost_or_stolen_card")
    failed = await client.v1.refunds.retrieve_async(made.id)
    assert (failed.status, failed.failure_reason) == ("failed", "lost_or_stolen_card")
    charge = await client.v1.charges.retrieve_async(intent.latest_charge)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    booked = await client.v1.balance_transactions.retrieve_async(failed.failure_balance_transaction)
    assert (booked.amount, booked.type) == (1000, "refund_failure")
    told = [one.type for one in verified(sandbox, receiver, "refund.failed") if one.type.startswith("refund.")]
    assert sorted(told) == ["refund.created", "refund.failed", "refund.updated", "refund.updated"]


async def test_customers_and_cards(sandbox: Any, client: Any) -> None:
    made = await client.v1.customers.create_async({"email": "bob@example.com", "metadata": {"user": "7", "old": "x"}})
    card = await client.v1.payment_methods.attach_async("pm_card_visa", {"customer": made.id})
    await client.v1.customers.update_async(
        made.id, {"metadata": {"old": ""}, "invoice_settings": {"default_payment_method": card.id}}
    )
    found = await client.v1.customers.retrieve_async(made.id, {"expand": ["invoice_settings.default_payment_method"]})
    assert found.metadata.to_dict() == {"user": "7"}
    assert found.invoice_settings.default_payment_method.card.last4 == "4242"
    by_mail = await client.v1.customers.list_async({"email": "bob@example.com"})
    assert [one.id for one in by_mail.data] == [made.id]
    cards = await client.v1.customers.payment_methods.list_async(made.id, {"type": "card"})
    assert [one.id for one in cards.data] == [card.id]
    other, _ = member(sandbox)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.payment_methods.attach_async(card.id, {"customer": other})
    await client.v1.customers.delete_async(made.id)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.retrieve_async(made.id)


async def test_lists_page_by_cursor_both_ways(sandbox: Any, client: Any) -> None:
    ids = [(await client.v1.customers.create_async({"name": str(number)})).id for number in range(5)]
    newest_first = ids[::-1]
    page = await client.v1.customers.list_async({"limit": 2})
    assert ([one.id for one in page.data], page.has_more) == (newest_first[:2], True)
    assert [one.id async for one in page.auto_paging_iter()] == newest_first
    newer = await client.v1.customers.list_async({"limit": 2, "ending_before": newest_first[3]})
    assert ([one.id for one in newer.data], newer.has_more) == (newest_first[1:3], True)
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.customers.list_async({"starting_after": "cus_none"})


async def test_events_are_listed_by_type_and_time_for_thirty_days(sandbox: Any, client: Any) -> None:
    first, _ = member(sandbox)
    sandbox.advance(days=2)
    since = int(sandbox.now().timestamp())
    second, _ = member(sandbox)
    made = await client.v1.events.list_async({"types": ["customer.created", "charge.succeeded"]})
    assert [one.data.object.id for one in made.data] == [second, first]
    late = await client.v1.events.list_async({"type": "customer.created", "created": {"gte": since}})
    assert [one.data.object.id for one in late.data] == [second]
    missed = await client.v1.events.list_async({"type": "customer.created", "ending_before": made.data[1].id})
    assert [one.id for one in missed.data] == [made.data[0].id]
    assert (await client.v1.events.retrieve_async(made.data[0].id)).type == "customer.created"
    sandbox.advance(days=29)
    remaining = await client.v1.events.list_async({"type": "customer.created"})
    assert [one.data.object.id for one in remaining.data] == [second]
