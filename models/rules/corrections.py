"""What changed at an invoice after it was billed off, and how what was shipped can be put right.

What stands elsewhere is never edited: it is voided and issued anew, or a credit note is set against it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

from models.rules.invoicing import net_paid
from models.rules.states import InvoiceStatus, Provider


class ShipmentKind(StrEnum):
    """What is shipped: the invoice itself, or what corrects one that was shipped."""

    INVOICE = "INVOICE"
    VOID = "VOID"
    CREDIT_NOTE = "CREDIT_NOTE"


class CorrectionCause(StrEnum):
    """What changed after an invoice was billed off."""

    ATTENDANCE_CHANGED = "ATTENDANCE_CHANGED"
    REFUNDED = "REFUNDED"
    PAYMENT_LOST = "PAYMENT_LOST"
    INVOICE_CHANGED = "INVOICE_CHANGED"


class Proposal(StrEnum):
    """How what was shipped can be put right."""

    VOID_AND_REISSUE = "VOID_AND_REISSUE"
    CREDIT_NOTE = "CREDIT_NOTE"


class CorrectionState(StrEnum):
    """OPEN until a person decides; APPLIED or DISMISSED by one; DROPPED where the change was undone by itself."""

    OPEN = "OPEN"
    APPLIED = "APPLIED"
    DISMISSED = "DISMISSED"
    DROPPED = "DROPPED"


class Line(NamedTuple):
    """A line of an invoice as its provider wrote it; minor units."""

    external_id: str
    description: str
    amount: int
    product: str | None
    proration: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What of an invoice is frozen when it is billed off; amounts in minor units of `currency`."""

    status: InvoiceStatus
    currency: str
    amount_paid: int
    amount_refunded: int
    credited: int
    credit_used: int
    period_start: datetime
    period_end: datetime
    lines: tuple[Line, ...]

    @property
    def paid(self) -> bool:
        """Whether its money is there."""
        return self.status is InvoiceStatus.PAID

    @property
    def net(self) -> int:
        """What the client was charged and did not get back (R109)."""
        return net_paid(self.amount_paid, self.amount_refunded, self.credited, self.credit_used)


class Change(NamedTuple):
    """What differs, by name: what it was and what it is now; what is proposed; what a credit note gives back."""

    was: dict[str, Any]
    now: dict[str, Any]
    proposal: Proposal
    amount: int | None = None


def changes(was: Figures, now: Figures) -> dict[CorrectionCause, Change]:
    """(figures an invoice was billed off with, figures it has now) -> what has to be put right, by its cause.

    Money that is gone again voids; a refund is credited; whatever else differs is voided and issued anew.
    """
    differing = [each.name for each in fields(Figures) if getattr(was, each.name) != getattr(now, each.name)]
    found: dict[CorrectionCause, Change] = {}
    if was.paid and (not now.paid or now.amount_paid < was.amount_paid):
        lost = [name for name in differing if name in ("status", "amount_paid", "amount_refunded")]
        found[CorrectionCause.PAYMENT_LOST] = _change(was, now, lost, Proposal.VOID_AND_REISSUE)
    else:
        lost = ["amount_refunded"] if "amount_refunded" in differing else []
        back = now.amount_refunded - was.amount_refunded
        if back > 0:
            found[CorrectionCause.REFUNDED] = _change(was, now, lost, Proposal.CREDIT_NOTE, back)
        elif back < 0:  # the bank sent it back
            found[CorrectionCause.REFUNDED] = _change(was, now, lost, Proposal.VOID_AND_REISSUE)
    if rest := [name for name in differing if name not in lost]:
        found[CorrectionCause.INVOICE_CHANGED] = _change(was, now, rest, Proposal.VOID_AND_REISSUE)
    return found


def _change(was: Figures, now: Figures, names: Iterable[str], proposal: Proposal, amount: int | None = None) -> Change:
    named = list(names)
    return Change(
        {name: getattr(was, name) for name in named}, {name: getattr(now, name) for name in named}, proposal, amount
    )


class Shipped(NamedTuple):
    """A document that reached a system: what it is and its id there."""

    kind: ShipmentKind
    external_id: str


def standing(shipped: Iterable[Shipped]) -> tuple[Shipped, ...]:
    """Everything a system got of one invoice, in its order -> what stands there: voiding takes away all before it."""
    left: list[Shipped] = []
    for each in shipped:
        left = [] if each.kind is ShipmentKind.VOID else [*left, each]
    return tuple(left)


def issued(system: Provider, asked: int, net: int) -> tuple[ShipmentKind, ...]:
    """(where, the sum of an invoice's lines, what the client was charged and did not get back) -> what bills it there.

    The books get its lines (R112), and a credit note of what did not stay, so that they sum to what was paid. Lines
    below zero bill nothing: what they give back is credited where its money came in.
    """
    if system is Provider.XERO and asked < 0:
        return ()
    if system is Provider.XERO and asked > net:
        return ShipmentKind.INVOICE, ShipmentKind.CREDIT_NOTE
    return (ShipmentKind.INVOICE,)


def documents(
    system: Provider,
    cause: CorrectionCause,
    proposal: Proposal,
    *,
    stands: bool,
    anew: tuple[ShipmentKind, ...],
) -> tuple[ShipmentKind, ...]:
    """What a system gets when a correction is applied, in this order; `anew` bills it there now, nothing where unpaid.

    The books know no classes, so a change of classes is nothing to them (R112); the practice system knows no credit
    notes, so there all is voided and issued anew.
    """
    if system is Provider.XERO:
        if cause is CorrectionCause.ATTENDANCE_CHANGED:
            return ()
        if proposal is Proposal.CREDIT_NOTE:
            return (ShipmentKind.CREDIT_NOTE,) if stands else ()
    void = (ShipmentKind.VOID,) if stands else ()
    return (*void, *anew)


_LETTERS = {ShipmentKind.VOID: "V", ShipmentKind.INVOICE: "R", ShipmentKind.CREDIT_NOTE: "C"}


def reference(first: str, kind: ShipmentKind, number: int) -> str:
    """(reference of the invoice as first shipped, what is shipped, number of the correction) -> the document's own.

    ("DUE-in_1", CREDIT_NOTE, 2) -> "DUE-in_1-C2"
    """
    return f"{first}-{_LETTERS[kind]}{number}"
