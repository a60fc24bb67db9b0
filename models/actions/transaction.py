"""One database transaction that survives cancellation.

Tortoise's own `in_transaction` leaves its connection open when the task is cancelled while it begins, and leaves the
task pointing at a dead connection when BEGIN fails. This one publishes the connection only once it is in a
transaction, and always gives it back.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

import asyncpg
import stamina
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.connection import get_connections
from tortoise.exceptions import OperationalError

from models.tables import sql
from models.tables.client import Client

ACQUIRE_SECONDS = 5
P = ParamSpec("P")
R = TypeVar("R")
LOST_RACE = frozenset({"40001", "40P01", "55P03"})  # serialization failure, deadlock, lock not available


class _Begun:
    """A transaction on a connection of its own, with a guarded entry and a guarded way out."""

    def __init__(self, database: Client) -> None:
        self._database, self._client = database, TransactionWrapper(database)

    async def __aenter__(self) -> AsyncpgDBClient:
        self._connections = await self._database.connections()
        connection = self._client._connection = await self._connections.take(ACQUIRE_SECONDS)
        try:
            await self._client.begin()
        except BaseException:
            await asyncio.shield(self._connections.end(connection))
            raise
        self._token = get_connections().set(self._client.connection_name, self._client)
        return self._client

    async def __aexit__(self, raised: type[BaseException] | None, *_: object) -> None:
        # before all else: a second cancellation must not leave the task with a connection given back
        get_connections().reset(self._token)
        connection = self._client._connection
        try:
            await (self._client.commit() if raised is None else self._client.rollback())
        except BaseException:
            await asyncio.shield(self._connections.end(connection))
            raise
        self._connections.give(connection)


def transaction() -> AbstractAsyncContextManager[AsyncpgDBClient]:
    """A transaction on the default database, or a savepoint inside the one already open.

    Entering it raises asyncio.TimeoutError where no connection came free in five seconds.
    """
    current = get_connections().get("default")
    if isinstance(current, TransactionWrapper):
        return current._in_transaction()  # type: ignore[return-value]  # it is one, and says so to nobody
    if not isinstance(current, Client):
        raise TypeError(f"the default database is {type(current).__name__}, not PostgreSQL through `opened`")
    return _Begun(current)


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
