"""What is read of a call's body, and refused where it breaks the contract: INVALID_INPUT, with where it stands."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.rules.refusals import Code, Refusal

LONGEST = 64
PRICES = ("amount", "price", "price_minor", "total")


def text(body: Mapping[str, Any], name: str, *, longest: int = LONGEST) -> str:
    """A text that must be there, of 1 to `longest` characters."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= longest:
        raise wrong(name, f"It is a text of 1 to {longest} characters.")
    return value.strip()


def maybe_text(body: Mapping[str, Any], name: str) -> str | None:
    """A text that may be left out or null."""
    return None if body.get(name) is None else text(body, name)


def an_id(body: Mapping[str, Any], name: str) -> UUID:
    """One of our ids."""
    try:
        return UUID(text(body, name))
    except ValueError:
        raise wrong(name, "It is one of our ids.") from None


def maybe_id(body: Mapping[str, Any], name: str) -> UUID | None:
    """One of our ids that may be left out or null."""
    return None if body.get(name) is None else an_id(body, name)


def a_day(body: Mapping[str, Any], name: str) -> date:
    """A day, YYYY-MM-DD."""
    try:
        return date.fromisoformat(text(body, name))
    except ValueError:
        raise wrong(name, "It is a day: 2026-01-05.") from None


def an_instant(body: Mapping[str, Any], name: str) -> datetime:
    """An instant, ISO 8601 with an offset."""
    try:
        at = datetime.fromisoformat(text(body, name))
        if at.tzinfo is None:
            raise ValueError(name)
    except ValueError:
        raise wrong(name, "It is an instant with an offset: 2026-01-05T09:00:00+00:00.") from None
    return at


def part(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object."""
    value = body.get(name)
    if not isinstance(value, dict):
        raise wrong(name, "It is an object.")
    return value


def parts(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects."""
    value = body.get(name)
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise wrong(name, "It is a list of objects.")
    return value


def said(body: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """What was said under these names: of what is ours to say, never used, kept where it differs (R1)."""
    return {name: body[name] for name in names if body.get(name) is not None}


def wrong(name: str, found: str) -> Refusal:
    """The refusal of a field."""
    return Refusal(Code.INVALID_INPUT, found, field=(name,))
