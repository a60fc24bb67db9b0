"""Invoices to the practice system and the books through the real clients: once, put right, and compared afterwards."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

from integrations.clock import SystemClock
from integrations.nookal.client import Nookal
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from integrations.xero.client import Xero
from integrations.xero.session import Session
from models.actions import corrections, drift_report, invoices
from models.actions.vault import Vault
from models.ports import AccountingSystem, PracticeSystem, WebhookSource
from models.rules.drifting import Repair
from models.rules.facts import InvoiceLineSeen, InvoiceSeen
from models.rules.invoicing import Mark, Period
from models.rules.states import InvoiceStatus, JobState, Provider
from models.tables.centre import Centre
from models.tables.coursepro import Drift
from models.tables.invoice import Correction, Invoice, InvoiceItem, Shipment
from models.tables.job import Job
from models.tables.membership import ClassType
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink
from tests.build import BY, DAY, NOW, WEEK, Clinic, a_subscriber, attend, tell
from tests.workers.conftest import Sandbox
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = [
    pytest.mark.usefixtures("database"),
    # The vendor's library hands httpx its form in a way httpx is giving up.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
END = NOW + WEEK


class Both(Registry):
    """The practice system, the books and the card provider's reader, nothing else."""

    def __init__(self, nookal: PracticeSystem, xero: AccountingSystem, stripe: WebhookSource, vault: Vault) -> None:
        super().__init__(vault, None)
        self._nookal, self._xero, self._stripe = nookal, xero, stripe

    async def practice(self) -> PracticeSystem:
        return self._nookal

    async def accounting(self) -> AccountingSystem:
        return self._xero

    async def webhooks(self, provider: Provider) -> WebhookSource:
        return self._stripe


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Office:
    """Who ships, where to, and the clinic's location and class type there."""

    sandbox: Sandbox
    runner: Runner
    webhooks: StripeWebhooks
    location: str
    class_type: str

    async def a_client(self, covers: bool = True) -> Clinic:
        """A subscriber whose patient, place and classes are really there."""
        clinic = await a_subscriber()
        patient = self.sandbox.do("nookal", "add_patient", first_name="Ada", last_name="R", email=clinic.user.email)
        clinic.patient = str(patient["ID"])
        await ExternalLink.filter(user_id=clinic.user.id, kind="patient").update(external_id=clinic.patient)
        if covers:
            await Centre.exclude(id=clinic.centre.id).update(practice_location=None)
            await Centre.filter(id=clinic.centre.id).update(practice_location=self.location)
            await ClassType.filter(practice_id=self.class_type).update(practice_id=None)
            await ClassType.filter(practice_id=clinic.covers[0]).update(practice_id=self.class_type)
            clinic.location, clinic.covers = self.location, (self.class_type,)
        else:
            await Centre.filter(id=clinic.centre.id).update(practice_location=None)
        return clinic

    async def seats(self, clinic: Clinic, classes: int) -> list[Any]:
        """Book the client into so many classes of the week there -> the places as they are read."""
        made = []
        for number in range(1, classes + 1):
            starts_at = NOW + number * DAY
            held = self.sandbox.do(
                "nookal", "add_class", class_type=self.class_type, starts_at=starts_at.isoformat(), location_id="1"
            )
            self.sandbox.do("nookal", "add_participant", class_id=held["ID"], patient_id=clinic.patient)
            made.append(clinic.seat(number, starts_at, session_id=str(held["ID"])))
        await attend(*made)
        return made

    async def billed(self, clinic: Clinic, paid: int = 50_00) -> Invoice:
        """Its week's invoice, billed off."""
        await tell(clinic.invoiced(paid))
        invoice = await clinic.invoice()
        return await invoices.bill_off(invoice.id, acting=BY, at=END)

    async def run(self, kind: str, **about: str) -> Job:
        """Run the newest job of a kind, due or not -> its row."""
        job = await Job.filter(kind=kind, payload__contains=about).order_by("-id").first()
        assert job is not None
        await Job.filter(id=job.id).update(run_at=None)
        await self.runner.run(job.id)
        return await Job.get(id=job.id)

    async def ship(self, invoice: Invoice) -> list[JobState]:
        """Run what ships it."""
        kinds = ("practice.ship_invoice", "accounting.ship_invoice")
        return [(await self.run(kind, invoice_id=str(invoice.id))).state for kind in kinds]

    def practice(self) -> list[tuple[str, str, list[str]]]:
        """The practice system's invoices: (reference, void, what each line carries)."""
        held = self.sandbox.state_of("nookal.invoice")
        return [(one["invoiceNotes"], one["void"], [entry["total"] for entry in one["entries"]]) for one in held]

    def books(self, name: str = "invoices") -> list[tuple[str, str, str]]:
        """The books' documents: (number, status, total)."""
        number = "InvoiceNumber" if name == "invoices" else "CreditNoteNumber"
        return [(one[number], one["Status"], one["Total"]) for one in self.sandbox.do("xero", "books")[name]]

    def fault(self, provider: str, path: str, kind: str) -> None:
        """Let the next call go wrong."""
        self.sandbox.post("/faults", provider=provider, path=path, kind=kind, seconds=1.5)


