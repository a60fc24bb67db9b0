"""Money given back: never more than was received, asked for once, settled once, whoever brings the news first.

A payment's row is locked before its refunds are read or written, so they are counted one at a time.
"""

from datetime import datetime
from uuid import UUID

from models.actions import asking, endings, ledger
from models.actions.asking import Attempt
from models.actions.unit import Unit, unit
from models.ports import CONFLICT, RefundOrder
from models.rules import states
from models.rules.events import RefundDue, RefundUpdated
from models.rules.facts import RefundFact
from models.rules.money import decimal_text
from models.rules.refusals import Code, Refusal
from models.rules.states import REFUND_OPEN, RefundOutcome, RefundStatus, refund_settled
from models.tables.payment import Payment, Refund
from models.tables.row import new_id

MADE_THERE = "made at the provider"
NOT_RECEIVED = "PAYMENT_NOT_RECEIVED"  # between the wish and its sending the payment failed, or was taken back
_COUNTED_THERE = (RefundStatus.SUBMITTED, RefundStatus.SUCCEEDED)


async def refundable(payment_id: UUID) -> int:
    """A payment -> what may still be given back of it, in minor units. Raises Refusal NOT_FOUND."""
    payment = await Payment.one(id=payment_id)
    if payment is None:
        raise Refusal(Code.NOT_FOUND, field=("paymentId",))
    return await _left(payment)


async def refund(work: Unit, payment_id: UUID, amount: int, *, reason: str) -> Refund:
    """Give back `amount` minor units of a payment, inside an open unit; a worker asks the provider afterwards.

    The payment is locked here: before its booking, as everywhere. Raises Refusal NOT_FOUND, PAYMENT_NOT_REFUNDABLE
    (nothing was received), REFUND_TOO_LARGE (more than is left), INVALID_INPUT (less than one).    Source: decision 30
    """
    return await _give_back(work, await asking.locked(payment_id), amount, reason)


async def refund_payment(
    payment_id: UUID, *, reason: str, acting: str, at: datetime, amount: int | None = None, currency: str | None = None
) -> Refund:
    """Give back a part of a payment, or all that is left of it. Raises Refusal as `refund`, and CURRENCY_MISMATCH."""
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment_id)
        if currency not in (None, payment.currency):
            found = f"The payment is in {payment.currency}."
            raise Refusal(Code.CURRENCY_MISMATCH, found, field=("amount", "currency"))
        return await _give_back(work, payment, amount, reason)


async def _left(payment: Payment) -> int:
    refunds = await Refund.every(payment_id=payment.id)
    return states.refundable(payment.status, payment.amount, [(each.status, each.amount) for each in refunds])


async def _give_back(work: Unit, payment: Payment, amount: int | None, reason: str) -> Refund:
    if payment.status not in states.RECEIVED:
        raise Refusal(Code.PAYMENT_NOT_REFUNDABLE, f"The payment is {payment.status}.", field=("paymentId",))
    left = await _left(payment)
    wanted = left if amount is None else amount
    if not left or wanted > left:
        found = f"{decimal_text(left, payment.currency)} {payment.currency} is left of this payment."
        raise Refusal(Code.REFUND_TOO_LARGE, found, field=("amount",))
    if wanted < 1:
        raise Refusal(Code.INVALID_INPUT, "A refund is more than nothing.", field=("amount",))
    refund_id = new_id()
    made = await Refund.create(
        id=refund_id,
        payment_id=payment.id,
        user_id=payment.user_id,
        provider=payment.provider,
        amount=wanted,
        currency=payment.currency,
        reason=reason,
        key=f"refund:{refund_id}:1",
    )
    after = {"payment_id": payment.id, "amount": wanted}
    work.audit("refund_payment", made, after=after, because=[reason])
    await endings.refund_asked_for(work, payment, made.id)
    await ledger.refund_moved(work, payment, made, None)
    work.emit(RefundDue(payment_id=payment.id, refund_id=made.id, user_id=made.user_id))
    return made


async def begin_refund(refund_id: UUID, *, acting: str, at: datetime) -> Attempt[RefundOrder] | None:
    """Write down that the provider is about to be asked -> what to ask, or None where nothing is to be given back."""
    async with unit(acting=acting, at=at) as work:
        made, payment = await _locked(refund_id)
        if made.status not in REFUND_OPEN:
            return None
        gone = payment.status not in states.RECEIVED or payment.reference is None
        if made.status is RefundStatus.DUE and made.attempts == 0 and gone:
            before, made.status, made.failure = made.status, RefundStatus.FAILED, NOT_RECEIVED
            await made.save(update_fields=["status", "failure"])
            await ledger.refund_moved(work, payment, made, before)
            work.audit("drop_refund", made, after={"status": made.status, "failure": made.failure})
            _tell(work, made)
            return None
        return await asking.tried(made, await _order(made, payment))


async def _order(made: Refund, payment: Payment) -> RefundOrder:
    others = await Refund.filter(payment_id=payment.id, status__in=_COUNTED_THERE).exclude(id=made.id)
    return RefundOrder(
        refund_id=made.id,
        payment_reference=payment.reference or "",
        key=made.key,
        amount=made.amount,
        currency=made.currency,
        refunded_so_far=sum(other.amount for other in others),
        metadata={"refund_id": str(made.id)},
    )


