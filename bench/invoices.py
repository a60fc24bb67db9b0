"""Invoices: money spread over classes beside one statement of SQL, and a period's end until all is shipped."""

import asyncio
import cProfile
import gc
import resource
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID

import asyncpg

from bench import by_hand, data
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

SQL, BARE = "one hand-written statement", "one that writes versions and shares alone"
AT_ONCE, IN_HAND = 1_000, 2
LONGEST_SECONDS = 3_600
SOON_SECONDS = 6
SHIPPED_AT_FULL_SIZE = 500
WRITTEN = "allocation_share, allocation, ledger_entry, audit_entry, job"
_LEFT = """SELECT count(*) FROM invoice i
    WHERE NOT EXISTS (SELECT 1 FROM shipment s WHERE s.invoice_id = i.id AND s.state = 'SHIPPED')"""


class Turn(NamedTuple):
    """What one spreading of all invoices took: seconds, and those of processor here and in PostgreSQL."""

    seconds: float
    here: float
    postgres: float


async def _statement(house: House, database: str, statement: str) -> object:
    """Run one statement -> its value."""
    connection = await asyncpg.connect(house.pair.named(database), server_settings={"statement_timeout": "0"})
    value = await connection.fetchval(statement, timeout=600)
    await connection.close()
    return value


async def _ours(house: House, database: str, ids: Sequence[UUID]) -> None:
    """Our action on every invoice, a thousand a transaction; a worker has several jobs in hand, so two at a time."""
    starts = iter(range(0, len(ids), AT_ONCE))

    async def one_by_one() -> None:
        for start in starts:
            async with unit(acting="bench", at=datetime.now(UTC)) as work:
                await allocations.reallocate(work, ids[start : start + AT_ONCE])

    async with opened(house.pair.named(database)):
        await asyncio.gather(*(one_by_one() for _ in range(IN_HAND)))


def _turn(house: House, database: str, number: int, statement: str | None = None) -> Turn:
    """All invoices spread by a statement, else by ours, where nothing was spread yet."""
    forget = (f"TRUNCATE {WRITTEN} CASCADE", data.RECEIVED)
    for each in forget:
        asyncio.run(_statement(house, database, each))
    doing = _statement(house, database, statement) if statement else _ours(house, database, data.invoices(number))
    postgres, here, began = house.postgres_cpu, time.process_time(), time.perf_counter()
    asyncio.run(doing)
    seconds, here = time.perf_counter() - began, time.process_time() - here
    return Turn(seconds, here, house.postgres_cpu - postgres)


def allocation(house: House) -> Section:
    """Invoices spread a second beside the statement; both leave the same rows."""
    gc.collect()
    gc.freeze()  # as a worker does when it has started
    section = Section("Allocation", ALLOCATION)
    sizes, costs, most = [data.SUBSCRIPTIONS * size // 100 for size in house.sizes], [], []
    for size in sizes:
        house.say(f"allocation: {size} invoices")
        told = _in_turns(house, _attended(house, size), size)
        seconds = {name: [turn.seconds for turn in turns] for name, turns in told.items()}
        costs.append(spread(seconds[OURS]).median)
        most.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
        words = f"{size} invoices over {data.CLASSES_EACH} classes each"
        target = at_least(0.9) if size == sizes[-1] else None
        section.lines.append(Measured(words, SQL, ratios(seconds[SQL], seconds[OURS]), target))
        section.lines.append(Measured(words, BARE, ratios(seconds[BARE], seconds[OURS])))
    words, grown = "exponent of time by number of invoices", exponent(sizes, costs)
    section.lines.append(Measured(words, f"{sizes} invoices", [grown], at_most(1.1), ""))
    section.notes.append(
        f"µs of processor an invoice at the largest size, in Python + in PostgreSQL: {_spent(told, sizes[-1])}."
    )
    section.notes.append(
        f"At most so many MiB were held by the process that spreads {AT_ONCE} at a time:"
        f" {', '.join(f'{mib} after {size} invoices' for size, mib in zip(sizes, most, strict=True))}."
    )
    if section.missed:
        profile = cProfile.Profile(time.process_time)
        profile.runcall(_turn, house, _attended(house, sizes[0]), sizes[0])
        section.profiles.append(written(profile, house.profiles / "allocation.txt"))
    return section


def _spent(told: Mapping[str, Sequence[Turn]], size: int) -> str:
    cost = {name: [spread(each).median / size for each in zip(*turns, strict=True)] for name, turns in told.items()}
    return "; ".join(f"{name} {1e6 * here:.0f} + {1e6 * postgres:.0f}" for name, (_, here, postgres) in cost.items())


def _attended(house: House, size: int) -> str:
    database = house.empty("bench_invoices")
    house.fill(database, data.subscriptions(size))
    return database


def _in_turns(house: House, database: str, size: int) -> dict[str, list[Turn]]:
    """A turn of each, three where that is soon done. Raises AssertionError where they leave different rows."""
    turns = {
        SQL: partial(_turn, house, database, size, by_hand.ALL_OF_IT),
        BARE: partial(_turn, house, database, size, by_hand.SHARES_ALONE),
        OURS: partial(_turn, house, database, size),
    }
    told: dict[str, list[Turn]] = {}
    shares, rows = set(), {}
    for name, turn in turns.items():
        told[name] = [turn()]
        asyncio.run(
            _statement(house, database, f"ANALYZE {WRITTEN}")
        )  # else the comparison is planned for empty tables
        shares.add(asyncio.run(_statement(house, database, by_hand.SHARES_LEFT)))
        rows[name] = asyncio.run(_statement(house, database, by_hand.ALL_LEFT))
    if len(shares) != 1 or rows[SQL] != rows[OURS]:
        raise AssertionError("what we leave behind is not what the statement leaves")
    if sum(turn.seconds for each in told.values() for turn in each) < SOON_SECONDS:
        for name, more in interleaved(turns, 2).items():
            told[name] += more
    return told


ALLOCATION = (
    "Invoices of a month spread over the classes of their people, for the first time: ours reads, decides by the rule,"
    " and writes versions, shares, books and audit rows (there are no events before a second version). The first"
    " statement leaves the same rows, compared to the last character, though it knows this one case alone; the other"
    " writes versions and shares alone, compared to the cent. Ratios of seconds, theirs to ours."
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
