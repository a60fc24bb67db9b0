"""Every declared filter and order of every list is read by an index, however many rows there are, as the plans run."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest
from graphql import GraphQLInputObjectType, get_named_type, is_enum_type, is_list_type

from models.actions import fee_calendar
from resolvers.permissions import audience
from resolvers.reads.arguments import declared
from resolvers.reads.ids import encode
from resolvers.reads.meaning import ENTITIES, Relation, Shape
from resolvers.reads.statement import Asked
from schema.root import schema

CORE = schema._schema
ROWS, PAGE = 5_000, 50
# what an operator sets up, and files that expire: some dozens of rows, which are read through in no time
SMALL = {
    "export_file", "api_key", "centre", "class_type", "course_mapping", "coverage", "membership_type", "package_offer",
    "payment_option", "price_override", "pricing_option", "probe_run", "provider_setting", "setting_group",
    "user_field", "webhook_endpoint",
}  # fmt: skip
# what is known of a row by its neighbours only: each is looked at, with a look into an index, until the page is full
ROW_BY_ROW = {"endsAfter", "managed"}
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS kind, EXISTS (
  SELECT 1 FROM pg_index i WHERE i.indrelid = a.attrelid AND i.indisunique AND a.attnum = ANY(i.indkey)) AS single
FROM pg_attribute a WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped
"""
_BOUND = """
SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f') ORDER BY contype DESC
"""


def key(number: str) -> str:
    """SQL of a number -> of the id of that row, the same in every table."""
    return f"('01900000-0000-7000-8000-' || lpad(({number})::text, 12, '0'))::uuid"


def made(name: str, kind: str, single: bool) -> str:
    """SQL of a column of row `n`: ten rows to each owner, a minute between instants, what is unique numbered."""
    if name == "id":
        return key("n")
    if kind == "uuid":
        return key("n" if single else f"1 + n % {ROWS // 10}")
    if kind == "character varying" and single:
        return f"CASE WHEN r.{name} ~ '^[A-Z_]+$' THEN r.{name} ELSE left(r.{name}, 20) || n END"
    if kind == "integer" and single:
        return "n"
    if kind == "date":
        return f"r.{name} + n"
    if kind.startswith("timestamp"):
        return f"r.{name} + make_interval(mins => n)"
    return f"r.{name}"


