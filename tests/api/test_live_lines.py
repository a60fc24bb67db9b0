"""Who asks the same by the same key stands in one line: told once for all, each in order, none held up by another."""

import asyncio
import random
import time
from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID, uuid4

import orjson
import pytest
import strawberry
from structlog.testing import capture_logs

from integrations.bus import RedisBus
from integrations.clock import SystemClock
from models.actions.vault import Vault
from models.ports import WAITING_EVENTS, LiveEvent
from models.rules.states import Role
from models.tables.connections import Connections
from resolvers.auth import Door
from resolvers.context import Context, Deployment, Info
from resolvers.limits import Limits
from resolvers.live import Topic, Watch
from resolvers.protocol.answers import Answer
from resolvers.protocol.asked import Asked
from resolvers.protocol.documents import Documents
from resolvers.protocol.eager import eager
from resolvers.protocol.streams import Stream, Streams
from resolvers.reads.run import Reader
from resolvers.viewer import Viewer

QUERY = "subscription ($after: String) { names(after: $after) }"
VIEWER = Viewer(Role.ADMIN, None, UUID(int=1), "one key")
SECRET = "the password is swordfish"


class Name(str):
    cursor = ""


class Names(Watch[Name]):
    """Tells the name of each event, and remembers that it was asked."""

    asked: list[str] = []  # noqa: RUF012  # of all of them

    async def told(self, event: LiveEvent) -> Name | None:
        Names.asked.append(event.name)
        if event.name == "Bad":
            raise RuntimeError(SECRET)
        name = Name(event.name)
        name.cursor = event.cursor
        return name


@strawberry.type
class Query:
    nothing: str | None = None


@strawberry.type
class Subscription:
    @strawberry.subscription
    def names(self, info: Info, after: str | None = None) -> AsyncIterable[str]:
        return Names(info.context, frozenset({Topic.JOB}), None, after, Name)


async def present() -> Viewer:
    return VIEWER


@dataclass
class Listener:
    """Notes what it is told, as long as it may."""

    told: list[str] = field(default_factory=list)
    free: asyncio.Event = field(default_factory=asyncio.Event)

    async def tell(self, answer: Answer) -> None:
        await self.free.wait()
        said = orjson.loads(answer.body)
        self.told.append(said["errors"][0]["extensions"]["code"] if answer.refused else said["data"]["names"])


class Live:
    """Subscriptions on a bus, without a server around them."""

    def __init__(self, bus: RedisBus, secret_key: str) -> None:
        core = strawberry.Schema(Query, subscription=Subscription)
        self.bus, self.streams, self.documents = bus, Streams(core._schema), Documents(core._schema)
        reader = Reader(core, Connections("", 0), b"", self.documents.admit)
        self.deployment = Deployment(reader, SystemClock(), bus, Vault(secret_key), limits=Limits(streams=50))

    def begin(self, after: str, *, free: bool = True) -> tuple[Listener, Stream]:
        listener = Listener()
        if free:
            listener.free.set()
        context = Context(VIEWER, self.deployment, uuid4().hex, present)
        asked = Asked(QUERY, {"after": after})
        return listener, self.streams.begin(self.documents.prepare(QUERY), asked, context, listener.tell)

    async def happen(self, *names: str) -> None:
        now = datetime.now(UTC)
        await self.bus.publish([LiveEvent(str(uuid4()), "job", name, {"job_id": ""}, now) for name in names])

    @property
    def idle(self) -> bool:
        return not (self.streams.lines or self.streams.callers or self.bus._readers)


@pytest.fixture
async def live(redis_url: str, secret_key: str) -> AsyncIterator[Live]:
    bus = RedisBus(redis_url)
    await bus.start()
    Names.asked.clear()
    yield Live(bus, secret_key)
    await bus.stop()


