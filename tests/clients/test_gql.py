"""Python's `gql`, unchanged: its HTTP and WebSocket transports, its checks against our schema, coming back."""

from collections.abc import AsyncIterator
from secrets import token_hex
from typing import Any

import pytest
from gql import Client, gql
from gql.transport.async_transport import AsyncTransport
from gql.transport.exceptions import TransportConnectionFailed, TransportQueryError, TransportServerError
from gql.transport.httpx import HTTPXAsyncTransport, HTTPXTransport
from gql.transport.websockets import WebsocketsTransport

from tests.api.conftest import Api

VIEWER = "{ viewer { role } }"
PEOPLE = "query People($first: Int!) { users(first: $first) { totalCount } }"
WATCH = """subscription ($id: ID, $after: String) { membershipStatusChanged(membershipId: $id, after: $after) {
    kind cursor membership { id } } }"""
SIGN = """mutation ($input: CreateUserInput!) { createUser(input: $input) {
    user { firstName } userErrors { code field } } }"""


def over_http(api: Api, role: str = "ADMIN") -> AsyncTransport:
    return HTTPXAsyncTransport(f"{api.url}/graphql", headers=api.bearer(role), timeout=20)


def over_socket(api: Api, role: str = "ADMIN") -> AsyncTransport:
    return WebsocketsTransport(f"{api.socket_url}", init_payload=api.bearer(role))


@pytest.fixture(params=[over_http, over_socket], ids=["http", "socket"])
async def session(request: pytest.FixtureRequest, api: Api) -> AsyncIterator[Any]:
    async with Client(transport=request.param(api), fetch_schema_from_transport=True) as session:
        yield session


async def test_queries_and_mutations_go_over_either_transport(session: Any) -> None:
    assert await session.execute(gql(VIEWER)) == {"viewer": {"role": "ADMIN"}}
    counted = gql(PEOPLE)
    counted.variable_values = {"first": 1}
    assert (await session.execute(counted))["users"]["totalCount"] >= 2
    signed = gql(SIGN)
    signed.variable_values = {
        "input": {"firstName": "New", "lastName": "Comer", "email": f"{token_hex(5)}@example.test"}
    }
    assert await session.execute(signed) == {"createUser": {"user": {"firstName": "New"}, "userErrors": []}}


async def test_errors_come_with_their_codes_and_the_session_goes_on(session: Any) -> None:
    refused = gql("{ users(first: 1000) { totalCount } }")
    with pytest.raises(TransportQueryError) as told:
        await session.execute(refused)
    assert [error["extensions"]["code"] for error in told.value.errors or []] == ["BAD_USER_INPUT"]
    assert await session.execute(gql(VIEWER)) == {"viewer": {"role": "ADMIN"}}


async def test_the_schema_it_fetches_judges_documents_before_they_are_sent(session: Any) -> None:
    from graphql import GraphQLError

    assert "bookCourse" in session.client.schema.mutation_type.fields
    with pytest.raises(GraphQLError, match="nothing"):
        await session.execute(gql("{ nothing }"))


async def test_a_subscription_is_left_and_taken_up_behind_its_cursor(api: Api, watched: str) -> None:
    async with Client(transport=over_socket(api)) as session:
        watch = gql(WATCH)
        watch.variable_values = {"id": watched}
        events = []
        async for told in session.subscribe(watch):
            events.append(told["membershipStatusChanged"])
            if len(events) == 3:
                break
        watch = gql(WATCH)
        watch.variable_values = {"id": watched, "after": events[-1]["cursor"]}
        async for told in session.subscribe(watch):
            events.append(told["membershipStatusChanged"])
            break
    assert [event["kind"] for event in events] == ["SNAPSHOT", *["MembershipStatusChanged"] * 3]
    assert {event["membership"]["id"] for event in events} == {watched}
    assert len({event["cursor"] for event in events}) == 4


async def test_a_session_that_reconnects_comes_back_after_a_cut(api: Api, watched: str) -> None:
    transport = WebsocketsTransport(f"{api.socket_url}", init_payload=api.bearer())
    client = Client(transport=transport)
    session = await client.connect_async(reconnecting=True, retry_connect=False)
    try:
        watch = gql(WATCH)
        watch.variable_values = {"id": watched}
        events = session.subscribe(watch)
        await anext(events)
        transport.adapter.websocket.transport.abort()
        with pytest.raises(TransportConnectionFailed):
            await _to_the_end(events)
        assert await session.execute(gql(VIEWER)) == {"viewer": {"role": "ADMIN"}}
    finally:
        await client.close_async()


async def _to_the_end(events: AsyncIterator[Any]) -> None:
    async for _ in events:
        continue


async def test_who_is_nobody_is_told_so(api: Api) -> None:
    with pytest.raises((TransportServerError, TransportQueryError)) as told:
        async with Client(transport=HTTPXAsyncTransport(f"{api.url}/graphql")) as session:
            await session.execute(gql(VIEWER))
    assert "401" in str(told.value) or "live key" in str(told.value)


def test_it_works_without_asyncio(api: Api) -> None:
    with Client(transport=HTTPXTransport(f"{api.url}/graphql", headers=api.bearer())) as session:
        assert session.execute(gql(VIEWER)) == {"viewer": {"role": "ADMIN"}}
