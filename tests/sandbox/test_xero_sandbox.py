"""Xero's stand-in: token, tenant, limits, idempotency, and books that refuse what Xero refuses."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

Json = dict[str, Any]
NOT_UNIQUE = "Invoice # must be unique."


class Xero:
    """A client with a token and the tenant's header."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self.own = sandbox.credentials["xero"]
        self.http = httpx.Client(base_url=sandbox.urls["xero"], trust_env=False, headers={"accept": "application/json"})
        self.renew()

    def renew(self) -> None:
        basic = (self.own["client_id"], self.own["client_secret"])
        said = self.http.post("/connect/token", data={"grant_type": "client_credentials"}, auth=basic).json()
        assert (said["token_type"], said["expires_in"]) == ("Bearer", 1800)
        self.http.headers.update(
            {
                "authorization": f"Bearer {said['access_token']}",
                "xero-tenant-id": self.own["tenant_id"],
            }
        )

    def ask(self, method: str, path: str, body: Any = None, key: str = "", **query: str) -> httpx.Response:
        headers = {"idempotency-key": key} if key else {}
        content = None if body is None else json.dumps(body)
        return self.http.request(method, f"/api.xro/2.0{path}", params=query, content=content, headers=headers)

    def invoices(self, **query: str) -> list[Json]:
        found: list[Json] = self.ask("GET", "/Invoices", **query).raise_for_status().json()["Invoices"]
        return found


@pytest.fixture
def xero(sandbox: "Sandbox") -> Iterator[Xero]:
    """A client whose first call falls at the beginning of a minute, so that a test's calls share one window."""
    now = sandbox.now()
    minute = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    sandbox.post("/clock", now=minute.isoformat())
    client = Xero(sandbox)
    yield client
    client.http.close()


def invoice(number: str | None = "DF-1", **more: Any) -> Json:
    own = {"InvoiceNumber": number} if number else {}
    line = {"Description": "Gold membership", "Quantity": 1, "UnitAmount": 100.1, "AccountCode": "205"}
    return {
        "Type": "ACCREC",
        **own,
        "Contact": {"Name": "Ada Byron"},
        "Date": "2026-01-31",
        "DueDate": "2026-02-14",
        "Status": "AUTHORISED",
        "LineAmountTypes": "Inclusive",
        "LineItems": [line],
        **more,
    }


def sentences(element: Json) -> list[str]:
    return [one["Message"] for one in element["ValidationErrors"]]


# -- identity and tenant ---------------------------------------------------------------------------------------------


def test_a_token_lives_thirty_minutes_of_the_shared_clock(xero: Xero, sandbox: "Sandbox") -> None:
    assert xero.ask("GET", "/Organisation").json()["Organisations"][0]["BaseCurrency"] == "AUD"
    sandbox.advance(minutes=29)
    assert xero.ask("GET", "/Organisation").status_code == 200
    sandbox.advance(minutes=1, seconds=1)
    late = xero.ask("GET", "/Organisation")
    assert (late.status_code, late.json()) == (
        401,
        {
            "Type": None,
            "Title": "Unauthorized",
            "Status": 401,
            "Detail": "AuthorizationUnsuccessful",
            "Instance": None,
            "Extensions": {},
        },
    )
    xero.renew()
    assert xero.ask("GET", "/Organisation").status_code == 200


def test_wrong_secrets_grants_and_tenants(xero: Xero) -> None:
    wrong = xero.http.post("/connect/token", data={"grant_type": "client_credentials"}, auth=("xero_id", "no"))
    assert (wrong.status_code, wrong.json()) == (400, {"error": "invalid_client"})
    other = xero.http.post("/connect/token", data={"grant_type": "password"}, auth=("xero_id", "xero_secret"))
    assert (other.status_code, other.json()) == (400, {"error": "unsupported_grant_type"})
    assert [one["tenantId"] for one in xero.http.get("/connections").json()] == ["xero_tenant"]
    xero.http.headers["xero-tenant-id"] = "another"
    refused = xero.ask("GET", "/Invoices")
    assert (refused.status_code, refused.json()["Title"]) == (403, "Forbidden")


# -- invoices --------------------------------------------------------------------------------------------------------


