"""Live events through one Redis stream.

Each entry names the entry before it, so a reader that finds the chain broken (entries were trimmed, or Redis lost its
data) knows that it has missed something, and says so instead of going on.
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import structlog
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError, RedisError, TimeoutError  # noqa: A004  # Redis's own, not the built-in ones

from models.ports import WAITING_EVENTS, CursorExpired, LiveEvent, SlowConsumer, place

STREAM = "dueflow:live"
KEPT_EVENTS = 100_000
KNOWN_SECONDS = 86_400
PAGE = 500
HANDED_OVER_AT_ONCE = 64
BREATH_SECONDS = 0.02
BLOCK_MILLISECONDS = 5_000
LONGEST_PAUSE_SECONDS = 2.0
_CURSOR = re.compile(r"\d{1,15}-\d{1,15}", re.ASCII)
T = TypeVar("T")
log = structlog.get_logger("dueflow.bus")

# KEYS: stream. ARGV: events kept, seconds an id is known, then an id and a body per event. An id known already is
# passed over; an empty id is a mark, so that a stream has an entry to name before anything happened.
_APPEND = """
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local before = last[1] and last[1][1] or ''
for i = 3, #ARGV, 2 do
  local fresh = true
  if ARGV[i] ~= '' then
    fresh = redis.call('SET', KEYS[1] .. ':known:' .. ARGV[i], '1', 'NX', 'EX', ARGV[2])
  elseif before ~= '' then
    fresh = false
  end
  if fresh then
    before = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'before', before, 'event', ARGV[i + 1])
  end
end
return before
"""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of the stream: its id, the id before it, and the event unless it is a mark."""

    cursor: str
    before: str
    event: LiveEvent | None


@dataclass(eq=False, slots=True)
class _Reader:
    """One listener's bounded queue, or why it was let go."""

    topics: frozenset[str]
    stir: Callable[[], None]
    among: "set[_Reader]"
    waiting: deque[LiveEvent] = field(default_factory=deque)
    over: Exception | None = None

    def give(self, event: LiveEvent) -> None:
        if self.over is not None or event.topic not in self.topics:
            return
        if len(self.waiting) >= WAITING_EVENTS:
            self.let_go(SlowConsumer())
        else:
            self.waiting.append(event)
            self.stir()

    def let_go(self, why: Exception) -> None:
        self.over = self.over or why
        self.waiting.clear()
        self.stir()

    def next(self) -> LiveEvent | None:
        if self.over is not None:
            raise self.over
        return self.waiting.popleft() if self.waiting else None

    def leave(self) -> None:
        self.among.discard(self)


