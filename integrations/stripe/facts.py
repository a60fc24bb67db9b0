"""Stripe's objects but its invoices, as plain JSON in the pinned version or an older one, in our words."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

import structlog

from integrations.stripe.reading import failure, refunded
from models.rules.facts import (
    CheckoutCompleted,
    FeesTaken,
    Mirrored,
    ObjectTouched,
    PaymentCancelled,
    PaymentChargedBack,
    PaymentFailed,
    PaymentSubmitted,
    PaymentSucceeded,
    RefundFact,
    SubscriptionSeen,
)
from models.rules.states import Provider, RefundOutcome, SubscriptionStatus

Json = dict[str, Any]
Word = TypeVar("Word", bound=StrEnum)
WHO = Provider.STRIPE.value

PaymentNews = PaymentSubmitted | PaymentSucceeded | PaymentFailed | PaymentCancelled

# Status of a payment intent -> the fact it makes; the others say nothing certain yet.
PAYMENTS: dict[str, type[PaymentNews]] = {
    "processing": PaymentSubmitted,
    "succeeded": PaymentSucceeded,
    "requires_action": PaymentFailed,
    "requires_payment_method": PaymentFailed,
    "canceled": PaymentCancelled,
}

_log = structlog.get_logger(__name__)


def payment(intent: Json, occurred_at: datetime) -> PaymentNews | None:
    """A payment intent of ours -> what became of it; None for others' and while nothing is known."""
    ours = (intent.get("metadata") or {}).get("payment_id")
    fact = PAYMENTS.get(intent["status"])
    untried = intent["status"] == "requires_payment_method" and not intent.get("last_payment_error")
    if ours is None or fact is None or untried:
        return None
    return fact(
        payment_reference=ours,
        provider=WHO,
        external_id=intent["id"],
        occurred_at=occurred_at,
        cause=failure(intent) if fact is PaymentFailed else intent.get("cancellation_reason"),
    )


def fees(intent: Json, occurred_at: datetime) -> FeesTaken | None:
    """A payment intent of ours, its charge's settlement expanded -> what was kept of it; None before it is settled."""
    ours = (intent.get("metadata") or {}).get("payment_id")
    charge = intent.get("latest_charge")
    settlement = charge.get("balance_transaction") if isinstance(charge, dict) else None
    if ours is None or not isinstance(settlement, dict) or not settlement["fee"]:
        return None
    return FeesTaken(
        provider=WHO,
        reference=settlement["id"],
        currency=settlement["currency"].upper(),
        fees=((intent["id"], settlement["fee"]),),
        occurred_at=occurred_at,
    )


def dispute(
    disputed: Json, intent: Json, occurred_at: datetime
) -> PaymentChargedBack | PaymentSucceeded | RefundFact | None:
    """A dispute whose money moved, and its payment intent -> ours again once it is won, taken back until then.

    One about a part is a refund that was made there: the rest was received.
    """
    ours = (intent.get("metadata") or {}).get("payment_id")
    if ours is None:
        return None
    won = disputed["status"] == "won"
    if disputed["amount"] < intent["amount"]:
        return RefundFact(
            outcome=RefundOutcome.FAILED if won else RefundOutcome.SUCCEEDED,
            refund_reference=None,
            payment_reference=ours,
            provider=WHO,
            external_id=disputed["id"],
            payment_external_id=intent["id"],
            amount=disputed["amount"],
            currency=disputed["currency"].upper(),
            occurred_at=occurred_at,
            cause=disputed["status"],
        )
    fact = PaymentSucceeded if won else PaymentChargedBack
    return fact(
        payment_reference=ours,
        provider=WHO,
        external_id=intent["id"],
        occurred_at=occurred_at,
        cause=None if won else disputed.get("reason"),
    )


def refund(made: Json, occurred_at: datetime) -> RefundFact | None:
    """A refund with its payment intent expanded -> how it stands; None for one of others' payments."""
    intent = made.get("payment_intent") or {}
    ours = (made.get("metadata") or {}).get("refund_id")
    payment_id = (intent.get("metadata") or {}).get("payment_id")
    known = refunded(made)
    if (ours is None and payment_id is None) or known.outcome is None:
        return None
    return RefundFact(
        outcome=known.outcome,
        refund_reference=ours,
        payment_reference=payment_id,
        provider=WHO,
        external_id=made["id"],
        payment_external_id=intent["id"],
        amount=made["amount"],
        currency=made["currency"].upper(),
        occurred_at=occurred_at,
        cause=known.failure,
    )


def checkout(session: Json, occurred_at: datetime) -> CheckoutCompleted | None:
    """A checkout session -> the finished checkout; None while its money is still on the way."""
    if session.get("status") != "complete" or session.get("payment_status") == "unpaid":
        return None
    who = session.get("customer_details") or {}
    return CheckoutCompleted(
        provider=WHO,
        external_id=session["id"],
        customer_id=reference(session.get("customer")),
        subscription_id=reference(session.get("subscription")),
        payment_id=reference(session.get("payment_intent")),
        user_reference=session.get("client_reference_id"),
        email=who.get("email") or session.get("customer_email"),
        name=who.get("name"),
        occurred_at=occurred_at,
        metadata=tuple(sorted((session.get("metadata") or {}).items())),
    )


def subscription(
    sub: Json, items: Sequence[Json], seen_at: datetime, user_reference: str | None = None
) -> SubscriptionSeen | None:
    """A subscription with its customer expanded, and all its items -> how it stands; None for a state unknown here."""
    status = word(SubscriptionStatus, sub.get("status"))
    if status is None:
        return None
    customer = sub["customer"] if isinstance(sub["customer"], dict) else {"id": sub["customer"]}
    return SubscriptionSeen(
        provider=WHO,
        external_id=sub["id"],
        customer_id=customer["id"],
        product_ids=tuple(dict.fromkeys(filter(None, map(product, items)))),
        status=status,
        started_at=instant(sub["start_date"]),
        seen_at=seen_at,
        email=customer.get("email"),
        name=customer.get("name"),
        user_reference=user_reference or (sub.get("metadata") or {}).get("user_id"),
        cancelled_at=instant(sub["ended_at"]) if sub.get("ended_at") else None,
    )


def touched(kind: Mirrored, external_id: str | None) -> ObjectTouched | None:
    """A mirrored object that other news is about, if it is about one."""
    return ObjectTouched(provider=WHO, kind=kind, external_id=external_id) if external_id else None


def reference(value: Any) -> str | None:
    """An id, or the object it was expanded to -> the id."""
    found: str | None = value["id"] if isinstance(value, dict) else value
    return found


def product(priced: Json) -> str | None:
    """An invoice line or a subscription item -> its product."""
    pricing = (priced.get("pricing") or {}).get("price_details") or {}
    older = priced.get("price") or priced.get("plan") or {}
    return reference(pricing.get("product")) or reference(older.get("product"))


def instant(seconds: int) -> datetime:
    """Seconds since 1970 -> the instant."""
    return datetime.fromtimestamp(seconds, UTC)


def word(words: type[Word], said: str | None) -> Word | None:
    """A state as Stripe writes it -> ours; None, and a line in the log, for one that is new."""
    if said and said.upper() in words.__members__:
        return words[said.upper()]
    _log.warning("unknown state", provider=WHO, kind=words.__name__, state=said)
    return None
