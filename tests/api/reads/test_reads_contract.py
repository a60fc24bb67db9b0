"""Promises every field of the schema keeps, found in the schema itself: whose ids it takes, whose cursors."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
)

from resolvers.permissions import audience
from resolvers.reads.arguments import declared
from resolvers.reads.ids import encode
from resolvers.reads.meaning import ENTITIES, Text
from schema.root import schema

ROOT = Path(__file__).resolve().parents[3]
_NULLABLE = "SELECT table_name::text, column_name::text FROM information_schema.columns WHERE is_nullable = 'YES'"

QUERIES: dict[str, GraphQLField] = schema._schema.query_type.fields  # type: ignore[union-attr]  # it has queries
# Places that take an id of more than one type, or of any.
OF_MANY = {"node.id", "nodes.ids", "explain.id", "auditTrail.subjectId", "moneyProof.about"}
# What is computed needs its other arguments: (the arguments as they are right, what is asked of the answer).
COMPUTED: dict[str, tuple[dict[str, str], str]] = {
    "priceAt": ({"pricingOptionId": "PricingOption 50", "centreId": "Centre 41", "on": "2026-01-01"}, "{ level }"),
    "bookingQuotes": ({"courseId": "Course 80", "userId": "User 1", "packageId": "Package 85"}, "{ method }"),
    "whyNot": (
        {"courseId": "Course 80", "userId": "User 1", "packageId": "Package 85", "method": "PACKAGE"},
        "{ __typename }",
    ),
    "mayEnter": ({"userId": "User 1", "centreId": "Centre 41"}, "{ mayEnter }"),
    "mappingSheet": ({"membershipTypeId": "MembershipType 53"}, "{ __typename }"),
    "mappingSheetCsv": ({"membershipTypeId": "MembershipType 53"}, ""),
    "revenueReport": (
        {"from": "2026-01-01", "to": "2026-02-01", "by": "CLASS", "centreId": "Centre 41"},
        "{ __typename }",
    ),
}
# `whyNot` asks one question of two: these are the other's.
OTHERWISE = {"whyNot.attendanceId", "whyNot.invoiceId"}


def places(field: GraphQLField) -> Iterator[tuple[str, ...]]:
    """Where a field takes an id: as an argument, or inside one."""
    for name, argument in field.args.items():
        asked = get_named_type(argument.type)
        if asked.name == "ID":
            yield (name,)
        if isinstance(asked, GraphQLInputObjectType):
            yield from ((name, each) for each, inner in asked.fields.items() if get_named_type(inner.type).name == "ID")


def literal(path: tuple[str, ...], gid: str) -> str:
    """The arguments that put an id into its place."""
    value = f'"{gid}"'
    for name in reversed(path[1:]):
        value = f"{{{name}: {value}}}"
    return f"{path[0]}: {value}"


def selection(field: GraphQLField) -> str:
    return "{ totalCount }" if get_named_type(field.type).name.endswith("Connection") else "{ __typename }"


def tells(value: Any) -> bool:
    """Whether an answer is more than nothing."""
    return bool(value["totalCount"]) if isinstance(value, dict) and "totalCount" in value else bool(value)


async def telling(ask: Any, field: str, path: tuple[str, ...], ids: list[str]) -> list[str]:
    """Those of the ids for which the place gives anything."""
    asked = QUERIES[field]
    each = (f"a{number}: {field}({literal(path, gid)}) {selection(asked)}" for number, gid in enumerate(ids))
    data, errors = await ask.result(f"{{ {' '.join(each)} }}")
    assert not errors, (field, path, errors)
    return [ids[int(key[1:])] for key, value in data.items() if tells(value)]


async def test_a_place_for_an_id_takes_the_ids_of_one_type_only(ask: Any) -> None:
    named = [(field, path) for field, asked in QUERIES.items() for path in places(asked)]
    looked = [(field, path) for field, path in named if field not in COMPUTED]
    real = await _one_of_each(ask)
    shown = set()
    for field, path in looked:
        if field == "auditTrail" or ".".join((field, *path)) in OF_MANY:
            continue
        found = await telling(ask, field, path, [encode(kind, key) for kind, key in real])
        kinds = [(kind, key) for kind, key in real if encode(kind, key) in found]
        assert len({kind for kind, _ in kinds}) <= 1, (field, path, kinds)
        for kind, key in kinds[:1]:
            shown.add((field, path))
            forged = [encode(other, key) for other in ENTITIES if other != kind]
            assert await telling(ask, field, path, forged) == [], (field, path)
        _, (error,) = await ask.result(f"{{ {field}({literal(path, 'nonsense')}) {selection(QUERIES[field])} }}")
        assert error.extensions["code"] == "BAD_USER_INPUT", (field, path)
    assert len(shown) >= 40, sorted(set(looked) - shown)


async def _one_of_each(ask: Any) -> list[tuple[str, UUID]]:
    """Things that are there, among them whatever the others refer to."""
    keys = [UUID(int=number) for number in range(1, 131)]
    there = []
    for kind in ENTITIES:
        query = "query ($ids: [ID!]!) { nodes(ids: $ids) { id } }"
        found: list[UUID] = []
        for part in (keys[:100], keys[100:]):
            data, errors = await ask.result(query, ids=[encode(kind, key) for key in part])
            assert not errors
            found += [key for key, node in zip(part, data["nodes"], strict=True) if node]
        there += [(kind, key) for key in found[:4]]
    return there


async def test_what_is_computed_refuses_the_ids_of_others_too(ask: Any) -> None:
    covered = set()
    for field, (right, selected) in COMPUTED.items():
        for path in places(QUERIES[field]):
            covered.add(".".join((field, *path)))
            if ".".join((field, *path)) in OTHERWISE:
                continue
            data, errors = await ask.result(_computed(field, right, selected))
            assert not errors, (field, errors)
            kind, _, key = right[path[0]].partition(" ")
            wrong = {**right, path[0]: f"{'User' if kind != 'User' else 'Course'} {key}"}
            data, errors = await ask.result(_computed(field, wrong, selected))
            if errors:
                assert {error.extensions["code"] for error in errors} <= {"BAD_USER_INPUT"}, (field, path)
            else:
                assert not _rows(data[field]), (field, path, data)
    assert covered >= OTHERWISE


def _rows(value: Any) -> Any:
    """An answer less a CSV's line of headings."""
    return value.splitlines()[1:] if isinstance(value, str) else value


