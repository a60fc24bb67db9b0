"""One Stripe account in the world: its objects, its virtual instant, its events and their webhooks."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from local.sandbox.stripe.shapes import SHAPES
from local.sandbox.stripe.wire import API_VERSION, ApiError, missing
from local.sandbox.world import Json, World

EVENTS_KEPT = timedelta(days=30)


class Account:
    """World and configuration -> the store of Stripe objects; ids, events and webhooks follow from saving them."""

    def __init__(self, world: World, config: Json) -> None:
        self.world = world
        self.key: str = config["credentials"]["stripe"]["api_key"]
        self.host = f"http://{config.get('host', '127.0.0.1')}:{config['ports']['stripe']}"
        self._hook: str | None = config["webhooks"].get("stripe")
        self._secret: str = config["credentials"]["stripe"]["webhook_secret"]
        self._at: datetime | None = None
        self._cause: Json = {"id": None, "idempotency_key": None}
        world.webhooks.signers["stripe"] = self._sign

    # -- time --------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The virtual instant in whole seconds; inside `at`, the instant being caught up with."""
        return int((self._at or self.world.now()).timestamp())

    @contextmanager
    def at(self, moment: datetime) -> Iterator[None]:
        """Let things happen as of `moment`: the clock has moved past it already."""
        self._at = moment
        try:
            yield
        finally:
            self._at = None

    @contextmanager
    def caused_by(self, request_id: str, idempotency_key: str | None) -> Iterator[None]:
        """Events made inside name this request as their cause."""
        before, self._cause = self._cause, {"id": request_id, "idempotency_key": idempotency_key}
        try:
            yield
        finally:
            self._cause = before

    # -- objects -----------------------------------------------------------------------------------------------------

    def make(self, kind: str, **fields: Any) -> Json:
        """(object name, fields) -> a new stored object: the full shape, an id, `created` now."""
        return self.save(self.fresh(kind, **fields))

    def fresh(self, kind: str, **fields: Any) -> Json:
        """As `make`, not stored: for what lives inside another object."""
        prefix, shape = SHAPES[kind]
        new: Json = {"id": self.world.new_id(prefix), "object": kind} | deepcopy(shape)
        if "created" in new:
            new["created"] = self.now()
        return new | fields

    def save(self, obj: Json) -> Json:
        """Store the object -> the same object."""
        self.world.put(f"stripe.{obj['object']}", obj["id"], obj)
        return obj

    def read(self, kind: str, id: str, param: str = "id") -> Json:  # noqa: A002 - the word every caller uses for it
        """(object name, id) -> the object; ApiError resource_missing when there is none."""
        found = self.world.get(f"stripe.{kind}", id)
        if found is None:
            raise missing(kind, id, param)
        return found

    def newest_first(self, kind: str, **equal: Any) -> list[Json]:
        """Object name and wanted field values (None = any) -> the objects, newest first."""
        wanted = {name: value for name, value in equal.items() if value is not None}
        return self.world.all(f"stripe.{kind}", **wanted)[::-1]

    def update(self, kind: str, id: str, fields: Json, event: str | None = None) -> Json:  # noqa: A002 - see read
        """Merge `fields` into the object, metadata key by key ("" removes a key), tell `event` -> the stored object."""
        old = self.read(kind, id)
        new = self.save(old | fields | {"metadata": merged(old["metadata"], fields.get("metadata", {}))})
        if event:
            self.tell(event, new, {name: old[name] for name in fields if old[name] != new[name]})
        return new

    # -- events ------------------------------------------------------------------------------------------------------

    def tell(self, kind: str, obj: Json, previous: Json | None = None) -> None:
        """Record the event `kind` about `obj` as it is now and send it; `previous` are the old values of an update."""
        said: Json = {"object": deepcopy(obj)}
        if previous is not None:
            said["previous_attributes"] = previous
        event = self.make("event", type=kind, data=said, request=self._cause, api_version=API_VERSION)
        if self._hook:
            body = json.dumps(event, indent=2).encode()
            headers = {"content-type": "application/json; charset=utf-8", "user-agent": "Stripe/1.0"}
            self.world.deliver("stripe", self._hook, body, headers, kind)

    def change(self, obj: Json, event: str, **fields: Any) -> Json:
        """Set the fields that differ, store, and tell `event` with their old values; nothing when none differs."""
        previous = {name: obj[name] for name, value in fields.items() if obj[name] != value}
        if previous:
            obj.update(fields)
            self.tell(event, self.save(obj), previous)
        return obj

    def events(self) -> list[Json]:
        """The events of the last 30 days, newest first."""
        oldest = self.now() - EVENTS_KEPT.total_seconds()
        return [event for event in self.newest_first("event") if event["created"] >= oldest]

    def _sign(self, body: bytes) -> dict[str, str]:
        # Signed in real time, not virtual: the receiving library compares the stamp with its machine's clock.
        stamp = str(int(time.time()))
        digest = hmac.new(self._secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"Stripe-Signature": f"t={stamp},v1={digest}"}


def merged(old: Json, new: Json) -> Json:
    """(metadata, changes) -> metadata; a key set to "" goes away. ApiError beyond Stripe's limits."""
    if any(len(key) > 40 or not isinstance(value, str) or len(value) > 500 for key, value in new.items()):
        raise ApiError(400, "Metadata keys have at most 40 characters and values at most 500", param="metadata")
    both = {key: value for key, value in (old | new).items() if value != ""}
    if len(both) > 50:
        raise ApiError(400, "Metadata can have at most 50 keys", param="metadata")
    return both
