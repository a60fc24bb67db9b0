"""What Stripe's payment intents and refunds say, in the words of the ports."""

from typing import Any

from models.ports import CONFLICT, Collected, Collection, Refunded, RefundOrder, Refused
from models.rules.states import PaymentOutcome, RefundOutcome

Json = dict[str, Any]

# Status of a payment intent -> what it means for a payment nobody sits in front of; None while it is not certain.
OUTCOMES: dict[str, PaymentOutcome | None] = {
    "succeeded": PaymentOutcome.CONFIRMED,
    "processing": None,
    "requires_capture": None,
    "requires_confirmation": None,
    "requires_action": PaymentOutcome.FAILED,  # the payer would have to be present
    "requires_payment_method": PaymentOutcome.FAILED,
    "canceled": PaymentOutcome.CANCELLED,
}
# Status of a refund -> what it means.
REFUNDS: dict[str, RefundOutcome] = {
    "pending": RefundOutcome.SUBMITTED,
    "requires_action": RefundOutcome.SUBMITTED,  # the payer has to say where to
    "succeeded": RefundOutcome.SUCCEEDED,
    "failed": RefundOutcome.FAILED,
    "canceled": RefundOutcome.FAILED,
}
# States of a dispute in which the bank has the money; an inquiry (warning_...) moves none, and a won one gave it back.
WITHDRAWN = frozenset({"needs_response", "under_review", "lost"})
# Of several intents for one payment the one nearest to money counts.
NEAREST = ("succeeded", "processing", "requires_capture", "requires_action", "requires_confirmation")


def ordered(order: Collection, intent: Json) -> Json:
    """A payment intent found by our id, where it is what was ordered. Raises Refused."""
    found = (intent["amount"], intent["currency"].upper(), intent.get("customer"))
    if found != (order.amount, order.currency, order.customer):
        raise Refused(f"{intent['id']}, under the key {order.key}, is another payment.", code=CONFLICT)
    return intent


def ordered_back(order: RefundOrder, refund: Json) -> Json:
    """A refund found by our id, where it is what was ordered. Raises Refused."""
    if (refund["amount"], refund["currency"].upper()) != (order.amount, order.currency):
        raise Refused(f"{refund['id']}, under the key {order.key}, is another refund.", code=CONFLICT)
    return refund


def plain(obj: Any) -> Json:
    """One of the library's objects -> plain JSON values."""
    found: Json = obj.to_dict(for_json=True)
    return found


def collected(intent: Json) -> Collected:
    """A payment intent -> what the port tells of it."""
    outcome = OUTCOMES.get(intent["status"])
    failed = outcome is PaymentOutcome.FAILED
    why = failure(intent) if failed else None
    return Collected(intent["id"], outcome, why, amount=intent["amount"], currency=intent["currency"].upper())


def refunded(refund: Json) -> Refunded:
    """A refund -> what the port tells of it."""
    outcome = REFUNDS.get(refund["status"])
    failed = outcome is RefundOutcome.FAILED
    why = (refund.get("failure_reason") or refund["status"]) if failed else None
    return Refunded(refund["id"], outcome, why, refund["amount"], refund["currency"].upper())


def failure(intent: Json) -> str | None:
    """A payment intent -> why its last attempt failed: the issuer's word, else Stripe's."""
    error = intent.get("last_payment_error") or {}
    needs_payer = "authentication_required" if intent["status"] == "requires_action" else None
    said: str | None = error.get("decline_code") or error.get("code") or needs_payer
    return said


def declined_card(intent: Json) -> str | None:
    """A payment intent -> the card that was declined."""
    method = (intent.get("last_payment_error") or {}).get("payment_method") or intent.get("payment_method")
    return method["id"] if isinstance(method, dict) else method


def distance(intent: Json) -> int:
    """How far from money an intent is; the list is newest first, so the newest of equals wins."""
    status = intent["status"]
    return NEAREST.index(status) if status in NEAREST else len(NEAREST)
