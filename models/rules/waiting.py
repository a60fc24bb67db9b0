"""Who comes next where a course is full: places kept from others, places free, and how long an offer stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from uuid import UUID

from models.rules.states import BookingStatus, WaitingState
from models.rules.timetable import Timetable

HOLDS_A_PLACE = (BookingStatus.AWAITING_PAYMENT, BookingStatus.CONFIRMED)
IN_LINE = (WaitingState.WAITING, WaitingState.OFFERED)


@dataclass(frozen=True, slots=True)
class InLine:
    """One person's place on a waiting list; `offered_until` is the first instant an offer no longer stands."""

    user_id: UUID
    state: WaitingState
    offered_until: datetime | None = None

    def stands(self, at: datetime) -> bool:
        """Whether this is an offer that still keeps a place."""
        return self.state is WaitingState.OFFERED and self.offered_until is not None and self.offered_until > at


def kept_from(line: Sequence[InLine], user_id: UUID, at: datetime) -> int:
    """(the line in its order, person, UTC instant) -> how many free places are not this person's to book.

    Offers that stand to others, and one for each who waits before this person; all who wait come before somebody
    who is not in line, and nobody before one who was offered a place. Source: first come, first served
    """
    offered = sum(each.stands(at) and each.user_id != user_id for each in line)
    if any(each.stands(at) and each.user_id == user_id for each in line):
        return offered
    before = takewhile(lambda each: (each.user_id, each.state) != (user_id, WaitingState.WAITING), line)
    return offered + sum(each.state is WaitingState.WAITING for each in before)


def offer_ends(at: datetime, offer_hours: int, classes: Timetable) -> datetime | None:
    """(UTC instant, hours, timetable) -> the first instant an offer made now no longer stands, None for no offer.

    Never beyond the start of the last class to come: a place that cannot be used is not offered.
    """
    last = classes.last_future
    return None if last is None else min(at + timedelta(hours=offer_hours), last.starts_at)
