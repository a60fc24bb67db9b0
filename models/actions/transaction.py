"""The one way to begin a transaction, names that are held until it ends, and what is done anew where it lost."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

import asyncpg
import stamina
from tortoise.backends.asyncpg.client import AsyncpgDBClient
from tortoise.connection import get_connections
from tortoise.exceptions import OperationalError

from models.tables import sql

P = ParamSpec("P")
R = TypeVar("R")
LOST_RACE = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


def transaction() -> AbstractAsyncContextManager[AsyncpgDBClient]:
    """A transaction on the default database, or a savepoint inside the one already open.

    Entering it raises asyncio.TimeoutError where no connection came free in five seconds.
    """
    return get_connections().get("default")._in_transaction()  # type: ignore[return-value]  # it is one


async def alone(name: str) -> None:
    """Hold a name until the transaction ends: whoever asks for the same one meanwhile waits."""
    await sql.run("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", name)


def lost_race(error: Exception) -> bool:
    """True where the transaction was rolled back only because another one was in its way."""
    for cause in (error, error.__cause__):
        if isinstance(cause, asyncpg.PostgresError) and cause.sqlstate in LOST_RACE:
            return True
        if isinstance(error, OperationalError) and error.args and isinstance(error.args[0], asyncpg.PostgresError):
            return error.args[0].sqlstate in LOST_RACE
    return False


def repeated(action: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """Run an action anew when it lost a race; nothing of the lost run remains."""
    return stamina.retry(on=lost_race, attempts=4, wait_initial=0.02, wait_max=0.5, timeout=10)(action)
