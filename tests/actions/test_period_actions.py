"""Credits that come with a membership: each period once, the one under way alone, and no longer than the membership."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from models.actions import catalogue, memberships, packages, periods
from models.actions.bookings import book_course
from models.actions.packages import balance
from models.rules.booking import Method
from models.rules.lifecycle import Cause, Status
from models.rules.pricing import Integration, MembershipKind
from models.rules.refusals import Code
from models.tables.membership import Membership
from models.tables.package import CreditEntry, Package
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_course,
    a_mandate,
    a_membership_type,
    a_name,
    a_package,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
JOB = "job:packages.grant_period"


@pytest.fixture(autouse=True)
async def _no_others(database: None) -> None:
    """The memberships of other tests have run their course, and their credits with them."""
    await Membership.all().update(status=Status.EXPIRED)
    await packages.expire(acting=BY, at=NOW)


async def a_plan(
    starts_on: date, at: datetime, *, zone: str = "Europe/London", per_period: int | None = 8, user: User | None = None
) -> Membership:
    """A membership sold at an instant, that grants credits for each month."""
    holder = user or await a_user()
    kind, option = await a_membership_type(credits_per_period=per_period)
    centre = await catalogue.create_centre(name=a_name("Pool"), zone=zone, currency="GBP", acting=BY, at=NOW)
    return await memberships.start_membership(
        user_id=holder.id,
        membership_type_id=kind.id,
        centre_id=centre.id,
        pricing_option_id=option.id,
        mandate_id=(await a_mandate(holder)).id,
        starts_on=starts_on,
        acting=BY,
        at=at,
    )


async def run(at: datetime, **options: Any) -> int:
    return await periods.grant_period(acting=JOB, at=at, **options)


async def granted(membership: Membership) -> list[tuple[date | None, datetime, datetime | None, int]]:
    """(first day of the period, valid from, valid until, credits left) of each package, oldest first."""
    rows = await Package.filter(membership_id=membership.id).order_by("period_start", "id")
    return [(row.period_start, row.valid_from, row.valid_until, await balance(row.id)) for row in rows]


async def move(membership: Membership, cause: Cause, at: datetime) -> None:
    await memberships.by_staff(membership.id, cause, acting=BY, at=at)


def utc(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


# -- the clock moves --------------------------------------------------------------------------------------------------


async def test_periods_over_the_ends_of_months() -> None:
    """Begun on 31 January: 28 February, 31 March and 30 April follow (R5), and London's summer begins on 29 March."""
    membership = await a_plan(date(2026, 1, 31), utc(1, 31, 9))
    walk = [
        (utc(1, 31, 9), 1),
        (utc(2, 27, 23), 0),
        (utc(2, 28), 1),
        (utc(3, 30, 22), 0),
        (utc(3, 30, 23), 1),
        (utc(4, 29, 22), 0),
        (utc(4, 29, 23), 1),
    ]
    assert [(at, await run(at)) for at, _ in walk] == walk
    assert await granted(membership) == [
        (date(2026, 1, 31), utc(1, 31), utc(2, 28), 8),
        (date(2026, 2, 28), utc(2, 28), utc(3, 30, 23), 8),
        (date(2026, 3, 31), utc(3, 30, 23), utc(4, 29, 23), 8),
        (date(2026, 4, 30), utc(4, 29, 23), utc(5, 30, 23), 8),
    ]


async def test_a_grant_is_a_package_with_one_entry_and_its_name_says_what_it_is_for() -> None:
    membership = await a_plan(date(2026, 3, 2), NOW)
    kind = await membership.membership_type
    async with happening() as seen:
        assert await run(NOW) == 1
    (package,) = await Package.filter(membership_id=membership.id)
    assert (package.user_id, package.name) == (membership.user_id, f"{kind.name} 2026-03-02")
    entries = await CreditEntry.filter(package_id=package.id)
    assert [(entry.delta, entry.reason) for entry in entries] == [(8, "GRANT")]
    assert [(entry.actor, entry.verb, entry.after) for entry in seen.audit] == [
        (JOB, "grant_package", {"credits": 8, "valid_until": "2026-04-01T23:00:00+00:00"})
    ]
    assert (seen.events, seen.jobs) == ([], [])
    async with nothing_written():
        assert await run(NOW) == 0
        assert await periods.grant_to_membership(membership.id, acting=JOB, at=NOW) is False


async def test_a_long_name_is_cut_and_the_day_kept() -> None:
    membership = await a_plan(date(2026, 3, 2), NOW)
    await (await membership.membership_type).update_from_dict({"name": "x" * 120}).save()
    await run(NOW)
    assert (await Package.get(membership_id=membership.id)).name == "x" * 109 + " 2026-03-02"


