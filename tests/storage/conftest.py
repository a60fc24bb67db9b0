"""The tables as they are declared, and a connection to a migrated database for rows made by SQL alone."""

from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import pytest_asyncio
from tortoise import Tortoise, fields
from tortoise.fields.relational import ForeignKeyFieldInstance
from tortoise.models import Model

from models.tables.config import tortoise_config
from models.tables.row import new_id

OWN = "a row of its own"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)
# What a row needs beside a value of the right kind in each column, so that it breaks none of its table's rules.
VALID: dict[str, dict[str, Any]] = {
    "access_token": {"valid_until": LATER},
    "api_key": {"role": "ADMIN"},
    "class_session": {"ends_at": LATER},
    "billing_policy": {"single": True},
    "invoice": {"period_end": LATER},
    "ledger_entry": {"payment_id": OWN, "debit": "CASH", "credit": "HELD"},
    "payment": {"purpose": "MEMBERSHIP_FEE", "membership_id": OWN},
    "price_override": {"centre_id": OWN},
    "sandbox_clock": {"single": True},
}


@dataclass
class Rows:
    """Writes rows by SQL, past every rule of the program. `declared` is Tortoise's description of each table."""

    connection: asyncpg.Connection
    declared: dict[str, type[Model]]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def put(self, table: str, **given: Any) -> dict[str, Any]:
        """Insert a row valid in all that is not given -> its columns. Raises what PostgreSQL raises."""
        row = await self.valid(table, **given)
        columns = ", ".join(f'"{name}"' for name in row)
        places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
        await self.connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", *row.values())
        return row

    async def valid(self, table: str, **given: Any) -> dict[str, Any]:
        """The columns of a valid row; the rows it has to refer to are inserted."""
        wanted = {**VALID.get(table, {}), **given}
        meta = self.declared[table]._meta
        row = {}
        for column, name in meta.fields_db_projection_reverse.items():
            described = meta.fields_map[name]
            value = wanted.get(column)
            refers: Any = described.reference
            if refers is not None and (value == OWN or (column not in wanted and not described.null)):
                value = (await self.put(refers.related_model._meta.db_table))["id"]
            elif column not in wanted and not described.null:
                value = self._some(described)
            row[column] = value
        return row

    def _some(self, described: fields.Field[Any]) -> Any:
        default = described.default() if callable(described.default) else described.default
        number = next(self.numbers)
        text = "GBP" if getattr(described, "max_length", None) == 3 else f"t{number}"
        kinds: dict[type, Any] = {
            str: text,
            int: number,
            bool: False,
            UUID: new_id(),
            datetime: NOON,
            date: NOON.date(),
        }
        if described.field_type in (dict, list) or isinstance(described, fields.JSONField):
            return "{}"
        words: Iterable[Enum] | None = getattr(described, "enum_type", None)
        if words is not None:
            return (default or next(iter(words))).value
        return default if default is not None else kinds[described.field_type]


@pytest_asyncio.fixture(scope="module")
async def declared(database_url: str) -> AsyncIterator[dict[str, type[Model]]]:
    """Table -> its model, with relations worked out."""
    await Tortoise.init(config=tortoise_config(database_url), _enable_global_fallback=True)
    assert Tortoise.apps is not None
    yield {model._meta.db_table: model for model in Tortoise.apps.get_models_iterable()}
    await Tortoise.close_connections()


@pytest_asyncio.fixture(scope="module")
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the module's migrated database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def rows(connection: asyncpg.Connection, declared: dict[str, type[Model]]) -> AsyncIterator[Rows]:
    """Rows that are gone when the test ends."""
    transaction = connection.transaction()
    await transaction.start()
    yield Rows(connection, declared)
    await transaction.rollback()


def foreign_keys(model: type[Model]) -> list[tuple[str, str]]:
    """A model's (column, table it refers to) pairs."""
    related = [model._meta.fields_map[name] for name in (*model._meta.fk_fields, *model._meta.o2o_fields)]
    return [
        (str(each.source_field), each.related_model._meta.db_table)
        for each in related
        if isinstance(each, ForeignKeyFieldInstance)
    ]
