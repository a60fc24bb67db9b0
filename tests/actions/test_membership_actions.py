"""Selling a membership, and what the days, the bank, the staff and the course system then do to it."""

import asyncio
from datetime import date, timedelta
from typing import Any

import pytest

from models.actions import catalogue, course_ends, course_feed, mandates, memberships
from models.rules.facts import CourseEnd, CourseEnded, MandateChanged
from models.rules.lifecycle import Cause, Status
from models.rules.pricing import Integration, MembershipKind
from models.rules.refusals import Code
from models.rules.states import MandateStatus
from models.tables.membership import Mandate, Membership
from models.tables.row import new_id
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    NOW,
    a_centre,
    a_mandate,
    a_membership,
    a_membership_type,
    a_name,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
TODAY = NOW.date()


async def an_offer(
    user: User, *, price: int = 35_00, mandate: MandateStatus | None = MandateStatus.ACTIVE
) -> dict[str, Any]:
    """What `start_membership` takes."""
    kind, option = await a_membership_type(price=price)
    return {
        "user_id": user.id,
        "membership_type_id": kind.id,
        "centre_id": (await a_centre()).id,
        "pricing_option_id": option.id,
        "mandate_id": (await a_mandate(user, mandate)).id if mandate else None,
        "starts_on": TODAY,
        "acting": BY,
        "at": NOW,
    }


async def told(membership: Membership, status: MandateStatus, **options: Any) -> None:
    mandate = await Mandate.get(id=membership.mandate_id)
    assert mandate.external_id is not None
    fact = MandateChanged(
        provider="GOCARDLESS",
        external_id=mandate.external_id,
        customer_id=None,
        user_reference=None,
        status=status,
        occurred_at=NOW,
        origin="bank",
        **options,
    )
    await mandates.mandate_changed(fact, acting="webhook:GOCARDLESS", at=NOW)


async def now_of(membership: Membership) -> tuple[Status, str | None]:
    row = await Membership.get(id=membership.id)
    return row.status, row.reason


async def test_a_membership_is_sold_at_todays_price_and_stands_once_its_money_is_sure() -> None:
    user = await a_user()
    offer = await an_offer(user)
    async with happening() as seen:
        membership = await memberships.start_membership(**offer, course_ref="c-1")
    assert (membership.status, membership.reason, membership.amount, membership.currency) == (
        Status.ACTIVE,
        "MANDATE_READY",
        35_00,
        "GBP",
    )
    assert (membership.version, membership.ends_on, membership.course_ref) == (2, None, "c-1")
    assert seen.verbs == ["start_membership", "move_membership"]
    assert seen.audit[0].after == {"amount": 35_00, "price_level": "BASE", "starts_on": "2026-03-02"}
    assert seen.events == ["MembershipStatusChanged"]
    assert seen.kinds == [
        "courses.push_cart",
        "courses.push_membership",
        "packages.grant_to_membership",
        "live.publish",
    ]


async def test_it_waits_for_its_mandate_and_follows_it() -> None:
    """R11, R12."""
    membership = await memberships.start_membership(**await an_offer(await a_user(), mandate=MandateStatus.PENDING))
    assert await now_of(membership) == (Status.PENDING, None)
    await told(membership, MandateStatus.ACTIVE)
    assert await now_of(membership) == (Status.ACTIVE, "MANDATE_READY")
    async with happening() as seen:
        await told(membership, MandateStatus.CANCELLED, cause="bank_account_closed")
    assert await now_of(membership) == (Status.SUSPENDED, "MANDATE_CANCELLED")
    assert seen.audit[-1].because == ["MANDATE_CANCELLED", "bank", "bank_account_closed"]
    await told(membership, MandateStatus.PENDING)
    assert (await now_of(membership))[0] is Status.SUSPENDED, "reinstated, and not with the banks yet"
    await told(membership, MandateStatus.ACTIVE)
    assert await now_of(membership) == (Status.ACTIVE, "MANDATE_REPLACED")


async def test_a_mandate_that_is_ready_early_does_not_open_the_door_before_the_first_day() -> None:
    offer = await an_offer(await a_user(), mandate=MandateStatus.PENDING)
    later = await memberships.start_membership(**{**offer, "starts_on": TODAY + DAY})
    await told(later, MandateStatus.ACTIVE)
    assert await now_of(later) == (Status.FUTURE, "STARTS_LATER")
    ready = await an_offer(await a_user())
    sold_ready = await memberships.start_membership(**{**ready, "starts_on": TODAY + DAY})
    assert await now_of(sold_ready) == (Status.FUTURE, "STARTS_LATER")
    assert (later.id, Cause.STARTED) not in await memberships.due_to_move(TODAY)
    assert (later.id, Cause.STARTED) in await memberships.due_to_move(TODAY + DAY)
    await memberships.due(later.id, Cause.STARTED, acting=BY, at=NOW + DAY)
    assert await now_of(later) == (Status.ACTIVE, "STARTED")


async def test_a_free_membership_needs_no_mandate() -> None:
    """R22."""
    membership = await memberships.start_membership(**await an_offer(await a_user(), price=0, mandate=None))
    assert await now_of(membership) == (Status.ACTIVE, "FREE_OF_CHARGE")


