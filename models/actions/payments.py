"""Money: asked for once, settled once, whoever brings the news first (rules of `states.SETTLEMENTS`)."""

from datetime import date, datetime
from uuid import UUID

from models.actions import asking, bookings, cancellations, endings, memberships, notifications, packages
from models.actions.asking import Attempt
from models.actions.asking import locked as _locked
from models.actions.fees import ask_fee
from models.actions.notifications import Message
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.ports import CONFLICT, Collection
from models.rules.events import PaymentDue, PaymentMissed, PaymentUpdated
from models.rules.facts import PaymentFact
from models.rules.lifecycle import TERMINAL, Cause, Status
from models.rules.refusals import Code, Refusal
from models.rules.states import (
    JobState,
    PaymentOutcome,
    PaymentPurpose,
    PaymentStatus,
    Provider,
    settled,
)
from models.tables.course import Course
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment

COLLECTABLE = frozenset({PaymentStatus.DUE, PaymentStatus.UNKNOWN})
ANYWHERE = frozenset(PaymentStatus)
_ARREARS = (PaymentStatus.FAILED, PaymentStatus.CHARGED_BACK)


@repeated
async def collect_fee(membership_id: UUID, *, period_start: date, acting: str, at: datetime) -> Payment:
    """Ask for a membership's fee of the period that begins on a day, by its direct debit; once per period.

    A price that is paid once is asked for before it opens anything, by the card on file where there is no direct debit.
    Raises Refusal NOT_FOUND, PAYMENT_NOT_COLLECTABLE (its standing bills nothing, the fee is zero, no period begins on
    that day or it has its fee), NO_MANDATE, NO_CARD_ON_FILE.        Source: R2, R5, R6, R11, R39, R49
    """
    async with unit(acting=acting, at=at) as work:
        return await ask_fee(work, await memberships.locked(membership_id), period_start)


async def begin_collection(payment_id: UUID, *, acting: str, at: datetime) -> Attempt[Collection] | None:
    """Write down that the provider is about to be asked -> what to ask, or None where nothing is to be collected."""
    async with unit(acting=acting, at=at) as work:
        payment = await _locked(payment_id)
        if payment.status not in COLLECTABLE:
            return None
        ended = await endings.over(payment)
        if payment.status is PaymentStatus.DUE and payment.attempts == 0 and (ended or await _is_over(payment)):
            await endings.drop(work, payment)  # ended before it was asked for: no fee may follow (R49)
            return None
        if ended:
            await endings.ask_to_stop(work, payment)  # an earlier attempt may have reached the provider
            return None
        return await asking.tried(payment, await order_of(payment))


async def _is_over(payment: Payment) -> bool:
    """Whether the membership a fee is for has ended, and no other took over from it."""
    membership = await Membership.get_or_none(id=payment.membership_id) if payment.membership_id else None
    return membership is not None and (await memberships.heir(membership)).status in TERMINAL


async def order_of(payment: Payment) -> Collection:
    """What the provider is asked for, and a payment is found there by."""
    mandate = await Mandate.get_or_none(id=payment.mandate_id) if payment.mandate_id else None
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
            payment.status, payment.failure, payment.asks = PaymentStatus.UNKNOWN, code[:60], 0
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
        status = settled(payment.status, outcome) if payment.status in only_from else None
        if status is None:
            if reference and payment.reference is None:
                payment.reference = reference
                await payment.save(update_fields=["reference"])
            return False
        before, payment.status = payment.status, status
        payment.reference = reference or payment.reference
        payment.failure, payment.will_retry, payment.asks = failure, will_retry, 0
        if before is PaymentStatus.FAILED and status is PaymentStatus.SUBMITTED and only_from is ANYWHERE:
            payment.attempts += 1  # the provider tries again by itself: should that fail too, it is told anew (R44)
        await payment.save(update_fields=["status", "reference", "failure", "will_retry", "attempts", "asks"])
        work.audit("settle_payment", payment, before={"status": before}, after={"status": status, "failure": failure})
        if before is PaymentStatus.UNKNOWN:
            await asking.found_out(work, payment)
        work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))
        if status in _ARREARS:
            work.emit(PaymentMissed(payment_id=payment.id, user_id=payment.user_id))
        if payment.booking_id:
            await _settle_booking(work, payment)
        if payment.membership_id:
            await _settle_membership(work, payment)
        if payment.package_id:
            await _settle_package(work, payment)
    return True


async def _settle_booking(work: Unit, payment: Payment) -> None:
    assert payment.booking_id is not None
    if payment.status in (PaymentStatus.CONFIRMED, PaymentStatus.PAID_OUT):
        await bookings.confirm(work, payment.booking_id)
    elif payment.status in (PaymentStatus.FAILED, PaymentStatus.CANCELLED):
        await cancellations.release(work, payment.booking_id, because=f"payment {payment.status}: {payment.failure}")


