"""What every table shares: a time-ordered id made in Python, the instants of birth and last change, plain statements.

Most of what an action asks is rows by what their columns hold, and what it writes is a row. These statements are put
together once for each set of columns; what is asked otherwise (relations, ranges, counts) is the ORM's, which puts a
statement together each time anew.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

import uuid_utils
import uuid_utils.compat
from asyncpg.pgproto import pgproto
from tortoise import fields
from tortoise.exceptions import DoesNotExist
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.tables import sql

KEPT_STATEMENTS = 2_000


def new_id() -> UUID:
    """A fresh UUIDv7: made here, so that a row's id is known before it is written."""
    return uuid_utils.compat.uuid7()


def written_id() -> UUID:
    """A fresh UUIDv7 of the driver's own kind, as those it reads: a third of the price, for rows by the thousand."""
    made: UUID = pgproto.UUID(uuid_utils.uuid7().bytes)
    return made


class Row(Model):
    """A stored thing with an id."""

    id = fields.UUIDField(primary_key=True, default=new_id)
    created_at = fields.DatetimeField(auto_now_add=True)
    updated_at = fields.DatetimeField(auto_now=True)

    class Meta:
        abstract = True

    @classmethod
    async def every(cls, *, order: tuple[str, ...] = (), lock: bool = False, **equal: Any) -> list[Self]:
        """The rows whose columns hold these values, None for nothing; with `lock` until the transaction ends."""
        return [cls._init_from_db(**found) for found in await _found(cls, equal, order, lock=lock)]

    @classmethod
    async def has(cls, **equal: Any) -> bool:
        """Whether there is a row whose columns hold these values."""
        return bool(await _found(cls, equal))

    @classmethod
    async def one(cls, *, lock: bool = False, **equal: Any) -> Self | None:
        """The row whose columns hold these values, where there is one; there are never more."""
        found = await cls.every(lock=lock, **equal)
        return found[0] if found else None

    @classmethod
    async def known(cls, *, lock: bool = False, **equal: Any) -> Self:
        """As `one`, of what must be there. Raises DoesNotExist."""
        found = await cls.every(lock=lock, **equal)
        if not found:
            raise DoesNotExist(cls)
        return found[0]

    async def save(
        self,
        using_db: Any = None,
        update_fields: Iterable[str] | None = None,
        force_create: bool = False,
        force_update: bool = False,
    ) -> None:
        """Write the row, or some columns of one that is stored: as Tortoise does, without signals nobody hears."""
        new = force_create or not (self._saved_in_db or force_update)
        every = (name for name in self._meta.fields_db_projection if new or name != "id")
        written = tuple(every if new or update_fields is None else update_fields)
        columns = self._meta.fields_map
        values = [columns[name].to_db_value(getattr(self, name), self) for name in written]
        if new:
            await sql.run(_insert(type(self)), *values)
        elif written:
            await sql.run(_update(type(self), written), *values, self.id)
        self._saved_in_db = True


@lru_cache(KEPT_STATEMENTS)
def _insert(table: type[Row]) -> str:
    columns = [f'"{column}"' for column in table._meta.fields_db_projection.values()]
    places = ", ".join(f"${number}" for number, _ in enumerate(columns, 1))
    # names are of declared tables, here and below
    return f"INSERT INTO {table._meta.db_table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608


@lru_cache(KEPT_STATEMENTS)
def _update(table: type[Row], names: tuple[str, ...]) -> str:
    column = table._meta.fields_db_projection
    changes = ", ".join(f'"{column[name]}" = ${number}' for number, name in enumerate(names, 1))
    return f"UPDATE {table._meta.db_table} SET {changes} WHERE id = ${len(names) + 1}"  # noqa: S608


async def _found(
    table: type[Row], equal: dict[str, Any], order: tuple[str, ...] = (), *, lock: bool = False
) -> list[dict[str, Any]]:
    columns = table._meta.fields_map
    given = [columns[name].to_db_value(value, table) for name, value in equal.items() if value is not None]
    asked = tuple((name, value is None) for name, value in equal.items())
    return await sql.rows(_select(table, asked, order, lock), *given)


@lru_cache(KEPT_STATEMENTS)
def _select(table: type[Row], asked: tuple[tuple[str, bool], ...], order: tuple[str, ...], lock: bool) -> str:
    """(table, columns and whether nothing is in them, what to sort by, whether to lock) -> the statement."""
    column = {name: f'"{column}"' for name, column in table._meta.fields_db_projection.items()}
    held, filled = [], 0
    for name, empty in asked:
        filled += not empty
        held.append(f"{column[name]} IS NULL" if empty else f"{column[name]} = ${filled}")
    where = f" WHERE {' AND '.join(held)}" if held else ""
    sorted_by = f" ORDER BY {', '.join(column[name] for name in order)}" if order else ""
    rest = f"{where}{sorted_by}{' FOR UPDATE' * lock}"
    return f"SELECT {', '.join(column.values())} FROM {table._meta.db_table}{rest}"  # noqa: S608


def choice(kind: type[StrEnum], **options: Any) -> Any:
    """A column that holds one word of `kind`."""
    return fields.CharEnumField(kind, max_length=24, **options)


def minor_units(**options: Any) -> Any:
    """A column of an amount in the currency beside it."""
    return fields.BigIntField(**options)


def document(**options: Any) -> Any:
    """A column of one JSON value."""
    return fields.JSONField(**options)


def belongs_to(table: str, known_there_as: str, *, null: bool = False, single: bool = False) -> Any:
    """A reference to a row of `table`, which cannot be deleted while it is referred to."""
    kind: Any = fields.OneToOneField if single else fields.ForeignKeyField
    return kind(f"models.{table}", related_name=known_there_as, null=null, on_delete=fields.RESTRICT)


def one_of(table: str, column: str, kind: Iterable[StrEnum]) -> CheckConstraint:
    """The database's own guard that `column` holds a known word."""
    words = ", ".join(f"'{word.value}'" for word in kind)
    return CheckConstraint(check=f"{column} IN ({words})", name=f"{table}_{column}_known")


def check(name: str, condition: str) -> CheckConstraint:
    """A named condition each row of the table keeps."""
    return CheckConstraint(check=condition, name=name)


def unique(name: str, *columns: str, where: str | None = None) -> UniqueConstraint:
    """At most one row (of those `where` holds) with the same columns."""
    return UniqueConstraint(fields=columns, name=name, condition=where)