async def until(found: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline, "it never came to this"
        await asyncio.sleep(0.005)


def numbered(begin: int, end: int) -> list[str]:
    return [f"E{number}" for number in range(begin, end)]


async def test_a_line_is_told_once_and_who_is_held_up_holds_up_nobody(live: Live) -> None:
    start = await live.bus.cursor()
    begun = [live.begin(start) for _ in range(50)]
    await until(lambda: all(stream.task is None for _, stream in begun))
    assert (len(live.streams.lines), len(live.bus._readers)) == (1, 1)
    (held, _), *others = begun
    held.free.clear()
    await live.happen(*numbered(0, 10))
    await until(lambda: all(listener.told == numbered(0, 10) for listener, _ in others))
    assert Names.asked == numbered(0, 10)
    assert held.told == []
    held.free.set()
    await until(lambda: held.told == numbered(0, 10))
    assert Names.asked == numbered(0, 10) + numbered(1, 10), "what waited is judged and read when it is told"
    await live.happen("E10")
    await until(lambda: all(listener.told == numbered(0, 11) for listener, _ in begun))
    assert all(stream.task is None for _, stream in begun)
    one_more, _ = live.begin(start)
    await until(lambda: one_more.told == ["THROTTLED"])
    for _, stream in begun:
        stream.cancel()
        stream.cancel()
    assert live.idle


async def test_who_lets_too_much_wait_is_let_go_alone(live: Live) -> None:
    start = await live.bus.cursor()
    (held, gone), (other, stays) = live.begin(start, free=False), live.begin(start)
    for number in range(0, WAITING_EVENTS + 2, 43):
        await live.happen(*numbered(number, number + 43))
        await until(lambda end=number + 43: other.told == numbered(0, end))  # type: ignore[misc]
    held.free.set()
    await until(lambda: held.told == ["E0", "SLOW_CONSUMER"])
    gone.cancel()
    stays.cancel()
    assert live.idle


async def test_who_comes_and_pauses_at_any_time_misses_and_doubles_nothing(live: Live) -> None:
    chance, total = random.Random(11), 240
    start = await live.bus.cursor()
    begun: list[tuple[Listener, Stream]] = []
    for number in range(0, total, 4):
        await live.happen(*numbered(number, number + 4))
        if len(begun) < 40:
            begun.append(live.begin(start))
        for listener, _ in chance.sample(begun, len(begun) // 4):
            (listener.free.clear if listener.free.is_set() else listener.free.set)()
        await asyncio.sleep(chance.random() / 200)
    for listener, _ in begun:
        listener.free.set()
    await until(lambda: all(len(listener.told) >= total for listener, _ in begun))
    assert all(listener.told == numbered(0, total) for listener, _ in begun)
    await until(lambda: all(stream.task is None for _, stream in begun))
    assert len(live.streams.lines) == 1
    for _, stream in begun:
        stream.cancel()
    assert live.idle


async def test_what_breaks_ends_all_who_stand_there(live: Live) -> None:
    start = await live.bus.cursor()
    begun = [live.begin(start) for _ in range(3)]
    await until(lambda: all(stream.task is None for _, stream in begun))
    with capture_logs() as logged:
        await live.happen("E0", "Bad", "E1")
        await until(lambda: all(listener.told == ["E0", "INTERNAL_SERVER_ERROR"] for listener, _ in begun))
    assert live.idle
    assert len({fault["request_id"] for fault in logged if SECRET in str(fault["exc_info"])}) == 3


async def test_a_bearer_is_held_for_all_who_show_it() -> None:
    class Unsure(Door):
        calls = 0

        async def viewer(self, authorization: str | None) -> Viewer | None:
            self.calls += 1
            if authorization == "away":
                raise ConnectionError
            return None if authorization == "ended" else VIEWER

    door, told = Unsure(SystemClock(), seconds=3_600), list[tuple[int, bool]]()
    ends = [lambda *, sure, number=number: told.append((number, sure)) for number in range(6)]
    for bearer, end in zip(("live", "ended", "ended", "ended", "away", "away"), ends, strict=True):
        door.hold(bearer, end)
    door.release("ended", ends[3])
    await asyncio.sleep(0)
    door.forget()
    await until(lambda: len(told) == 4)
    assert sorted(told) == [(1, True), (2, True), (4, False), (5, False)]
    assert door.calls == 3
    door.release("live", ends[0])


async def test_eager_work_has_a_task_only_where_it_waits() -> None:
    came, noted = asyncio.Event(), list[str]()

    async def work(name: str) -> None:
        try:
            await came.wait()
            await asyncio.sleep(0)
            noted.append(name)
        except asyncio.CancelledError:
            noted.append(f"not {name}")
            raise

    waiting, stopped = eager(work("first")), eager(work("second"))
    assert waiting is not None
    assert stopped is not None
    await asyncio.sleep(0)
    stopped.cancel()
    came.set()
    await waiting
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert sorted(noted) == ["first", "not second"]

    async def at_once() -> None:
        noted.append("at once")

    assert eager(at_once()) is None
    assert noted[-1] == "at once"
