"""What a stream promises: wherever it is cut, each event once and in order, each by the rights of its moment."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from redis.asyncio import Redis

from integrations.bus import STREAM, RedisBus
from models.actions.keys import create_api_key
from models.ports import WAITING_EVENTS, LiveEvent
from models.rules.states import PaymentPurpose, PaymentStatus, Provider, Role
from models.tables.centre import Centre
from models.tables.membership import Membership, MembershipType
from models.tables.payment import Payment
from models.tables.setting import ApiKey
from models.tables.user import User
from tests.api.test_live_events import AT, bus, frames, kinds, membership_of

__all__ = ["bus", "kinds"]
EVENTS = """subscription ($after: String) { events(topics: [MEMBERSHIP], after: $after) {
    kind cursor ... on MembershipEvent { membership { id user { fields { value } } } } } }"""
BOTH = """subscription ($after: String) { events(topics: [MEMBERSHIP, PAYMENT], after: $after) {
    kind ... on PaymentEvent { payment { id } } ... on MembershipEvent { membership { id } } } }"""
WRITTEN = 240
Kinds = tuple[Centre, MembershipType]


def about(membership: Membership, name: str) -> LiveEvent:
    ids = {"membership_id": str(membership.id), "user_id": str(membership.user_id)}
    return LiveEvent(str(uuid4()), "membership", name, ids, AT)


async def over_socket(api: Any, after: str | None) -> AsyncGenerator[dict[str, Any], None]:
    """Events until the reader stops; then the connection is cut, with no word of goodbye."""
    async with api.socket("MEMBER") as wire:
        await wire.subscribe(EVENTS, after=after)
        try:
            while True:
                told = await wire.hear()
                assert told["type"] == "next", told
                yield told["payload"]["data"]["events"]
        finally:
            wire.raw.transport.abort()


async def over_sse(api: Any, after: str | None) -> AsyncGenerator[dict[str, Any], None]:
    """The same over server-sent events."""
    async with frames(api, EVENTS, {"after": after}) as told:
        async for frame in told:
            assert frame["event"] == "next", frame
            yield frame["data"]["data"]["events"]


@pytest.mark.parametrize("listen", [over_socket, over_sse])
async def test_streams_cut_at_random_lose_and_double_nothing(
    listen: Any, api: Any, bus: RedisBus, kinds: Kinds
) -> None:
    chance = random.Random(listen.__name__)
    membership = await membership_of(api.member, kinds)
    start = await bus.cursor()

    async def read() -> tuple[list[str], int]:
        names: list[str] = []
        after, cuts = start, 0
        while len(names) < WRITTEN:
            until = min(WRITTEN, len(names) + chance.randint(1, 40))
            async with asyncio.timeout(30), aclosing(listen(api, after)) as events:
                async for event in events:
                    after = event["cursor"]
                    names.append(event["kind"])
                    if len(names) >= until:
                        break
            cuts += 1
        return names, cuts

    async def write() -> None:
        for number in range(0, WRITTEN, 4):
            await bus.publish([about(membership, f"E{each}") for each in range(number, number + 4)])
            await asyncio.sleep(chance.random() / 50)

    writing = asyncio.create_task(write())
    for names, cuts in await asyncio.gather(*(read() for _ in range(3))):
        assert names == [f"E{number}" for number in range(WRITTEN)]
        assert cuts > 4
    await writing


async def slowly_over_socket(api: Any, after: str) -> AsyncGenerator[Any, None]:
    """The first event, a pause, then what was waiting, up to why there is no more."""
    async with api.socket() as wire:
        await wire.subscribe(EVENTS, after=after)
        while (told := await wire.hear(20))["type"] == "next":
            yield told["payload"]["data"]["events"]
        yield told["payload"][0]["extensions"]["code"]


async def slowly_over_sse(api: Any, after: str) -> AsyncGenerator[Any, None]:
    """The same over server-sent events."""
    async with frames(api, EVENTS, {"after": after}) as told:
        async for frame in told:
            if frame["event"] == "complete":
                return
            failed = frame["data"].get("errors")
            yield failed[0]["extensions"]["code"] if failed else frame["data"]["data"]["events"]


@pytest.mark.parametrize("listen", [slowly_over_socket, slowly_over_sse])
async def test_who_does_not_read_is_let_go_and_goes_on_where_it_was(
    listen: Any, api: Any, bus: RedisBus, kinds: Kinds
) -> None:
    wide = await User.create(
        first_name="Wide", last_name="Reader", email="w@a.test", email_key="w@a.test", fields_={"story": "x" * 200_000}
    )
    membership = await membership_of(wide, kinds)
    start, many = await bus.cursor(), 2 * WAITING_EVENTS
    names: list[str] = []
    async with aclosing(listen(api, start)) as events:
        await bus.publish([about(membership, "E0")])
        first = await anext(events)
        names.append(first["kind"])
        cursor = first["cursor"]
        for number in range(1, many, 8):  # nobody reads: what is sent fills the connection, the rest waits
            await bus.publish([about(membership, f"E{each}") for each in range(number, min(number + 8, many))])
        await asyncio.sleep(1)
        over = None
        async for event in events:
            if isinstance(event, str):
                over = event
                break
            names.append(event["kind"])
            cursor = event["cursor"]
    assert over == "SLOW_CONSUMER"
    assert len(names) < many
    await User.filter(id=wide.id).update(fields_={})
    resumed = over_sse(api, cursor)
    async with asyncio.timeout(30), aclosing(resumed) as events:
        while len(names) < many:
            names.append((await anext(events))["kind"])
    assert names == [f"E{number}" for number in range(many)]


async def test_a_cursor_whose_followers_were_trimmed_is_told_so(
    api: Any, bus: RedisBus, kinds: Kinds, redis_url: str
) -> None:
    membership = await membership_of(api.member, kinds)
    start = await bus.cursor()
    await bus.publish([about(membership, f"E{number}") for number in range(20)])
    async with aclosing(over_sse(api, start)) as events:
        cursors = [(await anext(events))["cursor"] for _ in range(20)]
    async with Redis.from_url(redis_url) as redis:
        await redis.xtrim(STREAM, maxlen=5, approximate=False)
    async with aclosing(over_socket(api, cursors[14])) as events:
        assert [(await anext(events))["kind"] for _ in range(5)] == [f"E{number}" for number in range(15, 20)]
    async with api.socket("MEMBER") as wire:
        await wire.subscribe(EVENTS, after=cursors[13])
        told = await wire.hear()
        assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "CURSOR_EXPIRED")
    async with frames(api, EVENTS, {"after": cursors[13]}) as frames_told:
        assert (await anext(frames_told))["data"]["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"


async def test_what_becomes_somebody_elses_is_told_to_them_alone(api: Any, bus: RedisBus, kinds: Kinds) -> None:
    _, api.keys["OTHER"] = await create_api_key(
        name="other", role=Role.MEMBER, acting="test", at=AT, user_id=api.stranger.id
    )
    moving, own = [await membership_of(api.member, kinds) for _ in range(2)]
    others = await membership_of(api.stranger, kinds)
    start = await bus.cursor()
    async with api.socket("MEMBER") as before, api.socket("OTHER") as after:
        for wire in (before, after):
            await wire.subscribe(EVENTS, after=start)
        await bus.publish([about(moving, "Mine"), about(others, "Others")])
        assert (await before.hear())["payload"]["data"]["events"]["kind"] == "Mine"
        assert (await after.hear())["payload"]["data"]["events"]["kind"] == "Others"
        await Membership.filter(id=moving.id).update(user_id=api.stranger.id)
        await bus.publish([about(moving, "Theirs"), about(own, "Own")])
        assert (await before.hear())["payload"]["data"]["events"]["kind"] == "Own"
        assert (await after.hear())["payload"]["data"]["events"]["kind"] == "Theirs"


async def test_a_role_that_is_taken_away_ends_what_it_showed(api: Any, bus: RedisBus, kinds: Kinds) -> None:
    key, api.keys["CLERK"] = await create_api_key(name="clerk", role=Role.FRONT_DESK, acting="test", at=AT)
    membership = await membership_of(api.member, kinds)
    payment = await Payment.create(
        user_id=api.member.id, purpose=PaymentPurpose.MEMBERSHIP_FEE, membership_id=membership.id, amount=100,
        provider=Provider.GOCARDLESS, currency="GBP", status=PaymentStatus.DUE, due_on=AT.date(), key=str(uuid4()),
    )  # fmt: skip

    start = await bus.cursor()

    async def round_(wire: Any) -> list[str]:
        """A payment's event and a membership's -> what is told of them."""
        paid = LiveEvent(str(uuid4()), "payment", "Paid", {"payment_id": str(payment.id)}, AT)
        await bus.publish([paid, about(membership, "Moved")])
        told: list[str] = []
        while told[-1:] != ["Moved"]:
            answer = await wire.hear()
            assert answer["type"] == "next", answer
            told.append(answer["payload"]["data"]["events"]["kind"])
        return told

    async with api.socket("CLERK") as wire:
        await wire.subscribe(BOTH, after=start)
        deadline = time.monotonic() + 15
        assert await round_(wire) == ["Paid", "Moved"]
        await ApiKey.filter(id=key.id).update(role=Role.PARTNER)
        while await round_(wire) == ["Paid", "Moved"]:
            assert time.monotonic() < deadline, "a change of a key holds within five seconds"
            await asyncio.sleep(0.2)
        assert await round_(wire) == ["Moved"]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream", "websocket"])
async def test_a_mutation_whose_client_hangs_up_meanwhile_is_done(api: Any, accept: str, database_url: str) -> None:
    email = f"{accept.replace('/', '-')}@a.test"
    given = f'firstName: "A", lastName: "B", email: "{email}"'
    mutation = f"mutation {{ createUser(input: {{{given}}}) {{ user {{ id }} userErrors {{ code }} }} }}"
    holding, deadline = await asyncpg.connect(database_url), time.monotonic() + 20
    lock = holding.transaction()
    await lock.start()
    await holding.execute("LOCK TABLE user_account IN EXCLUSIVE MODE")  # the mutation has begun, and cannot go on
    async with AsyncExitStack() as until_it_waits:
        if accept == "websocket":
            wire = await until_it_waits.enter_async_context(api.socket())
            await wire.subscribe(mutation)
        else:
            client = await until_it_waits.enter_async_context(api.client())
            asked = client.post("/graphql", json={"query": mutation}, headers={"accept": accept})
            until_it_waits.callback(asyncio.ensure_future(asked).cancel)
        while not await holding.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        if accept == "websocket":
            wire.raw.transport.abort()
    await asyncio.sleep(0.1)  # the server hears of it
    await lock.commit()
    while not await User.exists(email_key=email):
        assert time.monotonic() < deadline, "the mutation was stopped with its connection"
        await asyncio.sleep(0.02)
    await holding.close()
