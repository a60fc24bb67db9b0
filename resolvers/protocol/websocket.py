"""GraphQL over WebSocket, protocol `graphql-transport-ws` and no other; straight on ASGI.

A frame that breaks the protocol closes the socket with the protocol's own code; a document that cannot be run ends its
own operation only. Mutations run to their end even when their client hangs up.
"""

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import orjson
import structlog
from graphql import OperationDefinitionNode, OperationType
from starlette.types import Message, Receive, Scope, Send

from resolvers.auth import Bearer, Door
from resolvers.context import Context, Deployment
from resolvers.idempotency import key_of, once
from resolvers.protocol.answers import Answer
from resolvers.protocol.asked import Asked, asked
from resolvers.protocol.documents import Prepared
from resolvers.protocol.engine import Engine
from resolvers.protocol.faults import INTERNAL, MASKED, Rejected, stamp
from resolvers.protocol.origins import Origins
from resolvers.protocol.paying import with_cost
from resolvers.protocol.streams import Stream
from resolvers.viewer import Viewer

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0
LONGEST_ID = 128
LATER = "Try again later"  # 1013: clients come back after it, unlike after 1011
log = structlog.get_logger("dueflow.graphql")
_unfinished: set[asyncio.Future[Any]] = set()
Made = TypeVar("Made")


class Close(Exception):
    """The socket must be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Gone(Exception):
    """The client has left."""


@dataclass(eq=False, slots=True)
class Socket:
    """One connection: who is behind it, what runs on it, and how long it is waited for."""

    scope: Scope
    receive: Receive
    send: Send
    patience: asyncio.Timeout
    initialised: bool = False
    bearer: str = ""
    viewer: Viewer | None = None
    over: Close | None = None
    operations: dict[str, asyncio.Task[None] | Stream] = field(default_factory=dict)

    def header(self, name: bytes) -> str | None:
        """The first header of that lower-case name."""
        return next((value.decode("latin-1") for key, value in self.scope["headers"] if key == name), None)

    async def tell(self, kind: str, operation: str | None = None, payload: bytes | None = None) -> None:
        """Send one message; `payload` is finished JSON."""
        head = orjson.dumps({"type": kind} if operation is None else {"id": operation, "type": kind})
        text = head if payload is None else head[:-1] + b',"payload":' + payload + b"}"
        try:
            await self.send({"type": "websocket.send", "text": text.decode()})
        except (OSError, RuntimeError) as left:
            raise Gone from left

    async def answer(self, operation: str, answer: Answer) -> None:
        """Send an answer, if anybody is there; one that was refused is the operation's end."""
        if answer.refused:
            await self.last(operation, "error", orjson.dumps(answer.refused))
            return
        with suppress(Gone):
            await self.tell("next", operation, answer.body)

    async def last(self, operation: str, kind: str, payload: bytes | None = None) -> None:
        """Send an operation's last message; its id is free before the client can hear that it is."""
        self.operations.pop(operation, None)
        with suppress(Gone):
            await self.tell(kind, operation, payload)

    def end(self, *, sure: bool) -> None:
        """Close it: its bearer is let in no more, or, if that is not sure, may come again."""
        # 4403, because clients ask for a fresh token and come back after it; mutations under way run to their end
        self.over = Close(4403, "Forbidden") if sure else Close(1013, LATER)
        self.patience.reschedule(asyncio.get_running_loop().time())


