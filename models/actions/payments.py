"""Money: asked for once, settled once, whoever brings the news first (rules of `states.SETTLEMENTS`)."""

from datetime import date, datetime
from uuid import UUID

from models.actions import (
    asking,
    bookings,
    cancellations,
    dunning,
    endings,
    fees,
    late_money,
    ledger,
    memberships,
    notifications,
    owed,
    packages,
)
from models.actions.asking import Attempt
from models.actions.asking import locked as _locked
from models.actions.billing_policy import policy
from models.actions.notifications import Message
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.ports import CONFLICT, Collection
from models.rules.arrears import MISSED
from models.rules.dunning import suspends
from models.rules.events import PaymentMissed, PaymentUpdated
from models.rules.facts import PaymentFact
from models.rules.lifecycle import Cause, Status
from models.rules.states import (
    RECEIVED,
    PaymentOutcome,
    PaymentPurpose,
    PaymentStatus,
    settled,
)
from models.tables.course import Course
from models.tables.membership import Mandate
from models.tables.payment import Payment

COLLECTABLE = frozenset({PaymentStatus.DUE, PaymentStatus.UNKNOWN})
ANYWHERE = frozenset(PaymentStatus)
TRIED_THERE = (PaymentStatus.SUBMITTED, PaymentStatus.FAILED)  # what a failed one becomes by its provider's own doing
CHANGES = ["status", "reference", "failure", "will_retry", "attempts", "asks", "retry_on", "carried_by_id"]


@repeated
async def collect_fee(membership_id: UUID, *, period_start: date, acting: str, at: datetime) -> Payment:
    """Ask for a membership's fee of the period that begins on a day, by its direct debit; once per period.

    A price that is paid once is asked for before it opens anything, by the card on file where there is no direct debit.
    Raises Refusal NOT_FOUND, PAYMENT_NOT_COLLECTABLE (its standing bills nothing, the fee is zero, no period begins on
    that day or it has its fee), NO_MANDATE, NO_CARD_ON_FILE.        Source: R2, R5, R6, R11, R39, R49
    """
    async with unit(acting=acting, at=at) as work:
        deferred = await owed.hold_deferred(membership_id)
        return await fees.ask_fee(work, await memberships.locked(membership_id), period_start, deferred=deferred)


async def begin_collection(payment_id: UUID, *, acting: str, at: datetime) -> Attempt[Collection] | None:
    """Write down that the provider is about to be asked -> what to ask, or None where nothing is to be collected."""
    async with unit(acting=acting, at=at) as work:
        payment = await _locked(payment_id)
        if payment.status not in COLLECTABLE:
            return None
        ended = await endings.over(payment)
        if payment.status is PaymentStatus.DUE and payment.attempts == 0 and (ended or await dunning.is_over(payment)):
            await endings.drop(work, payment)  # ended before it was asked for: no fee may follow (R49)
            return None
        if ended:
            await endings.ask_to_stop(work, payment)  # an earlier attempt may have reached the provider
            return None
        return await asking.tried(payment, await order_of(payment))


async def order_of(payment: Payment) -> Collection:
    """What the provider is asked for, and a payment is found there by."""
    mandate = await Mandate.one(id=payment.mandate_id) if payment.mandate_id else None
    return Collection(
        payment_id=payment.id,
        key=payment.key,
        amount=payment.amount,
        currency=payment.currency,
        description={
            PaymentPurpose.BOOKING: "Course booking",
            PaymentPurpose.MEMBERSHIP_FEE: "Membership fee",
            PaymentPurpose.PACKAGE: "Package of credits",
        }[payment.purpose],
        charge_on=payment.due_on,
        customer=await linked(payment.user_id, payment.provider, "customer"),
        payment_method=await linked(payment.user_id, payment.provider, "payment_method"),
        mandate=mandate.external_id if mandate else None,
        metadata={"payment_id": str(payment.id)},
    )


