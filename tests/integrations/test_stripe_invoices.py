"""Subscription invoices as Stripe has them: what money came, what went back however told, what was only credit."""

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import stripe

from integrations.stripe import invoices
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from models.ports import ReceivedEvent
from models.rules.facts import InvoiceSeen, Mirrored, ObjectTouched
from models.rules.invoicing import Period
from models.rules.states import InvoiceStatus
from tests.integrations.conftest import Sandbox, StoppedClock

SECRET = "whsec_sandbox"
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def account(sandbox: Sandbox) -> AsyncIterator[StripeAccount]:
    account = StripeAccount(sandbox.credentials["stripe"]["api_key"], api_base=sandbox.urls["stripe"])
    yield account
    await account.close()


@pytest.fixture
def webhooks(account: StripeAccount, clock: StoppedClock) -> StripeWebhooks:
    return StripeWebhooks(account, [SECRET], clock)


def sold(sandbox: Sandbox, amount: int = 50_00, **bought: Any) -> dict[str, str]:
    """Somebody subscribes for a week at `amount`."""
    price = sandbox.do("stripe", "create_product", name="Pilates", amount=amount, currency="aud", interval="week")
    link = {"email": "a@example.org", "name": "A", **bought}
    found: dict[str, str] = sandbox.do("stripe", "complete_payment_link", price=price["price"], **link) | price
    return found


async def seen(webhooks: StripeWebhooks, invoice: str) -> InvoiceSeen:
    (found,) = await webhooks.read(Mirrored.INVOICE, invoice)
    assert isinstance(found, InvoiceSeen)
    return found


def money(one: InvoiceSeen) -> dict[str, int]:
    names = ("total", "tax", "discount", "amount_paid", "amount_refunded", "credit_used", "credited")
    return {name: getattr(one, name) for name in names if getattr(one, name)}


