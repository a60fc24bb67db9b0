"""Text -> a document fit to be executed: parsed, guarded, validated, priced, once per text."""

import hashlib
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    OperationDefinitionNode,
    VariableNode,
    Visitor,
    parse,
    specified_rules,
    visit,
)
from strawberry.schema.schema import validate_document

from resolvers import cost
from resolvers.guard import refusal
from resolvers.limits import LIMITS, Limits
from resolvers.protocol.asked import Asked
from resolvers.protocol.faults import Rejected, rejected

KEPT_DOCUMENTS = 1_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid document; `digest` names it in logs, where its text and variables must not stand.

    `only` is its operation, where it has no other.
    """

    document: DocumentNode
    operations: dict[str, OperationDefinitionNode]
    prices: dict[str, cost.Price]
    digest: str
    only: OperationDefinitionNode | None

    def price(self, name: str | None, variables: dict[str, Any] | None) -> int:
        """What the operation costs, in points. Raises Rejected where the name decides nothing."""
        chosen = self.chosen(name)
        return cost.asked(self.prices[chosen.name.value if chosen.name else ""], variables)

    def chosen(self, name: str | None) -> OperationDefinitionNode:
        """The operation to run. Raises Rejected where the name decides nothing."""
        found = self.operations.get(name) if name else self.only
        if found is None:
            words = f'Unknown operation named "{name}".' if name else "Name one of the document's operations to run."
            raise Rejected(400, "OPERATION_RESOLUTION_FAILURE", words, spoken=True)
        return found

    def alike(self, asked: Asked) -> Hashable:
        """What two subscriptions have in common that answer an event alike, whatever they watch and whence."""
        used = _Variables()
        parts: list[Node | None] = []
        parts += [each for each in self.document.definitions if isinstance(each, FragmentDefinitionNode)]
        for root in self.chosen(asked.operation_name).selection_set.selections:
            parts += [root.selection_set, *(root.directives or ())] if isinstance(root, FieldNode) else [root]
        for part in parts:
            if part is not None:
                visit(part, used)
        values = {name: value for name, value in (asked.variables or {}).items() if name in used.names}
        return asked.query, asked.operation_name, orjson.dumps(values, option=orjson.OPT_SORT_KEYS)


class _Variables(Visitor):
    """Collects the names of the variables it comes by."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        """One more."""
        self.names.add(node.name.value)


class Documents:
    """The documents of one schema, the latest kept."""

    def __init__(self, schema: GraphQLSchema, limits: Limits = LIMITS) -> None:
        self._schema = schema
        self._limits = limits
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def known(self, text: str) -> Prepared | None:
        """The checked document of a text that was looked at lately."""
        if (kept := self._kept.get(text)) is not None:
            self._kept.move_to_end(text)
        return kept

    def prepare(self, text: str) -> Prepared:
        """A document's text -> the checked document. Raises Rejected, naming every mistake."""
        if (kept := self.known(text)) is not None:
            return kept
        self._kept[text] = prepared = self._checked(text)
        if len(self._kept) > KEPT_DOCUMENTS:
            self._kept.popitem(last=False)
        return prepared

    def admit(self, text: str) -> DocumentNode | None:
        """The document, or None where it must not be executed."""
        try:
            return self.prepare(text).document
        except Rejected:
            return None

    def _checked(self, text: str) -> Prepared:
        limits = self._limits
        try:
            document = parse(
                text,
                max_lexical_tokens=limits.tokens,
                max_comments=limits.comments,
                max_source_length=limits.document_characters,
            )
        except GraphQLError as wrong:
            raise rejected([wrong], "GRAPHQL_PARSE_FAILED") from None
        if (no := refusal(document, limits)) is not None:
            raise rejected([no], "QUERY_TOO_COMPLEX")
        if wrongs := validate_document(self._schema, document, tuple(specified_rules)):
            raise rejected(wrongs, "GRAPHQL_VALIDATION_FAILED")
        operations = {
            definition.name.value if definition.name else "": definition
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }
        prices = cost.prices(self._schema, document, limits)
        only = next(iter(operations.values())) if len(operations) == 1 else None
        return Prepared(document, operations, prices, hashlib.sha256(text.encode()).hexdigest()[:16], only)
