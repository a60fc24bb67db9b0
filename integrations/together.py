"""What all workers know of the accounts at providers, in Redis and by its clock: rates, pauses, breakers.

A state holds `failures` in a row, `open_until` and how often it `opened` since an answer, `probe_until` while one call
is let through, `paused_until`; and for who watches `openings`, `turned_away`, `waited` (seconds).
"""

import time
from typing import Any

import structlog
from limits import RateLimitItemPerSecond
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import ConnectionPool, Redis

from integrations.pools import impatient

FAILURES = 10
OPEN_SECONDS, LONGEST_OPEN_SECONDS = 5.0, 60.0
PROBE_SECONDS = 60.0
CALL_SECONDS = 90.0  # a call that has not ended by then died with its worker
ASK_REDIS_AGAIN_SECONDS = 5.0
KEPT_SECONDS = 7 * 86_400
PREFIX = "dueflow:pace"

# KEYS: state of the account, its calls under way, all accounts. ARGV: name, id of this call, how many at once, how long
# a call and a probe last (ms). -> what keeps it out, and for how many milliseconds
_ENTER = """
local at = redis.call('TIME')
local now = at[1] * 1000 + math.floor(at[2] / 1000)
local function of(field) return tonumber(redis.call('HGET', KEYS[1], field) or '0') end
redis.call('SADD', KEYS[3], ARGV[1])
if of('paused_until') > now then return {'paused', of('paused_until') - now} end
if of('open_until') > now then return {'open', of('open_until') - now} end
local most = tonumber(ARGV[3])
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= most then return {'full', 50} end
end
if of('open_until') > 0 then
  if of('probe_until') > now then return {'open', of('probe_until') - now} end
  redis.call('HSET', KEYS[1], 'probe_until', now + ARGV[5])
end
if most > 0 then
  redis.call('ZADD', KEYS[2], now + ARGV[4], ARGV[2])
  redis.call('PEXPIRE', KEYS[2], ARGV[4])
end
return {'go', 0}
"""

# KEYS: as above. ARGV: id of this call; answered, failed, limited or gone; failures that open; how long it opens at
# first, at most, and how long the provider wants to be left alone (ms); seconds the state is kept -> ms it opened for
_LEAVE = """
local at = redis.call('TIME')
local now = at[1] * 1000 + math.floor(at[2] / 1000)
local function of(field) return tonumber(redis.call('HGET', KEYS[1], field) or '0') end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[7])
if ARGV[2] == 'answered' then
  redis.call('HDEL', KEYS[1], 'failures', 'open_until', 'probe_until', 'opened')
elseif ARGV[2] == 'limited' then
  redis.call('HSET', KEYS[1], 'paused_until', math.max(of('paused_until'), now + math.floor(tonumber(ARGV[6]))))
elseif ARGV[2] == 'failed' then
  local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
  if failures >= tonumber(ARGV[3]) and of('open_until') <= now then
    local opened = redis.call('HINCRBY', KEYS[1], 'opened', 1)
    local span = math.min(tonumber(ARGV[4]) * 2 ^ (math.min(opened, 20) - 1), tonumber(ARGV[5]))
    redis.call('HSET', KEYS[1], 'open_until', now + math.floor(span))
    redis.call('HDEL', KEYS[1], 'probe_until')
    redis.call('HINCRBY', KEYS[1], 'openings', 1)
    return math.floor(span)
  end
end
return 0
"""

_log = structlog.get_logger(__name__)


class Together:
    """What the workers know together, in Redis; it belongs to the event loop it is used in."""

    def __init__(self, url: str) -> None:
        """REDIS_URL."""
        self._pool: ConnectionPool = impatient(url)
        self._redis: Any = Redis(connection_pool=self._pool)  # its types say each call may be synchronous
        pool: Any = self._pool  # the library's options say less than they take
        storage = RedisStorage("redis://", implementation="redispy", key_prefix=PREFIX, connection_pool=pool)
        self._rates = SlidingWindowCounterRateLimiter(storage)
        self._enter, self._leave = (self._redis.register_script(script) for script in (_ENTER, _LEAVE))
        self._away_until = 0.0

    @property
    def away(self) -> bool:
        """Whether Redis failed a moment ago, so that it is not asked."""
        return time.monotonic() < self._away_until

    def failed(self, error: Exception) -> None:
        """Redis did not answer: leave it alone for a moment."""
        _log.warning("redis is away, providers are asked at a part of their rate", error=type(error).__name__)
        self._away_until = time.monotonic() + ASK_REDIS_AGAIN_SECONDS

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()
        await self._pool.disconnect()

    async def enter(self, account: str, call: str, at_once: int) -> tuple[str, float]:
        """Ask for a turn -> (go, paused, open or full; seconds until that may have changed). Raises RedisError."""
        arguments = (account, call, at_once, int(CALL_SECONDS * 1000), int(PROBE_SECONDS * 1000))
        word, milliseconds = await self._enter(keys=_keys(account), args=arguments)
        return str(word), int(milliseconds) / 1000

    async def leave(self, account: str, call: str, how: str, pause: float) -> float:
        """A turn has ended -> for how many seconds the breaker opened over it. Raises RedisError."""
        spans = (int(OPEN_SECONDS * 1000), int(LONGEST_OPEN_SECONDS * 1000), int(pause * 1000))
        return int(await self._leave(keys=_keys(account), args=(call, how, FAILURES, *spans, KEPT_SECONDS))) / 1000

    async def within(self, account: str, calls: int, seconds: int) -> bool:
        """Whether one more call is within a rate; it counts from then on. Raises RedisError."""
        return await self._rates.hit(RateLimitItemPerSecond(calls, seconds), account)

    async def count(self, account: str, field: str, by: float = 1) -> None:
        """Add to a number of `told`. Raises RedisError."""
        await self._redis.hincrbyfloat(_keys(account)[0], field, by)

    async def told(self) -> str:
        """How every account stands, for Prometheus. Raises RedisError."""
        seconds, micros = await self._redis.time()
        now, lines = seconds * 1000 + micros // 1000, []
        for account in sorted(await self._redis.smembers(_keys("")[2])):
            state: dict[str, str] = await self._redis.hgetall(_keys(account)[0])
            open_until, paused = float(state.get("open_until", 0)), float(state.get("paused_until", 0)) > now
            told = {
                "breaker_open": int(open_until > 0),
                "paused": int(paused),
                "breaker_openings_total": int(state.get("openings", 0)),
                "turned_away_total": int(float(state.get("turned_away", 0))),
                "waited_seconds_total": round(float(state.get("waited", 0)), 3),
            }
            lines += [f'dueflow_provider_{name}{{account="{account}"}} {value}\n' for name, value in told.items()]
        return "".join(lines)


def _keys(account: str) -> list[str]:
    return [f"{PREFIX}:state:{account}", f"{PREFIX}:calls:{account}", f"{PREFIX}:accounts"]
