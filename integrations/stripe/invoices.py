"""Stripe's subscription invoices, as plain JSON in the pinned version or an older one, in our words.

An invoice's own period looks back over the time just ended; what it pays for is the period of its lines. The
subscription stands under `parent` today and at the top of older invoices; prices and prorations moved likewise.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from integrations.stripe.facts import WHO, instant, product, reference, word
from models.rules.facts import InvoiceLineSeen, InvoiceSeen
from models.rules.invoicing import Period
from models.rules.states import InvoiceStatus

Json = dict[str, Any]
AN_INSTANT = timedelta(seconds=1)
# Fields of an invoice that say there are credit notes to it.
NOTED = ("pre_payment_credit_notes_amount", "post_payment_credit_notes_amount")


def invoice(
    whole: Json, lines: Sequence[Json], amount_refunded: int, seen_at: datetime, *, noted: int = 0
) -> InvoiceSeen | None:
    """An invoice, all its lines and what was paid back of it -> how it stands; None for a state unknown here.

    `noted` is what credit notes gave to the customer's balance.
    """
    status = word(InvoiceStatus, whole.get("status"))
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
        period=_paid_for(lines, instant(whole["created"])),
        lines=tuple(map(_line, lines)),
        created_at=instant(whole["created"]),
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
        product_id=product(line),
        quantity=line.get("quantity") or 1,
        proration=_proration(line),
        credits=_credited(line),
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
    return Period(instant(line["period"]["start"]), instant(line["period"]["end"]))


def _details(line: Json) -> Json:
    parent = line.get("parent") or {}
    details: Json = parent.get(parent.get("type", "")) or {}
    return details


def _proration(line: Json) -> bool:
    return bool(_details(line).get("proration", line.get("proration", False)))


def _credited(line: Json) -> str | None:
    told = _details(line).get("proration_details") or line.get("proration_details") or {}
    return reference((told.get("credited_items") or {}).get("invoice"))


def _line_subscription(line: Json) -> str | None:
    return reference(_details(line).get("subscription")) or reference(line.get("subscription"))
