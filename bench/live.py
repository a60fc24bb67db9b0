"""Live events: how soon a thousand subscribers have one, and what each of them holds, beside a bare fan-out."""

import asyncio
import base64
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import orjson
import uvloop
from redis.asyncio import Redis

from bench import data
from bench.fanout import CHANNEL
from bench.figures import Measured, Section, at_most, exponent, quantile, ratios, spread
from bench.reads import OURS
from bench.servers import House, Program
from integrations.bus import RedisBus
from models.ports import LiveEvent
from resolvers.reads.ids import encode

BARE = "a bare fan-out"
SUBSCRIBERS = 1_000
EVENTS = 8
TOGETHER = 50
PATIENCE_SECONDS = 60.0
DOCUMENT = (
    "subscription ($id: ID!) { membershipStatusChanged(membershipId: $id)"
    " { kind cursor occurredAt membership { id status version user { id firstName lastName } } } }"
)
_MEMBERSHIP = data.uuid_of(data.MEMBERSHIP, 1)


class _Listener(asyncio.Protocol):
    """One subscriber on a raw socket: it knows as much of WebSocket as a server that behaves sends."""

    def __init__(self, token: str) -> None:
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.told: asyncio.Future[float] = loop.create_future()
        self.bytes = 0
        self._token, self._heard, self._open = token, bytearray(), False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's, which is none of asyncio's
        key = base64.b64encode(os.urandom(16)).decode()
        self.transport.write(
            "GET /graphql HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
            f"sec-websocket-key: {key}\r\nsec-websocket-version: 13\r\n"
            "sec-websocket-protocol: graphql-transport-ws\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        """Take bytes, and each frame that is whole."""
        self._heard += data
        if not self._open:
            end = self._heard.find(b"\r\n\r\n")
            if end < 0:
                return
            self._open = True
            del self._heard[: end + 4]
            self._say({"type": "connection_init", "payload": {"authorization": f"Bearer {self._token}"}})
        while len(self._heard) >= 2:
            length, start = self._heard[1], 2
            if length == 126:
                length, start = int.from_bytes(self._heard[2:4], "big"), 4
            if len(self._heard) < start + length:
                return
            self._take(bytes(self._heard[start : start + length]))
            del self._heard[: start + length]

    def connection_lost(self, why: Exception | None) -> None:
        """Nobody may hang up before the end."""
        if not self.ready.done():
            self.ready.set_exception(why or ConnectionError("the server hung up"))

    def _take(self, text: bytes) -> None:
        if b'"connection_ack"' in text:
            payload = {"query": DOCUMENT, "variables": {"id": encode("Membership", _MEMBERSHIP)}}
            self._say({"type": "subscribe", "id": "1", "payload": payload})
        elif b'"next"' not in text or b'"errors"' in text:
            if not self.ready.done():
                self.ready.set_exception(RuntimeError(text.decode()))
        elif not self.ready.done():
            self.ready.set_result(None)  # the object as it is: from here on all that happens is told
        elif not self.told.done():
            self.told.set_result(time.time())
            self.bytes = len(text)

    def _say(self, message: dict[str, object]) -> None:
        text = orjson.dumps(message)
        size = bytes([len(text) | 0x80]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        self.transport.write(b"\x81" + size + b"\0\0\0\0" + text)  # masked with nothing, which is a mask


@dataclass(slots=True)
class Crowd:
    """The subscribers of one server, and how it is told of an event."""

    port: int
    token: str
    publish: Callable[[], Awaitable[None]]
    listeners: list[_Listener]

    async def grow(self, number: int) -> None:
        """Open sockets until there are so many, each past its first message."""
        loop = asyncio.get_running_loop()
        while len(self.listeners) < number:
            more = min(TOGETHER, number - len(self.listeners))
            made = [
                await loop.create_connection(lambda: _Listener(self.token), "127.0.0.1", self.port) for _ in range(more)
            ]
            self.listeners += [listener for _, listener in made]
            await asyncio.gather(*(listener.ready for _, listener in made))

    async def told(self) -> list[float]:
        """One event -> the milliseconds until each has it. Raises TimeoutError."""
        for listener in self.listeners:
            listener.told = asyncio.get_running_loop().create_future()
        sent = time.time()
        await self.publish()
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await asyncio.gather(*(listener.told for listener in self.listeners))
        return [1000 * (at - sent) for at in told]

    def leave(self) -> None:
        """Close all sockets."""
        for listener in self.listeners:
            listener.transport.close()


async def _ours(house: House, program: Program, token: str) -> tuple[Crowd, RedisBus]:
    bus = RedisBus(house.pair.redis_url)
    ids = {
        "membership_id": str(_MEMBERSHIP),
        "user_id": str(data.uuid_of(data.USER, 1)),
        "status": "ACTIVE",
    }

    async def publish() -> None:
        await bus.publish([LiveEvent(str(uuid4()), "membership", "MembershipStatusChanged", ids, datetime.now(UTC))])

    return Crowd(program.port, token, publish, []), bus


def _bare(house: House, program: Program, size: int) -> tuple[Crowd, Redis]:
    redis: Redis = Redis.from_url(house.pair.redis_url)
    text = '{"id":"1","type":"next","payload":"%s"}' % ("x" * max(0, size - 38))

    async def publish() -> None:
        await redis.publish(CHANNEL, text)

    return Crowd(program.port, "", publish, []), redis


def run(house: House) -> Section:
    """Deliveries beside the bare fan-out, memory of each subscriber, growth with their number."""
    section = Section("Live events", WORDS)
    database = house.seeded(1)
    environment = house.environment(database)
    with house.api(database) as ours, house.asgi("bench.fanout:app", environment) as bare:
        uvloop.run(_measured(house, section, ours, bare, house.token(database)))
    if section.missed:
        file = house.profiles / "live.txt"
        with house.api(database, profile=file) as profiled:
            uvloop.run(_profiled(house, profiled, house.token(database)))
        section.profiles.append(file)
    return section


async def _measured(house: House, section: Section, ours: Program, bare: Program, token: str) -> None:
    most = SUBSCRIBERS * house.scale // 100
    sizes = [most // 100 or 2, most // 10, most]
    mine, bus = await _ours(house, ours, token)
    before, costs = ours.kib, []
    for size in sizes:
        house.say(f"live events: {size} subscribers")
        await mine.grow(size)
        await mine.told()
        costs.append(spread([max(await mine.told()) for _ in range(3)]).median)
    held = (ours.kib - before) / most
    theirs, redis = _bare(house, bare, mine.listeners[0].bytes)
    bare_before = bare.kib
    await theirs.grow(most)
    await theirs.told()
    bare_held = (bare.kib - bare_before) / most
    house.say("live events: in turns")
    times: dict[str, list[list[float]]] = {OURS: [], BARE: []}
    for _ in range(EVENTS):
        times[BARE].append(await theirs.told())
        times[OURS].append(await mine.told())
    for crowd in (mine, theirs):
        crowd.leave()
    await bus.stop()
    await redis.aclose()
    for part, target in ((0.5, None), (0.99, at_most(2))):
        found = {name: [quantile(each, part) for each in told] for name, told in times.items()}
        words = f"time until {most} subscribers have an event, p{100 * part:.0f}"
        section.lines.append(Measured(words, BARE, ratios(found[OURS], found[BARE]), target))
    section.lines.append(Measured("memory of a subscriber", "", [held], at_most(30), " KiB"))
    section.lines.append(Measured(f"memory of a subscriber of {BARE}", "", [bare_held], None, " KiB"))
    words = "exponent of time by number of subscribers"
    section.lines.append(Measured(words, f"{sizes} subscribers", [exponent(sizes, costs)], at_most(1.1), ""))


async def _profiled(house: House, profiled: Program, token: str) -> None:
    mine, bus = await _ours(house, profiled, token)
    await mine.grow(SUBSCRIBERS * house.scale // 100)
    await mine.told()
    profiled.watch()
    for _ in range(3):
        with suppress(TimeoutError):
            await mine.told()
    mine.leave()
    await bus.stop()


WORDS = (
    "Subscribers of one membership over graphql-transport-ws who all show one key, one server process; an event is"
    " published to Redis, and timed until each socket has it; the next one comes when all have. The bare fan-out"
    " sends a text of the same length to every socket, on the same server program; it knows no rights, and reads"
    " nothing anew."
)