async def outcome_unknown(refund_id: UUID, *, code: str, acting: str, at: datetime) -> None:
    """The answer was lost: nobody knows whether the money goes back until somebody asks the provider.

    Where the provider has something else under our name, only a person can say what that is.
    """
    async with unit(acting=acting, at=at) as work:
        made, _ = await _locked(refund_id)
        if made.status in REFUND_OPEN and (made.status, made.failure) != (RefundStatus.UNKNOWN, code):
            made.status, made.failure, made.asks = RefundStatus.UNKNOWN, code[: asking.LONGEST_FAILURE], 0
            await made.save(update_fields=["status", "failure", "asks"])
            _tell(work, made)
        if made.status is RefundStatus.UNKNOWN and code == CONFLICT:
            await asking.ask_a_person(work, made, "the provider has something else under our name")


async def fresh_key(refund_id: UUID, *, acting: str, at: datetime) -> RefundOrder:
    """The provider surely has no refund under the old key: store the next one before it is used."""
    async with unit(acting=acting, at=at) as work:
        made, payment = await _locked(refund_id)
        await asking.renew_key(work, made)
        return await _order(made, payment)


async def settle(
    refund_id: UUID,
    outcome: RefundOutcome,
    *,
    acting: str,
    at: datetime,
    reference: str | None = None,
    failure: str | None = None,
) -> bool:
    """What became of a refund, from the provider's answer, its webhook or the janitor -> whether that was news.

    One that fails, even after it succeeded, gave nothing back: its amount may be refunded again.
    """
    async with unit(acting=acting, at=at) as work:
        made, payment = await _locked(refund_id)
        status = refund_settled(made.status, outcome)
        if status is None:
            if reference and made.reference is None:
                made.reference = reference
                await made.save(update_fields=["reference"])
            return False
        before, made.status = made.status, status
        made.reference = reference or made.reference
        made.failure, made.asks = failure[: asking.LONGEST_FAILURE] if failure else None, 0
        await made.save(update_fields=["status", "reference", "failure", "asks"])
        if before is RefundStatus.UNKNOWN:
            await asking.found_out(work, made)
        after = {"status": status, "failure": made.failure}
        work.audit("settle_refund", made, before={"status": before}, after=after)
        if status is RefundStatus.FAILED:
            await endings.refund_failed(work, payment, made.id)
        await ledger.refund_moved(work, payment, made, before)
        _tell(work, made)
    return True


async def refund_fact(fact: RefundFact, *, acting: str, at: datetime) -> None:
    """Settle what a provider tells of a refund; those of others' payments are left alone.

    A refund somebody made at the provider is written down as one of ours, so that what is left stays true; so is
    another one under our id.
    """
    made = await asking.known(Refund, fact.provider, ours=fact.refund_reference, theirs=fact.external_id)
    if made is None or made.reference not in (None, fact.external_id):
        made = await _made_there(fact, acting=acting, at=at)
    if made is not None:
        failure = fact.cause if fact.outcome is RefundOutcome.FAILED else None
        await settle(made.id, fact.outcome, reference=fact.external_id, failure=failure, acting=acting, at=at)


async def _made_there(fact: RefundFact, *, acting: str, at: datetime) -> Refund | None:
    payment = await asking.known(Payment, fact.provider, ours=fact.payment_reference, theirs=fact.payment_external_id)
    if payment is None:
        return None
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment.id)
        made = await Refund.one(provider=fact.provider, reference=fact.external_id)
        if made is not None:
            return made  # another event about it was applied meanwhile
        refund_id = new_id()
        made = await Refund.create(
            id=refund_id,
            payment_id=payment.id,
            user_id=payment.user_id,
            provider=payment.provider,
            amount=fact.amount,
            currency=payment.currency,
            reason=MADE_THERE,
            status=RefundStatus.SUBMITTED,
            key=f"refund:{refund_id}:1",
            reference=fact.external_id,
        )
        after = {"payment_id": payment.id, "amount": made.amount}
        work.audit("refund_seen", made, after=after, because=[MADE_THERE])
        await endings.refund_asked_for(work, payment, made.id)
        await ledger.refund_moved(work, payment, made, None)
        _tell(work, made)
    return made


async def to_ask_about(limit: int = 100) -> list[tuple[Refund, RefundOrder]]:
    """Refunds whose outcome should be known by now, and how each was ordered, oldest first."""
    waiting = await asking.overdue(Refund, limit)
    payments = {payment.id: payment for payment in await Payment.filter(id__in=[each.payment_id for each in waiting])}
    return [(each, await _order(each, payments[each.payment_id])) for each in waiting]


def _tell(work: Unit, made: Refund) -> None:
    work.emit(RefundUpdated(payment_id=made.payment_id, refund_id=made.id, user_id=made.user_id))


async def _locked(refund_id: UUID) -> tuple[Refund, Payment]:
    found = await Refund.known(id=refund_id)
    payment = await asking.locked(found.payment_id)
    return await Refund.known(id=refund_id), payment
