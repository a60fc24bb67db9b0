"""What follows a failed payment: when it is tried again, and which failure suspends. Source: CoursePro, D."""

from datetime import date
from enum import StrEnum

from models.rules.working_days import working_days_after

RETRY_AFTER: tuple[int, ...] = (1, 5)  # working days to wait after the first and the second failure; then give up


class SuspendOn(StrEnum):
    """Which failure suspends a membership: the first, as the document has it, or the last (R40)."""

    FIRST_FAILURE = "FIRST_FAILURE"
    RETRIES_EXHAUSTED = "RETRIES_EXHAUSTED"


def next_attempt(failed_attempts: int, failed_on: date, calendar: tuple[int, ...] = RETRY_AFTER) -> date | None:
    """(failures so far, day of the last, working days to wait after each) -> the day to try again, None to give up.

    ValueError when nothing has failed. Source: R40, R84
    """
    if failed_attempts < 1:
        raise ValueError(f"{failed_attempts} failed attempts")
    if failed_attempts > len(calendar):
        return None
    return working_days_after(failed_on, calendar[failed_attempts - 1])


def suspends(policy: SuspendOn, *, will_be_retried: bool) -> bool:
    """(policy, whether the provider or we try again) -> whether this failure suspends. Source: CoursePro, D; R40."""
    return policy is SuspendOn.FIRST_FAILURE or not will_be_retried
