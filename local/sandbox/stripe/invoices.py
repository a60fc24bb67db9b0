"""Invoices from draft to paid, their lines and their payments.

An invoice's own period looks back over the time just ended; the period a line pays for is the line's.
"""

from typing import Any

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.customers import DETAILS
from local.sandbox.stripe.payments import collect, new_intent
from local.sandbox.stripe.reading import LIST, SEARCH, Routes, reader, searcher, updater
from local.sandbox.stripe.wire import PAGING, ApiError, envelope, mapping, missing, page, text, within
from local.sandbox.world import Json

HOUR, DAY = 3600, 86_400
LINES_SHOWN = 10
# Days between a failed attempt to collect a renewal and the next one; after the last the subscription is canceled.
RETRY_DAYS = (3, 5, 7)
# What pausing collection makes of an invoice that would be finalised.
PAUSED = {"void": "void", "mark_uncollectible": "uncollectible", "keep_as_draft": "draft"}
STAMP = {"void": "voided_at", "uncollectible": "marked_uncollectible_at", "paid": "paid_at", "open": "finalized_at"}
EVENT = {"void": "invoice.voided", "uncollectible": "invoice.marked_uncollectible", "draft": "invoice.updated"}


def draft(account: Account, sub: Json, reason: str, period: tuple[int, int], lines: list[Json]) -> Json:
    """Subscription, billing reason, the period looked back on, lines -> the draft invoice, announced."""
    customer = account.read("customer", sub["customer"])
    off, tax = _amended(account, sub, lines)
    subtotal = sum(line["amount"] for line in lines)
    total = subtotal - off + tax
    details = {"metadata": sub["metadata"], "subscription": sub["id"]}
    invoice = account.fresh(
        "invoice",
        billing_reason=reason,
        currency=sub["currency"],
        customer=customer["id"],
        customer_email=customer["email"],
        customer_name=customer["name"],
        customer_phone=customer["phone"],
        default_payment_method=None,
        parent={"quote_details": None, "subscription_details": details, "type": "subscription_details"},
        period_start=period[0],
        period_end=period[1],
        automatically_finalizes_at=account.now() + HOUR,
        **dict.fromkeys(("subtotal", "subtotal_excluding_tax"), subtotal),
        total=total,
        total_excluding_tax=total - tax,
        total_discount_amounts=[{"amount": off, "discount": "di_sandbox"}] if off else [],
        total_taxes=[line["taxes"][0] for line in lines[-1:] if tax],
        amount_due=max(total, 0),
        amount_remaining=max(total, 0),
        starting_balance=customer["balance"],
    )
    for line in lines:
        account.save(line | {"invoice": invoice["id"]})
    url = f"/v1/invoices/{invoice['id']}/lines"
    shown = [line | {"invoice": invoice["id"]} for line in lines[:LINES_SHOWN]]
    invoice["lines"] = envelope(shown, url, has_more=len(lines) > LINES_SHOWN)
    account.tell("invoice.created", account.save(invoice))
    return invoice


def _amended(account: Account, sub: Json, lines: list[Json]) -> tuple[int, int]:
    """What is taken off, and the tax on top, as the next invoice was told; both stand on its last line."""
    told = account.world.get("stripe.amend_next", sub["id"])
    account.world.delete("stripe.amend_next", sub["id"])
    if not told or not lines:
        return 0, 0
    off, last = told["discount"], lines[-1]
    taxable = last["amount"] - off
    tax = taxable * told["tax_percent"] // 100
    if off:
        last["discount_amounts"] = [{"amount": off, "discount": "di_sandbox"}]
    if tax:
        rate = {"type": "tax_rate_details", "tax_rate_details": {"tax_rate": "txr_sandbox"}}
        said = {"amount": tax, "tax_behavior": "exclusive", "taxability_reason": "standard_rated"}
        last["taxes"] = [said | {"taxable_amount": taxable} | rate]
    return off, tax


