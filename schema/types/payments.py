"""Payments, and the subscription invoices that are split over classes and shipped."""

from datetime import date, datetime

import strawberry

from models.rules.invoicing import Hold, Kind
from models.rules.states import InvoiceStatus, PaymentPurpose, PaymentStatus, Provider, RefundStatus, ShipmentState
from resolvers.reads.declare import Node, all_of, column, entity, one, part
from schema.types.shared import Money, Step, money, steps

_INVOICE_CURRENCY = "(SELECT i.currency FROM invoice i WHERE i.id = {parent}.invoice_id)"
_ALLOCATION_CURRENCY = "(SELECT a.currency FROM allocation a WHERE a.id = {parent}.allocation_id)"

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
    user = one("User", "Whose classes it pays for; its subscription says who pays.")
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
    created_at: datetime = column("When it was made.")


@entity("allocation_share", "What one attendance carries of an invoice.")
class AllocationShare(Node):
    """A share."""

    attendance = one("Attendance", "Which attendance.")
    position: int = column("Its place, by the start of the class.")
    amount: Money = money("How much it carries.", currency=_ALLOCATION_CURRENCY)


@entity("shipment", "An invoice's journey to another system.")
class Shipment(Node):
    """A shipment."""

    invoice = one("Invoice", "What is sent.")
    system: Provider = column("Where to.")
    state: ShipmentState = column("How far it has come.")
    reference: str = column("Our reference, which stands in what is sent.")
    external_id: str | None = column("Its id there.")
    shipped_at: datetime | None = column("When it arrived.")
