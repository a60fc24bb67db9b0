"""GraphQL over HTTP: what is negotiated, what is refused and how, and that nothing wrong is ever a 500."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from resolvers.limits import BODY_BYTES

RESPONSE = "application/graphql-response+json"
JSON = "application/json"
EVENTS = "text/event-stream"
ASK = {"query": "{ __typename }"}


@pytest.fixture
async def client(api: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with api.client() as client:
        yield client


def code(answer: httpx.Response) -> str:
    (error,) = answer.json()["errors"]
    assert len(error["extensions"]["requestId"]) == 32
    assert answer.headers["x-request-id"] == error["extensions"]["requestId"]
    return str(error["extensions"]["code"])


async def test_a_question_is_answered(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", json={"query": "{ __typename viewer { name role } }"})
    assert answer.status_code == 200
    assert answer.json() == {"data": {"__typename": "Query", "viewer": {"name": "admin", "role": "ADMIN"}}}
    named = {"date", "server", "content-type", "content-length", "x-request-id", "ratelimit", "ratelimit-policy"}
    assert set(answer.headers) == named, "an answer to a POST can neither be kept nor embedded"


async def test_a_get_asks_as_well(client: httpx.AsyncClient) -> None:
    asked = {"query": "query T($yes: Boolean!) { __typename @include(if: $yes) }", "variables": '{"yes": true}'}
    answer = await client.get("/graphql", params={**asked, "operationName": ""})
    assert answer.json() == {"data": {"__typename": "Query"}}
    for given in (answer, await client.get("/graphql", headers={"authorization": ""}), await client.put("/graphql")):
        assert (given.headers["cache-control"], given.headers["x-content-type-options"]) == ("no-store", "nosniff")


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, JSON),
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE, RESPONSE),
        (f"{RESPONSE}, {JSON};q=0.9", RESPONSE),
        (f"{JSON};q=0.5, {RESPONSE};q=0.8", RESPONSE),
        (f"{RESPONSE}, {JSON}, {EVENTS}, multipart/mixed", RESPONSE),
        ("text/html, application/xhtml+xml, */*;q=0.8", JSON),
        (f"{RESPONSE}; charset=utf-8", RESPONSE),
        (EVENTS, EVENTS),
    ],
)
async def test_the_answer_comes_as_accepted(client: httpx.AsyncClient, accept: str | None, media: str) -> None:
    headers = {} if accept is None else {"accept": accept}
    if accept is None:
        del client.headers["accept"]
    answer = await client.post("/graphql", json=ASK, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{media}; charset=utf-8"


@pytest.mark.parametrize("accept", ["text/html", "image/png, text/*", f"{JSON};q=0", f"{JSON}; charset=latin-1"])
async def test_what_is_not_served_is_406(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.post("/graphql", json=ASK, headers={"accept": accept})
    assert (answer.status_code, code(answer)) == (406, "NOT_ACCEPTABLE")


async def test_nobody_comes_in_before_anything_is_read(api: Any) -> None:
    async with api.client(None) as nobody:
        for headers in ({}, {"authorization": "Bearer df_nobody_nothing"}, {"authorization": "Basic YTpi"}):
            answer = await nobody.post("/graphql", content=b"not even JSON", headers=headers)
            assert (answer.status_code, code(answer)) == (401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == "Bearer"
        loud = await nobody.get("/graphql", headers={"authorization": "Bearer " + "x" * 5_000})
        assert loud.status_code == 401


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_405(client: httpx.AsyncClient, method: str) -> None:
    answer = await client.request(method, "/graphql")
    assert (answer.status_code, code(answer), answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, POST")


async def test_a_mutation_by_get_is_405(client: httpx.AsyncClient) -> None:
    mutation = (
        'mutation { createUser(input: {firstName: "A", lastName: "B", email: "a@b.test"}) { userErrors { code } } }'
    )
    answer = await client.get("/graphql", params={"query": mutation})
    assert (answer.status_code, code(answer), answer.headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "POST")


async def test_a_subscription_needs_a_stream(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", json={"query": "subscription { bookingUpdated { kind } }"})
    assert (answer.status_code, code(answer)) == (406, "NOT_ACCEPTABLE")


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "text/plain+application/json", "multipart/form-data; boundary=x", f"{JSON}; charset=utf-16", ""],
)
async def test_a_body_of_another_kind_is_415(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/graphql", content=b'{"query":"{__typename}"}', headers={"content-type": kind})
    assert (answer.status_code, code(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("accept", [JSON, RESPONSE])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"4",
        b"null",
        b"true",
        b'"x"',
        b"[]",
        b'[{"query":"{__typename}"}]',
        b"{",
        b"\xff\xfe",
        b'{"query":"\xc3\x28"}',
        b"[" * 50_000,
        b'{"a":' * 5_000,
        b"{}",
        b'{"query":null}',
        b'{"query":7}',
        b'{"query":" "}',
        b'{"query":"{__typename}","variables":[]}',
        b'{"query":"{__typename}","variables":"{}"}',
        b'{"query":"{__typename}","operationName":{}}',
        b'{"query":"{__typename}","extensions":1}',
        b'{"query":"{__typename}","variables":NaN}',
    ],
    ids=lambda body: body[:30].decode("latin-1") or "empty",
)
async def test_a_malformed_body_is_400(client: httpx.AsyncClient, body: bytes, accept: str) -> None:
    answer = await client.post("/graphql", content=body, headers={"content-type": JSON, "accept": accept})
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("levels", [99, 100, 260, 1_000, 1_020])
async def test_variables_nest_so_deep_and_no_deeper(client: httpx.AsyncClient, levels: int) -> None:
    nested = b"[" * (levels - 1) + b"]" * (levels - 1)  # the object of the variables is a level itself
    for query in (b"{ __typename }", b"mutation { updateUser(input: {}) { userErrors { code } } }"):
        body = b'{"query":"%s","variables":{"f":%s}}' % (query, nested)
        answer = await client.post(
            "/graphql", content=body, headers={"content-type": JSON, "idempotency-key": str(levels)}
        )
        if levels > 100:
            assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
        else:
            assert answer.status_code == 200


@pytest.mark.parametrize(
    "url", ["/graphql", "/graphql?query=%ff", "/graphql?query={a}&variables={", "/graphql?variables={}"]
)
async def test_a_malformed_address_is_400(client: httpx.AsyncClient, url: str) -> None:
    answer = await client.get(url)
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")


async def test_a_large_body_is_413_with_its_length_told_or_not(client: httpx.AsyncClient) -> None:
    async def in_parts() -> AsyncIterator[bytes]:
        for _ in range(32):
            yield b" " * (BODY_BYTES // 16)

    for content in (b" " * 10_000_000, in_parts()):
        answer = await client.post("/graphql", content=content, headers={"content-type": JSON})
        assert (answer.status_code, code(answer)) == (413, "PAYLOAD_TOO_LARGE")
    answer = await client.post(
        "/graphql", content=b'{"query":"{__typename}"' + b" " * 900_000 + b"}", headers={"content-type": JSON}
    )
    assert answer.json() == {"data": {"__typename": "Query"}}


@pytest.mark.parametrize(("accept", "status"), [(JSON, 200), (RESPONSE, 400)])
@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "{ __typename }", "operationName": "Nobody"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query A { __typename } query B { __typename }"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query A($n: Int!) { users(first: $n) { totalCount } }"}, "BAD_USER_INPUT"),
        (
            {"query": "query A($n: Int!) { users(first: $n) { totalCount } }", "variables": {"n": "many"}},
            "BAD_USER_INPUT",
        ),
        (
            {"query": "query A($n: Int!) { users(first: $n) { totalCount } }", "variables": {"n": 2**31}},
            "BAD_USER_INPUT",
        ),
    ],
    ids=lambda value: value["query"] if isinstance(value, dict) else None,
)
async def test_what_graphql_refuses_has_no_data(
    client: httpx.AsyncClient, accept: str, status: int, asked: dict[str, Any], expected: str
) -> None:
    answer = await client.post("/graphql", json=asked, headers={"accept": accept})
    assert (answer.status_code, code(answer)) == (status, expected)
    assert answer.json().keys() == {"errors"}


DEEP = "{ users { nodes { " + "memberships { nodes { user { " * 8 + "id" + " } } }" * 8 + " } } }"
WIDE = "{ " + " ".join(f"a{n}: __typename" for n in range(31)) + " }"
MANY = "{ " + "__typename " * 21 + "}"
CIRCLE = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
BOMB = (
    "{ ...F0 } "
    + " ".join(f"fragment F{n} on Query {{ ...F{n + 1} ...F{n + 1} }}" for n in range(16))
    + " fragment F16 on Query { __typename }"
)
DIRECTED = "{ __typename " + "@include(if: true) " * 51 + "}"
TOKENS = "{ " + "__typename " * 2_001 + "}"
LONG = "{ __typename } #" + "x" * 50_000
NESTED = "{ a(b: " + "[" * 400 + "]" * 400 + ") }"


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (DEEP, "QUERY_TOO_COMPLEX"),
        (WIDE, "QUERY_TOO_COMPLEX"),
        (MANY, "QUERY_TOO_COMPLEX"),
        (CIRCLE, "QUERY_TOO_COMPLEX"),
        (BOMB, "QUERY_TOO_COMPLEX"),
        (DIRECTED, "QUERY_TOO_COMPLEX"),
        (TOKENS, "GRAPHQL_PARSE_FAILED"),
        (LONG, "GRAPHQL_PARSE_FAILED"),
        (NESTED, "GRAPHQL_PARSE_FAILED"),
    ],
    ids=["deep", "aliases", "roots", "circle", "bomb", "directives", "tokens", "long", "nested"],
)
async def test_a_document_made_to_be_expensive_is_refused_cheaply(
    client: httpx.AsyncClient, document: str, expected: str
) -> None:
    began = time.monotonic()
    answer = await client.post("/graphql", json={"query": document}, headers={"accept": RESPONSE})
    assert (answer.status_code, code(answer)) == (400, expected)
    assert time.monotonic() - began < 2


async def test_clients_can_read_the_whole_schema(client: httpx.AsyncClient) -> None:
    from graphql import build_client_schema, get_introspection_query

    query = get_introspection_query(specified_by_url=True, directive_is_repeatable=True, input_value_deprecation=True)
    answer = await client.post("/graphql", json={"query": query})
    assert "bookCourse" in build_client_schema(answer.json()["data"]).mutation_type.fields  # type: ignore[union-attr]  # it has one


async def test_a_query_streams_where_only_a_stream_is_taken(client: httpx.AsyncClient) -> None:
    answer = await client.post("/graphql", json=ASK, headers={"accept": EVENTS})
    assert answer.text == 'event: next\ndata: {"data":{"__typename":"Query"}}\n\nevent: complete\ndata:\n\n'


@pytest.mark.parametrize(
    ("document", "expected"), [("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "GRAPHQL_VALIDATION_FAILED")]
)
async def test_what_graphql_refuses_comes_as_an_event_where_only_a_stream_is_taken(
    client: httpx.AsyncClient, document: str, expected: str
) -> None:
    answer = await client.post("/graphql", json={"query": document}, headers={"accept": EVENTS})
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"{EVENTS}; charset=utf-8")
    told, end, _ = answer.text.split("\n\n")
    assert orjson.loads(told.removeprefix("event: next\ndata: "))["errors"][0]["extensions"]["code"] == expected
    assert end == "event: complete\ndata:"


async def test_many_ask_at_once(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post("/graphql", json=ASK) for _ in range(50)))
    assert {answer.text for answer in answers} == {'{"data":{"__typename":"Query"}}'}


async def test_what_watches_the_process_is_told(api: Any) -> None:
    async with api.client(None) as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}
        assert (await client.get("/readyz")).json() == {"database": "ok", "redis": "ok"}
        assert "dueflow_graphql_seconds_bucket" in (await client.get("/metrics")).text
