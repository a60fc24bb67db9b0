"""graphql-transport-ws: the protocol's own close codes, and operations that end without ending their socket."""

import asyncio
from typing import Any

import pytest
import websockets

from models.tables.user import User

DEEP = "[" * 500 + "]" * 500
SUBSCRIBE = {"type": "subscribe", "id": "1", "payload": {"query": "{ __typename }"}}


async def test_an_operation_runs(api: Any) -> None:
    async with api.socket() as wire:
        await wire.subscribe("{ viewer { role } }", id="a")
        assert await wire.hear() == {"id": "a", "type": "next", "payload": {"data": {"viewer": {"role": "ADMIN"}}}}
        assert await wire.hear() == {"id": "a", "type": "complete"}
        await wire.subscribe("query ($n: Int) { users(first: $n) { totalCount } }", id="a", n=1)
        assert (await wire.hear())["payload"] == {"data": {"users": {"totalCount": 2}}}


async def test_the_key_may_stand_in_the_upgrade_request(api: Any) -> None:
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    async with websockets.connect(
        api.socket_url, subprotocols=protocols, additional_headers=api.bearer("PARTNER")
    ) as raw:
        await raw.send('{"type":"connection_init","payload":null}')
        assert await raw.recv() == '{"type":"connection_ack"}'


@pytest.mark.parametrize("protocols", [None, ["graphql-ws"], ["nonsense"]])
async def test_another_protocol_is_4406(api: Any, protocols: Any) -> None:
    async with websockets.connect(api.socket_url, subprotocols=protocols) as raw:
        await raw.wait_closed()
    assert raw.close_code == 4406


async def test_a_page_of_another_site_is_not_let_in(api: Any) -> None:
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(api.socket_url, subprotocols=protocols, origin=websockets.Origin("https://evil.test"))
    assert refused.value.response.status_code == 403
    async with websockets.connect(api.socket_url, subprotocols=protocols, origin=websockets.Origin(api.url)):
        pass


@pytest.mark.parametrize("payload", [None, {}, {"authorization": "Bearer df_a_b"}, {"authorization": 7}])
async def test_who_has_no_live_key_is_4403(api: Any, payload: Any) -> None:
    async with api.socket(None) as wire:
        await wire.say(type="connection_init", payload=payload)
        assert await wire.closed() == 4403


async def test_who_asks_before_it_is_let_in_is_4401(api: Any) -> None:
    async with api.socket(None) as wire:
        await wire.say(**SUBSCRIBE)
        assert await wire.closed() == 4401


async def test_who_says_nothing_is_4408(api: Any) -> None:
    async with api.socket(None) as wire:
        assert await wire.closed(15) == 4408


async def test_a_second_init_is_4429(api: Any) -> None:
    async with api.socket() as wire:
        await wire.say(type="connection_init", payload=api.bearer())
        assert await wire.closed() == 4429


async def test_an_id_in_use_is_4409(api: Any) -> None:
    async with api.socket() as wire:
        await wire.subscribe("subscription { bookingUpdated { kind } }")
        await wire.subscribe("{ __typename }")
        assert await wire.closed() == 4409


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '"subscribe"',
        "{}",
        '{"type":7}',
        '{"type":"nonsense"}',
        '{"type":"start","id":"1","payload":{"query":"{__typename}"}}',
        '{"type":"subscribe","payload":{"query":"{__typename}"}}',
        '{"type":"subscribe","id":"","payload":{"query":"{__typename}"}}',
        '{"type":"subscribe","id":{},"payload":{"query":"{__typename}"}}',
        '{"type":"subscribe","id":"1"}',
        '{"type":"subscribe","id":"1","payload":null}',
        '{"type":"subscribe","id":"1","payload":"{__typename}"}',
        '{"type":"subscribe","id":"1","payload":{}}',
        '{"type":"subscribe","id":"1","payload":{"query":7}}',
        '{"type":"subscribe","id":"1","payload":{"query":"{__typename}","variables":[]}}',
        '{"type":"subscribe","id":"1","payload":{"query":"{__typename}","extensions":7}}',
        '{"type":"subscribe","id":"1","payload":{"query":"{__typename}","operationName":7}}',
        '{"type":"complete"}',
        '{"type":"ping","payload":7}',
        '{"type":"ping","payload":{"deep":' + "[" * 500 + "]" * 500 + "}}",
        '{"type":"subscribe","id":"1","payload":{"query":"{__typename}","variables":{"v":'
        + "[" * 500
        + "]" * 500
        + "}}}",
        "[" * 20_000,
        b"\x00\x01",
    ],
    ids=lambda frame: str(frame[:60]),
)
async def test_a_frame_that_breaks_the_protocol_is_4400(api: Any, frame: str | bytes) -> None:
    async with api.socket() as wire:
        await wire.raw.send(frame)
        assert await wire.closed() == 4400


