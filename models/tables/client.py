"""Tortoise's way to PostgreSQL: a list of connections instead of the library's pool, transactions that are cancelled.

The library leaves its connection open when a task is cancelled while it begins a transaction, and leaves the task
pointing at a dead connection when BEGIN fails. Here the connection is published only once it is in a transaction, and
is always given back.
"""

import asyncio
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient, TransactionWrapper
from tortoise.connection import get_connections

from models.tables.connections import Connections

ACQUIRE_SECONDS = 5


class Client(AsyncpgDBClient):
    """The default database of a process; its connections are opened as they are needed."""

    _pool: Connections | None

    async def create_pool(self, **options: Any) -> Connections:
        """What the library's pool would take -> the connections; Tortoise asks for it once, and waits for nothing."""
        options.pop("min_size")
        return Connections(None, options.pop("max_size"), **options)

    async def connections(self) -> Connections:
        """The connections of this process."""
        if self._pool is None:
            await self.create_connection(with_db=True)
        assert self._pool is not None
        return self._pool

    def acquire_connection(self) -> Any:
        """A connection for one statement outside of any transaction."""
        return _ForOne(self)

    def _in_transaction(self) -> Any:
        return _Begun(self)


class _ForOne:
    def __init__(self, client: Client) -> None:
        self._client = client

    async def __aenter__(self) -> asyncpg.Connection:
        self._connections = await self._client.connections()
        self._connection = await self._connections.take()
        return self._connection

    async def __aexit__(self, raised: type[BaseException] | None, *_: object) -> None:
        if raised is not None and issubclass(raised, asyncio.CancelledError | TimeoutError):
            self._connections.end(self._connection)  # what was asked may still be done there
        else:
            self._connections.give(self._connection)


class _Begun:
    def __init__(self, client: Client) -> None:
        self._parent, self._client = client, TransactionWrapper(client)

    async def __aenter__(self) -> TransactionWrapper:
        self._connections = await self._parent.connections()
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


client_class = Client  # the name Tortoise looks for
