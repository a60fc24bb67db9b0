"""/coursepro/v1/*: CoursePro asks and tells, by its API key; what changes something is signed too.

`attendees` and `courses/ended` are stored here and applied later. Every other call is served at once from a table
(method, path) -> `Served`: the answer of one that changes something is stored with it, and a repeat gets it again.

200 served · 202 stored or known already · 401 no key of purpose COURSEPRO, or not signed · 413 too long
422 refused: {"code", "message", "field"}, and nothing of it remains · 503 not set up
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from integrations.webhooks import MOST_BYTES, TOO_LARGE, raw_body
from models.actions.answers import answered_once
from models.actions.keys import find_api_key
from models.ports import BadSignature, Clock, Providers, ReceivedEvent, Refused
from models.rules.people import billing_detail
from models.rules.refusals import Code, Refusal
from models.rules.states import KeyPurpose, Provider
from models.tables.setting import ApiKey

PREFIX = "/coursepro/v1"
CALLS = {f"{PREFIX}/attendees": "attendees", f"{PREFIX}/courses/ended": "courses.ended"}  # path -> what it must tell
REFUSED = 422


@dataclass(frozen=True, slots=True)
class Call:
    """One call as it is served: its body (empty for a GET), its query, who calls and when; a GET has no event id."""

    body: dict[str, Any]
    query: Mapping[str, str]
    event_id: str | None
    at: datetime
    acting: str


Store = Callable[[Provider, Sequence[ReceivedEvent]], Awaitable[int]]
Served = Callable[[Call], Awaitable[dict[str, Any]]]
Table = Mapping[tuple[str, str], Served]

log = structlog.get_logger("dueflow.coursepro")


def routes(registry: Providers, store: Store, clock: Clock, served: Table) -> list[Route]:
    """Who verifies, who stores, the time keys are judged by, and what is served at once."""
    door = _Door(registry, store, clock)
    stored = [Route(path, door.receive, methods=["POST"]) for path in CALLS]
    at_once = [
        Route(f"{PREFIX}{path}", door.serving(method, path, serve), methods=[method])
        for (method, path), serve in served.items()
    ]
    return [*stored, *at_once]


class _Door:
    """Lets CoursePro's calls in."""

    def __init__(self, registry: Providers, store: Store, clock: Clock) -> None:
        self._registry, self._store, self._clock = registry, store, clock

    async def receive(self, request: Request) -> JSONResponse:
        """Store a call that is applied later."""
        if await self._key(request) is None:
            return _no_key()
        events = await self._signed(request)
        if isinstance(events, JSONResponse):
            return events
        if events[0].event_type != CALLS[request.url.path]:
            return JSONResponse({"message": "This is another call of CoursePro's."}, 401)
        new = await self._store(Provider.COURSEPRO, events)
        return JSONResponse({"event_id": events[0].event_id, "new": bool(new)}, 202)

    def serving(self, method: str, path: str, serve: Served) -> Callable[[Request], Awaitable[JSONResponse]]:
        """The endpoint of a call that is answered at once."""

        async def answer(request: Request) -> JSONResponse:
            key = await self._key(request)
            if key is None:
                return _no_key()
            asked = Call({}, dict(request.query_params), None, self._clock.now(), f"key:{key.name}")
            try:
                if method == "GET":
                    return JSONResponse(await serve(asked))
                events = await self._signed(request)
                if isinstance(events, JSONResponse):
                    return events
                return JSONResponse(await _once(f"{method} {path}", events[0], request, serve, asked))
            except Refusal as refusal:
                return JSONResponse(_told(refusal), REFUSED)

        return answer

    async def _key(self, request: Request) -> ApiKey | None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = await find_api_key(token, at=self._clock.now()) if scheme.lower() == "bearer" else None
        return key if key is not None and key.purpose is KeyPurpose.COURSEPRO else None

    async def _signed(self, request: Request) -> list[ReceivedEvent] | JSONResponse:
        body = await raw_body(request.receive)
        if body is None:
            return JSONResponse({"message": f"A call has at most {MOST_BYTES} bytes."}, TOO_LARGE)
        try:
            return (await self._registry.webhooks(Provider.COURSEPRO)).verify(body, request.headers)
        except BadSignature as bad:
            log.warning("call refused", reason=str(bad))
            return JSONResponse({"message": str(bad)}, 401)
        except Refused as refused:
            return JSONResponse({"message": str(refused)}, 503)


def _no_key() -> JSONResponse:
    return JSONResponse({"message": "An API key of purpose COURSEPRO is needed."}, 401)


async def _once(name: str, event: ReceivedEvent, request: Request, serve: Served, asked: Call) -> dict[str, Any]:
    if request.headers.get("x-event-id") != event.event_id:
        raise Refusal(Code.INVALID_INPUT, "The header X-Event-Id is the body's event_id.", field=("event_id",))
    if (path := billing_detail(event.body, numbers=False)) is not None:  # such a call is not even stored (R62)
        raise Refusal(Code.BILLING_DETAILS_REFUSED, field=path)

    async def served(body: dict[str, Any]) -> dict[str, Any]:
        return await serve(Call(body, asked.query, event.event_id, asked.at, asked.acting))

    call = ReceivedEvent(event.event_id, name, None, event.body)
    return await answered_once(Provider.COURSEPRO, call, served, acting=asked.acting, at=asked.at)


def _told(refusal: Refusal) -> dict[str, Any]:
    """A refusal in the words of this contract: names of fields as they stand in its bodies, joined by dots."""
    field = ".".join(re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower() for name in refusal.field)
    return {"code": refusal.code.value, "message": refusal.message, "field": field or None}
