"""The same query, answered by plans and by graphql-core over the same trees, gives the same bytes for everybody."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any
from uuid import UUID

import pytest
from graphql import (
    GraphQLBoolean,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    parse,
    validate,
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
IDS = [encode(name, UUID(int=number)) for name in ENTITIES for number in NUMBERS]


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


class Word(str):
    """A member of an enum, which documents name without quotes."""


@dataclass
class Written:
    """A query while it is drawn: its variables with their values, its fragments."""

    draw: Any
    types: dict[str, str] = dataclass_field(default_factory=dict)
    values: dict[str, Any] = dataclass_field(default_factory=dict)
    fragments: list[str] = dataclass_field(default_factory=list)

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def maybe(self) -> bool:
        return bool(self.draw(st.integers(0, 3)) == 0)

    def value(self, type_: Any, name: str = "") -> Any:
        """Something an argument of this type may be given."""
        plain: Any = get_nullable_type(type_)
        if is_list_type(plain):
            return [self.value(plain.of_type, name) for _ in range(self.draw(st.integers(0, 2)))]
        if isinstance(plain, GraphQLInputObjectType):
            most = 1 if plain.extensions["strawberry-definition"].is_one_of else 2
            required = [key for key, each in plain.fields.items() if isinstance(each.type, GraphQLNonNull)]
            chosen = required or self.draw(st.lists(st.sampled_from(list(plain.fields)), min_size=1, max_size=most))
            return {key: self.value(plain.fields[key].type, key) for key in chosen}
        if is_enum_type(plain):
            return Word(self.one_of(*plain.values))
        kinds: dict[str, Any] = {
            "Boolean": st.booleans(),
            "Date": st.sampled_from(["2026-01-01", "2026-01-03"]),
            "DateTime": st.sampled_from(["2026-01-03T00:00:00Z", "2026-01-05T12:00:00.5+01:00"]),
            "ID": st.sampled_from(IDS),
            "Int": st.integers(1, 4),
            "String": st.sampled_from(["Ann@Example.org", 'quo"ted', "cus_1", "GOCARDLESS", ""]),
        }
        return self.draw(kinds[plain.name])

    def given(self, value: Any, type_: Any) -> str:
        """A value as it stands in the document: written out, a variable, or a variable's default."""
        how = self.one_of("written", "written", "variable", "default")
        if how == "written":
            return printed(value)
        name = f"v{len(self.types)}"
        if how == "default" and not isinstance(type_, GraphQLNonNull):
            self.types[name] = f"{type_} = {printed(value)}"
        else:
            self.types[name] = str(type_)
            self.values[name] = value
        return f"${name}"

    def arguments(self, found: Any) -> str:
        """Those a field requires, a page's size, and some of the others."""
        asked = [name for name, each in found.args.items() if is_required_argument(each)]
        if "first" in found.args:
            asked += [self.one_of("first", "last")]
            asked += [name for name in ("filter", "orderBy") if self.maybe()]
        made = {name: self.given(self.value(found.args[name].type, name), found.args[name].type) for name in asked}
        return f"({', '.join(f'{name}: {text}' for name, text in made.items())})" if made else ""

    def directive(self) -> str:
        if not self.maybe():
            return ""
        name, value = self.one_of("include", "skip"), self.draw(st.booleans())
        return f" @{name}(if: {self.given(value, GraphQLNonNull(GraphQLBoolean))})"

    def selection(self, type_: GraphQLObjectType, depth: int) -> str:
        """Some fields of a type, aliased apart, in any order, some of them in fragments."""
        names = [name for name, told in type_.fields.items() if depth or is_leaf_type(get_named_type(told.type))]
        chosen = self.draw(st.lists(st.sampled_from([*names, "__typename"]), min_size=1, max_size=5))
        made = [self.field(type_, name, f"a{place}", depth) for place, name in enumerate(chosen)]
        if type_.name in ENTITIES and self.maybe():
            made.append(f"... on Node {{ id }} ... on {type_.name}{self.directive()} {{ own: id }}")
        if self.maybe():
            made[0] = self.spread(type_.name, made[0])
        return f"{{ {' '.join(made)} }}"

    def spread(self, type_name: str, content: str) -> str:
        name = f"F{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {type_name} {{ {content} }}")
        return f"...{name}"

    def field(self, type_: GraphQLObjectType, name: str, alias: str, depth: int) -> str:
        """One field as it may be asked for."""
        if name == "__typename":
            return f"{alias}: __typename"
        found = type_.fields[name]
        inner: Any = get_named_type(found.type)
        start = f"{alias}: {name}{self.arguments(found)}{self.directive()}"
        if is_leaf_type(inner):
            return start
        if is_abstract_type(inner):
            kind = CORE.type_map[self.one_of(*ENTITIES)]
            return f"{start} {{ __typename id ... on {kind.name} {{ own: {self.leaf(kind)} }} }}"
        return f"{start} {self.selection(inner, depth - 1)}"

    def leaf(self, type_: Any) -> str:
        return str(
            self.one_of(*(name for name, each in type_.fields.items() if is_leaf_type(get_named_type(each.type))))
        )

    def document(self) -> str:
        """One to three roots."""
        query: Any = CORE.query_type
        names = self.draw(st.lists(st.sampled_from(sorted(roots())), min_size=1, max_size=3))
        body = " ".join(self.field(query, name, f"r{place}", 4) for place, name in enumerate(names))
        told = ", ".join(f"${name}: {kind}" for name, kind in self.types.items())
        return f"query{f'({told})' if told else ''} {{ {body} }} {' '.join(self.fragments)}"


def printed(value: Any) -> str:
    """A value as documents write it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {printed(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(printed, value))}]"
    return str(value) if isinstance(value, Word) else json.dumps(value)


def roots() -> Iterator[str]:
    """The root fields that are compiled."""
    query: Any = CORE.query_type
    return (name for name, found in query.fields.items() if declared(found) is not None)


@st.composite
def queries(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A valid query with its variables."""
    written = Written(draw)
    return written.document(), written.values


async def same_both_ways(query: str, variables: dict[str, Any], role: str, ask: Any) -> None:
    assert not validate(CORE, parse(query)), query
    assert await ask.answer(query, role, **variables) == await ask.walk(query, role, **variables), (query, variables)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=queries(), role=st.sampled_from(ROLES))
async def test_random_queries(asked: tuple[str, dict[str, Any]], role: str, ask: Any) -> None:
    await same_both_ways(*asked, role, ask)


@pytest.mark.soak
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("role", ROLES)
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(asked=queries())
async def test_many_random_queries(asked: tuple[str, dict[str, Any]], role: str, ask: Any) -> None:
    await same_both_ways(*asked, role, ask)


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