def test_an_invoice_is_created_with_exact_numbers_and_dates(xero: Xero) -> None:
    answer = xero.ask("PUT", "/Invoices", {"Invoices": [invoice()]}, summarizeErrors="false")
    assert answer.status_code == 200
    assert '"Total":100.10,' in answer.text, "a decimal number, not a string, not 100.1"
    said = answer.json(parse_float=Decimal)
    assert (said["Status"], said["DateTimeUTC"][:6]) == ("OK", "/Date(")
    (made,) = said["Invoices"]
    assert {name: made[name] for name in ("Type", "InvoiceNumber", "Status", "StatusAttributeString")} == {
        "Type": "ACCREC",
        "InvoiceNumber": "DF-1",
        "Status": "AUTHORISED",
        "StatusAttributeString": "OK",
    }
    assert (made["Date"], made["DateString"]) == ("/Date(1769817600000+0000)/", "2026-01-31T00:00:00")
    amounts = [made[name] for name in ("SubTotal", "TotalTax", "Total", "AmountDue", "AmountPaid")]
    assert amounts == [Decimal("100.10"), Decimal("0.00"), Decimal("100.10"), Decimal("100.10"), Decimal("0.00")]
    (line,) = made["LineItems"]
    assert (line["AccountCode"], line["TaxType"], line["LineAmount"]) == ("205", "EXEMPTOUTPUT", Decimal("100.10"))
    assert made["Contact"]["Name"] == "Ada Byron"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Exclusive", ("100.00", "10.00", "110.00")),
        ("Inclusive", ("90.91", "9.09", "100.00")),
        ("NoTax", ("100.00", "0.00", "100.00")),
    ],
)
def test_tax_is_added_contained_or_absent(xero: Xero, kind: str, expected: tuple[str, str, str]) -> None:
    lines = [{"Description": "Course", "Quantity": 4, "UnitAmount": 25, "AccountCode": "200"}]
    made = xero.ask("PUT", "/Invoices", invoice(LineAmountTypes=kind, LineItems=lines)).json(parse_float=Decimal)
    one = made["Invoices"][0]
    assert tuple(str(one[name]) for name in ("SubTotal", "TotalTax", "Total")) == expected


def test_put_refuses_a_number_in_use_and_post_overwrites_it(xero: Xero) -> None:
    (first,) = xero.ask("PUT", "/Invoices", invoice()).json()["Invoices"]
    again = xero.ask("PUT", "/Invoices", invoice(Reference="second"))
    assert again.status_code == 400
    said = again.json()
    assert {name: said[name] for name in ("ErrorNumber", "Type", "Message")} == {
        "ErrorNumber": 10,
        "Type": "ValidationException",
        "Message": "A validation exception occurred",
    }
    (element,) = said["Elements"]
    assert (element["InvoiceNumber"], element["HasErrors"], sentences(element)) == ("DF-1", True, [NOT_UNIQUE])
    (over,) = xero.ask("POST", "/Invoices", invoice(Reference="second")).json()["Invoices"]
    assert (over["InvoiceID"], over["Reference"]) == (first["InvoiceID"], "second")
    assert [one["InvoiceNumber"] for one in xero.invoices(InvoiceNumbers="DF-1,DF-2")] == ["DF-1"]


@pytest.mark.parametrize("query", [{}, {"summarizeErrors": "true"}])
def test_one_bad_invoice_makes_a_400_but_the_good_ones_stay(xero: Xero, query: dict[str, str]) -> None:
    pair = {"Invoices": [invoice("DF-1"), invoice("DF-2", LineItems=[]), invoice("DF-3")]}
    answer = xero.ask("PUT", "/Invoices", pair, **query)
    assert answer.status_code == 400
    (bad,) = answer.json()["Elements"]
    assert (bad["InvoiceNumber"], sentences(bad)) == ("DF-2", ["One or more line items must be specified"])
    assert [one["InvoiceNumber"] for one in xero.invoices()] == ["DF-1", "DF-3"]