@pytest.fixture
async def office(outside: Outside, secret_key: str, sandbox: Sandbox) -> AsyncIterator[Office]:
    await ProviderSetting.get_or_create(provider=Provider.XERO, defaults={"secrets": "sealed"})
    await Shipment.all().delete()  # what earlier tests shipped stands in a sandbox that was emptied
    urls, known = sandbox.urls, sandbox.credentials
    nookal = Nookal(
        known["nookal"]["api_key"], SystemClock(), api_base=urls["nookal"], location_id="1",
        answer_seconds=0.7,
    )  # fmt: skip
    session: dict[str, Any] = {**known["xero"], "api_base": urls["xero"], "identity_base": urls["xero"]}
    xero = Xero(Session(**session, answer_seconds=0.7), account_code="205")
    account = StripeAccount(known["stripe"]["api_key"], api_base=urls["stripe"])
    webhooks = StripeWebhooks(account, ["whsec"], SystemClock())
    world = Outside(Both(nookal, xero, webhooks, Vault(secret_key)), SystemClock(), outside.bus)
    kind = sandbox.do("nookal", "add_class_type", name="Pilates", price="40.00")
    yield Office(sandbox, Runner(HANDLERS, {}, world, silent), webhooks, "1", str(kind["ID"]))
    for each in (nookal, xero, account):
        await each.close()


async def shipped(invoice: Invoice) -> list[tuple[str, str, str]]:
    """What is on its way: (system, kind, state)."""
    rows = await Shipment.filter(invoice_id=invoice.id).order_by("id")
    return [(row.system.value, row.kind.value, row.state.value) for row in rows]


@pytest.mark.parametrize("kind", ["drop_answer", "500_after", "500_before", "timeout"])
async def test_a_crash_between_the_practices_commit_and_our_record_leaves_one_invoice(
    office: Office, kind: str
) -> None:
    """Nookal knows no idempotency: what may be there is looked for by our reference before it is told again."""
    clinic = await office.a_client()
    seats = await office.seats(clinic, 3)
    invoice = await office.billed(clinic, 100_00)
    office.fault("nookal", "/addInvoice$", kind)
    assert (await office.run("practice.ship_invoice", invoice_id=str(invoice.id))).state is JobState.READY
    assert ("NOOKAL", "INVOICE", "SENDING") in await shipped(invoice)
    asked = len(office.sandbox.get("/calls?provider=nookal"))
    assert (await office.run("practice.ship_invoice", invoice_id=str(invoice.id))).state is JobState.DONE
    assert office.practice() == [(f"DUE-{invoice.external_id}", "0", ["33.33", "33.33", "33.34"])]
    calls = [one["path"].rpartition("/")[2] for one in office.sandbox.get("/calls?provider=nookal")[asked:]]
    there = kind in ("drop_answer", "500_after")
    assert calls == (["getInvoices"] if there else ["getInvoices", "addInvoice"]), "nothing is asked of its classes"
    links = [entry["link"] for entry in office.sandbox.state_of("nookal.invoice")[0]["entries"]]
    assert [(link["type"], link["item_id"], link["appt_id"]) for link in links] == [
        ("Class", office.class_type, seat.session_id) for seat in seats
    ]


