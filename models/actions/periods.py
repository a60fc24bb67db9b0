"""Credits that come with a membership: so many for each monthly period that is under way, never for one that passed."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import packages
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.calendar import Days, day_at, midnight, period_on
from models.rules.lifecycle import STANDING
from models.tables import sql
from models.tables.membership import Membership
from models.tables.package import Package
from models.tables.row import new_id

ENTERS = tuple(status for status, standing in STANDING.items() if standing.enters)
LONGEST_NAME = 120

# The period that is under way is the one whose package is valid now, so no calendar is needed to see who lacks it.
_LACKING = """
    SELECT m.id FROM membership m JOIN membership_type t ON t.id = m.membership_type_id
    WHERE m.status = ANY ($2::text[]) AND t.credits_per_period IS NOT NULL AND m.id > $3
    AND NOT EXISTS (SELECT 1 FROM package p WHERE p.membership_id = m.id AND p.period_start IS NOT NULL
        AND p.valid_from <= $1 AND $1 < p.valid_until)
    ORDER BY m.id LIMIT $4
"""


async def grant_period(*, acting: str, at: datetime, page: int = packages.PAGE) -> int:
    """Grant the credits of the present period to every standing membership that lacks them -> how many."""
    last: UUID | None = UUID(int=0)
    number = 0
    while last is not None:
        last, granted = await _grant_page(last, page, acting, at)
        number += granted
    return number


@repeated
async def _grant_page(after: UUID, page: int, acting: str, at: datetime) -> tuple[UUID | None, int]:
    async with unit(acting=acting, at=at) as work:
        rows = await sql.rows(_LACKING, at, list(ENTERS), after, page)
        if not rows:
            return None, 0
        found = [row["id"] for row in rows]
        return found[-1], await _grant(work, found)


@repeated
async def grant_to_membership(membership_id: UUID, *, acting: str, at: datetime) -> bool:
    """Grant one membership its credits of the present period -> whether it stood and lacked them."""
    async with unit(acting=acting, at=at) as work:
        return await _grant(work, [membership_id]) == 1


async def _grant(work: Unit, membership_ids: Sequence[UUID]) -> int:
    # locked, and asked for its standing under the lock: whoever suspends or ends one meanwhile comes before or after
    locked = Membership.filter(id__in=list(membership_ids), status__in=ENTERS).select_for_update().order_by("id")
    owed: dict[UUID, tuple[Membership, Days, ZoneInfo]] = {}
    for membership in await locked.prefetch_related("membership_type", "centre"):
        zone = ZoneInfo(membership.centre.zone)
        period = period_on(membership.starts_on, day_at(work.at, zone))
        over = period is None or (membership.ends_on is not None and membership.ends_on <= period.start)
        if period is not None and not over and membership.membership_type.credits_per_period:
            owed[membership.id] = (membership, period, zone)
    of_periods = Package.filter(membership_id__in=list(owed), period_start__not_isnull=True)
    held = set(await of_periods.values_list("membership_id", "period_start"))
    granted = [
        (_package(*each), each[0].membership_type.credits_per_period)
        for each in owed.values()
        if (each[0].id, each[1].start) not in held
    ]
    if granted:
        await Package.bulk_create([package for package, _ in granted])
        await packages.give(work, granted)
    return len(granted)


def _package(membership: Membership, period: Days, zone: ZoneInfo) -> Package:
    name, first_day = membership.membership_type.name, f" {period.start}"
    return Package(
        id=new_id(),
        user_id=membership.user_id,
        name=name[: LONGEST_NAME - len(first_day)] + first_day,
        membership_id=membership.id,
        period_start=period.start,
        valid_from=midnight(period.start, zone),
        valid_until=midnight(period.end, zone),
    )
