"""Many invoices spread at once: the same few statements for one and for three hundred, and the same shares."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tortoise.connection import get_connections

from models.actions import allocations, attendances, claimants, decisions, invoices, shipments, unpaid
from models.actions.revenue import By, revenue
from models.actions.unit import unit
from models.ports import OutgoingInvoice
from models.rules.invoicing import LeftOutReason, Mark
from models.rules.refusals import Code
from models.rules.spreading import OverlapRule
from models.rules.states import AttendanceSource, InvoiceStatus, Provider, SubscriptionStatus
from models.tables.course import Attendance, ClassSession
from models.tables.invoice import Allocation, AllocationShare, Invoice
from models.tables.membership import ClassType, Membership, Subscription
from models.tables.user import ExternalLink, User
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    Clinic,
    a_clinic,
    a_subscriber,
    attend,
    happening,
    refused,
    spread,
    sql,
    tell,
)

pytestmark = pytest.mark.usefixtures("database")
MANY, CLASSES = 300, 4
END = NOW + WEEK


@asynccontextmanager
async def counted() -> AsyncIterator[list[str]]:
    """The statements sent inside an open transaction; a batch counts as one, the two COPYs of shares are not told."""
    sent: list[str] = []
    connection = get_connections().get("default")._connection
    with connection.query_logger(lambda told: sent.append(told.query)):
        yield sent


async def a_months_clinic(clinic: Clinic) -> list[Invoice]:
    """Three hundred clients of one membership type, each with a paid invoice and four classes."""
    kind = await ClassType.get(practice_id=clinic.covers[0])
    people = [
        User(first_name="P", last_name=str(n), email=f"p{n}@m.test", email_key=f"p{n}@m.test") for n in range(MANY)
    ]
    await User.bulk_create(people)
    link: dict[str, Any] = {"provider": Provider.NOOKAL, "kind": "patient"}
    await ExternalLink.bulk_create(
        [ExternalLink(user_id=p.id, external_id=f"many{p.last_name}", **link) for p in people]
    )
    of: dict[str, Any] = {"membership_type_id": clinic.kind.id, "centre_id": clinic.centre.id, "currency": "GBP"}
    held = [Membership(user_id=p.id, status="ACTIVE", starts_on=NOW.date(), **of) for p in people]
    await Membership.bulk_create(held)
    card: dict[str, Any] = {"provider": Provider.STRIPE, "product": clinic.product, "status": SubscriptionStatus.ACTIVE}
    subscriptions = [
        Subscription(user_id=m.user_id, membership_id=m.id, external_id=f"s{m.id}", customer="c", **card) for m in held
    ]
    await Subscription.bulk_create(subscriptions)
    paid: dict[str, Any] = {
        "provider": Provider.STRIPE, "status": InvoiceStatus.PAID, "currency": "GBP", "amount_paid": 50_01,
        "period_start": NOW, "period_end": END, "hold": "UNPAID",
    }  # fmt: skip
    invoices = [
        Invoice(
            user_id=s.user_id,
            attendee_id=s.user_id,
            membership_id=s.membership_id,
            subscription_id=s.id,
            external_id=f"i{s.id}",
            **paid,
        )
        for s in subscriptions
    ]
    await Invoice.bulk_create(invoices)
    classes = [
        ClassSession(
            class_type_id=kind.id, centre_id=clinic.centre.id, starts_at=NOW + n * DAY, ends_at=NOW + n * DAY + HOUR
        )
        for n in range(CLASSES)
    ]
    await ClassSession.bulk_create(classes)
    source = AttendanceSource.NOOKAL
    await Attendance.bulk_create(
        [Attendance(class_session_id=c.id, user_id=p.id, source=source) for c in classes for p in people]
    )
    return invoices


async def test_a_months_changes_of_a_clinic_are_one_pass() -> None:
    invoices = await a_months_clinic(await a_subscriber())
    took = []
    for touched in (invoices[:1], invoices[1:2], invoices[2:]):  # the first one also asks what types there are
        async with unit(acting=BY, at=NOW) as work, counted() as sent:
            await allocations.reallocate(work, [invoice.id for invoice in touched])
        took.append(len(sent))
    assert took[1:] == [8, 8], sent
    shares = await sql("SELECT amount, count(*) AS times FROM allocation_share GROUP BY amount ORDER BY amount")
    assert [(row["amount"], row["times"]) for row in shares] == [(12_50, 3 * MANY), (12_51, MANY)]
    assert await Invoice.filter(hold__isnull=True).count() == MANY

    changed = {invoice.user_id: [NOW + DAY] for invoice in invoices if invoice.user_id}
    await claimants.around(changed, billed=True)  # the driver asks once what an array of instants is
    await Attendance.filter(class_session__starts_at=NOW + DAY).update(mark=Mark.DNA)
    async with unit(acting=BY, at=NOW) as work, counted() as sent:
        await allocations.reallocate_around(work, changed)
    assert len(sent) == 9, sent
    assert await Allocation.filter(version=2, current=True).count() == MANY
    assert await AllocationShare.filter(allocation__version=2, amount=16_67).count() == 3 * MANY


async def a_shared_week() -> tuple[Clinic, Clinic, Clinic]:
    """Three memberships of one person that all cover the week's classes: weekly, broad weekly, monthly."""
    weekly = await a_subscriber()
    broad = await a_clinic(beside=weekly, covers=2)
    monthly = await a_clinic(beside=weekly)
    for clinic in (broad, monthly):
        await tell(clinic.subscribed())
    await attend(*(weekly.seat(number, NOW + number * DAY) for number in (1, 2, 3)))
    await tell(monthly.invoiced(90_00, end=NOW + 4 * WEEK), broad.invoiced(80_00), weekly.invoiced(60_00))
    return weekly, broad, monthly