def test_summarize_errors_false_answers_200_with_every_object(xero: Xero) -> None:
    pair = {"Invoices": [invoice("DF-1"), invoice("DF-1")]}
    answer = xero.ask("PUT", "/Invoices", pair, summarizeErrors="false")
    assert answer.status_code == 200
    good, bad = answer.json()["Invoices"]
    assert (good["StatusAttributeString"], "HasErrors" in good) == ("OK", False)
    assert (bad["StatusAttributeString"], bad["HasErrors"], sentences(bad)) == ("ERROR", True, [NOT_UNIQUE])
    assert len(xero.invoices()) == 1


LINE = {"Description": "Course", "Quantity": 2, "UnitAmount": 10, "AccountCode": "200"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Type": "ACCPAY"}, "Type must be ACCREC"),
        ({"Contact": {}}, "A Contact must be specified for this type of transaction"),
        ({"Status": "PAID"}, "Invoice not of valid status for creation"),
        ({"DueDate": None}, "The DueDate cannot be empty for an approved invoice"),
        ({"LineItems": [{"Description": "Course", "UnitAmount": 1}]}, "Account code or ID must be specified"),
        ({"LineItems": [LINE | {"AccountCode": "999"}]}, "Account code '999' is not a valid code for this document."),
        ({"LineItems": [LINE | {"AccountCode": "090"}]}, "Account code '090' is not a valid code for this document."),
        (
            {"LineItems": [LINE | {"TaxType": "INPUT"}]},
            "The TaxType code 'INPUT' cannot be used with account code '200'.",
        ),
        (
            {"LineItems": [LINE | {"LineAmount": 19.99}]},
            "The line total 19.99 does not match the expected line total 20.00",
        ),
        ({"Date": "soon"}, "Date is not a valid date"),
    ],
)
def test_an_invoice_is_refused_and_leaves_nothing(xero: Xero, sandbox: "Sandbox", change: Json, said: str) -> None:
    answer = xero.ask("PUT", "/Invoices", invoice(**change))
    assert answer.status_code == 400
    assert sentences(answer.json()["Elements"][0]) == [said]
    books = sandbox.do("xero", "books")
    assert books == {"invoices": [], "credit_notes": [], "payments": [], "contacts": []}


def test_an_archived_account_is_refused(xero: Xero, sandbox: "Sandbox") -> None:
    sandbox.do("xero", "archive_account", code="205")
    answer = xero.ask("PUT", "/Invoices", invoice())
    assert sentences(answer.json()["Elements"][0]) == ["Account code '205' is not a valid code for this document."]


def test_numbers_are_given_where_none_is_sent(xero: Xero) -> None:
    made = xero.ask("PUT", "/Invoices", {"Invoices": [invoice(None), invoice(None)]}).json()["Invoices"]
    assert [one["InvoiceNumber"] for one in made] == ["INV-0001", "INV-0002"]


def test_finding_by_number_id_status_page_and_change(xero: Xero, sandbox: "Sandbox") -> None:
    drafts = {"Invoices": [invoice(f"DF-{n}", Status="DRAFT", Reference=f"R{n}") for n in range(3)]}
    made = xero.ask("PUT", "/Invoices", drafts).json()["Invoices"]
    assert xero.ask("GET", "/Invoices/DF-1").json()["Invoices"][0]["InvoiceID"] == made[1]["InvoiceID"]
    assert [one["InvoiceNumber"] for one in xero.invoices(IDs=made[2]["InvoiceID"])] == ["DF-2"]
    assert xero.invoices(Statuses="AUTHORISED,PAID") == []
    assert [one["InvoiceNumber"] for one in xero.invoices(page="2", pageSize="2")] == ["DF-2"]
    assert [one["InvoiceNumber"] for one in xero.invoices(where='Reference=="R1" AND Status=="DRAFT"')] == ["DF-1"]
    assert xero.ask("GET", "/Invoices", where="Total>=1").status_code == 400
    assert xero.ask("GET", "/Invoices/none").status_code == 404
    sandbox.advance(minutes=5)
    xero.http.headers["if-modified-since"] = sandbox.now().strftime("%Y-%m-%dT%H:%M:%S")
    assert xero.invoices() == []
    xero.ask("POST", f"/Invoices/{made[0]['InvoiceID']}", {"Status": "AUTHORISED"})
    assert [one["InvoiceNumber"] for one in xero.invoices()] == ["DF-0"]


