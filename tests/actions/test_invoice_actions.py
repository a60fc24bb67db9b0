"""A subscription invoice over the classes it paid for: the document's figures in the database, kept in versions."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from models.actions import invoices, shipments, users
from models.ports import OutgoingInvoice
from models.rules.facts import InvoiceLineSeen
from models.rules.invoicing import Kind, Mark, Period
from models.rules.refusals import Code, Refusal
from models.rules.states import InvoiceStatus, Provider
from models.tables.course import ClassSession
from models.tables.invoice import AllocationShare, Invoice, InvoiceItem, Shipment
from models.tables.membership import ClassType, Coverage
from models.tables.setting import ProviderSetting
from tests.build import (
    BY,
    DAY,
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

pytestmark = pytest.mark.usefixtures("database")
END = NOW + WEEK


async def carried(*found: Invoice) -> list[list[str]]:
    """For each invoice, the classes its current allocation pays for, by their day."""
    days = []
    for invoice in found:
        rows = await AllocationShare.filter(
            allocation__invoice_id=invoice.id, allocation__current=True
        ).prefetch_related("attendance__class_session")
        days.append(sorted(f"{row.attendance.class_session.starts_at:%m-%d}" for row in rows))
    return days


async def bill_off(invoice: Invoice, at: datetime = END) -> Invoice:
    return await invoices.bill_off(invoice.id, acting="job:invoices.bill_off_due", at=at)


# -- the document's figures -------------------------------------------------------------------------------------------


async def test_fifty_over_two_then_three_then_one() -> None:
    """BOS: 25.00 each, the cents on the last ones, all on the one left; every version kept (R86-R88, R110)."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    async with happening() as first:
        await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    assert await versions(invoice) == [(1, Kind.CLASSES, 50_00, True, [25_00, 25_00])]
    assert first.events == ["InvoiceOpened"]
    assert first.verbs == ["open_invoice", "allocate_invoice"]

    async with happening() as third:
        assert await attend(clinic.seat(3, NOW + 3 * DAY)) == 1
    assert await spread(invoice) == [16_66, 16_67, 16_67]
    assert third.events == ["InvoiceReallocated"]
    assert third.told[0]["ids"] == {"invoice_id": str(invoice.id), "user_id": str(clinic.user.id)}

    async with happening() as one_left:
        await attend(clinic.seat(1, NOW + DAY, Mark.CANCELLED), clinic.seat(3, NOW + 3 * DAY, Mark.DNA))
    assert one_left.events == ["InvoiceReallocated"], "a page of changes spreads once"
    assert await versions(invoice) == [
        (1, Kind.CLASSES, 50_00, False, [25_00, 25_00]),
        (2, Kind.CLASSES, 50_00, False, [16_66, 16_67, 16_67]),
        (3, Kind.CLASSES, 50_00, True, [50_00]),
    ]

    await attend(clinic.seat(1, NOW + DAY, Mark.ATTENDED))  # un-cancelled: the latest mark counts (R104)
    assert await spread(invoice) == [25_00, 25_00]


@pytest.mark.parametrize(
    ("paid", "shares"),
    [
        (100_00, [33_33, 33_33, 33_34]),
        (200_00, [66_66, 66_67, 66_67]),
        (1, [0, 0, 1]),
        (0, [0, 0, 0]),
    ],
)
async def test_totals_match_to_the_cent(paid: int, shares: list[int]) -> None:
    clinic = await a_subscriber()
    await attend(*(clinic.seat(number, NOW + number * DAY) for number in (1, 2, 3)))
    await tell(clinic.invoiced(paid))
    assert await spread(await clinic.invoice()) == shares


