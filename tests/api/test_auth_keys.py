"""Who is let in, and how soon a key that was ended is refused everywhere."""

import asyncio
from collections.abc import AsyncIterable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
import strawberry

from integrations.bus import RedisBus
from integrations.clock import SystemClock
from models.actions.keys import create_api_key, revoke_api_key
from models.actions.vault import Vault
from models.rules.states import KeyPurpose, Role
from models.tables.connections import Connections
from models.tables.setting import ApiKey
from resolvers.auth import Door, tell_doors
from resolvers.context import Deployment, Info
from resolvers.live import Topic, Watch
from resolvers.protocol.documents import Documents
from resolvers.protocol.engine import Engine
from resolvers.protocol.http import GraphQLOverHTTP
from resolvers.protocol.websocket import PROTOCOL, GraphQLOverWebSocket
from resolvers.reads.run import Reader

NOW = datetime.now(UTC)


async def key(**options: Any) -> tuple[ApiKey, str]:
    options = {"name": "some caller", "role": Role.FRONT_DESK, **options}
    made, token = await create_api_key(**options, acting="test", at=NOW)
    return made, f"Bearer {token}"


async def test_a_key_says_who_its_caller_is(api: Any) -> None:
    row, authorization = await key(role=Role.MEMBER, user_id=api.member.id, scopes=["money:read"], name="Mia's phone")
    viewer = await Door(SystemClock()).viewer(authorization)
    assert viewer is not None
    assert (viewer.role, viewer.user_id, viewer.key_id) == (Role.MEMBER, api.member.id, row.id)
    assert (viewer.scopes, viewer.actor) == (frozenset({"money:read"}), "key:Mia's phone")


async def test_the_scheme_is_read_as_the_standard_says(database: str) -> None:
    _, authorization = await key()
    token = authorization.removeprefix("Bearer ")
    door = Door(SystemClock())
    for spelt in (f"bearer {token}", f"BEARER  {token} "):
        assert await door.viewer(spelt) is not None
    for wrong in (None, "", token, f"Basic {token}", f"Bearer {token}x", f"Bearer {token[:-1]}", "Bearer é", "Bearer"):
        assert await door.viewer(wrong) is None
    for wrong in ("df_\x00aaaaaaaaaaa_x", "df_' or 1=1 --_x", token.upper(), f"{token}\x00", f"{token}\n", token[:15]):
        assert await door.viewer(f"Bearer {wrong}x") is None


async def test_expired_and_revoked_keys_and_those_for_other_doors_are_refused(database: str) -> None:
    ended, ended_word = await key()
    await revoke_api_key(ended.id, acting="test", at=NOW)
    late, late_word = await key(expires_at=NOW + timedelta(minutes=5))
    await ApiKey.filter(id=late.id).update(expires_at=NOW - timedelta(seconds=1))
    _, other_word = await key(purpose=KeyPurpose.COURSEPRO, role=Role.PARTNER)
    for word in (ended_word, late_word, other_word):
        assert await Door(SystemClock()).viewer(word) is None


async def test_a_key_is_remembered_for_a_moment_only(database: str) -> None:
    door = Door(SystemClock(), seconds=0.2)
    row, authorization = await key()
    first = await door.viewer(authorization)
    await revoke_api_key(row.id, acting="test", at=NOW)
    assert await door.viewer(authorization) is first
    await asyncio.sleep(0.25)
    assert await door.viewer(authorization) is None


async def test_an_open_socket_is_closed_when_its_key_ends(database: str) -> None:
    row, authorization = await key()
    door = Door(SystemClock(), seconds=0.05)
    served = GraphQLOverWebSocket(None, door, None, init_seconds=0.1)  # type: ignore[arg-type]  # it runs no operation
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "websocket", "headers": [], "subprotocols": [PROTOCOL]}
    serving = asyncio.create_task(served(scope, said.get, told.put))
    hello = orjson.dumps({"type": "connection_init", "payload": {"authorization": authorization}}).decode()
    for message in ({"type": "websocket.connect"}, {"type": "websocket.receive", "text": hello}):
        await said.put(message)
    async with asyncio.timeout(10):
        assert (await told.get())["type"] == "websocket.accept"
        assert (await told.get())["text"] == '{"type":"connection_ack"}'
        await revoke_api_key(row.id, acting="test", at=NOW)
        assert await told.get() == {"type": "websocket.close", "code": 4403, "reason": "Forbidden"}
        await serving


@strawberry.type
class Query:
    @strawberry.field
    def nothing(self) -> str | None:
        return None


class One(str):
    cursor = "1-1"


class Silent(Watch[One]):
    async def present(self) -> One:
        await super().present()
        return One("first and last")


@strawberry.type
class Subscription:
    @strawberry.subscription
    def silent(self, info: Info) -> AsyncIterable[str]:
        return Silent(info.context, frozenset({Topic.JOB}), None, None, One)


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_stream_and_a_socket_end_as_soon_as_the_bus_says_so(
    kind: str, database: str, redis_url: str, secret_key: str
) -> None:
    row, authorization = await key()
    bus, door = RedisBus(redis_url), Door(SystemClock(), seconds=3_600)  # by itself it would look in an hour
    await bus.start()
    listening = asyncio.create_task(door.listen(bus))
    core = strawberry.Schema(Query, subscription=Subscription)
    documents = Documents(core._schema)
    deployment = Deployment(
        Reader(core, Connections("", 0), b"", documents.admit), SystemClock(), bus, Vault(secret_key)
    )
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    told: asyncio.Queue[Any] = asyncio.Queue()
    served = {"http": GraphQLOverHTTP, "websocket": GraphQLOverWebSocket}[kind]
    asked = {"query": "subscription { silent }"}
    lines = [
        {"type": "connection_init", "payload": {"authorization": authorization}},
        {"type": "subscribe", "id": "1", "payload": asked},
    ]
    messages: list[dict[str, Any]] = [
        {"type": "websocket.connect"},
        *({"type": "websocket.receive", "text": orjson.dumps(line).decode()} for line in lines),
    ]
    if kind == "http":
        messages = [{"type": "http.request", "body": orjson.dumps(asked)}]
    headers = {"accept": "text/event-stream", "content-type": "application/json", "authorization": authorization}
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "POST", "headers": raw, "subprotocols": [PROTOCOL]}
    for message in messages:
        await said.put(message)
    engine = Engine(core._schema, documents)
    serving = asyncio.create_task(served(engine, door, deployment)(scope, said.get, told.put))
    heard: list[str] = []
    async with asyncio.timeout(10):
        while not any('"silent":"first and last"' in each for each in heard):
            heard.append(str(await told.get()))
        await revoke_api_key(row.id, acting="test", at=NOW)
        await tell_doors(bus, row.id, NOW)
        last = await told.get()
        await serving
    assert last in (
        {"type": "http.response.body", "body": b"event: complete\ndata:\n\n"},
        {"type": "websocket.close", "code": 4403, "reason": "Forbidden"},
    )
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await bus.stop()


async def test_the_served_api_refuses_a_revoked_key_within_seconds(api: Any) -> None:
    row, authorization = await key(name="soon gone")
    asked = {"json": {"query": "{ __typename }"}, "headers": {"authorization": authorization}}
    async with api.client(None) as client:
        assert (await client.post("/graphql", **asked)).status_code == 200
        await revoke_api_key(row.id, acting="test", at=NOW)
        for _ in range(80):
            if (await client.post("/graphql", **asked)).status_code == 401:
                return
            await asyncio.sleep(0.1)
    pytest.fail("a revoked key still opens the door")
