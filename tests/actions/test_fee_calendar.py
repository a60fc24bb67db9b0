"""The calendar of fees: one payment a membership and period, ahead of its day, whatever clocks and workers do."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from models.actions import billing_policy, catalogue, fee_calendar, mandates, memberships, payments
from models.actions.billing_policy import configure_billing, policy
from models.rules.billing import Policy
from models.rules.facts import MandateChanged
from models.rules.fees import FirstPeriod
from models.rules.lifecycle import Cause, Status, WhileSuspended
from models.rules.pricing import Integration, MembershipKind
from models.rules.refusals import Code
from models.rules.states import MandateStatus, PaymentOutcome, PaymentStatus, Provider
from models.tables.audit import AuditEntry
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from models.tables.setting import BillingPolicy
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    NOW,
    a_centre,
    a_fee,
    a_mandate,
    a_member_with_card,
    a_membership,
    a_membership_type,
    a_name,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
    sql,
    tied,
)

pytestmark = pytest.mark.usefixtures("database")
P = PaymentStatus
JOB = "job:payments.raise_fees"
MARCH, APRIL, MAY, JUNE = (date(2026, month, 2) for month in (3, 4, 5, 6))


@pytest.fixture(autouse=True)
async def _no_others(database: None) -> AsyncIterator[None]:
    """The memberships of other tests have run their course; the policy is the one by default."""
    await Membership.all().update(status=Status.EXPIRED)
    yield
    await BillingPolicy.all().delete()


def on(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


async def run(membership: Membership, at: datetime | date) -> list[date | None]:
    """The fees of a membership that are asked for now, by the first days of their periods."""
    at = at if isinstance(at, datetime) else on(at)
    raised = await fee_calendar.raise_due(membership.id, acting=JOB, at=at)
    return [payment.period_start for payment in raised]


async def asked_for(membership: Membership) -> list[tuple[date | None, int, PaymentStatus, date]]:
    """(first day of the period, amount, status, day it is due) of each payment, oldest first."""
    rows = await Payment.filter(membership_id=membership.id).order_by("id")
    return [(row.period_start, row.amount, row.status, row.due_on) for row in rows]


async def now_of(membership: Membership) -> Membership:
    return await Membership.get(id=membership.id)


async def move(membership: Membership, cause: Cause, day: date) -> None:
    await memberships.by_staff(membership.id, cause, acting=BY, at=on(day))


# -- ahead of its day -------------------------------------------------------------------------------------------------


async def test_a_fee_is_made_ten_working_days_ahead_and_due_on_a_day_banks_work() -> None:
    """Of 2 April: on 19 March. 2 May is a Saturday, the Monday after it a bank holiday."""
    membership = await a_membership()
    assert membership.next_fee_on == MARCH
    assert await run(membership, NOW) == [MARCH]
    walk = [(date(2026, 3, 18), []), (date(2026, 3, 19), [APRIL]), (date(2026, 3, 20), []), (date(2026, 4, 20), [MAY])]
    assert [(day, await run(membership, day)) for day, _ in walk] == walk
    assert await asked_for(membership) == [
        (MARCH, 35_00, P.DUE, MARCH),
        (APRIL, 35_00, P.DUE, APRIL),
        (MAY, 35_00, P.DUE, date(2026, 5, 5)),
    ]
    assert (await now_of(membership)).next_fee_on == JUNE
    same = (
        "SELECT (SELECT xmin::text FROM membership WHERE id = $1) = (SELECT xmin::text FROM payment WHERE id = $2) AS x"
    )
    last = await Payment.filter(membership_id=membership.id).order_by("-id").first()
    assert last is not None
    assert (await sql(same, membership.id, last.id))[0]["x"], "the calendar moves with the payment, or not at all"


async def test_a_run_asks_for_all_that_is_near_and_another_for_nothing() -> None:
    due = [await a_membership() for _ in range(3)]
    cancelled, free = await a_membership(), await a_membership(price=0)
    await move(cancelled, Cause.CANCELLED_BY_STAFF, MARCH)
    unsigned = await a_membership()
    await Mandate.filter(id=unsigned.mandate_id).update(status=MandateStatus.PENDING)
    async with happening() as seen:
        assert await fee_calendar.raise_fees(acting=JOB, at=NOW) is False
    assert [entry.actor for entry in seen.audit] == [JOB] * 3
    assert seen.kinds.count("payments.collect") == 3
    assert [len(await asked_for(each)) for each in (*due, cancelled, free, unsigned)] == [1, 1, 1, 0, 0, 0]
    async with nothing_written():
        await fee_calendar.raise_fees(acting=JOB, at=NOW)
    assert await fee_calendar.raise_fees(acting=JOB, at=on(APRIL), most=1) is True, "the rest in another turn"


async def test_those_who_cannot_be_asked_do_not_keep_the_others_from_their_turn() -> None:
    broken, last = [await a_membership() for _ in range(2)], await a_membership()
    for each in broken:  # a day the statement finds, and no period begins on
        await Membership.filter(id=each.id).update(next_fee_on=MARCH - DAY)
    assert await fee_calendar.raise_fees(acting=JOB, at=NOW, most=1) is True
    assert len(await asked_for(last)) == 1


async def test_a_clock_that_leaps_and_workers_side_by_side_make_one_payment_a_period() -> None:
    membership = await a_membership()
    jump = on(date(2026, 6, 15))
    await asyncio.gather(*(run(membership, jump) for _ in range(4)), fee_calendar.raise_fees(acting=JOB, at=jump))
    assert [row[0] for row in await asked_for(membership)] == [MARCH, APRIL, MAY, JUNE]
    assert {row[3] for row in await asked_for(membership)} == {date(2026, 6, 15)}, "none in the past"
    async with nothing_written():
        await fee_calendar.raise_fees(acting=JOB, at=jump)


async def test_asking_by_hand_moves_the_calendar_alike() -> None:
    membership = await a_membership()
    await payments.collect_fee(membership.id, period_start=APRIL, acting=BY, at=NOW)
    assert (await now_of(membership)).next_fee_on == MARCH, "March was not asked for"
    await a_fee(membership)
    assert (await now_of(membership)).next_fee_on == APRIL
    assert await run(membership, APRIL) == []
    assert (await now_of(membership)).next_fee_on == MAY
    async with refused(Code.PAYMENT_NOT_COLLECTABLE, "periodStart"):
        await a_fee(membership)


async def test_one_that_starts_later_is_asked_for_before_its_first_day() -> None:
    starts_on = date(2026, 3, 31)
    membership = await a_membership(starts_on=starts_on)
    assert membership.status is Status.FUTURE
    assert [await run(membership, day) for day in (date(2026, 3, 16), date(2026, 3, 17))] == [[], [starts_on]]
    assert (await asked_for(membership))[0][3] == starts_on
    await move(membership, Cause.CANCELLED_BY_STAFF, date(2026, 3, 20))
    assert (await asked_for(membership))[0][2] is P.CANCELLED
    assert (await now_of(membership)).next_fee_on is None
    assert await run(membership, APRIL) == []


async def test_each_centre_has_its_own_today() -> None:
    await configure_billing(ahead_days=0, acting=BY, at=NOW)
    here, there = await a_membership(), await a_membership()
    await Membership.filter(id__in=[here.id, there.id]).update(next_fee_on=APRIL)
    auckland = await catalogue.create_centre(
        name=a_name("Pool"), zone="Pacific/Auckland", currency="GBP", acting=BY, at=NOW
    )
    await Membership.filter(id=there.id).update(centre_id=auckland.id)
    await fee_calendar.raise_fees(acting=JOB, at=datetime(2026, 4, 1, 12, tzinfo=UTC))
    assert (await asked_for(here), len(await asked_for(there))) == ([], 1)


# -- while it is held -------------------------------------------------------------------------------------------------


async def test_a_month_that_passes_while_suspended_is_skipped_and_the_one_under_way_asked_for() -> None:
    """R39: held back by default."""
    membership = await a_membership()
    await run(membership, NOW)
    await move(membership, Cause.SUSPENDED_BY_STAFF, date(2026, 3, 10))
    async with nothing_written():
        assert await run(membership, date(2026, 5, 10)) == []
        await fee_calendar.raise_fees(acting=JOB, at=on(date(2026, 5, 10)))
    await move(membership, Cause.RESOLVED_BY_STAFF, date(2026, 5, 11))
    async with happening() as seen:
        assert await run(membership, date(2026, 5, 11)) == [MAY]
    skipped = seen.audit[0]
    assert (skipped.verb, skipped.after, skipped.because) == (
        "skip_fee",
        {"period_start": "2026-04-02", "period_end": "2026-05-02"},
        ["it passed while the membership was held"],
    )
    assert [row[0] for row in await asked_for(membership)] == [MARCH, MAY]


async def test_set_to_accrue_a_suspended_month_rides_on_the_next_fee() -> None:
    await configure_billing(while_suspended=WhileSuspended.ACCRUE, acting=BY, at=NOW)
    membership = await a_membership()
    await run(membership, NOW)
    await move(membership, Cause.SUSPENDED_BY_STAFF, date(2026, 3, 10))
    assert await run(membership, date(2026, 4, 1)) == [], "it may be lifted until the day"
    async with happening() as seen:
        assert await run(membership, APRIL) == [APRIL]
    assert seen.kinds == ["live.publish"], "nothing is collected meanwhile"
    assert (await asked_for(membership))[1] == (APRIL, 35_00, P.CARRIED, APRIL)
    await move(membership, Cause.RESOLVED_BY_STAFF, date(2026, 4, 15))
    assert await run(membership, date(2026, 4, 20)) == [MAY]
    (april, may) = await Payment.filter(membership_id=membership.id, period_start__gte=APRIL).order_by("id")
    assert (may.amount, may.status, april.carried_by_id) == (70_00, P.DUE, may.id)


# -- prices -----------------------------------------------------------------------------------------------------------


async def test_a_common_billing_day_and_a_first_period_pro_rata() -> None:
    before = await a_membership()
    await configure_billing(billing_day=1, first_period=FirstPeriod.PRO_RATA, acting=BY, at=NOW)
    membership = await a_membership(price=31_00, starts_on=date(2026, 3, 20))
    assert (before.billing_day, membership.billing_day) == (None, 1)
    assert await run(membership, date(2026, 3, 25)) == [date(2026, 3, 20), date(2026, 4, 1)]
    assert [row[1] for row in await asked_for(membership)] == [12_00, 31_00]
    await configure_billing(billing_day=billing_policy.ANNIVERSARY, acting=BY, at=NOW)
    assert (await a_membership()).billing_day is None
    assert await run(membership, date(2026, 4, 22)) == [date(2026, 5, 1)], "it keeps the day it started with"


async def test_what_is_too_little_to_collect_rides_on_the_next_fee() -> None:
    membership = await a_membership(price=60)
    assert await run(membership, NOW) == [MARCH]
    assert await asked_for(membership) == [(MARCH, 60, P.CARRIED, MARCH)]
    await run(membership, date(2026, 3, 19))
    march, april = await Payment.filter(membership_id=membership.id).order_by("id")
    assert (april.amount, april.status, march.carried_by_id) == (1_20, P.DUE, april.id)
    assert (await AuditEntry.filter(subject_id=april.id, verb="collect_fee").get()).after["carries"] == [str(march.id)]


# -- paid once --------------------------------------------------------------------------------------------------------


async def gone(mandate: Mandate) -> None:
    """The bank cancelled an instruction."""
    assert mandate.external_id is not None
    fact = MandateChanged(
        provider="GOCARDLESS",
        external_id=mandate.external_id,
        customer_id=None,
        user_reference=None,
        status=MandateStatus.CANCELLED,
        occurred_at=NOW,
    )
    await mandates.mandate_changed(fact, acting="webhook:GOCARDLESS", at=NOW)


async def a_term(*, card: bool = True, user: User | None = None, price: int = 90_00, **options: Any) -> Membership:
    """Three months for one price, by the card on file where there is one."""
    user = user or await (a_member_with_card() if card else a_user())
    option = await an_option(price)
    kind = await catalogue.create_membership_type(
        name=a_name("Term"),
        integration=Integration.NONE,
        kind=MembershipKind.FIXED_TERM,
        pricing_option_ids=[option.id],
        acting=BY,
        at=NOW,
    )
    return await memberships.start_membership(
        user_id=user.id,
        membership_type_id=kind.id,
        centre_id=(await a_centre()).id,
        pricing_option_id=option.id,
        starts_on=NOW.date(),
        acting=BY,
        at=NOW,
        **options,
    )


async def test_a_fixed_price_is_asked_for_once_as_soon_as_something_pays_it() -> None:
    membership = await a_term(card=False)
    async with nothing_written():
        await fee_calendar.raise_fees(acting=JOB, at=NOW)
    await tied(await membership.user, Provider.STRIPE, "payment_method")
    await fee_calendar.raise_fees(acting=JOB, at=NOW)
    assert await asked_for(membership) == [(MARCH, 90_00, P.DUE, MARCH)]
    assert (await now_of(membership)).next_fee_on is None
    async with nothing_written():
        await fee_calendar.raise_fees(acting=JOB, at=on(MAY))


async def test_a_price_that_is_paid_once_is_asked_for_however_little_it_is() -> None:
    """No fee follows that could carry it: it is its provider that says no, and somebody sees it."""
    membership = await a_term(price=20)
    assert await run(membership, NOW) == [MARCH]
    assert await asked_for(membership) == [(MARCH, 20, P.DUE, MARCH)]


async def test_the_instruction_that_paid_a_term_may_go_without_suspending_it() -> None:
    """R12: it has nothing left to pay."""
    user = await a_user()
    mandate = await a_mandate(user)
    membership = await a_term(card=False, mandate_id=mandate.id, user=user)
    assert await run(membership, NOW) == [MARCH]
    await gone(mandate)
    assert (await now_of(membership)).status is Status.ACTIVE
    fee = await Payment.get(membership_id=membership.id)
    await payments.settle(fee.id, PaymentOutcome.CONFIRMED, acting=BY, at=NOW)
    assert (await now_of(membership)).status is Status.ACTIVE


async def test_a_term_whose_price_was_cancelled_with_its_instruction_waits_for_another() -> None:
    user = await a_user()
    mandate = await a_mandate(user)
    membership = await a_term(card=False, mandate_id=mandate.id, user=user)
    await run(membership, NOW)
    await gone(mandate)
    fee = await Payment.get(membership_id=membership.id)
    await payments.settle(fee.id, PaymentOutcome.CANCELLED, failure="mandate_cancelled", acting=BY, at=NOW)
    row = await now_of(membership)
    assert (row.status, row.reason, row.next_fee_on) == (Status.SUSPENDED, "MANDATE_CANCELLED", MARCH)
    await a_mandate(user)
    assert (await now_of(membership)).status is Status.ACTIVE
    assert await run(membership, NOW) == [MARCH]


async def test_a_price_that_is_paid_once_does_not_accrue_for_no_fee_follows_it() -> None:
    await configure_billing(while_suspended=WhileSuspended.ACCRUE, acting=BY, at=NOW)
    user = await a_user()
    mandate = await a_mandate(user)
    membership = await a_term(card=False, mandate_id=mandate.id, user=user)
    await gone(mandate)
    await fee_calendar.raise_fees(acting=JOB, at=on(APRIL))
    assert await asked_for(membership) == []
    await a_mandate(user)
    assert await run(membership, APRIL) == [MARCH]


# -- memberships from before ------------------------------------------------------------------------------------------


async def test_those_from_before_the_calendar_go_on_where_they_stand() -> None:
    """After their last fee; one that was never asked for anything, from the month under way."""
    billed, never = await a_membership(), await a_membership(starts_on=date(2025, 6, 2))
    once, paid = await a_term(), await a_term()
    await a_fee(billed)
    await a_fee(paid)
    everybody = [billed.id, never.id, once.id, paid.id]
    await Membership.filter(id__in=everybody).update(next_fee_on=None)
    await fee_calendar.raise_fees(acting=JOB, at=on(date(2026, 3, 10)))
    assert [(await Membership.get(id=each)).next_fee_on for each in everybody] == [APRIL, APRIL, None, None]
    assert [[row[0] for row in await asked_for(each)] for each in (billed, never, once, paid)] == [[MARCH]] * 4
    async with nothing_written():
        await fee_calendar.raise_fees(acting=JOB, at=on(date(2026, 3, 10)))


# -- an instruction that goes and another that comes ------------------------------------------------------------------


async def test_what_was_cancelled_with_its_instruction_is_asked_for_by_the_next_one() -> None:
    membership = await a_membership()
    await run(membership, NOW)
    fee = await Payment.get(membership_id=membership.id)
    settled: dict[str, Any] = {"acting": BY, "at": NOW}
    await payments.settle(fee.id, PaymentOutcome.CANCELLED, failure="mandate_cancelled", **settled)
    assert (await now_of(membership)).next_fee_on == MARCH
    await Mandate.filter(id=membership.mandate_id).update(status=MandateStatus.CANCELLED)
    assert await run(membership, NOW) == []
    new = await a_mandate(await membership.user)
    assert (await now_of(membership)).mandate_id == new.id
    assert await run(membership, NOW + DAY) == [MARCH]
    again = await Payment.filter(membership_id=membership.id).order_by("-id").first()
    assert again is not None
    assert (again.mandate_id, again.status) == (new.id, P.DUE)
    await payments.settle(again.id, PaymentOutcome.CANCELLED, failure="payment_cancelled", **settled)
    assert await run(membership, NOW + DAY) == [], "what somebody cancelled on purpose stays cancelled"


# -- the policy -------------------------------------------------------------------------------------------------------


async def test_the_policy_is_one_row_and_the_defaults_where_there_is_none() -> None:
    assert await policy() == Policy()
    async with happening() as seen:
        row = await configure_billing(retry_after_days=[], ahead_days=5, acting=BY, at=NOW)
    assert (row.id, row.retry_after_days, row.ahead_days) == (billing_policy.POLICY_ID, [], 5)
    (entry,) = seen.audit
    assert (entry.verb, entry.before["ahead_days"], entry.after["ahead_days"]) == ("configure_billing", 10, 5)
    await configure_billing(grace_hours=48, billing_day=31, acting=BY, at=NOW)
    assert await policy() == Policy(retry_after=(), ahead_days=5, grace_hours=48, billing_day=31)
    await asyncio.gather(*(configure_billing(grace_hours=hours, acting=BY, at=NOW) for hours in range(4)))
    assert await BillingPolicy.all().count() == 1


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"retry_after_days": [0]}, "retryAfterDays"),
        ({"retry_after_days": [1] * 6}, "retryAfterDays"),
        ({"ahead_days": 61}, "aheadDays"),
        ({"billing_day": 32}, "billingDay"),
        ({"grace_hours": -1}, "graceHours"),
    ],
)
async def test_what_is_out_of_bounds_is_refused(given: dict[str, Any], field: str) -> None:
    async with refused(Code.INVALID_INPUT, field):
        await configure_billing(**given, acting=BY, at=NOW)


async def test_a_recurring_price_of_nothing_is_asked_for_by_nobody() -> None:
    kind, option = await a_membership_type(price=0)
    assert kind.kind is MembershipKind.ONGOING
    free = await memberships.start_membership(
        user_id=(await a_user()).id,
        membership_type_id=kind.id,
        centre_id=(await a_centre()).id,
        pricing_option_id=option.id,
        starts_on=NOW.date(),
        acting=BY,
        at=NOW,
    )
    assert (free.status, free.next_fee_on) == (Status.ACTIVE, None)
