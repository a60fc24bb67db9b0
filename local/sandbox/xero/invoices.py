"""Sales invoices: creating, updating, finding; the arithmetic of lines and tax."""

from decimal import Decimal
from typing import Any

from local.sandbox.world import Json, World
from local.sandbox.xero import chart, contacts
from local.sandbox.xero.wire import (
    Call,
    RefusedError,
    Reply,
    batch,
    dated,
    day,
    instant,
    new_id,
    not_found,
    number,
    paged,
    rounded,
)

INVOICE, NUMBERS = "xero.invoice", "xero.setting"
LONGEST_NUMBER = 255
MOVES = {  # status -> statuses it may be given
    None: {"DRAFT", "SUBMITTED", "AUTHORISED"},
    "DRAFT": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "SUBMITTED": {"DRAFT", "SUBMITTED", "AUTHORISED", "DELETED"},
    "AUTHORISED": {"AUTHORISED", "VOIDED"},
    "PAID": set(),
    "VOIDED": set(),
    "DELETED": set(),
}
PLAIN = ("Reference", "CurrencyCode", "Url", "Status", "LineAmountTypes")


def find(call: Call) -> Reply:
    """GET /Invoices (InvoiceNumbers, IDs, ContactIDs, Statuses, where, page, If-Modified-Since)."""
    wanted = {name: call.listed(query) for name, query in _LISTS.items()}
    people = call.listed("ContactIDs")
    kept = [
        one
        for one in call.world.all(INVOICE)
        if all(not values or one[name] in values for name, values in wanted.items())
        and (not people or one["Contact"]["ContactID"] in people)
    ]
    return paged(call, "Invoices", kept)


_LISTS = {"InvoiceNumber": "InvoiceNumbers", "InvoiceID": "IDs", "Status": "Statuses"}


def read(call: Call) -> Reply:
    """GET /Invoices/{InvoiceID or InvoiceNumber}."""
    found = named(call.world, {"InvoiceID": call.id}) or named(call.world, {"InvoiceNumber": call.id})
    return paged(call, "Invoices", [found]) if found else not_found()


def create(call: Call) -> Reply:
    """PUT /Invoices: every object is a new invoice; a number in use is refused."""
    return batch(call, "Invoices", lambda given: _store(call, given, None), "HasErrors")


def upsert(call: Call) -> Reply:
    """POST /Invoices: an object with a known InvoiceID or InvoiceNumber overwrites, silently, as Xero does."""
    return batch(call, "Invoices", lambda given: _store(call, given, named(call.world, given)), "HasErrors")


def update(call: Call) -> Reply:
    """POST /Invoices/{InvoiceID or InvoiceNumber}."""
    held = named(call.world, {"InvoiceID": call.id}) or named(call.world, {"InvoiceNumber": call.id})
    return batch(call, "Invoices", lambda given: _store(call, given, held), "HasErrors") if held else not_found()


def named(world: World, given: Json) -> Json | None:
    """{InvoiceID} or {InvoiceNumber} -> the invoice; deleted ones give their number free."""
    if given.get("InvoiceID"):
        return world.get(INVOICE, str(given["InvoiceID"]))
    wanted = given.get("InvoiceNumber")
    standing = (one for one in world.all(INVOICE) if one["Status"] != "DELETED")
    return next((one for one in standing if wanted and one["InvoiceNumber"] == wanted), None)


def settle(world: World, invoice: Json) -> Json:
    """Recompute what is paid and due from the invoice's payments, set PAID or AUTHORISED, and store it."""
    paid = sum((Decimal(one["Amount"]) for one in invoice["Payments"]), Decimal(0))
    due = Decimal(invoice["Total"]) - paid
    if invoice["Status"] in ("AUTHORISED", "PAID"):
        invoice["Status"] = "AUTHORISED" if due else "PAID"
    invoice |= {"AmountPaid": _text(paid), "AmountDue": _text(due), "UpdatedDateUTC": instant(world.now())}
    world.put(INVOICE, invoice["InvoiceID"], invoice)
    return invoice


def _store(call: Call, given: Json, held: Json | None) -> Json:
    world = call.world
    _check_move(given, held)
    invoice: Json = {
        "Type": "ACCREC",
        "InvoiceID": new_id(world),
        "Status": "DRAFT",
        "LineAmountTypes": "Exclusive",
        "CurrencyCode": "AUD",
        "CurrencyRate": "1",
        "Reference": "",
        **dated("Date", world.now().date()),
        "AmountCredited": "0.00",
        "Payments": [],
        "LineItems": [],
        **(held or {}),
        **{name: str(given[name]) for name in PLAIN if given.get(name) is not None},
    }
    for name in ("Date", "DueDate"):
        if given.get(name):
            invoice |= dated(name, day(given[name], name))
    invoice["InvoiceNumber"] = _number(world, given, held)
    # Lines are read before the contact: a refused document must not leave a contact behind.
    set_lines(call, invoice, given.get("LineItems"))
    _check_ready(invoice)
    if held is None or given.get("Contact"):
        contact = contacts.for_document(world, given.get("Contact"))
        invoice["Contact"] = {name: contact[name] for name in ("ContactID", "ContactNumber", "Name") if name in contact}
    return settle(world, invoice)


