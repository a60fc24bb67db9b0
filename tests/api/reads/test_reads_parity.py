"""Every field, answered by plans and by graphql-core over the same trees, gives the same bytes for everybody."""

from typing import Any
from uuid import UUID

import pytest
from graphql import (
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
)

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