async def test_what_a_week_of_classes_leaves_out() -> None:
    """R97-R99, R104, R105: by hand, DNA, another class type, before it begins; the end is outside, the start inside."""
    clinic = await a_subscriber()
    await attend(
        clinic.seat(1, NOW),
        clinic.seat(2, END - timedelta(seconds=1)),
        clinic.seat(3, END),
        clinic.seat(4, NOW - timedelta(seconds=1)),
        clinic.seat(5, NOW + DAY, Mark.DNA),
        clinic.seat(6, NOW + DAY, invoiced=True, invoice_id="by-hand-1"),
        clinic.seat(7, NOW + DAY, class_type="another", class_name="Another"),
    )
    await tell(clinic.invoiced(50_00), clinic.invoiced(70_00, name="2", start=END, end=END + WEEK))
    first, second = await clinic.invoice(), await clinic.invoice("2")
    assert await carried(first, second) == [["03-02", "03-09"], ["03-09"]]
    assert await spread(first) == [25_00, 25_00]
    assert await spread(second) == [70_00]
    await attend(clinic.seat(6, NOW + DAY))
    assert len(await spread(first)) == 3, "the invoice by hand was undone"


async def test_coverage_is_read_as_of_the_classs_start() -> None:
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 3 * DAY))
    await covered_until(clinic, NOW + 2 * DAY)
    await tell(clinic.invoiced())
    assert await carried(await clinic.invoice()) == [["03-03"]]


async def covered_until(clinic: Clinic, until: datetime) -> None:
    await Coverage.filter(membership_type_id=clinic.kind.id).update(covered_until=until)


async def test_no_class_left_is_one_ad_hoc_line() -> None:
    """R107."""
    clinic = await a_subscriber()
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    assert await versions(invoice) == [(1, Kind.AD_HOC, 50_00, True, [])]
    await attend(clinic.seat(1, NOW + DAY))
    await attend(clinic.seat(1, NOW + DAY, Mark.CANCELLED))
    assert [(kind, shares) for _, kind, _, _, shares in await versions(invoice)] == [
        (Kind.AD_HOC, []),
        (Kind.CLASSES, [50_00]),
        (Kind.AD_HOC, []),
    ]