FEE_CAUSES: dict[PaymentStatus, Cause] = {
    PaymentStatus.FAILED: Cause.PAYMENT_FAILED,
    PaymentStatus.CHARGED_BACK: Cause.PAYMENT_CHARGED_BACK,
    PaymentStatus.CONFIRMED: Cause.PAYMENT_MADE_GOOD,
    PaymentStatus.PAID_OUT: Cause.PAYMENT_MADE_GOOD,
}


async def _settle_membership(work: Unit, payment: Payment) -> None:
    assert payment.membership_id is not None
    bought = await memberships.locked(payment.membership_id)
    membership = await memberships.heir(bought)
    if payment.status in packages.RECEIVED:
        await packages.sessions_paid(work, bought, holder=membership)
    elif payment.status in (*_ARREARS, PaymentStatus.CANCELLED):
        await packages.sessions_unpaid(work, bought, holder=membership)
    if endings.stopped(payment, membership):
        await endings.follow(work, payment)
        return
    cause = FEE_CAUSES.get(payment.status)
    if cause is None:
        return
    if cause is Cause.PAYMENT_MADE_GOOD:
        if await Payment.filter(membership_id__in=[bought.id, membership.id], status__in=_ARREARS).exists():
            return
        if membership.status is Status.PENDING:
            cause = Cause.FIRST_PAYMENT_MADE
    await memberships.move(work, membership, cause, because=(f"payment {payment.id}",))


async def _settle_package(work: Unit, payment: Payment) -> None:
    assert payment.package_id is not None
    if payment.status in packages.RECEIVED:
        await packages.paid(work, payment.package_id)
    elif payment.status in (*_ARREARS, PaymentStatus.CANCELLED):
        await packages.unpaid(work, payment.package_id)


async def payment_fact(fact: PaymentFact, *, acting: str, at: datetime) -> bool:
    """Settle what a provider tells of a payment -> whether it is one of ours and news; others' are left alone."""
    payment = await asking.known(Payment, fact.provider, ours=fact.payment_reference, theirs=fact.external_id)
    if payment is None:
        return False
    return await settle(
        payment.id,
        fact.outcome,
        reference=fact.external_id,
        failure=fact.cause if fact.outcome in (PaymentOutcome.FAILED, PaymentOutcome.CHARGED_BACK) else None,
        will_retry=fact.will_attempt_retry,
        acting=acting,
        at=at,
    )


async def retry_payment(payment_id: UUID, *, acting: str, at: datetime) -> Payment:
    """Ask again for a failed fee or package. Raises Refusal NOT_FOUND, PAYMENT_NOT_RETRYABLE.

    A released booking's charge is not asked for again, nor what the provider itself will retry.
    """
    async with unit(acting=acting, at=at) as work:
        payment = await _locked(payment_id)
        if payment.status is not PaymentStatus.FAILED or payment.booking_id or payment.will_retry:
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, f"The payment is {payment.status}.", field=("paymentId",))
        if await _is_over(payment):
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, "Its membership has ended.", field=("paymentId",))
        subject = f"payments.retry:{payment.id}"
        if await Job.exists(subject=subject, state__in=(JobState.READY, JobState.LEASED)):
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, "It is being asked for already.", field=("paymentId",))
        if payment.reference is None:
            payment.status = PaymentStatus.DUE
            await payment.save(update_fields=["status"])
            work.emit(PaymentDue(payment_id=payment.id, user_id=payment.user_id))
        else:
            payment.attempts += 1
            await payment.save(update_fields=["attempts"])
            payload = {"payment_id": payment.id, "key": f"payment:{payment.id}:retry:{payment.attempts}"}
            work.job("payments.retry", payload=payload, subject=subject, user_id=payment.user_id)
        work.audit("retry_payment", payment, after={"attempts": payment.attempts})
    return payment


async def to_retry(payment_id: UUID) -> tuple[Provider, str] | None:
    """(provider, its reference) of a payment that is still failed, or None where it is not any more."""
    payment = await Payment.get(id=payment_id)
    if payment.status is not PaymentStatus.FAILED or payment.reference is None or await _is_over(payment):
        return None
    return payment.provider, payment.reference


async def to_ask_about(limit: int = 100) -> list[tuple[Payment, Collection]]:
    """Payments whose outcome should be known by now, and how each was ordered, oldest first."""
    return [(each, await order_of(each)) for each in await asking.overdue(Payment, limit)]


async def notify_missed(payment_id: UUID, *, acting: str, at: datetime) -> Message | None:
    """Write the message about a missed payment, once per attempt (R44) -> it and its reader, or None if sent."""
    async with unit(acting=acting, at=at):
        payment = await Payment.get(id=payment_id)
        return await notifications.write(
            payment.user_id,
            kind="PAYMENT_FAILED",
            cause=f"payment:{payment.id}:{payment.attempts}",
            text=(
                f"a payment due on {payment.due_on:%d %B %Y} could not be taken. "
                "Please get in touch with your centre, or try another way to pay."
            ),
        )
