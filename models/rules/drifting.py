"""What we know of invoices against what stands at their provider, in the practice system and in the books (D7).

Stripe's own word counts for what was charged; ours for what we shipped. A repair goes in the owner's direction only.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from models.rules.money import Money
from models.rules.states import Provider

STANDS, VOIDED, MISSING = "STANDS", "VOIDED", "MISSING"


class FieldOwner(StrEnum):
    """Whose word counts for a field."""

    DUEFLOW = "DUEFLOW"
    STRIPE = "STRIPE"


class Repair(StrEnum):
    """What is done about a difference."""

    MIRROR_AGAIN = "MIRROR_AGAIN"
    SHIP_AGAIN = "SHIP_AGAIN"
    CORRECT = "CORRECT"
    NOTHING = "NOTHING"


class Differs(NamedTuple):
    """A field that is one way here and another there."""

    field: str
    ours: str
    theirs: str


def shipped_differs(ours: Money, theirs: Money | None, *, voided: bool) -> list[Differs]:
    """(what we shipped, what stands there, None where nothing does) -> the fields that differ."""
    if theirs is None:
        return [Differs("state", STANDS, MISSING)]
    if voided:
        return [Differs("state", STANDS, VOIDED)]
    return [] if ours == theirs else [Differs("total", str(ours), str(theirs))]


def mirrored_differs(ours: Mapping[str, object], theirs: Mapping[str, object] | None) -> list[Differs]:
    """(an invoice's figures here, the same as its provider has them, None where it has none) -> those that differ."""
    if theirs is None:
        return [Differs("state", STANDS, MISSING)]
    return [Differs(name, str(ours[name]), str(theirs[name])) for name in ours if ours[name] != theirs[name]]


def owner(provider: Provider) -> FieldOwner:
    """Whose word counts for an invoice's field at a provider. Source: D7."""
    return FieldOwner.STRIPE if provider is Provider.STRIPE else FieldOwner.DUEFLOW


def repair(provider: Provider, field: str, theirs: str | None) -> Repair:
    """(where, which field, what is there) -> what puts it right, towards the owner's word."""
    if provider is Provider.STRIPE:
        return Repair.NOTHING if theirs == MISSING else Repair.MIRROR_AGAIN
    if provider not in (Provider.NOOKAL, Provider.XERO):
        return Repair.NOTHING
    return Repair.SHIP_AGAIN if (field, theirs) == ("state", MISSING) else Repair.CORRECT