async def test_a_refund_before_billing_off_is_taken_out_first() -> None:
    """R109: what the client was actually charged."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    await tell(clinic.invoiced(50_00), clinic.invoiced(50_00, amount_refunded=9_99))
    invoice = await clinic.invoice()
    assert await spread(invoice) == [20_00, 20_01]
    assert (await versions(invoice))[-1][2] == 40_01
    await tell(clinic.invoiced(50_00, amount_refunded=50_00))
    assert await spread(invoice) == [0, 0]
    billed = await bill_off(invoice)
    assert billed.billed_off_at == END


async def test_a_class_that_moves_out_of_the_period_takes_every_patients_share_along() -> None:
    first = await a_subscriber()
    second = await a_subscriber()
    second.location, second.covers = first.location, first.covers
    await _cover_the_same(first, second)
    shared: dict[str, Any] = {"session_id": f"{first.location}:shared"}
    await attend(first.seat(1, NOW + DAY, **shared), second.seat(1, NOW + DAY, **shared))
    await tell(first.invoiced(50_00), second.invoiced(60_00))
    mine, theirs = await first.invoice(), await second.invoice()
    assert (await spread(mine), await spread(theirs)) == ([50_00], [60_00])
    moved = END + DAY
    await attend(first.seat(1, moved, **shared), second.seat(1, moved, **shared))
    assert (await spread(mine), await spread(theirs)) == ([], [])
    assert await ClassSession.filter(external_ref=shared["session_id"]).count() == 1


async def _cover_the_same(first: Clinic, second: Clinic) -> None:
    shared = await ClassType.get(practice_id=first.covers[0])
    await Coverage.create(membership_type_id=second.kind.id, class_type_id=shared.id, covered_from=NOW - WEEK)


async def test_a_page_that_tells_nothing_new_writes_nothing() -> None:
    clinic = await a_subscriber()
    page = [clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY)]
    await attend(*page)
    await tell(clinic.invoiced())
    async with nothing_written():
        assert await attend(*page) == 0


async def test_patients_and_places_that_are_not_ours_are_left_out() -> None:
    clinic = await a_subscriber()
    async with nothing_written():
        await attend(
            clinic.seat(1, NOW + DAY, patient_id="stranger"), clinic.seat(2, NOW + DAY, location_id="elsewhere")
        )


# -- an attendance is billed once -------------------------------------------------------------------------------------


async def test_of_two_memberships_the_earlier_period_end_pays() -> None:
    """R91, first rule."""
    weekly = await a_subscriber()
    monthly = await a_clinic(beside=weekly)
    await tell(monthly.subscribed())
    await attend(weekly.seat(1, NOW + DAY), weekly.seat(2, NOW + 9 * DAY))
    await tell(monthly.invoiced(90_00, end=NOW + 4 * WEEK), weekly.invoiced(50_00))
    assert await carried(await weekly.invoice(), await monthly.invoice()) == [["03-03"], ["03-11"]]


async def test_then_the_narrower_type_then_the_older_subscription() -> None:
    narrow = await a_subscriber()
    broad = await a_clinic(beside=narrow, covers=2)
    await tell(broad.subscribed(), broad.invoiced(80_00))
    await attend(narrow.seat(1, NOW + DAY), narrow.seat(2, NOW + 2 * DAY, class_type=broad.covers[1]))
    assert await carried(await broad.invoice()) == [["03-03", "03-04"]]
    await tell(narrow.invoiced(50_00))
    assert await carried(await narrow.invoice(), await broad.invoice()) == [["03-03"], ["03-04"]]

    older = await a_subscriber()
    younger = await a_clinic(beside=older)
    await tell(younger.subscribed(), younger.invoiced(50_00), older.invoiced(50_00))
    await attend(older.seat(1, NOW + DAY))
    assert await carried(await older.invoice(), await younger.invoice()) == [["03-03"], []]


async def test_a_chain_of_overlapping_periods_is_spread_as_a_whole() -> None:
    """Two weeklies that do not touch each other, and a monthly over both: no class stands in two invoices."""
    weekly = await a_subscriber()
    monthly = await a_clinic(beside=weekly)
    await tell(monthly.subscribed())
    await attend(weekly.seat(1, NOW + DAY), weekly.seat(2, NOW + 8 * DAY), weekly.seat(3, NOW + 15 * DAY))
    await tell(
        monthly.invoiced(90_00, end=NOW + 4 * WEEK),
        weekly.invoiced(50_00),
        weekly.invoiced(50_00, name="2", start=END, end=END + WEEK),
    )
    three = [await weekly.invoice(), await weekly.invoice("2"), await monthly.invoice()]
    expected = [["03-03"], ["03-10"], ["03-17"]]
    assert await carried(*three) == expected
    await invoices.allocate_invoice(three[0].id, acting=BY, at=NOW)
    assert await carried(*three) == expected, "looking at the first week must not forget the second"
    await attend(weekly.seat(4, NOW + 2 * DAY))
    assert await carried(*three) == [["03-03", "03-04"], ["03-10"], ["03-17"]]
    for invoice, end in zip(three, (END, END + WEEK, NOW + 4 * WEEK), strict=True):
        await bill_off(invoice, end)
    assert await carried(*three) == [["03-03", "03-04"], ["03-10"], ["03-17"]]


@pytest.mark.parametrize("status", [InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE])
async def test_an_invoice_that_will_never_be_paid_claims_no_class(status: InvoiceStatus) -> None:
    weekly = await a_subscriber()
    monthly = await a_clinic(beside=weekly)
    await tell(monthly.subscribed())
    await attend(weekly.seat(1, NOW + DAY))
    await tell(weekly.invoiced(0, status=InvoiceStatus.OPEN, total=50_00), monthly.invoiced(90_00, end=NOW + 4 * WEEK))
    assert await carried(await weekly.invoice(), await monthly.invoice()) == [["03-03"], []], "it may still be paid"
    await tell(weekly.invoiced(0, status=status, total=50_00))
    assert await carried(await monthly.invoice()) == [["03-03"]]


async def test_many_are_billed_off_together_as_each_alone() -> None:
    """What is held, not over, done already or does not add up is left to be refused alone; the others do not wait."""
    classes, adhoc, unpaid, longer, done, unsound = clinics = [await a_subscriber() for _ in range(6)]
    for clinic in (classes, adhoc, done, unsound):
        await tell(clinic.invoiced(100_00))
    await tell(unpaid.invoiced(0, status=InvoiceStatus.OPEN, total=50_00), longer.invoiced(end=END + DAY))
    await attend(*(classes.seat(number, NOW + number * DAY) for number in (1, 2, 3)))
    rows = [await clinic.invoice() for clinic in clinics]
    await bill_off(rows[4])
    await Invoice.filter(id=rows[5].id).update(amount_paid=99_00, total=98_00)
    async with happening() as seen:
        left = await invoices.bill_off_together([row.id for row in rows], acting=BY, at=END)
    assert left == [row.id for row in rows[2:]]
    assert [(entry.verb, entry.subject_id, entry.after) for entry in seen.audit if "bill_off" in entry.verb] == [
        ("bill_off_invoice", rows[0].id, {"version": 2, "amount": 100_00}),
        ("bill_off_invoice", rows[1].id, {"version": 1, "amount": 100_00}),
    ]
    assert seen.events[-2:] == ["InvoiceBilledOff", "InvoiceBilledOff"]
    assert sorted(seen.kinds) == [*["accounting.ship_invoice"] * 2, "live.publish", *["practice.ship_invoice"] * 2]
    assert await carried(*rows[:2]) == [["03-03", "03-04", "03-05"], []]
    assert [(await clinic.invoice()).billed_off_at for clinic in (classes, adhoc, unpaid, longer)] == [
        END,
        END,
        None,
        None,
    ]
    async with nothing_written():
        assert await invoices.bill_off_together([row.id for row in rows[:2]], acting=BY, at=END) == [
            row.id for row in rows[:2]
        ]


# -- held, and let go -------------------------------------------------------------------------------------------------


async def test_an_unpaid_invoice_waits_for_its_money() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(0, status=InvoiceStatus.OPEN, total=50_00))
    invoice = await clinic.invoice()
    assert invoice.hold == "UNPAID"
    async with refused(Code.INVOICE_NOT_PAID):
        await bill_off(invoice)
    assert invoice.id not in await invoices.due_to_bill_off(END)
    await tell(clinic.invoiced(50_00))
    assert (await clinic.invoice()).hold is None
    assert invoice.id in await invoices.due_to_bill_off(END)
    await bill_off(invoice)


async def test_a_patient_nobody_is_tied_to_holds_until_linked() -> None:
    """R103: held, not ad-hoc; linking spreads anew, and has the patient's classes read that were left out."""
    clinic = await a_clinic(linked=False)
    await tell(clinic.subscribed(), clinic.invoiced())
    await attend(clinic.seat(1, NOW + DAY))
    invoice = await clinic.invoice()
    assert (invoice.hold, invoice.user_id) == ("PATIENT_UNLINKED", clinic.user.id)
    async with refused(Code.PATIENT_UNLINKED):
        await bill_off(invoice)
    async with happening() as seen:
        await users.link_external(
            user_id=clinic.user.id,
            provider=Provider.NOOKAL,
            kind="patient",
            external_id=clinic.patient,
            acting=BY,
            at=NOW,
        )
    assert [(job.kind, job.payload) for job in seen.jobs] == [
        ("invoices.respread", {"user_id": str(clinic.user.id)}),
        ("practice.read_patient", {"user_id": str(clinic.user.id), "patient_id": clinic.patient}),
    ]
    await invoices.respread(clinic.user.id, acting=BY, at=NOW)
    assert (await clinic.invoice()).hold is None
    await attend(clinic.seat(1, NOW + DAY))
    assert await spread(invoice) == [50_00]