async def test_a_refund_told_three_ways_is_counted_once(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    """As refund.created, charge.refunded and credit_note.created; and what failed is ours again."""
    bought = sold(sandbox)
    note = sandbox.do("stripe", "credit_invoice", invoice=bought["invoice"], amount=12_00, way="refund")
    events = {one["type"]: one["data"]["object"] for one in sandbox.state_of("stripe.event")}
    touched = [ObjectTouched(provider="STRIPE", kind=Mirrored.INVOICE, external_id=bought["invoice"])]
    for kind in ("refund.created", "charge.refunded", "credit_note.created"):
        event = ReceivedEvent("evt", kind, events[kind]["id"], {"created": 1767225600, "livemode": False})
        assert await webhooks.facts(event) == touched
    assert events["credit_note.created"]["id"] == note["credit_note"]
    assert money(await seen(webhooks, bought["invoice"])) == {
        "total": 50_00,
        "amount_paid": 50_00,
        "amount_refunded": 12_00,
    }
    (refund,) = sandbox.state_of("stripe.refund")
    sandbox.do("stripe", "fail_refund", refund=refund["id"])
    assert "amount_refunded" not in money(await seen(webhooks, bought["invoice"]))


async def test_a_credit_note_gives_money_credit_or_a_smaller_bill(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    bought = sold(sandbox)
    sandbox.do("stripe", "credit_invoice", invoice=bought["invoice"], amount=10_00, way="balance")
    sandbox.do("stripe", "credit_invoice", invoice=bought["invoice"], amount=3_00, way="out_of_band")
    paid: dict[str, int] = {"total": 50_00, "amount_paid": 50_00}
    first = await seen(webhooks, bought["invoice"])
    assert money(first) == {**paid, "credited": 10_00, "amount_refunded": 3_00}, "3.00 went back in cash"

    # the credit pays a part of the renewal: what was charged is less, and the two together what was ever paid
    sandbox.advance(days=7, hours=2)
    renewal = sandbox.state_of("stripe.invoice")[-1]
    second = await seen(webhooks, renewal["id"])
    assert money(second) == {"total": 50_00, "amount_paid": 40_00, "credit_used": 10_00}
    assert second.status is InvoiceStatus.PAID

    # before it is paid a credit note lowers what is asked for; taken back, it is asked for again
    sandbox.do("stripe", "fail_next_renewal", subscription=bought["subscription"])
    sandbox.advance(days=7, hours=2)
    unpaid = sandbox.state_of("stripe.invoice")[-1]
    note = sandbox.do("stripe", "credit_invoice", invoice=unpaid["id"], amount=20_00)
    sandbox.advance(days=3, hours=2)
    assert money(await seen(webhooks, unpaid["id"])) == {"total": 50_00, "amount_paid": 30_00}
    assert note["credit_note"]


async def test_a_bill_that_credit_pays_whole_took_no_money(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    bought = sold(sandbox)
    sandbox.do("stripe", "give_credit", customer=bought["customer"], amount=70_00)
    sandbox.advance(days=7, hours=2)
    covered = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert (covered.status, money(covered)) == (InvoiceStatus.PAID, {"total": 50_00, "credit_used": 50_00})
    sandbox.advance(days=7)
    partly = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert money(partly) == {"total": 50_00, "amount_paid": 30_00, "credit_used": 20_00}


async def test_discount_and_tax_stand_in_the_total(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    bought = sold(sandbox)
    sandbox.do("stripe", "amend_next_invoice", subscription=bought["subscription"], discount=10_00, tax_percent=10)
    sandbox.advance(days=7, hours=2)
    renewal = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert money(renewal) == {"total": 44_00, "tax": 4_00, "discount": 10_00, "amount_paid": 44_00}
    assert [line.amount for line in renewal.lines] == [44_00], "the lines sum to the total"


async def test_a_dispute_takes_an_invoices_money_back_until_it_is_won(
    webhooks: StripeWebhooks, sandbox: Sandbox
) -> None:
    bought = sold(sandbox)
    (paid,) = sandbox.state_of("stripe.payment_intent")
    raised = sandbox.do("stripe", "dispute_payment", payment_intent=paid["id"])["dispute"]
    event = ReceivedEvent("e", "charge.dispute.funds_withdrawn", raised, {"created": 1767225600, "livemode": False})
    assert await webhooks.facts(event) == [
        ObjectTouched(provider="STRIPE", kind=Mirrored.INVOICE, external_id=bought["invoice"])
    ]
    assert (await seen(webhooks, bought["invoice"])).amount_refunded == 50_00
    sandbox.do("stripe", "end_dispute", dispute=raised, won=True)
    assert (await seen(webhooks, bought["invoice"])).amount_refunded == 0


async def test_a_change_of_plan_settles_on_lines_of_their_own_periods(
    account: StripeAccount, webhooks: StripeWebhooks, sandbox: Sandbox
) -> None:
    """The unused time given back and the remaining time charged, on the next renewal, or at once."""
    bought = sold(sandbox, 70_00)
    dearer = sandbox.do("stripe", "create_product", name="Gym", amount=140_00, currency="aud", interval="week")
    (sub,) = sandbox.state_of("stripe.subscription")
    item: Any = {"id": sub["items"]["data"][0]["id"], "price": dearer["price"]}
    start, end = (sub["items"]["data"][0][f"current_period_{side}"] for side in ("start", "end"))
    sandbox.advance(days=3.5)
    await account.v1.subscriptions.update_async(
        sub["id"],
        {"items": [item], "proration_behavior": "always_invoice"},
    )
    at_once = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert [(line.amount, line.proration, line.product_id) for line in at_once.lines] == [
        (-35_00, True, bought["product"]),
        (70_00, True, dearer["product"]),
    ]
    assert money(at_once) == {"total": 35_00, "amount_paid": 35_00}
    assert [line.credits for line in at_once.lines] == [bought["invoice"], None], "what it gives back, it names"
    assert at_once.period.end == datetime.fromtimestamp(end, UTC)
    assert at_once.period.start > datetime.fromtimestamp(start, UTC)

    back: Any = {"id": item["id"], "price": bought["price"]}
    await account.v1.subscriptions.update_async(sub["id"], {"items": [back], "proration_behavior": "always_invoice"})
    cheaper = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert money(cheaper) == {"total": -35_00, "credited": 35_00}
    assert cheaper.lines[0].credits == at_once.external_id
    await account.v1.subscriptions.update_async(sub["id"], {"items": [item]})
    await account.v1.subscriptions.update_async(sub["id"], {"items": [back]})
    sandbox.advance(days=3.5, hours=2)
    renewal = await seen(webhooks, sandbox.state_of("stripe.invoice")[-1]["id"])
    assert [line.proration for line in renewal.lines] == [True, True, True, True, False]
    assert renewal.period == renewal.lines[4].period, "of the period's own line, not of what is settled beside it"
    assert money(renewal) == {"total": 70_00, "amount_paid": 35_00, "credit_used": 35_00}


def line(id: str, start: int, end: int, **more: Any) -> dict[str, Any]:  # noqa: A002  # Stripe's word
    parent = {"type": "subscription_item_details", "subscription_item_details": {"subscription": "sub_1", **more}}
    return {"id": id, "amount": 100, "period": {"start": start, "end": end}, "parent": parent}


def test_what_an_invoice_pays_for_is_never_its_own_period() -> None:
    week, moment = 7 * 86_400, 1767225600
    whole = {
        "id": "in_1",
        "status": "paid",
        "customer": "cus_1",
        "currency": "gbp",
        "total": 100,
        "amount_paid": 100,
        "created": moment,
        "period_start": moment - week,
        "period_end": moment,
    }

    def period(*lines: dict[str, Any]) -> Period:
        found = invoices.invoice(whole, lines, 0, AT)
        assert found is not None
        return found.period

    def between(start: int, end: int) -> Period:
        return Period(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(end, UTC))

    ahead, metered = line("il_1", moment, moment + week), line("il_2", moment - week, moment)
    assert period(ahead) == between(moment, moment + week)
    assert period(metered, ahead) == between(moment, moment + week), "usage of the week before is billed beside it"
    assert period(metered) == between(moment - week, moment)
    fee = {"id": "il_3", "amount": 100, "period": {"start": moment, "end": moment}, "parent": None}
    assert period(fee) == period() == between(moment, moment + 1), "a fee for no time, and no line at all"


async def test_a_thin_event_is_acted_on_as_its_snapshot(webhooks: StripeWebhooks, sandbox: Sandbox) -> None:
    """Signed alike, reduced to the same event id, object and type; a type nobody knows is taken and left alone."""
    bought = sold(sandbox)
    snapshot = next(one for one in sandbox.state_of("stripe.event") if one["type"] == "invoice.paid")
    thin = {
        "object": "v2.core.event",
        "id": "evt_thin_1",
        "type": "v1.invoice.paid",
        "created": "2026-01-01T00:00:00.000Z",
        "livemode": False,
        "related_object": {"id": bought["invoice"], "type": "invoice", "url": f"/v1/invoices/{bought['invoice']}"},
        "snapshot_event": snapshot["id"],
    }

    def verified(event: dict[str, Any]) -> ReceivedEvent:
        body = json.dumps(event)
        header = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(time.time()))
        (found,) = webhooks.verify(body.encode(), {"Stripe-Signature": header})
        return found

    one, other = verified(snapshot), verified(thin)
    assert (one.event_id, one.event_type, one.object_id) == (other.event_id, other.event_type, other.object_id)
    assert await webhooks.facts(one) == await webhooks.facts(other) == [await seen(webhooks, bought["invoice"])]
    of_no_object = {
        **thin,
        "id": "evt_2",
        "type": "v2.core.health.ping",
        "related_object": None,
        "snapshot_event": None,
    }
    unknown = verified(of_no_object)
    assert (unknown.event_id, unknown.object_id, await webhooks.facts(unknown)) == ("evt_2", None, [])
    tomorrow = verified({**thin, "id": "evt_3", "type": "v1.invoice_swap.made", "snapshot_event": None})
    assert (tomorrow.event_id, await webhooks.facts(tomorrow)) == ("evt_3", [])
