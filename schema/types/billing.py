"""The operator's billing policy, as it is stored or by default."""

from datetime import datetime

from models.actions.billing_policy import POLICY_ID
from models.rules.billing import Policy
from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.lifecycle import WhileSuspended
from resolvers.reads.declare import Node, column, entity, part

_DEFAULT = Policy()
_OR_DEFAULT = {
    "id": f"'{POLICY_ID}'::uuid",
    "suspend_on": f"'{_DEFAULT.suspend_on}'",
    "while_suspended": f"'{_DEFAULT.while_suspended}'",
    "retry_after_days": f"'{list(_DEFAULT.retry_after)}'::jsonb",
    "ahead_days": str(_DEFAULT.ahead_days),
    "first_period": f"'{_DEFAULT.first_period}'",
    "grace_hours": str(_DEFAULT.grace_hours),
}
_COLUMNS = ", ".join(f"coalesce(p.{name}, {value}) AS {name}" for name, value in _OR_DEFAULT.items())
_SOURCE = f"SELECT {_COLUMNS}, p.billing_day, p.updated_at FROM (SELECT) one LEFT JOIN billing_policy p ON true"  # noqa: S608  words of this file

_DAYS = """ARRAY(SELECT d.day::int FROM jsonb_array_elements_text({row}.retry_after_days)
    WITH ORDINALITY d(day, place) ORDER BY d.place)"""


@entity("billing_policy", "When fees are asked for, and what follows a failure; one for the operator.")
class BillingPolicy(Node):
    """The policy."""

    suspend_on: SuspendOn = column("Which failure suspends a membership.")
    while_suspended: WhileSuspended = column("Whether fees fall due during a suspension.")
    retry_after_days: list[int] = column(
        "Working days to wait after the first, second and each further failure; empty for no retries.", _DAYS
    )
    ahead_days: int = column("How many working days before its day a fee is prepared.")
    billing_day: int | None = column("The day of the month new memberships are charged on; null for their anniversary.")
    first_period: FirstPeriod = column("What a first period shorter than a month costs.")
    grace_hours: int = column("Hours for late marks before an invoice is billed off.")
    updated_at: datetime | None = column("When it was last configured; null where it never was, and the defaults hold.")


def the_policy(description: str) -> BillingPolicy | None:
    """A root field: the policy that holds, stored or by default."""
    made: BillingPolicy | None = part(description, _SOURCE)
    return made