async def test_what_is_missing_on_the_walk_holds() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(subscription_id=None))
    invoice = await clinic.invoice()
    assert (invoice.hold, invoice.user_id) == ("NO_SUBSCRIPTION", None)
    async with refused(Code.NO_SUBSCRIPTION):
        await bill_off(invoice)

    other = await a_clinic()
    await tell(other.subscribed(product_ids=("prod_unmanaged",)), other.invoiced())
    invoice = await other.invoice()
    assert invoice.hold == "UNMANAGED_PRODUCT"
    async with refused(Code.UNMANAGED_PRODUCT):
        await bill_off(invoice)


# -- billed off -------------------------------------------------------------------------------------------------------


async def test_billing_off_freezes_and_ships_once() -> None:
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    async with refused(Code.INVOICE_NOT_DUE):
        await bill_off(invoice, END - timedelta(seconds=1))
    async with happening() as seen:
        await bill_off(invoice)
    assert (await clinic.invoice()).billed_off_at == END
    assert [(job.kind, job.payload, job.subject) for job in seen.jobs] == [
        (
            kind,
            {"invoice_id": str(invoice.id), "user_id": str(clinic.user.id)},
            f"{kind}:{invoice.id}",
        )
        for kind in ("practice.ship_invoice", "accounting.ship_invoice")
    ] + [("live.publish", seen.jobs[-1].payload, None)]
    assert seen.events == ["InvoiceBilledOff"]
    assert [(entry.verb, entry.after) for entry in seen.audit] == [
        ("bill_off_invoice", {"version": 1, "amount": 50_00})
    ]
    assert [(row.system, row.state, row.reference) for row in await Shipment.filter(invoice_id=invoice.id)] == [
        ("NOOKAL", "PENDING", f"DUE-{invoice.external_id}")
    ]
    async with refused(Code.INVOICE_ALREADY_BILLED):
        await bill_off(invoice)
    async with refused(Code.INVOICE_ALREADY_BILLED, "invoiceId"):
        await invoices.allocate_invoice(invoice.id, acting=BY, at=END)
    async with refused(Code.NOT_FOUND, "invoiceId"):
        await invoices.bill_off(clinic.user.id, acting=BY, at=END)


