"""What callers of the API may spend: a bucket of points for each, in Redis, shared by all processes, by its own clock.

A process takes a little more out of a bucket than it needs, so that most operations ask Redis nothing; what it has not
spent within a second is lost. While Redis is away each process gives every caller a part of the rate.
"""

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from integrations.pools import impatient
from models.ports import Left

PREFIX = "dueflow:purse"
TAKEN_AHEAD_SECONDS = 0.1  # how much of the rate a process takes beyond what it needs
GOOD_FOR_SECONDS = 1.0
ALONE = 0.25  # what a process gives of the rate while it cannot see the others
ASK_REDIS_AGAIN_SECONDS = 5.0
REMEMBERED_CALLERS = 10_000

# KEYS: a caller's bucket. ARGV: its size; points that come back in a second; needed; wished, at least as many.
# -> (what was taken: what is wished, at least what is needed, or nothing; what is left)
_TAKE = """
local at = redis.call('TIME')
local now = at[1] * 1000 + math.floor(at[2] / 1000)
local burst, per_second = tonumber(ARGV[1]), tonumber(ARGV[2])
local held = redis.call('HMGET', KEYS[1], 'left', 'at')
local passed = math.max(0, now - tonumber(held[2] or now))
local left = math.min(burst, tonumber(held[1] or burst) + passed * per_second / 1000)
local taken = 0
if left >= tonumber(ARGV[3]) then taken = math.floor(math.min(left, tonumber(ARGV[4]))) end
redis.call('HSET', KEYS[1], 'left', string.format('%.3f', left - taken), 'at', now)
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / per_second * 1000) + 1000)
return {taken, math.floor(left - taken)}
"""
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Held:
    """What this process has of one caller's points: its share while it sees the others, a bucket while it does not."""

    points: int = 0
    until: float = 0.0
    behind: int = 0  # what Redis had left when it was asked last
    alone: float = 0.0
    alone_at: float = 0.0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class RedisPurse:
    """The buckets of all callers; it belongs to the event loop it is used in."""

    def __init__(self, url: str, burst: int, per_second: int) -> None:
        """REDIS_URL, and the rate of each caller."""
        self.burst, self.per_second = burst, per_second
        self._redis: Any = Redis.from_pool(impatient(url))
        self._take = self._redis.register_script(_TAKE)
        self._known: OrderedDict[str, _Held] = OrderedDict()
        self._away_until = 0.0

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose(close_connection_pool=True)

    async def spend(self, caller: str, points: int) -> Left:
        """Pay from what this process holds, else from Redis, else from this process's part of the rate."""
        held = self._of(caller)
        if (left := self._at_hand(held, points)) is None:
            async with held.turn:  # one asks for all: of what many take ahead at the same time most would be lost
                left = self._at_hand(held, points) or await self._from_redis(caller, held, points)
        return left

    def _at_hand(self, held: _Held, points: int) -> Left | None:
        now = time.monotonic()
        if held.until <= now:
            held.points = 0
        if held.points >= points:
            held.points -= points
            return Left(held.points + held.behind)
        return self._alone(held, points, now) if now < self._away_until else None

    async def _from_redis(self, caller: str, held: _Held, points: int) -> Left:
        had, held.points = held.points, 0
        needed = points - had
        wished = needed + int(self.per_second * TAKEN_AHEAD_SECONDS)
        try:
            taken, left = await self._take(
                keys=[f"{PREFIX}:{caller}"], args=[self.burst, self.per_second, needed, wished]
            )
        except (RedisError, OSError) as away:
            _log.warning("redis is away, callers have a part of their rate", error=type(away).__name__)
            now = time.monotonic()
            self._away_until = now + ASK_REDIS_AGAIN_SECONDS
            return self._alone(held, points, now)
        held.behind = int(left)
        if not taken:
            held.points += had
            return Left(held.points + held.behind, max(0.001, (needed - int(left)) / self.per_second))
        held.points += int(taken) - needed
        held.until = time.monotonic() + GOOD_FOR_SECONDS
        return Left(held.points + held.behind)

    def _of(self, caller: str) -> _Held:
        held = self._known.get(caller)
        if held is None:
            held = self._known[caller] = _Held()
            if len(self._known) > REMEMBERED_CALLERS:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(caller)
        return held

    def _alone(self, held: _Held, points: int, now: float) -> Left:
        most, per_second = self.burst * ALONE, self.per_second * ALONE
        passed = now - held.alone_at if held.alone_at else most / per_second
        held.alone, held.alone_at = min(most, held.alone + passed * per_second), now
        if held.alone < (needed := min(points, most)):
            return Left(max(0, int(held.alone)), max(0.001, (needed - held.alone) / per_second))
        held.alone -= points  # below nothing, where one operation costs more than the whole part: it is paid off later
        return Left(max(0, int(held.alone)))
