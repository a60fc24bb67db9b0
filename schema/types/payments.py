"""Payments, and the subscription invoices that are split over classes and shipped."""

from datetime import date, datetime

import strawberry

from models.rules.corrections import CorrectionCause, CorrectionState, Proposal, ShipmentKind
from models.rules.invoicing import Hold, Kind
from models.rules.states import InvoiceStatus, PaymentPurpose, PaymentStatus, Provider, RefundStatus, ShipmentState
from resolvers.reads.declare import Node, all_of, column, entity, of_owner, one, part, parts
from schema.types.shared import Money, NamedValue, Step, money, named_values, steps

_INVOICE_CURRENCY = of_owner("invoice", "invoice_id", "currency")
_ALLOCATION_CURRENCY = of_owner("allocation", "allocation_id", "currency")

_REFUNDED = (
    "SELECT (SELECT coalesce(sum(r.amount), 0)::bigint FROM refund r"
    " WHERE r.payment_id = {parent}.id AND r.status <> 'FAILED') AS minor, {parent}.currency AS currency"
)


@entity("payment", "One obligation, collected at most once.")
class Payment(Node):
    """A payment."""

    user = one("User", "Who pays.")
    purpose: PaymentPurpose = column("What it is for.")
    booking = one("Booking", "The booking it is for.")
    membership = one("Membership", "The membership it is for.")
    package = one("Package", "The package it is for.")
    mandate = one("Mandate", "The direct debit it is taken by.")
    provider: Provider = column("Who collects it.")
    amount: Money = money("How much.")
    status: PaymentStatus = column("Where it stands.")
    due_on: date = column("The day it is due.")
    period_start: date | None = column("The first day of the period it is for.")
    key: str | None = column("The idempotency key sent to the provider; finance only.")
    reference: str | None = column("The provider's id of the collection.")
    attempts: int = column("How often it was tried.")
    failure: str | None = column("The provider's word for why it failed.")
    will_retry: bool = column("Whether the provider tries again by itself.")
    retry_on: date | None = column("The day it is asked for again.")
    carried_by = one("Payment", "The payment that asks for its amount, where it is carried.", on="carried_by_id")
    refunded: Money = part("How much of it is given back, or is to be.", _REFUNDED)
    refunds = all_of("Refund", "What was given back of it, and what failed to be.", on="payment_id")
    created_at: datetime = column("When it was asked for.")
    updated_at: datetime = column("When it last changed.")


@entity("refund", "Money given back of one payment, at most once.")
class Refund(Node):
    """A refund."""

    payment = one("Payment", "Of which payment.")
    user = one("User", "To whom.")
    provider: Provider = column("Who gives it back.")
    amount: Money = money("How much.")
    status: RefundStatus = column("Where it stands.")
    reason: str = column("Why, in the words of who asked for it.")
    key: str | None = column("The idempotency key sent to the provider; finance only.")
    reference: str | None = column("The provider's id of it.")
    attempts: int = column("How often it was tried.")
    failure: str | None = column("The provider's word for why it failed.")
    created_at: datetime = column("When it was asked for.")
    updated_at: datetime = column("When it last changed.")


@strawberry.type(description="A stretch of time, its end left out.")
class Period:
    """[start, end)."""

    start: datetime = column("The first instant inside.", "{row}.period_start")
    end: datetime = column("The first instant no longer inside.", "{row}.period_end")


@entity("invoice", "A subscription invoice, mirrored from the card provider.")
class Invoice(Node):
    """An invoice."""

    provider: Provider = column("Where it was made.")
    external_id: str = column("Its id there.")
    number: str | None = column("Its number there.")
    subscription = one("CardSubscription", "The subscription it bills.", on="subscription_id")
    membership = one("Membership", "The membership it pays.")
    user = one("User", "Who pays it.")
    attendee = one(
        "User", "Whose classes it pays for: its payer's, unless the subscription named another.", on="attendee_id"
    )
    status: InvoiceStatus = column("Its payment state.")
    amount_paid: Money = money("What was paid: money that came.", "amount_paid")
    amount_refunded: Money = money("What was given back in money, or taken back by a bank.", "amount_refunded")
    total: Money = money("What it asks for, after discounts and with tax.", "total")
    tax: Money = money("The tax in that.", "tax")
    discount: Money = money("What was taken off before.", "discount")
    credit_used: Money = money("What earlier credit paid of it.", "credit_used")
    credited: Money = money("What it left the customer as credit.", "credited")
    period: Period = part("What it pays for.", "SELECT {parent}.period_start, {parent}.period_end")
    hold: Hold | None = column("Why it is not billed off yet.")
    billed_off_at: datetime | None = column("When its last allocation was frozen.")
    items = all_of("InvoiceItem", "Its lines.", on="invoice_id", order="{row}.position, {row}.id")
    allocation = one(
        "Allocation", "How its money is spread now.", join="{row}.invoice_id = {parent}.id AND {row}.current"
    )
    allocations = all_of("Allocation", "Every version of that.", on="invoice_id", order="{row}.version")
    shipments = all_of("Shipment", "Its journeys to other systems.", on="invoice_id")
    corrections = all_of("Correction", "What changed after it was billed off.", on="invoice_id")
    created_at: datetime = column("When it was first seen.")
    updated_at: datetime = column("When it last changed.")