async def test_five_at_once_bill_off_once() -> None:
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    async with happening() as seen:
        answers = await asyncio.gather(*(bill_off(invoice) for _ in range(5)), return_exceptions=True)
    refusals = [answer.code for answer in answers if isinstance(answer, Refusal)]
    assert refusals == [Code.INVOICE_ALREADY_BILLED] * 4
    assert seen.events == ["InvoiceBilledOff"]
    assert await Shipment.filter(invoice_id=invoice.id).count() == 1


async def test_overlapping_invoices_billed_off_at_once_share_no_class() -> None:
    """They lock each other's rows in opposite orders; whoever loses runs again."""
    weekly = await a_subscriber()
    others = [await a_clinic(beside=weekly) for _ in range(2)]
    await attend(*(weekly.seat(number, NOW + number * DAY) for number in range(1, 6)))
    for clinic in others:
        await tell(clinic.subscribed(), clinic.invoiced(60_00))
    await tell(weekly.invoiced(50_00))
    three = [await clinic.invoice() for clinic in (weekly, *others)]
    await asyncio.gather(*(bill_off(invoice) for invoice in three))
    days = [day for found in await carried(*three) for day in found]
    assert sorted(days) == ["03-03", "03-04", "03-05", "03-06", "03-07"]


async def test_after_billing_off_nothing_changes_it() -> None:
    """R89: neither marks, nor a moved class, nor the invoice told again, nor a refund; what changed is kept aside."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    fact = clinic.invoiced(50_00)
    await tell(fact)
    invoice = await clinic.invoice()
    await bill_off(invoice)
    before = await versions(invoice), await Invoice.filter(id=invoice.id).values(), await carried(invoice)
    async with nothing_written():
        await tell(fact, at=END)
    async with happening() as seen:
        await tell(clinic.invoiced(50_00, amount_refunded=50_00), clinic.invoiced(99_00), at=END)
        await attend(clinic.seat(1, NOW + DAY, Mark.CANCELLED), clinic.seat(3, NOW + 3 * DAY), at=END)
    assert {job.kind for job in seen.jobs} == {"live.publish"}, "nothing is shipped by itself"
    await invoices.respread(clinic.user.id, acting=BY, at=END)
    assert (await versions(invoice), await Invoice.filter(id=invoice.id).values(), await carried(invoice)) == before


async def test_a_class_billed_off_is_not_billed_by_the_next_invoice() -> None:
    weekly = await a_subscriber()
    await attend(weekly.seat(1, NOW + DAY))
    await tell(weekly.invoiced(50_00))
    await bill_off(await weekly.invoice())
    late = await a_clinic(beside=weekly)
    await tell(late.subscribed(), late.invoiced(70_00), at=END)
    assert await carried(await weekly.invoice(), await late.invoice()) == [["03-03"], []]


async def test_our_own_invoice_in_the_practice_is_recognised() -> None:
    """R105: what we shipped comes back as "invoiced", and is not somebody's by hand."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    await bill_off(invoice)
    outgoing = await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)
    assert outgoing is not None
    async with nothing_written():
        await attend(clinic.seat(1, NOW + DAY, invoiced=True), at=END)
    number = a_name("nk")
    await shipments.shipped(invoice.id, Provider.NOOKAL, external_id=number, acting=BY, at=END)
    async with nothing_written():
        await attend(clinic.seat(1, NOW + DAY, invoiced=True, invoice_id=number), at=END)
        await shipments.shipped(invoice.id, Provider.NOOKAL, external_id="another", acting=BY, at=END)
        assert await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END) is None


