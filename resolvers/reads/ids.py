"""Global ids: base64url, without padding, of "Type:uuid". Decoding is strict: one id has one spelling."""

import base64
import binascii
import re
from collections.abc import Callable
from uuid import UUID

from graphql import GraphQLError

_STANDARD, _URL_SAFE = bytes.maketrans(b"-_", b"+/"), bytes.maketrans(b"+/", b"-_")
_PLAIN = re.compile(r"([A-Za-z]{1,19}):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})", re.ASCII)


class BadInput(GraphQLError):
    """The caller asked for something malformed: an id, a page size (BAD_USER_INPUT) or a cursor (INVALID_CURSOR)."""

    def __init__(self, message: str, code: str = "BAD_USER_INPUT") -> None:
        # tools that do not know a code of ours read whose fault it was from the classification
        told = {"code": code} if code == "BAD_USER_INPUT" else {"code": code, "classification": "BAD_USER_INPUT"}
        super().__init__(message, extensions=told)


class WrongType(Exception):
    """A well-formed id of another type of thing."""


def encode(type_name: str, key: UUID) -> str:
    """("User", uuid) -> "VXNlcjo..."."""
    return base64.urlsafe_b64encode(f"{type_name}:{key}".encode()).rstrip(b"=").decode()


def split(given: str) -> tuple[str, UUID]:
    """A global id -> (type name, uuid). Raises BadInput where it is not one."""
    try:
        coded = given.encode("ascii")
        plain = binascii.a2b_base64(coded.translate(_STANDARD) + b"=" * (-len(coded) % 4))
        found = _PLAIN.fullmatch(plain.decode("ascii"))
    except ValueError:
        found = None
    if found is None or binascii.b2a_base64(plain, newline=False).translate(_URL_SAFE, b"=") != coded:
        raise BadInput(f"{given[:80]!r} is not an id.")  # what decoding overlooked comes back otherwise
    return found[1], UUID(bytes=bytes.fromhex(found[2].replace("-", "")))  # twice as fast as from its text


def decode(given: str, expected_type: str) -> UUID:
    """A global id of `expected_type` -> uuid. Raises BadInput (malformed), WrongType (an id of something else)."""
    type_name, key = split(given)
    if type_name != expected_type:
        raise WrongType(f"{given} is the id of a {type_name}, not of a {expected_type}")
    return key


def known(type_name: str) -> Callable[[str], UUID | None]:
    """For look-ups: a reader of ids that answers None for the id of something else. `*` takes any type's ids."""

    def read(given: str) -> UUID | None:
        found, key = split(given)
        return key if type_name in (found, "*") else None

    return read