def test_voiding_keeps_the_number_and_deleting_frees_it(xero: Xero) -> None:
    xero.ask("PUT", "/Invoices", {"Invoices": [invoice("DF-1"), invoice("DF-2", Status="DRAFT")]})
    assert xero.ask("POST", "/Invoices/DF-1", {"Status": "VOIDED"}).json()["Invoices"][0]["Status"] == "VOIDED"
    assert xero.ask("POST", "/Invoices/DF-2", {"Status": "DELETED"}).json()["Invoices"][0]["Status"] == "DELETED"
    assert xero.ask("PUT", "/Invoices", invoice("DF-1")).status_code == 400
    assert xero.ask("PUT", "/Invoices", invoice("DF-2")).status_code == 200
    changed = xero.ask("POST", "/Invoices/DF-1", {"Reference": "late"})
    assert sentences(changed.json()["Elements"][0]) == ["Invoice not of valid status for modification"]


# -- contacts --------------------------------------------------------------------------------------------------------


def test_contacts_have_a_name_and_a_number_of_their_own(xero: Xero) -> None:
    ada = {"Name": "Ada Byron", "ContactNumber": "U1", "EmailAddress": "ada@example.org"}
    (made,) = xero.ask("PUT", "/Contacts", {"Contacts": [ada]}).json()["Contacts"]
    assert made["ContactStatus"] == "ACTIVE"
    same_name = xero.ask("PUT", "/Contacts", {"Name": "ada byron", "ContactNumber": "U2"})
    (element,) = same_name.json()["Elements"]
    assert (same_name.status_code, element["HasValidationErrors"]) == (400, True)
    assert sentences(element) == [
        "The contact name ada byron is already assigned to another contact. "
        "The contact name must be unique across all active contacts."
    ]
    same_number = xero.ask("PUT", "/Contacts", {"Name": "Bo Day", "ContactNumber": "U1"})
    assert sentences(same_number.json()["Elements"][0]) == [
        "The contact number U1 is already assigned to another contact."
    ]
    assert xero.ask("GET", "/Contacts/U1").json()["Contacts"][0]["ContactID"] == made["ContactID"]
    assert len(xero.ask("GET", "/Contacts", searchTerm="ADA@").json()["Contacts"]) == 1
    (found,) = xero.ask("GET", "/Contacts", where='ContactNumber=="U1"').json()["Contacts"]
    assert found == made


def test_an_invoice_finds_its_contact_by_number_and_refuses_an_archived_one(xero: Xero) -> None:
    (ada,) = xero.ask("PUT", "/Contacts", {"Name": "Ada Byron", "ContactNumber": "U1"}).json()["Contacts"]
    (made,) = xero.ask("PUT", "/Invoices", invoice(Contact={"ContactNumber": "U1"})).json()["Invoices"]
    assert made["Contact"] == {"ContactID": ada["ContactID"], "ContactNumber": "U1", "Name": "Ada Byron"}
    xero.ask("POST", f"/Contacts/{ada['ContactID']}", {"ContactStatus": "ARCHIVED"})
    refused = xero.ask("PUT", "/Invoices", invoice("DF-2", Contact={"ContactID": ada["ContactID"]}))
    assert sentences(refused.json()["Elements"][0]) == ["The contact 'Ada Byron' is archived and cannot be used."]
    assert xero.ask("PUT", "/Contacts", {"Name": "Ada Byron"}).status_code == 200, "the name is free again"


# -- payments --------------------------------------------------------------------------------------------------------


def payment(amount: float, **more: Any) -> Json:
    own = {"Invoice": {"InvoiceNumber": "DF-1"}, "Account": {"Code": "091"}, "Date": "2026-02-01"}
    return {**own, "Amount": amount, "Reference": "ch_1", **more}


