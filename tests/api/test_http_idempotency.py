"""A mutation with a key happens once: replayed, refused for another input or while it runs, taken over when left."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from models.tables.idempotency import IdempotencyKey
from models.tables.setting import ApiKey
from models.tables.user import User

MAKE_KEY = """mutation ($name: String!) { createApiKey(input: {name: $name, role: FRONT_DESK}) {
    token apiKey { name } userErrors { code } } }"""
DIRECTED = MAKE_KEY.replace("($name: String!)", "($name: String!, $key: String!) @idempotent(key: $key)")


async def post(api: Any, query: str, key: str | None = None, role: str = "ADMIN", **variables: Any) -> httpx.Response:
    headers = {"accept": "application/graphql-response+json", **({"idempotency-key": key} if key else {})}
    async with api.client(role) as client:
        answer: httpx.Response = await client.post(
            "/graphql", json={"query": query, "variables": variables}, headers=headers
        )
    return answer


def code(answer: httpx.Response) -> str:
    return str(answer.json()["errors"][0]["extensions"]["code"])


async def test_the_first_answer_is_given_again(api: Any) -> None:
    first = (await post(api, MAKE_KEY, "k-1", name="once")).json()
    assert first["data"]["createApiKey"]["userErrors"] == []
    again = (await post(api, MAKE_KEY, "k-1", name="once")).json()
    assert again == {**first, "extensions": {"idempotency": {"replayed": True}}}
    assert first["data"]["createApiKey"]["token"].startswith("df_")
    assert await ApiKey.filter(name="once").count() == 1
    (row,) = await IdempotencyKey.filter(key="k-1")
    assert first["data"]["createApiKey"]["token"] not in str(row.answer)


async def test_the_directive_does_the_same(api: Any) -> None:
    first = (await _directed(api, "directed")).json()
    again = (await _directed(api, "directed")).json()
    assert again["extensions"] == {"idempotency": {"replayed": True}}
    assert again["data"] == first["data"]
    async with api.socket() as wire:
        variables = {"name": "directed", "key": "k-2"}
        await wire.say(type="subscribe", id="1", payload={"query": DIRECTED, "variables": variables})
        assert (await wire.hear())["payload"] == again


async def _directed(api: Any, name: str) -> httpx.Response:
    async with api.client() as client:
        answer: httpx.Response = await client.post(
            "/graphql", json={"query": DIRECTED, "variables": {"name": name, "key": "k-2"}}
        )
    return answer


async def test_another_input_under_the_same_key_is_refused(api: Any) -> None:
    await post(api, MAKE_KEY, "k-3", name="first input")
    answer = await post(api, MAKE_KEY, "k-3", name="second input")
    assert (answer.status_code, code(answer)) == (409, "IDEMPOTENCY_KEY_MISMATCH")
    assert not await ApiKey.exists(name="second input")


async def test_a_key_belongs_to_its_caller(api: Any) -> None:
    make = 'mutation { createUser(input: {firstName: "K", lastName: "Four", email: "%s"}) { userErrors { code } } }'
    for role in ("ADMIN", "FRONT_DESK"):
        answer = await post(api, make % f"{role.lower()}@example.test", "k-4", role)
        assert answer.json() == {"data": {"createUser": {"userErrors": []}}}


async def test_of_many_at_once_one_runs(api: Any) -> None:
    answers = await asyncio.gather(*(post(api, MAKE_KEY, "k-5", name="raced") for _ in range(8)))
    assert await ApiKey.filter(name="raced").count() == 1
    assert {answer.status_code for answer in answers} <= {200, 409}
    for answer in answers:
        assert answer.status_code == 200 or code(answer) == "IDEMPOTENCY_IN_PROGRESS"


async def test_a_run_that_was_abandoned_is_taken_over_after_a_minute(api: Any) -> None:
    await post(api, MAKE_KEY, "k-6", name="left")
    row = await IdempotencyKey.get(key="k-6")
    await ApiKey.filter(name="left").delete()
    now = datetime.now(UTC)
    await IdempotencyKey.filter(id=row.id).update(
        answer=None, committed_at=None, updated_at=now - timedelta(seconds=50)
    )
    assert code(await post(api, MAKE_KEY, "k-6", name="left")) == "IDEMPOTENCY_IN_PROGRESS"
    await IdempotencyKey.filter(id=row.id).update(updated_at=now - timedelta(seconds=70))
    assert code(await post(api, MAKE_KEY, "k-6", name="another")) == "IDEMPOTENCY_KEY_MISMATCH"
    taken = (await post(api, MAKE_KEY, "k-6", name="left")).json()
    assert "extensions" not in taken
    assert await ApiKey.filter(name="left").count() == 1


async def test_what_was_committed_never_runs_again(api: Any) -> None:
    await post(api, MAKE_KEY, "k-lost", name="lost")
    row = await IdempotencyKey.get(key="k-lost")
    assert row.committed_at is not None
    now = datetime.now(UTC)
    await IdempotencyKey.filter(id=row.id).update(answer=None)
    assert code(await post(api, MAKE_KEY, "k-lost", name="lost")) == "IDEMPOTENCY_IN_PROGRESS"
    long_ago = now - timedelta(seconds=70)
    await IdempotencyKey.filter(id=row.id).update(committed_at=long_ago, updated_at=long_ago)
    assert code(await post(api, MAKE_KEY, "k-lost", name="lost")) == "IDEMPOTENCY_ANSWER_LOST"
    assert await ApiKey.filter(name="lost").count() == 1


async def test_a_business_no_is_an_answer_and_kept(api: Any) -> None:
    make = (
        """mutation { createApiKey(input: {name: "no", role: MEMBER}) { token userErrors { code field because } } }"""
    )
    first = (await post(api, make, "k-7")).json()
    assert first["data"]["createApiKey"]["token"] is None
    assert [error["code"] for error in first["data"]["createApiKey"]["userErrors"]] == ["INVALID_INPUT"]
    assert (await post(api, make, "k-7")).json()["extensions"] == {"idempotency": {"replayed": True}}


async def test_what_never_ran_leaves_its_key_free(api: Any) -> None:
    assert code(await post(api, MAKE_KEY, "k-8", name=7)) == "BAD_USER_INPUT"
    assert not await IdempotencyKey.exists(key="k-8")
    assert "errors" not in (await post(api, MAKE_KEY, "k-8", name="then right")).json()


async def test_a_key_is_for_one_mutation(api: Any) -> None:
    one = 'createUser(input: {firstName: "A", lastName: "B", email: "two@example.test"}) { userErrors { code } }'
    two = f"mutation {{ a: {one} b: {one} }}"
    answer = await post(api, two, "k-9")
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")
    assert not await User.exists(email="two@example.test")


@pytest.mark.parametrize("key", [" ", "x" * 256])
async def test_a_key_has_a_sensible_length(api: Any, key: str) -> None:
    async with api.client() as client:
        answer = await client.post("/graphql", json={"query": DIRECTED, "variables": {"name": "never", "key": key}})
    assert (answer.status_code, code(answer)) == (400, "BAD_REQUEST")


async def test_a_query_needs_no_key_and_ignores_it(api: Any) -> None:
    assert (await post(api, "{ __typename }", "k-10")).json() == {"data": {"__typename": "Query"}}
    assert not await IdempotencyKey.exists(key="k-10")
