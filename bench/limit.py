"""The limit: what a bare ASGI handler answers with one prepared statement that gives the finished body.

It checks no key, no rate, no document and no right; everything a server does beyond it costs something. Sessions run on
generic plans and are not reset between requests. `uvicorn bench.limit:app`.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from bench.shapes import SHAPES

Message = dict[str, Any]
Statements = dict[str, tuple[str | None, str | None]]
_SESSION = {"plan_cache_mode": "force_generic_plan", "jit": "off"}
_ALL: Statements = {shape.document: (shape.sql, shape.variable) for shape in SHAPES}
_NOTHING_TO_READ = b'{"data":{"__typename":"Query"}}'


async def _no_reset(_connection: asyncpg.Connection) -> None:
    return


class Limit:
    """The handler; its pool opens with the server."""

    def __init__(self) -> None:
        self._pool: Any = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request: its body says which statement, and its variable is the id behind which to read."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        asked = orjson.loads((await receive())["body"])
        sql, variable = _ALL[asked["query"]]
        if sql is None or variable is None:
            body = _NOTHING_TO_READ
        else:
            given = asked["variables"][variable]
            async with self._pool.acquire() as connection:
                body = (await connection.fetchval(sql, given and UUID(given))).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _live(
        self, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        await receive()
        self._pool = await asyncpg.create_pool(
            os.environ["DATABASE_URL"],
            min_size=2,
            max_size=10,
            max_cacheable_statement_size=0,
            reset=_no_reset,
            server_settings=_SESSION,
        )
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._pool.close()
        await send({"type": "lifespan.shutdown.complete"})


app = Limit()
