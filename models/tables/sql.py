"""SQL past the ORM, on the connection that is current: inside a transaction, the transaction's."""

from collections.abc import Iterable, Sequence
from typing import Any

from tortoise.connection import get_connections


async def rows(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Run a statement -> its rows by column; `values` stand for $1, $2 and so on."""
    found: list[dict[str, Any]] = await get_connections().get("default").execute_query_dict(statement, list(values))
    return found


async def records(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement that has many rows -> the values of each in the order of its columns."""
    _, found = await get_connections().get("default").execute_query(statement, list(values))
    return found  # type: ignore[return-value]  # asyncpg's records are such tuples


async def run(statement: str, *values: Any) -> None:
    """Run a statement for what it does."""
    await get_connections().get("default").execute_query(statement, list(values))


async def copy(table: str, columns: Sequence[str], records: Iterable[Sequence[Any]]) -> None:
    """Write many rows of a table in one go, by PostgreSQL's COPY: the values of each in the order of the columns."""
    async with get_connections().get("default").acquire_connection() as connection:
        await connection.copy_records_to_table(table, columns=columns, records=records)