def _check_move(given: Json, held: Json | None) -> None:
    if given.get("Type", "ACCREC" if held else None) != "ACCREC":
        raise RefusedError("Type must be ACCREC")
    before = held["Status"] if held else None
    allowed = MOVES[before]
    paid = bool(held and held["Payments"])
    if paid or not allowed or given.get("Status", before or "DRAFT") not in allowed:
        raise RefusedError(f"Invoice not of valid status for {'modification' if held else 'creation'}")


def _number(world: World, given: Json, held: Json | None) -> str:
    wanted = given.get("InvoiceNumber") or (held["InvoiceNumber"] if held else None)
    if not wanted:
        count = (world.get(NUMBERS, "invoice_number") or {"last": 0})["last"] + 1
        world.put(NUMBERS, "invoice_number", {"last": count})
        wanted = f"INV-{count:04d}"
    wanted = str(wanted)
    if len(wanted) > LONGEST_NUMBER:
        raise RefusedError(f"InvoiceNumber is longer than {LONGEST_NUMBER}")
    other = named(world, {"InvoiceNumber": wanted})
    if other and (held is None or other["InvoiceID"] != held["InvoiceID"]):
        raise RefusedError("Invoice # must be unique.")
    return wanted


def _check_ready(invoice: Json) -> None:
    """An invoice that is to be paid needs its due date, lines, and an account on each line."""
    broken = []
    if not invoice["LineItems"]:
        broken.append("One or more line items must be specified")
    if invoice["Status"] == "AUTHORISED":
        if "DueDate" not in invoice:
            broken.append("The DueDate cannot be empty for an approved invoice")
        if any(not line.get("AccountCode") for line in invoice["LineItems"]):
            broken.append("Account code or ID must be specified")
    if broken:
        raise RefusedError(*broken)


def set_lines(call: Call, invoice: Json, given: Any) -> None:
    """Put lines, their tax and their sums into a document; without `given` the lines it has."""
    if given is not None and not (isinstance(given, list) and all(isinstance(one, dict) for one in given)):
        raise RefusedError("LineItems must be a list of line items")
    kind = invoice["LineAmountTypes"]
    if kind not in ("Exclusive", "Inclusive", "NoTax"):
        raise RefusedError("LineAmountTypes is not valid")
    step = Decimal("0.0001") if call.query.get("unitdp") == "4" else Decimal("0.01")
    lines = [_line(call.world, one, kind, step) for one in (invoice["LineItems"] if given is None else given)]
    amounts = sum((Decimal(line["LineAmount"]) for line in lines), Decimal(0))
    tax = sum((Decimal(line["TaxAmount"]) for line in lines), Decimal(0))
    net = amounts - tax if kind == "Inclusive" else amounts
    if net + tax < 0:
        raise RefusedError("The document total cannot be negative")
    invoice |= {"LineItems": lines, "SubTotal": _text(net), "TotalTax": _text(tax), "Total": _text(net + tax)}


def _line(world: World, given: Json, kind: str, step: Decimal) -> Json:
    if not given.get("Description"):
        raise RefusedError("Description is a mandatory field")
    quantity = number(given.get("Quantity", 1), "Quantity")
    price = rounded(number(given.get("UnitAmount", 0), "UnitAmount"), step)
    off = number(given.get("DiscountRate", 0), "DiscountRate")
    amount = rounded(quantity * price * (100 - off) / 100)
    if given.get("LineAmount") is not None and number(given["LineAmount"], "LineAmount") != amount:
        raise RefusedError(
            f"The line total {given['LineAmount']} does not match the expected line total {_text(amount)}"
        )
    account = chart.revenue(world, str(given["AccountCode"])) if given.get("AccountCode") else None
    tax_type = "NONE" if kind == "NoTax" else given.get("TaxType") or (account["TaxType"] if account else "NONE")
    if tax_type not in chart.TAX_PERCENT:
        code = given.get("AccountCode", "")
        raise RefusedError(f"The TaxType code '{tax_type}' cannot be used with account code '{code}'.")
    percent = chart.TAX_PERCENT[tax_type]
    tax = amount * percent / (100 + percent) if kind == "Inclusive" else amount * percent / 100
    line = {
        "LineItemID": given.get("LineItemID") or new_id(world),
        "Description": str(given["Description"]),
        "Quantity": f"{quantity:f}",
        "UnitAmount": f"{price:f}",
        "TaxType": tax_type,
        "TaxAmount": _text(rounded(tax)),
        "LineAmount": _text(amount),
    }
    code = {"AccountCode": account["Code"]} if account else {}
    return line | code | ({"DiscountRate": f"{off:f}"} if off else {})


def _text(amount: Decimal) -> str:
    return f"{amount:.2f}"
