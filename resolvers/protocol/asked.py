"""The parameters of a GraphQL request, whichever way they came."""

from typing import Any, NamedTuple

from resolvers.protocol.faults import Rejected


class Asked(NamedTuple):
    """A document, which of its operations to run, and with what.

    `keep` is True where it is to be found by its digest from now on, `cost` where its price is to be told.
    """

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    keep: bool = False
    cost: bool = False


def bad_request(message: str) -> Rejected:
    """A request whose form is wrong."""
    return Rejected(400, "BAD_REQUEST", message)


def _has_nul(part: Any) -> bool:
    """Whether text the database cannot hold stands anywhere in a value or, escaped, in a document."""
    if isinstance(part, str):
        return "\x00" in part or "\\u0000" in part or "\\u{0" in part
    if isinstance(part, dict):
        return any(_has_nul(each) for pair in part.items() for each in pair)
    return isinstance(part, list) and any(_has_nul(each) for each in part)


def asked(body: Any) -> Asked:
    """A decoded JSON body or `subscribe` payload -> its parameters. Raises Rejected 400."""
    if not isinstance(body, dict):
        raise bad_request("The request must be one JSON object; batches are not served.")
    query, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not isinstance(query, str) or not query.strip():
        raise bad_request("`query` must be a GraphQL document.")
    if _has_nul(query) or (variables and _has_nul(variables)) or (name and _has_nul(name)):
        raise bad_request("The character U+0000 is nowhere allowed.")
    if variables is not None and not isinstance(variables, dict):
        raise bad_request("`variables` must be an object or null.")
    if name is not None and not isinstance(name, str):
        raise bad_request("`operationName` must be a string or null.")
    extensions = body.get("extensions")
    if extensions is None:
        return Asked(query, variables, name or None)
    if not isinstance(extensions, dict):
        raise bad_request("`extensions` must be an object or null.")
    keep, cost = extensions.get("persistedQuery") is not None, extensions.get("cost") is True
    return Asked(query, variables, name or None, keep, cost)
