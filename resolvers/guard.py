"""What one request may cost before anything is executed: sizes, nesting, aliases, root fields.

One walk over the document, before validation, through fragments as if they were written out. It stops at the first
limit that is passed, so a document made to be expensive is refused at the price of a cheap one.
"""

from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    OperationDefinitionNode,
    SelectionNode,
)

BODY_BYTES = 1 << 20
DOCUMENT_CHARACTERS = 50_000
TOKENS = 2_000
COMMENTS = 200


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of what a document may hold; `nodes` counts selections with fragments written out."""

    depth: int = 16
    aliases: int = 30
    directives: int = 50
    root_fields: int = 20
    nodes: int = 10_000


LIMITS = Limits()


def _too(what: str, limit: int) -> GraphQLError:
    return GraphQLError(f"This document is too complex: {what} {limit}.", extensions={"code": "QUERY_TOO_COMPLEX"})


def refusal(document: DocumentNode, limits: Limits = LIMITS) -> GraphQLError | None:
    """A parsed document -> why it is too expensive to look at, or None where it is not."""
    fragments = {
        definition.name.value: definition
        for definition in document.definitions
        if isinstance(definition, FragmentDefinitionNode)
    }
    for definition in document.definitions:
        if isinstance(definition, OperationDefinitionNode) and (no := _weigh(definition, fragments, limits)):
            return no
    return None


def _weigh(
    operation: OperationDefinitionNode, fragments: dict[str, FragmentDefinitionNode], limits: Limits
) -> GraphQLError | None:
    nodes = aliases = directives = root_fields = 0
    # an explicit stack: neither nesting nor a cycle of fragments can exhaust Python's own, the count of nodes ends both
    waiting: list[tuple[SelectionNode, int]] = [(selection, 1) for selection in operation.selection_set.selections]
    while waiting:
        selection, depth = waiting.pop()
        nodes += 1
        directives += len(selection.directives or ())
        inside = getattr(selection, "selection_set", None)
        if isinstance(selection, FieldNode):
            aliases += selection.alias is not None
            root_fields += depth == 1
            below = depth + 1
        else:
            below = depth
            if isinstance(selection, FragmentSpreadNode) and selection.name.value in fragments:
                inside = fragments[selection.name.value].selection_set
        for count, limit, what in (
            (nodes, limits.nodes, "its selections, fragments written out, are more than"),
            (depth, limits.depth, "it nests deeper than"),
            (aliases, limits.aliases, "its aliases are more than"),
            (directives, limits.directives, "its directives are more than"),
            (root_fields, limits.root_fields, "its root fields are more than"),
        ):
            if count > limit:
                return _too(what, limit)
        if inside is not None:
            waiting += [(each, below) for each in inside.selections]
    return None