async def test_a_clock_that_leaps_grants_the_period_under_way_and_none_that_passed() -> None:
    membership = await a_plan(date(2026, 1, 31), utc(1, 31, 9))
    assert await run(utc(8, 15)) == 1
    assert [period for period, *_ in await granted(membership)] == [date(2026, 7, 31)]


async def test_a_period_begins_at_the_centres_own_midnight() -> None:
    membership = await a_plan(date(2026, 3, 3), utc(3, 3), zone="America/New_York")
    assert membership.status is Status.ACTIVE
    assert await run(utc(3, 3, 4)) == 0, "there it is still the 2nd"
    assert await run(utc(3, 3, 5)) == 1
    assert await granted(membership) == [(date(2026, 3, 3), utc(3, 3, 5), utc(4, 3, 4), 8)]


# -- who gets them ----------------------------------------------------------------------------------------------------


async def test_a_membership_without_credits_gets_none() -> None:
    membership = await a_plan(date(2026, 3, 2), NOW, per_period=None)
    async with nothing_written():
        assert await run(NOW) == 0
        assert await periods.grant_to_membership(membership.id, acting=JOB, at=NOW) is False


async def test_one_that_starts_later_gets_them_when_it_starts() -> None:
    membership = await a_plan(date(2026, 3, 10), NOW)
    assert membership.status is Status.FUTURE
    assert await run(NOW + WEEK) == 0
    at = utc(3, 10)
    async with happening() as seen:
        await memberships.due(membership.id, Cause.STARTED, acting=BY, at=at)
    assert [(job.kind, job.subject) for job in seen.jobs] == [
        ("courses.push_membership", f"courses.push_membership:{membership.id}"),
        ("packages.grant_to_membership", f"packages.grant_to_membership:{membership.id}"),
        ("live.publish", None),
    ]
    assert await periods.grant_to_membership(membership.id, acting=JOB, at=at) is True
    assert await granted(membership) == [(date(2026, 3, 10), at, utc(4, 9, 23), 8)]


@pytest.mark.parametrize(
    ("holds", "lifts"),
    [(Cause.SUSPENDED_BY_STAFF, Cause.RESOLVED_BY_STAFF), (Cause.FROZEN_BY_STAFF, Cause.UNFROZEN)],
)
async def test_one_that_is_held_gets_none_and_the_present_one_when_it_resumes(holds: Cause, lifts: Cause) -> None:
    membership = await a_plan(date(2026, 3, 2), NOW)
    await run(NOW)
    await move(membership, holds, NOW + DAY)
    async with nothing_written():
        assert await run(utc(4, 2)) == 0
        assert await run(utc(5, 5)) == 0
        assert await periods.grant_to_membership(membership.id, acting=JOB, at=utc(5, 5)) is False
    await move(membership, lifts, utc(5, 6))
    assert await periods.grant_to_membership(membership.id, acting=JOB, at=utc(5, 6)) is True
    assert [period for period, *_ in await granted(membership)] == [date(2026, 3, 2), date(2026, 5, 2)]


async def test_a_fixed_term_grants_each_month_of_it_and_no_more() -> None:
    user = await a_user()
    option = await an_option(0)
    kind = await catalogue.create_membership_type(
        name=a_name("Term"),
        integration=Integration.NONE,
        kind=MembershipKind.FIXED_TERM,
        pricing_option_ids=[option.id],
        credits_per_period=4,
        acting=BY,
        at=NOW,
    )
    centre = await catalogue.create_centre(name=a_name("Pool"), zone="UTC", currency="GBP", acting=BY, at=NOW)
    membership = await memberships.start_membership(
        user_id=user.id,
        membership_type_id=kind.id,
        centre_id=centre.id,
        pricing_option_id=option.id,
        starts_on=date(2026, 1, 31),
        acting=BY,
        at=utc(1, 31),
    )
    days = [utc(1, 31), utc(2, 28), utc(3, 31), utc(4, 30)]
    assert [await run(at) for at in days] == [1, 1, 1, 0], "over on 30 April, though nobody has moved it yet"
    assert (await granted(membership))[-1][2] == utc(4, 30)


