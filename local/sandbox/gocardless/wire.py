"""How GoCardless is spoken: error bodies, flat filters, cursors, the rules every resource shares."""

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime
from typing import Any

from local.sandbox.world import Json

VERSION = "2015-07-06"
DOCUMENTATION = "https://developer.gocardless.com/api-reference"
CURRENCIES = ("AUD", "CAD", "DKK", "EUR", "GBP", "NZD", "SEK", "USD")
TITLES = {
    "validation_failed": "Validation failed",
    "invalid_api_usage": "Invalid document structure",
    "gocardless": "Uh-oh!",
}


class ApiError(Exception):
    """A refusal as GoCardless words it."""

    def __init__(self, status: int, kind: str, errors: list[Json], message: str | None = None) -> None:
        super().__init__(message or TITLES.get(kind) or errors[0]["message"])
        self.status = status
        self.errors = errors
        self.body: Json = {
            "error": {
                "message": str(self),
                "documentation_url": f"{DOCUMENTATION}#{errors[0].get('reason', kind) if errors else kind}",
                "type": kind,
                "request_id": "",
                "code": status,
                "errors": errors,
            }
        }


def invalid(resource: str, field: str, message: str) -> ApiError:
    """(resource, field, sentence) -> validation_failed, 422."""
    pointer = f"/{resource}/{field.replace('.', '/')}"
    error = {"field": field.rsplit(".", 1)[-1], "message": message, "request_pointer": pointer}
    return ApiError(422, "validation_failed", [error])


def state_error(reason: str, message: str, status: int = 422, links: Json | None = None) -> ApiError:
    """(reason, sentence) -> invalid_state."""
    error: Json = {"reason": reason, "message": message} | ({"links": links} if links else {})
    return ApiError(status, "invalid_state", [error])


def not_found() -> ApiError:
    """The 404 of an unknown id or path."""
    return ApiError(404, "invalid_api_usage", [{"reason": "resource_not_found", "message": "Resource not found"}])


def usage(reason: str, message: str, status: int = 400) -> ApiError:
    """(reason, sentence) -> invalid_api_usage."""
    return ApiError(status, "invalid_api_usage", [{"reason": reason, "message": message}], message)


def stamp(moment: datetime) -> str:
    """UTC instant -> "2014-01-01T12:00:00.000Z"."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


# -- bodies ------------------------------------------------------------------------------------------------------------


def checked(resource: str, body: Json, allowed: Iterable[str], required: Iterable[str] = ()) -> Json:
    """Resource fields as sent -> the same; 422 for a field missing or not permitted, or for bad metadata."""
    for field in body.keys() - set(allowed):
        raise invalid(resource, field, "is not a permitted key")
    for path in required:
        if dug(body, path) in (None, ""):
            raise invalid(resource, path, "is required")
    if body.get("metadata") is not None:
        check_metadata(resource, body["metadata"])
    return body


def check_metadata(resource: str, metadata: Any) -> None:
    """At most 3 keys of 50 characters with string values of 500."""
    if not isinstance(metadata, dict) or len(metadata) > 3:
        raise invalid(resource, "metadata", "must be an object with at most 3 keys")
    for key, value in metadata.items():
        if len(key) > 50 or not isinstance(value, str) or len(value) > 500:
            raise invalid(resource, f"metadata.{key}", "keys have at most 50 characters, values at most 500")


def positive(resource: str, field: str, value: Any) -> int:
    """A positive whole number of minor units."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise invalid(resource, field, "must be a positive integer")
    return value


def day(resource: str, field: str, value: Any) -> date:
    """An ISO date."""
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise invalid(resource, field, "must be a date (YYYY-MM-DD)") from error


def dug(obj: Any, path: str) -> Any:
    """(object, "links.mandate") -> the value there, or None."""
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj


# -- lists -------------------------------------------------------------------------------------------------------------

COMPARE: dict[str, Callable[[str, str], bool]] = {
    "gt": str.__gt__,
    "gte": str.__ge__,
    "lt": str.__lt__,
    "lte": str.__le__,
}
BOUND = re.compile(r"(created_at|charge_date)\[(gt|gte|lt|lte)\]")


def page(resource: str, newest_first: list[Json], query: dict[str, str], filters: dict[str, str]) -> Json:
    """Objects, query and {filter: path in the object} -> the list body with cursors; 400 for an unknown filter."""
    query = dict(query)
    limit = _limit(query.pop("limit", "50"))
    after, before = query.pop("after", None), query.pop("before", None)
    found = newest_first
    for name, wanted in query.items():
        found = _filtered(found, name, wanted, filters)
    start = _index(found, after) + 1 if after else 0
    stop = _index(found, before) if before else len(found)
    shown = found[start:stop][-limit:] if before else found[start:stop][:limit]
    cursors = {
        "after": shown[-1]["id"] if shown and shown[-1] is not found[-1] else None,
        "before": shown[0]["id"] if shown and shown[0] is not found[0] else None,
    }
    return {resource: shown, "meta": {"cursors": cursors, "limit": limit}}


def _filtered(objects: list[Json], name: str, wanted: str, filters: dict[str, str]) -> list[Json]:
    if bound := BOUND.fullmatch(name):
        field, operator = bound.groups()
        if field == "created_at":
            wanted = _instant(wanted)
        return [one for one in objects if COMPARE[operator](one.get(field) or "", wanted)]
    if name not in filters:
        raise usage("unknown_filter", f"{name} is not a filter of this list")
    values = wanted.split(",")
    return [one for one in objects if str(dug(one, filters[name])) in values]


def _instant(text: str) -> str:
    try:
        return stamp(datetime.fromisoformat(text))
    except ValueError as error:
        raise usage("invalid_filter", f"{text} is not an instant") from error


def _limit(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 500:
        raise usage("invalid_limit", "limit must be between 1 and 500")
    return int(text)


def _index(objects: list[Json], cursor: str) -> int:
    for index, one in enumerate(objects):
        if one["id"] == cursor:
            return index
    raise usage("invalid_cursor", f"{cursor} is not in this list")
