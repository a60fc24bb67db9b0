"""Webhooks on their way out: queued in the store, sent one at a time per provider, retried with back-off, switchable.

The switches: `duplicate` sends each delivery twice, `reorder` sends what is waiting newest first, `hold` keeps
everything until it is flushed.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import httpx

# Seconds of real time before each next attempt; the vendors wait minutes to days. Nine attempts in all, as GoCardless.
BACK_OFF = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
TIMEOUT = 10.0
REORDER_WINDOW = 0.3
AT_ONCE = 500

Signer = Callable[[bytes], dict[str, str]]


@dataclass
class Switches:
    """How one provider's webhooks misbehave."""

    duplicate: bool = False
    reorder: bool = False
    hold: bool = False


def unsigned(_body: bytes) -> dict[str, str]:
    """The signer of a provider that signs nothing."""
    return {}


class Webhooks:
    """The queue of webhooks in the store and the sender that empties it."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._wake = asyncio.Event()
        self._sending: dict[str, asyncio.Lock] = {}
        self.signers: dict[str, Signer] = {}  # provider -> headers for a body, made at the moment of each attempt
        self._switches: dict[str, Switches] = {}

    def switches(self, provider: str) -> Switches:
        """The provider's switches, all off to begin with."""
        return self._switches.setdefault(provider, Switches())

    def switch(self, provider: str, **switches: bool) -> dict[str, bool]:
        """Set the named switches of a provider -> all of them."""
        now = self.switches(provider)
        for name, value in switches.items():
            setattr(now, name, value)
        self._wake.set()
        return asdict(now)

    def queue(self, provider: str, url: str, body: bytes, headers: dict[str, str], kind: str, at: datetime) -> None:
        """Put one webhook in the queue."""
        self._db.execute(
            "insert into delivery (provider, url, body, headers, type, status, due, queued_at)"
            " values (?, ?, ?, ?, ?, 'pending', ?, ?)",
            (provider, url, body, json.dumps(headers), kind, time.time(), at.isoformat()),
        )
        self._wake.set()

    def hurry(self) -> None:
        """Virtual time has passed: every retry is due now."""
        self._db.execute("update delivery set due = 0 where status = 'pending'")
        self._wake.set()

    def clear(self) -> None:
        """All switches off."""
        self._switches.clear()

    async def quiet(self) -> None:
        """Return when nothing is on its way any more."""
        for sending in list(self._sending.values()):
            async with sending:
                pass

    def log(self) -> list[dict[str, Any]]:
        """Every delivery: provider, url, event type, status pending | delivered | failed, last HTTP code, attempts."""
        rows = self._db.execute(
            "select seq, provider, url, type, status, code, attempts, queued_at from delivery order by seq"
        )
        names = ("id", "provider", "url", "type", "status", "code", "attempts", "queued_at")
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def run(self) -> None:
        """Send what is due, for ever."""
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as http:
            while True:
                self._wake.clear()
                waiting = self._db.execute("select distinct provider from delivery where status = 'pending'").fetchall()
                await asyncio.gather(*(self._send_due(http, provider) for (provider,) in waiting))
                await self._sleep_until_due()

    async def flush(self, provider: str) -> int:
        """Send everything pending of one provider now, `hold` or not -> how many deliveries were tried."""
        async with httpx.AsyncClient(trust_env=False, timeout=TIMEOUT) as http:
            return await self._send(http, provider, float("inf"), -1)

    async def _send_due(self, http: httpx.AsyncClient, provider: str) -> None:
        switches = self.switches(provider)
        if switches.hold:
            return
        if switches.reorder:
            await asyncio.sleep(REORDER_WINDOW)  # let a few gather, else there is nothing to reorder
        await self._send(http, provider, time.time(), AT_ONCE)

    async def _send(self, http: httpx.AsyncClient, provider: str, due_before: float, most: int) -> int:
        async with self._sending.setdefault(provider, asyncio.Lock()):
            switches = self.switches(provider)
            rows = self._db.execute(
                "select seq, url, body, headers, attempts from delivery"
                " where status = 'pending' and provider = ? and due <= ? order by seq limit ?",
                (provider, due_before, most),
            ).fetchall()
            for tried, row in enumerate(reversed(rows) if switches.reorder else rows, start=1):
                if not self._waits(row[0]):
                    continue  # taken out of the queue meanwhile
                if switches.duplicate:
                    await self._post(http, provider, *row[:4])
                code = await self._post(http, provider, *row[:4])
                self._note(row[0], row[4] + 1, code)
                if code is None:
                    self._postpone(provider)  # nobody listens there: do not knock once for each that waits
                    return tried
            return len(rows)

    def _waits(self, seq: int) -> bool:
        found = self._db.execute("select 1 from delivery where seq = ? and status = 'pending'", (seq,)).fetchone()
        return found is not None

    async def _post(
        self, http: httpx.AsyncClient, provider: str, _seq: int, url: str, body: bytes, headers: str
    ) -> int | None:
        sign = self.signers.get(provider, unsigned)
        try:
            answer = await http.post(url, content=body, headers=json.loads(headers) | sign(body))
        except httpx.HTTPError:
            return None  # nobody listens, or not in time: the log shows no code and the retry follows
        return answer.status_code

    def _note(self, seq: int, attempts: int, code: int | None) -> None:
        if code is not None and 200 <= code < 300:
            status, due = "delivered", 0.0
        elif attempts > len(BACK_OFF):
            status, due = "failed", 0.0
        else:
            status, due = "pending", time.time() + BACK_OFF[attempts - 1]
        self._db.execute(
            "update delivery set status = ?, code = ?, attempts = ?, due = ? where seq = ?",
            (status, code, attempts, due, seq),
        )

    def _postpone(self, provider: str) -> None:
        self._db.execute(
            "update delivery set due = max(due, ?) where status = 'pending' and provider = ?",
            (time.time() + BACK_OFF[0], provider),
        )

    async def _sleep_until_due(self) -> None:
        held = [name for name, switches in self._switches.items() if switches.hold]
        marks = ",".join("?" * len(held))
        query = f"select min(due) from delivery where status = 'pending' and provider not in ({marks})"  # noqa: S608 - only marks
        (due,) = self._db.execute(query, held).fetchone()
        seconds = 60.0 if due is None else max(0.0, due - time.time())
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return