class GraphQLOverWebSocket:
    """The ASGI endpoint for `websocket` scopes. `origins` are the sites whose pages may connect."""

    def __init__(
        self,
        engine: Engine,
        door: Door,
        deployment: Deployment,
        *,
        origins: Origins | None = None,
        init_seconds: float = INIT_SECONDS,
    ) -> None:
        self._engine = engine
        self._door = door
        self._deployment = deployment
        self._origins = origins or Origins()
        self._init_seconds = init_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket until either side closes it."""
        patience = asyncio.timeout(self._init_seconds)
        socket = Socket(scope, receive, send, patience)
        await receive()
        if not self._origins.allows(socket.header(b"origin"), socket.header(b"host")):
            await send({"type": "websocket.close", "code": 4403, "reason": "Forbidden"})
            return
        known = PROTOCOL in scope.get("subprotocols", ())
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL if known else None})
        try:
            await self._serve(socket, known)
        except Close as close:
            await send({"type": "websocket.close", "code": close.code, "reason": close.reason})
        except Gone:
            return
        except Exception:
            log.exception("fault")
            await send({"type": "websocket.close", "code": 1013, "reason": LATER})
        finally:
            for running in socket.operations.values():
                running.cancel()

    async def _serve(self, socket: Socket, known: bool) -> None:
        if not known:
            raise Close(4406, "Subprotocol not acceptable")
        try:
            async with socket.patience:
                try:
                    while await self._heard(socket):
                        pass
                finally:
                    self._door.release(socket.bearer, socket.end)
        except TimeoutError:
            if not socket.patience.expired():
                raise
            raise socket.over or Close(4408, "Connection initialisation timeout") from None

    async def _heard(self, socket: Socket) -> bool:
        """Do what one message says; False once the client has left."""
        event = await socket.receive()
        if event["type"] == "websocket.disconnect":
            return False
        message = _message(event)
        match message["type"]:
            case "connection_init":
                await self._initialise(socket, message)
            case "ping":
                await socket.tell("pong", payload=_sent_back(message.get("payload")))
            case "pong":
                pass
            case "subscribe":
                await self._begin(socket, _id(message), message)
            case "complete":
                if running := socket.operations.pop(_id(message), None):
                    running.cancel()
            case kind:
                raise Close(4400, f"Unknown message type {kind[:40]}")
        return True

    async def _initialise(self, socket: Socket, message: dict[str, Any]) -> None:
        if socket.initialised:
            raise Close(4429, "Too many initialisation requests")
        socket.initialised = True
        socket.patience.reschedule(None)
        given = message.get("payload") or {}
        word = given.get("authorization") or given.get("Authorization") or socket.header(b"authorization")
        socket.bearer = word if isinstance(word, str) else ""
        socket.viewer = await self._door.viewer(socket.bearer)
        if socket.viewer is None:
            raise Close(4403, "Forbidden")
        self._door.hold(socket.bearer, socket.end)
        await socket.tell("connection_ack")

    async def _begin(self, socket: Socket, operation: str, message: dict[str, Any]) -> None:
        if socket.viewer is None:
            raise Close(4401, "Unauthorized")
        if operation in socket.operations:
            raise Close(4409, f"Subscriber for {operation} already exists")
        payload = message.get("payload")
        if not isinstance(payload, dict):
            raise Close(4400, "The payload of subscribe must be an object")
        try:
            request = asked(await _unhindered(self._engine.persisted.completed(payload)))
        except Rejected as no:
            if not no.spoken:
                raise Close(4400, str(no)) from None
            await socket.last(operation, "error", orjson.dumps(stamp(no.errors, uuid4().hex)))
            return
        full = len(socket.operations) >= self._deployment.limits.operations
        task = asyncio.create_task(self._operate(socket, operation, request, socket.viewer, full=full))
        socket.operations[operation] = task
        await asyncio.sleep(0)  # it begins before the next message is read: a mutation once received is done

    async def _operate(self, socket: Socket, operation: str, request: Asked, viewer: Viewer, *, full: bool) -> None:
        context = Context(viewer, self._deployment, uuid4().hex, Bearer(self._door, socket.bearer))
        try:
            if full:
                most = self._deployment.limits.operations
                raise Rejected(429, "THROTTLED", f"A socket carries {most} operations at once.")
            prepared, running = await _unhindered(self._admitted(request, context))
            if running is None:
                tell = partial(socket.answer, operation)
                socket.operations[operation] = self._engine.streams.begin(prepared, request, context, tell)
                return
            mutation = prepared.chosen(request.operation_name).operation is OperationType.MUTATION
            answer = await (asyncio.shield(running) if mutation else running)
            if answer.refused:
                await socket.answer(operation, answer)
                return
            await socket.answer(operation, Answer(with_cost(answer.body, context, wanted=request.cost)))
            await socket.last(operation, "complete")
        except Rejected as no:
            await socket.last(operation, "error", orjson.dumps(stamp(no.errors, context.request_id)))
        except Exception:
            log.exception("fault", request_id=context.request_id)
            errors = stamp([{"message": MASKED, "extensions": {"code": INTERNAL}}], context.request_id)
            await socket.last(operation, "error", orjson.dumps(errors))

    async def _admitted(self, request: Asked, context: Context) -> "tuple[Prepared, asyncio.Future[Answer] | None]":
        """A paid operation, and its answer on its way unless it is a stream: a mutation, once received, is done."""
        prepared = await self._engine.admit(request, context)
        chosen = prepared.chosen(request.operation_name)
        if chosen.operation is OperationType.SUBSCRIPTION:
            return prepared, None
        return prepared, _begun(self._run(prepared, chosen, request, context))

    async def _run(
        self, prepared: Prepared, chosen: OperationDefinitionNode, request: Asked, context: Context
    ) -> Answer:
        async def run() -> Answer:
            return await self._engine.run(prepared, request, context)

        if chosen.operation is OperationType.QUERY:
            body = await self._engine.read(request, context)
            return await run() if body is None else Answer(body)
        key = key_of(self._engine.schema, chosen, request, None)
        return await (once(context.viewer, key, request, context.vault, run) if key else run())


def _begun(work: Awaitable[Made]) -> "asyncio.Future[Made]":
    """Work that runs to its end whoever leaves."""
    task = asyncio.ensure_future(work)
    _unfinished.add(task)
    task.add_done_callback(_unfinished.discard)
    return task


async def _unhindered(work: Awaitable[Made]) -> Made:
    return await asyncio.shield(_begun(work))


def _message(event: Message) -> dict[str, Any]:
    try:
        message = orjson.loads(event.get("text") or "")
    except (ValueError, RecursionError):
        raise Close(4400, "A message must be JSON text") from None
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise Close(4400, "A message must be an object with a type")
    if message.get("payload") is not None and not isinstance(message["payload"], dict):
        raise Close(4400, "A payload must be an object")
    return message


def _sent_back(payload: dict[str, Any] | None) -> bytes | None:
    try:
        return None if payload is None else orjson.dumps(payload)
    except TypeError:  # it reads deeper nesting than it writes
        raise Close(4400, "A payload nests too deeply") from None


def _id(message: dict[str, Any]) -> str:
    operation = message.get("id")
    if not isinstance(operation, str) or not operation or len(operation) > LONGEST_ID:
        raise Close(4400, f"A message must name its operation by an id of 1 to {LONGEST_ID} characters")
    return operation
