"""The migration commands: safe to run twice, at once, and late; what they lack is told; nothing undoes them."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app import MIGRATION_LOCK

ROOT = Path(__file__).resolve().parents[2]
FILES = {path.stem for path in (ROOT / "models" / "migrations").glob("0*.py")}
SECONDS = 30
# All that DDL leaves: columns, constraints, indexes.
_SHAPE = """
SELECT table_name || column_name || data_type || is_nullable FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT conrelid::regclass || conname || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT t::text FROM tortoise_migrations t
"""
_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
AND now() - query_start > interval '700 milliseconds'
"""
_A_CENTRE = """
INSERT INTO centre (id, created_at, updated_at, name, zone, currency)
VALUES (gen_random_uuid(), now(), now(), 'North', 'Europe/London', 'GBP')
"""
_AN_INVOICE = """
INSERT INTO invoice (id, created_at, updated_at, provider, external_id, status, currency, amount_paid, amount_refunded,
  period_start, period_end)
VALUES (gen_random_uuid(), now(), now(), 'STRIPE', 'in_1', 'PAID', 'GBP', 5000, 0, now(), now() + interval '7 days')
"""


async def run(*words: str, database_url: str = "", folder: Path = ROOT) -> tuple[int, str]:
    """`python -m app ...` -> its status and all it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app", *words, cwd=folder, env={**os.environ, "DATABASE_URL": database_url},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def shape(database_url: str) -> set[str]:
    connection = await asyncpg.connect(database_url)
    try:
        return {line for (line,) in await connection.fetch(_SHAPE)}
    finally:
        await connection.close()


async def test_two_at_once_both_succeed_and_a_third_changes_nothing(empty_database_url: str) -> None:
    both = await asyncio.gather(*(run("migrate", database_url=empty_database_url) for _ in range(2)))
    assert [status for status, _ in both] == [0, 0], both
    made = await shape(empty_database_url)
    assert {name for name in FILES if any(name in line for line in made)} == FILES
    assert await run("migrate", database_url=empty_database_url) == (0, "")
    assert await shape(empty_database_url) == made


@pytest.mark.parametrize(
    "held",
    [f"SELECT pg_advisory_lock({MIGRATION_LOCK})", "LOCK TABLE tortoise_migrations IN ACCESS EXCLUSIVE MODE"],
    ids=["its turn", "a table"],
)
async def test_it_waits_longer_than_the_roles_own_limits_allow(database_url: str, held: str) -> None:
    async def holding(connection: asyncpg.Connection) -> tuple[int, str]:
        async with connection.transaction():
            await connection.execute(held)
            running = asyncio.create_task(run("migrate", database_url=database_url))
            async with asyncio.timeout(SECONDS):
                while not running.done():
                    if await watching.fetchval(_WAITING):
                        break
                    await asyncio.sleep(0.02)
            assert not running.done(), running.result()
        await connection.execute("SELECT pg_advisory_unlock_all()")
        return await running

    holder, watching = [await asyncpg.connect(database_url) for _ in range(2)]
    name = database_url.rpartition("/")[2]
    for limit in ("lock_timeout", "statement_timeout"):
        await holder.execute(f"ALTER ROLE dueflow IN DATABASE {name} SET {limit} = '300ms'")
    try:
        assert await holding(holder) == (0, "")
    finally:
        await holder.execute(f"ALTER ROLE dueflow IN DATABASE {name} RESET ALL")
        await holder.close()
        await watching.close()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program's sources, to be changed."""
    shutil.copy(ROOT / "app.py", tmp_path)
    for folder in ("models", "resolvers"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


async def test_rows_that_are_there_take_the_defaults_of_columns_that_come(copy: Path, empty_database_url: str) -> None:
    later = {path: path.read_text() for path in (copy / "models" / "migrations").glob("0*.py") if path.stem > "0003"}
    for path in later:
        path.unlink()
    assert await run("migrate", database_url=empty_database_url, folder=copy) == (0, "")
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(_A_CENTRE)
        await connection.execute(_AN_INVOICE)
        for path, text in later.items():
            path.write_text(text)
        assert await run("migrate", database_url=empty_database_url, folder=copy) == (0, "")
        assert tuple(await connection.fetchrow("SELECT minutes_before, minutes_after FROM centre")) == (30, 30)
        assert tuple(await connection.fetchrow("SELECT total, tax, discount FROM invoice")) == (0, 0, 0)
        left: str = (
            "SELECT count(*) FROM information_schema.columns WHERE table_name = 'invoice' AND column_default <> ''"
        )
        assert await connection.fetchval(left) == 0
    finally:
        await connection.close()


async def test_the_check_passes_here() -> None:
    assert await run("migrations", "--check") == (0, "The migrations make the tables as they are declared.\n")


@pytest.mark.parametrize(
    ("table", "found", "instead"),
    [
        ("centre", "    zone = fields", "    nickname = fields.CharField(max_length=10, null=True)\n    zone = fields"),
        ("centre", "zone = fields.CharField(max_length=64)", "zone = fields.CharField(max_length=65)"),
        ("user", 'check("user_account_version_rises", "version >= 1")', 'check("user_account_other", "version >= 2")'),
        ("notification", 'unique("notification_once_per_cause", "kind", "cause")', 'unique("notification_x", "kind")'),
    ],
    ids=["a column", "a length", "a check", "a unique"],
)
async def test_the_check_tells_what_has_no_migration(copy: Path, table: str, found: str, instead: str) -> None:
    source = copy / "models" / "tables" / f"{table}.py"
    assert found in source.read_text()
    source.write_text(source.read_text().replace(found, instead))
    status, said = await run("migrations", "--check", folder=copy)
    assert status == 1
    assert re.fullmatch(r"missing: \S+\n", said), said
    assert {path.stem for path in (copy / "models" / "migrations").glob("0*.py")} == FILES


@pytest.mark.parametrize("words", [("downgrade",), ("downgrade", "models"), ("migrate", "models.0001_initial")])
async def test_no_command_of_ours_goes_back(words: Any, database_url: str) -> None:
    before = await shape(database_url)
    status, said = await run(*words, database_url=database_url)
    assert status == 2, said
    assert await shape(database_url) == before
