"""Stripe's objects, as plain JSON in the pinned version or an older one, in our words.

An invoice's own period looks back over the time just ended; what it pays for is the period of its lines. The
subscription stands under `parent` today and at the top of older invoices; prices and prorations moved likewise.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import structlog

from integrations.stripe.client import failure, refunded
from models.rules.facts import (
    CheckoutCompleted,
    InvoiceLineSeen,
    InvoiceSeen,
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
from models.rules.invoicing import Period
from models.rules.states import InvoiceStatus, Provider, SubscriptionStatus

Json = dict[str, Any]
Word = TypeVar("Word", bound=StrEnum)
WHO = Provider.STRIPE.value
AN_INSTANT = timedelta(seconds=1)

PaymentNews = PaymentSubmitted | PaymentSucceeded | PaymentFailed | PaymentCancelled

# Status of a payment intent -> the fact it makes; the others say nothing certain yet.
PAYMENTS: dict[str, type[PaymentNews]] = {
    "processing": PaymentSubmitted,
    "succeeded": PaymentSucceeded,
    "requires_action": PaymentFailed,
    "requires_payment_method": PaymentFailed,
    "canceled": PaymentCancelled,
}

# Fields of an invoice that say there are credit notes to it.
NOTED = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")
# States of a dispute in which the bank has the money; an inquiry (warning_...) moves none, and a won one gave it back.
WITHDRAWN = frozenset({"needs_response", "under_review", "lost"})

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


def dispute(disputed: Json, intent: Json, occurred_at: datetime) -> PaymentChargedBack | PaymentSucceeded | None:
    """A dispute whose money moved, and its payment intent -> ours again once it is won, taken back until then."""
    ours = (intent.get("metadata") or {}).get("payment_id")
    if ours is None:
        return None
    won = disputed["status"] == "won"
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
    status = _word(SubscriptionStatus, sub.get("status"))
    if status is None:
        return None
    customer = sub["customer"] if isinstance(sub["customer"], dict) else {"id": sub["customer"]}
    return SubscriptionSeen(
        provider=WHO,
        external_id=sub["id"],
        customer_id=customer["id"],
        product_ids=tuple(dict.fromkeys(filter(None, map(_product, items)))),
        status=status,
        started_at=_instant(sub["start_date"]),
        seen_at=seen_at,
        email=customer.get("email"),
        name=customer.get("name"),
        user_reference=user_reference or (sub.get("metadata") or {}).get("user_id"),
        cancelled_at=_instant(sub["ended_at"]) if sub.get("ended_at") else None,
    )


def invoice(
    whole: Json, lines: Sequence[Json], amount_refunded: int, seen_at: datetime, *, noted: int = 0
) -> InvoiceSeen | None:
    """An invoice, all its lines and what was paid back of it -> how it stands; None for a state unknown here.

    `noted` is what credit notes gave to the customer's balance.
    """
    status = _word(InvoiceStatus, whole.get("status"))
    customer = reference(whole.get("customer"))
    if status is None or customer is None:
        return None
    credit_before, credit_after = _credit(whole.get("starting_balance")), _credit(whole.get("ending_balance"))
    finalised = whole.get("ending_balance") is not None
    return InvoiceSeen(
        provider=WHO,
        external_id=whole["id"],
        number=whole.get("number"),
        customer_id=customer,
        subscription_id=subscription_of(whole, lines),
        status=status,
        currency=whole["currency"].upper(),
        total=whole["total"],
        amount_paid=whole["amount_paid"],
        amount_refunded=min(amount_refunded, whole["amount_paid"]),
        tax=sum(one["amount"] for one in whole.get("total_taxes") or whole.get("total_tax_amounts") or ()),
        discount=sum(one["amount"] for one in whole.get("total_discount_amounts") or ()),
        credit_used=max(credit_before - credit_after, 0) if finalised else 0,
        credited=(max(credit_after - credit_before, 0) if finalised else 0) + noted,
        period=_paid_for(lines, _instant(whole["created"])),
        lines=tuple(map(_line, lines)),
        created_at=_instant(whole["created"]),
        seen_at=seen_at,
    )


def _credit(balance: int | None) -> int:
    """A customer's balance as Stripe writes it, below zero for credit -> that credit."""
    return max(-(balance or 0), 0)


