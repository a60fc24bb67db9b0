"""The one place where money begins to be owed: a payment's row, its key, and the job that collects it."""

from datetime import date
from typing import Any
from uuid import UUID

from models.actions import ledger
from models.actions.unit import Unit
from models.rules.events import PaymentDue, PaymentUpdated
from models.rules.money import Money
from models.rules.states import PaymentPurpose, PaymentStatus, Provider
from models.tables.membership import Mandate
from models.tables.payment import Payment
from models.tables.row import new_id


async def raise_payment(
    work: Unit,
    *,
    user_id: UUID,
    purpose: PaymentPurpose,
    price: Money,
    due_on: date,
    mandate: Mandate | None,
    status: PaymentStatus = PaymentStatus.DUE,
    **of: Any,
) -> Payment:
    """Write that a user owes a price on a day, by a direct debit or by the card on file, and have it collected.

    One that is CARRIED from the start rides on the next fee. `of` names what it is for, as columns of Payment.
    """
    payment_id = new_id()
    payment = await Payment.create(
        id=payment_id,
        user_id=user_id,
        purpose=purpose,
        mandate_id=mandate.id if mandate else None,
        provider=Provider.GOCARDLESS if mandate else Provider.STRIPE,
        amount=price.minor_units,
        currency=price.currency,
        due_on=due_on,
        status=status,
        key=f"payment:{payment_id}:1",
        **of,
    )
    await ledger.charged(work, payment)
    told = PaymentDue if status is PaymentStatus.DUE else PaymentUpdated
    work.emit(told(payment_id=payment.id, user_id=payment.user_id))
    return payment
