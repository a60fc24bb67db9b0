"""What changes after billing off: kept as an exception with a proposal, put right by a person, elsewhere as here."""

from datetime import timedelta
from typing import Any

import pytest

from models.actions import corrections, invoices, shipments
from models.ports import OutgoingCredit, OutgoingInvoice, OutgoingVoid
from models.rules.corrections import Proposal, ShipmentKind
from models.rules.invoicing import Mark
from models.rules.refusals import Code
from models.rules.states import InvoiceStatus, Provider
from models.tables.course import Attendance
from models.tables.invoice import Correction, Invoice, Shipment
from models.tables.setting import BillingPolicy, ProviderSetting
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    Clinic,
    a_clinic,
    a_name,
    a_subscriber,
    attend,
    happening,
    nothing_written,
    refused,
    spread,
    tell,
    versions,
)

pytestmark = pytest.mark.usefixtures("database", "shipper")
END = NOW + WEEK
LATE = END + DAY


@pytest.fixture(scope="module")
async def shipper(database: None) -> None:
    """The organisation ships to its books, too."""
    await ProviderSetting.create(provider=Provider.XERO, secrets="sealed")


async def a_billed_week(classes: int = 2, paid: int = 50_00) -> tuple[Clinic, Invoice]:
    """A week's invoice over its classes, billed off and shipped to both systems."""
    clinic = await a_subscriber()
    await attend(*(clinic.seat(number, NOW + number * DAY) for number in range(1, classes + 1)))
    await tell(clinic.invoiced(paid))
    invoice = await clinic.invoice()
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    await ship(invoice)
    return clinic, invoice


async def ship(invoice: Invoice) -> list[Any]:
    """Ship whatever waits, as the jobs do -> what each system was sent, a word and its figures."""
    sent: list[Any] = []
    for system in (Provider.NOOKAL, Provider.XERO):
        while out := await shipments.begin_shipment(invoice.id, system, acting=BY, at=LATE):
            match out:
                case OutgoingInvoice():
                    sent.append((system, "INVOICE", out.reference[-2:], [item.amount for item in out.items]))
                case OutgoingCredit():
                    sent.append((system, "CREDIT_NOTE", out.credit.reference[-2:], out.credit.items[0].amount))
                case OutgoingVoid():
                    sent.append((system, "VOID", out.reference[-2:], out.external_id))
            there = a_name(system)
            await shipments.shipped(invoice.id, system, external_id=there, acting=BY, at=LATE)
    return sent


async def asked(invoice: Invoice) -> list[tuple[str, str, str, int | None]]:
    """Everything that was asked about an invoice: (cause, proposal, state, amount)."""
    rows = await Correction.filter(invoice_id=invoice.id).order_by("id")
    return [(row.cause.value, row.proposal.value, row.state.value, row.amount) for row in rows]


async def the_open(invoice: Invoice) -> Correction:
    return await Correction.get(invoice_id=invoice.id, state="OPEN")


async def numbers(invoice: Invoice) -> dict[str, str]:
    """The standing invoice of each system."""
    rows = await Shipment.filter(invoice_id=invoice.id, kind=ShipmentKind.INVOICE).order_by("id")
    return {row.system.value: row.external_id or "" for row in rows}


async def numbers_first(invoice: Invoice) -> dict[str, str]:
    """The first invoice of each system."""
    rows = await Shipment.filter(invoice_id=invoice.id, kind=ShipmentKind.INVOICE).order_by("-id")
    return {row.system.value: row.external_id or "" for row in rows}


async def test_a_class_marked_dna_after_billing_off_is_asked_about_and_never_billed_again_by_itself() -> None:
    clinic, invoice = await a_billed_week()
    first = (await numbers(invoice))["NOOKAL"]
    async with happening() as seen:
        await attend(clinic.seat(1, NOW + DAY, Mark.DNA), at=LATE)
    assert seen.events == ["CorrectionOpened"]
    assert seen.verbs == ["attendance_seen", "open_correction"]
    assert await asked(invoice) == [("ATTENDANCE_CHANGED", "VOID_AND_REISSUE", "OPEN", None)]
    correction = await the_open(invoice)
    assert sorted(correction.change["was"]["shares"].values()) == [25_00, 25_00]
    assert list(correction.change["now"]["shares"].values()) == [50_00]
    assert await spread(invoice) == [25_00, 25_00], "only a person applies it"
    async with nothing_written():
        await attend(clinic.seat(1, NOW + DAY, Mark.DNA), at=LATE)

    async with happening() as applied:
        await corrections.apply_correction(correction.id, acting=BY, at=LATE)
    assert applied.events == ["InvoiceReallocated", "CorrectionApplied"]
    assert applied.kinds == ["practice.ship_invoice", "accounting.ship_invoice", "live.publish"]
    assert await spread(invoice) == [50_00]
    assert await ship(invoice) == [(Provider.NOOKAL, "VOID", "V1", first), (Provider.NOOKAL, "INVOICE", "R1", [50_00])]
    assert await asked(invoice) == [("ATTENDANCE_CHANGED", "VOID_AND_REISSUE", "APPLIED", None)]
    async with refused(Code.ILLEGAL_MOVE, "correctionId"):
        await corrections.apply_correction(correction.id, acting=BY, at=LATE)


