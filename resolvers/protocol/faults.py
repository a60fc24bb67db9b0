"""What a client is told when something goes wrong, and what only the log is told.

Text meant for the caller: what graphql-core says of the caller's own document, refusals, and errors raised with an
`extensions.code`. Everything else is a fault of ours: logged whole under the request's id, told as one sentence.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from asyncpg import QueryCanceledError
from graphql import FieldNode, GraphQLError

from models.ports import CursorExpired, SlowConsumer
from models.rules.refusals import Refusal

INTERNAL = "INTERNAL_SERVER_ERROR"
MASKED = "Something went wrong on our side. Quote the request id when you tell us."
TOO_LONG = "This took too long and was stopped: ask for less at once."

_LIVE = {
    CursorExpired: ("CURSOR_EXPIRED", "Events after this cursor are no longer kept: read anew, then subscribe anew."),
    SlowConsumer: ("SLOW_CONSUMER", "Events were taken too slowly: subscribe again after the last cursor received."),
}
_STATUS = {
    INTERNAL: 500,
    "TIMEOUT": 503,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "IDEMPOTENCY_ANSWER_LOST": 409,
    "IDEMPOTENCY_KEY_MISMATCH": 409,
}
log = structlog.get_logger("dueflow.graphql")


class Rejected(Exception):
    """A request that is not executed: HTTP status, the errors to tell, extra response headers.

    `spoken` is True where it was a well-formed request and GraphQL itself says no: `application/json` then answers 200.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Iterable[tuple[bytes, bytes]] = (),
        spoken: bool = False,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = tuple(headers)
        self.spoken = spoken
        one: list[dict[str, Any]] = [{"message": message, "extensions": {"code": code}}]
        self.errors = one if errors is None else errors


def rejected(errors: Iterable[GraphQLError], code: str) -> Rejected:
    """What graphql-core found wrong -> a rejection naming each place; `code` where an error has none."""
    told = [_plain(error, error.message, (error.extensions or {}).get("code", code)) for error in errors]
    return Rejected(400, code, "", spoken=True, errors=told)


def status_of(errors: Iterable[dict[str, Any]]) -> int:
    """The HTTP status of an answer without data: 400 for the caller's mistakes, 5xx for ours."""
    return max(_STATUS.get(error["extensions"]["code"], 400) for error in errors)


def stamp(errors: Iterable[dict[str, Any]], request_id: str) -> list[dict[str, Any]]:
    """Write the request's id into each error."""
    return [{**error, "extensions": {**error["extensions"], "requestId": request_id}} for error in errors]


def tell(error: GraphQLError, request_id: str, **where: str) -> dict[str, Any]:
    """An error of the execution -> what its caller may read; a fault of ours is logged with `where` it happened."""
    cause = _cause(error)
    match cause:
        case Refusal():
            told = _plain(error, cause.message, cause.code.value, because=cause.because)
        case CursorExpired() | SlowConsumer():
            code, sentence = _LIVE[type(cause)]
            told = _plain(error, sentence, code)
        case QueryCanceledError():
            told = _plain(error, TOO_LONG, "TIMEOUT")
        case GraphQLError() if "code" in (cause.extensions or {}):
            told = _plain(error, cause.message, **(cause.extensions or {}))
        case _ if error.path is None or (error.nodes and not isinstance(error.nodes[0], FieldNode)):
            # before any field was resolved, or while its arguments were read: the words are about the caller's input
            told = _plain(error, error.message, "BAD_USER_INPUT")
        case _:
            log.error("fault", request_id=request_id, path=error.path, exc_info=cause, **where)
            told = _plain(error, MASKED, INTERNAL)
    return stamp([told], request_id)[0]


def _cause(error: GraphQLError) -> BaseException:
    cause: BaseException = error
    while isinstance(cause, GraphQLError) and cause.original_error is not None:
        cause = cause.original_error
    return cause


def _plain(error: GraphQLError, message: str, code: str, **extensions: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"message": message}
    if error.locations:
        told["locations"] = [{"line": place.line, "column": place.column} for place in error.locations]
    if error.path:
        told["path"] = error.path
    told["extensions"] = {"code": code, **extensions}
    return told
