"""Invoices: adding (never idempotent), reading, paying, voiding."""

from collections.abc import Callable
from datetime import date
from zoneinfo import ZoneInfo

from local.sandbox.nookal.clinic import CLASS, CLASS_TYPE, LOCATION, participant, store_participant
from local.sandbox.nookal.patients import PATIENT
from local.sandbox.nookal.wire import Failure, Rows, cents, flag, items, need, new_id, shown, stamp
from local.sandbox.world import Json, World

INVOICE = "nookal.invoice"
ITEM_TYPES = {"Class", "AdHoc", "Pass", "Stock"}
METHODS_GROUP = "Other"


def _add_invoice(world: World, given: Json) -> Json:
    location_id, patient_id = need(given, "location_id", "patient_id")
    location = _known(world, LOCATION, location_id, "Location")
    _known(world, PATIENT, patient_id, "Patient")
    if not items(given, "items"):
        raise Failure("L000_1", None, ["Missing variable: items"])
    day = _day(given.get("date"), _today(world, location))
    number = new_id(world)
    invoice = {
        "ID": number,
        "invoiceNumber": number,
        "patientID": patient_id,
        "providerID": given.get("practitioner_id"),
        "caseID": given.get("case_id"),
        "date": day,
        "dateCreated": stamp(world),
        "locationID": location_id,
        "isThirdPartyInvoice": flag(False),
        "invoiceNotes": given.get("invoice_notes", ""),
        "accountNotes": given.get("account_notes", ""),
        "adhocNotes": "",
        "void": flag(False),
        "entries": [_entry(world, item, patient_id, day) for item in items(given, "items")],
        "payments": [_payment(world, payment, day) for payment in items(given, "payments")],
    }
    world.put(INVOICE, number, invoice)
    _mark_participants(world, invoice, invoiced=True)
    return {"invoice": _shown(invoice, expanded=True)}


def _entry(world: World, item: Json, patient_id: str, day: str) -> Json:
    """One of items[n] -> an entry; `link` is kept for the scenario's eyes and never sent."""
    (kind,) = need(item, "type")
    if kind not in ITEM_TYPES:
        raise Failure("L005", f"Invalid variable: type ({kind})")
    offered = _known(world, CLASS_TYPE, need(item, "item_id")[0], "Item") if kind == "Class" else {}
    price = item["amount"] if item.get("amount") else offered.get("Price")
    if price is None:
        raise Failure("L000_1", None, ["Missing variable: amount"])
    name = item.get("name") or offered.get("Name") or need(item, "name")[0]
    quantity = item.get("qty", "1")
    if not quantity.isdecimal() or quantity == "0":
        raise Failure("L005", "Invalid variable: qty")
    class_id = item.get("appt_id")
    if class_id:
        held = _known(world, CLASS, class_id, "Class")
        if participant(world, class_id, patient_id) is None:
            raise Failure("L005", f"The patient does not take part in class {class_id}")
        day = held["appointmentDate"]
    total = shown(cents(price, "amount") * int(quantity))
    return {
        "entry_id": new_id(world),
        "void": flag(False),
        "date": day,
        "name": name,
        "description": item.get("description", ""),
        "qty": quantity,
        "subtotal": total,
        "tax": "0.00",
        "total": total,
        "link": {"type": kind, "item_id": item.get("item_id"), "appt_id": class_id},
    }


def _payment(world: World, given: Json, day: str) -> Json:
    """One of payments[n] -> a payment; more than the balance is accepted."""
    method, amount = need(given, "method", "amount")
    return {
        "payment_id": new_id(world),
        "void": flag(False),
        "date": _day(given.get("date"), day),
        "amount": shown(cents(amount, "amount")),
        "group": METHODS_GROUP,
        "method": method,
    }


def _mark_participants(world: World, invoice: Json, *, invoiced: bool) -> None:
    for class_id in dict.fromkeys(entry["link"]["appt_id"] for entry in invoice["entries"]):
        row = participant(world, class_id, invoice["patientID"]) if class_id else None
        if row:
            store_participant(world, {**row, "invoiceGenerated": flag(invoiced)})


