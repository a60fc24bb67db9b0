"""What the five sandbox servers share: a store that survives a kill, one clock, ids, webhooks, faults, a call log.

Everything runs in one event loop; store calls are synchronous and short, so a handler without `await` between two of
them cannot be interleaved with another request.
"""

import asyncio
import json
import secrets
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from local.sandbox.faults import Faults, guarded
from local.sandbox.webhooks import Webhooks

__all__ = ["Json", "ScenarioError", "World", "guarded"]

Json = dict[str, Any]
OnClock = Callable[[datetime], Awaitable[list[str]]]

ROUNDS_UNTIL_QUIET = 1000

SCHEMA = """
create table if not exists object (
    seq integer primary key autoincrement, kind text not null, id text not null, body text not null, unique (kind, id));
create table if not exists setting (name text primary key, value text not null);
create table if not exists delivery (
    seq integer primary key autoincrement, provider text not null, url text not null, body blob not null,
    headers text not null, type text not null, status text not null, code integer, attempts integer not null default 0,
    due real not null, queued_at text not null);
create index if not exists delivery_pending on delivery (status, provider, seq);
"""


class ScenarioError(Exception):
    """A scenario action cannot be done in the present state; the admin port answers 409 with the sentence."""


class World:
    """State folder -> store, clock, ids, webhooks, faults and hooks of one running sandbox."""

    def __init__(self, state: Path) -> None:
        state.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(state / "sandbox.sqlite3", isolation_level=None)
        # A killed process loses nothing with synchronous=off; only a power cut could, and no real money is here.
        self._db.executescript("pragma journal_mode=wal; pragma synchronous=off;" + SCHEMA)
        self._units = 0
        self.writes = 0
        self._planned: dict[str, asyncio.TimerHandle] = {}
        self._clock_lock = asyncio.Lock()
        self._offset = timedelta(seconds=float(self._setting("offset", "0")))
        self._salt = self._setting("salt", secrets.token_hex(2))
        self.on_clock: list[OnClock] = []
        self.on_reset: list[Callable[[], None]] = []
        self.faults = Faults()
        self.webhooks = Webhooks(self._db)

    # -- the store ---------------------------------------------------------------------------------------------------

    def put(self, kind: str, id: str, obj: Json) -> None:  # noqa: A002 - the word every caller uses for it
        """Store `obj` under (kind, id), replacing what was there and keeping its place in the order."""
        self.writes += 1
        self._db.execute(
            "insert into object (kind, id, body) values (?, ?, ?)"
            " on conflict (kind, id) do update set body = excluded.body",
            (kind, id, json.dumps(obj)),
        )

    def get(self, kind: str, id: str) -> Json | None:  # noqa: A002 - the word every caller uses for it
        """(kind, id) -> a fresh copy of the object, or None."""
        row = self._db.execute("select body from object where kind = ? and id = ?", (kind, id)).fetchone()
        return None if row is None else self._read(row[0])

    def all(self, kind: str, **equal: str | int) -> list[Json]:
        """Kind -> fresh copies of its objects by first put; only those whose top fields are `equal`."""
        where = "".join(" and json_extract(body, ?) is ?" for _ in equal)
        wanted = [part for name, value in equal.items() for part in (f"$.{name}", value)]
        query = f"select body from object where kind = ?{where} order by seq"  # noqa: S608 - the text is fixed
        return [self._read(body) for (body,) in self._db.execute(query, (kind, *wanted))]

    def delete(self, kind: str, id: str) -> None:  # noqa: A002 - the word every caller uses for it
        """Forget the object; nothing happens when it is unknown."""
        self.writes += 1
        self._db.execute("delete from object where kind = ? and id = ?", (kind, id))

    @contextmanager
    def unit(self) -> Iterator[None]:
        """All puts inside are stored together or, when an exception leaves the block, not at all; no `await` inside."""
        if not self._units:
            self._db.execute("begin immediate")
        self._units += 1
        try:
            yield
        except BaseException:
            self._units -= 1
            if not self._units:
                self._db.execute("rollback")
            raise
        self._units -= 1
        if not self._units:
            self._db.execute("commit")

    def new_id(self, prefix: str) -> str:
        """Literal prefix -> a new id, never given twice in this state folder: "pi_" -> "pi_000001ab12"."""
        number = int(self._setting("ids", "0")) + 1
        self._set("ids", str(number))
        return f"{prefix}{number:06x}{self._salt}"

    @staticmethod
    def _read(body: str) -> Json:
        obj: Json = json.loads(body)
        return obj

    def _setting(self, name: str, default: str) -> str:
        self._db.execute("insert into setting values (?, ?) on conflict do nothing", (name, default))
        value: str = self._db.execute("select value from setting where name = ?", (name,)).fetchone()[0]
        return value

    def _set(self, name: str, value: str) -> None:
        self._db.execute("insert or replace into setting values (?, ?)", (name, value))

    # -- the clock ---------------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        """The virtual UTC instant all servers agree on: real time plus the stored offset."""
        return datetime.now(UTC) + self._offset

    async def move_clock(self, to: datetime) -> list[str]:
        """Move the clock forward to `to` and let every server catch up -> names of what happened.

        Raises ScenarioError when `to` lies in the past.
        """
        if to < self.now():
            raise ScenarioError(f"The clock only moves forward; it is {self.now().isoformat()} already.")
        self._offset = to - datetime.now(UTC)
        self._set("offset", str(self._offset.total_seconds()))
        fired = await self.settle()
        self.webhooks.hurry()
        return fired

    async def settle(self) -> list[str]:
        """Run every `on_clock` function until none has anything left to do -> names of what happened."""
        fired: list[str] = []
        async with self._clock_lock:
            for _ in range(ROUNDS_UNTIL_QUIET):
                round_ = [name for catch_up in self.on_clock for name in await catch_up(self.now())]
                if not round_:
                    return fired
                fired += round_
        raise RuntimeError(f"The world was not quiet after {ROUNDS_UNTIL_QUIET} rounds; last: {fired[-3:]}")

    async def run(self) -> None:
        """Let time pass: settle about once a second, for ever."""
        while True:
            await self.settle()
            await asyncio.sleep(1)

    # -- webhooks and starting over ----------------------------------------------------------------------------------

    def deliver(self, provider: str, url: str, body: bytes, headers: dict[str, str], kind: str = "") -> None:
        """Queue one webhook; it is sent soon, retried with back-off, and obeys the provider's webhook switches.

        `kind` names it in the log (an event type). Headers that depend on the moment of sending come from
        `world.webhooks.signers[provider]`.
        """
        self.webhooks.queue(provider, url, body, headers, kind, self.now())

    def soon(self, name: str, seconds: float, act: Callable[[], None]) -> None:
        """Run `act` a moment from now; planned again under the same name before that, it still runs once."""

        def run() -> None:
            del self._planned[name]
            act()

        if name not in self._planned:
            self._planned[name] = asyncio.get_running_loop().call_later(seconds, run)

    def reset(self) -> None:
        """Forget all objects, webhooks, faults, calls and the clock's offset; ids are never given twice."""
        self._db.executescript("delete from object; delete from delivery;")
        self.writes += 1
        self._offset = timedelta()
        self._set("offset", "0")
        self.faults.clear()
        self.faults.calls.clear()
        self.webhooks.clear()
        for again in self.on_reset:
            again()

    def close(self) -> None:
        """Close the store; what was planned for a moment from now waits for the next start."""
        for handle in self._planned.values():
            handle.cancel()
        self._db.close()
