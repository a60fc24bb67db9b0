"""Invoices: money spread over classes beside one statement of SQL, and a period's end until all is shipped."""

import asyncio
import cProfile
import time
from datetime import UTC, datetime
from functools import partial

import asyncpg

from bench import data
from bench.figures import Measured, Section, at_least, at_most, exponent, ratios, spread
from bench.profiled import written
from bench.reads import OURS
from bench.rounds import interleaved
from bench.servers import House, Program
from models.actions import allocations
from models.actions.settings import configure_provider
from models.actions.unit import unit
from models.actions.vault import Vault
from models.rules.states import Provider
from models.tables.config import opened
from models.tables.invoice import Invoice

SQL = "one hand-written statement"
AT_ONCE = 1_000
LONGEST_SECONDS = 3_600
SOON_SECONDS = 6
SHIPPED_AT_FULL_SIZE = 500
# what is shared over the classes attended within the period, the last of them carrying the remainder
BY_HAND = """
WITH class AS (
    SELECT i.id, i.currency, i.amount_paid - i.amount_refunded AS amount, a.id AS attendance_id,
        row_number() OVER each - 1 AS position, count(*) OVER (PARTITION BY i.id) AS classes
    FROM invoice i JOIN membership m ON m.id = i.membership_id
    JOIN attendance a ON a.user_id = i.user_id AND a.mark = 'ATTENDED' AND NOT a.invoiced_elsewhere
    JOIN class_session c ON c.id = a.class_session_id AND c.deleted_at IS NULL
        AND c.starts_at >= i.period_start AND c.starts_at < i.period_end
    WHERE EXISTS (SELECT 1 FROM coverage v WHERE v.membership_type_id = m.membership_type_id
        AND v.class_type_id = c.class_type_id AND v.covered_from <= c.starts_at
        AND (v.covered_until IS NULL OR v.covered_until > c.starts_at))
    WINDOW each AS (PARTITION BY i.id ORDER BY c.starts_at, a.id)
), made AS (
    INSERT INTO allocation (id, created_at, updated_at, invoice_id, version, kind, amount, currency, because, current)
    SELECT gen_random_uuid(), now(), now(), id, 1, 'CLASSES', amount, currency, '[]', true FROM class WHERE position = 0
    RETURNING id, invoice_id
)
INSERT INTO allocation_share (id, created_at, updated_at, allocation_id, attendance_id, position, amount)
SELECT gen_random_uuid(), now(), now(), made.id, class.attendance_id, class.position,
    class.amount / class.classes + (class.position >= class.classes - class.amount % class.classes)::int
FROM made JOIN class ON class.id = made.invoice_id
"""
_SHARES = """SELECT md5(string_agg(concat_ws(':', a.invoice_id, s.attendance_id, s.position, s.amount), ','
    ORDER BY a.invoice_id, s.position)) FROM allocation a JOIN allocation_share s ON s.allocation_id = a.id
    WHERE a.current"""
_FORGET = "TRUNCATE allocation_share, allocation, ledger_entry, audit_entry, job CASCADE"
_LEFT = """SELECT count(*) FROM invoice i
    WHERE NOT EXISTS (SELECT 1 FROM shipment s WHERE s.invoice_id = i.id AND s.state = 'SHIPPED')"""


def _connected(house: House, database: str, statement: str) -> tuple[float, object]:
    """Run one statement -> its seconds, and its value."""

    async def run() -> tuple[float, object]:
        connection = await asyncpg.connect(house.pair.named(database), server_settings={"statement_timeout": "0"})
        began = time.perf_counter()
        value = await connection.fetchval(statement, timeout=600)
        wall = time.perf_counter() - began
        await connection.close()
        return wall, value

    return asyncio.run(run())


def _by_hand(house: House, database: str) -> float:
    """The statement, on rows that nothing was spread of -> seconds."""
    _connected(house, database, _FORGET)
    return _connected(house, database, BY_HAND)[0]


def _spread(house: House, database: str) -> float:
    """Our action on every invoice, a thousand a transaction, on rows that nothing was spread of -> seconds."""
    _connected(house, database, _FORGET)

    async def run() -> float:
        async with opened(house.pair.named(database)):
            ids = await Invoice.all().order_by("id").only("id")
            began = time.perf_counter()
            for start in range(0, len(ids), AT_ONCE):
                async with unit(acting="bench", at=datetime.now(UTC)) as work:
                    await allocations.reallocate(work, ids[start : start + AT_ONCE])
            return time.perf_counter() - began

    return asyncio.run(run())


