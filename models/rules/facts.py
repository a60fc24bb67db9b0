"""What the outside tells us, in our words: plain frozen facts, made by an integration and applied by an action.

Ids of the outside are text as it wrote them; `provider` is a word of `states.Provider`. Amounts are minor units,
instants UTC. A fact may come twice, late or out of order: applying it again must change nothing.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar
from uuid import UUID

from models.rules.diary import AttendanceSeen, RosterSeen
from models.rules.invoicing import Mark, Period
from models.rules.states import (
    InvoiceStatus,
    MandateStatus,
    PaymentOutcome,
    RefundOutcome,
    SubscriptionStatus,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFact:
    """What became of a payment: our reference (None when the outside does not know it), the provider and its id."""

    outcome: ClassVar[PaymentOutcome]

    payment_reference: str | None
    provider: str
    external_id: str
    occurred_at: datetime
    cause: str | None = None
    will_attempt_retry: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSubmitted(PaymentFact):
    """The provider has sent the payment on its way (R11)."""

    outcome = PaymentOutcome.SUBMITTED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentSucceeded(PaymentFact):
    """The money was taken; a failure may still follow (R11)."""

    outcome = PaymentOutcome.CONFIRMED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPaidOut(PaymentFact):
    """The money reached the operator's account."""

    outcome = PaymentOutcome.PAID_OUT


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentFailed(PaymentFact):
    """The payment failed, perhaps after it had succeeded; `will_attempt_retry` when the provider tries again (R40)."""

    outcome = PaymentOutcome.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCancelled(PaymentFact):
    """The payment was stopped before it was taken (R48)."""

    outcome = PaymentOutcome.CANCELLED


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentChargedBack(PaymentFact):
    """The payer's bank took the money back (R12)."""

    outcome = PaymentOutcome.CHARGED_BACK


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFact:
    """A refund of a payment of ours as it stands at its provider: ours, or made there by hand.

    `refund_reference` and `payment_reference` are our ids as far as the outside knows them, `external_id` and
    `payment_external_id` its own.
    """

    outcome: RefundOutcome
    refund_reference: str | None
    payment_reference: str | None
    provider: str
    external_id: str
    payment_external_id: str
    amount: int
    currency: str
    occurred_at: datetime
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FeesTaken:
    """What a provider kept of payments: (its id of the payment, minor units), below zero where it gave back.

    `reference` is its id of the settlement or payout that says so.
    """

    provider: str
    reference: str
    currency: str
    fees: tuple[tuple[str, int], ...]
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class MandateChanged:
    """A direct debit instruction changed, whoever changed it; `origin` is the provider's word for who (R11, R12)."""

    provider: str
    external_id: str
    customer_id: str | None
    user_reference: str | None
    status: MandateStatus
    occurred_at: datetime
    origin: str | None = None
    cause: str | None = None
    replaced_by: str | None = None
    billing_request_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutCompleted:
    """A customer finished a hosted checkout or payment link; `user_reference` is ours when we made it (R82, R83)."""

    provider: str
    external_id: str
    customer_id: str | None
    subscription_id: str | None
    payment_id: str | None
    user_reference: str | None
    email: str | None
    name: str | None
    occurred_at: datetime
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSeen:
    """A subscription as it stands at its provider (R85)."""

    provider: str
    external_id: str
    customer_id: str
    product_ids: tuple[str, ...]
    status: SubscriptionStatus
    started_at: datetime
    seen_at: datetime
    email: str | None = None
    name: str | None = None
    user_reference: str | None = None
    cancelled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLineSeen:
    """One line of an outside invoice: its wording, amount (below zero for a credit) and the period it covers (R95).

    `credits` is the invoice whose line it gives back, by its id there.
    """

    external_id: str
    description: str
    amount: int
    period: Period
    product_id: str | None = None
    quantity: int = 1
    proration: bool = False
    credits: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSeen:
    """A subscription invoice as it stands at its provider: amounts in minor units of `currency` (R85, R95, R109).

    `amount_paid` is money that came, `amount_refunded` money that went back, however it was told. `credit_used` is what
    earlier credit paid of `total`, `credited` what this one left the customer as credit; in neither did money move.
    """

    provider: str
    external_id: str
    number: str | None
    customer_id: str
    subscription_id: str | None
    status: InvoiceStatus
    currency: str
    total: int
    amount_paid: int
    amount_refunded: int
    period: Period
    lines: tuple[InvoiceLineSeen, ...]
    created_at: datetime
    seen_at: datetime
    tax: int = 0
    discount: int = 0
    credit_used: int = 0
    credited: int = 0


class Mirrored(StrEnum):
    """What is mirrored whole from its provider, and can be read by its id."""

    MANDATE = "MANDATE"
    SUBSCRIPTION = "SUBSCRIPTION"
    INVOICE = "INVOICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceGone:
    """An invoice was deleted at its provider before anybody was to pay it."""

    provider: str
    external_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectTouched:
    """An object that is mirrored may have changed; it is read on its own, by one reader at a time.

    Two that read it at once could write what they read in the wrong order.
    """

    provider: str
    kind: Mirrored
    external_id: str


class CourseEnd(StrEnum):
    """How a customer's course ended at its owner (R47, R48)."""

    CANCELLED = "CANCELLED"
    COMPLETED = "COMPLETED"


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseEnded:
    """A customer's course was cancelled or completed where it is managed; `actor` is who did it (R47-R49)."""

    provider: str
    membership_id: UUID
    end: CourseEnd
    occurred_at: datetime
    effective_at: datetime | None = None
    actor: str | None = None
    event_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusClaimed:
    """The course system says how a membership stands, which is ours to say (R45, R61); `claimed` is its word."""

    provider: str
    membership_id: UUID
    claimed: str
    occurred_at: datetime
    event_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attendee:
    """One person's place in one class, expected or seen: the owner's attendance id makes a repeat harmless (R60)."""

    external_id: str
    membership_id: UUID
    mark: Mark = Mark.BOOKED


@dataclass(frozen=True, slots=True, kw_only=True)
class AttendeesPosted:
    """Who is to attend one class of a course, so that they can be let in, or who did (R14, R18).

    `centre_ref` is the id of our centre where the class is; that of the memberships where it is not told.
    """

    provider: str
    course_id: str
    session_id: str
    starts_at: datetime
    ends_at: datetime
    attendees: tuple[Attendee, ...]
    occurred_at: datetime
    centre_ref: str | None = None
    event_id: str = ""


Fact = (
    PaymentSubmitted
    | PaymentSucceeded
    | PaymentPaidOut
    | PaymentFailed
    | PaymentCancelled
    | PaymentChargedBack
    | RefundFact
    | FeesTaken
    | MandateChanged
    | CheckoutCompleted
    | SubscriptionSeen
    | InvoiceSeen
    | InvoiceGone
    | ObjectTouched
    | CourseEnded
    | StatusClaimed
    | AttendeesPosted
    | AttendanceSeen
    | RosterSeen
)
