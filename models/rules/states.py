"""The states of the things that have fewer moves than a membership, and the words everybody shares for them."""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """Who is asking; what each may do is one table in `resolvers.permissions`."""

    MEMBER = "MEMBER"
    FRONT_DESK = "FRONT_DESK"
    FINANCE = "FINANCE"
    ADMIN = "ADMIN"
    PARTNER = "PARTNER"


class Provider(StrEnum):
    """An outside system, by the word used in links, webhooks and settings."""

    STRIPE = "STRIPE"
    GOCARDLESS = "GOCARDLESS"
    COURSEPRO = "COURSEPRO"
    NOOKAL = "NOOKAL"
    XERO = "XERO"


class UserState(StrEnum):
    """PROVISIONAL: born outside and not yet a buyer (R51); ACTIVE otherwise."""

    ACTIVE = "ACTIVE"
    PROVISIONAL = "PROVISIONAL"


class LinkState(StrEnum):
    """How firmly an outside record is tied to a user (R51, R55); UNLINKED keeps the evidence of an undone link."""

    PROVISIONAL = "PROVISIONAL"
    LINKED = "LINKED"
    UNLINKED = "UNLINKED"


class SyncState(StrEnum):
    """Whether the course system knows of a linked user what is known here (R57, R74)."""

    IN_SYNC = "IN_SYNC"
    DIRTY = "DIRTY"
    NOT_LINKED = "NOT_LINKED"


class Owner(StrEnum):
    """Whose course it is: a course of the course system is a read-only mirror here (R15, R16)."""

    DUEFLOW = "DUEFLOW"
    COURSEPRO = "COURSEPRO"


class BookingStatus(StrEnum):
    """AWAITING_PAYMENT until the charge is settled; RELEASED when it failed; CANCELLED by a person."""

    AWAITING_PAYMENT = "AWAITING_PAYMENT"
    CONFIRMED = "CONFIRMED"
    RELEASED = "RELEASED"
    CANCELLED = "CANCELLED"


class WaitingState(StrEnum):
    """WAITING in line; OFFERED a place for a while; then TAKEN by a booking, LAPSED unused, or LEFT by the person."""

    WAITING = "WAITING"
    OFFERED = "OFFERED"
    TAKEN = "TAKEN"
    LAPSED = "LAPSED"
    LEFT = "LEFT"


class PaymentPurpose(StrEnum):
    """What a payment is for."""

    BOOKING = "BOOKING"
    MEMBERSHIP_FEE = "MEMBERSHIP_FEE"
    PACKAGE = "PACKAGE"


class PaymentStatus(StrEnum):
    """DUE: not sent yet. SUBMITTED: with the provider. UNKNOWN: the answer was lost, the janitor will ask.

    CARRIED: another payment asks for its amount, or the next one will. WRITTEN_OFF: nobody asks for it any more.
    """

    DUE = "DUE"
    SUBMITTED = "SUBMITTED"
    UNKNOWN = "UNKNOWN"
    CONFIRMED = "CONFIRMED"
    PAID_OUT = "PAID_OUT"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CHARGED_BACK = "CHARGED_BACK"
    CARRIED = "CARRIED"
    WRITTEN_OFF = "WRITTEN_OFF"


class PaymentOutcome(StrEnum):
    """What a provider says became of a payment."""

    SUBMITTED = "SUBMITTED"
    CONFIRMED = "CONFIRMED"
    PAID_OUT = "PAID_OUT"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    CHARGED_BACK = "CHARGED_BACK"


_OPEN = frozenset({PaymentStatus.DUE, PaymentStatus.SUBMITTED, PaymentStatus.UNKNOWN})
RECEIVED = frozenset({PaymentStatus.CONFIRMED, PaymentStatus.PAID_OUT})
_FALLEN = frozenset({PaymentStatus.FAILED})
_GIVEN_UP = frozenset({PaymentStatus.CANCELLED, PaymentStatus.CARRIED, PaymentStatus.WRITTEN_OFF})

# outcome: (states it is news in, the state it leads to). Confirmed is not final: a failure or a chargeback may follow,
# and the payer's bank may take its chargeback back.
# Cancelled is, unless the money came all the same: a call thought lost may have arrived. So may money that another
# payment asks for by now, or nobody any more.
SETTLEMENTS: dict[PaymentOutcome, tuple[frozenset[PaymentStatus], PaymentStatus]] = {
    PaymentOutcome.SUBMITTED: (
        frozenset({PaymentStatus.DUE, PaymentStatus.UNKNOWN}) | _FALLEN,
        PaymentStatus.SUBMITTED,
    ),
    PaymentOutcome.CONFIRMED: (
        _OPEN | _FALLEN | _GIVEN_UP | {PaymentStatus.CHARGED_BACK},
        PaymentStatus.CONFIRMED,
    ),
    PaymentOutcome.PAID_OUT: (
        _OPEN | _FALLEN | _GIVEN_UP | {PaymentStatus.CONFIRMED, PaymentStatus.CHARGED_BACK},
        PaymentStatus.PAID_OUT,
    ),
    PaymentOutcome.FAILED: (_OPEN | RECEIVED, PaymentStatus.FAILED),
    PaymentOutcome.CANCELLED: (_OPEN | _FALLEN, PaymentStatus.CANCELLED),
    PaymentOutcome.CHARGED_BACK: (_OPEN | RECEIVED, PaymentStatus.CHARGED_BACK),
}


