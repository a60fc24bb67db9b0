"""Subscriptions: paid in advance, renewed by the virtual clock, changed and ended by request."""

from typing import Any

from local.sandbox.stripe import invoices
from local.sandbox.stripe.account import Account, merged
from local.sandbox.stripe.periods import next_end
from local.sandbox.stripe.wire import (
    ApiError,
    integer,
)
from local.sandbox.world import Json

UPDATED, DELETED = "customer.subscription.updated", "customer.subscription.deleted"
ENDED = ("canceled", "incomplete_expired")
RENEWS = ("trialing", "active", "past_due")


def create(account: Account, params: Json) -> Json:
    """customer, items, ... -> subscription; its first invoice is finalised and charged at once."""
    customer = account.read("customer", params["customer"], "customer")
    method = params.get("default_payment_method")
    if method:
        account.read("payment_method", method, "default_payment_method")
    days = params.get("trial_period_days", 0)
    if not days and not (method or customer["invoice_settings"]["default_payment_method"]):
        message = "This customer has no attached payment source or default payment method."
        raise ApiError(400, message, code="resource_missing")
    now = account.now()
    anchor = now + days * invoices.DAY
    sub = account.fresh("subscription", billing_cycle_anchor=anchor, start_date=now, customer=customer["id"])
    if days:
        sub |= {"trial_start": now, "trial_end": anchor}
    kept = ("cancel_at_period_end", "default_payment_method", "description")
    sub |= {name: params[name] for name in kept if name in params}
    sub["metadata"] = merged({}, params.get("metadata", {}))
    items = [_item(account, sub, wanted) for wanted in params["items"]]
    sub["currency"] = items[0]["price"]["currency"]
    sub["items"] |= {"data": items, "url": f"/v1/subscription_items?subscription={sub['id']}"}
    if sub["cancel_at_period_end"]:
        sub["cancel_at"] = items[0]["current_period_end"]
    account.tell("customer.subscription.created", account.save(sub))
    return _first_payment(account, sub, params.get("payment_behavior", "allow_incomplete"))


def _item(account: Account, sub: Json, wanted: Json) -> Json:
    price = account.read("price", wanted.get("price", ""), "items[0][price]")
    if price["type"] != "recurring":
        raise ApiError(
            400, "The price specified is set to `type=one_time` but this field only accepts recurring prices."
        )
    every = price["recurring"]
    start, anchor = sub["start_date"], sub["billing_cycle_anchor"]
    return account.fresh(
        "subscription_item",
        price=price,
        quantity=integer(wanted.get("quantity", "1"), "items[0][quantity]"),
        metadata=wanted.get("metadata", {}),
        subscription=sub["id"],
        current_period_start=start,
        current_period_end=sub["trial_end"] or next_end(anchor, every["interval"], every["interval_count"], start),
    )


def _first_payment(account: Account, sub: Json, behaviour: str) -> Json:
    now = account.now()
    trial = sub["trial_end"] is not None
    lines = [line_for(account, sub, item, amount=0 if trial else None) for item in sub["items"]["data"]]
    invoice = invoices.draft(account, sub, "subscription_create", (now, now), lines)
    sub["latest_invoice"] = invoice["id"]
    account.save(sub)
    invoices.finalise(account, invoice)
    if behaviour == "default_incomplete" and invoice["amount_due"]:
        return sub
    declined = invoices.attempt(account, invoice)
    if declined and behaviour == "error_if_incomplete":
        end(account, sub, "payment_failed", status="incomplete_expired")
        raise declined
    status = "incomplete" if declined else "trialing" if trial else "active"
    return account.change(sub, UPDATED, status=status)


