"""Actions run on a migrated PostgreSQL of the test module's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from models.tables.config import opened


@pytest.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[None]:
    """Tortoise, open on the module's database."""
    async with opened(f"{database_url}?minsize=1&maxsize=8"):
        yield


@pytest.fixture
async def loop(database: None) -> asyncio.AbstractEventLoop:
    """The loop the module's database is open in, for examples Hypothesis makes."""
    return asyncio.get_running_loop()