@pytest.fixture(scope="module")
async def large(ask: Any, database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """The rows of the little centre many times over, in tables without their constraints."""
    connection = await asyncpg.connect(database_url, statement_cache_size=0, server_settings={"statement_timeout": "0"})
    for (drop,) in await connection.fetch(_BOUND):
        await connection.execute(drop)
    for table in sorted({each.table for each in ENTITIES.values()}):
        columns = await connection.fetch(_COLUMNS, table)
        named = ", ".join(f'"{name}"' for name, *_ in columns)
        values = ", ".join(made(*column) for column in columns)
        count = 40 if table in SMALL else ROWS
        first = f"(SELECT * FROM {table} ORDER BY id LIMIT 1) r"
        await connection.execute(
            f"INSERT INTO {table} ({named}) SELECT {values} FROM {first}, generate_series(1, {count}) n"
            " ON CONFLICT DO NOTHING"
        )
    await connection.execute("ALTER TABLE ledger_entry DISABLE TRIGGER USER")
    for target, name in sorted({(dict(lists())[root], name) for root, name in filters()}):
        await few_of_each(connection, target, name)
    await connection.execute("ANALYZE")
    for name, word in (("jit", "off"), ("plan_cache_mode", "force_generic_plan"), ("random_page_cost", "1.1")):
        await connection.execute(f"SET {name} = '{word}'")
    yield connection
    await connection.close()


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return literal(f"{{{','.join(map(str, value))}}}")
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    if isinstance(value, str | UUID | date | datetime):
        return "'" + str(value).replace("'", "''") + "'"
    return str(value).lower()


async def read_by(
    large: asyncpg.Connection, ask: Any, viewer: Any, query: str, variables: dict[str, Any]
) -> tuple[int, dict[str, int], set[str]]:
    """A query as a viewer -> (rows answered, rows read of each large table, large tables read through)."""
    operation = ask.reader._operation(query, None, audience(viewer))
    values = operation.coerced(variables)
    assert values is not None, variables
    statement = operation.plans.made_for(values)
    given = ", ".join(literal(value) for value in statement.values(Asked(values, viewer)))
    await large.execute(f"PREPARE asked AS {statement.sql}")
    called = f"EXECUTE asked({given})" if given else "EXECUTE asked"
    try:
        body = orjson.loads(await large.fetchval(called))
        plan = orjson.loads(await large.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {called}"))[0]["Plan"]
    finally:
        await large.execute("DEALLOCATE asked")
    (root,) = body["data"].values()
    read: dict[str, int] = {}
    through = set()
    for node in nodes(plan):
        table = node.get("Relation Name")
        if table is None or table in SMALL:
            continue
        seen = sum(node.get(name, 0) for name in ("Actual Rows", "Rows Removed by Filter"))
        read[table] = read.get(table, 0) + round(seen * node["Actual Loops"])
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"]:
            through.add(table)
    return len(root["nodes"]), read, through


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def lists() -> Iterator[tuple[str, str]]:
    """Each root list, and the type of its rows."""
    query: Any = CORE.query_type
    for name, field in query.fields.items():
        read = declared(field)
        if isinstance(read, Relation) and read.shape is Shape.PAGE:
            yield name, read.target


def orders() -> Iterator[tuple[str, str, str]]:
    for name, target in lists():
        kind: Any = CORE.type_map[f"{target}OrderField"]
        for step in kind.values:
            for direction in ("ASC", "DESC"):
                yield name, step, direction


def filters() -> Iterator[tuple[str, str]]:
    for name, target in lists():
        kind: Any = CORE.type_map[f"{target}Filter"]
        for field in kind.fields:
            yield name, field


def asked_of(root: str, inner: str) -> str:
    subject = "subjectId: $subject, " if root == "auditTrail" else ""
    named = "($subject: ID!, $f: {0})" if subject else "($f: {0})"
    target = dict(lists())[root]
    return f"query {named.format(f'{target}Filter')} {{ x: {root}({subject}filter: $f, {inner}) {{ nodes {{ id }} }} }}"


def subject_of(root: str) -> dict[str, Any]:
    return {"subject": encode("User", number(1))} if root == "auditTrail" else {}


def number(row: int) -> UUID:
    return UUID(f"01900000-0000-7000-8000-{row:012d}")


def flat(found: tuple[int, dict[str, int], set[str]]) -> bool:
    """Raise AssertionError where a table is read through, or more of it than a few rows for each one answered."""
    answered, read, through = found
    assert not through, f"read through: {through}"
    assert all(rows <= 3 * answered + 10 for rows in read.values()), (answered, read)
    return True


@pytest.mark.parametrize(("root", "step", "direction"), list(orders()))
async def test_an_order_is_an_index(
    root: str, step: str, direction: str, large: Any, ask: Any, viewers: dict[str, Any]
) -> None:
    query = asked_of(root, f"first: {PAGE}, orderBy: [{{field: {step}, direction: {direction}}}]")
    flat(await read_by(large, ask, viewers["admin"], query, subject_of(root)))


@pytest.mark.parametrize(("root", "name"), list(filters()))
async def test_a_filter_is_an_index(root: str, name: str, large: Any, ask: Any, viewers: dict[str, Any]) -> None:
    query = asked_of(root, f"first: {PAGE}")
    for value in await said(large, dict(lists())[root], name):
        found = await read_by(large, ask, viewers["admin"], query, {"f": {name: value}, **subject_of(root)})
        assert not found[2] if name in ROW_BY_ROW else flat(found), value


@pytest.mark.parametrize("root", [name for name, _ in lists()])
async def test_who_sees_few_rows_reads_few(root: str, large: Any, ask: Any, viewers: dict[str, Any]) -> None:
    query = asked_of(root, f"first: {PAGE}")
    for role in ("member", "desk", "finance", "partner", "partner_money"):
        viewer = replace(viewers[role], user_id=number(3) if role == "member" else None, key_id=number(3))
        assert flat(await read_by(large, ask, viewer, query, subject_of(root))), role


async def test_memberships_that_ended_are_not_looked_at_for_fees(large: asyncpg.Connection) -> None:
    await large.execute("BEGIN")
    try:
        await large.execute(
            "UPDATE membership SET next_fee_on = NULL, amount = 5,"
            f" status = CASE WHEN id > '{number(9)}' THEN 'CANCELLED' ELSE 'ACTIVE' END"
        )
        await large.execute(f"PREPARE unasked(uuid, int) AS {fee_calendar._WITHOUT}")
        called = f"EXECUTE unasked('{UUID(int=0)}', 200)"
        plan = orjson.loads(await large.fetchval(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {called}"))[0]["Plan"]
        (scan,) = (node for node in nodes(plan) if node.get("Relation Name") == "membership")
        assert (scan["Index Name"], scan.get("Rows Removed by Filter", 0)) == ("membership_unasked", 0)
        await large.execute("DEALLOCATE unasked")
    finally:
        await large.execute("ROLLBACK")


def column_of(target: str, name: str) -> tuple[str, str, Any]:
    """A filter's field -> its table, the column it is about, the type of what it is given."""
    kind: Any = CORE.type_map[f"{target}Filter"]
    field = kind.fields[name]
    found = re.search(r"\{row\}\.(\w+)", declared(field).sql)
    assert found is not None
    return ENTITIES[target].table, found[1], get_named_type(field.type)


async def few_of_each(connection: asyncpg.Connection, target: str, name: str) -> None:
    """Give a few rows another word, or another yes or no, than all the others have."""
    table, column, inner = column_of(target, name)
    if is_enum_type(inner):
        (common,) = await connection.fetchrow(f"SELECT {column} FROM {table} ORDER BY id LIMIT 1")
        others = [f"'{word}'" for word in inner.values if word != common]
    elif inner.name == "String" and name not in ("email", "courseRef"):
        others = ["'other'"]
    elif inner.name == "Boolean" and name not in ROW_BY_ROW and table not in SMALL:
        given = {"credit_used": "5 - credit_used", "hold": "'OTHER'", "user_id": key("1")}.get(column, "now()")
        others = [given if column == "credit_used" else f"CASE WHEN {column} IS NULL THEN {given} END"]
    else:
        return
    for place, other in enumerate(others):
        few = [number(ROWS // 3 + place), number(ROWS // 2 + place)]
        await connection.execute(f"UPDATE {table} SET {column} = {other} WHERE id = ANY($1::uuid[])", few)


async def said(large: asyncpg.Connection, target: str, name: str) -> list[Any]:
    """What a filter may be given: what most rows have, what few have, both; a stretch; an owner."""
    table, column, inner = column_of(target, name)
    kind: Any = CORE.type_map[f"{target}Filter"]
    many = is_list_type(kind.fields[name].type)
    if isinstance(inner, GraphQLInputObjectType):
        low, high = await large.fetchrow(f"SELECT min({column}), max({column}) FROM {table}")
        middle = low + (high - low) / 2
        written = str(middle) if inner.name == "DateRange" else f"{middle:%Y-%m-%dT%H:%M:%SZ}"
        return [{"gte": written}, {"lt": written}]
    if inner.name == "ID":
        of = {"userId": "User", "typeId": "MembershipType"}.get(name, f"{name[0].upper()}{name[1:-2]}")
        ids = [encode(target if many else of, number(row)) for row in (3, 4)]
        return [ids] if many else ids[:1]
    if inner.name == "Boolean":
        return [True, False]
    if inner.name == "DateTime":
        return ["2026-01-01T00:00:00Z", "2100-01-01T00:00:00Z"]
    (common,) = await large.fetchrow(f"SELECT {column} FROM {table} WHERE id = $1", number(1))
    if not many:
        return [common]
    rare = next(word for word in inner.values if word != common) if is_enum_type(inner) else "other"
    return [[common], [rare], [common, rare]] if common else [[rare]]
