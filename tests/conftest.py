"""Throw-away servers for whoever asks: a Valkey and a PostgreSQL per test process, a migrated database per module."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import redis
from cryptography.fernet import Fernet

from local.servers import Pair, throwaway
from models.tables.config import opened

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "migrated"
_NUMBERS = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process is left alone with one of them at the end."""
    long = ("tests/journeys/", "tests/local/", "tests/workers/")
    items.sort(key=lambda item: not item.nodeid.startswith(long))


@pytest.fixture(scope="session")
def servers() -> Iterator[Pair]:
    """Both servers, empty, stopped when this test process ends (and killed with it if it is)."""
    with throwaway() as pair:
        yield pair


@pytest.fixture(scope="session")
def secret_key() -> str:
    """The Fernet key of this test process."""
    return Fernet.generate_key().decode()


@pytest.fixture(scope="session")
def migrated_template(servers: Pair, secret_key: str) -> str:
    """The name of a migrated, empty database nobody is connected to, made once and only ever copied."""
    administer(servers, f"CREATE DATABASE {TEMPLATE} OWNER dueflow")
    settings = {
        "DATABASE_URL": servers.named(TEMPLATE),
        "REDIS_URL": servers.redis_url,
        "DUEFLOW_SECRET_KEY": secret_key,
    }
    migrate = [sys.executable, "-m", "app", "migrate"]
    done = subprocess.run(
        migrate, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"`python -m app migrate` failed:\n{done.stdout}{done.stderr}"
    return TEMPLATE


@pytest.fixture(scope="module")
def database_url(servers: Pair, migrated_template: str) -> Iterator[str]:
    """A migrated database of this module's own, without rows."""
    name = f"test_{next(_NUMBERS)}"
    administer(servers, f"CREATE DATABASE {name} TEMPLATE {migrated_template} OWNER dueflow STRATEGY FILE_COPY")
    yield servers.named(name)
    administer(servers, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[None]:
    """Tortoise, open on the module's database."""
    async with opened(f"{database_url}?maxsize=8"):
        yield


@pytest.fixture
async def loop(database: None) -> asyncio.AbstractEventLoop:
    """The loop the module's database is open in, for examples Hypothesis makes."""
    return asyncio.get_running_loop()


@pytest.fixture
def empty_database_url(servers: Pair) -> Iterator[str]:
    """A database of this test's own with nothing in it, for tests of the migrations themselves."""
    name = f"test_{next(_NUMBERS)}"
    administer(servers, f"CREATE DATABASE {name} OWNER dueflow")
    yield servers.named(name)
    administer(servers, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def redis_url(servers: Pair) -> str:
    """This process's Valkey, emptied for the module."""
    with redis.Redis.from_url(servers.redis_url) as client:
        client.flushall()
    return servers.redis_url


def administer(servers: Pair, *statements: str) -> None:
    """Run statements as PostgreSQL's superuser, in a thread of their own: the tests' event loop may be running."""

    async def run() -> None:
        connection = await asyncpg.connect(servers.admin_url)
        try:
            for statement in statements:
                await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, run()).result()