def settled(status: PaymentStatus, outcome: PaymentOutcome, *, anew: bool = False) -> PaymentStatus | None:
    """(status, outcome, whether a failed one failed once more) -> the status it moves to, None where it is no news."""
    news_in, leads_to = SETTLEMENTS[outcome]
    failed_again = anew and status is leads_to is PaymentStatus.FAILED
    return leads_to if status in news_in or failed_again else None


class RefundStatus(StrEnum):
    """As a payment's: DUE not sent yet, SUBMITTED with the provider, UNKNOWN the answer was lost; then its end."""

    DUE = "DUE"
    SUBMITTED = "SUBMITTED"
    UNKNOWN = "UNKNOWN"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


class RefundOutcome(StrEnum):
    """What a provider says became of a refund."""

    SUBMITTED = "SUBMITTED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


REFUND_OPEN = frozenset({RefundStatus.DUE, RefundStatus.UNKNOWN})

# outcome: (states it is news in, the state it leads to). A bank may send back what had succeeded.
REFUND_SETTLEMENTS: dict[RefundOutcome, tuple[frozenset[RefundStatus], RefundStatus]] = {
    RefundOutcome.SUBMITTED: (REFUND_OPEN, RefundStatus.SUBMITTED),
    RefundOutcome.SUCCEEDED: (REFUND_OPEN | {RefundStatus.SUBMITTED}, RefundStatus.SUCCEEDED),
    RefundOutcome.FAILED: (
        REFUND_OPEN | {RefundStatus.SUBMITTED, RefundStatus.SUCCEEDED},
        RefundStatus.FAILED,
    ),
}


def refund_settled(status: RefundStatus, outcome: RefundOutcome) -> RefundStatus | None:
    """(status, outcome) -> the status the refund moves to, or None where the outcome tells nothing new."""
    news_in, leads_to = REFUND_SETTLEMENTS[outcome]
    return leads_to if status in news_in else None


def refundable(status: PaymentStatus, amount: int, refunds: Iterable[tuple[RefundStatus, int]]) -> int:
    """(a payment's status and amount, its refunds) -> what may still be given back, in the same minor units.

    Only money that was received can be, less every refund that has not failed: one that failed gave nothing back.
    """
    received = amount if status in RECEIVED else 0
    given_back = sum(part for state, part in refunds if state is not RefundStatus.FAILED)
    return max(received - given_back, 0)


class MandateStatus(StrEnum):
    """The words of the direct debit provider, folded to what matters here."""

    PENDING = "PENDING"
    ACTIVE = "ACTIVE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    BLOCKED = "BLOCKED"


# nothing can be charged on these, unless the provider reinstates them
DEAD = frozenset({MandateStatus.FAILED, MandateStatus.CANCELLED, MandateStatus.EXPIRED, MandateStatus.BLOCKED})


class ReviewKind(StrEnum):
    """What a person is asked: who a record belongs to, what becomes of money that came too late, why books differ."""

    USER_MATCH = "USER_MATCH"
    REFUND_REVIEW = "REFUND_REVIEW"
    SUBSCRIPTION_MATCH = "SUBSCRIPTION_MATCH"
    PATIENT_MATCH = "PATIENT_MATCH"
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    MONEY_BREAK = "MONEY_BREAK"


class ReviewState(StrEnum):
    """OPEN until a person answers; SETTLED with the answer; DROPPED where it does not matter any more."""

    OPEN = "OPEN"
    SETTLED = "SETTLED"
    DROPPED = "DROPPED"


class Probe(StrEnum):
    """A trial purchase: of somebody born in the course system, or born here (R78, R80)."""

    BORN_THERE = "BORN_THERE"
    BORN_HERE = "BORN_HERE"


class InvoiceStatus(StrEnum):
    """The payment state of a mirrored subscription invoice."""

    DRAFT = "DRAFT"
    OPEN = "OPEN"
    PAID = "PAID"
    UNCOLLECTIBLE = "UNCOLLECTIBLE"
    VOID = "VOID"


class SubscriptionStatus(StrEnum):
    """The states of a card subscription at its provider."""

    INCOMPLETE = "INCOMPLETE"
    TRIALING = "TRIALING"
    ACTIVE = "ACTIVE"
    PAST_DUE = "PAST_DUE"
    UNPAID = "UNPAID"
    PAUSED = "PAUSED"
    CANCELED = "CANCELED"
    INCOMPLETE_EXPIRED = "INCOMPLETE_EXPIRED"


class AttendanceSource(StrEnum):
    """Who told us of an attendance."""

    DUEFLOW = "DUEFLOW"
    COURSEPRO = "COURSEPRO"
    NOOKAL = "NOOKAL"


class JobState(StrEnum):
    """READY waits for its time, LEASED is with a worker, DEAD gave up and may be retried by a person."""

    READY = "READY"
    LEASED = "LEASED"
    DONE = "DONE"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


class InboxState(StrEnum):
    """RECEIVED: stored, not yet applied. APPLIED. IGNORED: nothing here cares. DEAD: gave up, may be replayed."""

    RECEIVED = "RECEIVED"
    APPLIED = "APPLIED"
    IGNORED = "IGNORED"
    DEAD = "DEAD"


class ShipmentState(StrEnum):
    """PENDING: to be shipped. SENDING: a call may have reached the other side. SHIPPED: its id is known."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    SHIPPED = "SHIPPED"


class KeyPurpose(StrEnum):
    """What an API key was made for."""

    API = "API"
    COURSEPRO = "COURSEPRO"
    GATE = "GATE"
