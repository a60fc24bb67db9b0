"""The scalars, strict on the way in and of one spelling on the way out."""

import re
from datetime import UTC, date, datetime
from typing import Any, NewType

import strawberry
from graphql import GraphQLError
from strawberry.types.scalar import ScalarDefinition

from models.rules.money import EXPONENT

BigInt = NewType("BigInt", int)
Decimal = NewType("Decimal", str)
CurrencyCode = NewType("CurrencyCode", str)
URL = NewType("URL", str)

_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})", re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,6})?", re.ASCII)
_LINK = re.compile(r"https?://[^\s]{1,2000}", re.ASCII)


def _refuse(given: Any, wanted: str) -> GraphQLError:
    return GraphQLError(f"{str(given)[:80]!r} is not {wanted}.", extensions={"code": "BAD_USER_INPUT"})


def _matching(pattern: re.Pattern[str], given: Any, wanted: str) -> str:
    if not isinstance(given, str) or pattern.fullmatch(given) is None:
        raise _refuse(given, wanted)
    return given


def parse_instant(given: Any) -> datetime:
    """RFC 3339 text with its zone -> an aware datetime in UTC."""
    wanted = "an instant like 2026-01-31T09:30:00Z"
    try:
        return datetime.fromisoformat(_matching(_INSTANT, given, wanted).upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _refuse(given, wanted) from None


def write_instant(value: Any) -> str:
    """A datetime -> "2026-01-31T09:30:00Z", with a fraction only where there is one; text is written already."""
    if isinstance(value, str):
        return value
    plain: str = value.astimezone(UTC).replace(tzinfo=None).isoformat()
    return (plain.rstrip("0") if "." in plain else plain) + "Z"


def _parse_day(given: Any) -> date:
    wanted = "a day like 2026-01-31"
    try:
        return date.fromisoformat(_matching(_DAY, given, wanted))
    except ValueError:
        raise _refuse(given, wanted) from None


def _parse_whole(given: Any) -> int:
    number = int(_matching(_WHOLE, given, 'a whole number in text like "2000"'))
    if not -(2**63) <= number < 2**63:
        raise _refuse(given, "a number of 64 bits")
    return number


def _parse_currency(given: Any) -> str:
    if not isinstance(given, str) or given not in EXPONENT:
        raise _refuse(given, "a currency known here")
    return given


def _written(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


_ISO = "https://www.iso.org/iso-4217-currency-codes.html"
_RFC3339 = "https://www.rfc-editor.org/rfc/rfc3339"
_XSD = "https://www.w3.org/TR/xmlschema11-2/"

SCALARS: dict[object, ScalarDefinition] = {
    datetime: strawberry.scalar(
        name="DateTime",
        description="An instant in RFC 3339: any zone on the way in, always UTC (`Z`) on the way out.",
        specified_by_url=f"{_RFC3339}#section-5.6",
        serialize=write_instant,
        parse_value=parse_instant,
    ),
    date: strawberry.scalar(
        name="Date",
        description="A day as YYYY-MM-DD (RFC 3339 full-date).",
        specified_by_url=f"{_RFC3339}#section-5.6",
        serialize=_written,
        parse_value=_parse_day,
    ),
    BigInt: strawberry.scalar(
        name="BigInt",
        description="A whole number of up to 64 bits, written as text so that no client rounds it.",
        specified_by_url=f"{_XSD}#long",
        serialize=_written,
        parse_value=_parse_whole,
    ),
    Decimal: strawberry.scalar(
        name="Decimal",
        description='A plain decimal number, written as text: "20.00".',
        specified_by_url=f"{_XSD}#decimal",
        serialize=_written,
        parse_value=lambda given: _matching(_NUMBER, given, 'a decimal number in text like "20.00"'),
    ),
    CurrencyCode: strawberry.scalar(
        name="CurrencyCode",
        description="A currency's three letters, in capitals.",
        specified_by_url=_ISO,
        serialize=_written,
        parse_value=_parse_currency,
    ),
    URL: strawberry.scalar(
        name="URL",
        description="An absolute http or https address.",
        specified_by_url="https://url.spec.whatwg.org/",
        serialize=_written,
        parse_value=lambda given: _matching(_LINK, given, "an absolute address"),
    ),
}