async def test_one_bad_invoice_does_not_stop_the_others_in_the_books(office: Office) -> None:
    """One call takes along whatever waits; the refused one is told by its own job, and only there."""
    three = [await office.billed(await office.a_client(covers=False), paid) for paid in (10_00, 20_00, 30_00)]
    await InvoiceItem.filter(invoice_id=three[1].id).update(amount=-1)  # the books take no such total
    first = await office.run("accounting.ship_invoice", invoice_id=str(three[0].id))
    assert first.state is JobState.DONE
    calls = [one for one in office.sandbox.get("/calls?provider=xero") if one["method"] == "PUT"]
    puts = [one for one in calls if one["path"].endswith("/Invoices")]
    assert [(len(one["body"]["Invoices"]), one["query"]) for one in puts] == [(3, "summarizeErrors=false")]
    assert [total for _, _, total in office.books()] == ["10.00", "30.00"]
    assert [(await shipped(each))[1][2] for each in three] == ["SHIPPED", "SENDING", "SHIPPED"]
    bad = await office.run("accounting.ship_invoice", invoice_id=str(three[1].id))
    assert (bad.state, bad.error_code) == (JobState.DEAD, "VALIDATION")
    assert "cannot be negative" in (bad.error or "")
    assert (await office.run("accounting.ship_invoice", invoice_id=str(three[2].id))).state is JobState.DONE
    assert len(office.books()) == 2


async def test_what_was_shipped_is_voided_credited_and_issued_anew(office: Office) -> None:
    clinic = await office.a_client()
    seats = await office.seats(clinic, 2)
    invoice = await office.billed(clinic)
    assert await office.ship(invoice) == [JobState.DONE, JobState.DONE]
    await tell(clinic.invoiced(50_00, amount_refunded=10_00), at=END)
    correction = await Correction.get(invoice_id=invoice.id)
    await corrections.apply_correction(correction.id, acting=BY, at=END)
    office.fault("nookal", "/deleteInvoice$", "drop_answer")
    office.fault("xero", "/CreditNotes$", "drop_answer")
    for _ in range(2):
        states = await office.ship(invoice)
    assert states == [JobState.DONE, JobState.DONE]
    reference = f"DUE-{invoice.external_id}"
    assert office.practice() == [(reference, "1", ["25.00", "25.00"]), (f"{reference}-R1", "0", ["20.00", "20.00"])]
    assert office.books() == [(reference, "AUTHORISED", "50.00")]
    assert office.books("credit_notes") == [(f"{reference}-C1", "AUTHORISED", "10.00")]

    # somebody who was there after all: the practice's classes change, the books' invoice does not
    await attend(clinic.seat(1, seats[0].starts_at, Mark.DNA, session_id=seats[0].session_id), at=END)
    again = await Correction.get(invoice_id=invoice.id, state="OPEN")
    await corrections.apply_correction(again.id, acting=BY, at=END)
    await office.ship(invoice)
    assert office.practice()[1:] == [(f"{reference}-R1", "1", ["20.00", "20.00"]), (f"{reference}-R2", "0", ["40.00"])]
    assert len(office.books()) == 1

    # the money is gone: everything is voided, the credit note with it
    await tell(clinic.invoiced(0, amount_refunded=0), at=END)
    lost = await Correction.get(invoice_id=invoice.id, state="OPEN", cause="PAYMENT_LOST")
    await corrections.apply_correction(lost.id, acting=BY, at=END)
    await office.ship(invoice)
    assert [void for _, void, _ in office.practice()] == ["1", "1", "1", "0"], "what is paid now is nothing"
    assert [each[1] for each in office.books()] == ["VOIDED", "AUTHORISED"]
    assert [each[1:] for each in office.books("credit_notes")] == [("VOIDED", "10.00"), ("AUTHORISED", "50.00")]


