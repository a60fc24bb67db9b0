"""What the end of a membership does to its money (R48).

What was never asked for is dropped; what its provider can still stop is stopped; what was taken, or may yet be, waits
in the review list for a person to give it back. The payments of a membership are locked before it, as everywhere.
"""

from collections.abc import Collection
from datetime import date, datetime
from uuid import UUID

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from models.actions import asking, ledger
from models.actions.unit import Unit, lease, unit
from models.rules.events import PaymentUpdated
from models.rules.fees import no_longer_owed
from models.rules.lifecycle import Cause
from models.rules.states import RECEIVED, JobState, PaymentStatus, ReviewKind, ReviewState
from models.tables.audit import AuditEntry
from models.tables.coursepro import ReviewItem
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.payment import Payment

OPEN = frozenset({PaymentStatus.DUE, PaymentStatus.SUBMITTED, PaymentStatus.UNKNOWN})
ANNOUNCED = "announce_end"


async def lock_payments(membership_id: UUID) -> None:
    """Hold what a membership owes and paid until the transaction ends; call it before the membership is locked."""
    held = Payment.filter(membership_id=membership_id, status__in=OPEN | RECEIVED | {PaymentStatus.CARRIED})
    await held.select_for_update().order_by("id")


def stopped(payment: Payment, membership: Membership) -> bool:
    """Whether a fee may not be taken any more."""
    return no_longer_owed(membership.status, membership.reason, membership.ends_on, payment.period_start)


async def over(payment: Payment) -> bool:
    """Whether a payment is for a membership whose end stops it."""
    membership = await Membership.one(id=payment.membership_id) if payment.membership_id else None
    return membership is not None and stopped(payment, membership)


async def stop(work: Unit, membership: Membership) -> None:
    """Stop what is not owed any more of a locked membership, and have reviewed what was taken for later days."""
    for payment in await Payment.filter(membership_id=membership.id, status__in=OPEN).order_by("id"):
        if not stopped(payment, membership):
            continue
        if payment.status is PaymentStatus.DUE and payment.attempts == 0:
            await drop(work, payment)
            continue
        if payment.status is not PaymentStatus.SUBMITTED:
            await review(work, payment, "nobody knows whether it was asked for")
        await ask_to_stop(work, payment)
    await drop_later(work, membership)
    if membership.reason != Cause.COURSE_MOVED:
        for payment in await _later(membership).filter(status__in=RECEIVED).order_by("id"):
            await review(work, payment, f"its period begins after {membership.ends_on}")


async def drop_later(work: Unit, membership: Membership) -> None:
    """Cancel what rides on the next fee of a locked membership and is for days after its end.

    What took over from a membership lives on its fees.
    """
    if membership.reason == Cause.COURSE_MOVED or membership.ends_on is None:
        return
    rides = Q(carried_by_id__isnull=True) | Q(carried_by__status=PaymentStatus.CANCELLED)
    for payment in await _later(membership).filter(rides, status=PaymentStatus.CARRIED).order_by("id"):
        await drop(work, payment)


def _later(membership: Membership) -> QuerySet[Payment]:
    """The fees of a membership for days after its end."""
    return Payment.filter(membership_id=membership.id, period_start__gte=membership.ends_on)


async def announce(work: Unit, membership: Membership, cause: Cause, day: date, because: tuple[str, ...]) -> None:
    """The course of a locked membership will end on a day to come: until then it stands, for later days none is owed.

    An end that comes sooner by itself stays.
    """
    if membership.ends_on is not None and membership.ends_on <= day:
        return
    before, membership.ends_on = membership.ends_on, max(day, membership.starts_on)
    await membership.save(update_fields=["ends_on"])
    after = {"ends_on": membership.ends_on, "cause": cause}
    work.audit(ANNOUNCED, membership, before={"ends_on": before}, after=after, because=[cause, *because])
    await stop(work, membership)


async def announced(membership_ids: Collection[UUID]) -> dict[UUID, Cause]:
    """Why the memberships among these end whose end was announced, by the newest word about each."""
    told = AuditEntry.filter(verb=ANNOUNCED, subject_id__in=list(membership_ids)).order_by("id")
    return {entry.subject_id: Cause(entry.after["cause"]) for entry in await told}