async def test_a_change_undone_is_dropped_and_one_dismissed_does_not_ask_again() -> None:
    clinic, invoice = await a_billed_week()
    await attend(clinic.seat(1, NOW + DAY, Mark.CANCELLED), at=LATE)
    await attend(clinic.seat(2, NOW + 2 * DAY, Mark.DNA), at=LATE)
    assert len(await asked(invoice)) == 1, "one question, brought up to date"
    assert (await the_open(invoice)).change["now"]["shares"] == {}
    async with happening() as undone:
        await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY, Mark.ATTENDED), at=LATE)
    assert undone.events == ["CorrectionClosed"]
    assert [state for _, _, state, _ in await asked(invoice)] == ["DROPPED"]

    await attend(clinic.seat(3, NOW + 3 * DAY), at=LATE)  # somebody forgot to write it down
    correction = await the_open(invoice)
    assert sorted(correction.change["now"]["shares"].values()) == [16_66, 16_67, 16_67]
    async with refused(Code.INVALID_INPUT, "reason"):
        await corrections.dismiss_correction(correction.id, " ", acting=BY, at=LATE)
    await corrections.dismiss_correction(correction.id, "The client was told.", acting=BY, at=LATE)
    async with happening() as quiet:
        await attend(clinic.seat(3, NOW + 3 * DAY, Mark.ATTENDED), at=LATE)
    assert quiet.events == []
    assert [state for _, _, state, _ in await asked(invoice)] == ["DROPPED", "DISMISSED"]


async def test_a_refund_after_billing_off_is_credited_in_the_books_and_issued_anew_in_the_practice() -> None:
    clinic, invoice = await a_billed_week()
    stood = await numbers(invoice)
    refunding = clinic.invoiced(50_00, amount_refunded=10_01)
    async with happening() as seen:
        await tell(refunding, at=LATE)
    assert seen.events == ["CorrectionOpened"]
    assert await asked(invoice) == [("REFUNDED", "CREDIT_NOTE", "OPEN", 10_01)]
    assert (await clinic.invoice()).amount_refunded == 0, "it keeps its figures"
    async with nothing_written():
        await tell(refunding, at=LATE)
    await tell(clinic.invoiced(50_00, amount_refunded=15_00), at=LATE)
    assert await asked(invoice) == [("REFUNDED", "CREDIT_NOTE", "OPEN", 15_00)]
    await corrections.apply_correction((await the_open(invoice)).id, acting=BY, at=LATE)
    assert await ship(invoice) == [
        (Provider.NOOKAL, "VOID", "V1", stood["NOOKAL"]),
        (Provider.NOOKAL, "INVOICE", "R1", [17_50, 17_50]),
        (Provider.XERO, "CREDIT_NOTE", "C1", 15_00),
    ]
    async with nothing_written():
        await tell(clinic.invoiced(50_00, amount_refunded=15_00), at=LATE)

    # the bank sent the refund back: the note goes with the invoice, and both are issued anew
    await tell(clinic.invoiced(50_00), at=LATE)
    assert (await asked(invoice))[-1] == ("REFUNDED", "VOID_AND_REISSUE", "OPEN", None)
    async with refused(Code.INVALID_INPUT, "proposal"):
        await corrections.apply_correction((await the_open(invoice)).id, Proposal.CREDIT_NOTE, acting=BY, at=LATE)
    await corrections.apply_correction((await the_open(invoice)).id, acting=BY, at=LATE)
    sent = await ship(invoice)
    assert [each[:3] for each in sent] == [
        (Provider.NOOKAL, "VOID", "V2"),
        (Provider.NOOKAL, "INVOICE", "R2"),
        (Provider.XERO, "VOID", "V2"),
        (Provider.XERO, "INVOICE", "R2"),
    ]
    assert (sent[1][3], sent[2][3], sent[3][3]) == ([25_00, 25_00], stood["XERO"], [50_00])