async def test_pings_are_answered_in_kind(api: Any) -> None:
    async with api.socket(None) as wire:
        await wire.say(type="ping")
        assert await wire.hear() == {"type": "pong"}
        await wire.say(type="ping", payload={"at": 7})
        assert await wire.hear() == {"type": "pong", "payload": {"at": 7}}
        await wire.say(type="pong")
        await wire.say(type="ping", payload=None)
        assert await wire.hear() == {"type": "pong"}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"query": "{"}, "GRAPHQL_PARSE_FAILED"),
        ({"query": "{ nothing }"}, "GRAPHQL_VALIDATION_FAILED"),
        ({"query": "{ __typename }", "operationName": "Nobody"}, "OPERATION_RESOLUTION_FAILURE"),
        ({"query": "query ($n: Int!) { users(first: $n) { totalCount } }", "variables": {"n": "x"}}, "BAD_USER_INPUT"),
        ({"query": "subscription ($t: [LiveTopic!]!) { events(topics: $t) { kind } }"}, "BAD_USER_INPUT"),
        ({"query": 'subscription { jobUpdated(id: "nonsense") { kind } }'}, "BAD_USER_INPUT"),
    ],
)
async def test_a_document_that_cannot_run_ends_its_operation_only(api: Any, payload: Any, code: str) -> None:
    async with api.socket() as wire:
        await wire.say(type="subscribe", id="wrong", payload=payload)
        told = await wire.hear()
        assert (told["type"], told["id"], told["payload"][0]["extensions"]["code"]) == ("error", "wrong", code)
        await wire.subscribe("{ __typename }", id="wrong")
        assert (await wire.hear())["type"] == "next"


async def test_a_stopped_operation_says_nothing_more_and_frees_its_id(api: Any) -> None:
    async with api.socket() as wire:
        await wire.subscribe("subscription { bookingUpdated { kind } }")
        await wire.say(type="complete", id="1")
        await wire.subscribe("{ __typename }")
        assert (await wire.hear())["type"] == "next"
        assert (await wire.hear())["type"] == "complete"
        await wire.say(type="complete", id="never begun")


async def test_a_socket_carries_a_hundred_operations(api: Any) -> None:
    async with api.socket() as wire:
        for number in range(101):
            await wire.subscribe("subscription { bookingUpdated { kind } }", id=str(number))
        told = await wire.hear()
        assert (told["id"], told["payload"][0]["extensions"]["code"]) == ("100", "THROTTLED")


async def test_a_mutation_runs_to_its_end_when_its_client_hangs_up(api: Any) -> None:
    mutation = """mutation { createUser(input: {firstName: "Gone", lastName: "Early", email: "gone@example.test"}) {
        userErrors { code } } }"""
    async with api.socket() as wire:
        await wire.subscribe(mutation)
        await wire.say(type="complete", id="1")
    for _ in range(1000):
        if await User.exists(email_key="gone@example.test"):
            return
        await asyncio.sleep(0.02)
    pytest.fail("the mutation was stopped with its socket")
