"""What every table shares: a time-ordered id made in Python, the instants of birth and last change, plain look-ups.

Most look-ups of an action are rows by what their columns hold. Their statements are written once for each set of
columns; what is asked otherwise (relations, ranges, counts) is the ORM's, which writes a statement each time anew.
"""

from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

import uuid_utils.compat
from tortoise import fields
from tortoise.exceptions import DoesNotExist
from tortoise.migrations.constraints import CheckConstraint, UniqueConstraint
from tortoise.models import Model

from models.tables import sql

KEPT_STATEMENTS = 2_000


def new_id() -> UUID:
    """A fresh UUIDv7: made here, so that a row's id is known before it is written."""
    return uuid_utils.compat.uuid7()


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
        columns = cls._meta.fields_map
        given = [columns[name].to_db_value(value, cls) for name, value in equal.items() if value is not None]
        asked = tuple((name, value is None) for name, value in equal.items())
        return [cls._init_from_db(**found) for found in await sql.rows(_select(cls, asked, order, lock), *given)]

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
    words = f"{', '.join(column.values())} FROM {table._meta.db_table}{where}{sorted_by}{' FOR UPDATE' * lock}"
    return f"SELECT {words}"


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
