"""GraphQL over HTTP: negotiation, limits, typed errors; straight on ASGI, where a request costs microseconds.

Follows the GraphQL-over-HTTP draft: `application/graphql-response+json` speaks with statuses, `application/json` says
200 to every well-formed request. A stream goes out as server-sent events.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from random import getrandbits
from typing import Any
from urllib.parse import parse_qs

import orjson
import structlog
from graphql import OperationDefinitionNode, OperationType
from starlette.types import Receive, Scope, Send

from resolvers.auth import Bearer, Door
from resolvers.context import Context, Deployment
from resolvers.idempotency import key_of, once
from resolvers.protocol.answers import Answer
from resolvers.protocol.asked import Asked, asked, bad_request
from resolvers.protocol.documents import Prepared
from resolvers.protocol.engine import Engine
from resolvers.protocol.faults import INTERNAL, MASKED, Rejected, stamp
from resolvers.protocol.negotiation import EVENTS, JSON, RESPONSE, SAFE, body_type, offered
from resolvers.protocol.origins import Origins
from resolvers.protocol.paying import headers as of_points
from resolvers.protocol.paying import with_cost
from resolvers.protocol.sse import Events, send_single

COST = b"graphql-cost"  # the header of who wants to be told the price
DRAINED_BYTES = 64 << 20
DRAIN_SECONDS = 10.0
_TYPED = {
    kind: (b"content-type", f"{spoken}; charset=utf-8".encode())
    for kind, spoken in ((JSON, JSON), (RESPONSE, RESPONSE), (EVENTS, JSON))
}
log = structlog.get_logger("dueflow.graphql")


@dataclass(slots=True)
class Call:
    """One HTTP request while it is answered."""

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[bytes, bytes]
    request_id: str
    most_bytes: int
    media: tuple[str, ...] = (JSON,)
    whole: bool = False
    context: Context | None = None
    beside: tuple[tuple[bytes, bytes], ...] = ()  # headers that every answer to this request has

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    async def reply(self, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a finished answer."""
        length, name = b"%d" % len(body), self.request_id.encode()
        own = (_TYPED[self.media[0]], (b"content-length", length), (b"x-request-id", name))
        safe = () if self.scope["method"] == "POST" else SAFE
        every = [*own, *safe, *self.beside, *headers]
        await self.send({"type": "http.response.start", "status": status, "headers": every})
        await self.send({"type": "http.response.body", "body": body})

    async def body(self) -> Any:
        """The decoded body. Raises Rejected 415 for another type, 413 for one that is too large, 400."""
        if body_type(self.headers.get(b"content-type", b"")) != JSON:
            raise Rejected(415, "UNSUPPORTED_MEDIA_TYPE", f"Send `Content-Type: {JSON}` in UTF-8.")
        chunks: list[bytes] = []
        size = 0
        while not self.whole:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError
            self.whole = not message.get("more_body", False)
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self.most_bytes:
                words = f"A request body has at most {self.most_bytes} bytes."
                raise Rejected(413, "PAYLOAD_TOO_LARGE", words)
        return _json(b"".join(chunks), "The body")

    async def drain(self) -> None:
        """Read what is still being sent, so that the client comes to read the answer; give up on what never ends."""
        seen = 0
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self.whole and seen < DRAINED_BYTES:
                    message = await self.receive()
                    seen += len(message.get("body", b""))
                    self.whole = not message.get("more_body", False)
        except TimeoutError:
            return


