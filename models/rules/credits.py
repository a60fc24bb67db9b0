"""Credits a booking may draw: those that end first before the others, each for a class that starts while it is good."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Lot:
    """Whole credits of one package. `ends_at` orders the draw; `good_until` is the first start they do not pay for."""

    package_id: UUID
    credits: int
    ends_at: datetime | None = None
    good_until: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be held: ValueError."""
        if self.credits < 0:
            raise ValueError(f"{self.credits} credits held in {self.package_id}")

    def pays_for(self, starts_at: datetime) -> bool:
        """Whether a class that starts then may be paid with these credits."""
        return self.good_until is None or starts_at < self.good_until


class Purse:
    """The lots of one quote, emptied class by class in the order of their start."""

    def __init__(self, lots: Iterable[Lot]) -> None:
        """Take the lots in any order."""
        self._lots: Sequence[Lot] = sorted(lots, key=_end_first)
        self._left = {lot.package_id: lot.credits for lot in self._lots}

    @property
    def held(self) -> int:
        """How many credits there were."""
        return sum(lot.credits for lot in self._lots)

    def draw(self, starts_at: datetime) -> UUID | None:
        """Take a credit for a class -> the package it came from, None where none is left that is good for it.

        With classes in the order of their start, the lot that ends first leaves the most for later ones.
        """
        for lot in self._lots:
            if self._left[lot.package_id] and lot.pays_for(starts_at):
                self._left[lot.package_id] -= 1
                return lot.package_id
        return None


def _end_first(lot: Lot) -> tuple[bool, float, UUID]:
    return lot.ends_at is None, lot.ends_at.timestamp() if lot.ends_at else 0.0, lot.package_id
