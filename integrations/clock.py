"""The time: real, or the sandbox's, which runs ahead; and how the sandbox's own clock is moved."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from integrations.http import Effect, Http, content, refusal
from models.ports import Refused
from models.rules.states import Provider

POLL_SECONDS = 0.5
MOVE_SECONDS = 120.0  # everything that falls due on the way happens before the sandbox answers

_log = structlog.get_logger(__name__)


class SystemClock:
    """The real time."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        return datetime.now(UTC)


class SandboxClock:
    """The sandbox's time: real time and the seconds it runs ahead, read again twice a second by `run`."""

    def __init__(self, read_offset: Callable[[], Awaitable[int]]) -> None:
        """`read_offset`: () -> whole seconds ahead of the real time."""
        self._read_offset = read_offset
        self._ahead = timedelta()

    def now(self) -> datetime:
        """The present instant, aware, in UTC; never behind what it was after the last `refresh`."""
        return datetime.now(UTC) + self._ahead

    async def refresh(self) -> None:
        """Read how far the clock runs ahead; raises what `read_offset` raises."""
        self._ahead = timedelta(seconds=await self._read_offset())

    async def run(self) -> None:
        """Keep up with the sandbox until cancelled. While the offset cannot be read the last one holds."""
        while True:
            try:
                await self.refresh()
            except Exception:
                # The database may be away for a moment; a clock that stops for it would stop everything else too.
                _log.exception("sandbox clock not read")
            await asyncio.sleep(POLL_SECONDS)


class SandboxAdmin:
    """SandboxControl: the admin port of the provider sandbox."""

    def __init__(self, base_url: str) -> None:
        """`base_url`: the admin address, http on a loopback port."""
        self._http = Http("sandbox", base_url, answer_seconds=MOVE_SECONDS)

    async def move_clock(self, now: datetime) -> None:
        """Set the sandbox's time, firing what falls due; nothing happens where it is that late already.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        if await self._stands_at() >= now:
            return
        answer = await self._http.write("POST", "/clock", json={"now": now.isoformat()})
        if not answer.is_success and await self._stands_at() < now:
            raise refusal("sandbox", answer)

    async def act(self, provider: Provider, action: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Run one of a provider's scenario actions -> what it tells. Raises Refused, Unavailable, OutcomeUnknown."""
        answer = await self._http.write("POST", f"/do/{provider.value.lower()}/{action}", json=dict(given))
        if not answer.is_success:
            raise refusal("sandbox", answer)
        return content(answer, Effect.WRITE)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def _stands_at(self) -> datetime:
        answer = await self._http.read("GET", "/clock")
        if not answer.is_success:
            raise refusal("sandbox", answer)
        try:
            return datetime.fromisoformat(content(answer, Effect.READ)["now"])
        except KeyError as error:
            raise Refused("The sandbox did not tell its time.", code="SANDBOX_CLOCK") from error
