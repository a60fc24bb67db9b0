"""After a failure: asked for again by the calendar, settled by a person, and never lifted before all of it is paid."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from models.actions import arrears, catalogue, dunning, fee_calendar, mandates, memberships, payments
from models.actions.billing_policy import configure_billing
from models.actions.money_proof import prove
from models.rules.arrears import SettleBy
from models.rules.dunning import SuspendOn
from models.rules.facts import MandateChanged
from models.rules.lifecycle import Cause, Status
from models.rules.refusals import Code
from models.rules.states import MandateStatus, PaymentOutcome, PaymentStatus, Provider, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from models.tables.setting import BillingPolicy
from tests.build import (
    BY,
    NOW,
    a_fee,
    a_mandate,
    a_member_with_card,
    a_membership,
    a_name,
    a_user,
    happening,
    nothing_written,
    refused,
)

pytestmark = pytest.mark.usefixtures("database")
Out, P = PaymentOutcome, PaymentStatus
CARD, VOID, DEFER = SettleBy
APRIL, MAY = date(2026, 4, 2), date(2026, 5, 2)


@pytest.fixture(autouse=True)
async def _by_default(database: None) -> AsyncIterator[None]:
    """The policy is the one by default."""
    yield
    await BillingPolicy.all().delete()


def on(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 9, tzinfo=UTC)


async def settle(payment: Payment, outcome: PaymentOutcome, at: datetime = NOW, **options: Any) -> Payment:
    await payments.settle(payment.id, outcome, acting="webhook:GOCARDLESS", at=at, **options)
    return await Payment.get(id=payment.id)


async def standing(membership: Membership) -> tuple[Status, str | None]:
    row = await Membership.get(id=membership.id)
    return row.status, row.reason


async def a_missed_fee(membership: Membership, at: datetime = NOW) -> Payment:
    """A fee the bank had, and refused."""
    fee = await a_fee(membership)
    await settle(fee, Out.SUBMITTED, reference=a_name("PM"))
    return await settle(fee, Out.FAILED, at, failure="insufficient_funds")


async def two_missed_fees(membership: Membership) -> tuple[Payment, Payment]:
    """Those of March and April, asked for before either of them failed."""
    fees = [await a_fee(membership), await a_fee(membership, APRIL)]
    for fee in fees:
        await settle(fee, Out.SUBMITTED, reference=a_name("PM"))
    march, april = [await settle(fee, Out.FAILED) for fee in fees]
    return march, april


async def settled_by(membership: Membership, by: SettleBy, at: datetime = NOW) -> None:
    await arrears.settle_arrears(membership.id, by=by, reason="agreed", acting=BY, at=at)


ASKED_AGAIN = frozenset({P.FAILED})  # a worker's answer that the provider took it once more


# -- by the calendar --------------------------------------------------------------------------------------------------


async def test_a_missed_fee_is_asked_for_again_twice_on_working_days_and_then_stays_owed() -> None:
    """Thursday 2 April, then the Tuesday after Easter, then five working days after that failure."""
    membership = await a_membership()
    fee = await a_missed_fee(membership, at=on(4, 2))
    assert (fee.retry_on, fee.status) == (date(2026, 4, 7), P.FAILED)
    assert fee.id not in await dunning.due(on(4, 6))
    for day, following in ((date(2026, 4, 7), date(2026, 4, 14)), (date(2026, 4, 14), None)):
        at = datetime(day.year, day.month, day.day, 9, tzinfo=UTC)
        assert fee.id in await dunning.due(at)
        async with happening() as seen:
            await dunning.retry_as_planned(fee.id, acting=BY, at=at)
        assert seen.kinds == ["payments.retry"]
        async with nothing_written():
            await dunning.retry_as_planned(fee.id, acting=BY, at=at)
        await seen.jobs[0].delete()
        await settle(fee, Out.SUBMITTED, at, only_from=ASKED_AGAIN)
        fee = await settle(fee, Out.FAILED, at, failure="insufficient_funds")
        assert fee.retry_on == following
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")
    assert fee.id not in await dunning.due(datetime(2027, 1, 1, tzinfo=UTC))


async def test_the_day_to_ask_again_comes_where_the_centre_is() -> None:
    fee = await a_missed_fee(await a_membership(), at=on(4, 2))
    auckland = await catalogue.create_centre(
        name=a_name("Pool"), zone="Pacific/Auckland", currency="GBP", acting=BY, at=NOW
    )
    evening = datetime(2026, 4, 6, 13, tzinfo=UTC)  # there it is Tuesday already
    assert fee.id not in await dunning.due(evening)
    await Membership.filter(id=fee.membership_id).update(centre_id=auckland.id)
    assert fee.id in await dunning.due(evening)
    async with happening() as seen:
        await dunning.retry_as_planned(fee.id, acting=BY, at=evening)
    assert seen.kinds == ["payments.retry"]


async def test_a_policy_of_no_retries_and_what_the_provider_tries_again_by_itself() -> None:
    told_so = await a_fee(await a_membership())
    assert (await settle(told_so, Out.FAILED, will_retry=True)).retry_on is None, "never beside the provider's own"
    await configure_billing(retry_after_days=[], acting=BY, at=NOW)
    assert (await a_missed_fee(await a_membership())).retry_on is None


async def test_news_of_the_banks_own_retry_may_be_lost_and_its_last_word_counts() -> None:
    """Nobody tries beside the bank, and nobody waits for a bank that gave up."""
    fee = await a_fee(await a_membership())
    fee = await settle(fee, Out.FAILED, on(4, 2), will_retry=True)
    assert (fee.retry_on, fee.attempts) == (None, 0)
    async with happening() as seen:
        fee = await settle(fee, Out.FAILED, on(4, 2))
    assert (fee.will_retry, fee.retry_on, fee.attempts) == (False, date(2026, 4, 7), 1)
    assert seen.events == ["PaymentUpdated", "PaymentMissed"], "it was missed once more (R44)"
    fee = await settle(fee, Out.FAILED, on(4, 2), will_retry=True)
    assert (fee.will_retry, fee.retry_on) == (True, None)
    async with nothing_written():
        await settle(fee, Out.FAILED, on(4, 2), will_retry=True)

    await configure_billing(suspend_on=SuspendOn.RETRIES_EXHAUSTED, retry_after_days=[], acting=BY, at=NOW)
    membership = await a_membership()
    fee = await settle(await a_fee(membership), Out.FAILED, will_retry=True)
    assert (await standing(membership))[0] is Status.ACTIVE
    await settle(fee, Out.FAILED)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")


async def test_set_to_wait_for_the_last_failure_only_that_one_suspends() -> None:
    await configure_billing(suspend_on=SuspendOn.RETRIES_EXHAUSTED, retry_after_days=[1], acting=BY, at=NOW)
    membership = await a_membership()
    fee = await a_fee(membership)
    await settle(fee, Out.FAILED, will_retry=True)
    assert (await standing(membership))[0] is Status.ACTIVE
    await settle(fee, Out.SUBMITTED)
    await settle(fee, Out.FAILED)
    assert (await standing(membership))[0] is Status.ACTIVE, "it is asked for again tomorrow"
    await settle(fee, Out.SUBMITTED, only_from=ASKED_AGAIN)
    await settle(fee, Out.FAILED)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")


async def test_a_retry_that_cannot_be_made_is_the_last_failure() -> None:
    """The provider refuses it, or nothing can pay any more: nobody asks again, so nobody waits for it."""
    await configure_billing(suspend_on=SuspendOn.RETRIES_EXHAUSTED, retry_after_days=[1], acting=BY, at=NOW)
    membership = await a_membership()
    fee = await a_missed_fee(membership)
    await dunning.retry_as_planned(fee.id, acting=BY, at=on(4, 1))
    assert (await standing(membership))[0] is Status.ACTIVE, "it is being asked for"
    assert await dunning.not_retried(fee.id, acting=BY, at=on(4, 1)) is False
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")

    membership = await a_membership()
    fee = await a_missed_fee(membership)
    await Mandate.filter(id=membership.mandate_id).update(status=MandateStatus.PENDING)  # signed anew, not active yet
    await dunning.retry_as_planned(fee.id, acting=BY, at=on(4, 1))
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")

    await configure_billing(suspend_on=SuspendOn.FIRST_FAILURE, acting=BY, at=NOW)
    await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    await dunning.not_retried(fee.id, acting=BY, at=on(4, 1))
    assert (await standing(membership))[0] is Status.ACTIVE, "a person lifted what had suspended it at once"


async def test_what_ended_is_not_asked_for_again() -> None:
    membership = await a_membership()
    fee = await a_missed_fee(membership)
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)
    async with happening() as seen:
        await dunning.retry_as_planned(fee.id, acting=BY, at=on(4, 1))
    assert (seen.verbs, seen.jobs) == (["give_up_retry"], [])
    async with refused(Code.PAYMENT_NOT_RETRYABLE, "paymentId"):
        await dunning.retry_payment(fee.id, acting=BY, at=NOW)


# -- until all of it is paid ------------------------------------------------------------------------------------------


async def test_a_membership_is_lifted_once_nothing_is_owed_not_even_what_is_asked_for_again() -> None:
    membership = await a_membership()
    march, april = await two_missed_fees(membership)
    await settle(march, Out.SUBMITTED, only_from=ASKED_AGAIN)
    await settle(april, Out.CONFIRMED)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED"), "March is on its way, not paid"
    await settle(march, Out.CONFIRMED)
    assert await standing(membership) == (Status.ACTIVE, "PAYMENT_MADE_GOOD")
    assert (await settle(march, Out.CHARGED_BACK)).retry_on is None
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_CHARGED_BACK")
    await settle(march, Out.PAID_OUT)  # the payer's bank took its chargeback back
    assert (await standing(membership))[0] is Status.ACTIVE


async def test_money_does_not_lift_where_the_instruction_is_no_more() -> None:
    """R12: what still holds it becomes the reason, one way and the other."""
    membership = await a_membership()
    fee = await a_missed_fee(membership)
    await Mandate.filter(id=membership.mandate_id).update(status=MandateStatus.CANCELLED)
    async with happening() as seen:
        await settle(fee, Out.CONFIRMED)
    assert await standing(membership) == (Status.SUSPENDED, "MANDATE_CANCELLED")
    assert seen.audit[-1].verb == "still_held"
    await settle(fee, Out.FAILED)
    await a_mandate(await membership.user)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")
    await settle(fee, Out.CONFIRMED)
    assert await standing(membership) == (Status.ACTIVE, "PAYMENT_MADE_GOOD")


# -- settled by a person ----------------------------------------------------------------------------------------------


async def test_arrears_by_card_are_one_payment_of_the_sum() -> None:
    membership = await a_membership(await a_member_with_card())
    missed = await two_missed_fees(membership)
    async with happening() as seen:
        await settled_by(membership, CARD)
    (card,) = await Payment.filter(membership_id=membership.id, provider=Provider.STRIPE)
    assert (card.amount, card.period_start, card.status) == (70_00, None, P.DUE)
    assert seen.verbs == ["settle_arrears", "carry_payment", "carry_payment"]
    assert (seen.audit[0].because, seen.kinds) == (["agreed"], ["payments.collect", "live.publish"])
    old = await Payment.filter(id__in=[each.id for each in missed])
    assert {(each.status, each.carried_by_id, each.retry_on) for each in old} == {(P.CARRIED, card.id, None)}
    async with refused(Code.NO_ARREARS, "membershipId"):
        await settled_by(membership, CARD)
    await settle(card, Out.FAILED)
    assert (await standing(membership))[0] is Status.SUSPENDED, "now it is what is owed"
    await settle(card, Out.CONFIRMED)
    assert (await standing(membership))[0] is Status.ACTIVE
    late = await settle(missed[0], Out.CONFIRMED)
    assert (late.status, late.carried_by_id) == (P.CONFIRMED, None)
    item = await ReviewItem.get(subject=str(late.id))
    assert item.evidence["why"] == f"it came although payment {card.id} asks for it too"


async def test_what_the_bank_is_asked_for_again_is_not_asked_for_by_card_or_with_the_next_fee_too() -> None:
    membership = await a_membership(await a_member_with_card())
    march, april = await two_missed_fees(membership)
    await dunning.retry_payment(march.id, acting=BY, at=NOW)
    await Payment.filter(id=april.id).update(will_retry=True)
    for by in (CARD, DEFER):
        async with refused(Code.SETTLEMENT_NOT_POSSIBLE, "by"):
            await settled_by(membership, by)
    await Payment.filter(id=april.id).update(will_retry=False)
    await settled_by(membership, CARD)
    card = await Payment.get(membership_id=membership.id, provider=Provider.STRIPE)
    assert (card.amount, (await Payment.get(id=march.id)).status) == (35_00, P.FAILED), "March is left to the bank"
    await settled_by(membership, VOID)
    assert (await Payment.get(id=march.id)).status is P.WRITTEN_OFF
    assert await dunning.to_retry(march.id) is None


async def test_arrears_are_settled_after_the_end_too_and_that_payment_is_taken() -> None:
    membership = await a_membership(await a_member_with_card())
    await a_missed_fee(membership)
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)
    async with refused(Code.SETTLEMENT_NOT_POSSIBLE, "by"):
        await settled_by(membership, DEFER)
    await settled_by(membership, CARD)
    card = await Payment.get(membership_id=membership.id, provider=Provider.STRIPE)
    assert await payments.begin_collection(card.id, acting=BY, at=NOW) is not None
    await settle(card, Out.CONFIRMED)
    assert (await standing(membership))[0] is Status.CANCELLED
    assert not await ReviewItem.exists(subject=str(card.id))


async def test_arrears_that_are_written_off_hold_nothing_and_late_money_is_reviewed() -> None:
    membership = await a_membership()
    fee = await a_missed_fee(membership)
    async with refused(Code.NO_CARD_ON_FILE, "by"):
        await settled_by(membership, CARD)
    async with refused(Code.INVALID_INPUT, "reason"):
        await arrears.settle_arrears(membership.id, by=VOID, reason="x" * 201, acting=BY, at=NOW)
    await settled_by(membership, VOID)
    assert (await Payment.get(id=fee.id)).status is P.WRITTEN_OFF
    assert await standing(membership) == (Status.ACTIVE, "PAYMENT_MADE_GOOD")
    assert (await settle(fee, Out.CONFIRMED)).status is P.CONFIRMED
    assert (await ReviewItem.get(subject=str(fee.id))).evidence["why"] == "it came after it was written off"


async def test_arrears_that_are_deferred_ride_on_the_next_fee() -> None:
    membership = await a_membership()
    march = await a_missed_fee(membership)
    await settled_by(membership, DEFER)
    assert (await standing(membership))[0] is Status.ACTIVE
    (april,) = await fee_calendar.raise_due(membership.id, acting=BY, at=on(3, 20))
    assert (april.period_start, april.amount) == (APRIL, 70_00)
    assert (await Payment.get(id=march.id)).carried_by_id == april.id
    await settle(april, Out.CANCELLED, failure="payment_cancelled")  # so nobody asks for March any more
    (may,) = await fee_calendar.raise_due(membership.id, acting=BY, at=on(4, 25))
    assert (may.period_start, may.amount) == (MAY, 70_00)
    await settle(may, Out.FAILED)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED")


async def test_a_deferred_fee_that_comes_after_all_is_simply_paid() -> None:
    membership = await a_membership()
    march = await a_missed_fee(membership)
    await settled_by(membership, DEFER)
    assert (await settle(march, Out.CONFIRMED)).status is P.CONFIRMED
    (april,) = await fee_calendar.raise_due(membership.id, acting=BY, at=on(3, 20))
    assert april.amount == 35_00
    assert not await ReviewItem.exists(subject=str(march.id))


# -- instructions -----------------------------------------------------------------------------------------------------


def changed(mandate: Mandate, status: MandateStatus, **more: Any) -> MandateChanged:
    values: dict[str, Any] = {"customer_id": None, "user_reference": None, "occurred_at": NOW, **more}
    return MandateChanged(provider="GOCARDLESS", external_id=str(mandate.external_id), status=status, **values)


async def tell(*facts: MandateChanged) -> None:
    for fact in facts:
        await mandates.mandate_changed(fact, acting="webhook:GOCARDLESS", at=NOW)


async def test_a_replaced_instruction_hands_over_what_it_pays_and_retries_use_the_new_one() -> None:
    membership = await a_membership()
    march, april = await a_missed_fee(membership), await a_fee_while_suspended(membership)
    old = await Mandate.get(id=membership.mandate_id)
    new_id = a_name("MD")
    await tell(changed(old, MandateStatus.CANCELLED, replaced_by=new_id, origin="gocardless", cause="mandate_replaced"))
    new = await Mandate.get(external_id=new_id)
    row = await Membership.get(id=membership.id)
    assert (new.status, new.user_id, row.mandate_id) == (MandateStatus.PENDING, old.user_id, new.id)
    assert await standing(membership) == (Status.SUSPENDED, "PAYMENT_FAILED"), "and not for the instruction"
    assert (await Payment.get(id=april.id)).mandate_id == new.id, "what nobody was asked for yet"
    async with refused(Code.NO_MANDATE, "paymentId"):
        await dunning.retry_payment(march.id, acting=BY, at=NOW)
    await tell(changed(new, MandateStatus.ACTIVE))
    await dunning.retry_payment(march.id, acting=BY, at=NOW)
    again = await Payment.filter(membership_id=membership.id).order_by("-id").first()
    assert again is not None
    assert (again.amount, again.mandate_id, again.period_start, again.status) == (35_00, new.id, None, P.DUE)
    carried = await Payment.get(id=march.id)
    assert (carried.status, carried.carried_by_id) == (P.CARRIED, again.id)
    await settle(again, Out.CONFIRMED)
    assert (await standing(membership))[0] is Status.ACTIVE


async def a_fee_while_suspended(membership: Membership) -> Payment:
    """A fee that was made before the suspension, and not asked for yet."""
    before = await Membership.get(id=membership.id)
    await Membership.filter(id=membership.id).update(status=Status.ACTIVE)
    fee = await a_fee(membership, APRIL)
    await Membership.filter(id=membership.id).update(status=before.status)
    return fee


@pytest.mark.parametrize(
    ("status", "origin", "cause"),
    [
        (MandateStatus.CANCELLED, "bank", "bank_account_closed"),
        (MandateStatus.CANCELLED, "api", "mandate_cancelled"),
        (MandateStatus.CANCELLED, "gocardless", "mandate_cancelled"),
        (MandateStatus.FAILED, "bank", "invalid_bank_details"),
        (MandateStatus.EXPIRED, "gocardless", "mandate_expired"),
        (MandateStatus.BLOCKED, "gocardless", "mandate_blocked_by_owner"),
    ],
)
async def test_whoever_ends_an_instruction_its_memberships_are_suspended_and_the_reason_kept(
    status: MandateStatus, origin: str, cause: str
) -> None:
    """R12; one that is reinstated lifts them again."""
    membership = await a_membership()
    mandate = await Mandate.get(id=membership.mandate_id)
    async with happening() as seen:
        await tell(changed(mandate, status, origin=origin, cause=cause))
    assert await standing(membership) == (Status.SUSPENDED, "MANDATE_CANCELLED")
    assert [entry.verb for entry in seen.audit] == ["mandate_changed", "move_membership"]
    assert seen.audit[0].after == {"status": status.value, "origin": origin, "cause": cause}
    assert seen.audit[1].because == ["MANDATE_CANCELLED", origin, cause]
    assert "mandates.cancel" not in seen.kinds
    await tell(changed(mandate, MandateStatus.ACTIVE, origin="bank", cause="mandate_reinstated"))
    assert await standing(membership) == (Status.ACTIVE, "MANDATE_REPLACED")


async def test_an_instruction_is_cancelled_by_a_job_and_its_news_changes_nothing_more() -> None:
    membership = await a_membership()
    mandate = await Mandate.get(id=membership.mandate_id)
    async with happening() as seen:
        await mandates.cancel_mandate(mandate.id, reason="asked by telephone", acting=BY, at=NOW)
    assert [(job.kind, job.payload) for job in seen.jobs] == [("mandates.cancel", {"mandate_id": str(mandate.id)})]
    assert (seen.verbs, seen.audit[0].because) == (["cancel_mandate"], ["asked by telephone"])
    assert (await standing(membership))[0] is Status.ACTIVE, "until the provider has done it"
    await mandates.cancelled(mandate.id, acting=BY, at=NOW)
    assert await standing(membership) == (Status.SUSPENDED, "MANDATE_CANCELLED")
    async with nothing_written():
        await mandates.cancelled(mandate.id, acting=BY, at=NOW)
        assert await mandates.to_cancel(mandate.id) is None
    async with refused(Code.MANDATE_NOT_CANCELLABLE, "mandateId"):
        await mandates.cancel_mandate(mandate.id, reason="again", acting=BY, at=NOW)
    unsigned = await mandates.start_mandate(user_id=(await a_user()).id, currency="GBP", acting=BY, at=NOW)
    async with happening() as seen:
        await mandates.cancel_mandate(unsigned.id, reason="a mistake", acting=BY, at=NOW)
    assert (seen.jobs, (await Mandate.get(id=unsigned.id)).status) == ([], MandateStatus.CANCELLED)


# -- money that came late, and is lost again --------------------------------------------------------------------------


async def test_money_that_came_late_for_a_carried_fee_and_is_lost_again_is_not_asked_for_beside_its_carrier() -> None:
    membership = await a_membership(await a_member_with_card())
    fee = await a_missed_fee(membership)
    await settled_by(membership, CARD)
    carrier = await Payment.get(membership_id=membership.id, period_start__isnull=True)
    fee = await settle(fee, Out.CONFIRMED)
    item = await ReviewItem.get(subject=str(fee.id))
    async with happening() as seen:
        fee = await settle(fee, Out.CHARGED_BACK)
    assert (fee.status, fee.carried_by_id) == (P.CARRIED, carrier.id)
    assert seen.events == ["PaymentUpdated"], "nobody missed anything"
    assert (await ReviewItem.get(id=item.id)).state is ReviewState.DROPPED
    assert (await prove(("Payment", fee.id))).holds
    await settle(carrier, Out.CONFIRMED)
    assert (await standing(membership))[0] is Status.ACTIVE


async def test_money_that_came_late_is_owed_once_lost_where_its_carrier_was_cancelled_meanwhile() -> None:
    membership = await a_membership(await a_member_with_card())
    fee = await a_missed_fee(membership)
    await settled_by(membership, CARD)
    fee = await settle(fee, Out.CONFIRMED)
    await settle(await Payment.get(membership_id=membership.id, period_start__isnull=True), Out.CANCELLED)
    fee = await settle(fee, Out.CHARGED_BACK)
    assert (fee.status, await standing(membership)) == (P.CHARGED_BACK, (Status.SUSPENDED, "PAYMENT_CHARGED_BACK"))


async def test_money_that_came_late_for_what_was_written_off_and_is_lost_again_is_written_off() -> None:
    membership = await a_membership()
    fee = await a_missed_fee(membership)
    await settled_by(membership, VOID)
    for outcome in (Out.CONFIRMED, Out.CHARGED_BACK):
        fee = await settle(fee, outcome)
    assert (fee.status, await standing(membership)) == (P.WRITTEN_OFF, (Status.ACTIVE, "PAYMENT_MADE_GOOD"))
    assert (await prove(("Payment", fee.id))).holds
    assert (await settle(fee, Out.PAID_OUT)).status is P.PAID_OUT, "the chargeback was taken back"
