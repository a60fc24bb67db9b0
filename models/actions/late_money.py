"""Money that comes for what another payment asks for by now, or nobody: it was received, and may be lost again."""

from uuid import UUID

from models.rules.states import RECEIVED, PaymentStatus, RefundStatus
from models.tables.audit import AuditEntry
from models.tables.payment import Payment, Refund

SETTLED = "settle_payment"


async def taken_twice(payment: Payment, before: PaymentStatus) -> str | None:
    """(a payment as it is to stand, where it stood) -> why its money is not owed, None where it is."""
    if payment.status not in RECEIVED:
        return None
    if before is PaymentStatus.WRITTEN_OFF:
        return "it came after it was written off"
    carrier = await _asks(payment.carried_by_id)
    return f"it came although payment {carrier.id} asks for it too" if carrier else None


async def stands_again(payment: Payment) -> tuple[PaymentStatus, UUID | None] | None:
    """Where a locked payment whose money was lost again stands, and who carries it; None where it is owed.

    Before its money came it was written off, or another payment asked for it, which still does or did.
    """
    told = AuditEntry.filter(verb=SETTLED, subject_id=payment.id).order_by("-id")
    came = next((each for each in await told if each.before["status"] not in RECEIVED), None)
    if came is None or came.after["status"] not in RECEIVED:
        return None
    if came.before["status"] == PaymentStatus.WRITTEN_OFF:
        return PaymentStatus.WRITTEN_OFF, None
    carrier = await _asks(came.before.get("carried_by"))
    return (PaymentStatus.CARRIED, carrier.id) if carrier else None


async def _asks(carrier_id: UUID | str | None) -> Payment | None:
    """The payment that asks for what it carries, or had it; None where it was cancelled, or gave money back."""
    carrier = await Payment.one(id=carrier_id) if carrier_id else None
    if carrier is None or carrier.status is PaymentStatus.CANCELLED:
        return None
    given_back = Refund.filter(payment_id=carrier.id).exclude(status=RefundStatus.FAILED)
    return None if await given_back.exists() else carrier