class RedisBus:
    """LiveBus: one stream, one reading loop per process, a bounded queue per subscriber."""

    def __init__(self, url: str) -> None:
        """REDIS_URL. Only a process with subscribers needs `start`."""
        pool: ConnectionPool = ConnectionPool.from_url(
            url,
            decode_responses=True,
            socket_timeout=BLOCK_MILLISECONDS / 1000 + 3,
            socket_connect_timeout=2,
            health_check_interval=10,
            retry=Retry(ExponentialBackoff(cap=1, base=0.05), 3),
            retry_on_error=[ConnectionError, TimeoutError, OSError],
        )
        self._redis: Redis = Redis(connection_pool=pool)
        self._append = self._redis.register_script(_APPEND)
        self._readers: set[_Reader] = set()
        self._last: str | None = None
        self._loop: asyncio.Task[None] | None = None
        self._calls: set[asyncio.Future[Any]] = set()

    async def start(self) -> None:
        """Begin to read; returns at once also where Redis is away."""
        self._loop = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Read no more, and give the connections back."""
        while self._loop is not None and not self._loop.done():
            self._loop.cancel()
            await asyncio.wait((self._loop,), timeout=0.2)
        await asyncio.gather(*self._calls, return_exceptions=True)
        await self._redis.aclose(close_connection_pool=True)

    async def ping(self) -> None:
        """Raises RedisError where Redis does not answer."""
        await self._redis.ping()

    async def publish(self, events: Sequence[LiveEvent]) -> None:
        """Append events; one whose id was appended before is passed over. Raises RedisError."""
        if events:
            await self._append_all([part for event in events for part in (event.id, _packed(event))])

    async def cursor(self) -> str:
        """The newest entry this process has read, or else the newest there is: the place to resume from.

        A stream without entries gets a mark. Raises RedisError.
        """
        return self._last or await self._newest()

    async def events(self, topics: frozenset[str], after: str | None) -> AsyncGenerator[LiveEvent, None]:
        """Events of `topics` from now on, or after a cursor. Raises CursorExpired, SlowConsumer, RedisError."""
        seen = (0, 0)
        if after is not None:
            async with aclosing(self.missed(after)) as missed:
                async for event in missed:
                    seen = place(event.cursor)
                    if event.topic in topics:
                        yield event
        came = asyncio.Event()
        reader = self.listen(topics, came.set)
        try:
            while True:
                came.clear()
                while (heard := reader.next()) is not None:
                    if place(heard.cursor) > seen:
                        yield heard
                await came.wait()
        finally:
            reader.leave()

    async def missed(self, after: str) -> AsyncGenerator[LiveEvent, None]:
        """Events after a cursor; ends where who listens at once misses none, and may hear some again.

        Raises CursorExpired, RedisError.
        """
        seen = after
        while seen != self._last:
            page = await self._after(seen)
            for entry in page:
                seen = entry.cursor
                if entry.event is not None:
                    yield entry.event
            if self._last is None and len(page) < PAGE:
                self._last = seen  # nobody has read yet: from here on it is
            if self._last is not None and place(seen) >= place(self._last):
                return

    def listen(self, topics: frozenset[str], stir: Callable[[], None]) -> _Reader:
        """Listen from now on; `stir` is called each time something came."""
        reader = _Reader(topics, stir, self._readers)
        self._readers.add(reader)
        return reader

    async def _after(self, seen: str) -> list[_Entry]:
        if not _CURSOR.fullmatch(seen):
            raise CursorExpired
        while True:
            raw = await self._whole(self._redis.xrange(STREAM, min=f"({seen}", count=PAGE))
            page = [_unpacked(cursor, fields) for cursor, fields in raw]
            for before, entry in zip([seen, *(entry.cursor for entry in page)], page, strict=False):
                if entry.before != before:
                    raise CursorExpired
            newest = page[-1].cursor if page else await self._newest()
            if page or newest == seen:
                return page
            if place(newest) < place(seen):
                raise CursorExpired

    async def _read(self) -> None:
        pause = ExponentialBackoff(cap=LONGEST_PAUSE_SECONDS, base=0.05)
        failures = 0
        while True:
            try:
                await self._read_once()
                failures = 0
            except (RedisError, OSError) as away:
                failures += 1
                log.warning("redis is away", error=type(away).__name__, failures=failures)
                await asyncio.sleep(pause.compute(min(failures, 10)))

    async def _read_once(self) -> None:
        if self._last is None:
            newest = await self._newest()
            self._last = self._last or newest
        answer = await self._redis.xread({STREAM: self._last}, count=HANDED_OVER_AT_ONCE, block=BLOCK_MILLISECONDS)
        if not answer:
            if place(await self._newest()) < place(self._last):
                self._begin_anew()
            return
        for cursor, fields in answer[0][1]:
            entry = _unpacked(cursor, fields)
            if entry.before != self._last:
                self._begin_anew()
            self._last = entry.cursor
            if entry.event is not None:
                for reader in tuple(self._readers):
                    reader.give(entry.event)
        if any(len(reader.waiting) > WAITING_EVENTS // 2 for reader in self._readers):
            # a burst is no reason to let a reader go: it gets a moment, the others lose no more than that
            await asyncio.sleep(BREATH_SECONDS)

    def _begin_anew(self) -> None:
        self._last = None
        for reader in self._readers:
            reader.let_go(CursorExpired())

    async def _newest(self) -> str:
        return await self._append_all(["", ""])

    async def _append_all(self, parts: list[str]) -> str:
        newest: str = await self._whole(self._append(keys=[STREAM], args=[KEPT_EVENTS, KNOWN_SECONDS, *parts]))
        return newest

    async def _whole(self, call: Awaitable[T]) -> T:
        # redis-py loses a cancellation that comes while it connects: the call runs to its end, only the waiting stops
        running = asyncio.ensure_future(call)
        self._calls.add(running)
        running.add_done_callback(self._calls.discard)
        return await asyncio.shield(running)


def _packed(event: LiveEvent) -> str:
    return json.dumps(
        {
            "id": event.id,
            "topic": event.topic,
            "name": event.name,
            "ids": dict(event.ids),
            "occurred_at": event.occurred_at.isoformat(),
        }
    )


def _unpacked(cursor: str, fields: dict[str, str]) -> _Entry:
    if not fields["event"]:
        return _Entry(cursor, fields["before"], None)
    told = json.loads(fields["event"])
    occurred = datetime.fromisoformat(told["occurred_at"])
    event = LiveEvent(told["id"], told["topic"], told["name"], told["ids"], occurred, cursor)
    return _Entry(cursor, fields["before"], event)