async def test_what_is_shipped_is_itemised_for_the_practice_and_plain_for_the_books() -> None:
    """R108-R112."""
    clinic = await a_subscriber()
    await ProviderSetting.create(provider=Provider.XERO, secrets="sealed")
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY), clinic.seat(3, NOW + 3 * DAY))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    await bill_off(invoice)
    practice = await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)
    books = await shipments.begin_shipment(invoice.id, Provider.XERO, acting=BY, at=END)
    assert isinstance(practice, OutgoingInvoice)
    assert isinstance(books, OutgoingInvoice)
    name = f"Class {clinic.covers[0]}"
    assert [(item.description, item.amount, item.session_ref) for item in practice.items] == [
        (f"{name}, 03 Mar 2026", 16_66, f"{clinic.location}:1"),
        (f"{name}, 04 Mar 2026", 16_67, f"{clinic.location}:2"),
        (f"{name}, 05 Mar 2026", 16_67, f"{clinic.location}:3"),
    ]
    assert [(item.description, item.amount, item.session_ref) for item in books.items] == [("Weekly", 50_00, None)]
    assert (practice.customer_ref, practice.customer_name, practice.location_ref, practice.currency) == (
        clinic.patient,
        "Ada Reader",
        clinic.location,
        "GBP",
    )
    assert practice.reference == books.reference == f"DUE-{invoice.external_id}"
    await ProviderSetting.filter(provider=Provider.XERO).delete()


async def test_an_invoice_mirrors_its_lines_as_they_are_now() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced())
    period = Period(NOW, END)
    changed = (
        InvoiceLineSeen(external_id="il_2", description="Two weeks", amount=65_00, period=period),
        InvoiceLineSeen(external_id="il_3", description="Credit", amount=-5_00, period=period, proration=True),
    )
    await tell(clinic.invoiced(60_00, lines=changed))
    rows = await InvoiceItem.filter(invoice_id=(await clinic.invoice()).id).order_by("position")
    assert [(row.external_id, row.amount, row.proration) for row in rows] == [
        ("il_2", 65_00, False),
        ("il_3", -5_00, True),
    ]
