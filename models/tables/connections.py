"""A few connections to PostgreSQL, each with its statements prepared and used by one asker at a time.

The library's pool makes a task at every release, which costs as much as a small read; here a connection is a value
that is taken from a list and put back.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import asyncpg

SECONDS_TO_CONNECT = 10.0
SECONDS_TO_END = 5.0


class Connections:
    """At most `most` connections, opened as they are needed; they belong to the event loop they are used in."""

    def __init__(self, database_url: str | None, most: int, **options: Any) -> None:
        """(postgres://... where the options do not say it, how many, what `asyncpg.connect` takes beside)."""
        self._address, self._most, self._options = database_url, most, options
        self._all: set[asyncpg.Connection] = set()
        self._idle: list[asyncpg.Connection] = []
        self._waiting: deque[asyncio.Future[asyncpg.Connection | None]] = deque()
        self._opening = 0
        self._ending: set[asyncio.Task[None]] = set()

    async def open(self, number: int) -> None:
        """Open the first so many. Raises what the database says."""
        for connection in [await self._opened() for _ in range(number)]:
            self.give(connection)

    async def close(self) -> None:
        """Let all go; what still runs on one is cancelled."""
        await asyncio.gather(*self._ending)
        await asyncio.gather(*(self._ended(each) for each in tuple(self._all) if not each.is_closed()))

    async def fetchval(self, sql: str, *values: Any, seconds: float | None = None) -> Any:
        """The only value of a statement's only row. Raises TimeoutError after so many seconds, what it did undone."""
        return await self._ask("fetchval", sql, values, seconds)

    async def fetch(self, sql: str, *values: Any, seconds: float | None = None) -> Sequence[asyncpg.Record]:
        """A statement's rows. Raises as `fetchval`."""
        found: Sequence[asyncpg.Record] = await self._ask("fetch", sql, values, seconds)
        return found

    async def take(self, seconds: float | None = None) -> asyncpg.Connection:
        """A connection that is the caller's until it is given or ended. Raises TimeoutError after so many seconds."""
        connection = self._idle.pop() if self._idle else None
        while connection is None or connection.is_closed():
            connection = await self._next(seconds)
        return connection

    def give(self, connection: asyncpg.Connection | None) -> None:
        """Put a connection back, to be taken as it is."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(connection)
                return
        if connection is not None:
            self._idle.append(connection)

    def end(self, connection: asyncpg.Connection) -> asyncio.Task[None]:
        """Give up a connection whose state nobody knows; what it still does is cancelled. Nobody need wait for that."""
        ending = asyncio.create_task(self._ended(connection))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)
        return ending

    async def _ask(self, how: str, sql: str, values: Sequence[Any], seconds: float | None) -> Any:
        connection = await self.take(seconds)
        try:
            found = await getattr(connection, how)(sql, *values, timeout=seconds)
        except (asyncio.CancelledError, TimeoutError):
            self.end(connection)
            raise
        except BaseException:
            self.give(connection)
            raise
        self.give(connection)
        return found

    async def _next(self, seconds: float | None) -> asyncpg.Connection | None:
        """A new connection where there may be one more, else the first that comes back; None where that one ended."""
        self._all = {each for each in self._all if not each.is_closed()}
        if self._idle:
            return self._idle.pop()
        if len(self._all) + self._opening < self._most:
            return await self._opened(seconds)
        waiting: asyncio.Future[asyncpg.Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(seconds):
                return await waiting
        except (asyncio.CancelledError, TimeoutError):
            if waiting.done() and not waiting.cancelled():
                self.give(waiting.result())
            raise

    async def _opened(self, seconds: float | None = None) -> asyncpg.Connection:
        self._opening += 1
        try:
            connection = await asyncpg.connect(self._address, timeout=seconds or SECONDS_TO_CONNECT, **self._options)
        except BaseException:
            self.give(None)  # who waits may have more luck, or is told as well
            raise
        finally:
            self._opening -= 1
        self._all.add(connection)
        return connection

    async def _ended(self, connection: asyncpg.Connection) -> None:
        try:
            await connection.close(timeout=SECONDS_TO_END)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            connection.terminate()
        self.give(None)
