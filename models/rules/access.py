"""Who may enter, and when: the window of an access token. Source: CoursePro, A, access control, and D."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from models.rules.lifecycle import STANDING, Status

BEFORE = AFTER = timedelta(minutes=30)


class Window(NamedTuple):
    """Two UTC instants, the first inside and the last outside, between which a token opens the door (D3)."""

    valid_from: datetime
    valid_until: datetime


class NoEntry(StrEnum):
    """Why the door stays shut (R14, R42, R43)."""

    MEMBERSHIP_NOT_ACTIVE = "MEMBERSHIP_NOT_ACTIVE"
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105  the name of a reason, not a secret
    TOO_EARLY = "TOO_EARLY"
    TOO_LATE = "TOO_LATE"
    NO_TOKEN = "NO_TOKEN"  # noqa: S105  the same


def token_window(
    starts_at: datetime, ends_at: datetime, before: timedelta = BEFORE, after: timedelta = AFTER
) -> Window:
    """(class start, its end, time allowed on either side) -> Window; ValueError when it would be empty. Source: R14."""
    window = Window(starts_at - before, ends_at + after)
    if window.valid_until <= window.valid_from:
        raise ValueError(f"a class from {starts_at} to {ends_at} leaves no time to enter")
    return window


def earns_token(status: Status) -> bool:
    """(membership state) -> whether a place on the roster makes a token. Source: CoursePro, A; R14, R42."""
    return STANDING[status].enters


def no_entry(status: Status, window: Window, at: datetime, *, revoked: bool = False) -> NoEntry | None:
    """(membership state, token's window, now) -> why the door stays shut, or None when it opens.

    Source: CoursePro, D; R14, R42, R43
    """
    if not STANDING[status].enters:
        return NoEntry.MEMBERSHIP_NOT_ACTIVE
    if revoked:
        return NoEntry.TOKEN_REVOKED
    if at < window.valid_from:
        return NoEntry.TOO_EARLY
    return NoEntry.TOO_LATE if at >= window.valid_until else None


def may_enter(status: Status, window: Window, at: datetime, *, revoked: bool = False) -> bool:
    """(membership state, token's window, now) -> whether the door opens. Source: CoursePro, A and D; R14, R43."""
    return no_entry(status, window, at, revoked=revoked) is None


class Place(NamedTuple):
    """A person's place in one class at one centre, as its gate finds it."""

    session_id: UUID
    status: Status
    window: Window
    revoked: bool


class Entry(NamedTuple):
    """What a gate is told: whether it opens and until when, else why not; and the class that decided it."""

    no: NoEntry | None
    until: datetime | None = None
    session_id: UUID | None = None


def at_the_gate(places: Iterable[Place], at: datetime) -> Entry:
    """(a person's places around this moment, now) -> the one that opens longest, else what the nearest one says.

    NO_TOKEN where there is none.        Source: CoursePro, A and D; R14, R42, R43
    """
    judged = [(no_entry(place.status, place.window, at, revoked=place.revoked), place) for place in places]
    opening = [place for no, place in judged if no is None]
    if opening:
        longest = max(opening, key=lambda place: place.window.valid_until)
        return Entry(None, longest.window.valid_until, longest.session_id)
    if not judged:
        return Entry(NoEntry.NO_TOKEN)
    order = list(NoEntry)
    no, nearest = min(judged, key=lambda each: (_away(each[1].window, at), order.index(each[0] or NoEntry.NO_TOKEN)))
    return Entry(no, None, nearest.session_id)


def _away(window: Window, at: datetime) -> timedelta:
    """How far a moment is from a window; nothing inside it."""
    return max(window.valid_from - at, at - window.valid_until, timedelta(0))
