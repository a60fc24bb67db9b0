"""The connections of a process: no more than allowed, given on in turn, and none again after a request was cut off."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from models.tables.connections import Connections

WHO = "SELECT pg_backend_pid()"
SLOW = "SELECT pg_backend_pid() FROM pg_sleep(20)"


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[Connections]:
    """At most two."""
    pool = Connections(database_url, 2)
    yield pool
    await pool.close()


async def running(database_url: str, sql: str) -> list[int]:
    """Who is busy with a statement."""
    connection = await asyncpg.connect(database_url)
    found = await connection.fetch("SELECT pid FROM pg_stat_activity WHERE query = $1 AND state = 'active'", sql)
    await connection.close()
    return [pid for (pid,) in found]


async def until(condition: Any) -> Any:
    """What a condition comes to, once it is anything."""
    async with asyncio.timeout(20):
        while not (found := await condition()):  # noqa: ASYNC110  it happens in the database
            await asyncio.sleep(0.02)
        return found


async def test_one_is_used_again_and_more_are_opened_only_for_who_asks_meanwhile(two: Connections) -> None:
    first = await two.fetchval(WHO)
    assert await two.fetchval(WHO) == first
    both = await asyncio.gather(*(two.fetchval(f"{WHO} FROM pg_sleep(0.05)") for _ in range(9)))
    assert len(set(both)) == 2
    assert first in both
    assert [dict(row) for row in await two.fetch("SELECT 1 AS a UNION SELECT 2 ORDER BY 1")] == [{"a": 1}, {"a": 2}]


async def test_what_the_database_refuses_costs_no_connection(two: Connections) -> None:
    first = await two.fetchval(WHO)
    with pytest.raises(asyncpg.DivisionByZeroError):
        await two.fetchval("SELECT 1 / 0")
    assert await two.fetchval(WHO) == first


@pytest.mark.parametrize("how", ["cancelled", "too late"])
async def test_a_statement_that_is_cut_off_ends_there_and_its_connection_with_it(
    how: str, two: Connections, database_url: str
) -> None:
    asked = asyncio.create_task(two.fetchval(SLOW, seconds=None if how == "cancelled" else 0.5))
    (busy,) = await until(lambda: running(database_url, SLOW))
    if how == "cancelled":
        asked.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancelled" else TimeoutError):
        await asked

    async def ended() -> bool:
        return not await running(database_url, SLOW)

    await until(ended)
    fresh = await asyncio.gather(*(two.fetchval(f"{WHO} FROM pg_sleep(0.05)") for _ in range(4)))
    assert busy not in fresh


async def test_who_waits_too_long_is_told_and_takes_nothing_from_the_next(two: Connections, database_url: str) -> None:
    held = [asyncio.create_task(two.fetchval(SLOW)) for _ in range(2)]

    async def both() -> bool:
        return len(await running(database_url, SLOW)) == 2

    await until(both)
    with pytest.raises(TimeoutError):
        await two.fetchval(WHO, seconds=0.1)
    waiting = asyncio.create_task(two.fetchval(WHO))
    held[0].cancel()
    assert await waiting
    held[1].cancel()
    await asyncio.gather(*held, return_exceptions=True)


async def test_connections_the_database_ends_are_opened_anew(two: Connections, database_url: str) -> None:
    before = await two.fetchval(WHO)
    connection = await asyncpg.connect(database_url)
    await connection.execute("SELECT pg_terminate_backend($1)", before)
    await connection.close()

    async def after() -> Any:
        try:
            return await two.fetchval(WHO)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError):
            return None

    assert await until(after) != before


async def test_where_there_is_no_database_everybody_is_told(database_url: str) -> None:
    nowhere = Connections(f"{database_url}_gone", 1)
    asked = (nowhere.fetchval(WHO) for _ in range(3))
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in told] == [asyncpg.InvalidCatalogNameError] * 3
    await nowhere.close()
