"""Flow b: a failed debit shuts the door, and the money made good opens it again (CoursePro, D)."""

from datetime import timedelta

from local.caller import Json
from local.journeys.stage import Stage, raw

MEMBERSHIP = """
query ($id: ID!) {
  membership(id: $id) {
    id status reason version availability
    accessTokens(first: 100) { nodes { id revokedAt } }
    payments(first: 10) { nodes { id status reference failure attempts } }
    user { notifications(first: 10) { nodes { kind text } } }
  }
}
"""


async def membership(stage: Stage, membership_id: str) -> Json:
    """The membership as it is now."""
    found: Json = (await stage.caller.ask(MEMBERSHIP, id=membership_id))["membership"]
    return found


async def sign_up(stage: Stage) -> str:
    """A member signs a direct debit, starts a course membership and is on the roster of its next class -> its id."""
    caller = stage.caller
    user, details = await stage.person("Ben")
    started = await caller.do("startDirectDebit", "mandate { id } job { id }", userId=user, currency="GBP")
    page = (await stage.done(started["job"]["id"]))["resultUrl"]
    stage.say(f"{details['firstName']} {details['lastName']} signs a direct debit at {page}")
    mandate_id = started["mandate"]["id"]
    await stage.happens("gocardless", "fulfil_billing_request", billing_request=await _request_of(stage, mandate_id))

    async def known() -> Json | None:
        mandates = await caller.ask(
            "query ($user: ID!) { mandates(filter: {userId: $user}) { nodes { id status externalId } } }", user=user
        )
        found: Json = mandates["mandates"]["nodes"][0]
        return found if found["externalId"] else None

    mandate = await stage.until("the mandate to be known", known)
    if mandate["status"] != "ACTIVE":
        await stage.happens("gocardless", "activate_mandate", mandate=mandate["externalId"])
        await stage.until("the mandate to be active", lambda: _active(stage, user))
    stage.say(f"The instruction {mandate['externalId']} is active.")

    types = (
        await caller.ask(
            "{ membershipTypes(first: 100) { nodes { id integration paymentOptions { pricingOption { id } } } } }"
        )
    )["membershipTypes"]["nodes"]
    academy = next(each for each in types if each["integration"] == "COURSEPRO_COURSE")
    centres = (await caller.ask("{ centres(first: 100) { nodes { id currency } } }"))["centres"]["nodes"]
    centre: str = next(each["id"] for each in centres if each["currency"] == "GBP")
    now = await stage.now()
    bought = await caller.do(
        "startMembership",
        "membership { id status amount { amount currency } }",
        userId=user,
        membershipTypeId=academy["id"],
        centreId=centre,
        pricingOptionId=academy["paymentOptions"][0]["pricingOption"]["id"],
        startsOn=now.date().isoformat(),
        mandateId=mandate_id,
        courseRef="cp-course-7",
    )
    membership_id: str = bought["membership"]["id"]
    starts = now + timedelta(days=2)
    await stage.happens(
        "coursepro",
        "post_attendees",
        api_key=stage.coursepro_key,
        attendees=[
            {
                "attendance_id": f"att-{raw(membership_id)}",
                "membership_id": raw(membership_id),
                "course_ref": "cp-course-7",
                "session_ref": f"cp-session-{raw(membership_id)[:13]}",
                "centre_id": raw(centre),
                "starts_at": starts.isoformat(),
                "ends_at": (starts + timedelta(minutes=45)).isoformat(),
                "mark": None,
            }
        ],
    )
    await stage.until("an access token", lambda: _standing(stage, membership_id, "ACTIVE", open_tokens=1))
    await stage.until("CoursePro to say Active", lambda: _availability(stage, membership_id, "active"))
    stage.say("The membership is ACTIVE, CoursePro says Active, one access token is open.")
    return membership_id


