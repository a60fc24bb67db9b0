"""What goes wrong inside stays inside: callers get one sentence and a request id, the log gets the rest."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import strawberry
from graphql import GraphQLError
from structlog.testing import capture_logs

from integrations.bus import RedisBus
from integrations.clock import SystemClock
from integrations.logs import without_rows
from models.actions.keys import create_api_key
from models.actions.vault import Vault
from models.rules.refusals import Code, Refusal
from models.rules.states import Role
from models.tables.connections import Connections
from resolvers.auth import Door
from resolvers.context import Deployment, Info
from resolvers.live import Watch
from resolvers.protocol.documents import Documents
from resolvers.protocol.engine import Engine
from resolvers.protocol.faults import MASKED
from resolvers.protocol.http import GraphQLOverHTTP
from resolvers.reads.run import Reader

SECRET = "the password is swordfish"


@strawberry.type
class Query:
    @strawberry.field
    def boom(self) -> str | None:
        raise RuntimeError(SECRET)

    @strawberry.field
    def nothing(self) -> str:
        return None  # type: ignore[return-value]  # the mistake under test

    @strawberry.field
    def too_big(self) -> int:
        return 2**40

    @strawberry.field
    def refused(self) -> str | None:
        raise Refusal(Code.NOT_FOUND, "No such thing.")

    @strawberry.field
    def named(self) -> str | None:
        raise GraphQLError("Ask otherwise.", extensions={"code": "BAD_USER_INPUT", "hint": 7})

    @strawberry.field
    async def slow(self) -> str | None:
        await asyncio.sleep(30)
        return "late"

    @strawberry.field
    def add(self, number: int) -> int:
        return number + 1


class One(str):
    cursor = "1-1"


class Breaks(Watch[One]):
    async def present(self) -> One:
        return One("one")

    def __aiter__(self) -> AsyncGenerator[One, None]:
        raise RuntimeError(SECRET)


@strawberry.type
class Subscription:
    @strawberry.subscription
    def breaks(self, info: Info) -> AsyncIterable[str]:
        return Breaks(info.context, frozenset(), None, None, One)


@pytest.fixture
async def client(database: str, redis_url: str, secret_key: str) -> AsyncIterator[httpx.AsyncClient]:
    schema = strawberry.Schema(Query, subscription=Subscription)
    documents = Documents(schema._schema)
    reader = Reader(schema, Connections("", 0), b"", documents.admit)
    deployment = Deployment(reader, SystemClock(), RedisBus(redis_url), Vault(secret_key))
    served = GraphQLOverHTTP(Engine(schema._schema, documents, seconds=0.3), Door(SystemClock()), deployment)
    _, token = await create_api_key(name="a", role=Role.ADMIN, acting="test", at=datetime.now(UTC))
    headers = {"authorization": f"Bearer {token}", "accept": "application/graphql-response+json"}
    transport = httpx.ASGITransport(served)
    async with httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers) as client:
        yield client


async def ask(client: httpx.AsyncClient, query: str, **variables: Any) -> tuple[int, Any, str]:
    with capture_logs() as logged:
        answer = await client.post("/graphql", json={"query": query, "variables": variables})
    return answer.status_code, answer.json(), str(logged)


async def test_an_exception_is_masked_and_logged_under_its_request(client: httpx.AsyncClient) -> None:
    status, told, logged = await ask(client, "query Q { add(number: 1) boom }")
    assert (status, told["data"]) == (200, {"add": 2, "boom": None})
    (error,) = told["errors"]
    assert (error["message"], error["path"]) == (MASKED, ["boom"])
    assert error["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert error["extensions"]["requestId"] in logged
    assert SECRET in logged
    assert "query Q" not in logged


@pytest.mark.parametrize("field", ["nothing", "tooBig"])
async def test_an_answer_of_the_wrong_shape_is_our_fault(client: httpx.AsyncClient, field: str) -> None:
    _, told, _ = await ask(client, f"{{ {field} }}")
    assert told["errors"][0]["message"] == MASKED
    assert told["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"


async def test_what_is_meant_for_the_caller_is_told(client: httpx.AsyncClient) -> None:
    _, told, logged = await ask(client, "{ refused named }")
    first, second = told["errors"]
    assert first["extensions"]["code"] == "NOT_FOUND"
    assert first["message"].startswith("No such thing.")
    assert (second["message"], second["extensions"]["code"]) == ("Ask otherwise.", "BAD_USER_INPUT")
    assert second["extensions"]["hint"] == 7
    assert logged == "[]"


async def test_an_argument_that_turns_out_null_is_the_callers_mistake(client: httpx.AsyncClient) -> None:
    query = "query ($n: Int = 1) { add(number: $n) }"
    _, told, _ = await ask(client, query, n=None)
    assert told["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


async def test_what_takes_too_long_is_stopped(client: httpx.AsyncClient) -> None:
    began = time.monotonic()
    status, told, _ = await ask(client, "{ slow }")
    assert (status, told["errors"][0]["extensions"]["code"]) == (503, "TIMEOUT")
    assert time.monotonic() - began < 5


async def test_a_stream_that_breaks_is_masked_too(client: httpx.AsyncClient) -> None:
    asked = {"query": "subscription { breaks }"}
    with capture_logs() as logged:
        answer = await client.post("/graphql", json=asked, headers={"accept": "text/event-stream"})
    first, second, last = answer.text.rstrip("\n").split("\n\n")
    assert first == 'event: next\nid: 1-1\ndata: {"data":{"breaks":"one"}}'
    assert MASKED in second
    assert SECRET not in answer.text
    assert last == "event: complete\ndata:"
    assert SECRET in str(logged)


async def test_the_log_leaves_out_the_rows_the_database_quotes() -> None:
    told = "Traceback\nCheckViolationError: no\nDETAIL:  Failing row contains (secret)\nIntegrityError: no"
    assert without_rows(None, "error", {"exception": told}) == {
        "exception": "Traceback\nCheckViolationError: no\nIntegrityError: no"
    }
