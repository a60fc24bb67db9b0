"""Money in and back out: the key is stored before the provider is asked, and an answer that was lost is looked up."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog

from models.actions import asking, dunning, endings, fee_calendar, jobs, payments, refunds
from models.actions.asking import Attempt
from models.ports import (
    CONFLICT,
    Collected,
    Collection,
    OutcomeUnknown,
    PaymentGateway,
    Refunded,
    RefundOrder,
    Refused,
    Unavailable,
)
from models.rules.states import PaymentOutcome, PaymentStatus, Provider, RefundOutcome
from models.tables.payment import Payment, Refund
from workers.work import Unfinished, Work

Order = TypeVar("Order")
Answer = TypeVar("Answer")
log = structlog.get_logger("dueflow.payments")
Away = dict[Provider, Unavailable]
_FALLEN = (PaymentOutcome.FAILED, PaymentOutcome.CANCELLED)


async def collect(work: Work) -> None:
    """Ask for a due payment once; its webhook, or `ask`, says what became of it."""
    payment_id = UUID(work.job.payload["payment_id"])
    attempt = await payments.begin_collection(payment_id, acting=work.acting, at=work.now)
    if attempt is None:
        return
    gateway = await work.providers.payments(attempt.provider)
    renew = partial(payments.fresh_key, payment_id, acting=work.acting, at=work.now)
    try:
        collected = await _found_or_made(attempt, gateway.look_up, gateway.collect, renew)
    except OutcomeUnknown as lost:
        await payments.outcome_unknown(payment_id, code=lost.code, acting=work.acting, at=work.now)
        raise
    except Refused as refused:
        if refused.code == CONFLICT:  # ours may have been taken, or not: it has not failed
            await payments.outcome_unknown(payment_id, code=refused.code, acting=work.acting, at=work.now)
            raise
        await payments.settle(
            payment_id,
            PaymentOutcome.FAILED,
            failure=refused.code,
            only_from=payments.COLLECTABLE,
            acting=work.acting,
            at=work.now,
        )
        return
    await _record(work, payment_id, collected, payments.COLLECTABLE)


async def refund(work: Work) -> None:
    """Give money back once; its webhook, or `ask`, says what became of it."""
    refund_id = UUID(work.job.payload["refund_id"])
    attempt = await refunds.begin_refund(refund_id, acting=work.acting, at=work.now)
    if attempt is None:
        return
    gateway = await work.providers.payments(attempt.provider)
    renew = partial(refunds.fresh_key, refund_id, acting=work.acting, at=work.now)
    try:
        refunded = await _found_or_made(attempt, gateway.find_refund, gateway.refund, renew)
    except OutcomeUnknown as lost:
        await refunds.outcome_unknown(refund_id, code=lost.code, acting=work.acting, at=work.now)
        raise
    except Refused as refused:
        if refused.code == CONFLICT:
            await refunds.outcome_unknown(refund_id, code=refused.code, acting=work.acting, at=work.now)
            raise
        await refunds.settle(refund_id, RefundOutcome.FAILED, failure=refused.code, acting=work.acting, at=work.now)
        return
    await _record_refund(work, refund_id, refunded)


async def _found_or_made(
    attempt: Attempt[Order],
    find: Callable[[Order], Awaitable[Answer | None]],
    make: Callable[[Order], Awaitable[Answer]],
    renew: Callable[[], Awaitable[Order]],
) -> Answer:
    order = attempt.order
    if attempt.look_first:
        try:
            found = await find(order)
        except Refused as refused:
            if refused.code == CONFLICT:
                raise
            # that says nothing of what the earlier attempt did
            raise OutcomeUnknown(f"It cannot be looked up: {refused}", code=refused.code) from refused
        if found is not None:
            return found
        if attempt.answered_error:
            # the provider keeps its 5xx answer under the old key, and surely has nothing of ours
            order = await renew()
    return await make(order)


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
        await _settle(work, payment_id, collected)


async def _settle(work: Work, payment_id: UUID, known: Collected) -> None:
    """A payment becomes what its provider says, where that is certain."""
    if known.outcome is not None:
        await payments.settle(
            payment_id,
            known.outcome,
            failure=known.failure,
            will_retry=known.will_retry,
            acting=work.acting,
            at=work.now,
        )


async def _record_refund(work: Work, refund_id: UUID, refunded: Refunded) -> None:
    """The same for a refund."""
    settle = partial(refunds.settle, refund_id, acting=work.acting, at=work.now)
    await settle(RefundOutcome.SUBMITTED, reference=refunded.reference)
    if refunded.outcome is RefundOutcome.FAILED:
        await settle(refunded.outcome, failure=refunded.failure)


async def cancel(work: Work) -> None:
    """Have a payment that is not owed any more not taken, where its provider can still stop it (R48).

    What became of it is looked up first: an earlier attempt to take it, or to stop it, may have arrived.
    """
    payment_id = UUID(work.job.payload["payment_id"])
    payment = await endings.to_stop(payment_id)
    if payment is None:
        return
    gateway = await work.providers.payments(payment.provider)
    settle = partial(payments.settle, payment_id, acting=work.acting, at=work.now)
    try:
        known = await _there(gateway, payment)
        if known is None:
            await settle(PaymentOutcome.CANCELLED, only_from=payments.COLLECTABLE)
            return
        await settle(PaymentOutcome.SUBMITTED, reference=known.reference, only_from=payments.COLLECTABLE)
        if known.outcome in (None, PaymentOutcome.SUBMITTED):
            known = await gateway.cancel(known.reference, f"{payment.key}:cancel:{work.job.token}")
    except (Refused, OutcomeUnknown) as failed:
        await endings.not_stopped(payment_id, why=failed.code, acting=work.acting, at=work.now)
        if isinstance(failed, OutcomeUnknown):
            raise
        return
    await _settle(work, payment_id, known)


async def _there(gateway: PaymentGateway, payment: Payment) -> Collected | None:
    """A payment as its provider has it; None where there surely is none."""
    if payment.reference is not None:
        return await gateway.status(payment.reference)
    try:
        return await gateway.look_up(await payments.order_of(payment))
    except Refused as refused:  # that says nothing of what the attempt to collect did
        raise OutcomeUnknown(f"It cannot be looked up: {refused}", code=refused.code) from refused


async def retry(work: Work) -> None:
    """Ask again for a failed payment under its own reference."""
    payment_id = UUID(work.job.payload["payment_id"])
    order = await dunning.to_retry(payment_id)
    if order is None:
        return
    provider, reference = order
    gateway = await work.providers.payments(provider)
    key = work.job.payload["key"]
    try:
        collected = await gateway.retry(reference, key)
    except OutcomeUnknown as lost:
        if lost.code == asking.ANSWERED_ERROR:  # which would be repeated under that key
            fresh = f"{':'.join(key.split(':')[:4])}:{work.job.token}"
            await jobs.remember(work.job, {**work.job.payload, "key": fresh})
        raise
    except Refused:
        if await dunning.not_retried(payment_id, acting=work.acting, at=work.now):
            return
        raise
    await _record(work, payment_id, collected, frozenset({PaymentStatus.FAILED}))


async def raise_fees(work: Work) -> None:
    """Ask for the fees whose period is near; the rest of many in another turn."""
    if await fee_calendar.raise_fees(acting=work.acting, at=work.now):
        raise Unfinished


async def retry_due(work: Work) -> None:
    """Ask again for failed payments whose day has come (R40)."""
    fault: Exception | None = None
    for payment_id in await dunning.due(work.now):
        try:
            await dunning.retry_as_planned(payment_id, acting=work.acting, at=work.now)
        except Exception as failed:  # told below, once the others have their turn
            fault = fault or failed
    if fault is not None:
        raise fault


async def ask(work: Work) -> None:
    """Ask about payments and refunds whose news should have come by now; a provider that is away holds up no other."""
    away: Away = {}
    for payment, order in await payments.to_ask_about():
        await _asked(work, payment, partial(_settle_payment, work, payment, order), away)
    for made, ordered in await refunds.to_ask_about():
        await _asked(work, made, partial(_settle_refund, work, made, ordered), away)
    for error in away.values():
        raise error


async def _asked(
    work: Work, row: Payment | Refund, settle: Callable[[PaymentGateway], Awaitable[None]], away: Away
) -> None:
    if row.provider in away:
        return
    try:
        await settle(await work.providers.payments(row.provider))
    except Unavailable as error:
        away[row.provider] = error
        return
    except Refused as refused:  # it cannot tell: the others are asked all the same
        log.warning("outcome not told", id=str(row.id), provider=row.provider.value, code=refused.code)
    await asking.asked(row, acting=work.acting, at=work.now)


async def _settle_payment(work: Work, payment: Payment, order: Collection, gateway: PaymentGateway) -> None:
    known = await (gateway.status(payment.reference) if payment.reference else gateway.look_up(order))
    if known is None:
        return
    if payment.status in payments.COLLECTABLE:
        await payments.settle(
            payment.id,
            PaymentOutcome.SUBMITTED,
            reference=known.reference,
            only_from=payments.COLLECTABLE,
            acting=work.acting,
            at=work.now,
        )
    await _settle(work, payment.id, known)


async def _settle_refund(work: Work, made: Refund, order: RefundOrder, gateway: PaymentGateway) -> None:
    known = await (gateway.refund_status(made.reference) if made.reference else gateway.find_refund(order))
    if known is not None:
        settle = partial(refunds.settle, made.id, acting=work.acting, at=work.now)
        await settle(known.outcome or RefundOutcome.SUBMITTED, reference=known.reference, failure=known.failure)
