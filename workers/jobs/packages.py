"""Credits: those of memberships as their periods begin, and the end of what was not used."""

from uuid import UUID

from models.actions import packages, periods
from workers.work import Work


async def grant_period(work: Work) -> None:
    """Grant the credits of the period under way to each membership that lacks them."""
    await periods.grant_period(acting=work.acting, at=work.now)


async def grant_to_membership(work: Work) -> None:
    """Grant a membership that moved its credits of the period under way, where it stands."""
    membership_id = UUID(work.job.payload["membership_id"])
    await periods.grant_to_membership(membership_id, acting=work.acting, at=work.now)


async def expire(work: Work) -> None:
    """Take back what is left of packages that are over."""
    await packages.expire(acting=work.acting, at=work.now)
