"""What one document may hold and what its caller may spend: each limit is passed, one more is refused by its code."""

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import orjson
import pytest
import redis
from graphql import parse

from integrations.purse import ALONE, PREFIX, RedisPurse
from models.tables.job import Job
from resolvers import cost, guard
from resolvers.limits import BODY_BYTES, LIMITS, Limits, Rate
from resolvers.protocol.documents import Documents
from resolvers.protocol.faults import Rejected
from resolvers.reads.ids import encode
from schema.root import schema

CORE = schema._schema
RATE = Rate(burst=2_000, per_second=20)
RESPONSE = "application/graphql-response+json"


@pytest.fixture(scope="module", autouse=True)
def small_purses() -> Iterator[None]:
    """The API of this module gives its callers little, and takes little at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUEFLOW_RATE", '{"burst": 2000, "per_second": 20}')
        patch.setenv(
            "DUEFLOW_LIMITS",
            '{"depth": 6, "page": 20, "cost": 800, "operations": 3, "streams": 4, "body_bytes": 20000}',
        )
        yield


@pytest.fixture
async def client(api: Any, redis_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """A caller whose purse is full."""
    with redis.Redis.from_url(redis_url) as there:
        for key in there.keys(f"{PREFIX}:*"):
            there.delete(key)
    async with api.client() as client:
        client.headers["accept"] = RESPONSE
        yield client


def told(text: str, limits: Limits = LIMITS) -> str | None:
    try:
        Documents(CORE, limits).prepare(text)
    except Rejected as no:
        (extensions,) = {str(error["extensions"]["code"]) for error in no.errors}
        return extensions
    return None


# limit: how a document is made that holds so many of it
MADE: dict[str, Callable[[int], str]] = {
    "aliases": lambda n: "{ " + " ".join(f"a{i}: __typename" for i in range(n)) + " }",
    "directives": lambda n: (
        "{ __typename " + " ".join("... @include(if: true) { __typename }" for _ in range(n)) + " }"
    ),
    "root_fields": lambda n: "{ " + "__typename " * n + "}",
    "depth": lambda n: "{ courses { nodes " + "{ course " * (n - 3) + "{ id }" + " }" * (n - 3) + " } }",
    "nodes": lambda n: "{ ...F } fragment F on Query { " + "__typename " * (n - 1) + "}",
    "tokens": lambda n: "{ " + "__typename " * (n - 2) + "}",
    "document_characters": lambda n: "{ __typename }".ljust(n),
    "comments": lambda n: "#\n" * n + "{ __typename }",
}
SMALL = {"aliases": 5, "directives": 5, "root_fields": 5, "nodes": 50, "tokens": 100, "comments": 5, "depth": 9}
WIDE = {"root_fields": 10_000, "nodes": 100_000, "tokens": 10_000, "directives": 1_000}


@pytest.mark.parametrize("limit", MADE)
def test_a_document_holds_just_so_much(limit: str) -> None:
    most = SMALL.get(limit, getattr(LIMITS, limit))
    limits = Limits(**{**WIDE, limit: most})
    full, over = MADE[limit](most), MADE[limit](most + 1)
    document = {each: guard.refusal(parse(text), limits) for each, text in (("full", full), ("over", over))}
    if limit in ("tokens", "document_characters", "comments"):
        assert (told(full, limits), told(over, limits)) == (None, "GRAPHQL_PARSE_FAILED")
    else:
        assert document["full"] is None
        assert (document["over"].extensions or {})["code"] == "QUERY_TOO_COMPLEX"  # type: ignore[union-attr]  # it is not None
        assert str(most) in document["over"].message  # type: ignore[union-attr]  # as above


def test_fragments_that_multiply_are_refused_at_the_price_of_reading_them() -> None:
    laughs = " ".join(f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(150))
    many = " ".join(f"query Q{i} {{ ...F0 }}" for i in range(60))
    text = f"{many} {laughs} fragment F150 on Query {{ __typename }}"
    document = parse(text)
    began = time.perf_counter()
    no = guard.refusal(document)
    assert no is not None
    assert time.perf_counter() - began < 0.5
    assert told(text) == "QUERY_TOO_COMPLEX"
    ring = "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }"
    assert told(ring) == "QUERY_TOO_COMPLEX"
    nested = "{ " + "... { " * 100 + "__typename" + " }" * 100 + " }"
    assert told(nested) == "QUERY_TOO_COMPLEX"
    assert told("{ ...Nowhere }") == "GRAPHQL_VALIDATION_FAILED"


@pytest.mark.parametrize(("what", "wrong"), [(Limits, {"depth": 0}), (Limits, {"page": 101}), (Rate, {"burst": 0})])
def test_a_limit_that_is_none_is_refused(what: Any, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"more than nothing|at most 100"):
        what(**wrong)


PRICES = [
    ("{ __typename }", {}, 1),
    ("{ viewer { name } }", {}, 1),
    ("{ viewer { name user { id } } }", {}, 2),
    ("{ users { totalCount } }", {}, 11),
    ("{ users { nodes { id } } }", {}, 51),
    ("{ users(first: 10) { pageInfo { hasNextPage } edges { cursor node { id } } } }", {}, 11),
    ("query Q($n: Int) { users(first: $n) { nodes { id } } }", {"n": 7}, 8),
    ("query Q($n: Int = 3) { users(first: $n) { nodes { id } } }", {}, 4),
    ("query Q($n: Int) { users(last: $n) { nodes { id } } }", {"n": "many"}, 51),
    ("query Q($n: Int) { users(first: $n) { nodes { id } } }", {"n": 10**9}, 101),
    ("{ users(first: 10) { nodes { memberships(first: 5) { nodes { id } } } } }", {}, 71),
    ("{ users(first: 10) { nodes { links { kind } } } }", {}, 121),
    ("query Q($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": ["a", "b", "c"]}, 4),
    ("query Q($n: Int) { ...F } fragment F on Query { users(first: $n) { ...P } }"
     " fragment P on UserConnection { nodes { id } }", {"n": 4}, 5),
    ('mutation { createSettingGroup(input: {name: "x"}) { settingGroup { id } userErrors { code } } }', {}, 23),
    ("subscription { bookingUpdated { booking { id } } }", {}, 2),
    ("{ moneyProof { holds } }", {}, 201),
    ("{ __schema { types { name } } }", {}, 100),
]  # fmt: skip


@pytest.mark.parametrize(("text", "variables", "points"), PRICES, ids=range(len(PRICES)))
def test_what_operations_cost(text: str, variables: dict[str, Any], points: int) -> None:
    (price,) = cost.prices(CORE, parse(text)).values()
    assert cost.asked(price, variables) == points


def test_what_is_reckoned_is_in_the_schema() -> None:
    assert CORE.query_type
    assert cost.RECKONED.keys() <= CORE.query_type.fields.keys()


# -- served ------------------------------------------------------------------------------------------------------------


async def test_an_answer_tells_what_is_left_and_its_price_where_that_is_asked(client: httpx.AsyncClient) -> None:
    asked = {"query": "{ users(first: 5) { nodes { id } } }"}
    plain = await client.post("/graphql", json=asked)
    assert "extensions" not in plain.json()
    assert plain.headers["ratelimit-policy"] == '"points";q=2000;w=100'
    left, seconds = plain.headers["ratelimit"].removeprefix('"points";r=').split(";t=")
    assert 1_990 <= int(left) <= 1_994
    assert int(seconds) == 1
    for headers, extensions in (({"graphql-cost": "1"}, {}), ({}, {"cost": True})):
        told = (await client.post("/graphql", json={**asked, "extensions": extensions}, headers=headers)).json()
        assert told["extensions"]["cost"].pop("remaining") < 2_000
        assert told["extensions"] == {"cost": {"requested": 6, "limit": 2_000, "restoreRate": 20}}
        assert len(told["data"]["users"]["nodes"]) == 2


async def test_what_costs_too_much_is_refused_before_it_runs(client: httpx.AsyncClient) -> None:
    query = "query Q($n: Int) { users(first: 20) { nodes { memberships(first: $n) { nodes { id user { id } } } } } }"
    fits = await client.post("/graphql", json={"query": query, "variables": {"n": 18}})
    assert fits.status_code == 200
    over = await client.post("/graphql", json={"query": query, "variables": {"n": 20}})
    (error,) = over.json()["errors"]
    assert (over.status_code, error["extensions"]["code"]) == (400, "MAX_COST_EXCEEDED")
    assert (error["extensions"]["requested"], error["extensions"]["limit"]) == (1 + 20 * (2 + 20 * 2), 800)


async def test_what_variables_hold_beyond_a_hundred_values_is_paid_for(client: httpx.AsyncClient) -> None:
    query = "query Q($filter: UserFilter) { viewer { role } }"
    unread = "query U($filter: UserFilter) { users(first: 1, filter: $filter) { totalCount } }"
    ids = {"filter": {"ids": ["x"] * 897}}  # with the list and the two objects around it 900 values
    for text, given, told in (
        (query.replace("Q($filter: UserFilter)", "Q"), {"a": [{"b": 1}] * 50}, {"requested": 3}),
        (unread, ids, {"code": "MAX_COST_EXCEEDED", "requested": 1 + 10 + 800}),
    ):
        asked = {"query": text, "variables": given, "extensions": {"cost": True}}
        answer = (await client.post("/graphql", json=asked)).json()
        found = answer["errors"][0]["extensions"] if "errors" in answer else answer["extensions"]["cost"]
        assert told.items() <= found.items(), answer


async def test_pages_and_bodies_are_as_long_as_the_deployment_says(client: httpx.AsyncClient) -> None:
    for name, fits in (("first", 20), ("last", 20)):
        for size, code in ((fits, None), (fits + 1, "BAD_USER_INPUT")):
            answer = await client.post("/graphql", json={"query": f"{{ users({name}: {size}) {{ totalCount }} }}"})
            errors = answer.json().get("errors", [])
            assert [error["extensions"]["code"] for error in errors] == ([code] if code else [])
    deep = "{ users { nodes { memberships { nodes { user { id } } } } } }"
    answer = await client.post("/graphql", json={"query": deep})
    assert answer.json()["errors"][0]["extensions"]["code"] == "MAX_COST_EXCEEDED"
    deeper = "{ users { nodes { memberships { nodes { user { memberships { totalCount } } } } } } }"
    answer = await client.post("/graphql", json={"query": deeper})
    assert answer.json()["errors"][0]["extensions"]["code"] == "QUERY_TOO_COMPLEX"
    empty = len(orjson.dumps({"query": "{ __typename }", "x": ""}))
    for size, status in ((20_000, 200), (20_001, 413)):
        body = orjson.dumps({"query": "{ __typename }", "x": "y" * (size - empty)})
        answer = await client.post("/graphql", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == status
    assert BODY_BYTES == LIMITS.body_bytes == 1 << 20


async def test_who_has_spent_all_is_told_when_to_come_back(api: Any, client: httpx.AsyncClient) -> None:
    asked = {"query": "{ users(first: 20) { nodes { memberships(first: 20) { nodes { id } } } } }"}  # 1 + 20 × (2 + 20)
    answers = [await client.post("/graphql", json=asked) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 4 + [429] * 2
    (error,) = answers[-1].json()["errors"]
    seconds = error["extensions"]["retryAfter"]
    assert error["extensions"]["code"] == "THROTTLED"
    assert answers[-1].headers["retry-after"] == str(seconds)
    assert 0 < seconds <= 441 / 20 + 1
    async with api.client() as plain:
        assert (await plain.post("/graphql", json=asked)).status_code == 429
    assert (await api.ask("{ viewer { role } }", "PARTNER"))["data"] == {"viewer": {"role": "PARTNER"}}
    async with api.socket() as wire:
        await wire.subscribe(asked["query"])
        said = await wire.hear()
        assert (said["type"], said["payload"][0]["extensions"]["code"]) == ("error", "THROTTLED")
        assert said["payload"][0]["extensions"]["retryAfter"] > 0


async def test_while_redis_is_silent_callers_have_a_part_of_their_rate(
    api: Any, client: httpx.AsyncClient, redis_url: str
) -> None:
    asked = {"query": "{ users(first: 20) { nodes { memberships(first: 20) { nodes { id } } } } }"}
    client.headers.update(api.bearer("FINANCE"))
    with redis.Redis.from_url(redis_url) as there:
        process = int(there.info("server")["process_id"])
    os.kill(process, signal.SIGSTOP)
    try:
        answers = [await client.post("/graphql", json=asked) for _ in range(3)]
        async with api.socket("FINANCE") as wire:
            await wire.subscribe(asked["query"])
            assert (await wire.hear())["payload"][0]["extensions"]["code"] == "THROTTLED"
    finally:
        os.kill(process, signal.SIGCONT)
    assert [answer.status_code for answer in answers] == [200, 429, 429]
    (error,) = answers[-1].json()["errors"]
    part = RATE.burst * ALONE
    assert 0 <= error["extensions"]["remaining"] <= part - 441 + 20
    assert error["extensions"]["retryAfter"] > (441 - part + 441) / RATE.per_second, "it comes back more slowly too"
    deadline = time.monotonic() + 30
    while (await client.post("/graphql", json=asked)).status_code != 200:
        assert time.monotonic() < deadline, "Redis is back, and nobody asks it"
        await asyncio.sleep(0.2)


async def test_a_socket_carries_as_many_operations_as_the_deployment_says(api: Any) -> None:
    async with api.socket("FINANCE") as wire:
        for number in range(4):
            await wire.subscribe("subscription { bookingUpdated { kind } }", id=str(number))
        said = await wire.hear()
        assert (said["id"], said["payload"][0]["extensions"]["code"]) == ("3", "THROTTLED")


async def test_a_caller_has_so_many_subscriptions_over_all_its_sockets_and_streams(api: Any) -> None:
    job = await Job.create(kind="test.nothing", key="test:followed", user=api.member)
    query = f'subscription {{ jobUpdated(id: "{encode("Job", job.id)}") {{ kind }} }}'
    deadline = time.monotonic() + 20
    async with api.socket("FRONT_DESK") as one, api.socket("FRONT_DESK") as two, api.client("FRONT_DESK") as client:
        for wire, number in itertools.product((one, two), "ab"):
            await wire.subscribe(query, id=number)
            assert (await wire.hear())["type"] == "next"
        stream = await client.post("/graphql", json={"query": query}, headers={"accept": "text/event-stream"})
        assert "THROTTLED" in stream.text
        assert stream.text.endswith("event: complete\ndata:\n\n")
        await one.subscribe(query, id="c")
        said = await one.hear()
        assert (said["id"], said["payload"][0]["extensions"]["code"]) == ("c", "THROTTLED")
        await two.say(type="complete", id="a")
        while said["type"] == "error":
            assert time.monotonic() < deadline, "who ended one may begin another"
            await one.subscribe(query, id="c")
            said = await one.hear()


# -- purses ------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def purses(redis_url: str) -> AsyncIterator[tuple[RedisPurse, RedisPurse]]:
    """Two processes' purses, emptied of what earlier tests did."""
    with redis.Redis.from_url(redis_url) as there:
        for key in there.keys(f"{PREFIX}:*"):
            there.delete(key)
    both = RedisPurse(redis_url, 1_000, 100), RedisPurse(redis_url, 1_000, 100)
    yield both
    for each in both:
        await each.close()


