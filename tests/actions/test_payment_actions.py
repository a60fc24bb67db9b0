"""Money: asked for once, settled once whoever brings the news; a missed fee shuts the door, made good it opens it."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from models.actions import dunning, memberships, notifications, payments, rosters
from models.rules.facts import (
    Attendee,
    AttendeesPosted,
    PaymentChargedBack,
    PaymentFact,
    PaymentFailed,
    PaymentPaidOut,
    PaymentSucceeded,
)
from models.rules.invoicing import Mark
from models.rules.lifecycle import Cause, Status
from models.rules.refusals import Code
from models.rules.states import PaymentOutcome, PaymentPurpose, PaymentStatus, Provider, ReviewKind, settled
from models.tables.course import AccessToken
from models.tables.coursepro import ReviewItem
from models.tables.membership import Mandate, Membership
from models.tables.notification import Notification
from models.tables.payment import Payment
from models.tables.row import new_id
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    a_fee,
    a_membership,
    a_name,
    a_user,
    happening,
    nothing_written,
    refused,
    sql,
)

pytestmark = pytest.mark.usefixtures("database")
Out, P = PaymentOutcome, PaymentStatus
APRIL = date(2026, 4, 2)


async def settle(payment: Payment, outcome: PaymentOutcome, **options: Any) -> bool:
    return await payments.settle(payment.id, outcome, acting="webhook:GOCARDLESS", at=NOW, **options)


async def now_of(membership: Membership) -> Membership:
    return await Membership.get(id=membership.id)


async def roster(membership: Membership, *starts: Any, removed: bool = False, session: str | None = None) -> None:
    """The course system posts who is to attend: one class for each start."""
    mark = Mark.CANCELLED if removed else Mark.BOOKED
    for start in starts:
        fact = AttendeesPosted(
            provider="COURSEPRO",
            course_id="course",
            session_id=session or f"{membership.id}:{start:%Y%m%d%H%M}",
            starts_at=start,
            ends_at=start + HOUR,
            attendees=(Attendee(external_id=f"a:{start}", membership_id=membership.id, mark=mark),),
            occurred_at=NOW,
        )
        await rosters.attendees_posted(fact, acting="webhook:COURSEPRO", at=NOW)


async def tokens(membership: Membership) -> list[tuple[Any, Any]]:
    """(window's first instant, revoked at) of each token, oldest first."""
    rows = await AccessToken.filter(membership_id=membership.id).order_by("valid_from", "id")
    return [(row.valid_from, row.revoked_at) for row in rows]


# -- a fee falls due --------------------------------------------------------------------------------------------------


async def test_a_fee_is_asked_for_by_its_own_direct_debit() -> None:
    membership = await a_membership()
    async with happening() as seen:
        fee = await payments.collect_fee(membership.id, period_start=APRIL, acting=BY, at=NOW)
    assert (fee.amount, fee.currency, fee.purpose, fee.provider, fee.status) == (
        35_00,
        "GBP",
        PaymentPurpose.MEMBERSHIP_FEE,
        Provider.GOCARDLESS,
        P.DUE,
    )
    assert (fee.mandate_id, fee.period_start, fee.due_on, fee.key) == (
        membership.mandate_id,
        APRIL,
        APRIL,
        f"payment:{fee.id}:1",
    )
    assert seen.events == ["PaymentDue"]
    assert seen.kinds == ["payments.collect", "live.publish"]
    assert [(entry.verb, entry.after) for entry in seen.audit] == [
        ("collect_fee", {"amount": 35_00, "period_start": "2026-04-02"})
    ]


async def test_a_period_of_the_past_is_due_today() -> None:
    fee = await a_fee(await a_membership(starts_on=NOW.date() - DAY), NOW.date() - DAY)
    assert fee.due_on == NOW.date()


async def test_a_period_has_one_fee() -> None:
    membership = await a_membership()
    fee = await a_fee(membership)
    async with refused(Code.PAYMENT_NOT_COLLECTABLE, "periodStart"):
        await a_fee(membership)
    await settle(fee, Out.CANCELLED)
    again = await a_fee(membership)
    assert again.id != fee.id, "one that was cancelled may be asked for anew"
    made = await asyncio.gather(*(a_fee(membership, APRIL) for _ in range(6)), return_exceptions=True)
    assert sum(isinstance(answer, Payment) for answer in made) == 1


@pytest.mark.parametrize("cause", [Cause.SUSPENDED_BY_STAFF, Cause.FROZEN_BY_STAFF, Cause.CANCELLED_BY_STAFF])
async def test_what_does_not_stand_is_not_billed(cause: Cause) -> None:
    """R39, R48, R49."""
    membership = await a_membership()
    await memberships.by_staff(membership.id, cause, acting=BY, at=NOW)
    async with refused(Code.PAYMENT_NOT_COLLECTABLE):
        await a_fee(membership)


async def test_a_fee_needs_a_usable_mandate_and_an_amount() -> None:
    membership = await a_membership()
    await Mandate.filter(id=membership.mandate_id).update(status="PENDING")
    async with refused(Code.NO_MANDATE):
        await a_fee(membership)
    await Membership.filter(id=membership.id).update(mandate_id=None)
    async with refused(Code.NO_MANDATE):
        await a_fee(membership)
    await Membership.filter(id=membership.id).update(amount=0)
    async with refused(Code.PAYMENT_NOT_COLLECTABLE):
        await a_fee(membership)
    async with refused(Code.NOT_FOUND, "membershipId"):
        await payments.collect_fee(new_id(), period_start=APRIL, acting=BY, at=NOW)


# -- the settle table -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def of_everything(database: None) -> Payment:
    """One payment that is put in every status in turn."""
    return await a_fee(await a_membership())


@pytest.mark.parametrize("outcome", list(Out))
@pytest.mark.parametrize("status", list(P))
async def test_every_status_and_every_outcome(
    of_everything: Payment, status: PaymentStatus, outcome: PaymentOutcome
) -> None:
    payment = of_everything
    await Payment.filter(id=payment.id).update(status=status, reference="PM1", failure="before", will_retry=False)
    await Membership.filter(id=payment.membership_id).update(status=Status.CANCELLED)  # what money no longer moves
    leads_to = settled(status, outcome)
    if leads_to is None:
        async with nothing_written():
            assert await settle(payment, outcome, reference="PM2", failure="after") is False
        return
    async with happening() as seen:
        assert await settle(payment, outcome, failure="after", will_retry=True) is True
    row = await Payment.get(id=payment.id)
    assert (row.status, row.reference, row.failure, row.will_retry) == (leads_to, "PM1", "after", True)
    missed = leads_to in (P.FAILED, P.CHARGED_BACK)
    assert seen.events == ["PaymentUpdated", *(["PaymentMissed"] if missed else [])]
    assert seen.kinds == [*(["notifications.payment_failed"] if missed else []), "live.publish"]
    said, *more = seen.audit
    assert (said.verb, said.before, said.after) == (
        "settle_payment",
        {"status": status.value},
        {"status": leads_to.value, "failure": "after"},
    )
    assert {entry.verb for entry in more} <= ({"review_refund"} if status is P.WRITTEN_OFF else set())
    async with nothing_written():
        assert await settle(payment, outcome, failure="again", will_retry=True) is False, "the same changes nothing"


async def test_a_reference_that_comes_late_is_still_kept() -> None:
    fee = await a_fee(await a_membership())
    await settle(fee, Out.CONFIRMED)
    assert await settle(fee, Out.SUBMITTED, reference="PM77") is False
    row = await Payment.get(id=fee.id)
    assert (row.status, row.reference) == (P.CONFIRMED, "PM77")


# -- a missed fee -----------------------------------------------------------------------------------------------------


async def test_a_failed_fee_suspends_and_shuts_the_door_in_the_same_transaction() -> None:
    """CoursePro, D: status, tokens, the course system and the customer's message, all or nothing (R40-R44)."""
    membership, other = await a_membership(), await a_membership()
    await roster(membership, NOW + HOUR, NOW + DAY)
    await roster(other, NOW + HOUR)
    fee = await a_fee(membership)
    await settle(fee, Out.SUBMITTED, reference=a_name("PM"))
    async with happening() as seen:
        await settle(fee, Out.FAILED, failure="insufficient_funds")
    row = await now_of(membership)
    assert (row.status, row.reason, row.version) == (Status.SUSPENDED, "PAYMENT_FAILED", membership.version + 1)
    assert [revoked for _, revoked in await tokens(membership)] == [NOW, NOW]
    assert [revoked for _, revoked in await tokens(other)] == [None], "other memberships keep theirs"
    assert seen.events == ["PaymentUpdated", "PaymentMissed", "AccessRevoked", "MembershipStatusChanged"]
    assert [(job.kind, job.subject) for job in seen.jobs] == [
        ("notifications.payment_failed", f"notifications.payment_failed:{fee.id}"),
        ("courses.push_membership", f"courses.push_membership:{membership.id}"),
        ("packages.grant_to_membership", f"packages.grant_to_membership:{membership.id}"),
        ("live.publish", None),
    ]
    assert seen.told[-1]["ids"] == {
        "membership_id": str(membership.id),
        "user_id": str(membership.user_id),
        "status": "SUSPENDED",
    }
    assert [(entry.verb, entry.because) for entry in seen.audit] == [
        ("settle_payment", []),
        ("move_membership", ["PAYMENT_FAILED", f"payment {fee.id}"]),
    ]
    instants = await sql(
        "SELECT count(DISTINCT xmin::text) AS n FROM (SELECT xmin FROM payment WHERE id = $1"
        " UNION ALL SELECT xmin FROM membership WHERE id = $2"
        " UNION ALL SELECT xmin FROM access_token WHERE membership_id = $2"
        " UNION ALL SELECT xmin FROM job WHERE id = ANY($3)) x",
        fee.id,
        membership.id,
        [job.id for job in seen.jobs],
    )
    assert instants[0]["n"] == 1, "one transaction wrote it all"


async def test_money_made_good_opens_the_door_for_what_is_to_come() -> None:
    membership = await a_membership()
    await roster(membership, NOW - 2 * DAY, NOW + DAY)
    fee = await a_fee(membership)
    await settle(fee, Out.FAILED)
    await roster(membership, NOW + 2 * DAY)
    assert len(await tokens(membership)) == 2 - 1, "no token for what passed, nor while suspended"
    async with happening() as seen:
        await settle(fee, Out.CONFIRMED)
    row = await now_of(membership)
    assert (row.status, row.reason) == (Status.ACTIVE, "PAYMENT_MADE_GOOD")
    half = timedelta(minutes=30)
    assert [(start, revoked) for start, revoked in await tokens(membership) if revoked is None] == [
        (NOW + DAY - half, None),
        (NOW + 2 * DAY - half, None),
    ]
    assert seen.events == ["PaymentUpdated", "AccessGranted", "MembershipStatusChanged"]
    assert seen.kinds == ["courses.push_membership", "packages.grant_to_membership", "live.publish"]


async def test_two_missed_fees_are_both_to_be_made_good() -> None:
    membership = await a_membership()
    march, april = await a_fee(membership), await a_fee(membership, APRIL)
    await settle(march, Out.FAILED)
    await settle(april, Out.CHARGED_BACK)
    await settle(april, Out.CONFIRMED)
    row = await now_of(membership)
    assert (row.status, row.reason) == (Status.SUSPENDED, "PAYMENT_FAILED")
    await settle(march, Out.PAID_OUT)
    assert (await now_of(membership)).status is Status.ACTIVE


async def test_money_does_not_lift_what_staff_or_the_bank_imposed() -> None:
    by_staff, by_bank = await a_membership(), await a_membership()
    await memberships.by_staff(by_staff.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    for membership in (by_staff, by_bank):
        await Membership.filter(id=membership.id).update(status=Status.ACTIVE)
        fee = await a_fee(membership)
        await Membership.filter(id=membership.id).update(
            status=Status.SUSPENDED,
            reason=(Cause.SUSPENDED_BY_STAFF if membership is by_staff else Cause.MANDATE_CANCELLED).value,
        )
        await settle(fee, Out.CONFIRMED)
        assert (await now_of(membership)).status is Status.SUSPENDED
        await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
        assert (await now_of(membership)).status is Status.ACTIVE


async def test_a_failure_after_the_end_raises_nobody_from_the_dead() -> None:
    membership = await a_membership()
    fee = await a_fee(membership)
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)
    for outcome in (Out.FAILED, Out.CONFIRMED):
        async with happening() as seen:
            await settle(fee, outcome)
        assert (await now_of(membership)).status is Status.CANCELLED
        assert "MembershipStatusChanged" not in seen.events


# -- news from outside ------------------------------------------------------------------------------------------------


def news(kind: type[PaymentFact], payment: Payment | None, external_id: str, **options: Any) -> PaymentFact:
    values: dict[str, Any] = {"provider": "GOCARDLESS", "occurred_at": NOW}
    return kind(
        payment_reference=str(payment.id) if payment else None, external_id=external_id, **{**values, **options}
    )


async def tell(fact: PaymentFact) -> bool:
    return await payments.payment_fact(fact, acting="webhook:GOCARDLESS", at=NOW)


async def test_news_finds_its_payment_by_our_reference_or_the_providers() -> None:
    fee = await a_fee(await a_membership())
    reference = a_name("PM")
    assert await tell(news(PaymentSucceeded, fee, reference)) is True
    assert (await Payment.get(id=fee.id)).reference == reference
    assert await tell(news(PaymentPaidOut, None, reference)) is True
    failed = news(PaymentFailed, None, reference, cause="refer_to_payer", will_attempt_retry=True)
    assert await tell(failed) is True
    row = await Payment.get(id=fee.id)
    assert (row.status, row.failure, row.will_retry) == (P.FAILED, "refer_to_payer", True)
    async with nothing_written():
        assert await tell(failed) is False
    await tell(news(PaymentSucceeded, None, reference))
    await tell(news(PaymentChargedBack, None, reference, cause="authorisation_disputed"))
    assert (await Payment.get(id=fee.id)).status is P.CHARGED_BACK


async def test_a_second_collection_under_our_name_is_a_persons_question_and_settles_nothing() -> None:
    fee = await a_fee(await a_membership())
    reference, other = a_name("PM"), a_name("PM")
    await tell(news(PaymentSucceeded, fee, reference))
    async with nothing_written():
        assert await tell(news(PaymentFailed, fee, other, cause="refer_to_payer")) is False
    for _ in range(2):
        assert await tell(news(PaymentSucceeded, fee, other)) is False
    (item,) = await ReviewItem.filter(subject=str(fee.id))
    assert (item.kind, item.evidence["why"]) == (
        ReviewKind.OUTCOME_UNKNOWN,
        f"the provider has {other} under our name as well",
    )
    row = await Payment.get(id=fee.id)
    assert (row.status, row.reference) == (P.CONFIRMED, reference)
    await tell(news(PaymentFailed, fee, reference))
    await tell(news(PaymentSucceeded, fee, other))
    row = await Payment.get(id=fee.id)
    assert (row.status, row.reference) == (P.CONFIRMED, other), "the one that took its place"


@pytest.mark.parametrize("reference", [None, "somebody-elses", str(UUID(int=7))])
async def test_news_of_others_payments_is_left_alone(reference: str | None) -> None:
    fact = PaymentFailed(payment_reference=reference, provider="GOCARDLESS", external_id="PM_other", occurred_at=NOW)
    async with nothing_written():
        assert await tell(fact) is False


async def test_another_provider_cannot_settle_our_payment() -> None:
    fee = await a_fee(await a_membership())
    async with nothing_written():
        assert await tell(news(PaymentSucceeded, fee, a_name("pi"), provider="STRIPE")) is False


async def test_a_missed_payment_is_told_once_an_attempt() -> None:
    fee = await a_fee(await a_membership())
    first = await payments.notify_missed(fee.id, acting=BY, at=NOW)
    assert first is not None
    note, reader = first
    assert (note.kind, reader.id, note.sent_at) == ("PAYMENT_FAILED", fee.user_id, None)
    assert note.text.startswith("Dear Ada, a payment due on 02 March 2026 could not be taken.")
    unsent = await payments.notify_missed(fee.id, acting=BY, at=NOW)
    assert unsent is not None
    assert unsent[0].id == note.id, "the same message while it has not left"
    await notifications.sent(note.id, at=NOW)
    assert await payments.notify_missed(fee.id, acting=BY, at=NOW) is None
    assert await Notification.filter(user_id=fee.user_id).count() == 1


# -- asking again -----------------------------------------------------------------------------------------------------


async def a_failed_fee(reference: str | None) -> Payment:
    fee = await a_fee(await a_membership())
    if reference:
        await settle(fee, Out.SUBMITTED, reference=reference)
    await settle(fee, Out.FAILED)
    return fee


async def test_a_failed_fee_is_asked_for_again_under_its_own_reference() -> None:
    fee = await a_failed_fee(a_name("PM"))
    async with happening() as seen:
        await dunning.retry_payment(fee.id, acting="key:office", at=NOW)
    assert [(job.kind, job.payload) for job in seen.jobs] == [
        ("payments.retry", {"payment_id": str(fee.id), "key": f"payment:{fee.id}:retry:1"})
    ]
    assert [(entry.actor, entry.verb, entry.after) for entry in seen.audit] == [
        ("key:office", "retry_payment", {"attempts": 1})
    ]
    assert (await Payment.get(id=fee.id)).status is P.FAILED, "until the provider has taken it"
    async with refused(Code.PAYMENT_NOT_RETRYABLE, "paymentId"):  # a second click, while the first one is on its way
        await dunning.retry_payment(fee.id, acting="key:office", at=NOW)


async def test_a_fee_the_provider_never_had_is_collected_anew() -> None:
    fee = await a_failed_fee(None)
    async with happening() as seen:
        await dunning.retry_payment(fee.id, acting=BY, at=NOW)
    assert (await Payment.get(id=fee.id)).status is P.DUE
    assert seen.events == ["PaymentDue"]
    assert seen.kinds == ["payments.collect", "live.publish"]


async def test_what_did_not_fail_or_is_retried_over_there_is_not_asked_for_again() -> None:
    fee = await a_fee(await a_membership())
    for status, will_retry in ((P.DUE, False), (P.SUBMITTED, False), (P.CONFIRMED, False), (P.FAILED, True)):
        await Payment.filter(id=fee.id).update(status=status, will_retry=will_retry)
        async with refused(Code.PAYMENT_NOT_RETRYABLE, "paymentId"):
            await dunning.retry_payment(fee.id, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "paymentId"):
        await dunning.retry_payment(new_id(), acting=BY, at=NOW)


# -- the door ---------------------------------------------------------------------------------------------------------


async def test_a_roster_makes_one_token_a_place_however_often_it_is_posted() -> None:
    """R14, R60: from half an hour before until half an hour after."""
    membership = await a_membership()
    start = NOW + DAY
    async with happening() as seen:
        await roster(membership, start)
    (token,) = await AccessToken.filter(membership_id=membership.id)
    assert (token.valid_from, token.valid_until) == (start - HOUR / 2, start + HOUR + HOUR / 2)
    assert (token.user_id, token.centre_id) == (membership.user_id, membership.centre_id)
    assert seen.events == ["AccessGranted"]
    await roster(membership, start)
    assert await AccessToken.filter(membership_id=membership.id).count() == 1
    await roster(membership, start, removed=True)
    assert [revoked for _, revoked in await tokens(membership)] == [NOW]


async def test_a_class_that_moves_takes_its_tokens_along() -> None:
    membership = await a_membership()
    session = a_name("session")
    await roster(membership, NOW + DAY, session=session)
    await roster(membership, NOW + DAY + 3 * HOUR, session=session)
    live = [start for start, revoked in await tokens(membership) if revoked is None]
    assert live == [NOW + DAY + 3 * HOUR - HOUR / 2]


async def test_a_roster_of_who_may_not_enter_makes_no_token() -> None:
    membership = await a_membership()
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    await roster(membership, NOW + DAY)
    assert await tokens(membership) == []
    stranger = Membership(id=new_id(), user_id=(await a_user()).id)
    async with happening() as seen:
        await roster(stranger, NOW + DAY)
    assert (seen.verbs, seen.kinds) == ([], [])