def line_for(account: Account, sub: Json, item: Json, amount: int | None = None, **fields: Any) -> Json:
    price, quantity = item["price"], item["quantity"]
    worth = price["unit_amount"] * quantity if amount is None else amount
    product = account.read("product", price["product"])
    details = {
        "invoice_item": None,
        "proration": False,
        "proration_details": {"credited_items": None},
        "subscription": sub["id"],
        "subscription_item": item["id"],
    }
    line = account.fresh(
        "line_item",
        amount=worth,
        subtotal=worth,
        currency=price["currency"],
        description=f"{quantity} × {product['name']}",
        metadata=sub["metadata"],
        parent={
            "invoice_item_details": None,
            "subscription_item_details": details,
            "type": "subscription_item_details",
        },
        period={"start": item["current_period_start"], "end": item["current_period_end"]},
        pricing={
            "price_details": {"price": price["id"], "product": product["id"]},
            "type": "price_details",
            "unit_amount_decimal": price["unit_amount_decimal"],
        },
        quantity=quantity,
        quantity_decimal=str(quantity),
    )
    return line | fields


def pending(account: Account, sub: Json) -> list[Json]:
    """Take the prorations kept for the next invoice."""
    kept = [line for line in account.world.all("stripe.pending_line") if line["of"] == sub["id"]]
    for line in kept:
        account.world.delete("stripe.pending_line", line["id"])
    return [{name: value for name, value in line.items() if name != "of"} for line in kept]


# -- what the clock does -----------------------------------------------------------------------------------------------


def renew(account: Account, sub: Json) -> Json:
    """The period is over: begin the next one -> the draft of the invoice that pays for it."""
    items = sub["items"]["data"]
    ended = (items[0]["current_period_start"], items[0]["current_period_end"])
    previous: Json = {"items": {"data": [dict(item) for item in items]}, "latest_invoice": sub["latest_invoice"]}
    for item in items:
        every = item["price"]["recurring"]
        start = item["current_period_end"]
        item["current_period_start"] = start
        item["current_period_end"] = next_end(
            sub["billing_cycle_anchor"], every["interval"], every["interval_count"], start
        )
    if sub["status"] == "trialing":
        previous["status"], sub["status"] = "trialing", "active"
    lines = [*pending(account, sub), *(line_for(account, sub, item) for item in items)]
    invoice = invoices.draft(account, sub, "subscription_cycle", ended, lines)
    sub["latest_invoice"] = invoice["id"]
    account.tell(UPDATED, account.save(sub), previous)
    return invoice


def collect(account: Account, invoice: Json) -> None:
    """Finalise a draft, or retry an open invoice, and let the subscription follow what comes of it."""
    if invoice["status"] == "draft":
        invoices.finalise(account, invoice)
        if invoice["status"] != "open":
            return
    declined = invoices.attempt(account, invoice)
    sub = invoices.subscription_of(account, invoice)
    if sub is None or sub["status"] in ENDED:
        return
    if declined is None and sub["status"] == "past_due":
        account.change(sub, UPDATED, status="active")
    elif declined and invoice["next_payment_attempt"] is None:
        end(account, sub, "payment_failed")
    elif declined:
        account.change(sub, UPDATED, status="past_due")


def end(account: Account, sub: Json, reason: str, status: str = "canceled") -> Json:
    """End the subscription now and stop its invoices -> the subscription."""
    now = account.now()
    sub |= {"status": status, "ended_at": now, "canceled_at": sub["canceled_at"] or now}
    sub["cancellation_details"] = sub["cancellation_details"] | {"reason": reason}
    account.tell(DELETED if status == "canceled" else UPDATED, account.save(sub))
    for invoice in account.newest_first("invoice"):
        details = (invoice["parent"] or {}).get("subscription_details")
        if details and details["subscription"] == sub["id"] and invoice["status"] in ("draft", "open"):
            stopped = invoice | {
                "auto_advance": False,
                "next_payment_attempt": None,
                "automatically_finalizes_at": None,
            }
            if status == "incomplete_expired":
                invoices.move(account, stopped, "void")
            else:
                account.save(stopped)
    return sub
