"""A client of the running API, as small as one can be: queries over HTTP, live events over graphql-transport-ws."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

Json = dict[str, Any]


class CallError(Exception):
    """The API answered with errors, or a mutation was refused; the message carries them."""


class Caller:
    """One caller of one API."""

    def __init__(self, graphql: str, ws: str, key: str) -> None:
        """Addresses of the API, and an API key."""
        self._graphql, self._ws, self._key = graphql, ws, key
        self._http = httpx.AsyncClient(trust_env=False, timeout=30, headers={"authorization": f"Bearer {key}"})

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.aclose()

    async def ask(self, document: str, **variables: Any) -> Json:
        """A document and its variables -> the data. Raises CallError."""
        answer = await self._http.post(self._graphql, json={"query": document, "variables": variables})
        told: Json = answer.json()
        if "errors" in told:
            raise CallError(json.dumps(told["errors"]))
        data: Json = told["data"]
        return data

    async def do(self, mutation: str, selection: str = "job { id }", **given: Any) -> Json:
        """A mutation by its name and input -> its payload. Raises CallError where it was refused."""
        kind = mutation[0].upper() + mutation[1:]
        document = (
            f"mutation ($input: {kind}Input!) {{ {mutation}(input: $input)"
            f" {{ {selection} userErrors {{ code message field because }} }} }}"
        )
        payload: Json = (await self.ask(document, input=given))[mutation]
        if payload["userErrors"]:
            raise CallError(f"{mutation}: {json.dumps(payload['userErrors'])}")
        return payload

    @asynccontextmanager
    async def watching(
        self, document: str, tell: Callable[[Json], None] | None = None, **variables: Any
    ) -> AsyncIterator["Watch"]:
        """A running subscription; its events are kept, and told to `tell` as they arrive."""
        async with connect(self._ws, subprotocols=["graphql-transport-ws"], max_size=2**20) as socket:  # type: ignore[list-item]  # a NewType of str
            await socket.send(
                json.dumps({"type": "connection_init", "payload": {"authorization": f"Bearer {self._key}"}})
            )
            await _expect(socket, "connection_ack")
            payload = {"query": document, "variables": variables}
            await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
            watch = Watch(tell)
            reading = asyncio.create_task(watch.read(socket))
            try:
                yield watch
            finally:
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading


async def _expect(socket: ClientConnection, kind: str) -> Json:
    while True:
        told: Json = json.loads(await socket.recv())
        if told["type"] == kind:
            return told
        if told["type"] == "ping":
            await socket.send(json.dumps({"type": "pong"}))


class Watch:
    """What a subscription told so far, in order."""

    def __init__(self, tell: Callable[[Json], None] | None = None) -> None:
        self.told: list[Json] = []
        self._tell = tell

    async def read(self, socket: ClientConnection) -> None:
        """Take events until the socket ends."""
        while True:
            message = json.loads(await socket.recv())
            if message["type"] == "ping":
                await socket.send(json.dumps({"type": "pong"}))
            elif message["type"] == "next":
                data: Json = message["payload"]["data"]
                event: Json = next(iter(data.values()))
                self.told.append(event)
                if self._tell:
                    self._tell(event)
            else:
                raise CallError(json.dumps(message))