async def test_only_what_lasts_in_months_may_grant_credits_for_each() -> None:
    good: dict[str, Any] = {"name": "Ten visits", "integration": Integration.NONE, "acting": BY, "at": NOW}
    zero: dict[str, Any] = {"kind": MembershipKind.ONGOING, "credits_per_period": 0}
    visits: dict[str, Any] = {"kind": MembershipKind.SESSIONS, "sessions": 10, "credits_per_period": 1}
    for changes in (zero, visits):
        async with refused(Code.INVALID_INPUT, "creditsPerPeriod"):
            await catalogue.create_membership_type(**good, **changes)


async def test_the_credits_of_a_period_pay_for_classes() -> None:
    user = await a_user()
    membership = await a_plan(date(2026, 3, 2), NOW, user=user)
    course = await a_course(future=4)
    await run(NOW)
    booking = await book_course(user_id=user.id, course_id=course.id, method=Method.MEMBERSHIP, acting=BY, at=NOW)
    assert booking.credits == 4
    assert [left for *_, left in await granted(membership)] == [4]


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", [Cause.CANCELLED_BY_STAFF, Cause.COMPLETED_BY_STAFF])
async def test_what_is_left_goes_with_the_membership(cause: Cause) -> None:
    """Also where staff gave it by hand; other credits of the person stay."""
    user = await a_user()
    membership = await a_plan(date(2026, 3, 2), NOW, user=user)
    await run(NOW)
    by_hand, own = await a_package(user, 3, membership_id=membership.id), await a_package(user, 2)
    async with happening() as seen:
        await move(membership, cause, NOW + DAY)
    period = await Package.get(membership_id=membership.id, period_start__not_isnull=True)
    moved = [
        [(row.delta, row.reason) for row in await CreditEntry.filter(package_id=each.id).order_by("id")]
        for each in (period, by_hand, own)
    ]
    assert moved == [
        [(8, "GRANT"), (-8, "MEMBERSHIP_ENDED")],
        [(3, "GRANT"), (-3, "MEMBERSHIP_ENDED")],
        [(2, "GRANT")],
    ]
    assert [(entry.verb, entry.because) for entry in seen.audit][1:] == [
        ("take_credits_back", ["MEMBERSHIP_ENDED"]),
        ("take_credits_back", ["MEMBERSHIP_ENDED"]),
    ]
    async with nothing_written():
        assert await run(NOW + DAY) == 0
        assert await packages.expire(acting=JOB, at=NOW + DAY) == 0


async def test_what_is_given_back_after_the_end_goes_too() -> None:
    membership = await a_plan(date(2026, 3, 2), NOW)
    await run(NOW)
    package = await Package.get(membership_id=membership.id)
    drawn = await CreditEntry.create(package_id=package.id, delta=-1, reason="BOOKING")
    await move(membership, Cause.CANCELLED_BY_STAFF, NOW + DAY)
    await CreditEntry.create(package_id=package.id, delta=1, reason="CANCELLED", reverses_id=drawn.id)
    assert await packages.expire(acting=JOB, at=NOW + DAY) == 1
    last = await CreditEntry.filter(package_id=package.id).order_by("-id").first()
    assert last is not None
    assert (last.delta, last.reason, await balance(package.id)) == (-1, "MEMBERSHIP_ENDED", 0)


async def test_a_suspension_takes_nothing_and_the_period_ends_by_itself() -> None:
    membership = await a_plan(date(2026, 3, 2), NOW)
    await run(NOW)
    await move(membership, Cause.SUSPENDED_BY_STAFF, NOW + DAY)
    assert [left for *_, left in await granted(membership)] == [8]
    assert await packages.expire(acting=JOB, at=utc(4, 1, 23)) == 1
    assert [left for *_, left in await granted(membership)] == [0]


# -- many at once -----------------------------------------------------------------------------------------------------


async def test_many_memberships_page_by_page_each_once_whoever_runs_it() -> None:
    every = [await a_plan(date(2026, 3, 2), NOW) for _ in range(7)]
    runs = [run(NOW, page=3) for _ in range(3)]
    ones = [periods.grant_to_membership(each.id, acting=JOB, at=NOW) for each in every]
    done = await asyncio.gather(*runs, *ones)
    assert sum(done) == 7
    assert [[left for *_, left in await granted(each)] for each in every] == [[8]] * 7


async def test_a_grant_that_races_the_end_leaves_nothing() -> None:
    every = [await a_plan(date(2026, 3, 2), NOW) for _ in range(5)]
    at = NOW + HOUR
    await asyncio.gather(*(move(each, Cause.CANCELLED_BY_STAFF, at) for each in every), run(at), run(at, page=2))
    assert {left for each in every for *_, left in await granted(each)} <= {0}
    assert await run(at + timedelta(minutes=1)) == 0
