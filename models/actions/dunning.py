"""After a failure: when a payment is asked for again, by the policy's calendar or by hand, and by which instruction."""

from datetime import date, datetime
from uuid import UUID

from models.actions import asking, endings, fees, late_money, memberships, owed
from models.actions.billing_policy import policy
from models.actions.charges import raise_payment
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.dunning import SuspendOn, next_attempt
from models.rules.events import PaymentDue
from models.rules.lifecycle import TERMINAL, Cause
from models.rules.money import Money
from models.rules.refusals import Code, Refusal
from models.rules.states import JobState, MandateStatus, PaymentStatus, Provider
from models.tables.audit import AuditEntry
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment


async def is_over(payment: Payment) -> bool:
    """Whether the membership a fee is for has ended, or will before its period, and no other took over from it.

    What settles arrears goes on.
    """
    if payment.membership_id is None or payment.period_start is None:
        return False
    membership = await Membership.one(id=payment.membership_id)
    if membership is None:
        return False
    return endings.stopped(payment, membership) or (await memberships.heir(membership)).status in TERMINAL


async def next_try(work: Unit, payment: Payment, status: PaymentStatus, *, will_retry: bool) -> date | None:
    """The day a locked fee that came to a status is asked for again; None where it is not, or by its provider.

    Each day of the calendar is used once: the audit tells how many were.
    """
    if status is not PaymentStatus.FAILED or will_retry or payment.membership_id is None or await is_over(payment):
        return None
    planned = AuditEntry.filter(verb=late_money.SETTLED, subject_id=payment.id)
    used = sum("retry_on" in (entry.after or {}) for entry in await planned)
    today = await fees.today_of(await Membership.known(id=payment.membership_id), work)
    return next_attempt(used + 1, today, (await policy()).retry_after)


@repeated
async def retry_payment(payment_id: UUID, *, acting: str, at: datetime) -> Payment:
    """Ask again for a failed fee or package. Raises Refusal NOT_FOUND, PAYMENT_NOT_RETRYABLE, NO_MANDATE.

    A released booking's charge is not asked for again, nor what the provider itself will retry. Where the direct debit
    was replaced, another payment asks for it by the new one.
    """
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment_id)
        if payment.status is not PaymentStatus.FAILED or payment.booking_id:
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, f"The payment is {payment.status}.", field=("paymentId",))
        if await is_over(payment):
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, "Its membership has ended.", field=("paymentId",))
        if await asked_for(payment):
            raise Refusal(Code.PAYMENT_NOT_RETRYABLE, "It is being asked for already.", field=("paymentId",))
        if not await _again(work, payment):
            raise Refusal(Code.NO_MANDATE, field=("paymentId",))
    return payment


async def due(at: datetime, limit: int = 500) -> list[UUID]:
    """Failed payments whose day to be asked for again has come at their centre, so many of each zone."""
    found: list[UUID] = []
    for zone, today in (await fees.today_everywhere(at)).items():
        waiting = Payment.filter(status=PaymentStatus.FAILED, retry_on__lte=today, membership__centre__zone=zone)
        found += await waiting.order_by("retry_on", "id").limit(limit).values_list("id", flat=True)  # type: ignore[arg-type]  # flat
    return found


@repeated
async def retry_as_planned(payment_id: UUID, *, acting: str, at: datetime) -> None:
    """Ask again for a failed payment because its day has come; where nothing can pay it, it stays owed."""
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment_id)
        if payment.status is not PaymentStatus.FAILED or payment.retry_on is None or payment.membership_id is None:
            return
        if payment.retry_on > await fees.today_of(await Membership.known(id=payment.membership_id), work):
            return
        needless = await is_over(payment) or await asked_for(payment)
        if needless or not await _again(work, payment):
            payment.retry_on = None
            await payment.save(update_fields=["retry_on"])
            work.audit("give_up_retry", payment)
            if not needless:
                await _given_up(work, payment)


