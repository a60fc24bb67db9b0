"""Credit notes to customers: creating, finding, voiding. They are set against no invoice here."""

from decimal import Decimal

from local.sandbox.world import Json, World
from local.sandbox.xero import contacts, invoices
from local.sandbox.xero.wire import Call, RefusedError, Reply, batch, dated, day, instant, new_id, not_found, paged

CREDIT_NOTE = "xero.credit_note"


def find(call: Call) -> Reply:
    """GET /CreditNotes (where, page, If-Modified-Since)."""
    return paged(call, "CreditNotes", call.world.all(CREDIT_NOTE))


def read(call: Call) -> Reply:
    """GET /CreditNotes/{CreditNoteID}."""
    found = call.world.get(CREDIT_NOTE, call.id)
    return paged(call, "CreditNotes", [found]) if found else not_found()


def create(call: Call) -> Reply:
    """PUT /CreditNotes: every object is a new credit note; a number in use is refused."""
    return batch(call, "CreditNotes", lambda given: _store(call, given), "HasErrors")


def update(call: Call) -> Reply:
    """POST /CreditNotes/{CreditNoteID} with Status VOIDED."""
    held = call.world.get(CREDIT_NOTE, call.id)
    return (
        batch(call, "CreditNotes", lambda given: _void(call.world, held, given), "HasErrors") if held else not_found()
    )


def _store(call: Call, given: Json) -> Json:
    world = call.world
    number = given.get("CreditNoteNumber")
    if given.get("Type") != "ACCRECCREDIT":
        raise RefusedError("Type must be ACCRECCREDIT")
    if not number or any(one["CreditNoteNumber"] == number for one in world.all(CREDIT_NOTE)):
        raise RefusedError("Credit Note # must be unique.")
    note: Json = {
        "Type": "ACCRECCREDIT",
        "CreditNoteID": new_id(world),
        "CreditNoteNumber": str(number),
        "Reference": str(given.get("Reference", "")),
        "Status": str(given.get("Status", "DRAFT")),
        "LineAmountTypes": str(given.get("LineAmountTypes", "Exclusive")),
        "CurrencyCode": str(given.get("CurrencyCode", "AUD")),
        **dated("Date", day(given.get("Date") or world.now().date(), "Date")),
        "LineItems": [],
        "UpdatedDateUTC": instant(world.now()),
    }
    invoices.set_lines(call, note, given.get("LineItems"))
    contact = contacts.for_document(world, given.get("Contact"))
    note["Contact"] = {name: contact[name] for name in ("ContactID", "Name")}
    note["RemainingCredit"] = f"{Decimal(note['Total']):.2f}"
    world.put(CREDIT_NOTE, note["CreditNoteID"], note)
    return note


def _void(world: World, held: Json, given: Json) -> Json:
    if given.get("Status") != "VOIDED" or held["Status"] != "AUTHORISED":
        raise RefusedError("Credit Note not of valid status for modification")
    held |= {"Status": "VOIDED", "UpdatedDateUTC": instant(world.now())}
    world.put(CREDIT_NOTE, held["CreditNoteID"], held)
    return held
