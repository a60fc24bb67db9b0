"""The limits: bare ASGI handlers that do with prepared statements what a request asks for, and nothing else.

They check no key, no rate, no document, no right and no signature; all that a server does beyond them costs something.
Sessions run on generic plans and are not reset between requests.
"""

import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from bench.shapes import SHAPES
from models.tables.row import new_id

Message = dict[str, Any]
_SESSION = {"plan_cache_mode": "force_generic_plan", "jit": "off"}
_READS = {shape.document: (shape.sql, shape.variable) for shape in SHAPES}
_NOTHING_TO_READ = b'{"data":{"__typename":"Query"}}'
_NOBODY = b'{"data":{"updateUser":{"user":null}}}'

_LOCK = "SELECT * FROM user_account WHERE id = $1 FOR UPDATE"
_FIELDS = """SELECT (SELECT after FROM audit_entry WHERE subject_id = $1 ORDER BY id DESC LIMIT 1), f.*
    FROM (SELECT 1) AS the_set LEFT JOIN user_field f ON true ORDER BY f.name"""
_UPDATE = "UPDATE user_account SET phone = $2, version = version + 1, updated_at = $3 WHERE id = $1"
_CREATE = """INSERT INTO user_account (id, created_at, updated_at, first_name, last_name, email, email_key, state,
    version, fields) VALUES ($1, $2, $2, $3, $4, $5, $5, 'ACTIVE', 1, '{}')"""
_AUDIT = """INSERT INTO audit_entry (id, created_at, updated_at, actor, verb, subject_type, subject_id, before, after,
    because, at) VALUES ($1, $2, $2, 'bench', $3, 'User', $4, $5, $6, '[]', $2)"""
_JOB = """INSERT INTO job (id, created_at, updated_at, kind, key, subject, payload, state, attempts, token, wake,
    done_count, user_id) VALUES ($1, $2, $2, 'courses.push_user', $3, $4, $5, 'READY', 0, 0, 0, 0, $6)
    ON CONFLICT DO NOTHING"""
_UPDATED = """SELECT '{"data":{"updateUser":{"user":' || (SELECT to_json(o)::text FROM (SELECT rtrim(encode(
    ('User:' || id)::bytea, 'base64'), '=') AS id, phone, version FROM user_account WHERE id = $1) o) || '}}}'"""
_CREATED = """SELECT '{"data":{"createUser":{"user":' || (SELECT to_json(o)::text FROM (SELECT rtrim(encode(
    ('User:' || id)::bytea, 'base64'), '=') AS id, email FROM user_account WHERE id = $1) o) || '}}}'"""
_EVENT = """INSERT INTO inbox_event (id, created_at, updated_at, provider, event_id, event_type, object_id, body, state)
    VALUES ($1, $2, $2, 'GOCARDLESS', $3, $4, $5, $6, 'RECEIVED') ON CONFLICT DO NOTHING"""


async def _no_reset(_connection: asyncpg.Connection) -> None:
    return


async def read(connection: Any, asked: Message) -> bytes:
    """One statement that gives the finished body; the variable is the id to read, or the one to read behind."""
    sql, variable = _READS[asked["query"]]
    if sql is None or variable is None:
        return _NOTHING_TO_READ
    given = asked["variables"][variable]
    text: str = await connection.fetchval(sql, given and UUID(given))
    return text.encode()


async def update_user(connection: Any, asked: Message) -> bytes:
    """The statements of our `updateUser`, by hand: one transaction, then the answer is read."""
    user_id, now = UUID(asked["userId"]), datetime.now(UTC)
    async with connection.transaction():
        row = await connection.fetchrow(_LOCK, user_id)
        if row is None:
            return _NOBODY
        await connection.fetch(_FIELDS, user_id)
        await connection.execute(_UPDATE, user_id, asked["phone"], now)
        before, after = orjson.dumps({"version": row["version"]}), orjson.dumps({"fields": ["phone"]})
        await connection.execute(_AUDIT, new_id(), now, "update_user", user_id, before.decode(), after.decode())
        job_id, payload = new_id(), orjson.dumps({"user_id": str(user_id)}).decode()
        subject = f"courses.push_user:{user_id}"
        await connection.execute(_JOB, job_id, now, f"courses.push_user:{job_id}", subject, payload, user_id)
    text: str = await connection.fetchval(_UPDATED, user_id)
    return text.encode()


async def create_user(connection: Any, asked: Message) -> bytes:
    """The statements of our `createUser`, by hand."""
    user_id, now = new_id(), datetime.now(UTC)
    async with connection.transaction():
        await connection.fetch(_FIELDS, user_id)
        await connection.execute(_CREATE, user_id, now, asked["firstName"], asked["lastName"], asked["email"])
        await connection.execute(_AUDIT, new_id(), now, "create_user", user_id, None, '{"fields": []}')
    text: str = await connection.fetchval(_CREATED, user_id)
    return text.encode()


async def webhook(connection: Any, asked: Message) -> bytes:
    """An insert for each event, and nothing else."""
    now = datetime.now(UTC)
    for event in asked["events"]:
        kind, subject = f"{event['resource_type']}.{event['action']}", event["links"]["payment"]
        await connection.execute(_EVENT, new_id(), now, event["id"], kind, subject, orjson.dumps(event).decode())
    return b'{"received":1,"new":1}'


ROUTES: dict[str, Callable[[Any, Message], Awaitable[bytes]]] = {
    "/graphql": read,
    "/update": update_user,
    "/create": create_user,
    "/webhooks/gocardless": webhook,
}


async def _body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    message = await receive()
    body: bytes = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    return body


class Limit:
    """The server of `ROUTES`; its pool opens with it."""

    def __init__(self) -> None:
        self._pool: Any = None

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        asked = orjson.loads(await _body(receive))
        async with self._pool.acquire() as connection:
            body = await ROUTES[scope["path"]](connection, asked)
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
