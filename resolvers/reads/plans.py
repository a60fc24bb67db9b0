"""Plans: compiled statements, kept by what they were compiled from, found again by what they would decide."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import orjson
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    NameNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    VariableDefinitionNode,
    get_operation_ast,
)
from graphql.execution.values import VariableValues, get_variable_values

from resolvers.permissions import Audience
from resolvers.reads.arguments import Ask, Variables, declared
from resolvers.reads.compile import Compiler
from resolvers.reads.statement import Statement

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
_PLANS_EACH = 8
_TAKEN_AS_GIVEN: dict[str, type] = {"ID": str, "String": str, "Boolean": bool, "Int": int}
_INTS = range(-(2**31), 2**31)
_WHOLE = NameNode(value="")


class Recent(OrderedDict[Key, Value], Generic[Key, Value]):
    """A mapping that forgets what was used longest ago."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __getitem__(self, key: Key) -> Value:
        value = super().__getitem__(key)
        self.move_to_end(key)
        return value

    def __setitem__(self, key: Key, value: Value) -> None:
        super().__setitem__(key, value)
        if len(self) > self._most:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class Plan(Generic[Value]):
    """What was compiled, and the answers of the variables it is good for."""

    guards: tuple[tuple[Ask, Any], ...]
    made: Value

    def fits(self, variables: Variables) -> bool:
        """Whether these variables would compile to the same. Raises BadInput."""
        for ask, answer in self.guards:  # noqa: SIM110  # a generator costs as much as what it asks
            if ask(variables) != answer:
                return False
        return True


@dataclass(slots=True)
class Plans(Generic[Value]):
    """The plans of one thing to compile, newest first."""

    compile: Callable[[Variables], Plan[Value]]
    known: list[Plan[Value]] = field(default_factory=list)

    def made_for(self, variables: Variables) -> Value:
        """What these variables ask for, compiled at most once. Raises BadInput."""
        for plan in self.known:
            if plan.fits(variables):
                return plan.made
        plan = self.compile(variables)
        self.known = [plan, *self.known[: _PLANS_EACH - 1]]
        return plan.made


Whole = Statement | bytes


@dataclass(slots=True)
class Operation:
    """A whole query that plans cover: a statement that answers the body, or the body where no row stands in it."""

    schema: GraphQLSchema
    node: OperationDefinitionNode
    fragments: Mapping[str, FragmentDefinitionNode]
    audience: Audience
    secret: bytes
    most: int
    plans: Plans[Whole] = field(init=False)
    _simple: Mapping[str, "_Simple | None"] = field(init=False)

    def __post_init__(self) -> None:
        self.plans = Plans(self._compile)
        self._simple = {each.variable.name.value: _simple(each) for each in self.node.variable_definitions or ()}

    def coerced(self, variables: Mapping[str, Any] | None) -> Variables | None:
        """The variables as the schema reads them, None where they do not fit."""
        given = variables or {}
        for name, simple in self._simple.items():
            if simple is None or not simple.takes(given.get(name)):
                break
        else:
            return given
        values = get_variable_values(self.schema, self.node.variable_definitions or (), dict(given))
        return values.coerced if isinstance(values, VariableValues) else None

    def _compile(self, variables: Variables) -> Plan[Whole]:
        query: Any = self.schema.query_type
        compiler = Compiler(self.schema, self.fragments, self.audience, self.secret, variables, most=self.most)
        chosen = compiler.collect(query, [FieldNode(name=_WHOLE, selection_set=self.node.selection_set)])
        if all(nodes[0].name.value == "__typename" for nodes in chosen.values()):
            made: Whole = orjson.dumps({"data": dict.fromkeys(chosen, query.name)})
        else:
            made = compiler.body({key: compiler.root(nodes) for key, nodes in chosen.items()})
        return Plan(tuple(compiler.guards.items()), made)


@dataclass(frozen=True, slots=True)
class _Simple:
    """A variable whose values the schema takes as they are: of most there is nothing to coerce."""

    kind: type
    may_miss: bool

    def takes(self, value: Any) -> bool:
        if value is None:
            return self.may_miss
        return type(value) is self.kind and (self.kind is not int or value in _INTS)


def _simple(definition: VariableDefinitionNode) -> _Simple | None:
    required = isinstance(definition.type, NonNullTypeNode)
    wanted = definition.type.type if isinstance(definition.type, NonNullTypeNode) else definition.type
    kind = _TAKEN_AS_GIVEN.get(wanted.name.value) if isinstance(wanted, NamedTypeNode) else None
    return _Simple(kind, not required and definition.default_value is None) if kind else None


def covered(
    schema: GraphQLSchema,
    document: DocumentNode,
    operation_name: str | None,
    audience: Audience,
    secret: bytes,
    most: int,
) -> Operation | None:
    """A valid document -> its operation when plans can answer all of it, None when graphql-core has to."""
    node = get_operation_ast(document, operation_name)
    if node is None or node.operation is not OperationType.QUERY:
        return None
    fragments = {each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)}
    query: Any = schema.query_type
    for name in _root_names(node.selection_set, fragments):
        if name != "__typename" and (name not in query.fields or declared(query.fields[name]) is None):
            return None
    return Operation(schema, node, fragments, audience, secret, most)


def _root_names(chosen: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[str]:
    for selection in chosen.selections:
        if isinstance(selection, FieldNode):
            yield selection.name.value
        elif isinstance(selection, FragmentSpreadNode):
            yield from _root_names(fragments[selection.name.value].selection_set, fragments)
        elif isinstance(selection, InlineFragmentNode):
            yield from _root_names(selection.selection_set, fragments)
