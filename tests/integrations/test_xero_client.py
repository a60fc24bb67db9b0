"""Xero behind AccountingSystem, against the sandbox process."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from integrations.xero.client import Xero
from integrations.xero.session import Session
from local.state import held_ports
from models.ports import OutcomeUnknown, OutgoingInvoice, ProviderError, RateLimited, Refused, ShippedItem, Unavailable
from tests.integrations.conftest import Sandbox

INVOICE = OutgoingInvoice(
    reference="DUE-000042",
    customer_ref=None,
    customer_name="Ada Byron",
    customer_email="ada@example.org",
    currency="AUD",
    issued_on=date(2026, 3, 1),
    items=(ShippedItem("Pilates membership", 10010),),
)


def client(sandbox: Sandbox, account_code: str = "205", **changed: Any) -> Xero:
    url = sandbox.urls["xero"]
    told: dict[str, Any] = {**sandbox.credentials["xero"], "api_base": url, "identity_base": url, "answer_seconds": 0.7}
    return Xero(Session(**told | changed), account_code=account_code)


@pytest.fixture
async def xero(sandbox: Sandbox) -> AsyncIterator[Xero]:
    made = client(sandbox)
    yield made
    await made.close()


def books(sandbox: Sandbox) -> Any:
    return sandbox.do("xero", "books")


def calls(sandbox: Sandbox, method: str, path: str) -> list[Any]:
    return [one for one in sandbox.get("/calls?provider=xero") if (one["method"], one["path"]) == (method, path)]


INVOICES, CONTACTS = "/api.xro/2.0/Invoices", "/api.xro/2.0/Contacts"


async def test_an_invoice_is_approved_under_our_number(xero: Xero, sandbox: Sandbox) -> None:
    assert await xero.find_invoice(INVOICE) is None
    number = await xero.ship(INVOICE)
    assert await xero.find_invoice(INVOICE) == number

    (invoice,) = books(sandbox)["invoices"]
    shown = ("InvoiceID", "InvoiceNumber", "Type", "Status", "CurrencyCode", "Total", "AmountDue")
    assert tuple(invoice[name] for name in shown) == (
        number,
        "DUE-000042",
        "ACCREC",
        "AUTHORISED",
        "AUD",
        "100.10",
        "100.10",
    )
    assert (invoice["DateString"], invoice["DueDateString"]) == ("2026-03-01T00:00:00", "2026-03-01T00:00:00")
    (line,) = invoice["LineItems"]
    assert (line["Description"], line["UnitAmount"], line["AccountCode"]) == ("Pilates membership", "100.10", "205")
    (contact,) = books(sandbox)["contacts"]
    assert (contact["Name"], contact["EmailAddress"]) == ("Ada Byron", "ada@example.org")
    (call,) = calls(sandbox, "PUT", INVOICES)
    assert (call["idempotency_key"], call["query"]) == ("DUE-000042", "summarizeErrors=false")


async def test_tax_is_inside_what_was_charged(sandbox: Sandbox) -> None:
    taxed = client(sandbox, account_code="200")
    await taxed.ship(INVOICE)
    (invoice,) = books(sandbox)["invoices"]
    assert (invoice["Total"], invoice["TotalTax"], invoice["SubTotal"]) == ("100.10", "9.10", "91.00")
    await taxed.close()


async def test_shipped_twice_it_is_one_invoice(xero: Xero, sandbox: Sandbox) -> None:
    first = await xero.ship(INVOICE)
    sandbox.advance(minutes=7)  # the idempotency key is forgotten
    assert await xero.ship(INVOICE) == first
    assert len(books(sandbox)["invoices"]) == 1


async def test_our_number_on_another_sum_is_refused_in_xeros_words(xero: Xero, sandbox: Sandbox) -> None:
    await xero.ship(INVOICE)
    sandbox.advance(minutes=7)
    with pytest.raises(Refused, match="must be unique"):
        await xero.ship(replace(INVOICE, items=(ShippedItem("Pilates membership", 5000),)))
    assert [one["Total"] for one in books(sandbox)["invoices"]] == ["100.10"]


async def test_an_account_xero_does_not_take(sandbox: Sandbox) -> None:
    wrong = client(sandbox, account_code="999")
    with pytest.raises(Refused, match="Account code '999' is not a valid code") as refused:
        await wrong.ship(INVOICE)
    assert refused.value.code == "VALIDATION"
    await wrong.close()


# -- contacts ----------------------------------------------------------------------------------------------------------


async def test_the_same_person_is_one_contact(xero: Xero, sandbox: Sandbox) -> None:
    await xero.ship(INVOICE)
    await xero.ship(replace(INVOICE, reference="DUE-000043", customer_email="ADA@example.org"))
    assert len(books(sandbox)["contacts"]) == 1


async def test_a_namesake_is_told_apart_by_e_mail(xero: Xero, sandbox: Sandbox) -> None:
    await xero.ship(INVOICE)
    other = replace(INVOICE, reference="DUE-000043", customer_email="ada@example.com")
    await xero.ship(other)
    await xero.ship(replace(other, reference="DUE-000044"))
    assert [one["Name"] for one in books(sandbox)["contacts"]] == ["Ada Byron", "Ada Byron (ada@example.com)"]


async def test_a_known_customer_keeps_the_contact_when_the_name_changes(xero: Xero, sandbox: Sandbox) -> None:
    await xero.ship(replace(INVOICE, customer_ref="user-7"))
    await xero.ship(replace(INVOICE, reference="DUE-000043", customer_ref="user-7", customer_name="Ada Lovelace"))
    (contact,) = books(sandbox)["contacts"]
    assert (contact["Name"], contact["ContactNumber"]) == ("Ada Byron", "user-7")


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_one_token_serves_many_calls(xero: Xero, sandbox: Sandbox) -> None:
    await xero.ship(INVOICE)
    await xero.find_invoice(INVOICE)
    assert len(calls(sandbox, "POST", "/connect/token")) == 1


async def test_a_token_that_ended_early_is_renewed(xero: Xero, sandbox: Sandbox) -> None:
    await xero.find_invoice(INVOICE)
    sandbox.advance(minutes=31)
    await xero.ship(INVOICE)
    assert len(calls(sandbox, "POST", "/connect/token")) == 2


@pytest.mark.parametrize(
    ("changed", "code"), [({"client_secret": "wrong"}, "CREDENTIALS"), ({"tenant_id": "another"}, "HTTP_403")]
)
async def test_wrong_credentials_are_refused(sandbox: Sandbox, changed: dict[str, str], code: str) -> None:
    stranger = client(sandbox, **changed)
    with pytest.raises(Refused) as refused:
        await stranger.ship(INVOICE)
    assert refused.value.code == code
    await stranger.close()


# -- faults ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "raised", "created"),
    [
        ("500_before", OutcomeUnknown, 0),
        ("500_after", OutcomeUnknown, 1),
        ("html_502", OutcomeUnknown, 0),
        ("timeout", OutcomeUnknown, 0),
        ("drop_answer", OutcomeUnknown, 1),
        ("429", RateLimited, 0),
    ],
)
async def test_a_lost_answer_is_looked_for_not_repeated(
    xero: Xero, sandbox: Sandbox, kind: str, raised: type[ProviderError], created: int
) -> None:
    await xero.ship(replace(INVOICE, reference="DUE-000001"))
    sandbox.post("/faults", provider="xero", path="/Invoices$", kind=kind, seconds=1.5)
    with pytest.raises(ProviderError) as failed:
        await xero.ship(INVOICE)
    assert type(failed.value) is raised
    assert len(books(sandbox)["invoices"]) == 1 + created

    found = await xero.find_invoice(INVOICE)
    assert (found is not None) == bool(created)
    assert (found or await xero.ship(INVOICE)) == books(sandbox)["invoices"][-1]["InvoiceID"]
    assert len(books(sandbox)["invoices"]) == 2


async def test_the_limit_tells_when_to_come_back(xero: Xero, sandbox: Sandbox) -> None:
    sandbox.do("xero", "limits", minute=1)
    await xero.find_invoice(INVOICE)
    with pytest.raises(RateLimited) as limited:
        await xero.find_invoice(INVOICE)
    assert 1 <= limited.value.retry_after <= 60


@pytest.mark.parametrize("kind", ["500_before", "html_502", "timeout", "drop_answer"])
async def test_a_read_that_stays_unanswered_is_unavailable(xero: Xero, sandbox: Sandbox, kind: str) -> None:
    sandbox.post("/faults", provider="xero", path="/Invoices$", kind=kind, times=3, seconds=1.5)
    with pytest.raises(Unavailable):
        await xero.find_invoice(INVOICE)
    assert await xero.find_invoice(INVOICE) is None


async def test_nobody_listens(sandbox: Sandbox) -> None:
    nowhere = f"http://127.0.0.1:{held_ports(1)[0]}"
    dead = client(sandbox, api_base=nowhere, identity_base=nowhere)
    with pytest.raises(Unavailable):
        await dead.ship(INVOICE)
    await dead.close()
