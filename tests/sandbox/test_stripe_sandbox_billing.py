"""The Stripe sandbox through the vendor's own client: payment links, subscriptions, invoices, renewals by the clock."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import httpx
import pytest
import stripe

from local.sandbox.stripe.periods import next_end, shifted

HOOK = "/webhooks/stripe"
DAY, HOUR = 86_400, 3600
# The vendor's client hands form bytes to httpx by a name httpx would rather see go.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


def weekly(sandbox: Any, amount: int = 4000, weeks: int = 1) -> str:
    """-> id of a price paid every so many weeks."""
    said = {"name": "Pilates", "amount": amount, "currency": "gbp", "interval": "week", "interval_count": weeks}
    price: str = sandbox.do("stripe", "create_product", **said)["price"]
    return price


def sign_up(sandbox: Any, price: str, **said: Any) -> dict[str, Any]:
    made: dict[str, Any] = sandbox.do(
        "stripe", "complete_payment_link", price=price, email="ada@example.com", name="Ada", **said
    )
    return made


def told(sandbox: Any) -> list[str]:
    """Types of all events, oldest first."""
    return [event["type"] for event in sandbox.state_of("stripe.event")]


async def test_a_payment_link_makes_a_paid_subscription(sandbox: Any, client: Any, receiver: Any) -> None:
    price = weekly(sandbox)
    link = await client.v1.payment_links.create_async(
        {
            "line_items": [{"price": price, "quantity": 2}],
            "metadata": {"link": "l1"},
            "subscription_data": {"metadata": {"membership": "m1"}},
        }
    )
    made = sandbox.do(
        "stripe",
        "complete_payment_link",
        payment_link=f"{link.url}?client_reference_id=user-7",
        email="ada@example.com",
        name="Ada",
    )
    session = await client.v1.checkout.sessions.retrieve_async(made["checkout_session"], {"expand": ["line_items"]})
    assert (session.client_reference_id, session.mode, session.payment_status) == ("user-7", "subscription", "paid")
    assert (session.customer_details.email, session.payment_link, session.amount_total) == (
        "ada@example.com",
        link.id,
        8000,
    )
    assert (session.metadata.link, session.line_items.data[0].quantity) == ("l1", 2)
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice.payments"]})
    assert (sub.status, sub.metadata.membership, sub.latest_invoice.id) == ("active", "m1", session.invoice)
    assert (sub.latest_invoice.status, sub.latest_invoice.amount_paid) == ("paid", 8000)
    payment = sub.latest_invoice.payments.data[0].payment
    assert (await client.v1.payment_intents.retrieve_async(payment.payment_intent)).status == "succeeded"
    kinds = {"checkout.session.completed", "customer.subscription.created", "customer.subscription.updated"}
    kinds |= {"invoice.created", "invoice.finalized", "invoice.paid", "payment_intent.succeeded"}
    receiver.wait(HOOK, lambda got: kinds <= {one.json["type"] for one in got})


async def test_an_ill_formed_reference_is_dropped_and_a_closed_link_refuses(sandbox: Any, client: Any) -> None:
    price = weekly(sandbox)
    made = sign_up(sandbox, price, client_reference_id="user 7!")
    assert made["client_reference_id"] is None
    await client.v1.payment_links.update_async(made["payment_link"], {"active": False})
    said = {"payment_link": made["payment_link"], "email": "b@example.com", "name": "B"}
    assert sandbox.admin.post("/do/stripe/complete_payment_link", json=said).status_code == 409


async def test_a_person_can_pay_on_the_links_page(sandbox: Any, client: Any) -> None:
    link = await client.v1.payment_links.create_async({"line_items": [{"price": weekly(sandbox), "quantity": 1}]})
    url = f"{link.url}?client_reference_id=u1&prefilled_email=eve%40example.com"
    async with httpx.AsyncClient(trust_env=False) as http:
        shown = await http.get(url)
        assert (shown.status_code, "eve@example.com" in shown.text, "40.00 GBP" in shown.text) == (200, True, True)
        assert (await http.post(url, data={"name": "Eve", "email": "eve@example.com"})).status_code == 200
    (session,) = (await client.v1.checkout.sessions.list_async({"payment_link": link.id})).data
    assert (session.client_reference_id, session.status) == ("u1", "complete")


async def test_the_first_invoice_looks_at_a_point_and_its_line_ahead(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox), metadata={"membership": "m1"})
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"])
    item = sub.items.data[0]
    assert item.current_period_end - item.current_period_start == 7 * DAY
    invoice = await client.v1.invoices.retrieve_async(made["invoice"])
    assert (invoice.billing_reason, invoice.period_start) == ("subscription_create", invoice.period_end)
    parent = invoice.parent.subscription_details
    assert (invoice.parent.type, parent.subscription, parent.metadata.membership) == (
        "subscription_details",
        sub.id,
        "m1",
    )
    (line,) = (await client.v1.invoices.line_items.list_async(invoice.id, {"limit": 100})).data
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)
    assert (line.amount, line.parent.subscription_item_details.proration) == (4000, False)
    assert line.pricing.price_details.price == item.price.id
    for gone in ("subscription", "payment_intent", "charge", "paid"):
        with pytest.raises(AttributeError):
            getattr(invoice, gone)


async def test_a_renewal_is_drafted_at_the_end_and_paid_an_hour_later(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    first = (await client.v1.subscriptions.retrieve_async(made["subscription"])).items.data[0]
    assert sandbox.advance(days=7, seconds=1) == [f"stripe renew {made['subscription']}"]
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice"]})
    item, draft = sub.items.data[0], sub.latest_invoice
    assert (item.current_period_start, item.current_period_end) == (
        first.current_period_end,
        first.current_period_end + 7 * DAY,
    )
    assert (draft.status, draft.created, draft.billing_reason) == (
        "draft",
        first.current_period_end,
        "subscription_cycle",
    )
    assert (draft.period_start, draft.period_end) == (first.current_period_start, first.current_period_end)
    line = draft.lines.data[0]
    assert (line.period.start, line.period.end) == (item.current_period_start, item.current_period_end)
    assert sandbox.advance(hours=1) == [f"stripe collect {draft.id}"]
    paid = await client.v1.invoices.retrieve_async(draft.id)
    assert (paid.status, paid.amount_paid, paid.status_transitions.paid_at) == ("paid", 4000, draft.created + HOUR)
    kinds = told(sandbox)
    renewal = kinds[kinds.index("checkout.session.completed") + 1 :]
    assert renewal == [
        "invoice.created",
        "customer.subscription.updated",
        "payment_intent.created",
        "invoice.finalized",
        "charge.succeeded",
        "payment_intent.succeeded",
        "invoice_payment.paid",
        "invoice.paid",
        "invoice.payment_succeeded",
    ]


async def test_a_long_jump_renews_every_period_in_order(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    sandbox.advance(days=28, hours=2)
    invoices = await client.v1.invoices.list_async({"subscription": made["subscription"], "limit": 10})
    assert [one.status for one in invoices.data] == ["paid"] * 5
    ends = [one.lines.data[0].period.end for one in invoices.data]
    assert [later - sooner for later, sooner in pairwise(ends)] == [7 * DAY] * 4
    created = [event["created"] for event in sandbox.state_of("stripe.event")]
    assert created == sorted(created)


async def test_a_failed_renewal_is_past_due_and_the_retry_mends_it(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    sandbox.do("stripe", "fail_next_renewal", subscription=made["subscription"])
    sandbox.advance(days=7, hours=2)
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice"]})
    invoice = sub.latest_invoice
    assert (sub.status, invoice.status, invoice.attempt_count) == ("past_due", "open", 1)
    assert (invoice.amount_remaining, invoice.next_payment_attempt - invoice.created) == (4000, 3 * DAY + HOUR)
    assert "invoice.payment_failed" in told(sandbox)
    sandbox.advance(days=3)
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice"]})
    assert (sub.status, sub.latest_invoice.status, sub.latest_invoice.attempt_count) == ("active", "paid", 2)


async def test_a_card_that_stays_declined_ends_the_subscription(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox, weeks=8))
    card = (await client.v1.subscriptions.retrieve_async(made["subscription"])).default_payment_method
    sandbox.do("stripe", "decline_card", payment_method=card)
    sandbox.advance(days=56 + 16)
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice"]})
    assert (sub.status, sub.cancellation_details.reason) == ("canceled", "payment_failed")
    assert (sub.latest_invoice.status, sub.latest_invoice.attempt_count) == ("open", 4)
    kinds = told(sandbox)
    assert (kinds.count("invoice.payment_failed"), kinds.count("customer.subscription.deleted")) == (4, 1)


async def test_an_open_invoice_can_be_paid_or_voided_by_hand(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    card = (await client.v1.subscriptions.retrieve_async(made["subscription"])).default_payment_method
    sandbox.do("stripe", "decline_card", payment_method=card)
    sandbox.advance(days=7, hours=2)
    (invoice,) = (await client.v1.invoices.list_async({"status": "open"})).data
    with pytest.raises(stripe.CardError):
        await client.v1.invoices.pay_async(invoice.id)
    sandbox.do("stripe", "accept_card", payment_method=card)
    assert (await client.v1.invoices.pay_async(invoice.id)).status == "paid"
    assert (await client.v1.subscriptions.retrieve_async(made["subscription"])).status == "active"
    with pytest.raises(stripe.InvalidRequestError):
        await client.v1.invoices.void_invoice_async(invoice.id)


async def test_subscriptions_from_the_api_and_a_declined_first_payment(sandbox: Any, client: Any) -> None:
    made = sandbox.do("stripe", "create_customer_with_card", email="a@example.com", name="A")
    price = weekly(sandbox)
    wanted: Any = {"customer": made["customer"], "items": [{"price": price}], "metadata": {"m": "1"}}
    assert (await client.v1.subscriptions.create_async(wanted)).status == "active"
    sandbox.do("stripe", "decline_card", payment_method=made["payment_method"])
    incomplete = await client.v1.subscriptions.create_async(wanted)
    assert incomplete.status == "incomplete"
    with pytest.raises(stripe.CardError):
        await client.v1.subscriptions.create_async(wanted | {"payment_behavior": "error_if_incomplete"})
    sandbox.advance(hours=24)
    assert (await client.v1.subscriptions.retrieve_async(incomplete.id)).status == "incomplete_expired"
    listed = await client.v1.subscriptions.list_async({"customer": made["customer"]})
    assert [one.status for one in listed.data] == ["active"]
    everything = await client.v1.subscriptions.list_async({"customer": made["customer"], "status": "all"})
    assert {one.status for one in everything.data} == {"active", "incomplete_expired"}


async def test_cancelling_at_the_period_end_and_at_once(sandbox: Any, client: Any) -> None:
    price = weekly(sandbox)
    later, now = sign_up(sandbox, price)["subscription"], sign_up(sandbox, price)["subscription"]
    sub = await client.v1.subscriptions.update_async(later, {"cancel_at_period_end": True})
    assert (sub.status, sub.cancel_at) == ("active", sub.items.data[0].current_period_end)
    ended = await client.v1.subscriptions.cancel_async(now)
    assert (ended.status, ended.cancellation_details.reason) == ("canceled", "cancellation_requested")
    with pytest.raises(stripe.InvalidRequestError) as again:
        await client.v1.subscriptions.cancel_async(now)
    assert (again.value.http_status, again.value.code) == (404, "resource_missing")
    assert sandbox.advance(days=8) == [f"stripe end {later}"]
    sub = await client.v1.subscriptions.retrieve_async(later)
    assert (sub.status, sub.ended_at) == ("canceled", sub.items.data[0].current_period_end)
    assert sub.canceled_at < sub.ended_at
    assert told(sandbox).count("customer.subscription.deleted") == 2


async def test_a_trial_has_a_zero_invoice_and_then_pays(sandbox: Any, client: Any) -> None:
    made = sandbox.do("stripe", "create_customer_with_card", email="a@example.com", name="A")
    wanted: Any = {"customer": made["customer"], "items": [{"price": weekly(sandbox)}], "trial_period_days": 3}
    sub = await client.v1.subscriptions.create_async(wanted | {"expand": ["latest_invoice"]})
    assert (sub.status, sub.latest_invoice.status, sub.latest_invoice.total) == ("trialing", "paid", 0)
    assert sub.items.data[0].current_period_end == sub.trial_end == sub.billing_cycle_anchor
    sandbox.advance(days=3, hours=2)
    sub = await client.v1.subscriptions.retrieve_async(sub.id, {"expand": ["latest_invoice"]})
    assert (sub.status, sub.latest_invoice.status, sub.latest_invoice.amount_paid) == ("active", "paid", 4000)


async def test_a_changed_price_is_prorated_on_the_next_invoice(sandbox: Any, client: Any) -> None:
    made, dearer = sign_up(sandbox, weekly(sandbox, amount=7000)), weekly(sandbox, amount=14_000)
    item = (await client.v1.subscriptions.retrieve_async(made["subscription"])).items.data[0]
    halfway = datetime.fromtimestamp(item.current_period_start + 3 * DAY, UTC)
    sandbox.post("/clock", now=halfway.isoformat())
    await client.v1.subscriptions.update_async(made["subscription"], {"items": [{"id": item.id, "price": dearer}]})
    sandbox.advance(days=4, hours=2)
    sub = await client.v1.subscriptions.retrieve_async(made["subscription"], {"expand": ["latest_invoice"]})
    lines = [(line.amount, line.parent.subscription_item_details.proration) for line in sub.latest_invoice.lines.data]
    credit, debit = lines[0][0], lines[1][0]
    assert (lines[0][1], lines[1], lines[2]) == (True, (debit, True), (14_000, False))
    assert (-4000 <= credit <= -3990, 7980 <= debit <= 8000) == (True, True)
    assert sub.latest_invoice.amount_paid == credit + debit + 14_000


async def test_a_credit_balance_lowers_what_is_due(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    await client.v1.customers.update_async(made["customer"], {"balance": -1500})
    sandbox.advance(days=7, hours=2)
    (invoice, _) = (await client.v1.invoices.list_async({"customer": made["customer"]})).data
    assert (invoice.total, invoice.starting_balance, invoice.amount_due, invoice.amount_paid) == (
        4000,
        -1500,
        2500,
        2500,
    )
    assert (await client.v1.customers.retrieve_async(made["customer"])).balance == 0


async def test_from_a_payment_back_to_its_invoice(sandbox: Any, client: Any) -> None:
    made = sign_up(sandbox, weekly(sandbox))
    (payment,) = (await client.v1.invoice_payments.list_async({"invoice": made["invoice"]})).data
    intent = payment.payment.payment_intent
    assert intent is not None
    (back,) = (
        await client.v1.invoice_payments.list_async(
            {"payment": {"type": "payment_intent", "payment_intent": str(intent)}}
        )
    ).data
    assert (back.invoice, back.status, back.amount_paid) == (made["invoice"], "paid", 4000)


async def test_more_lines_than_one_page_shows(sandbox: Any, client: Any) -> None:
    made = sandbox.do("stripe", "create_customer_with_card", email="a@example.com", name="A")
    items: Any = [{"price": weekly(sandbox, amount=100 + number)} for number in range(12)]
    sub = await client.v1.subscriptions.create_async({"customer": made["customer"], "items": items})
    invoice = await client.v1.invoices.retrieve_async(str(sub.latest_invoice))
    assert (len(invoice.lines.data), invoice.lines.has_more) == (10, True)
    amounts = [
        line.amount async for line in (await client.v1.invoices.line_items.list_async(invoice.id)).auto_paging_iter()
    ]
    assert (amounts, sum(amounts)) == ([100 + number for number in range(12)], invoice.total)


@pytest.mark.parametrize(
    ("anchor", "interval", "count", "expected"),
    [
        ("2024-01-31", "month", 1, "2024-02-29"),
        ("2024-01-31", "month", 2, "2024-03-31"),
        ("2024-02-29", "year", 1, "2025-02-28"),
        ("2026-11-22", "week", 4, "2026-12-20"),
        ("2026-12-31", "day", 1, "2027-01-01"),
    ],
)
def test_periods_keep_to_their_anchor(anchor: str, interval: str, count: int, expected: str) -> None:
    start, end = (int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) for day in (anchor, expected))
    assert shifted(start, interval, count) == end
    assert next_end(start, interval, count, start) == end