class GraphQLOverHTTP:
    """The ASGI endpoint for `http` scopes. `origins` are the sites whose pages may ask."""

    def __init__(self, engine: Engine, door: Door, deployment: Deployment, *, origins: Origins | None = None) -> None:
        self._engine = engine
        self._door = door
        self._deployment = deployment
        self._origins = origins or Origins()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        named = dict(reversed(scope["headers"]))  # of headers that come twice the first counts
        request_id = f"{getrandbits(128):032x}"  # a name, no secret
        call = Call(scope, receive, send, named, request_id, self._deployment.limits.body_bytes)
        try:
            await self._answer(call)
        except Rejected as no:
            await call.drain()
            body = orjson.dumps({"errors": stamp(no.errors, call.request_id)})
            if no.spoken and call.context is not None and call.media[0] == EVENTS:
                # clients of streams read an error of GraphQL's only where it comes as an event
                await send_single(call.send, body, call.context, call.beside)
                return
            status = 200 if no.spoken and no.status < 500 and call.media[0] == JSON else no.status
            await call.reply(status, body, no.headers)
        except ConnectionResetError:
            return
        except Exception:
            log.exception("fault", request_id=call.request_id)
            error = {"message": MASKED, "extensions": {"code": INTERNAL}}
            await call.reply(500, orjson.dumps({"errors": stamp([error], call.request_id)}))

    def _may_ask_here(self, call: Call) -> bool:
        """Whether more is asked than what a browser asks beforehand. Raises Rejected 403 for pages of other sites."""
        if b"origin" not in call.headers:
            return True
        origin, host = call.headers[b"origin"].decode("latin-1"), call.header(b"host")
        if not self._origins.allows(origin, host):
            raise Rejected(403, "ORIGIN_NOT_ALLOWED", "Pages of this site may not ask here.")
        call.beside = self._origins.headers(origin, host)
        beforehand = call.scope["method"] == "OPTIONS" and call.header(b"access-control-request-method") is not None
        return not (beforehand and call.beside)

    async def _answer(self, call: Call) -> None:
        if not self._may_ask_here(call):
            await call.reply(204, b"", self._origins.permission())
            return
        if call.scope["method"] not in ("GET", "POST"):
            raise Rejected(405, "METHOD_NOT_ALLOWED", "Use GET or POST.", headers=((b"allow", b"GET, POST"),))
        call.media = offered(call.headers.get(b"accept", b""))
        viewer = await self._door.viewer(call.header(b"authorization"))
        if viewer is None:
            challenge = ((b"www-authenticate", b"Bearer"),)
            raise Rejected(401, "UNAUTHENTICATED", "Send `Authorization: Bearer` with a live key.", headers=challenge)
        body = _from_url(call.scope) if call.scope["method"] == "GET" else await call.body()
        request = asked(await self._engine.persisted.completed(body))
        context = call.context = Context(viewer, self._deployment, call.request_id)
        try:
            prepared = await self._engine.admit(request, context)
        finally:
            call.beside += of_points(context)
        wanted = request.cost or COST in call.headers
        if call.media[0] != EVENTS and (whole := await self._engine.read(request, context)) is not None:
            await call.reply(200, with_cost(whole, context, wanted=wanted))
            return
        operation = prepared.chosen(request.operation_name)
        if operation.operation is OperationType.SUBSCRIPTION:
            await self._stream(call, prepared, request, context)
            return
        answer = await self._once(call, prepared, operation, request, context)
        body = with_cost(answer.body, context, wanted=wanted)
        if call.media[0] == EVENTS:
            await send_single(call.send, body, context, call.beside)
        else:
            status = 200 if call.media[0] == JSON and answer.status < 500 else answer.status
            await call.reply(status, body)

    async def _once(
        self, call: Call, prepared: Prepared, operation: OperationDefinitionNode, request: Asked, context: Context
    ) -> Answer:
        async def run() -> Answer:
            return await self._engine.run(prepared, request, context)

        if operation.operation is not OperationType.MUTATION:
            return await run()
        if call.scope["method"] == "GET":
            raise Rejected(405, "METHOD_NOT_ALLOWED", "Send mutations by POST.", headers=((b"allow", b"POST"),))
        key = key_of(self._engine.schema, operation, request, call.header(b"idempotency-key"))
        return await (once(context.viewer, key, request, context.vault, run) if key else run())

    async def _stream(self, call: Call, prepared: Prepared, request: Asked, context: Context) -> None:
        if EVENTS not in call.media:
            words = f"A subscription needs `Accept: {EVENTS}` or a WebSocket."
            raise Rejected(406, "NOT_ACCEPTABLE", words)
        shown = call.header(b"authorization") or ""
        context.present = Bearer(self._door, shown)
        context.resume_after = call.header(b"last-event-id")
        events = Events(call.send, context, call.beside)
        await events.begin()
        stream = self._engine.streams.begin(prepared, request, context, events.tell)
        gone = asyncio.create_task(events.gone(call.receive))
        self._door.hold(shown, events.end)
        try:
            await events.until_over()
        finally:
            self._door.release(shown, events.end)
            stream.cancel()
            gone.cancel()
        await events.complete()


def _from_url(scope: Scope) -> dict[str, Any]:
    try:
        given = parse_qs(scope["query_string"].decode("ascii"), errors="strict", max_num_fields=20)
    except ValueError:
        raise bad_request("The address is not one of well-formed parameters in UTF-8.") from None
    body: dict[str, Any] = {name: values[0] for name, values in given.items()}
    for name in ("variables", "extensions"):
        if name in body:
            body[name] = _json(body[name].encode(), f"`{name}`")
    return body


def _json(text: bytes, what: str) -> Any:
    try:
        return orjson.loads(text)
    except (ValueError, RecursionError):
        raise bad_request(f"{what} is not JSON in UTF-8.") from None