def test_payments_settle_an_invoice_and_never_exceed_it(xero: Xero) -> None:
    xero.ask("PUT", "/Invoices", invoice())
    (part,) = xero.ask("PUT", "/Payments", {"Payments": [payment(40.05)]}).json()["Payments"]
    assert (part["Amount"], part["Reference"], part["Invoice"]["InvoiceNumber"]) == (40.05, "ch_1", "DF-1")
    too_much = xero.ask("PUT", "/Payments", payment(60.06))
    (element,) = too_much.json()["Elements"]
    assert (too_much.status_code, element["HasValidationErrors"]) == (400, True)
    assert sentences(element) == ["Payment amount exceeds the amount outstanding on this document"]
    assert xero.ask("PUT", "/Payments", payment(60.05)).status_code == 200
    (paid,) = xero.invoices(InvoiceNumbers="DF-1")
    assert (paid["Status"], paid["AmountDue"], paid["AmountPaid"]) == ("PAID", 0, 100.1)
    assert [(one["Amount"], one["Reference"]) for one in paid["Payments"]] == [(40.05, "ch_1"), (60.05, "ch_1")]
    closed = sentences(xero.ask("PUT", "/Payments", payment(0.01)).json()["Elements"][0])
    assert closed[0] == "Payments can only be made against Authorised documents"
    xero.ask("POST", f"/Payments/{part['PaymentID']}", {"Status": "DELETED"})
    (open_,) = xero.invoices(InvoiceNumbers="DF-1")
    assert (open_["Status"], open_["AmountDue"]) == ("AUTHORISED", 40.05)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Invoice": {"InvoiceNumber": "DF-9"}}, "Invoice could not be found"),
        ({"Account": {"Code": "200"}}, "Account is not valid for payments"),
        ({"Amount": 0}, "The Payment Amount must be greater than zero"),
    ],
)
def test_a_payment_is_refused(xero: Xero, change: Json, said: str) -> None:
    xero.ask("PUT", "/Invoices", invoice())
    assert sentences(xero.ask("PUT", "/Payments", payment(1, **change)).json()["Elements"][0]) == [said]
    assert xero.ask("GET", "/Payments").json()["Payments"] == []


# -- idempotency -----------------------------------------------------------------------------------------------------


def test_a_key_replays_its_answer_for_six_minutes(xero: Xero, sandbox: "Sandbox") -> None:
    first = xero.ask("PUT", "/Invoices", invoice(None), key="k1")
    sandbox.advance(minutes=5, seconds=50)
    again = xero.ask("PUT", "/Invoices", invoice(None), key="k1")
    assert (again.status_code, again.text) == (200, first.text)
    sandbox.advance(seconds=15)
    later = xero.ask("PUT", "/Invoices", invoice(None), key="k1")
    assert later.json()["Invoices"][0]["InvoiceNumber"] == "INV-0002"
    assert len(xero.invoices()) == 2


def test_errors_are_replayed_too(xero: Xero, sandbox: "Sandbox") -> None:
    bad = xero.ask("PUT", "/Payments", payment(1), key="k1")
    xero.ask("PUT", "/Invoices", invoice())
    again = xero.ask("PUT", "/Payments", payment(1), key="k1")
    assert (again.status_code, again.text) == (400, bad.text), (
        "the invoice exists by now, the kept answer does not know"
    )
    sandbox.admin.post("/faults", json={"provider": "xero", "path": "Payments", "kind": "500_after", "times": 1})
    broken = [xero.ask("PUT", "/Payments", payment(1), key="k2").status_code for _ in range(2)]
    assert broken == [500, 500]
    assert len(xero.ask("GET", "/Payments").json()["Payments"]) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda xero: xero.ask("PUT", "/Invoices", invoice("DF-2"), key="k1"),
        lambda xero: xero.ask("POST", "/Invoices", invoice("DF-1"), key="k1"),
        lambda xero: xero.ask("PUT", "/Invoices", invoice("DF-1"), key="k1", summarizeErrors="false"),
    ],
    ids=["body", "method", "url"],
)
def test_a_key_belongs_to_one_request(xero: Xero, other: Callable[[Xero], httpx.Response]) -> None:
    xero.ask("PUT", "/Invoices", invoice("DF-1"), key="k1")
    assert other(xero).status_code == 400
    assert len(xero.invoices()) == 1