def finalise(account: Account, invoice: Json) -> None:
    """Number the draft, set the customer's balance against it, and make the payment it asks for."""
    sub = subscription_of(account, invoice)
    if sub and sub["pause_collection"]:
        status = PAUSED[sub["pause_collection"]["behavior"]]
        move(account, invoice | {"auto_advance": False, "automatically_finalizes_at": None}, status)
        return
    customer = account.read("customer", invoice["customer"])
    owed = invoice["total"] + customer["balance"]
    invoice |= {"amount_due": max(owed, 0), "amount_remaining": max(owed, 0), "ending_balance": min(owed, 0)}
    invoice["number"] = f"{customer['invoice_prefix']}-{customer['next_invoice_sequence']:04}"
    customer |= {"balance": min(owed, 0), "next_invoice_sequence": customer["next_invoice_sequence"] + 1}
    account.save(customer)
    invoice |= {"automatically_finalizes_at": None, "effective_at": account.now()}
    invoice["hosted_invoice_url"] = f"{account.host}/invoice/{invoice['id']}"
    if invoice["amount_due"]:
        _ask_for_payment(account, invoice)
    move(account, invoice, "open", "invoice.finalized")


def _ask_for_payment(account: Account, invoice: Json) -> None:
    fields = {"amount": invoice["amount_due"], "currency": invoice["currency"], "customer": invoice["customer"]}
    intent = new_intent(account, fields | {"description": "Subscription invoice"})
    payment = account.make(
        "invoice_payment",
        amount_requested=invoice["amount_due"],
        currency=invoice["currency"],
        invoice=invoice["id"],
        payment={"payment_intent": intent["id"], "type": "payment_intent"},
    )
    account.world.put("stripe.payment_of", invoice["id"], {"id": payment["id"]})


def move(account: Account, invoice: Json, status: str, event: str | None = None) -> None:
    """Set the invoice's status and its time stamp, store and announce it."""
    invoice["status"] = status
    if stamp := STAMP.get(status):
        invoice["status_transitions"][stamp] = account.now()
    account.tell(event or EVENT[status], account.save(invoice))


def attempt(account: Account, invoice: Json, method: str | None = None) -> ApiError | None:
    """Try to collect an open invoice, by `method` if named -> None when it is paid now, or the card error."""
    invoice |= {"attempted": True, "attempt_count": invoice["attempt_count"] + 1, "next_payment_attempt": None}
    if not invoice["amount_due"]:
        _paid(account, invoice)
        return None
    payment = payments_of(account, invoice["id"])[0]
    intent = account.read("payment_intent", payment["payment"]["payment_intent"])
    declined = _collect(account, invoice, intent, method)
    if declined is None:
        payment |= {"amount_paid": invoice["amount_due"], "status": "paid"}
        payment["status_transitions"]["paid_at"] = account.now()
        account.tell("invoice_payment.paid", account.save(payment))
        _paid(account, invoice)
        return None
    tries = invoice["attempt_count"]
    if invoice["billing_reason"] != "subscription_create" and tries <= len(RETRY_DAYS):
        invoice["next_payment_attempt"] = account.now() + RETRY_DAYS[tries - 1] * DAY
    account.tell("invoice.payment_failed", account.save(invoice))
    return declined


def _collect(account: Account, invoice: Json, intent: Json, method_id: str | None) -> ApiError | None:
    sub = subscription_of(account, invoice)
    method_id = method_id or payer(account, invoice["customer"], sub)
    if method_id is None:
        return ApiError(402, "The customer has no payment method.", "card_error", code="missing_payment_method")
    method = account.read("payment_method", method_id, "payment_method")
    told_to_fail = sub is not None and invoice["billing_reason"] == "subscription_cycle" and _told_to_fail(account, sub)
    return collect(account, intent, method, "insufficient_funds" if told_to_fail else None)


def _told_to_fail(account: Account, sub: Json) -> bool:
    told = account.world.get("stripe.fail_next", sub["id"]) is not None
    account.world.delete("stripe.fail_next", sub["id"])
    return told


def payer(account: Account, customer: str, sub: Json | None) -> str | None:
    """Customer and subscription -> the card that pays: the subscription's own, else the customer's default."""
    own = sub["default_payment_method"] if sub else None
    if own:
        return str(own)
    default = account.read("customer", customer)["invoice_settings"]["default_payment_method"]
    return str(default) if default else None


def _paid(account: Account, invoice: Json) -> None:
    invoice |= {"amount_paid": invoice["amount_due"], "amount_remaining": 0}
    invoice |= {"auto_advance": False, "attempted": True}
    move(account, invoice, "paid", "invoice.paid")
    account.tell("invoice.payment_succeeded", invoice)


