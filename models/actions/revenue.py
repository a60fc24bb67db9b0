"""What classes, membership types and months earned: the current allocations summed, in one statement."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID

from models.tables import sql


class By(StrEnum):
    """What revenue is summed by."""

    CLASS = "CLASS"
    MEMBERSHIP_TYPE = "MEMBERSHIP_TYPE"
    PERIOD = "PERIOD"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the report, minor units of `currency`; no id where money paid for no class, or by no managed type.

    `billed_off` is what of `amount` is final.
    """

    id: UUID | None
    name: str | None
    classes: int
    invoices: int
    amount: int
    billed_off: int
    currency: str


# What each line is of: its id and its name.
_KEYS: dict[By, tuple[str, str]] = {
    By.CLASS: ("ct.id", "ct.name"),
    By.MEMBERSHIP_TYPE: ("mt.id", "mt.name"),
    By.PERIOD: ("NULL::uuid", "to_char(i.period_start AT TIME ZONE coalesce(c.zone, 'UTC'), 'YYYY-MM')"),
}
_REPORT = """
SELECT {id} AS id, {name} AS name, i.currency, count(sh.id) AS classes, count(DISTINCT i.id) AS invoices,
    sum(coalesce(sh.amount, al.amount))::bigint AS amount,
    coalesce(sum(coalesce(sh.amount, al.amount)) FILTER (WHERE i.billed_off_at IS NOT NULL), 0)::bigint AS billed_off
FROM invoice i JOIN allocation al ON al.invoice_id = i.id AND al.current
LEFT JOIN membership m ON m.id = i.membership_id LEFT JOIN membership_type mt ON mt.id = m.membership_type_id
LEFT JOIN centre c ON c.id = m.centre_id LEFT JOIN allocation_share sh ON sh.allocation_id = al.id
LEFT JOIN attendance a ON a.id = sh.attendance_id LEFT JOIN class_session s ON s.id = a.class_session_id
LEFT JOIN class_type ct ON ct.id = s.class_type_id
WHERE (i.period_start AT TIME ZONE coalesce(c.zone, 'UTC'))::date >= $1
    AND (i.period_start AT TIME ZONE coalesce(c.zone, 'UTC'))::date < $2 AND ($3::uuid IS NULL OR m.centre_id = $3)
GROUP BY 1, 2, 3 ORDER BY 2 NULLS LAST, 1, 3
"""


async def revenue(by: By, *, since: date, until: date, centre_id: UUID | None = None) -> list[Line]:
    """[since, until) of the centre's days, by the first day of each invoice's period -> the lines, by name.

    Whatever it is summed by, the lines come to the same: what was paid and not given back.
    """
    key, name = _KEYS[by]
    statement = _REPORT.format(id=key, name=name)
    return [Line(**row) for row in await sql.rows(statement, since, until, centre_id)]