async def drop(work: Unit, payment: Payment, *, verb: str = "drop_fee") -> None:
    """Cancel a locked payment nobody was asked for."""
    before, payment.status = payment.status, PaymentStatus.CANCELLED
    payment.carried_by_id = None
    await payment.save(update_fields=["status", "carried_by_id"])
    await ledger.moved(work, payment, before)
    work.audit(verb, payment, after={"status": payment.status})
    work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))


async def ask_to_stop(work: Unit, payment: Payment) -> None:
    """Have a worker stop a payment that is, or may be, with its provider: after the one that may be asking for it."""
    held, subject = lease.get(), f"payments.collect:{payment.id}"
    about_it = Job.filter(subject=subject, kind="payments.cancel")
    if not await about_it.filter(Q(state=JobState.READY) | Q(id=held.job_id if held else None)).exists():
        ids = {"payment_id": payment.id}
        work.job("payments.cancel", payload=ids, subject=subject, user_id=payment.user_id)


async def follow(work: Unit, payment: Payment) -> None:
    """What became of a payment is news, and its membership has ended: stop it, have it reviewed, or rest."""
    if payment.status is PaymentStatus.SUBMITTED:
        await ask_to_stop(work, payment)
    elif payment.status in RECEIVED:
        await review(work, payment, "it was taken after the end")
    else:
        await nothing_to_give_back(work, payment)


async def to_stop(payment_id: UUID) -> Payment | None:
    """A payment its provider is to be asked to stop, or None where there is nothing to stop any more."""
    payment = await Payment.known(id=payment_id)
    return payment if payment.status in OPEN and await over(payment) else None


async def not_stopped(payment_id: UUID, *, why: str, acting: str, at: datetime) -> None:
    """The provider could not stop a payment, or did not answer: a person is to look at it."""
    async with unit(acting=acting, at=at) as work:
        payment = await asking.locked(payment_id)
        if payment.status in OPEN | RECEIVED:
            await review(work, payment, why)


async def review(work: Unit, payment: Payment, why: str) -> None:
    """Have a person decide on a locked payment, once: what was decided is not asked again."""
    known = _about(payment).exclude(state=ReviewState.DROPPED)
    if await known.exists():
        return
    item = await ReviewItem.create(
        kind=ReviewKind.REFUND_REVIEW,
        provider=payment.provider,
        subject=str(payment.id),
        user_id=payment.user_id,
        evidence={
            "membership_id": str(payment.membership_id),
            "amount": payment.amount,
            "currency": payment.currency,
            "period_start": payment.period_start.isoformat() if payment.period_start else None,
            "status": payment.status.value,
            "why": why,
        },
    )
    await ledger.respread(work, payment)
    work.audit("review_refund", item, after={"payment_id": payment.id, "status": payment.status}, because=[why])


async def nothing_to_give_back(work: Unit, payment: Payment) -> None:
    """A payment's money did not come, or is lost again: what was asked about it does not matter any more."""
    for item in await _about(payment).filter(state=ReviewState.OPEN):
        await _answer(work, item, ReviewState.DROPPED, f"payment {payment.status}")


async def refund_asked_for(work: Unit, payment: Payment, refund_id: UUID) -> None:
    """A person gives money of a locked payment back: that is the answer to the question about it, if there is one."""
    for item in await _about(payment).filter(state=ReviewState.OPEN):
        await _answer(work, item, ReviewState.SETTLED, f"refund {refund_id}")


async def refund_failed(work: Unit, payment: Payment, refund_id: UUID) -> None:
    """The money that was to go back did not: the question is open again."""
    for item in await _about(payment).filter(state=ReviewState.SETTLED, answer=f"refund {refund_id}"):
        await _answer(work, item, ReviewState.OPEN, None)


async def _answer(work: Unit, item: ReviewItem, state: ReviewState, answer: str | None) -> None:
    before, item.state, item.answer = item.state, state, answer
    await item.save(update_fields=["state", "answer"])
    work.audit("review_answered", item, before={"state": before}, after={"state": state, "answer": answer})


def _about(payment: Payment) -> QuerySet[ReviewItem]:
    return ReviewItem.filter(kind=ReviewKind.REFUND_REVIEW, provider=payment.provider, subject=str(payment.id))
