"""Every row of the database, read once, and how a value of one is written: by the documentation, in plain Python."""

import base64
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg

from models.rules.money import exponent

Row = Mapping[str, Any]
Part = dict[str, Any]

_CALLED = {"User": "user_account", "CardSubscription": "subscription", "WebhookEvent": "inbox_event"}
_TABLES = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'"


class Thing(NamedTuple):
    """A row as a GraphQL type."""

    kind: str
    row: Row


class World:
    """The tables by name, their rows by id."""

    def __init__(self, tables: Mapping[str, Mapping[UUID, Row]]) -> None:
        self._tables = tables

    @classmethod
    async def load(cls, database_url: str) -> "World":
        """One SELECT for each table."""
        connection = await asyncpg.connect(database_url)
        tables = {}
        for (name,) in await connection.fetch(_TABLES):
            found = [dict(row) for row in await connection.fetch(f'SELECT * FROM "{name}"')]
            tables[name] = {row["id"]: row for row in found if isinstance(row.get("id"), UUID)}
        await connection.close()
        return cls(tables)

    def table(self, name: str) -> list[Row]:
        """All rows of a table, by id."""
        return [self._tables[name][key] for key in sorted(self._tables[name])]

    def kind(self, kind: str) -> list[Row]:
        """All rows of a GraphQL type, by id."""
        return self.table(table_of(kind))

    def where(self, table: str, **columns: Any) -> list[Row]:
        """Those rows of a table whose columns hold just this."""
        return [row for row in self.table(table) if all(row[name] == value for name, value in columns.items())]

    def get(self, table: str, key: UUID | None) -> Row | None:
        """A row by its id."""
        return self._tables[table].get(key) if key else None

    def the(self, kind: str, key: UUID | None) -> Row | None:
        """A row of a GraphQL type by its id."""
        return self.get(table_of(kind), key)


def snake(name: str) -> str:
    """ "firstName" -> "first_name"."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def table_of(kind: str) -> str:
    """ "User" -> "user_account"."""
    return _CALLED.get(kind, snake(kind))


# Ids: base64url of "Type:uuid" without padding, one spelling each


def encoded(kind: str, key: UUID) -> str:
    """-> the global id."""
    return base64.urlsafe_b64encode(f"{kind}:{key}".encode()).decode().rstrip("=")


def decoded(given: str) -> tuple[str, UUID] | None:
    """-> (type, uuid), None for what is no id."""
    try:
        kind, _, key = base64.urlsafe_b64decode(given + "=" * (-len(given) % 4)).decode().partition(":")
        return (kind, UUID(key)) if encoded(kind, UUID(key)) == given and kind.isalpha() else None
    except ValueError:
        return None


# Values


def instant(given: str) -> datetime:
    """What a caller wrote -> the instant."""
    return datetime.fromisoformat(given).astimezone(UTC)


def money(minor: int | None, currency: str) -> Part | None:
    """The same amount as decimal text and as minor units; null where there is none."""
    if minor is None:
        return None
    digits = exponent(currency)
    text = f"{Decimal(minor).scaleb(-digits):.{digits}f}"
    return {"amount": text, "minorUnits": minor, "currency": currency}


def entries(record: Any) -> list[Part]:
    """The entries of a record, stored as JSON text or taken from one, as names with values."""
    pairs = (json.loads(record, parse_float=Decimal) if isinstance(record, str) else record) or {}
    return [{"name": name, "value": _text(value)} for name, value in pairs.items()]


def steps(listed: str) -> list[Part]:
    """The steps stored as a JSON list: objects, or words alone."""
    return list(_steps(json.loads(listed, parse_float=Decimal)))


def _steps(listed: list[Any]) -> Iterator[Part]:
    for step in listed:
        said = step if isinstance(step, dict) else {}
        text = said["text"] if said.get("text") is not None else step
        yield {"rule": _text(said.get("rule")), "text": _text(text), "figures": entries(said.get("figures"))}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=float)


def leaf(type_name: str, value: Any) -> Any:
    """A column's value -> as the scalar of that name is written."""
    match value:
        case datetime():
            plain = value.astimezone(UTC).replace(tzinfo=None).isoformat()
            return (plain.rstrip("0") if "." in plain else plain) + "Z"
        case date():
            return value.isoformat()
        case UUID() | int() if type_name in ("BigInt", "String"):
            return str(value)
        case _:
            return value