async def test_of_three_memberships_one_pays_and_a_person_may_choose_another() -> None:
    """R91: the rule's choice is told, a person's goes before it as long as that invoice could pay."""
    clinics = await a_shared_week()
    weekly, broad, monthly = [await clinic.invoice() for clinic in clinics]
    assert [await spread(each) for each in (weekly, broad, monthly)] == [[20_00] * 3, [], []]
    seats = await Attendance.filter(user_id=clinics[0].user.id).order_by("id")
    told = await unpaid.why_not(seats[0].id)
    assert (told.paid_by, told.by) == (weekly.id, OverlapRule.NARROWER_TYPE)
    assert {each.invoice_id: each.reason for each in told.candidates} == {
        weekly.id: None,
        broad.id: LeftOutReason.BILLED_BY_OTHER_INVOICE,
        monthly.id: LeftOutReason.BILLED_BY_OTHER_INVOICE,
    }
    async with happening() as chosen:
        await attendances.choose_invoice(seats[0].id, monthly.id, acting=BY, at=NOW)
    assert (chosen.verbs[0], chosen.events) == ("choose_invoice", ["InvoiceReallocated"] * 2)
    assert [await spread(each) for each in (weekly, broad, monthly)] == [[30_00] * 2, [], [90_00]]
    told = await unpaid.why_not(seats[0].id)
    assert (told.paid_by, told.by) == (monthly.id, OverlapRule.CHOSEN)
    (latest,) = await Allocation.filter(invoice_id=monthly.id, current=True)
    assert {"rule": "R91", "figures": {str(seats[0].id): "CHOSEN"}}.items() <= latest.because[-4].items()

    await tell(clinics[2].invoiced(0, status=InvoiceStatus.VOID, end=NOW + 4 * WEEK))
    assert await spread(weekly) == [20_00] * 3, "an invoice that will never be paid is no choice"
    await attendances.choose_invoice(seats[0].id, acting=BY, at=NOW)
    assert (await unpaid.why_not(seats[0].id)).by is OverlapRule.NARROWER_TYPE

    stranger = await a_subscriber()
    await tell(stranger.invoiced())
    async with refused(Code.INVALID_INPUT, "invoiceId"):
        await attendances.choose_invoice(seats[0].id, (await stranger.invoice()).id, acting=BY, at=NOW)
    await invoices.bill_off(weekly.id, acting=BY, at=END)
    async with refused(Code.INVOICE_ALREADY_BILLED, "invoiceId"):
        await attendances.choose_invoice(seats[0].id, broad.id, acting=BY, at=END)
    told = await unpaid.why_not(seats[0].id, broad.id)
    assert (told.paid_by, told.by) == (weekly.id, OverlapRule.BILLED_OFF)


