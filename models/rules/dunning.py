"""What follows a failed payment: when it is tried again, and which failure suspends. Source: CoursePro, D."""

from datetime import date, timedelta
from enum import StrEnum

RETRY_CALENDAR: tuple[int, ...] = (3, 5, 7)  # days to wait after the first, second and third failure; then give up


class SuspendOn(StrEnum):
    """Which failure suspends a membership: the first, as the document has it, or the last (R40)."""

    FIRST_FAILURE = "FIRST_FAILURE"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"


def next_attempt(failed_attempts: int, failed_on: date, calendar: tuple[int, ...] = RETRY_CALENDAR) -> date | None:
    """(failures so far, day of the last, days to wait after each) -> the day to try again, or None to give up.

    ValueError when nothing has failed. Source: R40, R84
    """
    if failed_attempts < 1:
        raise ValueError(f"{failed_attempts} failed attempts")
    if failed_attempts > len(calendar):
        return None
    return failed_on + timedelta(days=calendar[failed_attempts - 1])


def suspends(policy: SuspendOn, *, will_be_retried: bool) -> bool:
    """(policy, whether the provider or we try again) -> whether this failure suspends. Source: CoursePro, D; R40."""
    return policy is SuspendOn.FIRST_FAILURE or not will_be_retried
