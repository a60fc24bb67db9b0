"""Payments of sales invoices: never more than what is due."""

from decimal import Decimal

from local.sandbox.world import Json, World
from local.sandbox.xero import chart, invoices
from local.sandbox.xero.wire import (
    Call,
    RefusedError,
    Reply,
    batch,
    dated,
    day,
    elements,
    instant,
    new_id,
    not_found,
    number,
    paged,
    wrapped,
)

PAYMENT = "xero.payment"


def find(call: Call) -> Reply:
    """GET /Payments (where, page, If-Modified-Since)."""
    return paged(call, "Payments", call.world.all(PAYMENT))


def read(call: Call) -> Reply:
    """GET /Payments/{PaymentID}."""
    found = call.world.get(PAYMENT, call.id)
    return wrapped(call, "Payments", [found]) if found else not_found()


def create(call: Call) -> Reply:
    """PUT or POST /Payments."""
    return batch(call, "Payments", lambda given: _store(call.world, given), "HasValidationErrors")


def delete(call: Call) -> Reply:
    """POST /Payments/{PaymentID} with Status DELETED: the invoice is due again."""
    if call.world.get(PAYMENT, call.id) is None:
        return not_found()
    (given,) = elements(call.body, "Payments")
    return batch(
        Call(call.world, call.tenant_id, call.query, [given]),
        "Payments",
        lambda one: _delete(call.world, call.id, one),
        "HasValidationErrors",
    )


def _store(world: World, given: Json) -> Json:
    invoice = invoices.named(world, given.get("Invoice") or {})
    if invoice is None:
        raise RefusedError("Invoice could not be found")
    amount = number(given.get("Amount", 0), "Amount")
    broken = []
    if amount <= 0:
        broken.append("The Payment Amount must be greater than zero")
    if amount != round(amount, 2):
        broken.append("The Payment Amount must have two decimals at most")
    if invoice["Status"] != "AUTHORISED":
        broken.append("Payments can only be made against Authorised documents")
    if amount > Decimal(invoice["AmountDue"]):
        broken.append("Payment amount exceeds the amount outstanding on this document")
    if broken:
        raise RefusedError(*broken)
    account = chart.bank(world, given.get("Account") or {})
    own = {
        "PaymentID": new_id(world),
        **dated("Date", day(given.get("Date") or world.now().date(), "Date")),
        "Amount": f"{amount:.2f}",
        "Reference": given.get("Reference", ""),
    }
    invoice["Payments"].append(own)
    invoices.settle(world, invoice)
    payment = {
        **own,
        "CurrencyRate": "1",
        "PaymentType": "ACCRECPAYMENT",
        "Status": "AUTHORISED",
        "IsReconciled": False,
        "Account": {"AccountID": account["AccountID"], "Code": account["Code"]},
        "Invoice": {name: invoice[name] for name in ("InvoiceID", "InvoiceNumber", "Type", "CurrencyCode")},
        "UpdatedDateUTC": instant(world.now()),
    }
    world.put(PAYMENT, own["PaymentID"], payment)
    return payment


def _delete(world: World, payment_id: str, given: Json) -> Json:
    payment = world.get(PAYMENT, payment_id)
    if payment is None or payment["Status"] == "DELETED" or given.get("Status") != "DELETED":
        raise RefusedError("Payment not of valid status for modification")
    payment |= {"Status": "DELETED", "UpdatedDateUTC": instant(world.now())}
    world.put(PAYMENT, payment_id, payment)
    invoice = invoices.named(world, payment["Invoice"])
    if invoice:
        invoice["Payments"] = [one for one in invoice["Payments"] if one["PaymentID"] != payment_id]
        invoices.settle(world, invoice)
    return payment
