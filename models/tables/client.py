"""Tortoise's way to PostgreSQL, over a list of connections instead of the library's pool."""

import asyncio
from typing import Any

import asyncpg
from tortoise.backends.asyncpg.client import AsyncpgDBClient

from models.tables.connections import Connections


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


client_class = Client  # the name Tortoise looks for