def test_a_lost_answer_is_replayed(xero: Xero, sandbox: "Sandbox") -> None:
    sandbox.admin.post("/faults", json={"provider": "xero", "path": "Invoices", "kind": "drop_answer", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        xero.ask("PUT", "/Invoices", invoice(), key="k1")
    assert xero.ask("PUT", "/Invoices", invoice(), key="k1").json()["Invoices"][0]["InvoiceNumber"] == "DF-1"
    assert xero.ask("PUT", "/Invoices", invoice(), key="k" * 129).status_code == 400


# -- limits ----------------------------------------------------------------------------------------------------------


def test_every_answer_says_what_is_left_and_replays_cost_too(xero: Xero) -> None:
    answers = [xero.ask("PUT", "/Invoices", invoice(), key="k1") for _ in range(2)]
    names = ("X-DayLimit-Remaining", "X-MinLimit-Remaining", "X-AppMinLimit-Remaining")
    left = [tuple(one.headers[name] for name in names) for one in answers]
    assert left == [("4999", "59", "9999"), ("4998", "58", "9998")]


def test_sixty_calls_a_minute(xero: Xero, sandbox: "Sandbox") -> None:
    codes = [xero.ask("GET", "/Organisation").status_code for _ in range(60)]
    assert codes == [200] * 60
    over = xero.ask("GET", "/Organisation")
    assert (over.status_code, over.headers["X-Rate-Limit-Problem"]) == (429, "minute")
    assert 1 <= int(over.headers["Retry-After"]) <= 60
    assert over.headers["X-MinLimit-Remaining"] == "0"
    sandbox.advance(seconds=int(over.headers["Retry-After"]))
    assert xero.ask("GET", "/Organisation").headers["X-MinLimit-Remaining"] == "59"


def test_a_day_has_its_limit_until_midnight(xero: Xero, sandbox: "Sandbox") -> None:
    sandbox.do("xero", "limits", day=2)
    codes = [xero.ask("GET", "/Organisation").status_code for _ in range(3)]
    assert codes == [200, 200, 429]
    over = xero.ask("GET", "/Organisation")
    assert over.headers["X-Rate-Limit-Problem"] == "day"
    wait = int(over.headers["Retry-After"])
    midnight = datetime.combine(sandbox.now().date() + timedelta(days=1), datetime.min.time(), sandbox.now().tzinfo)
    assert abs((midnight - sandbox.now()).total_seconds() - wait) < 5
    sandbox.advance(seconds=wait)
    xero.renew()
    assert xero.ask("GET", "/Organisation").status_code == 200


def test_five_calls_at_once(xero: Xero, sandbox: "Sandbox") -> None:
    sandbox.do("xero", "slow", seconds=0.5)
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: xero.ask("GET", "/Organisation"), range(6)))
    assert sorted(one.status_code for one in answers) == [200] * 5 + [429]
    (over,) = (one for one in answers if one.status_code == 429)
    assert (over.headers["X-Rate-Limit-Problem"], "Retry-After" in over.headers) == ("concurrent", False)


# -- the wire --------------------------------------------------------------------------------------------------------


def test_xml_is_what_one_gets_without_asking_for_json(xero: Xero) -> None:
    xero.http.headers["accept"] = "*/*"
    answer = xero.ask("GET", "/Organisation")
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert "<Organisations><Organisation>" in answer.text


@pytest.mark.parametrize("body", ["{", "[]", "7"])
def test_a_body_that_cannot_be_read(xero: Xero, body: str) -> None:
    answer = xero.http.put("/api.xro/2.0/Invoices", content=body)
    assert (answer.status_code, answer.json()["Type"]) == (400, "BadRequestException")


def test_books_survive_a_kill(another_sandbox: Callable[..., "Sandbox"], sandbox: "Sandbox") -> None:
    folder = sandbox.state.parent / "killed"
    first = another_sandbox(folder)
    client = Xero(first)
    made = client.ask("PUT", "/Invoices", invoice()).json()["Invoices"][0]["InvoiceID"]
    client.http.close()
    first.admin.close()
    first.process.kill()
    first.process.wait(10)
    assert first.process.stdout
    first.process.stdout.close()
    second = Xero(another_sandbox(folder))
    assert [one["InvoiceID"] for one in second.invoices()] == [made]
    second.http.close()
