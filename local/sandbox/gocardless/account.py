"""One GoCardless account in the world: its resources, its virtual instant, its events and their batched webhooks."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from local.sandbox.gocardless.causes import DESCRIPTIONS, REASON_CODES
from local.sandbox.gocardless.wire import not_found, stamp
from local.sandbox.world import Json, World

PREFIXES = {
    "billing_request_flows": "BRF",
    "billing_requests": "BRQ",
    "customer_bank_accounts": "BA",
    "customers": "CU",
    "events": "EV",
    "mandates": "MD",
    "payments": "PM",
    "payout_items": "PI",
    "payouts": "PO",
    "refunds": "RF",
}
SINGULAR = {name: name.removesuffix("s") for name in PREFIXES}
CREDITOR = "CR000001"
BATCH = 250
GATHER_SECONDS = 0.05
OUTBOX = "gocardless.outbox"


class Account:
    """World and configuration -> the store of resources; events and webhooks follow from `tell`."""

    def __init__(self, world: World, config: Json) -> None:
        self.world = world
        self.token: str = config["credentials"]["gocardless"]["access_token"]
        self.host = f"http://{config.get('host', '127.0.0.1')}:{config['ports']['gocardless']}"
        self._hook: str | None = config["webhooks"].get("gocardless")
        self._secret: str = config["credentials"]["gocardless"]["webhook_secret"]
        self._at: datetime | None = None
        world.webhooks.signers["gocardless"] = self._sign

    def now(self) -> datetime:
        """The virtual instant; inside `at`, the instant being caught up with."""
        return self._at or self.world.now()

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Let things happen as of `moment`: the clock has moved past it already."""
        self._at = moment
        try:
            yield
        finally:
            self._at = None

    # -- resources ---------------------------------------------------------------------------------------------------

    def make(self, resource: str, **fields: Any) -> Json:
        """(resource, fields) -> a new stored one with its id and time of creation."""
        new = {"id": self.world.new_id(PREFIXES[resource]), "created_at": stamp(self.now())} | fields
        return self.save(resource, new)

    def save(self, resource: str, obj: Json) -> Json:
        """Store the object -> the same object."""
        self.world.put(f"gocardless.{resource}", obj["id"], obj)
        return obj

    def read(self, resource: str, id: str) -> Json:  # noqa: A002 - the word every caller uses for it
        """(resource, id) -> the object; ApiError 404 when there is none."""
        found = self.world.get(f"gocardless.{resource}", id)
        if found is None:
            raise not_found()
        return found

    def newest_first(self, resource: str) -> list[Json]:
        """Resource -> all of it, newest first."""
        return self.world.all(f"gocardless.{resource}")[::-1]

    # -- events ------------------------------------------------------------------------------------------------------

    def tell(self, resource: str, obj: Json, action: str, origin: str, cause: str, **said: Any) -> None:
        """Record that `action` happened to the object and send it; `said` may hold links, metadata, more details."""
        links = {SINGULAR[resource]: obj["id"]} | said.pop("links", {})
        metadata = said.pop("metadata", {})
        details = {"origin": origin, "cause": cause, "description": DESCRIPTIONS[cause]} | said
        if origin == "bank":
            details["scheme"] = obj.get("scheme", "bacs")
            if code := REASON_CODES.get((resource, cause)):
                details["reason_code"] = code
        event = self.make(
            "events",
            resource_type=resource,
            action=action,
            links=links,
            details=details,
            metadata=metadata,
            resource_metadata=obj.get("metadata", {}),
            customer_notifications=[],
            source={"name": "Dueflow sandbox", "type": "app"},
        )
        if self._hook:
            self.world.put(OUTBOX, event["id"], event)
            self.world.soon("gocardless.flush", GATHER_SECONDS, self.flush)

    def flush(self) -> None:
        """Put what waits in the outbox into signed webhooks of at most 250 events each."""
        with self.world.unit():
            waiting = self.world.all(OUTBOX)
            for start in range(0, len(waiting), BATCH):
                self._send(waiting[start : start + BATCH])

    def _send(self, events: list[Json]) -> None:
        body = json.dumps({"events": events, "meta": {"webhook_id": self.world.new_id("WB")}}).encode()
        headers = {
            "content-type": "application/json",
            "origin": self.host,
            "user-agent": "gocardless-webhook-service/1.1",
        }
        names = sorted({f"{event['resource_type']}.{event['action']}" for event in events})
        self.world.deliver("gocardless", str(self._hook), body, headers, ",".join(names))
        for event in events:
            self.world.delete(OUTBOX, event["id"])

    def _sign(self, body: bytes) -> dict[str, str]:
        return {"Webhook-Signature": hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()}
