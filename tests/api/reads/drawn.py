"""Random valid operations, drawn from the schema: every argument, directive and fragment a client may write."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLString,
    get_named_type,
    get_nullable_type,
    is_abstract_type,
    is_enum_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
)
from hypothesis import strategies as st

from tests.api.reads.oracle.answer import KINDS, SCHEMA, is_page
from tests.api.reads.oracle.lists import NAMED
from tests.api.reads.oracle.world import World, encoded, snake
from tests.api.reads.shaken import CURRENCIES, TEXTS

QUERY: Any = SCHEMA.query_type
# What is reckoned in Python when it is asked for: these have tests of their own.
RECKONED = {
    *("priceAt", "bookingQuotes", "explain", "whyNot", "mappingSheet", "mappingSheetCsv", "mayEnter", "revenueReport"),
    *("moneyProof", "integrationReadiness"),
}
ROOTS = sorted(QUERY.fields.keys() - RECKONED)
DAYS = ["2026-01-01", "2026-01-03", "2026-02-28", "9999-12-31"]
INSTANTS = [
    "2026-01-03T00:00:00Z",
    "2026-01-05T12:00:00.5+01:00",
    "2026-01-03T11:00:00.000120Z",
    "2026-01-05T12:00:00Z",
]
SEPARATE = ("first", "last", "after", "before")


class Word(str):
    """A member of an enum, which documents name without quotes."""


@dataclass
class Wanted:
    """A cursor that is still to be got: from which list of what, narrowed and sorted how, which one of it."""

    variable: str
    parent: str
    name: str
    narrowed: dict[str, Any]
    place: int


@dataclass
class Drawn:
    """An operation while it is drawn: its variables with their values, its fragments, the cursors it wants."""

    draw: Any
    world: World
    types: dict[str, str] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)
    wanted: list[Wanted] = field(default_factory=list)

    def one_of(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def maybe(self, of: int = 4) -> bool:
        return bool(self.draw(st.integers(1, of)) == of)

    # Values

    def id(self, kind: str) -> str:
        """An id of a thing of this kind, or rarely another's, or none at all."""
        if self.maybe(12):
            return str(
                self.one_of("nonsense", encoded(self.one_of(*sorted(KINDS)), self.world.table("centre")[0]["id"]))
            )
        return encoded(kind, self.one_of(*(row["id"] for row in self.world.kind(kind))))

    def value(self, type_: Any, name: str, kind: str) -> Any:
        """Something an argument or field of a filter on rows of this kind may be given."""
        plain: Any = get_nullable_type(type_)
        if plain is type_ and self.maybe(16):
            return None
        if is_list_type(plain):
            if self.maybe(6):
                return self.value(GraphQLNonNull(get_named_type(plain)), name, kind)  # a list of it alone
            return [self.value(plain.of_type, name, kind) for _ in range(self.draw(st.integers(0, 3)))]
        if isinstance(plain, GraphQLInputObjectType):
            most = 1 if plain.is_one_of else 3
            required = [key for key, each in plain.fields.items() if isinstance(each.type, GraphQLNonNull)]
            chosen = required or self.draw(
                st.lists(st.sampled_from(list(plain.fields)), min_size=1, max_size=most, unique=True)
            )
            asks = {key: plain.fields[key].type for key in chosen}
            return {
                key: self.value(GraphQLNonNull(asked) if plain.is_one_of else asked, key, kind)
                for key, asked in asks.items()
            }
        if is_enum_type(plain):
            return Word(self.one_of(*plain.values))
        match plain.name:
            case "ID":
                named = kind if name in ("id", "ids") else NAMED.get(name, name[0].upper() + name[1:-2])
                return self.id(named if named in KINDS else self.one_of(*sorted(KINDS)))
            case "Boolean":
                return self.draw(st.booleans())
            case "Int":
                return self.one_of(1, 2, 3, 3, 4, 7, 100) if not self.maybe(30) else self.one_of(0, -1, 101)
            case "Date":
                return self.one_of(*DAYS)
            case "DateTime":
                return self.one_of(*INSTANTS)
        there = {row[snake(name)] for row in self.world.kind(kind) if isinstance(row.get(snake(name)), str)}
        return self.one_of(*sorted(there), *TEXTS, *CURRENCIES, "Ann@Example.org ", "cp_2")

    def given(self, value: Any, type_: Any) -> str:
        """A value as it stands in the document: written out, a variable, or a variable's default."""
        how = self.one_of("written", "written", "variable", "default", "inside")
        inside: Any = get_named_type(type_)
        if how == "inside" and isinstance(value, dict) and not inside.is_one_of:
            inner = {key: self.given(each, inside.fields[key].type) for key, each in value.items() if each is not None}
            return f"{{{', '.join(f'{key}: {text}' for key, text in inner.items())}}}"
        if how in ("written", "inside"):
            return printed(value)
        for name, kind in self.types.items():
            if kind == str(type_) and name in self.values and self.maybe(3):
                return f"${name}"  # one that is there already
        name = f"v{len(self.types)}"
        if how == "default" and not isinstance(type_, GraphQLNonNull):
            self.types[name] = f"{type_} = {printed(value)}"
        else:
            self.types[name] = str(type_)
            if value is not None or self.maybe(2):  # a variable that is left out is another null
                self.values[name] = value
        return f"${name}"

    # Arguments

    def arguments(self, type_: GraphQLObjectType, name: str) -> str:
        """Those a field requires, a page's size, and some of the others."""
        found = type_.fields[name]
        kind = get_named_type(found.type).name.removesuffix("Connection")
        asked = [each for each, told in found.args.items() if is_required_argument(told)]
        if "first" in found.args:
            asked += [self.one_of("first", "last")] if not self.maybe(6) else []
            asked += [each for each in ("filter", "orderBy") if self.maybe(3)]
            asked += ["first", "last"] if self.maybe(60) else []
        values = {each: self.value(found.args[each].type, each, kind) for each in asked}
        made = {each: self.given(value, found.args[each].type) for each, value in values.items()}
        if "first" in found.args:
            narrowed = {each: value for each, value in values.items() if each not in SEPARATE}
            made |= {each: self.cursor(type_, name, narrowed) for each in ("after", "before") if self.maybe(5)}
        return f"({', '.join(f'{each}: {text}' for each, text in made.items())})" if made else ""

    def cursor(self, type_: GraphQLObjectType, name: str, narrowed: dict[str, Any]) -> str:
        """A variable for a cursor of this list, or rarely for one of the list with another filter or order."""
        if self.maybe(20):
            narrowed = {each: value for each, value in narrowed.items() if each == "subjectId"}
        variable = f"c{len(self.wanted)}"
        self.types[variable] = str(GraphQLString)
        self.wanted.append(Wanted(variable, type_.name, name, narrowed, self.draw(st.integers(0, 12))))
        return f"${variable}"

    def directive(self) -> str:
        if not self.maybe():
            return ""
        name, value = self.one_of("include", "skip"), self.draw(st.booleans())
        return f" @{name}(if: {self.given(value, GraphQLNonNull(GraphQLBoolean))})"

    # Selections

    def selection(self, type_: GraphQLObjectType, depth: int, start: str = "a") -> str:
        """Some fields of a type, aliased apart, in any order, some of them in fragments."""
        names = [name for name, told in type_.fields.items() if depth or is_leaf_type(get_named_type(told.type))]
        chosen = self.draw(st.lists(st.sampled_from([*names, "__typename"]), min_size=1, max_size=5))
        made = [self.field(type_, name, f"{start}{place}", depth) for place, name in enumerate(chosen)]
        if type_.name in KINDS and self.maybe():
            made.append(f"... on Node {{ id }} ... on {type_.name}{self.directive()} {{ own: id }}")
        if self.maybe(6):
            made[-1] = f"...{self.directive()} {{ {made[-1]} }}"
        if self.maybe():
            made[0] = self.spread(type_.name, made[0])
            made += made[:1] if self.maybe() else []
        return f"{{ {' '.join(made)} }}"

    def spread(self, type_name: str, content: str) -> str:
        name = f"F{len(self.fragments)}"
        self.fragments.append(f"fragment {name} on {type_name} {{ {content} }}")
        return f"...{name}{self.directive()}"

    def field(self, type_: GraphQLObjectType, name: str, alias: str, depth: int) -> str:
        """One field as it may be asked for, an object now and then in two halves."""
        if name == "__typename":
            return f"{alias}: __typename"
        found: GraphQLField = type_.fields[name]
        inner: Any = get_named_type(found.type)
        start = f"{alias}: {name}{self.arguments(type_, name)}"
        if is_leaf_type(inner):
            return f"{start}{self.directive()}"
        if is_abstract_type(inner):
            return f"{start}{self.directive()} {{ __typename id {' '.join(self.of_kinds())} }}"
        made = f"{start}{self.directive()} {self.selection(inner, depth - 1)}"
        if self.maybe(8):
            made += f" {start} {self.selection(inner, min(depth - 1, 1), 'b')}"
        return made

    def of_kinds(self) -> Iterator[str]:
        for name in self.draw(st.lists(st.sampled_from(sorted(KINDS)), max_size=2, unique=True)):
            kind: Any = SCHEMA.type_map[name]
            yield f"... on {name}{self.directive()} {self.selection(kind, 2, name)}"

    def document(self) -> str:
        """One to three roots."""
        names = self.draw(st.lists(st.sampled_from(ROOTS), min_size=1, max_size=3))
        body = " ".join(self.field(QUERY, name, f"r{place}", 4) for place, name in enumerate(names))
        if self.maybe(6):
            body = self.spread("Query", body)
        told = ", ".join(f"${name}: {kind}" for name, kind in self.types.items())
        return f"query{f'({told})' if told else ''} {{ {body} }} {' '.join(self.fragments)}"

    def probe(self, wanted: Wanted) -> str:
        """The query for the cursors of a list, of one on every row of its parent's kind."""
        given = "".join(f"{name}: {printed(value)}, " for name, value in wanted.narrowed.items())
        asked = f"{wanted.name}({given}first: 100) {{ edges {{ cursor }} }}"
        if wanted.parent == QUERY.name:
            return f"{{ {asked} }}"
        ids = [encoded(wanted.parent, row["id"]) for row in self.world.kind(wanted.parent)][:100]
        return f"{{ nodes(ids: {json.dumps(ids)}) {{ ... on {wanted.parent} {{ {asked} }} }} }}"


def printed(value: Any) -> str:
    """A value as documents write it."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {printed(each)}' for name, each in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(printed, value))}]"
    return str(value) if isinstance(value, Word) else json.dumps(value)


assert all(is_page(get_named_type(told.type)) == ("first" in told.args) for told in QUERY.fields.values())
