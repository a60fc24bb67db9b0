"""Flow a: a full-rate course under way, booked by package + charge (Groovio, scenario 2)."""

from datetime import timedelta
from typing import Any

from local.caller import Json
from local.journeys.stage import Stage, raw

BOOKING = """
query ($id: ID!) {
  booking(id: $id) {
    id status credits charge { amount currency }
    because { rule text }
    creditEntries(first: 1) { nodes { package { balance } } }
    payment { id status reference attempts amount { minorUnits } }
  }
}
"""


async def course_under_way(stage: Stage) -> str:
    """A course of eight at 80.00, two elapsed and six to come -> its id."""
    caller, now = stage.caller, await stage.now()
    centres = (await caller.ask("{ centres(first: 100) { nodes { id name currency } } }"))["centres"]["nodes"]
    pool = next(centre for centre in centres if centre["currency"] == "GBP")
    option = await caller.do(
        "createPricingOption",
        "pricingOption { id }",
        name="Eight lessons",
        type="STANDARD",
        frequency="FIXED",
        price={"amount": "80.00", "currency": "GBP"},
    )
    starts = [now + timedelta(days=7 * week, hours=1) for week in range(-2, 6)]
    course = await caller.do(
        "createCourse",
        "course { id }",
        name="Beginners",
        centreId=pool["id"],
        pricingOptionId=option["pricingOption"]["id"],
        pricing="FULL_RATE",
        capacity=10,
        sessions=[
            {"startsAt": start.isoformat(), "endsAt": (start + timedelta(minutes=45)).isoformat()} for start in starts
        ],
    )
    course_id: str = course["course"]["id"]
    return course_id


async def book_with_credits(stage: Stage, credits_held: int) -> Json:
    """Book with so many credits held -> {booking, events, intents}: what it became and what the card provider has."""
    caller = stage.caller
    course = await course_under_way(stage)
    user, details = await stage.person("Ada")
    name = f"{details['firstName']} {details['lastName']}"
    card = await stage.happens("stripe", "create_customer_with_card", email=details["email"], name=name)
    for kind in ("customer", "payment_method"):
        await caller.do("linkUser", userId=user, provider="STRIPE", kind=kind, externalId=card[kind])
    granted = await caller.do("grantPackage", "package { id }", userId=user, name="Lessons", credits=credits_held)
    stage.say(f"{name} holds {credits_held} credits and a card; the course has 2 classes behind and 6 ahead of it.")

    async with stage.watching("BOOKING", "PAYMENT") as watch:
        payload = await caller.do(
            "bookCourse",
            "booking { id status credits charge { amount currency } because { rule text figures { name value } } }"
            " job { id kind }",
            courseId=course,
            userId=user,
            method="PACKAGE_AND_CHARGE",
            packageId=granted["package"]["id"],
        )
        booked = payload["booking"]
        charge = f"{booked['charge']['amount']} {booked['charge']['currency']}"
        stage.say(f"bookCourse: {booked['credits']} credits drawn, {charge} charged, {booked['status']}.")
        for step in booked["because"]:
            figures = ", ".join(f"{figure['name']} {figure['value']}" for figure in step["figures"])
            stage.say(f"    {step['rule']}: {step['text']} ({figures})")
        await stage.disturb("booked")

        async def settled() -> Json | None:
            found: Json = (await caller.ask(BOOKING, id=booked["id"]))["booking"]
            return found if found["status"] == "CONFIRMED" else None

        booking = await stage.until("the booking to be confirmed by the card provider's webhook", settled)
        kinds = await stage.heard(watch, "booking", booked["id"], "BookingMade", "BookingConfirmed")
    intents = [each for each in await stage.held("stripe.payment_intent") if _ours(each, booking)]
    (drawn, *_) = booking["creditEntries"]["nodes"]
    stage.say(f"{booking['status']}; {drawn['package']['balance']} credits left; card charged {len(intents)} time.")
    return {"payload": payload, "booking": booking, "events": kinds, "intents": intents}


def _ours(intent: Json, booking: Json) -> bool:
    metadata: dict[str, Any] = intent.get("metadata") or {}
    return metadata.get("payment_id") == raw(booking["payment"]["id"])
