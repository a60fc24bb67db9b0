"""Nookal's wire: PHP bracket parameters in, envelopes out, amounts as strings of two decimals."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from local.sandbox.world import Json, World

LONGEST_PAGE = 200
STAMPS = ("nookal.switch", "stamps")
KEY = re.compile(r"^([^\[]+)((?:\[[^\]]*\])*)$")


@dataclass
class Failure(Exception):
    """A refusal, sent with HTTP 200: error code, sentence, alerts."""

    code: str
    message: str | None
    alerts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rows:
    """The rows of a paged read: results key, rows, and the name the server reports when it is not the one called."""

    key: str
    rows: list[Json]
    call: str | None = None


def failure(code: str, message: str | None, alerts: list[str] | None = None) -> Json:
    """Error code, sentence and alerts -> the failure envelope; without a sentence only the alerts speak."""
    said = {} if message is None else {"errorMessage": message}
    return {"status": "failure", "details": {**said, "errorCode": code, "alerts": alerts or []}}


def success(name: str, answer: Rows | Json, given: Json, *, bare: bool) -> Json:
    """Function name, its answer and the parameters -> the success envelope.

    `bare` sends a list of one as the bare object, as Nookal sometimes does.
    """
    if not isinstance(answer, Rows):
        return {"status": "success", "data": {"api_call": name, "results": answer}}
    page = max(1, whole(given, "page", 1))
    length = min(LONGEST_PAGE, max(1, whole(given, "page_length", LONGEST_PAGE)))
    shown = answer.rows[(page - 1) * length : page * length]
    more = page * length < len(answer.rows)
    results = shown[0] if bare and len(shown) == 1 else shown
    return {
        "status": "success",
        "data": {"api_call": answer.call or name, "results": {answer.key: results}},
        "details": {"totalItems": str(len(answer.rows)), "currentItems": str(len(shown))},
        "settings": {
            "currentPage": str(page),
            "nextPage": str(page + 1) if more else None,
            "pageLength": str(length),
        },
    }


def parameters(query: str, form: str) -> Json:
    """Query string and form body -> one tree; `items[0][qty]=2` becomes {"items": [{"qty": "2"}]}."""
    tree: Json = {}
    for key, value in parse_qsl(query, keep_blank_values=True) + parse_qsl(form, keep_blank_values=True):
        if not (found := KEY.match(key)):
            continue
        path = [found[1], *re.findall(r"\[([^\]]*)\]", found[2])]
        at = tree
        for step in path[:-1]:
            below = at.setdefault(step or str(len(at)), {})
            if not isinstance(below, dict):
                break
            at = below
        else:
            at[path[-1] or str(len(at))] = value
    return {name: _lists(value) for name, value in tree.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(below) for key, below in value.items()}
    if inner and all(key.isdecimal() for key in inner):
        return [inner[key] for key in sorted(inner, key=int)]
    return inner


def need(given: Json, *names: str) -> list[str]:
    """The parameters' values; Failure names the first that is missing."""
    for name in names:
        if not isinstance(given.get(name), str) or not given[name]:
            raise Failure("L000_1", None, [f"Missing variable: {name}"])
    return [given[name] for name in names]


def items(given: Json, name: str) -> list[Json]:
    """The parameter as a list of objects; an absent one is empty, anything else a Failure."""
    found = given.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise Failure("L005", f"Invalid variable: {name}")
    return found


def whole(given: Json, name: str, default: int) -> int:
    """The parameter as a whole number, `default` when absent or unreadable (the server never complains)."""
    value = given.get(name)
    return int(value) if isinstance(value, str) and value.isdecimal() else default


def cents(text: str, name: str) -> int:
    """ "33.34" -> 3334; Failure when it is no amount."""
    try:
        amount = Decimal(text)
    except (InvalidOperation, TypeError):
        raise Failure("L005", f"Invalid variable: {name}") from None
    if not amount.is_finite() or amount < 0:
        raise Failure("L005", f"Invalid variable: {name}")
    return int((amount * 100).quantize(Decimal(1), ROUND_HALF_UP))


def shown(minor: int) -> str:
    """3334 -> "33.34"."""
    return f"{Decimal(minor) / 100:.2f}"


def flag(on: bool) -> str:
    """True -> "1"."""
    return "1" if on else "0"


def new_id(world: World) -> str:
    """-> a number never given before, as a string; the world's ids are hexadecimal."""
    return str(int(world.new_id(""), 16))


def stamp(world: World) -> str:
    """-> now as Nookal writes instants: "2026-01-05 09:30:00" (UTC, unless told otherwise)."""
    zone = (world.get(*STAMPS) or {"zone": "UTC"})["zone"]
    return world.now().astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def changed_since(rows: list[Json], given: Json, column: str) -> list[Json]:
    """Rows whose `column` is at or after the parameter last_modified; all of them without it."""
    since = given.get("last_modified")
    if not since:
        return rows
    try:
        at = datetime.fromisoformat(since).strftime("%Y-%m-%d %H:%M:%S")
    except ValueError:
        raise Failure("L005", "Invalid variable: last_modified") from None
    return [row for row in rows if row[column] >= at]
