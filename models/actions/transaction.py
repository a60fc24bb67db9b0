"""One database transaction that survives cancellation.

Tortoise's own `in_transaction` leaves its connection open when the task is cancelled while it begins, and leaves the
task pointing at a dead connection when BEGIN fails. This one publishes the connection only once it is in a
transaction, and always gives it back.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec, TypeVar

import asyncpg
import stamina
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.backends.base.client import TransactionContextPooled
from tortoise.connection import get_connections
from tortoise.exceptions import OperationalError

from models.tables import sql

ACQUIRE_SECONDS = 5
RELEASE_SECONDS = 5
P = ParamSpec("P")
R = TypeVar("R")
LOST_RACE = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


class _Begun(TransactionContextPooled):
    """Tortoise's pooled transaction with a guarded entry and a guarded way out."""

    async def __aenter__(self) -> Any:
        await self.ensure_connection()
        pool = self.client._parent._pool
        connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
        try:
            self.client._connection = connection
            await self.client.begin()
        except BaseException:
            await asyncio.shield(pool.release(connection, timeout=RELEASE_SECONDS))
            raise
        self.token = get_connections().set(self.connection_name, self.client)
        return self.client

    async def __aexit__(self, *raised: Any) -> None:
        try:
            if raised[0] is None:
                await self.client.commit()
            else:
                await self.client.rollback()
        finally:
            # before the release: a second cancellation must not leave the task with a connection given back
            get_connections().reset(self.token)
            await asyncio.shield(self.client._parent._pool.release(self.client._connection, timeout=RELEASE_SECONDS))


@asynccontextmanager
async def transaction() -> AsyncIterator[AsyncpgDBClient]:
    """A transaction on the default database, or a savepoint inside the one already open.

    Raises asyncio.TimeoutError where no connection came free in five seconds.
    """
    current = get_connections().get("default")
    if not isinstance(current, AsyncpgDBClient):
        raise TypeError(f"the default database is {type(current).__name__}, not PostgreSQL through asyncpg")
    if isinstance(current, TransactionWrapper):
        async with current._in_transaction() as inner:
            yield inner  # type: ignore[misc]  # the nested wrapper is an AsyncpgDBClient too
        return
    async with _Begun(TransactionWrapper(current), current._pool_init_lock) as client:
        yield client


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