async def test_processes_share_a_purse_and_never_spend_more_than_it_holds(purses: Any) -> None:
    began = time.monotonic()
    paid = 0
    for _ in range(400):
        lefts = await asyncio.gather(*(purse.spend("a", 7) for purse in purses))
        paid += sum(7 for left in lefts if not left.wait)
    assert 900 <= paid <= 1_000 + 100 * (time.monotonic() - began)
    left = await purses[0].spend("a", 500)
    assert 0 < left.wait <= 5
    assert (await purses[0].spend("b", 500)).wait == 0


async def test_most_operations_ask_redis_nothing(purses: Any, redis_url: str) -> None:
    asked = purses[0]._take
    calls = []

    async def counting(**given: Any) -> Any:
        calls.append(given)
        return await asked(**given)

    purses[0]._take = counting
    for _ in range(10):
        assert (await purses[0].spend("c", 1)).wait == 0
    assert len(calls) <= 2
    calls.clear()
    lefts = await asyncio.gather(*(purses[0].spend("d", 1) for _ in range(50)))
    assert len(calls) <= 10, "one asks for many"
    assert [left.wait for left in lefts] == [0] * 50


async def test_without_redis_callers_have_a_part_and_no_more() -> None:
    purse = RedisPurse("redis://127.0.0.1:1/0", 1_000, 10)
    paid = 0
    for _ in range(1_000):
        paid += (await purse.spend("a", 1)).wait == 0
    assert 1_000 * ALONE <= paid <= 1_000 * ALONE + 50
    assert (await purse.spend("a", 10)).wait > 0
    assert (await purse.spend("b", 900)).wait == 0  # what costs more than the part is paid off afterwards
    assert (await purse.spend("b", 1)).wait > 60
    await purse.close()
