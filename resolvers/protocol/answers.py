"""What an operation comes to, as it is sent."""

from dataclasses import dataclass
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLError

from resolvers.context import Context
from resolvers.protocol.documents import Prepared
from resolvers.protocol.faults import status_of, tell


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: its JSON, its status where statuses are spoken, and its errors where it was not executed.

    `undone` is True where the root field itself failed, so that a mutation wrote nothing; `whole` where nothing failed.
    `cursor` is the place of the event it tells of, where it tells of one.
    """

    body: bytes
    status: int = 200
    refused: list[dict[str, Any]] | None = None
    whole: bool = True
    undone: bool = False
    cursor: str | None = None


def answered(result: ExecutionResult, prepared: Prepared, context: Context, cursor: str | None = None) -> Answer:
    """What graphql-core made of an operation, or of an event."""
    if not result.errors:
        return Answer(orjson.dumps({"data": result.data}), cursor=cursor)
    if result.data is None and all(error.path is None for error in result.errors):
        return refused(result.errors, prepared, context)
    errors = [tell(error, context.request_id, document=prepared.digest) for error in result.errors]
    undone = any(len(error.path or ()) < 2 for error in result.errors)
    return Answer(orjson.dumps({"errors": errors, "data": result.data}), whole=False, undone=undone, cursor=cursor)


def refused(wrongs: list[GraphQLError], prepared: Prepared, context: Context) -> Answer:
    """What could not be executed, or cannot go on."""
    errors = [tell(error, context.request_id, document=prepared.digest) for error in wrongs]
    return Answer(orjson.dumps({"errors": errors}), status_of(errors), errors, whole=False, undone=True)