async def test_what_did_not_stay_is_credited_in_the_books_with_the_invoice() -> None:
    """Given back before billing off: the books get the lines, and a credit note of what went; never its lines alone."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    figures: dict[str, Any] = {"total": 50_00, "amount_refunded": 5_00, "credited": 4_01}
    await tell(clinic.invoiced(50_00, **figures))
    invoice = await clinic.invoice()
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    assert await ship(invoice) == [
        (Provider.NOOKAL, "INVOICE", "_1", [20_49, 20_50]),
        (Provider.XERO, "INVOICE", "_1", [50_00]),
        (Provider.XERO, "CREDIT_NOTE", "C0", 9_01),
    ]
    # a person would rather have it issued anew: both documents are voided, and both are made again
    await tell(clinic.invoiced(50_00, **{**figures, "amount_refunded": 10_00}), at=LATE)
    await corrections.apply_correction((await the_open(invoice)).id, Proposal.VOID_AND_REISSUE, acting=BY, at=LATE)
    assert [each[:2] + each[3:] for each in await ship(invoice)][1:] == [
        (Provider.NOOKAL, "INVOICE", [17_99, 18_00]),
        (Provider.XERO, "VOID", (await numbers_first(invoice))["XERO"]),
        (Provider.XERO, "INVOICE", [50_00]),
        (Provider.XERO, "CREDIT_NOTE", 14_01),
    ]


async def test_money_lost_after_billing_off_voids_and_money_that_comes_back_is_issued_anew() -> None:
    clinic, invoice = await a_billed_week()
    beside = await a_clinic(beside=clinic)
    await tell(beside.subscribed(), beside.invoiced(90_00, end=NOW + 4 * WEEK), at=LATE)
    monthly = await beside.invoice()
    assert await spread(monthly) == [], "the weekly carries both classes"
    await tell(clinic.invoiced(0, status=InvoiceStatus.UNCOLLECTIBLE), at=LATE)
    assert await asked(invoice) == [
        ("PAYMENT_LOST", "VOID_AND_REISSUE", "OPEN", None),
        ("INVOICE_CHANGED", "VOID_AND_REISSUE", "OPEN", None),
    ]
    lost = await Correction.get(invoice_id=invoice.id, cause="PAYMENT_LOST")
    assert lost.change == {
        "was": {"status": "PAID", "amount_paid": 50_00},
        "now": {"status": "UNCOLLECTIBLE", "amount_paid": 0},
    }
    await corrections.apply_correction(lost.id, acting=BY, at=LATE)
    assert [each[:2] for each in await ship(invoice)] == [(Provider.NOOKAL, "VOID"), (Provider.XERO, "VOID")]
    assert await spread(monthly) == [45_00, 45_00], "another invoice that covers them may pay for them now"
    await tell(clinic.invoiced(50_00), at=LATE)
    again = await the_open(invoice)
    assert (again.cause, again.change["now"]) == ("INVOICE_CHANGED", {"status": "PAID", "amount_paid": 50_00})
    await corrections.apply_correction(again.id, acting=BY, at=LATE)
    assert await spread(invoice) == [], "the classes stay where they are"
    assert [each[:2] + each[3:] for each in await ship(invoice)] == [
        (Provider.NOOKAL, "INVOICE", [50_00]),
        (Provider.XERO, "INVOICE", [50_00]),
    ]


async def test_nothing_is_put_right_before_it_has_arrived() -> None:
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY))
    await tell(clinic.invoiced())
    invoice = await clinic.invoice()
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    await attend(clinic.seat(1, NOW + DAY, Mark.DNA), at=LATE)
    async with refused(Code.ILLEGAL_MOVE, "correctionId"):
        await corrections.apply_correction((await the_open(invoice)).id, acting=BY, at=LATE)
    async with refused(Code.NOT_FOUND, "correctionId"):
        await corrections.apply_correction(invoice.id, acting=BY, at=LATE)


async def test_marks_made_within_the_grace_still_count() -> None:
    """R89: billed off once the period and the time for late marks are over, never earlier."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    policy = await BillingPolicy.create(retry_after_days=[3], grace_hours=24)
    try:
        almost = END + 24 * HOUR - timedelta(seconds=1)
        assert invoice.id not in await invoices.due_to_bill_off(almost)
        async with refused(Code.INVOICE_NOT_DUE):
            await invoices.bill_off(invoice.id, acting=BY, at=almost)
        await attend(clinic.seat(1, NOW + DAY, Mark.DNA), at=almost)
        assert invoice.id in await invoices.due_to_bill_off(END + 24 * HOUR)
        await invoices.bill_off(invoice.id, acting=BY, at=END + 24 * HOUR)
    finally:
        await policy.delete()
    assert [(kind.value, shares) for _, kind, _, _, shares in await versions(invoice)] == [
        ("CLASSES", [25_00, 25_00]),
        ("CLASSES", [50_00]),
    ]
    assert await asked(invoice) == []
    assert await Attendance.filter(mark=Mark.DNA, user_id=clinic.user.id).count() == 1
