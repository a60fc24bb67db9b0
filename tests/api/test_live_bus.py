"""The live bus on a real Valkey: nothing lost, nothing doubled, and honest where it cannot promise that."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from integrations.bell import ArqBell
from integrations.bus import PAGE, STREAM, RedisBus
from models.ports import WAITING_EVENTS, CursorExpired, LiveEvent, SlowConsumer

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
BOTH = frozenset({"booking", "payment"})


def happened(number: int, topic: str = "booking") -> LiveEvent:
    return LiveEvent(str(uuid4()), topic, "BookingMade", {"booking_id": str(number)}, AT)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    client = Redis.from_url(redis_url, decode_responses=True)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
async def bus(redis: "Redis", redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(redis_url)
    await bus.start()
    yield bus
    await bus.stop()


async def heard(bus: RedisBus, after: str | None, many: int, topics: frozenset[str] = BOTH) -> list[LiveEvent]:
    found: list[LiveEvent] = []
    async with asyncio.timeout(20), aclosing(bus.events(topics, after)) as events:
        async for event in events:
            found.append(event)
            if len(found) == many:
                return found
    return found


def numbers(events: list[LiveEvent]) -> list[int]:
    return [int(event.ids["booking_id"]) for event in events]


async def test_what_is_published_is_heard_in_order_by_who_asked_for_its_topic(bus: RedisBus) -> None:
    start = await bus.cursor()
    listening = asyncio.create_task(heard(bus, start, 2, frozenset({"payment"})))
    sent = [happened(1), happened(2, "payment"), happened(3, "payment")]
    await bus.publish(sent)
    found = await listening
    assert [(event.id, event.name, event.occurred_at) for event in found] == [
        (event.id, "BookingMade", AT) for event in sent[1:]
    ]
    assert numbers(await heard(bus, start, 3)) == [1, 2, 3]


async def test_from_a_cursor_on_nothing_is_missing_and_nothing_twice(bus: RedisBus) -> None:
    start = await bus.cursor()
    await bus.publish([happened(number) for number in range(2 * PAGE + 7)])
    found = await heard(bus, start, 2 * PAGE + 7)
    assert numbers(found) == list(range(2 * PAGE + 7))
    assert numbers(await heard(bus, found[PAGE].cursor, PAGE + 6)) == list(range(PAGE + 1, 2 * PAGE + 7))


async def test_an_event_published_twice_is_told_once(bus: RedisBus) -> None:
    start = await bus.cursor()
    first, second = happened(1), happened(2)
    await bus.publish([first, second])
    await bus.publish([first, second, happened(3)])
    assert numbers(await heard(bus, start, 3)) == [1, 2, 3]


async def test_readers_that_drop_out_at_random_lose_and_double_nothing(bus: RedisBus) -> None:
    chance = random.Random(7)
    total = 1_500
    start = await bus.cursor()

    async def read() -> list[int]:
        found: list[LiveEvent] = []
        while len(found) < total:
            after = found[-1].cursor if found else start
            try:
                found += await heard(bus, after, min(chance.randint(1, 120), total - len(found)))
            except SlowConsumer:
                continue
        return numbers(found)

    async def write() -> None:
        for number in range(0, total, 5):
            await bus.publish([happened(each) for each in range(number, number + 5)])
            await asyncio.sleep(chance.random() / 500)

    async with asyncio.timeout(60):
        *everything, _ = await asyncio.gather(*(read() for _ in range(12)), write())
    assert all(told == list(range(total)) for told in everything)


async def test_who_reads_too_slowly_is_told_so_and_can_go_on(bus: RedisBus) -> None:
    start = await bus.cursor()
    stream = bus.events(BOTH, start)
    coming = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await bus.publish([happened(0)])
    first = await coming
    quick = asyncio.create_task(heard(bus, first.cursor, WAITING_EVENTS + 9))
    await asyncio.sleep(0)
    await bus.publish([happened(number) for number in range(1, WAITING_EVENTS + 10)])
    assert numbers(await quick) == list(range(1, WAITING_EVENTS + 10))
    with pytest.raises(SlowConsumer):
        await asyncio.wait_for(anext(stream), 5)
    assert numbers(await heard(bus, first.cursor, WAITING_EVENTS + 9)) == list(range(1, WAITING_EVENTS + 10))


async def test_a_cursor_whose_followers_were_trimmed_has_expired(bus: RedisBus, redis: "Redis") -> None:
    start = await bus.cursor()
    await bus.publish([happened(number) for number in range(20)])
    found = await heard(bus, start, 20)
    await redis.xtrim(STREAM, maxlen=5, approximate=False)
    assert numbers(await heard(bus, found[14].cursor, 5)) == [15, 16, 17, 18, 19]
    with pytest.raises(CursorExpired):
        await heard(bus, found[13].cursor, 1)


@pytest.mark.parametrize("cursor", ["", "nonsense", "0-0", "9", "-", "99999999999999-0"])
async def test_a_cursor_that_was_never_given_has_expired(bus: RedisBus, cursor: str) -> None:
    await bus.publish([happened(1)])
    with pytest.raises(CursorExpired):
        await heard(bus, cursor, 1)


async def test_a_server_that_lost_everything_ends_old_cursors_and_open_streams(bus: RedisBus, redis: "Redis") -> None:
    start = await bus.cursor()
    await bus.publish([happened(1)])
    (before,) = await heard(bus, start, 1)
    listening = asyncio.create_task(heard(bus, before.cursor, 1))
    await asyncio.sleep(0.05)
    await redis.flushall()
    await bus.publish([happened(2)])
    with pytest.raises(CursorExpired):
        await listening
    with pytest.raises(CursorExpired):
        await heard(bus, before.cursor, 1)
    fresh = await bus.cursor()
    await bus.publish([happened(3)])
    assert numbers(await heard(bus, fresh, 1)) == [3]


async def test_a_cut_connection_is_made_again(bus: RedisBus, redis: "Redis") -> None:
    start = await bus.cursor()
    listening = asyncio.create_task(heard(bus, start, 30))
    for number in range(30):
        await bus.publish([happened(number)])
        if number % 10 == 5:
            await redis.client_kill_filter(_type="normal", skipme=True)
    assert numbers(await listening) == list(range(30))


async def test_a_hundred_subscribers_that_leave_while_they_arrive_leave_nothing_behind(bus: RedisBus) -> None:
    for patience in (0, 0.002, 0.01, 0.03):
        coming = [asyncio.create_task(heard(bus, "1-1", 1)) for _ in range(100)]
        await asyncio.sleep(patience)
        for each in coming:
            each.cancel()
        _, still = await asyncio.wait(coming, timeout=5)
        assert not still
    assert not bus._readers


async def test_the_bell_rings_once_per_wake_and_in_json(redis: "Redis", redis_url: str) -> None:
    bell, job = ArqBell(redis_url), uuid4()
    await bell.ring([(job, 0), (job, 0), (job, 1)])
    await bell.close()
    assert await redis.zcard("arq:queue") == 2
    assert f'"a": ["{job}"]' in (await redis.get(f"arq:job:{job}:1") or "")
    assert '"f": "run_job"' in (await redis.get(f"arq:job:{job}:0") or "")


async def test_a_bell_without_redis_is_silent_within_a_second() -> None:
    bell = ArqBell("redis://127.0.0.1:1/0")
    async with asyncio.timeout(2):
        await bell.ring([(uuid4(), 0)])
    await bell.close()
