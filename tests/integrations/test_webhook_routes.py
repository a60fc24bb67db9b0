"""POST /webhooks/{provider}, over real HTTP: what is stored, and what each vendor is answered."""

import asyncio
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import stripe
import uvicorn

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from integrations.webhooks import MOST_BYTES, doors
from local.state import held_ports
from models.actions.vault import Vault
from models.ports import ReceivedEvent, Refused, WebhookSource
from models.rules.states import Provider
from resolvers.protocol.doors import Doors
from tests.integrations.conftest import StoppedClock
from tests.sandbox.conftest import until

STRIPE_SECRET, GOCARDLESS_SECRET, POISON = "whsec_1", "gc_1", "evt_poison"
EVENT = json.dumps({"object": "event", "id": "evt_1", "type": "invoice.paid", "created": 1}).encode()
EVENTS = json.dumps(
    {"events": [{"id": f"EV{n}", "resource_type": "payments", "action": "failed", "links": {}} for n in range(250)]}
).encode()


def stripe_headers(body: bytes = EVENT, secret: str = STRIPE_SECRET) -> dict[str, str]:
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, int(time.time()))
    return {"stripe-signature": header}


def gocardless_headers(body: bytes = EVENTS, secret: str = GOCARDLESS_SECRET) -> dict[str, str]:
    return {"webhook-signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


class SetUp(Registry):
    """The registry with both webhooks set up without a database, or not at all."""

    configured = True

    async def webhooks(self, provider: Provider) -> WebhookSource:
        if not self.configured:
            raise Refused(f"{provider} is not set up.", code="PROVIDER_NOT_CONFIGURED")
        if provider is Provider.STRIPE:
            account = StripeAccount("sk_test_x", api_base="http://127.0.0.1:1")
            return StripeWebhooks(account, [STRIPE_SECRET], self._clock)
        return DirectDebitWebhooks(DirectDebits("x", api_base="http://127.0.0.1:1"), [GOCARDLESS_SECRET])


@dataclass
class Inbox:
    """Keeps each event once, as the database would; or fails."""

    events: dict[tuple[Provider, str], ReceivedEvent] = field(default_factory=dict)
    full: bool = False
    together: list[int] = field(default_factory=list)

    async def __call__(self, provider: Provider, deliveries: Sequence[Sequence[ReceivedEvent]]) -> list[int]:
        self.together.append(len(deliveries))
        if self.full or any(event.event_id == POISON for events in deliveries for event in events):
            raise OSError("the disk is full")
        counts = []
        for events in deliveries:
            new = {(provider, event.event_id): event for event in events}
            counts.append(len(new.keys() - self.events.keys()))
            self.events |= new
        return counts


@dataclass
class Site:
    """The routes served, the inbox and the registry behind them, and a client."""

    http: httpx.Client
    inbox: Inbox
    registry: SetUp

    def post(self, provider: str, body: bytes | Any, headers: dict[str, str]) -> tuple[int, Any]:
        answer = self.http.post(f"/webhooks/{provider}", content=body, headers=headers)
        return answer.status_code, answer.json()


@pytest.fixture
def site(clock: StoppedClock, secret_key: str) -> Iterator[Site]:
    inbox, registry = Inbox(), SetUp(Vault(secret_key), None, clock=clock)
    (port,) = held_ports(1)
    app = Doors(doors(registry, inbox))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, bool)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        yield Site(http, inbox, registry)
    server.should_exit = True
    thread.join(5)


def test_an_event_is_stored_once_and_answered_200_each_time(site: Site) -> None:
    assert site.post("stripe", EVENT, stripe_headers()) == (200, {"received": 1, "new": 1})
    assert site.post("stripe", EVENT, stripe_headers()) == (200, {"received": 1, "new": 0})
    (stored,) = site.inbox.events.values()
    assert stored == ReceivedEvent("evt_1", "invoice.paid", None, json.loads(EVENT))


def test_two_hundred_and_fifty_events_of_one_webhook(site: Site) -> None:
    assert site.post("gocardless", EVENTS, gocardless_headers()) == (200, {"received": 250, "new": 250})
    assert site.post("gocardless", EVENTS, gocardless_headers()) == (200, {"received": 250, "new": 0})


@pytest.mark.parametrize(
    ("provider", "headers", "status"),
    [
        ("stripe", stripe_headers(secret="other"), 400),
        ("stripe", {}, 400),
        ("stripe", {"stripe-signature": b"t=1,v1=\xfc\xe9".decode("latin-1")}, 400),
        ("gocardless", gocardless_headers(EVENT, "other"), 498),
        ("gocardless", {}, 498),
        ("gocardless", {"webhook-signature": b"\xfc\xe9".decode("latin-1")}, 498),
    ],
)
def test_what_is_not_signed_is_not_stored(site: Site, provider: str, headers: dict[str, str], status: int) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert site.http.post(f"/webhooks/{provider}", content=EVENT, headers=raw).status_code == status
    assert site.inbox.events == {}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_a_mebibyte_is_not_read(site: Site, chunked: bool) -> None:
    body = b" " * (MOST_BYTES + 1)
    sent: Any = iter([body[:1000], body[1000:]]) if chunked else body
    assert site.post("stripe", sent, stripe_headers())[0] == 413
    most = EVENT + b" " * (MOST_BYTES - len(EVENT))
    assert site.post("stripe", most, stripe_headers(most))[0] == 200


def test_nobody_else_sends_webhooks_here(site: Site) -> None:
    for word in ("paypal", "coursepro", "xero"):
        assert site.http.post(f"/webhooks/{word}", content=EVENT, headers=stripe_headers()).status_code == 404
    got = site.http.get("/webhooks/stripe")
    assert (got.status_code, got.headers["allow"]) == (405, "POST")


def test_while_the_provider_is_not_set_up_the_vendor_keeps_it(site: Site) -> None:
    site.registry.configured = False
    assert site.post("stripe", EVENT, stripe_headers())[0] == 503


def test_while_nothing_can_be_stored_the_vendor_keeps_it(site: Site) -> None:
    site.inbox.full = True
    assert site.post("stripe", EVENT, stripe_headers())[0] == 500
    site.inbox.full = False
    assert site.post("stripe", EVENT, stripe_headers()) == (200, {"received": 1, "new": 1})


async def test_what_comes_at_once_is_stored_together_and_what_cannot_be_keeps_out_no_other(
    clock: StoppedClock, secret_key: str
) -> None:
    inbox, registry = Inbox(), SetUp(Vault(secret_key), None, clock=clock)
    transport = httpx.ASGITransport(Doors(doors(registry, inbox)))
    async with httpx.AsyncClient(transport=transport, base_url="http://dueflow.test") as client:

        async def deliver(event_id: str) -> tuple[int, Any]:
            body = json.dumps({"id": event_id, "type": "invoice.paid"}).encode()
            answer = await client.post("/webhooks/stripe", content=body, headers=stripe_headers(body))
            return answer.status_code, answer.json().get("new")

        told = await asyncio.gather(*map(deliver, ("evt_1", "evt_2", "evt_2", "evt_3")))
        assert (told, inbox.together) == ([(200, 1), (200, 1), (200, 0), (200, 1)], [4])
        told = await asyncio.gather(*map(deliver, ("evt_4", POISON, "evt_3")))
        assert (told, inbox.together) == ([(200, 1), (500, None), (200, 0)], [4, 3, 1, 1, 1])