async def test_what_differs_elsewhere_is_told_field_by_field_and_repaired(office: Office) -> None:
    """Stripe's word counts for what was charged, ours for what was shipped."""
    clinic = await office.a_client()
    await office.seats(clinic, 1)
    invoice = await office.billed(clinic)
    await office.ship(invoice)
    voided, edited = await shipped_ids(invoice)
    async with httpx.AsyncClient() as hand:
        key = office.sandbox.credentials["nookal"]["api_key"]
        form = {"api_key": key, "invoice_id": voided}
        await hand.post(f"{office.sandbox.urls['nookal']}/production/v2/deleteInvoice", data=form)
    assert await report(office, Provider.NOOKAL, Provider.XERO) == [
        ("NOOKAL", "state", "STANDS", "VOIDED"),
    ]
    await Shipment.filter(external_id=edited).update(external_id="00000000-0000-0000-0000-000000000000")
    assert await report(office, Provider.XERO) == [("XERO", "state", "STANDS", "MISSING")]

    found = await Drift.all().order_by("id")
    planned = await drift_report.repair_drift([row.id for row in found], dry_run=True, acting=BY, at=END)
    assert [each.action for each in planned] == [Repair.CORRECT, Repair.SHIP_AGAIN]
    assert await Correction.filter(invoice_id=invoice.id).count() == 0, "a dry run does nothing"
    await drift_report.repair_drift([row.id for row in found], acting=BY, at=END)
    await office.ship(invoice)
    assert len(office.books()) == 1, "it was looked for first"
    assert (await shipped_ids(invoice))[1] == edited
    correction = await Correction.get(invoice_id=invoice.id)
    assert (correction.cause, correction.change["system"]) == ("INVOICE_CHANGED", "NOOKAL")
    await tell(clinic.invoiced(50_00), at=END)  # news that says nothing new does not drop it
    await corrections.apply_correction(correction.id, acting=BY, at=END)
    await office.ship(invoice)
    assert office.practice()[-1] == (f"DUE-{invoice.external_id}-R1", "0", ["50.00"])
    assert await report(office, Provider.NOOKAL, Provider.XERO) == []


async def shipped_ids(invoice: Invoice) -> list[str]:
    """The invoice's ids elsewhere."""
    rows = await Shipment.filter(invoice_id=invoice.id, kind="INVOICE").order_by("id")
    return [row.external_id or "" for row in rows]


async def report(office: Office, *providers: Provider) -> list[tuple[str, str, str | None, str | None]]:
    """Compare -> what differs now: (where, field, ours, theirs)."""
    job = await drift_report.report_drift(providers, acting=BY, at=END)
    done = await office.run("drift.report")
    assert (done.id, done.state) == (job.id, JobState.DONE)
    rows = await Drift.filter(cause=f"report:{job.id}").order_by("id")
    return [(row.provider.value, row.field, row.ours, row.theirs) for row in rows]


async def test_what_the_card_provider_says_of_money_is_taken_over(office: Office) -> None:
    sold = office.sandbox.do("stripe", "create_product", name="Pilates", amount=50_00, currency="gbp", interval="week")
    bought = office.sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
    await Invoice.filter(provider=Provider.STRIPE).update(provider=Provider.GOCARDLESS)  # those of the tests before
    start = datetime.fromisoformat(office.sandbox.now().isoformat())
    line = InvoiceLineSeen(external_id="il", description="Pilates", amount=40_00, period=Period(start, start + WEEK))
    wrong = InvoiceSeen(
        provider="STRIPE", external_id=bought["invoice"], number=None, customer_id="cus", subscription_id=None,
        status=InvoiceStatus.PAID, currency="GBP", total=40_00, amount_paid=40_00, amount_refunded=0, lines=(line,),
        period=Period(start, start + timedelta(days=7)), created_at=start, seen_at=start,
    )  # fmt: skip
    await tell(wrong)
    assert await report(office, Provider.STRIPE) == [("STRIPE", "amount_paid", "4000", "5000")]
    (drift,) = await Drift.filter(provider=Provider.STRIPE)
    (planned,) = await drift_report.repair_drift([drift.id], acting=BY, at=END)
    assert planned.action is Repair.MIRROR_AGAIN
    assert (await office.run("mirror.read")).state is JobState.DONE
    assert (await Invoice.get(external_id=bought["invoice"])).amount_paid == 50_00
    assert await report(office, Provider.STRIPE) == []
