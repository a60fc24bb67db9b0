"""One pays and another attends: whose classes an invoice pays for, whatever is linked when (R92)."""

from typing import Any

import pytest

from models.actions import attendances, invoices, links, patients, shipments, subscriptions
from models.ports import OutgoingInvoice
from models.rules.invoicing import Mark
from models.rules.states import Provider
from models.tables.course import Attendance
from models.tables.invoice import Correction, Invoice
from models.tables.job import Job
from models.tables.user import ExternalLink, User
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    Clinic,
    a_clinic,
    a_subscriber,
    a_user,
    attend,
    happening,
    spread,
    tell,
    tied,
)

pytestmark = pytest.mark.usefixtures("database")
END = NOW + WEEK


async def pays_for(payer: Clinic, child: User, clinic: Clinic | None = None) -> None:
    row = await (clinic or payer).row()
    await subscriptions.link_subscription(row.id, user_id=payer.user.id, beneficiary_id=child.id, acting=BY, at=NOW)


async def a_child(clinic: Clinic) -> Clinic:
    """Somebody without a subscription, in the classes of the same clinic."""
    child = await a_clinic(beside=clinic)
    child.user = await a_user("Kim")
    child.patient = await tied(child.user, Provider.NOOKAL, "patient")
    child.covers = clinic.covers
    return child


async def sent(invoice: Invoice) -> tuple[str | None, str, list[int]]:
    """What goes to the practice: (whose patient, whose name, its lines)."""
    out = await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)
    assert isinstance(out, OutgoingInvoice)
    return out.customer_ref, out.customer_name, [item.amount for item in out.items]


async def test_a_parent_pays_for_a_child_and_both_attend() -> None:
    parent = await a_subscriber()
    child = await a_child(parent)
    await pays_for(parent, child.user)
    await attend(parent.seat(1, NOW + DAY), child.seat(2, NOW + DAY), child.seat(3, NOW + 2 * DAY))
    await tell(parent.invoiced(50_00))
    invoice = await parent.invoice()
    assert (invoice.user_id, invoice.attendee_id) == (parent.user.id, child.user.id)
    assert await spread(invoice) == [25_00, 25_00], "the parent's own class is nobody's to pay for"
    await attend(child.seat(2, NOW + DAY, Mark.CANCELLED))
    assert await spread(invoice) == [50_00]
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    assert await sent(invoice) == (child.patient, "Ada Reader", [50_00])


async def test_a_link_changed_mid_period_moves_the_money_and_frees_the_classes_left() -> None:
    """Two subscriptions pay for Kim; one is given to Lee: his classes, and Kim's fall to the other at once."""
    first = await a_subscriber()
    second = await a_clinic(beside=first)
    kim, lee = await a_child(first), await a_child(first)
    await tell(second.subscribed())
    await pays_for(first, kim.user)
    await pays_for(first, kim.user, second)
    await attend(kim.seat(1, NOW + DAY), lee.seat(2, NOW + DAY), lee.seat(3, NOW + 2 * DAY))
    await tell(first.invoiced(50_00), second.invoiced(90_00, end=NOW + 4 * WEEK))
    weekly, monthly = await first.invoice(), await second.invoice()
    assert (await spread(weekly), await spread(monthly)) == ([50_00], [])
    async with happening() as seen:
        await pays_for(first, lee.user)
    assert seen.events == ["InvoiceReallocated", "InvoiceReallocated"]
    assert (await spread(weekly), await spread(monthly)) == ([25_00, 25_00], [90_00])


async def test_what_is_billed_off_stays_whose_it_was() -> None:
    """Shipped to whom it was billed for, and a class it paid for is paid for by no other invoice."""
    parent = await a_subscriber()
    kim, lee = await a_child(parent), await a_child(parent)
    await pays_for(parent, kim.user)
    await attend(kim.seat(1, NOW + DAY), lee.seat(2, NOW + DAY))
    await tell(parent.invoiced(50_00))
    billed = await parent.invoice()
    await invoices.bill_off(billed.id, acting=BY, at=END)
    await pays_for(parent, lee.user)
    assert await sent(billed) == (kim.patient, "Ada Reader", [50_00])

    own = await a_clinic(beside=kim)
    own.customer = await tied(kim.user, Provider.STRIPE, "customer")
    await tell(own.subscribed(), own.invoiced(90_00, end=NOW + 4 * WEEK))
    assert await spread(await own.invoice()) == [], "the class is billed"
    seat = await Attendance.get(user_id=kim.user.id)
    await attendances.attendances_seen([kim.seat(1, NOW + DAY, Mark.ATTENDED)], acting=BY, at=END)
    await attend(lee.seat(2, NOW + DAY, Mark.ATTENDED), at=END)
    assert await Correction.filter(invoice_id=billed.id).count() == 0, "Lee's classes are nothing to it"
    await attend(kim.seat(1, NOW + DAY, Mark.DNA), at=END)
    assert (await Correction.get(invoice_id=billed.id)).change["was"]["shares"] == {str(seat.id): 50_00}


async def test_a_childs_patient_linked_late_frees_the_invoice_that_waits() -> None:
    """The hold goes, and the classes are read from the period's beginning, though another pays."""
    parent, child = await a_subscriber(), await a_user("Kim")
    await pays_for(parent, child)
    await tell(parent.invoiced(50_00))
    assert (await parent.invoice()).hold == "PATIENT_UNLINKED"
    async with happening() as seen:
        await tied(child, Provider.NOOKAL, "patient")
    jobs: dict[str, dict[str, Any]] = {job.kind: job.payload for job in seen.jobs}
    assert await patients.classes_from(child.id, NOW + 5 * DAY) == (NOW - DAY).date()
    assert jobs["invoices.respread"] == {"user_id": str(child.id)}
    await invoices.respread(child.id, acting=BY, at=NOW)
    assert (await parent.invoice()).hold is None
    assert await Job.filter(kind="practice.read_patient", user_id=child.id).count() == 1


async def test_a_try_is_looked_for_at_every_patient_the_client_was_linked_to() -> None:
    """The answer to the first try was lost, and the patient was linked anew meanwhile."""
    clinic = await a_subscriber()
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    await invoices.bill_off(invoice.id, acting=BY, at=END)
    await sent(invoice)
    link = await ExternalLink.get(user_id=clinic.user.id, kind="patient")
    await links.unlink_user(link.id, reason="the clinic merged two records", acting=BY, at=END)
    now = await tied(clinic.user, Provider.NOOKAL, "patient")
    out = await shipments.begin_shipment(invoice.id, Provider.NOOKAL, acting=BY, at=END)
    assert isinstance(out, OutgoingInvoice)
    assert (out.customer_ref, out.known_as) == (now, (clinic.patient,))
