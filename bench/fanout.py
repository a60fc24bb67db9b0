"""The limit of live events: a bare ASGI handler that sends what one Redis channel says to every open socket.

It speaks as much of graphql-transport-ws as its listeners need to begin. `uvicorn bench.fanout:app`.
"""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio import Redis

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]
CHANNEL = "bench:fanout"
_open: set[Send] = set()


async def _relay() -> None:
    heard = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True).pubsub()
    await heard.subscribe(CHANNEL)
    async for message in heard.listen():
        if message["type"] == "message":
            told = {"type": "websocket.send", "text": message["data"]}
            for send in list(_open):
                await send(told)


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Serve one scope."""
    if scope["type"] == "lifespan":
        await receive()
        relay = asyncio.create_task(_relay())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        relay.cancel()
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": "graphql-transport-ws"})
    while (event := await receive())["type"] == "websocket.receive":
        match json.loads(event["text"])["type"]:
            case "connection_init":
                await send({"type": "websocket.send", "text": '{"type":"connection_ack"}'})
            case "subscribe":
                _open.add(send)
                await send({"type": "websocket.send", "text": '{"id":"1","type":"next","payload":{}}'})
    _open.discard(send)
