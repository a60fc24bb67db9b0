"""The operator's billing policy: when fees are asked for, and what follows a failure. Source: R39, R40, R59."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from models.rules.dunning import RETRY_AFTER, SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.lifecycle import WhileSuspended
from models.rules.refusals import Code, Refusal

MOST_RETRIES, LONGEST_WAIT = 5, 60
MOST_AHEAD, MOST_GRACE = 60, 720
LAST_DAY = 31


@dataclass(frozen=True, slots=True)
class Policy:
    """How fees are asked for; days are working days, `billing_day` a day of the month, None for anniversaries.

    `retry_after` holds the days to wait after the first, the second and each further failure; empty for no retries.
    """

    suspend_on: SuspendOn = SuspendOn.FIRST_FAILURE
    while_suspended: WhileSuspended = WhileSuspended.HOLD
    retry_after: tuple[int, ...] = RETRY_AFTER
    ahead_days: int = 10
    billing_day: int | None = None
    first_period: FirstPeriod = FirstPeriod.FULL
    grace_hours: int = 0

    @property
    def grace(self) -> timedelta:
        """The time for late marks between the end of a period and billing off (R89)."""
        return timedelta(hours=self.grace_hours)


def check(policy: Policy) -> None:
    """Raise Refusal INVALID_INPUT naming the first field that is out of its bounds."""
    _within(policy.retry_after, 1, LONGEST_WAIT, "retryAfterDays", "A retry waits for 1 to 60 working days.")
    _within([len(policy.retry_after)], 0, MOST_RETRIES, "retryAfterDays", "There are at most five retries.")
    _within([policy.ahead_days], 0, MOST_AHEAD, "aheadDays", "A fee is prepared 0 to 60 working days ahead.")
    _within([policy.billing_day or 1], 1, LAST_DAY, "billingDay", "A month has the days 1 to 31.")
    _within([policy.grace_hours], 0, MOST_GRACE, "graceHours", "Late marks have 0 to 720 hours.")


def _within(values: Sequence[int], least: int, most: int, field: str, sentence: str) -> None:
    if any(not least <= value <= most for value in values):
        raise Refusal(Code.INVALID_INPUT, sentence, field=(field,))
