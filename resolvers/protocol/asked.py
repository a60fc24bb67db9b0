"""The parameters of a GraphQL request, whichever way they came."""

from typing import Any, NamedTuple

from resolvers.protocol.faults import Rejected

DEEPEST = 100


class Asked(NamedTuple):
    """A document, which of its operations to run, and with what.

    `keep` is True where it is to be found by its digest from now on, `cost` where its price is to be told. `values` is
    how many the variables hold, those inside others as well.
    """

    query: str
    variables: dict[str, Any] | None = None
    operation_name: str | None = None
    keep: bool = False
    cost: bool = False
    values: int = 0


def bad_request(message: str) -> Rejected:
    """A request whose form is wrong."""
    return Rejected(400, "BAD_REQUEST", message)


def _counted(values: list[Any]) -> int:
    """JSON values -> how many they are, with those inside others. Raises Rejected 400 for what cannot be held."""
    count = 0
    for _ in range(DEEPEST):  # level by level: however deep they are, they cannot exhaust Python's stack
        count += len(values)
        inside: list[Any] = []
        for each in values:
            if isinstance(each, str):
                _storable(each)
            elif isinstance(each, dict):
                for name in each:
                    _storable(name)
                inside += each.values()
            elif isinstance(each, list):
                inside += each
        if not inside:
            return count
        values = inside
    raise bad_request(f"`variables` nests deeper than {DEEPEST} levels.")


def _storable(text: str) -> None:
    """Raise Rejected 400 for text the database cannot hold, as it is or, escaped, in a document."""
    if "\x00" in text or ("\\u" in text and ("\\u0000" in text or "\\u{0" in text)):
        raise bad_request("The character U+0000 is nowhere allowed.")


def asked(body: Any) -> Asked:
    """A decoded JSON body or `subscribe` payload -> its parameters. Raises Rejected 400."""
    if not isinstance(body, dict):
        raise bad_request("The request must be one JSON object; batches are not served.")
    query, variables, name = body.get("query"), body.get("variables"), body.get("operationName")
    if not isinstance(query, str) or not query or query.isspace():
        raise bad_request("`query` must be a GraphQL document.")
    if variables is not None and not isinstance(variables, dict):
        raise bad_request("`variables` must be an object or null.")
    if name is not None and not isinstance(name, str):
        raise bad_request("`operationName` must be a string or null.")
    _storable(query)
    _storable(name or "")
    values = _counted([variables]) if variables else 0
    extensions = body.get("extensions")
    if extensions is None:
        return Asked(query, variables, name or None, values=values)
    if not isinstance(extensions, dict):
        raise bad_request("`extensions` must be an object or null.")
    keep, cost = extensions.get("persistedQuery") is not None, extensions.get("cost") is True
    return Asked(query, variables, name or None, keep, cost, values)
