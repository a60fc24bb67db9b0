"""Flow c: a subscription invoice over the classes it paid for, billed off at the period's end (BOS)."""

from datetime import datetime, timedelta

from local.caller import Json
from local.journeys.stage import Stage

RENEWED = timedelta(hours=2)  # the card provider charges a renewal an hour after the period began

INVOICES = """
query ($user: ID!) {
  user(by: {id: $user}) { invoices(orderBy: [{field: PERIOD_END, direction: ASC}]) {
    nodes {
      id externalId status hold billedOffAt period { start end } membership { status amount { amount } }
      allocation { version kind amount { amount } shares { amount { amount } } }
      allocations { version }
      shipments { system state reference externalId }
    }
  } }
}
"""


async def subscribe(stage: Stage) -> Json:
    """A client with two booked classes subscribes -> {user, invoice, patient, classes, events}."""
    caller = stage.caller
    user, details = await stage.person("Cleo")
    name = f"{details['firstName']} {details['lastName']}"
    patient = await stage.happens(
        "nookal",
        "add_patient",
        first_name=details["firstName"],
        last_name=details["lastName"],
        email=details["email"],
    )
    patient_id = str(patient["ID"])
    await caller.do("linkUser", userId=user, provider="NOOKAL", kind="patient", externalId=patient_id)
    kind = await _cycling(stage)
    now = await stage.now()
    classes = [await _class(stage, kind["practice_id"], now + timedelta(days=day)) for day in (1, 3, 5)]
    for class_id in classes[:2]:
        await stage.happens("nookal", "add_participant", class_id=class_id, patient_id=patient_id)
    await stage.until("both bookings to be read", lambda: _seats(stage, user, 2))
    stage.say(f"{name} is booked into two cycling classes.")

    link = await caller.do("createPaymentLink", membershipTypeId=kind["type"], userId=user)
    page = (await stage.done(link["job"]["id"]))["resultUrl"]
    stage.say(f"The sign-up page is {page}")
    await stage.happens("stripe", "complete_payment_link", payment_link=page, email=details["email"], name=name)
    await stage.disturb("subscribed")
    invoice = await stage.until("the first invoice over both classes", lambda: _shares(stage, user, ["25.00", "25.00"]))
    stage.say("The first invoice, 50.00, is spread at once: 25.00, 25.00.")
    return {"user": user, "patient": patient_id, "classes": classes, "invoice": invoice}


async def change_classes(stage: Stage, subscribed: Json) -> list[Json]:
    """A third class is joined, then one is cancelled and one not attended -> the invoice after each."""
    user, patient, classes = subscribed["user"], subscribed["patient"], subscribed["classes"]
    await stage.happens("nookal", "add_participant", class_id=classes[2], patient_id=patient)
    await stage.disturb("joined")
    three = await stage.until("three shares", lambda: _shares(stage, user, ["16.66", "16.67", "16.67"]))
    stage.say("A third class is joined: 16.66, 16.67, 16.67.")
    await stage.happens("nookal", "set_participant", class_id=classes[0], patient_id=patient, cancelled=True)
    await stage.happens("nookal", "set_participant", class_id=classes[1], patient_id=patient, DNA=True)
    one = await stage.until("one share", lambda: _shares(stage, user, ["50.00"]))
    stage.say("One is cancelled, one not attended: 50.00 on the one left.")
    return [three, one]


async def end_periods(stage: Stage, subscribed: Json) -> Json:
    """The period ends, and the next one, which has no class -> {first, second, nookal, xero}."""
    user = subscribed["user"]
    async with stage.watching("INVOICE") as watch:
        first_end = datetime.fromisoformat(subscribed["invoice"]["period"]["end"])
        await stage.move_clock(first_end + RENEWED)
        await stage.disturb("ended")
        first = await stage.until("the first invoice to be shipped twice", lambda: _shipped(stage, user, 0))
        stage.say(f"The period is over: shipped as {_ids(first)}.")
        await stage.move_clock(first_end + timedelta(days=7) + RENEWED)
        second = await stage.until("the second invoice to be shipped twice", lambda: _shipped(stage, user, 1))
        stage.say(f"A period without a class: {second['allocation']['kind']}, shipped as {_ids(second)}.")
        kinds = await stage.heard(watch, "invoice", first["id"], "InvoiceBilledOff", *["InvoiceShipped"] * 2)
    references = [first["shipments"][0]["reference"], second["shipments"][0]["reference"]]
    practice = [each for each in await stage.held("nookal.invoice") if each["invoiceNotes"] in references]
    books = [each for each in await stage.held("xero.invoice") if each["InvoiceNumber"] in references]
    return {"first": first, "second": second, "nookal": practice, "xero": books, "events": kinds}


def _ids(invoice: Json) -> str:
    return ", ".join(f"{each['system']} {each['externalId']}" for each in invoice["shipments"])


async def _cycling(stage: Stage) -> Json:
    types = (
        await stage.caller.ask(
            "{ membershipTypes(first: 100) { nodes { id product coverage { classType { practiceId } } } } }"
        )
    )["membershipTypes"]["nodes"]
    managed = next(each for each in types if each["product"])
    return {"type": managed["id"], "practice_id": managed["coverage"][0]["classType"]["practiceId"]}


async def _class(stage: Stage, practice_id: str, starts_at: datetime) -> str:
    made = await stage.happens("nookal", "add_class", class_type=practice_id, starts_at=starts_at.isoformat())
    return str(made["ID"])


async def _seats(stage: Stage, user: str, count: int) -> bool | None:
    found = await stage.caller.ask(
        "query ($user: ID!) { user(by: {id: $user}) { attendances(first: 100) { totalCount } } }", user=user
    )
    return True if found["user"]["attendances"]["totalCount"] == count else None


async def _invoices(stage: Stage, user: str) -> list[Json]:
    found: list[Json] = (await stage.caller.ask(INVOICES, user=user))["user"]["invoices"]["nodes"]
    return found


async def _shares(stage: Stage, user: str, amounts: list[str]) -> Json | None:
    for invoice in await _invoices(stage, user):
        if [share["amount"]["amount"] for share in (invoice["allocation"] or {}).get("shares", ())] == amounts:
            return invoice
    return None


async def _shipped(stage: Stage, user: str, number: int) -> Json | None:
    invoices = await _invoices(stage, user)
    if len(invoices) <= number:
        return None
    states = [shipment["state"] for shipment in invoices[number]["shipments"]]
    return invoices[number] if states == ["SHIPPED", "SHIPPED"] else None