async def outcome_unknown(payment_id: UUID, *, code: str, acting: str, at: datetime) -> None:
    """The answer was lost: the payment is neither taken nor failed until somebody asks the provider.

    Where the provider has something else under our name, only a person can say what that is.
    """
    async with unit(acting=acting, at=at) as work:
        payment = await _locked(payment_id)
        if payment.status in COLLECTABLE and (payment.status, payment.failure) != (PaymentStatus.UNKNOWN, code):
            payment.status, payment.failure, payment.asks = PaymentStatus.UNKNOWN, code[: asking.LONGEST_FAILURE], 0
            await payment.save(update_fields=["status", "failure", "asks"])
            work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))
        if payment.status is PaymentStatus.UNKNOWN and code == CONFLICT:
            await asking.ask_a_person(work, payment, "the provider has something else under our name")


async def fresh_key(payment_id: UUID, *, acting: str, at: datetime) -> Collection:
    """The provider surely has no collection under the old key: store the next one before it is used."""
    async with unit(acting=acting, at=at) as work:
        payment = await _locked(payment_id)
        await asking.renew_key(work, payment)
        return await order_of(payment)


async def settle(
    payment_id: UUID,
    outcome: PaymentOutcome,
    *,
    acting: str,
    at: datetime,
    reference: str | None = None,
    failure: str | None = None,
    will_retry: bool = False,
    only_from: frozenset[PaymentStatus] = ANYWHERE,
) -> bool:
    """What became of a payment, from the provider's answer, its webhook or the janitor -> whether that was news.

    An answer names with `only_from` where the payment stood when it was asked for: news that overtook it stands.
    The booking is confirmed or released, the membership suspended or lifted, the package filled or emptied, in the
    same transaction (R40-R46).
    """
    async with unit(acting=acting, at=at) as work:
        # whoever ends a booking held its course before the payment
        await Course.filter(bookings__payment__id=payment_id).select_for_update(of=("course",)).first()
        payment = await _locked(payment_id)
        outcome = await fees.became(payment, outcome, failure)
        anew = payment.will_retry is not will_retry  # it failed once more, and news between was lost
        status = settled(payment.status, outcome, anew=anew) if payment.status in only_from else None
        if status is None:
            if reference and payment.reference is None:
                payment.reference = reference
                await payment.save(update_fields=["reference"])
            return False
        before, carried_by, payment.status = payment.status, payment.carried_by_id, status
        lost = before in RECEIVED and status in MISSED
        again = await late_money.stands_again(payment) if lost else None
        twice = await late_money.taken_twice(payment, before)
        payment.status, payment.carried_by_id = again or (status, None)
        status, payment.reference = payment.status, reference or payment.reference
        payment.failure = failure[: asking.LONGEST_FAILURE] if failure else None
        payment.will_retry, payment.asks = will_retry, 0
        payment.retry_on = await dunning.next_try(work, payment, status, will_retry=will_retry)
        if before is PaymentStatus.FAILED and status in TRIED_THERE and only_from is ANYWHERE:
            payment.attempts += 1  # the provider tries again by itself: should that fail too, it is told anew (R44)
        await payment.save(update_fields=CHANGES)
        after = {"status": status, "failure": failure} | ({"retry_on": payment.retry_on} if payment.retry_on else {})
        stood = {"status": before} | ({"carried_by": carried_by} if carried_by else {})
        work.audit(late_money.SETTLED, payment, before=stood, after=after)
        if before is PaymentStatus.UNKNOWN:
            await asking.found_out(work, payment)
        work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))
        if twice is not None:
            await endings.review(work, payment, twice)
        if lost:
            await endings.nothing_to_give_back(work, payment)
        if status in MISSED:
            work.emit(PaymentMissed(payment_id=payment.id, user_id=payment.user_id))
        if payment.membership_id:
            await _settle_membership(work, payment)
        if payment.package_id:
            await _settle_package(work, payment)
        await ledger.moved(work, payment, before)
        if payment.booking_id:
            await _settle_booking(work, payment)  # gives back what came too late
    return True


async def _settle_booking(work: Unit, payment: Payment) -> None:
    assert payment.booking_id is not None
    if payment.status in RECEIVED:
        await bookings.confirm(work, payment.booking_id)
    elif payment.status in (PaymentStatus.FAILED, PaymentStatus.CANCELLED):
        await cancellations.release(work, payment.booking_id, because=f"payment {payment.status}: {payment.failure}")