async def fail_and_make_good(stage: Stage, membership_id: str) -> Json:
    """The fee fails, the same webhook comes again, the fee is made good -> what was seen at each step."""
    caller = stage.caller
    async with stage.watching("MEMBERSHIP") as watch:
        fee = await stage.until("the first fee to be asked for", lambda: _asked_for(stage, membership_id))
        stage.say("The first month's fee is asked for: nobody had to.")
        payment = await stage.until("the fee to be with the bank", lambda: _submitted(stage, fee["id"]))
        await stage.disturb("submitted")
        await stage.twice("gocardless", on=True)
        await stage.happens("gocardless", "fail_payment", payment=payment["reference"], cause="insufficient_funds")
        await stage.disturb("failed")
        suspended = await stage.until(
            "the membership to be suspended", lambda: _standing(stage, membership_id, "SUSPENDED", open_tokens=0)
        )
        stage.say(f"The debit failed: {suspended['status']} ({suspended['reason']}), no token is open.")
        await stage.until("CoursePro to say Unavailable", lambda: _availability(stage, membership_id, "unavailable"))
        noticed = await stage.until("the member to be told", lambda: _notified(stage, membership_id))
        stage.say(f"CoursePro says Unavailable; the member reads: {noticed[0]['text']}")
        await stage.all_delivered("gocardless")
        again = await membership(stage, membership_id)
        stage.say(f"The same webhook came again: still version {again['version']}, {len(noticed)} message.")

        retried = await caller.do("retryPayment", "payment { id } job { id }", paymentId=fee["id"])
        await stage.done(retried["job"]["id"])
        await stage.disturb("retried")
        await stage.happens("gocardless", "confirm_payment", payment=payment["reference"])
        active = await stage.until(
            "the membership to be active again", lambda: _standing(stage, membership_id, "ACTIVE", open_tokens=1)
        )
        await stage.until("CoursePro to say Active", lambda: _availability(stage, membership_id, "active"))
        await stage.twice("gocardless", on=False)
        stage.say("Paid after all: ACTIVE here, Active in CoursePro, a new token is open.")
        kinds = await stage.heard(watch, "membership", membership_id, *["MembershipStatusChanged"] * 2)
    return {"suspended": suspended, "again": again, "active": active, "notifications": noticed, "events": kinds}


async def _request_of(stage: Stage, mandate_id: str) -> str:
    """The billing request that was opened for a mandate of ours, found by our id in its metadata."""
    for request in await stage.held("gocardless.billing_requests"):
        if raw(mandate_id) in str(request):
            found: str = request["id"]
            return found
    raise AssertionError(f"no billing request was opened for {raw(mandate_id)}")


async def _active(stage: Stage, user: str) -> bool | None:
    found = await stage.caller.ask(
        "query ($user: ID!) { mandates(filter: {userId: $user}) { nodes { status } } }", user=user
    )
    return True if found["mandates"]["nodes"][0]["status"] == "ACTIVE" else None


async def _asked_for(stage: Stage, membership_id: str) -> Json | None:
    fees: list[Json] = (await membership(stage, membership_id))["payments"]["nodes"]
    return fees[0] if fees else None


async def _submitted(stage: Stage, payment_id: str) -> Json | None:
    found: Json = (
        await stage.caller.ask("query ($id: ID!) { payment(by: {id: $id}) { status reference } }", id=payment_id)
    )["payment"]
    return found if found["status"] == "SUBMITTED" and found["reference"] else None


async def _standing(stage: Stage, membership_id: str, status: str, *, open_tokens: int) -> Json | None:
    found = await membership(stage, membership_id)
    still_open = [token for token in found["accessTokens"]["nodes"] if token["revokedAt"] is None]
    return found if found["status"] == status and len(still_open) == open_tokens else None


async def _notified(stage: Stage, membership_id: str) -> list[Json] | None:
    found = await membership(stage, membership_id)
    nodes: list[Json] = found["user"]["notifications"]["nodes"]
    return nodes or None


async def _availability(stage: Stage, membership_id: str, word: str) -> bool | None:
    for course in await stage.held("coursepro.customers_course"):
        if course["id"] == raw(membership_id):
            return True if course["availability"] == word else None
    return None
