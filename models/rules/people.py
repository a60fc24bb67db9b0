"""What is kept of a person, what of it the course system is told, and what is never taken in. Source: CoursePro, E."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from models.rules.refusals import Code, Refusal

COURSE_RECORD = "user"  # the kind of link that ties a person to their record in the course system


@dataclass(frozen=True, slots=True)
class Field:
    """A detail that is collected of people: its name, what people read, whether nobody can be without it."""

    name: str
    label: str
    required: bool


FIXED = (
    Field("first_name", "First name", required=True),
    Field("last_name", "Last name", required=True),
    Field("email", "E-mail address", required=True),
    Field("phone", "Telephone number", required=False),
    Field("date_of_birth", "Date of birth", required=False),
)
# All the course system is ever told of a person, beside the values of the configured fields (R63).
TOLD = frozenset({"first_name", "last_name", "email", "phone", "date_of_birth"})
assert {field.name for field in FIXED} == TOLD
# What stands beside a person's details in what is sent, so no field may be called so.
TAKEN_NAMES = TOLD | {"user_id", "coursepro_id", "version", "state", "fields"}

LONGEST = {"first_name": 60, "last_name": 60, "email": 254, "phone": 25}
LONGEST_VALUE, LONGEST_LABEL = 255, 80
FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")

BILLING_WORDS = ("account_number", "sort_code", "iban", "card", "bank", "mandate")
# The same as others write it: AccountNumber, sort-code, card no.
_ACCOUNT_WORDS = ("accountnumber", "accountno", "sortcode", "iban", "cardno", "cardnum", "bankaccount", "securitycode")
_ACCOUNT_NAMES = frozenset({"account", "bank", "card", "cvv", "cvc", "pan", "bic", "swift"})
_DIGITS = re.compile(r"(?<!\d)(\+?)(\d(?:[ -]?\d){12,18})(?!\d)")
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Z0-9])")
LONGEST_PHONE = 15  # digits behind the plus sign of an international number
CARDS_BEGIN = range(2, 7)

Values = dict[str, str | date | None]


def whitelist(configured: Iterable[str]) -> frozenset[str]:
    """Names of the configured fields -> the names of all that may be told of a person (R57, R63)."""
    return TOLD | frozenset(configured)


def differing(told: Mapping[str, str | None], now: Mapping[str, str | None]) -> dict[str, str | None]:
    """(what was told last, what is known now) -> what is still to be told, None for what is gone (R57).

    A detail that is no longer among what may be told is not told, not even that it is gone.
    """
    return {name: value for name, value in now.items() if told.get(name) != value}


def as_text(value: Any) -> str | None:
    """A detail as it is told and compared: days as ISO 8601, nothing as None."""
    if value is None or value == "":
        return None
    return value.isoformat() if isinstance(value, date) else str(value)


def checked(
    given: Mapping[str, Any],
    configured: Collection[Field],
    *,
    today: date,
    whole: bool,
    within: tuple[str, ...] = (),
) -> Values:
    """Details by name, fixed and configured ones alike -> the same, trimmed and typed; None for what is empty.

    `whole` asks for every required field, otherwise only what is given is looked at; `within` is the path of the fixed
    fields in the input. Raises Refusal INVALID_INPUT, BILLING_DETAILS_REFUSED naming the field. Source: R50, R56, R62
    """
    values: Values = {}
    for field in (*FIXED, *configured):
        path = (*within, _camel(field.name)) if field.name in TOLD else ("fields", field.name)
        if field.name in given:
            values[field.name] = _value(field.name, given[field.name], path, today)
        if field.required and values.get(field.name) is None and (whole or field.name in values):
            raise Refusal(Code.INVALID_INPUT, f"The field {field.name!r} is required.", field=path)
    return values


def _value(name: str, value: Any, path: tuple[str, ...], today: date) -> str | date | None:
    if value is None or isinstance(value, date):
        born = value
    elif not isinstance(value, str) or "\0" in value:
        raise Refusal(Code.INVALID_INPUT, "It is not text.", field=path)
    elif len(text := value.strip()) > LONGEST.get(name, LONGEST_VALUE):
        raise Refusal(Code.INVALID_INPUT, "It is longer than what is kept.", field=path)
    elif billing_detail(text) is not None:
        raise Refusal(Code.BILLING_DETAILS_REFUSED, field=path)
    elif name == "email" and text and not _is_address(text):
        raise Refusal(Code.INVALID_INPUT, f"{text!r} is no e-mail address.", field=path)
    elif name != "date_of_birth" or not text:
        return text or None
    else:
        born = _day(text, path)
    if born is not None and born > today:
        raise Refusal(Code.INVALID_INPUT, "A person was born on a day that has been.", field=path)
    return born


def _is_address(text: str) -> bool:
    return text.count("@") == 1 and all(text.split("@")) and not any(mark.isspace() for mark in text)


def _day(text: str, path: tuple[str, ...]) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Refusal(Code.INVALID_INPUT, "It is no day written as 2016-05-04.", field=path) from None


def checked_field(name: str, label: str) -> None:
    """A field somebody wants to collect. Raises Refusal INVALID_INPUT, BILLING_DETAILS_REFUSED (R56, R62)."""
    if not FIELD_NAME.fullmatch(name) or name in TAKEN_NAMES:
        said = f"{name!r} is no name for a field: letters, digits and underscores, nothing people have anyway."
        raise Refusal(Code.INVALID_INPUT, said, field=("name",))
    if not label.strip() or len(label) > LONGEST_LABEL:
        raise Refusal(Code.INVALID_INPUT, f"A label has 1 to {LONGEST_LABEL} characters.", field=("label",))
    if any(word in name for word in BILLING_WORDS) or _names_an_account(name):
        raise Refusal(Code.BILLING_DETAILS_REFUSED, field=("name",))


def billing_detail(given: Any, path: tuple[str, ...] = (), *, numbers: bool = True) -> tuple[str, ...] | None:
    """Something from outside -> the path of the first bank or card detail in it, or None (R62).

    Told by the name it goes by, by the check digit of a card's number, or by the check digits of an IBAN; by the name
    alone without `numbers`, where ids are told too and may look like a card's. The path never holds such a number.
    """
    if isinstance(given, Mapping):
        for name, value in given.items():
            if numbers and _holds_an_account(str(name)):
                return path
            if _names_an_account(str(name)):
                return (*path, str(name))
            if (found := billing_detail(value, (*path, str(name)), numbers=numbers)) is not None:
                return found
        return None
    if isinstance(given, list | tuple):
        places = (billing_detail(each, (*path, str(place)), numbers=numbers) for place, each in enumerate(given))
        return next((found for found in places if found is not None), None)
    if isinstance(given, bool) or not isinstance(given, str | int):
        return None
    return path if numbers and _holds_an_account(str(given)) else None


def _names_an_account(name: str) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    return plain in _ACCOUNT_NAMES or any(word in plain for word in _ACCOUNT_WORDS)


def _holds_an_account(text: str) -> bool:
    for plus, run in _DIGITS.findall(text):
        digits = [int(digit) for digit in run if digit.isdecimal()]
        if (not plus or len(digits) > LONGEST_PHONE) and digits[0] in CARDS_BEGIN and _luhn(digits):
            return True
    return any(_is_iban(found) for found in _IBAN.findall(text.upper()))


def _luhn(digits: list[int]) -> bool:
    doubled = [2 * digit - 9 if digit > 4 else 2 * digit for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[::-2])) % 10 == 0


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
