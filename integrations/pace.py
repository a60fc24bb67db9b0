"""How often an account of a provider is asked, by all workers together, and when it is left alone.

One gate stands before every call. In Redis, by its own clock, it keeps for each account:

    a rate       so many calls in so many seconds; who comes too early waits a little, or is RateLimited
    a number     so many calls at once, where the provider counts them
    a pause      until the instant a 429 named: nobody asks before
    a breaker    after ten calls in a row that had no answer nobody asks for a while, twice as long each time;
                 then one call is let through, and if it is answered everybody is

While Redis is away each process has a part of the rate to itself, and the breaker is closed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import structlog
from redis.exceptions import RedisError

from integrations.together import Together
from models.ports import OutcomeUnknown, RateLimited, Unavailable

WAIT_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0
WORTH_TELLING_SECONDS = 0.1
ALONE = 0.25  # what a process takes of the rate while it cannot see the others
BREAKER_OPEN = "BREAKER_OPEN"
# the provider answers well: it does not let us in, or somebody else is at the same thing at this moment
ANSWERED_WELL = ("CREDENTIALS", "IN_USE")
T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What an account allows: (calls, seconds) pairs that hold together, and calls at once; 0 for any number."""

    rates: tuple[tuple[int, int], ...] = ()
    at_once: int = 0


class Free:
    """No gate: calls go straight through."""

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make the call -> its answer."""
        return await call()


class Bucket:
    """One process's own part of a rate: full to begin with, filled again evenly."""

    def __init__(self, calls: float, seconds: float) -> None:
        """So many calls in so many seconds."""
        self._most, self._each = max(calls, 1.0), seconds / calls
        self._left, self._at = self._most, time.monotonic()

    def wait(self) -> float:
        """Take a turn -> 0, or the seconds until there is one."""
        now = time.monotonic()
        self._left, self._at = min(self._most, self._left + (now - self._at) / self._each), now
        if self._left < 1:
            return (1 - self._left) * self._each
        self._left -= 1
        return 0.0


class Pace(Free):
    """The gate of one account."""

    def __init__(self, account: str, allowance: Allowance, together: Together | None = None) -> None:
        """Its name, without secrets; what it allows; what all workers know, None for a process that is alone."""
        self._account, self._allowance, self._together = account, allowance, together
        part = ALONE if together else 1.0
        self._places = asyncio.Semaphore(max(1, int(allowance.at_once * part))) if allowance.at_once else None
        self._buckets = [Bucket(calls * part, seconds) for calls, seconds in allowance.rates]

    async def __call__(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for a turn, make the call, remember how it went -> its answer.

        Raises Unavailable (code BREAKER_OPEN, with `retry_after`), RateLimited, and whatever the call raises.
        """
        name, began = uuid4().hex, time.monotonic()
        if not await self._let_in(name, began):
            async with self._places or nullcontext():
                await self._wait_alone(began)
                return await call()
        how, pause = "gone", 0.0
        try:
            await self._in_turn(began)
            how, pause, answer = await _made(call)
        finally:
            await asyncio.shield(self._left(name, how, pause))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def _let_in(self, name: str, began: float) -> bool:
        """Pass breaker, pause and number of calls; False where Redis cannot say."""
        while True:
            found = await self._ask(lambda known: known.enter(self._account, name, self._allowance.at_once))
            if found is None:
                return False
            word, seconds = found
            if word == "go":
                return True
            if word == "open":
                await self._turned_away()
                left_alone = f"{self._account} does not answer and is left alone for {seconds:.0f} seconds."
                raise Unavailable(left_alone, code=BREAKER_OPEN, retry_after=seconds)
            await self._sleep(seconds, began)

    async def _in_turn(self, began: float) -> None:
        # the longest span first: what is used up for today must not use up this second as well
        for calls, seconds in sorted(self._allowance.rates, key=lambda rate: -rate[1]):
            question = partial(Together.within, account=self._account, calls=calls, seconds=seconds)
            while not (within := await self._ask(question)):
                if within is None:
                    await self._wait_alone(began)
                    return
                await self._sleep(max(0.02, seconds / calls), began)
        if (waited := time.monotonic() - began) > WORTH_TELLING_SECONDS:
            await self._ask(lambda known: known.count(self._account, "waited", round(waited, 3)))

    async def _wait_alone(self, began: float) -> None:
        for bucket in self._buckets:
            while wait := bucket.wait():
                await self._sleep(wait, began)

    async def _sleep(self, seconds: float, began: float) -> None:
        if time.monotonic() + seconds > began + WAIT_SECONDS:
            await self._turned_away()
            later = min(max(seconds, 1.0), LONGEST_PAUSE_SECONDS)
            raise RateLimited(f"{self._account} has been asked as often as it allows.", retry_after=later)
        await asyncio.sleep(seconds)

    async def _turned_away(self) -> None:
        await self._ask(lambda known: known.count(self._account, "turned_away"))

    async def _left(self, name: str, how: str, pause: float) -> None:
        seconds = await self._ask(lambda known: known.leave(self._account, name, how, pause))
        if seconds:
            _log.error("provider left alone", account=self._account, seconds=seconds)

    async def _ask(self, question: Callable[[Together], Awaitable[Any]]) -> Any:
        """What all workers know; None where there are no others, or Redis is away."""
        if self._together is None or self._together.away:
            return None
        try:
            return await question(self._together)
        except (RedisError, OSError, TimeoutError) as away:
            self._together.failed(away)
            return None


async def _made(call: Callable[[], Awaitable[T]]) -> tuple[str, float, T | Exception]:
    """Make a call -> (how it ended, seconds to pause, its answer or what it raised)."""
    try:
        return "answered", 0.0, await call()
    except RateLimited as limited:
        return "limited", limited.retry_after, limited
    except (Unavailable, OutcomeUnknown) as lost:
        return ("answered" if lost.code in ANSWERED_WELL else "failed"), 0.0, lost
    except Exception as said:  # also in the words of a vendor's library: a declined card, a key used before
        return "answered", 0.0, said
