"""Text -> a document fit to be executed: parsed, guarded, validated, once per text."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass

from graphql import DocumentNode, GraphQLError, GraphQLSchema, OperationDefinitionNode, parse, specified_rules
from strawberry.schema.schema import validate_document

from resolvers.guard import COMMENTS, DOCUMENT_CHARACTERS, TOKENS, refusal
from resolvers.protocol.faults import Rejected, rejected

KEPT_DOCUMENTS = 512


@dataclass(frozen=True, slots=True)
class Prepared:
    """A valid document; `digest` names it in logs, where its text and variables must not stand."""

    document: DocumentNode
    operations: dict[str, OperationDefinitionNode]
    digest: str

    def chosen(self, name: str | None) -> OperationDefinitionNode:
        """The operation to run. Raises Rejected where the name decides nothing."""
        found = self.operations.get(name) if name else None
        if name is None and len(self.operations) == 1:
            (found,) = self.operations.values()
        if found is None:
            words = f'Unknown operation named "{name}".' if name else "Name one of the document's operations to run."
            raise Rejected(400, "OPERATION_RESOLUTION_FAILURE", words, spoken=True)
        return found


class Documents:
    """The documents of one schema, the latest kept."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept: OrderedDict[str, Prepared] = OrderedDict()

    def prepare(self, text: str) -> Prepared:
        """A document's text -> the checked document. Raises Rejected, naming every mistake."""
        if (kept := self._kept.get(text)) is not None:
            self._kept.move_to_end(text)
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
        try:
            document = parse(
                text, max_lexical_tokens=TOKENS, max_comments=COMMENTS, max_source_length=DOCUMENT_CHARACTERS
            )
        except GraphQLError as wrong:
            raise rejected([wrong], "GRAPHQL_PARSE_FAILED") from None
        if (no := refusal(document)) is not None:
            raise rejected([no], "QUERY_TOO_COMPLEX")
        if wrongs := validate_document(self._schema, document, tuple(specified_rules)):
            raise rejected(wrongs, "GRAPHQL_VALIDATION_FAILED")
        operations = {
            definition.name.value if definition.name else "": definition
            for definition in document.definitions
            if isinstance(definition, OperationDefinitionNode)
        }
        return Prepared(document, operations, hashlib.sha256(text.encode()).hexdigest()[:16])
