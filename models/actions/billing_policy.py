"""The operator's billing policy: one row, the defaults of `rules.billing.Policy` where there is none."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.transaction import alone
from models.actions.unit import unit
from models.rules.billing import Policy, check
from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.lifecycle import WhileSuspended
from models.tables.setting import BillingPolicy

POLICY_ID = UUID(int=1)  # of the one row there may be: its id is known before it is written
ANNIVERSARY = 0  # as a billing day: each membership's own


async def policy() -> Policy:
    """The policy that holds now."""
    return as_rule(await BillingPolicy.first())


def as_rule(row: BillingPolicy | None) -> Policy:
    """The stored policy, or the defaults, as the rules take it."""
    if row is None:
        return Policy()
    return Policy(
        suspend_on=row.suspend_on,
        while_suspended=row.while_suspended,
        retry_after=tuple(row.retry_after_days),
        ahead_days=row.ahead_days,
        billing_day=row.billing_day,
        first_period=row.first_period,
        grace_hours=row.grace_hours,
    )


async def configure_billing(
    *,
    acting: str,
    at: datetime,
    suspend_on: SuspendOn | None = None,
    while_suspended: WhileSuspended | None = None,
    retry_after_days: Sequence[int] | None = None,
    ahead_days: int | None = None,
    billing_day: int | None = None,
    first_period: FirstPeriod | None = None,
    grace_hours: int | None = None,
) -> BillingPolicy:
    """Change what is given of the policy; what is left out stays. A billing day of 0 is each membership's anniversary.

    It holds for what happens from now on: memberships keep the billing day they started with. Raises Refusal
    INVALID_INPUT.        Source: R39, R40
    """
    given: dict[str, Any] = {
        "suspend_on": suspend_on,
        "while_suspended": while_suspended,
        "retry_after": tuple(retry_after_days) if retry_after_days is not None else None,
        "ahead_days": ahead_days,
        "billing_day": billing_day,
        "first_period": first_period,
        "grace_hours": grace_hours,
    }
    async with unit(acting=acting, at=at) as work:
        await alone("billing policy")
        row = await BillingPolicy.first()
        before = as_rule(row)
        values = asdict(before) | {name: value for name, value in given.items() if value is not None}
        values["billing_day"] = None if billing_day == ANNIVERSARY else values["billing_day"]
        after = Policy(**values)
        check(after)
        stored = {name: value for name, value in values.items() if name != "retry_after"}
        stored["retry_after_days"] = list(after.retry_after)
        if row is None:
            row = await BillingPolicy.create(id=POLICY_ID, **stored)
        else:
            row.update_from_dict(stored)
            await row.save(update_fields=[*stored])
        work.audit("configure_billing", row, before=asdict(before), after=asdict(after))
    return row