def subscription_of(account: Account, invoice: Json) -> Json | None:
    """Invoice -> its subscription, if it has one."""
    details = (invoice["parent"] or {}).get("subscription_details")
    return account.read("subscription", details["subscription"]) if details else None


def payments_of(account: Account, invoice: str) -> list[Json]:
    """Invoice id -> its invoice payments: the one made when it was finalised, if it asked for money."""
    pointer = account.world.get("stripe.payment_of", invoice)
    return [account.read("invoice_payment", pointer["id"])] if pointer else []


def expanded_payments(account: Account, invoice: Json) -> Json:
    """Invoice -> the list it shows when `payments` is expanded."""
    return envelope(payments_of(account, invoice["id"]), f"/v1/invoice_payments?invoice={invoice['id']}")


# -- requests ----------------------------------------------------------------------------------------------------------


def pay(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """payment_method? -> the paid invoice; 402 when the card is declined, 400 when it is not open."""
    invoice = account.read("invoice", id)
    if invoice["status"] == "paid":
        raise ApiError(400, "Invoice is already paid", code="invoice_already_paid")
    if invoice["status"] not in ("draft", "open"):
        raise ApiError(400, f"Invoice is {invoice['status']} and can't be paid")
    if invoice["status"] == "draft":
        finalise(account, invoice)
    sub = subscription_of(account, invoice)
    if declined := attempt(account, invoice, params.get("payment_method")):
        raise declined
    if sub and sub["status"] in ("incomplete", "past_due"):
        account.change(sub, "customer.subscription.updated", status="active")
    return invoice


def void(account: Account, _params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the voided invoice; 400 unless it is open or uncollectible."""
    invoice = account.read("invoice", id)
    if invoice["status"] not in ("open", "uncollectible"):
        raise ApiError(400, f"You can only pass in open invoices. This invoice is {invoice['status']}.")
    move(account, invoice | {"auto_advance": False, "next_payment_attempt": None}, "void")
    return account.read("invoice", id)


def lines_of(account: Account, params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """Invoice id -> page of all its lines, in their order."""
    account.read("invoice", id)
    lines = account.newest_first("line_item", invoice=id)[::-1]
    return page(lines, params, f"/v1/invoices/{id}/lines")


def list_invoices(account: Account, params: Json) -> Json:
    """customer?, subscription?, status?, created? -> page of invoices, newest first."""
    found = account.newest_first("invoice", customer=params.get("customer"), status=params.get("status"))
    wanted = params.get("subscription")

    def of(invoice: Json) -> Any:
        return ((invoice["parent"] or {}).get("subscription_details") or {}).get("subscription")

    chosen = [one for one in found if wanted in (None, of(one)) and within(one["created"], params.get("created", {}))]
    return page(chosen, params, "/v1/invoices")


def list_payments(account: Account, params: Json) -> Json:
    """invoice?, payment[payment_intent]?, status? -> page of invoice payments, newest first."""
    found = account.newest_first("invoice_payment", invoice=params.get("invoice"), status=params.get("status"))
    if wanted := params.get("payment"):
        if wanted.get("type") != "payment_intent" or "payment_intent" not in wanted:
            raise missing("payment", str(wanted), "payment")
        found = [one for one in found if one["payment"]["payment_intent"] == wanted["payment_intent"]]
    return page(found, params, "/v1/invoice_payments")


# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("GET", "/invoices"): (list_invoices, LIST | dict.fromkeys(("customer", "subscription", "status"), text), ()),
    ("GET", "/invoices/search"): (searcher("invoice", "/v1/invoices/search"), SEARCH, ("query",)),
    ("GET", "/invoices/{id}"): (reader("invoice"), {}, ()),
    ("POST", "/invoices/{id}"): (updater("invoice", "invoice.updated"), DETAILS, ()),
    ("GET", "/invoices/{id}/lines"): (lines_of, PAGING, ()),
    ("POST", "/invoices/{id}/pay"): (pay, {"payment_method": text}, ()),
    ("POST", "/invoices/{id}/void"): (void, {}, ()),
    ("GET", "/invoice_payments"): (list_payments, LIST | {"invoice": text, "status": text, "payment": mapping}, ()),
    ("GET", "/invoice_payments/{id}"): (reader("invoice_payment"), {}, ()),
}
