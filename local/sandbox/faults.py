"""Faults on demand and the call log: one wrapper around each provider's server."""

import asyncio
import json
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from local.sandbox.world import World

# name -> (does the effect happen, status the caller sees; None = the socket closes without an answer)
KINDS: dict[str, tuple[bool, int | None]] = {
    "500_before": (False, 500),
    "500_after": (True, 500),
    "timeout": (False, None),
    "drop_answer": (True, None),
    "409": (False, 409),
    "429": (False, 429),
    "html_502": (False, 502),
    "html_404": (False, 404),
    "html_200": (False, 200),
}
CALLS_KEPT = 10_000
HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
WORDS = {502: "502 Bad Gateway", 404: "404 Not Found", 200: "Down for maintenance"}

ErrorBody = Callable[[int], dict[str, Any]]


@dataclass
class Fault:
    """One switched-on fault: what goes wrong, for which path (regular expression), how many times more."""

    provider: str
    kind: str
    path: str = ""
    times: int = 1
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Unknown fault {self.kind!r}; known: {', '.join(KINDS)}")
        re.compile(self.path)


def plain_error(status: int) -> dict[str, Any]:
    """Status -> the error body of a provider that declared none of its own."""
    return {"error": {"code": status, "message": "The sandbox was told to fail here."}}


@dataclass
class Faults:
    """The switched-on faults and the log of calls received."""

    active: list[Fault] = field(default_factory=list)
    calls: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))
    error_bodies: dict[str, ErrorBody] = field(default_factory=dict)
    # Stripe keeps a 500 it gave under the request's idempotency key: (request headers, status, body) -> None.
    after_500: dict[str, Callable[[dict[str, str], int, bytes], None]] = field(default_factory=dict)

    def add(self, fault: Fault) -> None:
        """Switch one fault on."""
        self.active.append(fault)

    def clear(self) -> None:
        """Switch all faults off."""
        self.active.clear()

    def take(self, provider: str, path: str) -> Fault | None:
        """The first fault meant for this request, used up by one; None when nothing is to go wrong."""
        for fault in self.active:
            if fault.provider == provider and re.search(fault.path, path):
                fault.times -= 1
                if fault.times <= 0:
                    self.active.remove(fault)
                return fault
        return None


class Guarded:
    """An ASGI app that records every request and lets the switched-on faults happen to it."""

    def __init__(self, world: "World", provider: str, app: ASGIApp) -> None:
        self.world, self.provider, self.app = world, provider, app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = await _read_body(receive)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        call = _log_entry(self.provider, scope, headers, body, self.world.now())
        self.world.faults.calls.append(call)
        fault = self.world.faults.take(self.provider, scope["path"])
        happens, status = KINDS[fault.kind] if fault else (True, None)
        answer = await _answer_of(self.app, scope, body) if happens else None
        if fault is None and answer is not None:
            call["status"] = answer[0]["status"]
            for message in answer:
                await send(message)
        elif status is None:
            await asyncio.sleep(fault.seconds if fault and not happens else 0)
            await _hang_up(receive, send)
        else:
            call["status"] = status
            await self._fail(status, headers, send, stored=happens)

    async def _fail(self, status: int, request_headers: dict[str, str], send: Send, *, stored: bool) -> None:
        if status in WORDS:
            kind, body = b"text/html", HTML.format(WORDS[status]).encode()
        else:
            error = self.world.faults.error_bodies.get(self.provider, plain_error)
            kind, body = b"application/json", json.dumps(error(status)).encode()
        remember = self.world.faults.after_500.get(self.provider)
        if stored and remember:
            remember(request_headers, status, body)
        length = str(len(body)).encode()
        headers = [(b"content-type", kind), (b"content-length", length)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def guarded(world: "World", provider: str, app: ASGIApp) -> Guarded:
    """(world, provider, app) -> the app with faults and call log; wrapping twice is the same as once."""
    return app if isinstance(app, Guarded) else Guarded(world, provider, app)


async def _read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


async def _answer_of(app: ASGIApp, scope: Scope, body: bytes) -> list[Message]:
    """Run the app on a request already read -> the messages it would send."""
    sent: list[Message] = []
    unread = [body]

    async def receive() -> Message:
        if unread:
            return {"type": "http.request", "body": unread.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


async def _hang_up(receive: Receive, send: Send) -> None:
    # ASGI has no word for closing without an answer; uvicorn's `send` is a method of the cycle that holds the socket.
    send.__self__.transport.close()  # type: ignore[attr-defined]  # see above
    while (await receive())["type"] != "http.disconnect":
        pass


def _log_entry(provider: str, scope: Scope, headers: dict[str, str], body: bytes, at: datetime) -> dict[str, Any]:
    text = body.decode("utf-8", "replace")
    is_json = "json" in headers.get("content-type", "")
    try:
        content = json.loads(text) if is_json and text else text
    except ValueError:
        content = text
    return {
        "provider": provider,
        "method": scope["method"],
        "path": scope["path"],
        "query": scope["query_string"].decode("latin-1"),
        "idempotency_key": headers.get("idempotency-key"),
        "status": None,
        "at": at.isoformat(),
        "body": content,
    }
