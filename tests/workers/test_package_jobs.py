"""The jobs of credits, run by a worker: rows and clock as they come, again and again."""

from datetime import UTC, datetime

import pytest

from integrations.bus import RedisBus
from models.actions import jobs, memberships
from models.actions.packages import balance
from models.rules.lifecycle import Cause
from models.rules.states import JobState
from models.tables.job import Job
from models.tables.package import CreditEntry, Package
from tests.build import BY, NOW, WEEK, a_membership, a_package, a_user
from workers.kinds import HANDLERS, RECURRING
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")


class Moved:
    """A clock put at an instant."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The instant."""
        return self.at


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@pytest.fixture
def clock() -> Moved:
    return Moved(NOW)


@pytest.fixture
def runner(outside: Outside, clock: Moved) -> Runner:
    assert isinstance(outside.bus, RedisBus)
    return Runner(HANDLERS, RECURRING, Outside(outside.providers, clock, outside.bus), silent)


async def once(runner: Runner, kind: str) -> Job:
    """Run the oldest unfinished job of a kind -> its row."""
    job = await Job.filter(kind=kind, state=JobState.READY).order_by("id").first()
    assert job is not None
    await Job.filter(id=job.id).update(run_at=None)
    await runner.run(job.id)
    return await Job.get(id=job.id)


async def test_a_membership_that_becomes_active_gets_its_credits_from_the_job_written_with_it(
    runner: Runner, clock: Moved
) -> None:
    membership = await a_membership(credits_per_period=6)
    assert not await Package.exists(membership_id=membership.id)
    assert (await once(runner, "packages.grant_to_membership")).state is JobState.DONE
    package = await Package.get(membership_id=membership.id)
    assert (package.period_start, await balance(package.id)) == (NOW.date(), 6)

    await jobs.ensure_recurring(RECURRING)
    clock.at = datetime(2026, 4, 3, 12, tzinfo=UTC)
    for _ in range(2):
        again = await once(runner, "packages.grant_period")
        assert again.state is JobState.READY, "it recurs"
        assert not again.error
        await once(runner, "packages.expire")
    rows = await Package.filter(membership_id=membership.id).order_by("period_start")
    assert [(str(row.period_start), await balance(row.id)) for row in rows] == [("2026-03-02", 0), ("2026-04-02", 6)]
    entries = await CreditEntry.filter(package_id=rows[0].id).order_by("id")
    assert [(entry.delta, entry.reason) for entry in entries] == [(6, "GRANT"), (-6, "EXPIRED")]


async def test_a_job_that_comes_too_late_grants_nothing(runner: Runner) -> None:
    membership = await a_membership(credits_per_period=6)
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    for _ in range(2):
        assert (await once(runner, "packages.grant_to_membership")).state is JobState.DONE
    assert not await Package.exists(membership_id=membership.id)


async def test_what_is_over_ends_within_a_run(runner: Runner, clock: Moved) -> None:
    await jobs.ensure_recurring(RECURRING)
    package = await a_package(await a_user(), 3, valid_until=NOW + WEEK)
    for at, left in ((NOW, 3), (NOW + WEEK, 0)):
        clock.at = at
        await once(runner, "packages.expire")
        assert await balance(package.id) == left
