"""What one document may hold before anything is executed.

One walk over it, before validation. A fragment is looked at once, however often it is spread: what it adds
to whoever spreads it is added up, so a document whose fragments multiply is refused at the price of reading it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
)

from resolvers.limits import LIMITS, Limits

LEVELS_OF_FRAGMENTS = 4  # fragments may lie between the levels of fields, so many to each


@dataclass(slots=True)
class _Weight:
    """What selections hold, fragments written out."""

    nodes: int = 0
    depth: int = 0
    levels: int = 0
    aliases: int = 0
    directives: int = 0
    root_fields: int = 0


@dataclass(slots=True)
class _Seen:
    """What stands in one definition, and at (depth, level) the fragments it spreads."""

    own: _Weight = field(default_factory=_Weight)
    spreads: list[tuple[str, int, int]] = field(default_factory=list)


def refusal(document: DocumentNode, limits: Limits = LIMITS) -> GraphQLError | None:
    """A parsed document -> why it is too expensive to look at, or None where it is not."""
    fragments = {
        definition.name.value: _look(definition.selection_set.selections)
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    spread = {name: [each for each, *_ in seen.spreads if each in fragments] for name, seen in fragments.items()}
    whole: dict[str, _Weight] = {}
    try:
        for name in TopologicalSorter(spread).static_order():
            whole[name] = _added_up(fragments[name], whole)
    except CycleError:
        return _too("its fragments lead back to themselves")
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode):
            weight = _added_up(_look(definition.selection_set.selections), whole)
            if no := _over(weight, limits):
                return no
    return None


def _look(selections: Sequence[SelectionNode]) -> _Seen:
    seen = _Seen()
    own = seen.own
    waiting = [(selection, 1, 1) for selection in selections]  # no recursion: nesting cannot exhaust Python's stack
    while waiting:
        selection, depth, level = waiting.pop()
        own.nodes += 1
        own.directives += len(selection.directives or ())
        own.levels = max(own.levels, level)
        if isinstance(selection, FragmentSpreadNode):
            seen.spreads.append((selection.name.value, depth, level + 1))
            continue
        below = depth
        if isinstance(selection, FieldNode):
            own.aliases += selection.alias is not None
            own.root_fields += depth == 1
            own.depth = max(own.depth, depth)
            below += 1
        inside = getattr(selection, "selection_set", None)
        if inside is not None:
            waiting += [(each, below, level + 1) for each in inside.selections]
    return seen


def _added_up(seen: _Seen, whole: dict[str, _Weight]) -> _Weight:
    own = seen.own
    for name, depth, level in seen.spreads:
        if (there := whole.get(name)) is None:
            continue  # validation tells that there is no such fragment
        own.nodes += there.nodes
        own.aliases += there.aliases
        own.directives += there.directives
        own.root_fields += there.root_fields if depth == 1 else 0
        own.depth = max(own.depth, depth - 1 + there.depth)
        own.levels = max(own.levels, level - 1 + there.levels)
    return own


def _over(weight: _Weight, limits: Limits) -> GraphQLError | None:
    for count, limit, what in (
        (weight.nodes, limits.nodes, "its selections, fragments written out, are more than"),
        (weight.depth, limits.depth, "it nests deeper than"),
        (weight.levels, limits.depth * LEVELS_OF_FRAGMENTS, "its fragments nest deeper than"),
        (weight.aliases, limits.aliases, "its aliases are more than"),
        (weight.directives, limits.directives, "its directives are more than"),
        (weight.root_fields, limits.root_fields, "its root fields are more than"),
    ):
        if count > limit:
            return _too(f"{what} {limit}")
    return None


def _too(what: str) -> GraphQLError:
    return GraphQLError(f"This document is too complex: {what}.", extensions={"code": "QUERY_TOO_COMPLEX"})
