"""The proof of the books: the equation they keep, and where they are not what the rows they mirror say."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from models.rules.money import decimal_text
from models.rules.states import Provider


class Check(StrEnum):
    """What of the books is compared with the rows they mirror."""

    RECEIVABLE = "RECEIVABLE"
    RECEIVED = "RECEIVED"
    REFUNDED = "REFUNDED"
    PAID_BACK = "PAID_BACK"
    CREDIT = "CREDIT"
    ALLOCATED = "ALLOCATED"
    HELD = "HELD"
    SPREAD = "SPREAD"
    SHARES = "SHARES"
    ENTRIES = "ENTRIES"


WORDS: dict[Check, str] = {
    Check.RECEIVABLE: "{booked} is owed in the books, {told} by the payment",
    Check.RECEIVED: "{booked} was received in the books, {told} by the row",
    Check.REFUNDED: "{booked} goes back in the books, {told} by the refunds",
    Check.PAID_BACK: "{booked} went back in the books, {told} by the refunds",
    Check.CREDIT: "{booked} is credit in the books, {told} by the invoice",
    Check.ALLOCATED: "{booked} is allocated in the books, {told} by what it pays for",
    Check.HELD: "{booked} is held: more went than came",
    Check.SPREAD: "{booked} is allocated, of {told} at most",
    Check.SHARES: "the shares sum to {booked}, the allocation is of {told}",
    Check.ENTRIES: "{booked} stands in entries of a wrong account or currency",
}
assert WORDS.keys() == set(Check)


@dataclass(frozen=True, slots=True)
class Books:
    """What was received of one currency, less what was taken back by banks, and where it stands; minor units.

    `charged` is counted by movements, the others by accounts, so that an entry which names a wrong account shows.
    """

    currency: str
    charged: int = 0
    allocated: int = 0
    refunded: int = 0
    credit: int = 0
    held: int = 0
    fees: int = 0
    receivable: int = 0

    @property
    def holds(self) -> bool:
        """Whether charged = allocated + refunded + credit + held."""
        return self.charged == self.allocated + self.refunded + self.credit + self.held

    @property
    def equation(self) -> str:
        """charged = allocated + refunded + credit + held: "50.00 = 25.00 + 20.00 + 0.00 + 5.00"."""
        left, *right = (
            decimal_text(each, self.currency)
            for each in (self.charged, self.allocated, self.refunded, self.credit, self.held)
        )
        return f"{left} {'=' if self.holds else '≠'} {' + '.join(right)}"


@dataclass(frozen=True, slots=True)
class Break:
    """A payment or an invoice (`subject`) that the books have otherwise than its rows: minor units of a currency.

    `by_rows` are the books as the rows would have them, with what the books hold.
    """

    check: Check
    subject: str
    subject_id: UUID
    user_id: UUID | None
    provider: Provider
    booked: int
    told: int
    by_rows: Books

    @property
    def because(self) -> str:
        """What differs, in words and figures."""
        booked, told = (decimal_text(each, self.by_rows.currency) for each in (self.booked, self.told))
        return WORDS[self.check].format(booked=booked, told=told)

    @property
    def equation(self) -> str:
        """The equation with the figures of the rows."""
        return self.by_rows.equation


@dataclass(frozen=True, slots=True)
class Proof:
    """The books of each currency, and where they break."""

    sums: tuple[Books, ...]
    breaks: tuple[Break, ...]

    @property
    def holds(self) -> bool:
        """Whether every equation holds and nothing breaks."""
        return not self.breaks and all(each.holds for each in self.sums)

    @property
    def equation(self) -> str:
        """The equation of each currency: "50.00 = 25.00 + 20.00 + 0.00 + 5.00 GBP"; of no money at all "0"."""
        return "; ".join(f"{each.equation} {each.currency}" for each in self.sums) or "0"


def told(breaks: Iterable[Break]) -> str:
    """The breaks of one thing -> its equation and what differs, in one sentence."""
    found = list(breaks)
    return f"{found[0].equation} {found[0].by_rows.currency}: {'; '.join(each.because for each in found)}."