async def test_why_an_attendance_is_not_paid_for() -> None:
    clinic = await a_subscriber()
    await attend(
        clinic.seat(1, NOW + DAY, Mark.DNA),
        clinic.seat(2, NOW + DAY, invoiced=True, invoice_id="by-hand"),
        clinic.seat(3, NOW + 3 * WEEK),
        clinic.seat(4, NOW + DAY, class_type="another"),
    )
    await tell(clinic.invoiced())
    invoice = await clinic.invoice()
    seats = await Attendance.filter(user_id=clinic.user.id).order_by("id")
    told = [await unpaid.why_not(seat.id) for seat in seats]
    assert [[each.reason for each in answer.candidates] for answer in told] == [
        [LeftOutReason.MARKED_DNA],
        [LeftOutReason.INVOICED_BY_HAND],
        [],
        [LeftOutReason.NOT_COVERED],
    ]
    assert [answer.steps[0].rule for answer in told] == ["R106", "R106", "R99", "R106"]
    walked = (await decisions.about("Invoice", invoice.id))[-1]
    rules = ["R100", "R101", "R102", "R103", "R97", "R104", "R105", "R106", "R107"]
    assert sorted(each["rule"] for each in walked.because) == sorted(rules)

    await attend(clinic.seat(5, NOW + DAY))
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    await attend(clinic.seat(6, NOW + 2 * DAY), at=END)
    late = await Attendance.filter(user_id=clinic.user.id).order_by("-id").first()
    assert late is not None
    assert [each.reason for each in (await unpaid.why_not(late.id)).candidates] == [LeftOutReason.BILLED_OFF_ALREADY]


async def test_a_week_in_which_the_clocks_change_ends_where_the_clinics_week_ends() -> None:
    """R99: London's week of 29 March 2026 has 167 hours; the class at its last midnight is the next one's."""
    clinic = await a_subscriber()
    zone = ZoneInfo("Europe/London")
    start, end = (datetime(2026, 3, day, tzinfo=zone).astimezone(UTC) for day in (23, 30))
    assert end - start == timedelta(hours=167)
    await attend(clinic.seat(1, start), clinic.seat(2, end - timedelta(minutes=1)), clinic.seat(3, end))
    await tell(clinic.invoiced(50_00, start=start, end=end))
    shares = AllocationShare.filter(allocation__invoice_id=(await clinic.invoice()).id, allocation__current=True)
    found = await shares.order_by("position").prefetch_related("attendance__class_session")
    assert [each.attendance.class_session.starts_at for each in found] == [start, end - timedelta(minutes=1)]


async def test_a_parents_subscription_pays_for_the_childs_classes() -> None:
    """R92: the classes of its beneficiary, whose patient the practice bills."""
    parent, child = await a_subscriber(), await a_subscriber()
    child.location, child.covers = parent.location, parent.covers
    await Subscription.filter(external_id=parent.subscription).update(beneficiary_id=child.user.id)
    await attend(parent.seat(1, NOW + DAY), child.seat(2, NOW + DAY), child.seat(3, NOW + 2 * DAY))
    await tell(parent.invoiced(50_00))
    invoice = await parent.invoice()
    assert await spread(invoice) == [25_00, 25_00]
    await attend(child.seat(2, NOW + DAY, Mark.CANCELLED))
    assert await spread(invoice) == [50_00]
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    sent = await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)
    assert isinstance(sent, OutgoingInvoice)
    assert sent.customer_ref == child.patient


async def test_revenue_comes_to_the_same_whatever_it_is_summed_by() -> None:
    clinic = await a_subscriber()
    other = await a_clinic(beside=clinic, covers=2)
    await tell(other.subscribed())
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + DAY, class_type=other.covers[1]))
    await tell(clinic.invoiced(50_00, amount_refunded=5_00), other.invoiced(70_01))
    await tell(clinic.invoiced(30_00, name="2", start=END, end=END + WEEK))  # no class: money all the same
    await invoices.bill_off((await clinic.invoice()).id, acting=BY, at=END)
    days: dict[str, Any] = {"since": date(2026, 3, 1), "until": date(2026, 4, 1), "centre_id": clinic.centre.id}
    lines = {by: await revenue(by, **days) for by in By}
    assert {by: sum(line.amount for line in found) for by, found in lines.items()} == dict.fromkeys(By, 145_01)
    (month,) = lines[By.PERIOD]
    assert (month.name, month.classes, month.invoices, month.billed_off) == ("2026-03", 2, 3, 45_00)
    assert sorted((line.classes, line.amount) for line in lines[By.CLASS]) == [(0, 30_00), (1, 45_00), (1, 70_01)]
    assert {line.name: line.amount for line in lines[By.MEMBERSHIP_TYPE]} == {
        clinic.kind.name: 75_00,
        other.kind.name: 70_01,
    }
    assert await revenue(By.CLASS, **{**days, "since": date(2026, 3, 10)}) == []
