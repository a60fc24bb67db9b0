"""A customer moves to another course: the fee stays, or another price takes over; no day is paid twice (R19, R59)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from models.actions import catalogue, course_moves, dunning, fee_calendar, mappings, memberships, packages, payments
from models.rules.fees import NEVER
from models.rules.lifecycle import Cause, Status
from models.rules.pricing import Integration
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, PaymentOutcome, PaymentStatus
from models.tables.coursepro import ReviewItem
from models.tables.membership import Mandate, Membership
from models.tables.package import Package
from models.tables.payment import Payment
from models.tables.row import new_id
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    a_centre,
    a_mandate,
    a_member_with_card,
    a_membership,
    a_name,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
)
from tests.sold import FIXED_TERM, ONGOING, RECURRING, SESSIONS, TODAY, WHO, Sold, a_bought, a_sold, buy

pytestmark = pytest.mark.usefixtures("database")


async def move(membership: Membership, to: Sold, at: datetime = NOW, **options: Any) -> Membership:
    given: dict[str, Any] = {
        "membership_id": membership.id,
        "from_course_ref": membership.course_ref,
        "to_course_ref": to.ref,
        "pricing_option_id": to.option.id,
        "effective_at": at,
    }
    return await course_moves.move_course(**{**given, **options}, acting=BY, at=at)


async def paid(membership: Membership, period_start: date = TODAY, at: datetime = NOW) -> Payment:
    fee = await payments.collect_fee(membership.id, period_start=period_start, acting=BY, at=at)
    await payments.settle(fee.id, PaymentOutcome.CONFIRMED, acting=BY, at=at)
    return fee


async def fees(membership: Membership, by: date) -> list[date]:
    """The periods a membership may be asked for by a day, found by asking; what was asked stays asked."""
    at = datetime(by.year, by.month, by.day, 12, tzinfo=UTC)
    row, days = await Membership.get(id=membership.id), []
    for day in [row.starts_on + timedelta(days=number) for number in range((by - row.starts_on).days + 32)]:
        try:
            await payments.collect_fee(row.id, period_start=day, acting=BY, at=at)
        except Refusal:
            continue
        days.append(day)
    return days


async def test_at_the_same_price_only_the_course_changes() -> None:
    membership, sold = await a_bought()
    (fee,) = [await paid(membership)]
    async with happening() as seen:
        moved = await move(membership, sold, to_course_ref="SWIM-next", pricing_option_id=None)
    assert (moved.id, moved.course_ref, moved.amount, moved.status) == (
        membership.id,
        "SWIM-next",
        32_00,
        Status.ACTIVE,
    )
    assert (seen.verbs, seen.kinds) == (["move_course"], [])
    async with nothing_written():
        assert (await move(membership, sold, to_course_ref="SWIM-next", pricing_option_id=None)).id == membership.id
    assert await Payment.filter(membership_id=membership.id).values_list("id", flat=True) == [fee.id]


async def test_another_price_takes_over_and_no_day_is_paid_twice() -> None:
    """R19, R59: bought on 2 March, paid to 2 April, moved on 16 March."""
    membership, _ = await a_bought()
    await paid(membership)
    dearer, later = await a_sold(amount=40_00), NOW + 2 * WEEK
    async with happening() as seen:
        new = await move(membership, dearer, at=later)
    assert (new.status, new.reason, new.amount) == (Status.ACTIVE, "TOOK_OVER", 40_00)
    assert (new.moved_from_id, new.course_ref, new.mandate_id) == (membership.id, dearer.ref, membership.mandate_id)
    assert (new.starts_on, new.fees_from) == (later.date(), date(2026, 4, 2))
    old = await Membership.get(id=membership.id)
    assert (old.status, old.reason) == (Status.CANCELLED, "COURSE_MOVED")
    assert seen.events == ["MembershipStatusChanged", "MembershipStatusChanged"]
    assert seen.verbs == ["move_course", "move_membership", "move_membership"]
    assert [job.kind for job in seen.jobs if job.kind == "courses.push_cart"] == ["courses.push_cart"]
    assert await fees(new, date(2026, 5, 3)) == [date(2026, 4, 2), date(2026, 5, 2), date(2026, 6, 2)]
    async with nothing_written():
        assert (await move(membership, dearer, at=later)).id == new.id


async def test_a_second_move_within_the_paid_month_owes_nothing_more() -> None:
    membership, _ = await a_bought()
    await paid(membership)
    second = await move(membership, await a_sold(amount=40_00), at=NOW + WEEK)
    third = await move(second, await a_sold(amount=20_00), at=NOW + 2 * WEEK)
    assert (third.amount, third.fees_from, third.moved_from_id) == (20_00, date(2026, 4, 2), second.id)
    assert (await Membership.get(id=second.id)).status is Status.CANCELLED


async def test_a_fee_in_flight_that_is_cancelled_with_its_instruction_is_missed_and_asked_for_by_the_next() -> None:
    membership, _ = await a_bought()
    fee = await payments.collect_fee(membership.id, period_start=TODAY, **WHO)
    await payments.settle(fee.id, PaymentOutcome.SUBMITTED, reference=a_name("PM"), **WHO)
    new = await move(membership, await a_sold(amount=40_00))
    await payments.settle(fee.id, PaymentOutcome.CANCELLED, failure="mandate_cancelled", **WHO)
    new, fee = await Membership.get(id=new.id), await Payment.get(id=fee.id)
    assert (fee.status, fee.retry_on) == (PaymentStatus.FAILED, TODAY + DAY)
    assert (new.status, new.next_fee_on) == (Status.SUSPENDED, date(2026, 4, 2)), "its own calendar goes on"
    await Mandate.filter(id=fee.mandate_id).update(status=MandateStatus.CANCELLED)
    mandate = await a_mandate(await membership.user)
    await dunning.retry_as_planned(fee.id, acting=BY, at=NOW + DAY)
    carrier = await Payment.get(mandate_id=mandate.id)
    assert (carrier.amount, (await Payment.get(id=fee.id)).carried_by_id) == (32_00, carrier.id)


async def test_a_move_to_come_owes_nothing_for_the_months_the_old_price_is_still_to_be_asked_for() -> None:
    membership, _ = await a_bought()
    await paid(membership)
    new = await move(membership, await a_sold(amount=40_00), effective_at=datetime(2026, 4, 17, 12, tzinfo=UTC))
    assert (new.starts_on, new.fees_from) == (date(2026, 4, 17), date(2026, 5, 2)), "April's fee has yet to be made"
    at = datetime(2026, 4, 1, 9, tzinfo=UTC)
    assert [each.period_start for each in await fee_calendar.raise_due(membership.id, acting=BY, at=at)] == [
        date(2026, 4, 2)
    ]


async def test_what_was_paid_ahead_is_no_question_where_another_membership_lives_on_it() -> None:
    membership, _ = await a_bought()
    for day in (TODAY, date(2026, 4, 2)):
        await paid(membership, day)
    new = await move(membership, await a_sold(amount=40_00))
    assert (new.fees_from, await ReviewItem.all().count()) == (date(2026, 5, 2), 0)


async def test_what_was_not_asked_for_yet_is_asked_at_the_new_price() -> None:
    membership, _ = await a_bought()
    fee = await payments.collect_fee(membership.id, period_start=TODAY, **WHO)
    new = await move(membership, await a_sold(amount=40_00))
    assert (await Payment.get(id=fee.id)).status is PaymentStatus.CANCELLED
    assert new.fees_from is None
    assert await fees(new, TODAY) == [TODAY, date(2026, 4, 2)]


async def test_a_fee_in_flight_that_fails_suspends_who_took_over() -> None:
    membership, _ = await a_bought()
    fee = await payments.collect_fee(membership.id, period_start=TODAY, **WHO)
    await payments.settle(fee.id, PaymentOutcome.SUBMITTED, reference=a_name("PM"), acting=BY, at=NOW)
    new = await move(membership, await a_sold(amount=40_00))
    assert new.fees_from == date(2026, 4, 2)
    for outcome, status in ((PaymentOutcome.FAILED, Status.SUSPENDED), (PaymentOutcome.CONFIRMED, Status.ACTIVE)):
        await payments.settle(fee.id, outcome, acting=BY, at=NOW)
        assert (await Membership.get(id=new.id)).status is status
    assert (await Membership.get(id=membership.id)).status is Status.CANCELLED


async def test_a_paid_term_goes_on_and_paid_sessions_go_along() -> None:
    card = await a_member_with_card()
    for kind, ends_on, fees_from in (
        (FIXED_TERM, date(2026, 6, 2), date(2026, 6, 2)),
        (SESSIONS, None, NEVER),
    ):
        (bought,) = await buy(card, await a_sold(kind, 50_00))
        payment = await Payment.get(membership_id=bought.id)
        await payments.settle(payment.id, PaymentOutcome.CONFIRMED, acting=BY, at=NOW)
        new = await move(bought, await a_sold(kind, 70_00), at=NOW + WEEK)
        assert (new.status, new.ends_on, new.fees_from) == (Status.ACTIVE, ends_on, fees_from)
        assert await Payment.filter(membership_id=new.id).count() == 0
        held = [await packages.balance(each.id) for each in await Package.filter(membership_id=new.id)]
        assert held == ([5] if kind is SESSIONS else [])
    (unpaid,) = await buy(await a_user(), await a_sold(FIXED_TERM, 50_00))
    new = await move(unpaid, await a_sold(FIXED_TERM, 70_00), at=NOW + WEEK)
    assert (new.status, new.fees_from, new.ends_on) == (Status.PENDING, None, date(2026, 6, 9))


async def test_a_move_in_the_future_waits_for_its_day() -> None:
    membership, _ = await a_bought()
    await paid(membership)
    day = date(2026, 4, 2)
    new = await move(membership, await a_sold(amount=40_00), effective_at=datetime(2026, 4, 2, 9, tzinfo=UTC))
    assert (new.status, new.starts_on, new.fees_from) == (Status.FUTURE, day, None)
    old = await Membership.get(id=membership.id)
    assert (old.status, old.ends_on) == (Status.ACTIVE, day)
    due = await memberships.due_to_move(day)
    assert (new.id, Cause.STARTED) in due
    assert (old.id, Cause.COURSE_MOVED) in due
    await memberships.due(old.id, Cause.COURSE_MOVED, acting=BY, at=NOW + 31 * DAY)
    assert (await Membership.get(id=old.id)).status is Status.CANCELLED


async def test_what_cannot_be_moved_stays() -> None:
    membership, sold = await a_bought()
    dearer, euro = await a_sold(amount=40_00), await a_centre("EUR")
    in_euro = await an_option(9_00, frequency=RECURRING, currency="EUR")
    await catalogue.create_membership_type(
        name="Natation",
        integration=Integration.COURSEPRO_COURSE,
        kind=ONGOING,
        pricing_option_ids=[in_euro.id],
        **WHO,
    )
    abroad = await mappings.map_course(course_ref="NAT-1", pricing_option_id=in_euro.id, centre_id=euro.id, **WHO)
    for changes, code, field in (
        ({"membership_id": new_id()}, Code.NOT_FOUND, "membershipId"),
        ({"from_course_ref": "elsewhere"}, Code.INVALID_INPUT, "fromCourseRef"),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"to_course_ref": "unmapped"}, Code.COURSE_NOT_MAPPED, "courseRef"),
        (
            {"to_course_ref": abroad.course_ref, "pricing_option_id": in_euro.id},
            Code.CURRENCY_MISMATCH,
            "pricingOptionId",
        ),
    ):
        async with refused(code, field):
            await move(membership, dearer, **changes)
    gym = await a_membership(integration=Integration.NONE)
    async with refused(Code.NOT_FOUND, "membershipId"):
        await move(gym, dearer, from_course_ref="")
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, **WHO)
    async with refused(Code.ILLEGAL_MOVE, "membershipId"):
        await move(membership, dearer)
    assert (await move(membership, sold, to_course_ref="SWIM-b", pricing_option_id=None)).course_ref == "SWIM-b"
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, **WHO)
    async with refused(Code.ILLEGAL_MOVE, "membershipId"):
        await move(membership, dearer, from_course_ref="SWIM-b")
