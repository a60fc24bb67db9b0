"""The vendors' own sample objects, answered by a server to our real clients: every kind is read, none is misread."""

import hashlib
import hmac
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import MANDATES, DirectDebitWebhooks
from integrations.gocardless.words import OUTCOMES, REFUNDS
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from local.state import held_ports
from models.ports import CONFLICT, ReceivedEvent, RefundOrder, Refused
from models.rules.facts import InvoiceSeen, MandateChanged, Mirrored, PaymentFact, SubscriptionSeen
from models.rules.states import MandateStatus, PaymentOutcome
from tests.integrations.conftest import StoppedClock, an_order
from tests.sandbox.conftest import until

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Sample = Callable[[str], Any]
SAMPLES = Path(os.environ.get("DUEFLOW_SAMPLES", Path(__file__).parents[2] / "../shared/samples"))
OFFICIAL, OPENAPI = "gocardless_official/", "stripe_openapi_fixtures/"


@dataclass
class Vendor:
    """Answers what stands under "METHOD /path" or, for a list, under the path's beginning; everything else is a 404."""

    url: str = ""
    answers: dict[str, tuple[int, Any]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    async def __call__(self, request: Request) -> JSONResponse:
        asked = f"{request.method} {request.url.path}"
        known = self.answers.get(asked)
        if known is None:
            self.unknown.append(asked)
        status, body = known or (404, {"error": {"code": "resource_missing", "message": f"No {asked}"}})
        return JSONResponse(body, status)


@pytest.fixture(scope="module")
def running() -> Iterator[Vendor]:
    (port,) = held_ports(1)
    vendor = Vendor(f"http://127.0.0.1:{port}")
    app = Starlette(routes=[Route("/{path:path}", vendor.__call__, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, bool)
    yield vendor
    server.should_exit = True
    thread.join(5)


@pytest.fixture
def vendor(running: Vendor) -> Vendor:
    """The server, without answers."""
    running.answers.clear()
    running.unknown.clear()
    return running


@pytest.fixture
async def debits(vendor: Vendor) -> AsyncIterator[DirectDebits]:
    client = DirectDebits("token", api_base=vendor.url, answer_seconds=2)
    yield client
    await client.close()


@pytest.fixture
async def account(vendor: Vendor) -> AsyncIterator[StripeAccount]:
    client = StripeAccount("sk_test_1", api_base=vendor.url, answer_seconds=2)
    yield client
    await client.close()


# -- GoCardless -------------------------------------------------------------------------------------------------------

# resource -> the id in its sample
SERVED = {
    "payments": "PM123",
    "mandates": "MD123",
    "refunds": "RF123",
    "billing_requests": "BRQ123",
    "payouts": "PO123",
}


def serve(vendor: Vendor, sample: Sample) -> dict[str, Any]:
    """Have every official sample that can be read answered -> the objects by resource."""
    objects = {}
    for resource, reference in SERVED.items():
        body = sample(f"{OFFICIAL}{resource}.json")["get"]["body"]
        objects[resource] = body[resource]
        vendor.answers[f"GET /{resource}/{reference}"] = (200, body)
    items = sample(f"{OFFICIAL}payout_items.json")["list"]["body"]
    no_more = {"cursors": {"after": None, "before": None}, "limit": 50}
    vendor.answers["GET /payout_items"] = (200, {**items, "meta": no_more})
    events = sample(f"{OFFICIAL}events.json")["list"]["body"]
    vendor.answers["GET /events"] = (200, {**events, "meta": no_more})
    return objects


def signed(event: dict[str, Any]) -> tuple[bytes, dict[str, str]]:
    """An event -> the body and headers of its webhook."""
    body = json.dumps({"events": [event]}).encode()
    return body, {"Webhook-Signature": hmac.new(b"s", body, hashlib.sha256).hexdigest()}


async def test_every_action_of_every_resource_is_read_by_the_official_objects(
    vendor: Vendor, debits: DirectDebits, sample: Sample
) -> None:
    """Each action there is, with the official event around it: a fact of the state the object is in, or nothing."""
    objects, webhooks = serve(vendor, sample), DirectDebitWebhooks(debits, ["s"])
    official = sample(f"{OFFICIAL}events.json")["get"]["body"]["events"]
    seen: dict[str, set[type]] = {}
    for resource, actions in sample("derived/gocardless_actions_causes_origins.json").items():
        for action, causes in actions.items():
            details = {**official["details"], "cause": next(iter(causes), None)}
            event = {**official, "resource_type": f"{resource}s", "action": action, "details": details}
            (got,) = webhooks.verify(*signed(event))
            facts = await webhooks.facts(got)
            seen.setdefault(resource, set()).update(type(fact) for fact in facts)
    assert vendor.unknown == []
    assert {resource for resource, facts in seen.items() if facts} <= {
        "payment",
        "mandate",
        "refund",
        "billing_request",
    }
    assert all(issubclass(kind, PaymentFact) for kind in seen["payment"])
    assert len(seen["payment"]) == 1, "the state decides, not the action"
    assert seen["mandate"] == {MandateChanged}
    assert OUTCOMES[objects["payments"]["status"]] is PaymentOutcome.SUBMITTED


async def test_the_official_lists_and_objects_through_the_client(
    vendor: Vendor, debits: DirectDebits, sample: Sample
) -> None:
    objects = serve(vendor, sample)
    payment = await debits.status("PM123")
    assert (payment.amount, payment.currency, payment.reference) == (1000, "EUR", "PM123")
    refund = await debits.refund_status("RF123")
    assert (refund.reference, refund.outcome) == ("RF123", REFUNDS[objects["refunds"]["status"]])
    assert (await debits.billing_request("BRQ123"))["id"] == "BRQ123"
    log = DirectDebitWebhooks(debits, ["s"])
    (fact,) = await log.read(Mirrored.MANDATE, "MD123")
    assert isinstance(fact, MandateChanged)
    assert fact.status is MANDATES[objects["mandates"]["status"]] is MandateStatus.PENDING
    pages = [page async for page in log.missed(datetime(2014, 1, 1, tzinfo=UTC), None)]
    assert [(one.event_type, one.object_id) for page in pages for one in page.events] == [
        ("mandates.cancelled", "MD123"),
        ("mandates.cancelled", "MD123"),
    ]


async def test_the_official_conflict_is_fetched_compared_and_refused(
    vendor: Vendor, debits: DirectDebits, sample: Sample
) -> None:
    """The key was used before: what it stands for is 10.00 EUR of somebody else's."""
    serve(vendor, sample)
    conflict = sample(f"{OFFICIAL}idempotent_creation_conflict_error.json")
    (error,) = conflict["error"]["errors"]
    reference = error["links"]["conflicting_resource_id"]
    for resource in ("payments", "refunds"):
        vendor.answers[f"POST /{resource}"] = (409, conflict)
        vendor.answers[f"GET /{resource}/{reference}"] = vendor.answers[f"GET /{resource}/{SERVED[resource]}"]
    order = an_order(mandate="MD123")
    with pytest.raises(Refused) as refused:
        await debits.collect(order)
    assert refused.value.code == CONFLICT
    back = RefundOrder(order.payment_id, "PM123", "key", 1000, "EUR")
    with pytest.raises(Refused) as refused:
        await debits.refund(back)
    assert refused.value.code == CONFLICT


async def test_the_official_refusal_of_a_state_names_its_reason(
    vendor: Vendor, debits: DirectDebits, sample: Sample
) -> None:
    serve(vendor, sample)
    body = sample(f"{OFFICIAL}invalid_state_error.json")
    vendor.answers["POST /payments"] = (422, body)
    with pytest.raises(Refused) as refused:
        await debits.collect(an_order(mandate="MD123"))
    assert refused.value.code == body["error"]["errors"][0]["reason"]


# -- Stripe -----------------------------------------------------------------------------------------------------------

PLURAL = {
    "payment_intent": "payment_intents",
    "dispute": "disputes",
    "checkout.session": "checkout/sessions",
    "subscription": "subscriptions",
    "invoice": "invoices",
    "invoice_payment": "invoice_payments",
    "refund": "refunds",
    "charge": "charges",
    "customer": "customers",
}
# beginning of an event's type -> the kind of its object
ABOUT = {
    "payment_intent.": "payment_intent",
    "charge.dispute.": "dispute",
    "charge.refund.": "refund",
    "charge.": "charge",
    "checkout.session.": "checkout.session",
    "customer.subscription.": "subscription",
    "invoice.": "invoice",
    "invoice_payment.": "invoice_payment",
    "refund.": "refund",
}


def serve_cards(vendor: Vendor, sample: Sample) -> dict[str, Any]:
    """Have each of Stripe's sample objects answered under its own id, and lists of them -> the objects by kind."""
    objects: dict[str, Any] = {}
    for kind, plural in PLURAL.items():
        one = objects[kind] = sample(f"{OPENAPI}{kind}.json")
        vendor.answers[f"GET /v1/{plural}/{one['id']}"] = (200, one)
        vendor.answers[f"GET /v1/{plural}"] = (200, {"object": "list", "data": [one], "has_more": False})
    subscription, invoice = objects["subscription"], objects["invoice"]
    for line in invoice["lines"]["data"] or [sample(f"{OPENAPI}line_item.json")]:
        vendor.answers[f"GET /v1/invoices/{invoice['id']}/lines"] = (
            200,
            {"object": "list", "data": [line], "has_more": False},
        )
    for kind in ("dispute", "refund", "charge"):
        if isinstance(named := objects[kind].get("payment_intent"), str):
            vendor.answers[f"GET /v1/payment_intents/{named}"] = (200, objects["payment_intent"])
    if isinstance(named := objects["invoice_payment"]["invoice"], str):
        vendor.answers[f"GET /v1/invoices/{named}"] = (200, invoice)
    if isinstance(named := subscription["customer"], str):
        vendor.answers[f"GET /v1/customers/{named}"] = (200, objects["customer"])
    return objects


async def test_every_event_type_of_stripe_is_read_by_the_vendors_objects(
    vendor: Vendor, account: StripeAccount, clock: StoppedClock, sample: Sample
) -> None:
    """Each of the 275 snapshot and 316 thin types around the vendor's own object: facts, or nothing, never a fault."""
    objects, webhooks = serve_cards(vendor, sample), StripeWebhooks(account, ["whsec"], clock)
    types = sample("derived/stripe_16_1_0_event_types.json")
    around = sample(f"{OPENAPI}event.json")
    seen: dict[str, set[type]] = {}
    for name in types["snapshot_event_types"]:
        seen[name] = await _meaning(webhooks, objects, name, {**around, "type": name})
    for name in types["thin_event_types"]:
        thin = {"object": "v2.core.event", "created": "2026-03-01T12:00:00Z", "id": "evt_thin", "type": name}
        twin = name.removeprefix("v1.")
        meant = await _meaning(webhooks, objects, twin, thin)
        assert meant == seen.get(twin, meant), name
    assert seen["customer.subscription.updated"] == {SubscriptionSeen}
    assert seen["invoice.paid"] == {InvoiceSeen}
    assert seen["customer.created"] == seen["payout.paid"] == seen["product.updated"] == set()


async def _meaning(webhooks: StripeWebhooks, objects: dict[str, Any], name: str, event: dict[str, Any]) -> set[type]:
    kind = next((kind for start, kind in ABOUT.items() if name.startswith(start)), None)
    reference = objects[kind]["id"] if kind else "x_1"
    got = ReceivedEvent("evt_1", name, reference, {**event, "livemode": False})
    return {type(fact) for fact in await webhooks.facts(got)}


NOT_ASKED_FOR = {
    "stripe_openapi_fixtures": {"balance_transaction", "billing_portal.session", "credit_note", "line_item", "payout"}
    | {"customer_balance_transaction", "price", "product", "payment_link", "subscription_item", "webhook_endpoint"}
    | {"test_helpers.test_clock"},
    "gocardless_official": {"billing_request_flows", "customer_bank_accounts", "customers"}
    | {"scenario_simulators", "subscriptions", "webhooks"},
}
ELSEWHERE = {  # read by the tests of signatures and of errors
    "stripe_openapi_fixtures": set[str](),
    "gocardless_official": {"webhook_body", "gocardless_error", "insufficient_permission", "invalid_api_usage_error"}
    | {"rate_limit_exceeded"},
}
HERE = {
    "stripe_openapi_fixtures": PLURAL.keys() | {"event"},
    "gocardless_official": SERVED.keys()
    | {"payout_items", "events", "idempotent_creation_conflict_error", "invalid_state_error"},
}


@pytest.mark.parametrize("folder", HERE)
def test_no_sample_is_left_out(folder: str) -> None:
    """Each file is read here, or where it belongs, or is of a kind nobody asks a vendor for."""
    files = {path.stem for path in (SAMPLES / folder).glob("*.json")}
    if not files:
        pytest.skip(f"the vendors' samples are not at {SAMPLES} (set DUEFLOW_SAMPLES)")
    assert files == HERE[folder] | ELSEWHERE[folder] | NOT_ASKED_FOR[folder]