def allocation(house: House) -> Section:
    """Invoices spread a second beside the statement; both come to the same shares."""
    section = Section("Allocation", ALLOCATION)
    sizes, costs = [data.SUBSCRIPTIONS * size // 100 for size in house.sizes], []
    for size in sizes:
        house.say(f"allocation: {size} invoices")
        told = _in_turns(house, _attended(house, size))
        costs.append(spread(told[OURS]).median)
        words = f"{size} invoices over {data.CLASSES_EACH} classes each"
        target = at_least(0.9) if size == sizes[-1] else None
        section.lines.append(Measured(words, SQL, ratios(told[SQL], told[OURS]), target))
    words, grown = "exponent of time by number of invoices", exponent(sizes, costs)
    section.lines.append(Measured(words, f"{sizes} invoices", [grown], at_most(1.1), ""))
    if section.missed:
        profile = cProfile.Profile(time.process_time)
        profile.runcall(_spread, house, _attended(house, sizes[0]))
        section.profiles.append(written(profile, house.profiles / "allocation.txt"))
    return section


def _attended(house: House, size: int) -> str:
    database = house.empty("bench_invoices")
    house.fill(database, data.subscriptions(size))
    return database


def _in_turns(house: House, database: str) -> dict[str, list[float]]:
    """Seconds of both, three times where that is soon done. Raises AssertionError where their shares differ."""
    turns = {SQL: partial(_by_hand, house, database), OURS: partial(_spread, house, database)}
    told: dict[str, list[float]] = {}
    shares = set()
    for name, turn in turns.items():
        told[name] = [turn()]
        shares.add(_connected(house, database, _SHARES)[1])
    if len(shares) != 1:
        raise AssertionError("our shares are not those of the statement")
    if sum(map(sum, told.values())) < SOON_SECONDS:
        for name, times in interleaved(turns, 2).items():
            told[name] += times
    return told


ALLOCATION = (
    "Invoices of a month spread over the classes of their people: ours reads, decides by the rule, and writes versions,"
    " shares, books, audit rows and events; the statement writes versions and shares alone. Ratios of seconds, theirs"
    " to ours; shares were compared to the cent."
)


def _clinic(house: House, database: str, port: int) -> None:
    async def configure() -> None:
        settings = {"api_base": f"http://127.0.0.1:{port}", "calls_per_second": 0, "timezone": "Europe/London"}
        async with opened(house.pair.named(database)):
            await configure_provider(
                Provider.NOOKAL,
                settings=settings,
                secrets={"api_key": "of this run"},
                enabled=True,
                vault=Vault(house.secret),
                acting="bench",
                at=datetime.now(UTC),
                local=True,
            )

    asyncio.run(configure())


def _until_shipped(house: House, database: str) -> float:
    async def wait() -> float:
        connection = await asyncpg.connect(house.pair.named(database))
        began = time.perf_counter()
        while await connection.fetchval(_LEFT):
            if time.perf_counter() - began > LONGEST_SECONDS:
                raise TimeoutError("not everything was shipped")
            await asyncio.sleep(0.2)
        await connection.close()
        return time.perf_counter() - began

    return asyncio.run(wait())


def period_end(house: House) -> Section:
    """From a period's end until the last invoice stands in the practice system."""
    section = Section("Period end", PERIOD_END)
    whole = 10_000 if house.long else SHIPPED_AT_FULL_SIZE
    sizes, costs = [whole * size // 100 for size in house.sizes], []
    with house.asgi("bench.clinic:app", {}) as clinic:
        for size in sizes:
            house.say(f"period end: {size} subscriptions")
            database = _at_its_end(house, clinic, size)
            with house.worker(database, more={"DUEFLOW_SANDBOX_ADMIN": f"http://127.0.0.1:{clinic.port}"}) as worker:
                costs.append(_until_shipped(house, database))
                each = worker.cpu / size
            rate = size / costs[-1]
            section.lines.append(Measured(f"{size} subscriptions shipped", "", [costs[-1]], None, " s"))
        section.notes.append(
            f"{rate:.0f} invoices a second at the largest size, {1000 * each:.0f} ms of the worker's processor each:"
            " two calls to the practice system an invoice, one that looks for it and one that adds it."
        )
        grown = exponent(sizes, costs)
        section.lines.append(
            Measured("exponent of time by number of subscriptions", f"{sizes}", [grown], at_most(1.1), "")
        )
    return section


def _at_its_end(house: House, clinic: Program, size: int) -> str:
    database = _attended(house, size)
    _clinic(house, database, clinic.port)
    return database


PERIOD_END = (
    "Subscriptions whose month is over and paid, eight classes each: one worker process bills them off, spreads them"
    " and ships them itemised over HTTP to a practice system that takes everything at once. Seconds from the worker's"
    " start until the last invoice is there; ten thousand of them with `python -m bench period-end --long`."
)
