"""Who may enter, and when: the window of an access token. Source: CoursePro, A, access control, and D."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

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