STANDS = RECEIVED | {PaymentStatus.SUBMITTED, PaymentStatus.CHARGED_BACK}
UNPAID = (PaymentOutcome.FAILED, PaymentOutcome.CHARGED_BACK, PaymentOutcome.CANCELLED)
FEE_CAUSES: dict[PaymentStatus, Cause] = {
    PaymentStatus.FAILED: Cause.PAYMENT_FAILED,
    PaymentStatus.CHARGED_BACK: Cause.PAYMENT_CHARGED_BACK,
}


async def _settle_membership(work: Unit, payment: Payment) -> None:
    assert payment.membership_id is not None
    bought = await memberships.locked(payment.membership_id)
    membership = await memberships.heir(bought)
    if payment.status in RECEIVED:
        await packages.sessions_paid(work, bought, holder=membership)
    elif payment.status in (*MISSED, PaymentStatus.CANCELLED, PaymentStatus.WRITTEN_OFF):
        await packages.sessions_unpaid(work, bought, holder=membership)
    if payment.status is PaymentStatus.CANCELLED:
        await endings.drop_later(work, bought)  # it may have carried some of that
    if endings.stopped(payment, membership):
        await endings.follow(work, payment)
        return
    because = (f"payment {payment.id}",)
    if payment.status in MISSED:
        again = payment.status is PaymentStatus.FAILED and (payment.will_retry or payment.retry_on is not None)
        if suspends((await policy()).suspend_on, will_be_retried=again):
            await memberships.move(work, membership, FEE_CAUSES[payment.status], because=because)
    elif payment.status is PaymentStatus.CANCELLED:
        await fees.ask_anew(work, membership, payment)
        await memberships.follow_instruction(work, membership, because=because)
    elif payment.status in RECEIVED and membership.status is Status.PENDING:
        await memberships.move(work, membership, Cause.FIRST_PAYMENT_MADE, because=because)
    elif payment.status in RECEIVED:
        await memberships.made_good(work, membership, Cause.PAYMENT_MADE_GOOD, because=because)


async def _settle_package(work: Unit, payment: Payment) -> None:
    assert payment.package_id is not None
    if payment.status in RECEIVED:
        await packages.paid(work, payment.package_id)
    elif payment.status in (*MISSED, PaymentStatus.CANCELLED):
        await packages.unpaid(work, payment.package_id)


async def payment_fact(fact: PaymentFact, *, acting: str, at: datetime) -> bool:
    """Settle what a provider tells of a payment -> whether it is one of ours and news; others' are left alone."""
    payment = await asking.known(Payment, fact.provider, ours=fact.payment_reference, theirs=fact.external_id)
    if payment is None or await _beside(payment, fact, acting=acting, at=at):
        return False
    return await settle(
        payment.id,
        fact.outcome,
        reference=fact.external_id,
        failure=fact.cause if fact.outcome in UNPAID else None,
        will_retry=fact.will_attempt_retry,
        acting=acting,
        at=at,
    )


async def _beside(payment: Payment, fact: PaymentFact, *, acting: str, at: datetime) -> bool:
    """Whether news is of another collection under our id, beside the one that stands: a person is asked at once.

    One that takes the place of a collection that is over is ours.
    """
    if payment.reference in (None, fact.external_id):
        return False
    if fact.outcome in UNPAID:
        return True  # it is the other one that is over
    if payment.status not in STANDS:
        return False
    async with unit(acting=acting, at=at) as work:
        why = f"the provider has {fact.external_id} under our name as well"
        await asking.ask_a_person(work, await _locked(payment.id), why)
    return True


async def to_ask_about(limit: int = 100) -> list[tuple[Payment, Collection]]:
    """Payments whose outcome should be known by now, and how each was ordered, oldest first."""
    return [(each, await order_of(each)) for each in await asking.overdue(Payment, limit)]


async def notify_missed(payment_id: UUID, *, acting: str, at: datetime) -> Message | None:
    """Write the message about a missed payment, once per attempt (R44) -> it and its reader, or None if sent."""
    async with unit(acting=acting, at=at):
        payment = await Payment.known(id=payment_id)
        return await notifications.write(
            payment.user_id,
            kind="PAYMENT_FAILED",
            cause=f"payment:{payment.id}:{payment.attempts}",
            text=(
                f"a payment due on {payment.due_on:%d %B %Y} could not be taken. "
                "Please get in touch with your centre, or try another way to pay."
            ),
        )