def to_balance(note: Json) -> int:
    """A credit note -> what it gave to the customer's balance; the rest went back as money, or was never paid."""
    if note["status"] != "issued" or not note.get("customer_balance_transaction"):
        return 0
    refunded_by_it = sum(one["amount_refunded"] for one in note.get("refunds") or ())
    given: int = note["post_payment_amount"] - refunded_by_it - (note.get("out_of_band_amount") or 0)
    return max(given, 0)


def out_of_band(note: Json) -> int:
    """A credit note -> what was given back by other ways than Stripe's."""
    given: int = (note.get("out_of_band_amount") or 0) if note["status"] == "issued" else 0
    return given


def subscription_of(whole: Json, lines: Iterable[Json] = ()) -> str | None:
    """An invoice of any version -> the id of its subscription."""
    details = (whole.get("parent") or {}).get("subscription_details") or {}
    named = reference(details.get("subscription")) or reference(whole.get("subscription"))
    return named or next(filter(None, map(_line_subscription, lines)), None)


def touched(kind: Mirrored, external_id: str | None) -> ObjectTouched | None:
    """A mirrored object that other news is about, if it is about one."""
    return ObjectTouched(provider=WHO, kind=kind, external_id=external_id) if external_id else None


def reference(value: Any) -> str | None:
    """An id, or the object it was expanded to -> the id."""
    found: str | None = value["id"] if isinstance(value, dict) else value
    return found


def _line(line: Json) -> InvoiceLineSeen:
    """A line, its amount after discounts and with tax, so that the lines sum to the invoice's total."""
    off = sum(one["amount"] for one in line.get("discount_amounts") or ())
    on_top = sum(
        one["amount"]
        for one in line.get("taxes") or line.get("tax_amounts") or ()
        if one.get("tax_behavior") == "exclusive" or one.get("inclusive") is False
    )
    return InvoiceLineSeen(
        external_id=line["id"],
        description=line.get("description") or "",
        amount=line["amount"] - off + on_top,
        period=_period(line),
        product_id=_product(line),
        quantity=line.get("quantity") or 1,
        proration=_proration(line),
    )


def _paid_for(lines: Sequence[Json], created_at: datetime) -> Period:
    """The time the subscription's own lines pay for; of prorations alone theirs.

    Where they begin at different times the latest counts: a metered line looks back. A fee for no time at all, or an
    invoice without a line, is given the second it is of.
    """
    own = [_period(line) for line in lines if _line_subscription(line) and not _proration(line)]
    if own:
        start = max(one.start for one in own)
        own = [one for one in own if one.start == start]
    periods = own or [_period(line) for line in lines] or [Period(created_at, created_at)]
    start, end = min(one.start for one in periods), max(one.end for one in periods)
    return Period(start, max(end, start + AN_INSTANT))


def _period(line: Json) -> Period:
    return Period(_instant(line["period"]["start"]), _instant(line["period"]["end"]))


def _details(line: Json) -> Json:
    parent = line.get("parent") or {}
    details: Json = parent.get(parent.get("type", "")) or {}
    return details


def _proration(line: Json) -> bool:
    return bool(_details(line).get("proration", line.get("proration", False)))


def _line_subscription(line: Json) -> str | None:
    return reference(_details(line).get("subscription")) or reference(line.get("subscription"))


def _product(priced: Json) -> str | None:
    """An invoice line or a subscription item -> its product."""
    pricing = (priced.get("pricing") or {}).get("price_details") or {}
    older = priced.get("price") or priced.get("plan") or {}
    return reference(pricing.get("product")) or reference(older.get("product"))


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _word(words: type[Word], said: str | None) -> Word | None:
    """A state as Stripe writes it -> ours; None, and a line in the log, for one that is new."""
    if said and said.upper() in words.__members__:
        return words[said.upper()]
    _log.warning("unknown state", provider=WHO, kind=words.__name__, state=said)
    return None
