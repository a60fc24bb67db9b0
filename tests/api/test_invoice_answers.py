"""An invoice seen through the API: what differs between its versions, why, what it earned, what was put aside."""

from typing import Any

import pytest

from models.actions import invoices, subscriptions
from models.rules.invoicing import Mark
from models.rules.states import Role
from models.tables.course import Attendance
from resolvers.reads.ids import encode
from tests.build import BY, DAY, NOW, WEEK, Clinic, a_clinic, a_subscriber, a_user, attend, tell

END = NOW + WEEK
VERSIONS = """
query ($id: ID!) { invoice(by: {id: $id}) {
  allocations { version difference { attendance { mark } was { amount } now { amount } } }
  corrections { cause proposal state amount { amount } was { name value } now { name value } }
} }
"""
EXPLAIN = (
    "query ($id: ID!) { explain(id: $id) { decided outcome { name value } steps { rule figures { name value } } } }"
)
WHY = """
query ($a: ID, $i: ID) { whyNot(attendanceId: $a, invoiceId: $i) {
  refusal { code } steps { rule } earlier { decided }
  payment { paidBy { id } decidedBy candidates { invoice { id } reason steps { rule } } }
} }
"""
PEOPLE = "query ($id: ID!) { invoice(by: {id: $id}) { user { id } attendee { id } } }"
REVENUE = """
query ($by: RevenueBy!, $c: ID) { revenueReport(from: "2026-03-01", to: "2026-04-01", by: $by, centreId: $c) {
  id name classes invoices amount { amount currency } billedOff { amount }
} }
"""


async def a_weeks_story() -> tuple[Clinic, Clinic]:
    """Two memberships: the weekly's classes change, it is billed off, a class of it is marked, money goes back."""
    weekly = await a_subscriber()
    monthly = await a_clinic(beside=weekly)
    await attend(weekly.seat(1, NOW + DAY), weekly.seat(2, NOW + 2 * DAY))
    await tell(monthly.subscribed(), weekly.invoiced(50_00), monthly.invoiced(90_00, end=NOW + 4 * WEEK))
    await attend(weekly.seat(2, NOW + 2 * DAY, Mark.DNA))
    await invoices.bill_off((await weekly.invoice()).id, acting=BY, at=END)
    await attend(weekly.seat(1, NOW + DAY, Mark.DNA), at=END)
    await tell(weekly.invoiced(50_00, amount_refunded=9_99), at=END)
    return weekly, monthly


async def seen(api: Any, query: str, role: str = "ADMIN", **variables: Any) -> Any:
    told = await api.ask(query, role, **variables)
    assert "errors" not in told, told
    (answer,) = told["data"].values()
    return answer


@pytest.mark.usefixtures("database")
async def test_an_invoice_tells_its_story(api: Any) -> None:
    weekly, monthly = await a_weeks_story()
    first, other = await weekly.invoice(), await monthly.invoice()
    given = encode("Invoice", first.id)
    told = await seen(api, VERSIONS, id=given)
    both = [sorted((each["was"] or {}).get("amount", "") for each in v["difference"]) for v in told["allocations"]]
    assert both == [["", ""], ["25.00", "25.00"]]
    after = {each["attendance"]["mark"]: each["now"] for each in told["allocations"][1]["difference"]}
    assert list(after.values()).count(None) == 1, "the one not attended carries nothing any more"
    assert {each["cause"]: (each["proposal"], each["state"]) for each in told["corrections"]} == {
        "ATTENDANCE_CHANGED": ("VOID_AND_REISSUE", "OPEN"),
        "REFUNDED": ("CREDIT_NOTE", "OPEN"),
    }
    refunded = next(each for each in told["corrections"] if each["cause"] == "REFUNDED")
    assert (refunded["amount"], refunded["now"]) == (
        {"amount": "9.99"},
        [{"name": "amount_refunded", "value": "999"}],
    )

    decided = await seen(api, EXPLAIN, id=given)
    assert [each["decided"] for each in decided] == [
        "open_invoice",
        "allocate_invoice",
        "allocate_invoice",
        "bill_off_invoice",
        "open_correction",
        "open_correction",
    ]
    walked = [step["rule"] for step in decided[2]["steps"]]
    assert walked == ["R100", "R101", "R102", "R103", "R104", "R91", "R106", "R109", "R110"]

    (seat, absent) = await Attendance.filter(user_id=weekly.user.id).order_by("class_session__starts_at")
    why = await seen(api, WHY, a=encode("Attendance", seat.id))
    assert (why["payment"]["paidBy"]["id"], why["payment"]["decidedBy"]) == (given, "BILLED_OFF")
    assert (why["refusal"], why["earlier"], why["steps"]) == (None, [], [{"rule": "R91"}])
    why = await seen(api, WHY, a=encode("Attendance", absent.id), i=encode("Invoice", other.id))
    assert why["payment"]["paidBy"] is None
    assert {each["invoice"]["id"]: each["reason"] for each in why["payment"]["candidates"]} == {
        given: "MARKED_DNA",
        encode("Invoice", other.id): "MARKED_DNA",
    }

    child = await a_user("Kim")
    whose: dict[str, Any] = {"user_id": monthly.user.id, "beneficiary_id": child.id}
    await subscriptions.link_subscription((await monthly.row()).id, **whose, acting=BY, at=END)
    people = [await seen(api, PEOPLE, id=encode("Invoice", each.id)) for each in (first, other)]
    payer, kim = encode("User", monthly.user.id), encode("User", child.id)
    assert [(each["user"]["id"], each["attendee"]["id"]) for each in people] == [(payer, payer), (payer, kim)]


@pytest.mark.usefixtures("database")
async def test_who_may_see_what_of_money(api: Any) -> None:
    weekly, _ = await a_weeks_story()
    centre = encode("Centre", weekly.centre.id)
    (line,) = await seen(api, REVENUE, Role.FINANCE, by="PERIOD", c=centre)
    assert line == {
        "id": None,
        "name": "2026-03",
        "classes": 1,
        "invoices": 2,
        "amount": {"amount": "140.00", "currency": "GBP"},
        "billedOff": {"amount": "50.00"},
    }
    names = [(line["name"], line["classes"]) for line in await seen(api, REVENUE, by="CLASS", c=centre)]
    assert names == [(f"Class {weekly.covers[0]}", 1), (None, 0)]
    for role in (Role.FRONT_DESK, Role.MEMBER, Role.PARTNER):
        assert await seen(api, REVENUE, role, by="CLASS") is None
    seat = await Attendance.filter(user_id=weekly.user.id).first()
    assert seat is not None
    assert await seen(api, WHY, "MEMBER", a=encode("Attendance", seat.id)) is None, "it is somebody else's"
    assert await seen(api, WHY, a=encode("Invoice", seat.id)) is None
    told = await api.ask(WHY)
    assert told["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
