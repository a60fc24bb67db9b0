"""Many more rows of every kind: copies of those there are, their columns drawn anew within what the tables allow."""

import json
import re
from collections import defaultdict
from datetime import UTC, date, datetime
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
from graphql import get_named_type, is_enum_type

from tests.api.reads.oracle.answer import KINDS, SCHEMA
from tests.api.reads.oracle.types import COLUMNS
from tests.api.reads.oracle.world import snake, table_of

COPIES = 14
ATTEMPTS = 12
ALONE = {"billing_policy", "ledger_entry"}  # one row; rows that others must add up to

_COLUMNS = """SELECT c.table_name, c.column_name, c.data_type, c.is_nullable = 'YES', c.character_maximum_length
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER'"""
_KEYS = """SELECT k.conrelid::regclass::text, a.attname, k.confrelid::regclass::text FROM pg_constraint k
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] WHERE k.contype = 'f'"""
_CHECKS = "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'c'"
_WORDS = re.compile(r"CHECK \(\(\(?(\w+)\)?(?:::text)? = ANY \(+ARRAY\[(.*)\]\)?[^()]*\)+")

TEXTS = (
    "",
    'quo"ted',
    "back\\slash",
    "new\nline\ttab",
    "Ågren 😀",
    "\u2028</script>",
    "\x01\x7f",
    "a",
    "B",
    "ann@example.org",
)
DAYS = (date(2026, 1, 1), date(2026, 1, 3), date(2026, 1, 3), date(2026, 2, 28), date(1999, 12, 31), date(9999, 12, 31))
INSTANTS = tuple(
    datetime(2026, 1, day, 11, 0, 0, micro, tzinfo=UTC)
    for day in (1, 3, 5, 31)
    for micro in (0, 0, 500_000, 120, 999_999)
)
NUMBERS = (0, 1, 2, 5, 12, 100, 1999)
RECORDS: tuple[Any, ...] = ({}, {"b": 1, "aa": None, "a": 'quo"ted'}, {"n": 2, "deep": {"x": [1, "y"]}, "yes": True})
STEPS: tuple[Any, ...] = (
    [],
    ["a person said so"],
    [{"rule": "R1", "text": "so", "figures": {"b": 2, "a": "x"}}, {"text": "then"}],
)
CURRENCIES = ("GBP", "JPY", "BHD")


class Column(NamedTuple):
    """A column and what it may hold."""

    kind: str
    nullable: bool
    most: int | None
    words: tuple[str, ...] = ()
    target: str | None = None


async def shake(database_url: str, seed: int) -> None:
    """Add rows to every table that has some."""
    connection = await asyncpg.connect(database_url)
    random, tables = Random(seed), await _tables(connection)
    rows = {name: [dict(row) for row in await connection.fetch(f'SELECT * FROM "{name}"')] for name in tables}
    for _ in range(COPIES):
        for name, columns in tables.items():
            if name in ALONE or not rows[name]:
                continue
            for _ in range(ATTEMPTS):
                made = _drawn(random, random.choice(rows[name]), columns, rows)
                if await _kept(connection, name, made):
                    rows[name].append(made)
                    break
    await connection.close()


async def _tables(connection: Any) -> dict[str, dict[str, Column]]:
    targets = {(table, column): target for table, column, target in await connection.fetch(_KEYS)}
    words = {
        (table, found[1]): tuple(re.findall(r"'(\w+)'", found[2]))
        for table, check in await connection.fetch(_CHECKS)
        if (found := _WORDS.match(check))
    }
    for kind in KINDS:
        type_: Any = SCHEMA.type_map[kind]
        for name, told in type_.fields.items():
            if is_enum_type(asked := get_named_type(told.type)):
                words.setdefault((table_of(kind), COLUMNS.get(f"{kind}.{name}", snake(name))), tuple(asked.values))
    tables: dict[str, dict[str, Column]] = defaultdict(dict)
    for table, name, kind, nullable, most in await connection.fetch(_COLUMNS):
        at = (table, name)
        tables[table][name] = Column(kind, nullable, most, words.get(at, ()), targets.get(at))
    return {
        name: columns for name, columns in sorted(tables.items()) if "id" in columns and columns["id"].kind == "uuid"
    }


def _drawn(random: Random, row: dict[str, Any], columns: dict[str, Column], rows: Any) -> Any:
    made = {name: _value(random, name, columns[name], row[name], rows) for name in row}
    if "purpose" in made and "booking_id" in made:  # a payment is for one thing
        for purpose, key in (("BOOKING", "booking"), ("MEMBERSHIP_FEE", "membership"), ("PACKAGE", "package")):
            made[f"{key}_id"] = made[f"{key}_id"] if made["purpose"] == purpose else None
    return {**made, "id": UUID(int=random.getrandbits(128))}


def _value(random: Random, name: str, column: Column, was: Any, rows: Any) -> Any:
    if column.nullable and random.random() < 0.2:
        return None
    if column.target and (column.nullable or random.random() < 0.7):
        those = rows[column.target] if random.random() < 0.5 else rows[column.target][:2]  # some have many
        return random.choice(those)["id"] if those else was
    if random.random() < 0.4 or name == "subject_type":  # the name of a table
        return was
    if column.words and column.kind != "jsonb":
        return random.choice(column.words)
    if name == "currency":
        return random.choice(CURRENCIES)
    match column.kind:
        case "boolean":
            return random.random() < 0.5
        case "integer" | "smallint" | "bigint":
            return random.choice(NUMBERS)
        case "date":
            return random.choice(DAYS)
        case "timestamp with time zone":
            return random.choice(INSTANTS)
        case "character varying" | "text" if was is None or not re.fullmatch(r"[A-Z_]+", was):
            return _text(random, column.most)
        case "jsonb":
            return _json(random, was)
    return was


def _text(random: Random, most: int | None) -> str:
    text = random.choice(TEXTS)
    return (text if random.random() < 0.6 else f"{text}{random.randrange(10_000)}")[:most]


def _json(random: Random, was: str | None) -> str | None:
    before = json.loads(was) if was else {}
    if isinstance(before, dict) and not {"candidates", "was"} & before.keys():
        return json.dumps(random.choice(RECORDS))
    if isinstance(before, list) and not any(isinstance(each, int) for each in before) and before:
        return json.dumps(random.choice(STEPS)) if isinstance(before[0], dict) else was
    return was


async def _kept(connection: Any, table: str, row: dict[str, Any]) -> bool:
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join(f"${place}" for place in range(1, len(row) + 1))
    try:
        await connection.execute(f'INSERT INTO "{table}" ({names}) VALUES ({places})', *row.values())
    except asyncpg.IntegrityConstraintViolationError:
        return False
    return True