def _add_payment(world: World, given: Json) -> Json:
    (invoice_id,) = need(given, "invoice_id")
    invoice = _standing(world, invoice_id)
    payment = _payment(world, given, _today(world, _known(world, LOCATION, invoice["locationID"], "Location")))
    world.put(INVOICE, invoice_id, {**invoice, "payments": [*invoice["payments"], payment]})
    return {"payment_id": payment["payment_id"]}


def _delete_invoice(world: World, given: Json) -> Json:
    """Void the invoice with all its rows, and free the classes no other invoice of the patient names."""
    (invoice_id,) = need(given, "invoice_id")
    invoice = _standing(world, invoice_id)
    for row in [invoice, *invoice["entries"], *invoice["payments"]]:
        row["void"] = flag(True)
    world.put(INVOICE, invoice_id, invoice)
    _mark_participants(world, invoice, invoiced=False)
    for other in world.all(INVOICE):
        if other["patientID"] == invoice["patientID"] and other["void"] == "0":
            _mark_participants(world, other, invoiced=True)
    return {"invoice_id": invoice_id}


def _get_invoice(world: World, given: Json) -> Json:
    (invoice_id,) = need(given, "invoice_id")
    return {"invoice": _shown(_known(world, INVOICE, invoice_id, "Invoice"), expanded=True)}


def _get_invoices(world: World, given: Json) -> Rows:
    patient_id, case_id = given.get("patient_id"), given.get("case_id")
    if not patient_id and not case_id:
        raise Failure("L001", "One of Patient ID | Case ID is missing")
    void, expanded = given.get("void", "0"), given.get("expanded") == "1"
    first, last = given.get("date_from", "0000-00-00"), given.get("date_to", "9999-99-99")
    rows = [
        _shown(row, expanded=expanded)
        for row in world.all(INVOICE)
        if patient_id in (None, row["patientID"])
        and case_id in (None, row["caseID"])
        and row["void"] == void
        and first <= row["date"] <= last
    ]
    return Rows("invoices", rows)


def _shown(invoice: Json, *, expanded: bool) -> Json:
    """A stored invoice -> what Nookal sends, totals counted over what is not void."""
    debits = sum(cents(row["total"], "total") for row in invoice["entries"] if row["void"] == "0")
    paid = sum(cents(row["amount"], "amount") for row in invoice["payments"] if row["void"] == "0")
    zeros = {f"total{name}": "0.00" for name in ("Adjustments", "Discounts", "Credits", "Refunds")}
    totals = {"totalDebits": shown(debits), "totalPayments": shown(paid), "totalBalance": shown(debits - paid)}
    row = {name: value for name, value in invoice.items() if name not in ("entries", "payments")} | zeros | totals
    if expanded:
        entries = [{k: v for k, v in entry.items() if k != "link"} for entry in invoice["entries"]]
        row["details"] = {"entries": entries, "payments": invoice["payments"]}
    return row


def _standing(world: World, invoice_id: str) -> Json:
    invoice = _known(world, INVOICE, invoice_id, "Invoice")
    if invoice["void"] == "1":
        raise Failure("L006", f"Invoice {invoice_id} is void")
    return invoice


def _known(world: World, kind: str, number: str, name: str) -> Json:
    found = world.get(kind, number)
    if found is None:
        raise Failure("L005", f"{name} {number} was not found")
    return found


def _today(world: World, location: Json) -> str:
    return world.now().astimezone(ZoneInfo(location["Timezone"])).date().isoformat()


def _day(text: str | None, default: str) -> str:
    try:
        return date.fromisoformat(text[:10]).isoformat() if text else default
    except ValueError:
        raise Failure("L005", "Invalid variable: date") from None


FUNCTIONS: dict[str, Callable[[World, Json], Rows | Json]] = {
    "addInvoice": _add_invoice,
    "getInvoice": _get_invoice,
    "getInvoices": _get_invoices,
    "addPaymentToInvoice": _add_payment,
    "deleteInvoice": _delete_invoice,
}