def _computed(field: str, arguments: dict[str, str], selected: str) -> str:
    def written(text: str) -> str:
        kind, space, key = text.partition(" ")
        if space:
            return f'"{encode(kind, UUID(int=int(key)))}"'
        return text if text.isupper() else f'"{text}"'

    given = ", ".join(f"{name}: {written(value)}" for name, value in arguments.items())
    return f"{{ {field}({given}) {selected} }}"


async def test_a_cursor_of_any_list_is_refused_by_another_list_order_or_filter(ask: Any) -> None:
    lists = [name for name, field in QUERIES.items() if "after" in field.args and name != "auditTrail"]
    cursors = {}
    for name in lists:
        data, errors = await ask.result(f"{{ {name}(first: 1) {{ edges {{ cursor node {{ id }} }} }} }}")
        assert not errors, (name, errors)
        if data[name]["edges"]:
            cursors[name] = data[name]["edges"][0]
    assert len(cursors) >= 20, sorted(set(lists) - cursors.keys())
    for number, (name, edge) in enumerate(cursors.items()):
        after = f'first: 1, after: "{edge["cursor"]}"'
        other = list(cursors)[number - 1]
        asked = [
            f"{other}({after})",
            f"{name}({after}, orderBy: [{{field: {_some_order(name)}, direction: DESC}}])",
            f'{name}({after}, filter: {{ids: ["{edge["node"]["id"]}"]}})',
        ]
        for each in asked:
            _, errors = await ask.result(f"{{ {each} {{ nodes {{ id }} }} }}")
            assert [error.extensions["code"] for error in errors] == ["INVALID_CURSOR"], each
        _, errors = await ask.result(f"{{ {name}({after}) {{ nodes {{ id }} }} }}")
        assert not errors, name


def _some_order(name: str) -> str:
    order = get_named_type(QUERIES[name].args["orderBy"].type)
    assert isinstance(order, GraphQLInputObjectType)
    words = get_named_type(order.fields["field"].type)
    assert isinstance(words, GraphQLEnumType)
    return str(next(iter(words.values)))


def test_lists_are_connections_narrowed_by_typed_filters_and_sorted_by_typed_orders() -> None:
    for name, field in QUERIES.items():
        made = get_named_type(field.type)
        if not made.name.endswith("Connection"):
            continue
        assert isinstance(made, GraphQLObjectType)
        assert made.fields.keys() >= {"edges", "nodes", "pageInfo", "totalCount"}, name
        thing = made.name.removesuffix("Connection")
        arguments = {each: str(argument.type) for each, argument in field.args.items()}
        assert {"first": "Int", "last": "Int", "after": "String", "before": "String"}.items() <= arguments.items(), name
        assert (arguments["filter"], arguments["orderBy"]) == (f"{thing}Filter", f"[{thing}Order!]"), name


async def test_what_is_never_null_in_the_schema_is_never_null_in_the_table(ask: Any, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    may_be = {tuple(row) for row in await connection.fetch(_NULLABLE)}
    await connection.close()
    for name, entity in ENTITIES.items():
        type_: Any = schema._schema.type_map[name]
        for field in type_.fields.values():
            read = declared(field)
            if isinstance(field.type, GraphQLNonNull) and isinstance(read, Text) and read.sql is None:
                column = field.extensions["strawberry-definition"].python_name
                assert (entity.table, column) not in may_be


async def test_the_worked_example_of_the_page_is_how_it_works(ask: Any, viewers: dict[str, Any]) -> None:
    page = (ROOT / "docs" / "reads.md").read_text()
    query, sql, answer = (
        re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL)[0] for kind in ("graphql", "sql", "json")
    )
    assert await ask.answer(query, "member", status=["ACTIVE"]) == answer.strip()
    operation = ask.reader._operation(query, None, audience(viewers["member"]))
    statement = operation.plans.made_for(operation.coerced({"status": ["ACTIVE"]})).sql
    assert re.sub(r"\s", "", statement) == re.sub(r"\s", "", sql)