async def test_what_is_not_offered_is_not_sold() -> None:
    offer = await an_offer(await a_user())
    others_mandate, other_option = await a_mandate(await a_user()), await an_option()
    euro = await a_centre("EUR")
    table: list[tuple[dict[str, Any], Code, str]] = [
        ({"membership_type_id": new_id()}, Code.NOT_FOUND, "membershipTypeId"),
        ({"centre_id": new_id()}, Code.NOT_FOUND, "centreId"),
        ({"user_id": new_id()}, Code.NOT_FOUND, "userId"),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"pricing_option_id": other_option.id}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"centre_id": euro.id}, Code.CURRENCY_MISMATCH, "pricingOptionId"),
        ({"mandate_id": None}, Code.NO_MANDATE, "mandateId"),
        ({"mandate_id": others_mandate.id}, Code.NO_MANDATE, "mandateId"),
    ]
    for changes, code, field in table:
        async with refused(code, field):
            await memberships.start_membership(**{**offer, **changes})


async def test_staff_move_what_may_be_moved() -> None:
    membership = await a_membership()
    async with refused(Code.ILLEGAL_MOVE):
        await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)
    assert (await Membership.get(id=membership.id)).ends_on == TODAY
    async with refused(Code.ILLEGAL_MOVE):
        await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "membershipId"):
        await memberships.by_staff(new_id(), Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)


@pytest.mark.parametrize(
    ("end", "status"), [(CourseEnd.CANCELLED, Status.CANCELLED), (CourseEnd.COMPLETED, Status.COMPLETED)]
)
async def test_the_end_of_a_course_ends_its_membership_once(end: CourseEnd, status: Status) -> None:
    """R47-R49; from a suspension, too."""
    membership = await a_membership()
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    fact = CourseEnded(provider="COURSEPRO", membership_id=membership.id, end=end, occurred_at=NOW, actor="front desk")
    async with happening() as seen:
        await course_ends.course_ended(fact, acting="webhook:COURSEPRO", at=NOW)
    assert (await now_of(membership))[0] is status
    assert seen.audit[0].because == [f"COURSE_{end}", "by front desk"]
    async with nothing_written():
        await course_ends.course_ended(fact, acting="webhook:COURSEPRO", at=NOW)


async def test_the_course_system_is_told_the_present_standing() -> None:
    """R41, R46: what it hears is read when it is told, and its version rises."""
    membership = await a_membership()
    first = await course_feed.to_push(membership.id, event_id="e1", at=NOW)
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    second = await course_feed.to_push(membership.id, event_id="e2", at=NOW)
    assert first is not None
    assert second is not None
    assert (first.status, first.availability) == ("ACTIVE", "active")
    assert (second.status, second.availability, second.reason) == ("SUSPENDED", "unavailable", "SUSPENDED_BY_STAFF")
    assert second.version == first.version + 1
    async with happening() as seen:
        await memberships.push_again(membership.id, acting=BY, at=NOW)
    assert [(job.kind, job.subject) for job in seen.jobs] == [
        ("courses.push_membership", f"courses.push_membership:{membership.id}")
    ]


async def test_a_fixed_term_ends_after_three_calendar_months() -> None:
    """R6."""
    option = await an_option(90_00)
    kind = await catalogue.create_membership_type(
        name=a_name("Term"),
        integration=Integration.COURSEPRO_COURSE,
        kind=MembershipKind.FIXED_TERM,
        pricing_option_ids=[option.id],
        acting=BY,
        at=NOW,
    )
    membership = await memberships.start_membership(
        user_id=(await a_user()).id,
        membership_type_id=kind.id,
        centre_id=(await a_centre()).id,
        pricing_option_id=option.id,
        starts_on=date(2026, 11, 30),
        acting=BY,
        at=NOW,
    )
    assert (membership.ends_on, membership.status) == (date(2027, 2, 28), Status.PENDING)
    await Membership.filter(id=membership.id).update(status=Status.ACTIVE)
    assert (membership.id, Cause.TERM_ENDED) not in await memberships.due_to_move(date(2027, 2, 27))
    assert (membership.id, Cause.TERM_ENDED) in await memberships.due_to_move(date(2027, 2, 28))
    await memberships.due(membership.id, Cause.TERM_ENDED, acting=BY, at=NOW + timedelta(days=400))
    assert (await now_of(membership))[0] is Status.COMPLETED
    assert membership.id not in [row for row, _ in await memberships.due_to_move(date(2027, 3, 1))]


async def test_a_change_of_status_told_to_many_at_once_happens_once() -> None:
    membership = await a_membership()
    async with happening() as seen:
        await asyncio.gather(*(told(membership, MandateStatus.CANCELLED) for _ in range(5)))
    assert seen.events == ["MembershipStatusChanged"]
    assert (await Membership.get(id=membership.id)).version == membership.version + 1


async def test_a_direct_debit_begins_with_a_page_to_sign() -> None:
    user = await a_user()
    async with happening() as seen:
        mandate = await mandates.start_mandate(user_id=user.id, currency="GBP", acting=BY, at=NOW)
    assert mandate.status is MandateStatus.PENDING
    assert [(job.kind, job.payload, job.user_id) for job in seen.jobs] == [
        ("mandates.start", {"mandate_id": str(mandate.id), "currency": "GBP"}, user.id)
    ]
    async with refused(Code.NOT_FOUND, "userId"):
        await mandates.start_mandate(user_id=new_id(), currency="GBP", acting=BY, at=NOW)


async def test_a_mandate_of_others_is_left_alone() -> None:
    fact = MandateChanged(
        provider="GOCARDLESS",
        external_id="MD_other",
        customer_id=None,
        user_reference=None,
        status=MandateStatus.ACTIVE,
        occurred_at=NOW,
        billing_request_id="BRQ_other",
    )
    async with nothing_written():
        await mandates.mandate_changed(fact, acting="webhook:GOCARDLESS", at=NOW)