@entity("invoice_item", "A line of an invoice, as its provider wrote it.")
class InvoiceItem(Node):
    """An invoice item."""

    external_id: str = column("Its id there.")
    position: int = column("Its place on the invoice.")
    description: str = column("What it says.")
    amount: Money = money("How much; below zero for a credit.", currency=_INVOICE_CURRENCY)
    product: str | None = column("The product's id there.")
    proration: bool = column("Whether it settles a change within the period.")


@strawberry.type(description="What an attendance carries in a version of an allocation, and carried before it.")
class ShareDifference:
    """One attendance of two versions."""

    attendance = one("Attendance", "Which attendance.")
    was: Money | None = money("What it carried before; null where it carried nothing.", "was")
    now: Money | None = money("What it carries; null where it carries nothing any more.", "now")


_DIFFERENCE = (
    "SELECT coalesce(n.attendance_id, o.attendance_id) AS attendance_id, o.amount AS was, n.amount AS now,"
    " {parent}.currency AS currency"
    " FROM (SELECT * FROM allocation_share WHERE allocation_id = {parent}.id) n FULL JOIN ("
    "SELECT s.* FROM allocation_share s JOIN allocation p ON p.id = s.allocation_id"
    " WHERE p.invoice_id = {parent}.invoice_id AND p.version = {parent}.version - 1"
    ") o ON o.attendance_id = n.attendance_id WHERE n.amount IS DISTINCT FROM o.amount"
)


@entity("allocation", "One version of how an invoice's money is spread.")
class Allocation(Node):
    """An allocation."""

    invoice = one("Invoice", "Of which invoice.")
    version: int = column("Its number, from 1.")
    kind: Kind = column("Over classes, or one line.")
    amount: Money = money("What is spread.")
    because: list[Step] = steps("How it came about.")
    current: bool = column("Whether it is the one that counts.")
    shares = all_of("AllocationShare", "What each class carries.", on="allocation_id", order="{row}.position")
    difference: list[ShareDifference] = parts(
        "What differs from the version before.", _DIFFERENCE, order="{row}.attendance_id"
    )
    created_at: datetime = column("When it was made.")


@entity("allocation_share", "What one attendance carries of an invoice.")
class AllocationShare(Node):
    """A share."""

    attendance = one("Attendance", "Which attendance.")
    position: int = column("Its place, by the start of the class.")
    amount: Money = money("How much it carries.", currency=_ALLOCATION_CURRENCY)


@entity("correction", "What changed at an invoice after it was billed off, for a person to decide.")
class Correction(Node):
    """A correction."""

    invoice = one("Invoice", "At which invoice.")
    cause: CorrectionCause = column("What changed.")
    proposal: Proposal = column("How to put right what was shipped.")
    state: CorrectionState = column("Whether it is decided.")
    amount: Money | None = money("What a credit note gives back.", currency=_INVOICE_CURRENCY)
    was: list[NamedValue] = named_values("What was billed off; amounts in minor units.", "{parent}.change -> 'was'")
    now: list[NamedValue] = named_values("What it is now.", "{parent}.change -> 'now'")
    answer: str | None = column("Why it was closed.")
    shipments = all_of("Shipment", "What was shipped to put it right.", on="correction_id")
    created_at: datetime = column("When it was noticed.")
    updated_at: datetime = column("When it last changed.")


@entity("shipment", "A document's journey to another system: an invoice, or what corrects one.")
class Shipment(Node):
    """A shipment."""

    invoice = one("Invoice", "Of which invoice.")
    correction = one("Correction", "The correction it is for; null for the invoice as billed off.")
    kind: ShipmentKind = column("What is sent.")
    system: Provider = column("Where to.")
    state: ShipmentState = column("How far it has come.")
    reference: str = column("Our reference, which stands in what is sent.")
    external_id: str | None = column("Its id there.")
    shipped_at: datetime | None = column("When it arrived.")
