"""The same query, answered by plans and by graphql-core over the same trees, gives the same bytes for everybody."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from graphql import (
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    is_leaf_type,
    is_required_argument,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolvers.reads.arguments import declared
from resolvers.reads.ids import encode
from resolvers.reads.meaning import ENTITIES
from schema.root import schema

CORE: GraphQLSchema = schema._schema
ROLES = ("admin", "finance", "desk", "partner", "partner_money", "member")
NUMBERS = [*range(1, 3), *range(11, 13), *range(21, 23), *range(30, 119)]


def fields_of(type_: GraphQLObjectType, depth: int) -> str:
    """Every field of a type, and of what it leads to down to a depth."""
    chosen = ["__typename"]
    for name, field in type_.fields.items():
        inner = get_named_type(field.type)
        if is_leaf_type(inner):
            chosen.append(name)
        elif depth and isinstance(inner, GraphQLObjectType):
            chosen.append(f"{name} {fields_of(inner, depth - 1)}")
    return f"{{ {' '.join(chosen)} }}"


@pytest.mark.parametrize("type_name", ENTITIES)
async def test_every_declared_field_of_every_type(type_name: str, ask: Any) -> None:
    type_: Any = CORE.type_map[type_name]
    query = f"query($ids: [ID!]!) {{ nodes(ids: $ids) {{ ... on {type_name} {fields_of(type_, 3)} }} }}"
    ids = [encode(type_name, UUID(int=number)) for number in NUMBERS]
    for role in ROLES:
        compiled = await ask.answer(query, role, ids=ids)
        assert compiled == await ask.walk(query, role, ids=ids)
        assert role != "admin" or f'"__typename":"{type_name}"' in compiled


@st.composite
def selections(draw: st.DrawFn, type_: GraphQLObjectType, depth: int) -> str:
    """A valid selection of a type: some fields, aliased apart, in any order, some of them in fragments."""
    names = [name for name, told in type_.fields.items() if depth or is_leaf_type(get_named_type(told.type))]
    chosen = draw(st.lists(st.sampled_from([*names, "__typename"]), min_size=1, max_size=5))
    made = [draw(field(type_, name, f"a{place}", depth)) for place, name in enumerate(chosen)]
    if type_.name in ENTITIES and draw(st.booleans()):
        made.append(f"... on Node {{ id }} ... on {type_.name} {{ own: id }}")
    return f"{{ {' '.join(made)} }}"


@st.composite
def field(draw: st.DrawFn, type_: GraphQLObjectType, name: str, alias: str, depth: int) -> str:
    """One field as it may be asked for."""
    if name == "__typename":
        return f"{alias}: __typename"
    found = type_.fields[name]
    inner = get_named_type(found.type)
    given = ""
    if "first" in found.args:
        given = f"({draw(st.sampled_from(['first', 'last']))}: {draw(st.integers(1, 4))})"
    directive = draw(st.sampled_from(["", "", " @include(if: true)", " @skip(if: true)"]))
    if is_leaf_type(inner):
        return f"{alias}: {name}{given}{directive}"
    assert isinstance(inner, GraphQLObjectType)
    return f"{alias}: {name}{given}{directive} {draw(selections(inner, depth - 1))}"


def roots() -> Iterator[str]:
    """The root fields that are compiled and need no argument."""
    query: Any = CORE.query_type
    for name, found in query.fields.items():
        required = any(is_required_argument(argument) for argument in found.args.values())
        if declared(found) is not None and not required and not is_abstract_type(get_named_type(found.type)):
            yield name


@st.composite
def queries(draw: st.DrawFn) -> str:
    """A valid query of one to three roots."""
    query: Any = CORE.query_type
    names = draw(st.lists(st.sampled_from(sorted(roots())), min_size=1, max_size=3))
    return f"{{ {' '.join(draw(field(query, name, f'r{place}', 5)) for place, name in enumerate(names))} }}"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(query=queries(), role=st.sampled_from(ROLES))
async def test_random_queries(query: str, role: str, ask: Any) -> None:
    assert await ask.answer(query, role) == await ask.walk(query, role)


def test_everything_in_the_schema_is_described() -> None:
    silent = []
    for name, type_ in CORE.type_map.items():
        if name.startswith("__") or name in ("String", "Int", "Boolean", "ID", "Float", "Mutation"):
            continue
        silent += [name] if not type_.description else []
        for member, told in (getattr(type_, "fields", None) or getattr(type_, "values", None) or {}).items():
            silent += [f"{name}.{member}"] if not told.description else []
            for argument, asked in getattr(told, "args", {}).items():
                silent += [f"{name}.{member}({argument})"] if not asked.description else []
    assert silent == []


def test_relations_may_be_hidden_and_pages_may_not() -> None:
    for type_name in ENTITIES:
        type_: Any = CORE.type_map[type_name]
        for name, found in type_.fields.items():
            to_one = get_named_type(found.type).name in ENTITIES and "[" not in str(found.type)
            assert not (to_one and isinstance(found.type, GraphQLNonNull)), f"{type_name}.{name}"
