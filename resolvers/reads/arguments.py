"""What the arguments of a field say: functions of the variables, folded where the document says it all."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    ListValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
)
from graphql.utilities.coerce_input_value import coerce_input_literal

from resolvers.reads.meaning import READ, Where

_BOUNDS = {"gte": ">=", "lt": "<"}

Variables = Mapping[str, Any]
Ask = Callable[[Variables], Any]


@dataclass(frozen=True, slots=True)
class Fixed:
    """An answer no variable changes."""

    value: Any

    def __call__(self, variables: Variables) -> Any:
        return self.value


@dataclass(frozen=True, slots=True)
class Object:
    """An input object written in the document: each of its fields can be asked for by itself."""

    asks: Mapping[str, Ask]

    def __call__(self, variables: Variables) -> dict[str, Any]:
        return {name: ask(variables) for name, ask in self.asks.items()}


def after(ask: Ask, then: Callable[[Any], Any]) -> Ask:
    """What follows from an answer."""
    return Fixed(then(ask.value)) if isinstance(ask, Fixed) else lambda variables: then(ask(variables))


def reader(node: ValueNode, type_: Any) -> Ask:
    """A value in a document -> what it says, given coerced variables; enum members and scalars as parsed."""
    if isinstance(node, VariableNode):
        name = node.name.value
        return lambda variables: variables.get(name)
    plain = get_nullable_type(type_)
    if isinstance(node, ObjectValueNode):
        inner = plain.of_type if is_list_type(plain) else plain
        fields = get_named_type(inner).fields
        said = Object({each.name.value: reader(each.value, fields[each.name.value].type) for each in node.fields})
        whole = folded(said, said.asks.values())
        return after(whole, lambda value: [value]) if is_list_type(plain) else whole
    if isinstance(node, ListValueNode):
        items = [reader(each, plain.of_type) for each in node.values]
        return folded(lambda variables: [ask(variables) for ask in items], items)
    return Fixed(coerce_input_literal(node, type_))


def folded(ask: Ask, parts: Iterable[Ask]) -> Ask:
    """What is made of parts: made now where all of them are known, else by the variables of each request."""
    return Fixed(ask({})) if all(isinstance(part, Fixed) for part in parts) else ask


def present(value: Any) -> tuple[str, ...]:
    """The names in an input object that were given and are not null."""
    return tuple([name for name, each in (value or {}).items() if each is not None])


def declared(field: Any) -> Any:
    """A field or input field of the GraphQL schema -> its read declaration, None without one."""
    definition = field.extensions.get("strawberry-definition")
    return definition.metadata.get(READ) if definition is not None else None


@dataclass(slots=True)
class Arguments:
    """The arguments of one field. `decide` asks what the statement's text depends on, `bind` makes a parameter."""

    field: GraphQLField
    node: FieldNode
    decide: Callable[[Ask], Any]
    bind: Callable[[Ask], str]

    def ask(self, name: str) -> Ask:
        """What was given as `name`, null where nothing was."""
        for argument in self.node.arguments or ():
            if argument.name.value == name:
                return reader(argument.value, self.field.args[name].type)
        return Fixed(None)

    def given(self, name: str) -> bool:
        """Whether something other than null was given."""
        return bool(self.decide(after(self.ask(name), lambda value: value is not None)))

    def conditions(self, name: str, where: Where | None = None) -> Iterator[str]:
        """SQL conditions on `{row}` that the argument makes: as `where` says, or as the fields of its input type do."""
        ask = self.ask(name)
        if where is not None:
            yield from self._conditions(where, ask)
            return
        input_type: Any = get_named_type(self.field.args[name].type)
        given = self.decide(after(ask, present))
        for key in filter(given.__contains__, input_type.fields):  # the order they are spelled in says nothing
            yield from self._conditions(declared(input_type.fields[key]), _within(ask, key))

    def _conditions(self, where: Where, ask: Ask) -> Iterator[str]:
        if not where.bounds:
            value = self.bind(after(ask, lambda given: _plain(given, where.plain)))
            yield where.sql.replace("{value}", value)
            return
        for key in self.decide(after(ask, present)):
            yield where.sql.replace("{op}", _BOUNDS[key]).replace("{value}", self.bind(_within(ask, key)))


def word(value: Any) -> Any:
    """An enum's member, as variables give it -> its value, as documents give it; anything else is left."""
    return value.value if isinstance(value, Enum) else value


def _within(ask: Ask, key: str) -> Ask:
    if isinstance(ask, Object):
        return ask.asks[key]
    return after(ask, lambda value: value[key])


def _plain(value: Any, plain: Callable[[Any], Any] | None) -> Any:
    if isinstance(value, list):
        made = [_plain(each, plain) for each in value]
        return [each for each in made if each is not None]
    if plain is not None and value is not None:
        return plain(value)
    return word(value)
