"""Collecting money: the key is stored before the provider is asked, and an answer that was lost is looked up."""

from uuid import UUID

from models.actions import payments
from models.actions.payments import Attempt
from models.ports import Collected, OutcomeUnknown, PaymentGateway, Refused
from models.rules.states import PaymentOutcome, PaymentStatus
from workers.work import Work

_FALLEN = (PaymentOutcome.FAILED, PaymentOutcome.CANCELLED)


async def collect(work: Work) -> None:
    """Ask for a due payment once; its webhook, or `ask`, says what became of it."""
    payment_id = UUID(work.job.payload["payment_id"])
    attempt = await payments.begin_collection(payment_id, acting=work.acting, at=work.now)
    if attempt is None:
        return
    gateway = await work.providers.payments(attempt.provider)
    try:
        collected = await _found_or_collected(work, payment_id, gateway, attempt)
    except OutcomeUnknown as lost:
        await payments.outcome_unknown(payment_id, code=lost.code, acting=work.acting, at=work.now)
        raise
    except Refused as refused:
        await payments.settle(
            payment_id, PaymentOutcome.FAILED, failure=refused.code[:60], acting=work.acting, at=work.now
        )
        return
    await _record(work, payment_id, collected, payments.COLLECTABLE)


async def _found_or_collected(work: Work, payment_id: UUID, gateway: PaymentGateway, attempt: Attempt) -> Collected:
    order = attempt.order
    if attempt.look_first:
        found = await gateway.look_up(order)
        if found is not None:
            return found
        if attempt.answered_error:
            # the provider keeps its 5xx answer under the old key, and surely has no collection of ours
            order = await payments.fresh_key(payment_id, acting=work.acting, at=work.now)
    return await gateway.collect(order)


async def _record(work: Work, payment_id: UUID, collected: Collected, asked_in: frozenset[PaymentStatus]) -> None:
    """Success is only believed from the provider's own news; a refusal in the answer is final at once."""
    await payments.settle(
        payment_id,
        PaymentOutcome.SUBMITTED,
        reference=collected.reference,
        only_from=asked_in,
        acting=work.acting,
        at=work.now,
    )
    if collected.outcome in _FALLEN:
        await payments.settle(payment_id, collected.outcome, failure=collected.failure, acting=work.acting, at=work.now)


async def retry(work: Work) -> None:
    """Ask again for a failed payment under its own reference."""
    payment_id = UUID(work.job.payload["payment_id"])
    order = await payments.to_retry(payment_id)
    if order is None:
        return
    provider, reference = order
    gateway = await work.providers.payments(provider)
    collected = await gateway.retry(reference, work.job.payload["key"])
    await _record(work, payment_id, collected, frozenset({PaymentStatus.FAILED}))


async def ask(work: Work) -> None:
    """Ask providers about payments whose news should have come by now."""
    for payment in await payments.to_ask_about():
        assert payment.reference is not None
        gateway = await work.providers.payments(payment.provider)
        status = await gateway.status(payment.reference)
        if status.outcome is not None:
            await payments.settle(payment.id, status.outcome, failure=status.failure, acting=work.acting, at=work.now)
        await payments.asked(payment.id)
