"""Connections survive whatever happens to the tasks and to PostgreSQL: none is lost, no task is poisoned."""

import asyncio
import contextvars
import random
from contextlib import suppress

import asyncpg
import pytest

from models.actions.transaction import transaction
from models.actions.unit import unit
from models.tables.centre import SettingGroup
from models.tables.config import opened
from models.tables.user import User
from tests.build import BY, NOW, a_name, sql


async def _idle_in_transaction(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        found: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in trans%'"
        )
        return found
    finally:
        await connection.close()


async def test_400_random_cancellations_leave_no_connection_behind(database_url: str) -> None:
    chance = random.Random(7)

    async def writes() -> None:
        async with unit(acting=BY, at=NOW) as work:
            work.audit("create", await SettingGroup.create(name=a_name("cancelled")))
            async with unit(acting=BY, at=NOW):
                await User.all().count()

    async with opened(f"{database_url}?maxsize=3"):
        for _ in range(40):
            tasks = [asyncio.create_task(writes()) for _ in range(10)]
            for task in tasks:
                await asyncio.sleep(chance.random() * 0.003)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        assert await _idle_in_transaction(database_url) == 0
        async with asyncio.timeout(2):
            for _ in range(4):
                await writes()
        groups = await SettingGroup.filter(name__startswith="cancelled").count()
        audited = await sql(
            "SELECT count(*) AS n FROM audit_entry WHERE verb = 'create' AND subject_type = 'SettingGroup'"
        )
        assert audited[0]["n"] >= groups


async def test_a_task_cancelled_in_its_transaction_can_go_on(database_url: str) -> None:
    """A worker that is stopped writes once more, in the same task: what it ran goes back to the queue."""
    chance = random.Random(11)
    went_on = 0

    async def stopped() -> int:
        try:
            while True:
                async with unit(acting=BY, at=NOW):
                    await User.all().count()
        except asyncio.CancelledError:
            return await asyncio.shield(User.all().count())

    async with opened(f"{database_url}?maxsize=2"):
        for _ in range(150):
            task = asyncio.create_task(stopped())
            await asyncio.sleep(chance.random() * 0.006 + 0.001)
            task.cancel()
            went_on += (await task) >= 0
    assert went_on == 150


async def test_the_task_whose_begin_failed_recovers(database_url: str) -> None:
    async with opened(f"{database_url}?maxsize=3"):
        await asyncio.gather(*(User.all().count() for _ in range(3)))
        killer = await asyncpg.connect(database_url)
        await killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await killer.close()
        failures = 0
        for _ in range(6):
            try:
                async with unit(acting=BY, at=NOW) as work:
                    work.audit("create", await SettingGroup.create(name=a_name("recovered")))
            except Exception:  # whatever the driver makes of a connection that died
                failures += 1
        assert failures <= 3, "one failure a dead connection, at most"
        assert await SettingGroup.filter(name__startswith="recovered").count() == 6 - failures


async def test_begin_that_fails_gives_its_connection_back(database_url: str) -> None:
    """The connection dies between being taken and BEGIN: the same task, and the pool of one, go on."""
    async with opened(f"{database_url}?maxsize=1"):
        pid = (await sql("SELECT pg_backend_pid() AS pid"))[0]["pid"]
        killer = await asyncpg.connect(database_url)
        await killer.execute("SELECT pg_terminate_backend($1)", pid)
        await killer.close()
        with suppress(Exception):  # whatever the driver makes of it
            async with transaction():
                pass
        async with asyncio.timeout(3), unit(acting=BY, at=NOW):
            assert (await sql("SELECT 1 AS one"))[0]["one"] == 1


async def test_a_transaction_waits_five_seconds_for_a_connection_at_most(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.tables.client.ACQUIRE_SECONDS", 0.1)
    async with opened(f"{database_url}?maxsize=1"), transaction():

        async def second() -> None:
            async with transaction():
                pass

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.create_task(second(), context=contextvars.Context())