async def asked_for(payment: Payment) -> bool:
    """Whether a missed payment is asked for again already: by its provider itself, or by a job of ours."""
    waiting = (JobState.READY, JobState.LEASED)
    return payment.will_retry or await Job.exists(subject=f"payments.retry:{payment.id}", state__in=waiting)


async def _again(work: Unit, payment: Payment) -> bool:
    """Ask again for a locked, failed payment -> False where its direct debit is no more and no other took its place."""
    mandate = await _pays_now(payment)
    if payment.provider is Provider.GOCARDLESS and (mandate is None or mandate.status is not MandateStatus.ACTIVE):
        return False
    if mandate is not None and mandate.id != payment.mandate_id and payment.reference is not None:
        await _by_another(work, payment, mandate)
        return True
    payment.retry_on = None
    if payment.reference is None:
        payment.status, payment.mandate_id = PaymentStatus.DUE, mandate.id if mandate else None
        await payment.save(update_fields=["status", "retry_on", "mandate_id"])
        work.emit(PaymentDue(payment_id=payment.id, user_id=payment.user_id))
    else:
        payment.attempts += 1
        await payment.save(update_fields=["attempts", "retry_on"])
        payload = {"payment_id": payment.id, "key": f"payment:{payment.id}:retry:{payment.attempts}"}
        work.job("payments.retry", payload=payload, subject=f"payments.retry:{payment.id}", user_id=payment.user_id)
    work.audit("retry_payment", payment, after={"attempts": payment.attempts})
    return True


async def _pays_now(payment: Payment) -> Mandate | None:
    """The direct debit that pays what a payment was for: its membership's by now, else its own."""
    if payment.provider is not Provider.GOCARDLESS:
        return None
    membership = await Membership.one(id=payment.membership_id) if payment.membership_id else None
    mandate_id = (await memberships.heir(membership)).mandate_id if membership else payment.mandate_id
    return await Mandate.one(id=mandate_id) if mandate_id else None


async def _by_another(work: Unit, payment: Payment, mandate: Mandate) -> None:
    """Its provider keeps a collection on the instruction it was made on: another payment asks for it by the new one."""
    work.audit("retry_payment", payment, after={"mandate": mandate.id})
    fresh = await raise_payment(
        work,
        user_id=payment.user_id,
        purpose=payment.purpose,
        membership_id=payment.membership_id,
        price=Money(payment.amount, payment.currency),
        due_on=work.at.date(),
        mandate=mandate,
    )
    await owed.carry(work, [payment], fresh)


async def to_retry(payment_id: UUID) -> tuple[Provider, str] | None:
    """(provider, its reference) of a payment that is still failed, or None where it is not any more."""
    payment = await Payment.known(id=payment_id)
    if payment.status is not PaymentStatus.FAILED or payment.reference is None or await is_over(payment):
        return None
    return payment.provider, payment.reference


@repeated
async def not_retried(payment_id: UUID, *, acting: str, at: datetime) -> bool:
    """The provider refused to ask again for a payment -> whether another one asks for it, by a new instruction."""
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment_id)
        mandate = await _pays_now(payment)
        usable = mandate is not None and mandate.status is MandateStatus.ACTIVE and mandate.id != payment.mandate_id
        if payment.status is not PaymentStatus.FAILED or payment.membership_id is None:
            return False
        if usable:
            assert mandate is not None
            await _by_another(work, payment, mandate)
        else:
            await _given_up(work, payment)
    return usable


async def _given_up(work: Unit, payment: Payment) -> None:
    """Nobody asks for a locked, failed fee any more: that suspends, where its failure did not as it was to be retried.

    Where it suspended at once a person may have lifted that since.
    """
    awaited = (await policy()).suspend_on is SuspendOn.RETRIES_EXHAUSTED
    if awaited and payment.membership_id:
        membership = await memberships.heir(await memberships.locked(payment.membership_id))
        await memberships.move(work, membership, Cause.PAYMENT_FAILED, because=(f"payment {payment.id}",))
