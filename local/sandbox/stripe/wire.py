"""How Stripe is spoken: bracketed forms in, JSON lists and errors out."""

import re
from collections.abc import Callable, Iterable
from typing import Any

from local.sandbox.world import Json

API_VERSION = "2026-10-28.endive"
Parser = Callable[[Any, str], Any]


class ApiError(Exception):
    """A refusal as Stripe words it: HTTP status and the fields of its `error` object."""

    def __init__(self, status: int, message: str, kind: str = "invalid_request_error", **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {"error": {"message": message, "type": kind} | fields}


def missing(kind: str, id: str, param: str = "id") -> ApiError:  # noqa: A002 - the word every caller uses for it
    """(object name, id) -> the 404 of an unknown id; named by another parameter than its path it is a 400."""
    status = 404 if param == "id" else 400
    return ApiError(status, f"No such {kind}: '{id}'", code="resource_missing", param=param)


# -- forms -------------------------------------------------------------------------------------------------------------


def nested(pairs: Iterable[tuple[str, str]]) -> Json:
    """Form pairs -> nested dict: `a[b][0][c]=1` -> {"a": {"b": [{"c": "1"}]}}; `a[]=1&a[]=2` -> {"a": ["1", "2"]}."""
    tree: Json = {}
    for name, value in pairs:
        first, *rest = re.findall(r"[^\[\]]+|(?<=\[)(?=\])", name)
        node, key = tree, first
        for part in rest:
            node = node.setdefault(key, {})
            key = str(len(node)) if part == "" else part
        node[key] = value
    listed: Json = _listed(tree)
    return listed


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isdigit() for key in node):
        return [_listed(node[key]) for key in sorted(node, key=int)]
    return {key: _listed(value) for key, value in node.items()}


def text(value: Any, param: str) -> str | None:
    """A string; the empty one unsets."""
    if not isinstance(value, str):
        raise ApiError(400, f"Invalid string: {value}", param=param)
    return value or None


def integer(value: Any, param: str) -> int:
    """An integer written in digits."""
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+", value):
        raise ApiError(400, f"Invalid integer: {value}", code="parameter_invalid_integer", param=param)
    return int(value)


def boolean(value: Any, param: str) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise ApiError(400, f"Invalid boolean: {value}", param=param)
    return bool(value == "true")


def mapping(value: Any, param: str) -> Json:
    """A nested object; the empty string is the empty object."""
    if value == "":
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, "Invalid object", param=param)
    return value


def array(value: Any, param: str) -> list[Any]:
    """A list; the empty string is the empty list."""
    if value == "":
        return []
    if not isinstance(value, list):
        raise ApiError(400, "Invalid array", param=param)
    return value


def span(value: Any, param: str) -> Json:
    """An instant or {gt, gte, lt, lte} of instants, in seconds -> the latter."""
    if isinstance(value, dict):
        return {name: integer(one, f"{param}[{name}]") for name, one in value.items()}
    return {"gte": (exact := integer(value, param)), "lte": exact}


def one_of(*words: str) -> Parser:
    """Words -> a parser that accepts only them."""

    def parse(value: Any, param: str) -> str:
        if value not in words:
            known = ", ".join(words)
            raise ApiError(400, f"Invalid {param}: must be one of {known}", param=param)
        return str(value)

    return parse


def parsed(raw: Json, known: dict[str, Parser], required: Iterable[str] = ()) -> Json:
    """Raw parameters -> typed ones; 400 for a missing or unknown parameter."""
    for name in required:
        if raw.get(name) in (None, ""):
            message = f"Missing required param: {name}."
            raise ApiError(400, message, code="parameter_missing", param=name)
    for name in raw:
        if name not in known:
            message = f"Received unknown parameter: {name}"
            raise ApiError(400, message, code="parameter_unknown", param=name)
    return {name: known[name](value, name) for name, value in raw.items()}


# -- lists -------------------------------------------------------------------------------------------------------------

PAGING: dict[str, Parser] = {"limit": integer, "starting_after": text, "ending_before": text}

COMPARE: dict[str, Callable[[int, int], bool]] = {
    "gt": int.__gt__,
    "gte": int.__ge__,
    "lt": int.__lt__,
    "lte": int.__le__,
}


def within(moment: int, wanted: Json) -> bool:
    """(instant, {gte: ...}) -> whether it satisfies every bound."""
    return all(COMPARE[name](moment, bound) for name, bound in wanted.items())


def page(objects: list[Json], params: Json, url: str) -> Json:
    """Objects newest first and the paging parameters -> Stripe's list envelope."""
    limit = params.get("limit", 10)
    if not 1 <= limit <= 100:
        raise ApiError(400, "Invalid limit: must be between 1 and 100", param="limit")
    ids = [one["id"] for one in objects]
    for cursor in ("starting_after", "ending_before"):
        if params.get(cursor) and params[cursor] not in ids:
            raise missing("object", params[cursor], cursor)
    if after := params.get("starting_after"):
        objects = objects[ids.index(after) + 1 :]
    if before := params.get("ending_before"):
        newer = objects[: ids.index(before)]
        return envelope(newer[-limit:], url, has_more=len(newer) > limit)
    return envelope(objects[:limit], url, has_more=len(objects) > limit)


def envelope(objects: list[Json], url: str, *, has_more: bool = False) -> Json:
    """Objects -> {"object": "list", "data": objects, ...}."""
    return {"object": "list", "data": objects, "has_more": has_more, "url": url}


# -- search ------------------------------------------------------------------------------------------------------------

CLAUSE = re.compile(r"""\s*(?:(\w+)\[["'](.+?)["']\]|(\w+))\s*:\s*["'](.*?)["']\s*(?:AND|$)""")


def searched(objects: list[Json], query: str, url: str) -> Json:
    """Objects and `metadata["key"]:"value" AND status:"x"` -> Stripe's search envelope; 400 for another query."""
    clauses, at = [], 0
    while at < len(query):
        found = CLAUSE.match(query, at)
        if not found:
            raise ApiError(400, f"We were unable to parse your search query: {query}", param="query")
        clauses.append(found.groups())
        at = found.end()

    def matches(one: Json) -> bool:
        return all(
            (one.get(group, {}).get(key) if group else one.get(field)) == value for group, key, field, value in clauses
        )

    data = [one for one in objects if matches(one)]
    return {"object": "search_result", "data": data, "has_more": False, "next_page": None, "url": url}
