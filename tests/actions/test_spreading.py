"""Many invoices spread at once: the same few statements for one and for three hundred, and the same shares."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tortoise.connection import get_connections

from models.actions import allocations
from models.actions.unit import unit
from models.rules.invoicing import Mark
from models.rules.states import AttendanceSource, InvoiceStatus, Provider, SubscriptionStatus
from models.tables.course import Attendance, ClassSession
from models.tables.invoice import Allocation, AllocationShare, Invoice
from models.tables.membership import ClassType, Membership, Subscription
from models.tables.user import ExternalLink, User
from tests.build import BY, DAY, HOUR, NOW, WEEK, Clinic, a_subscriber, sql

pytestmark = pytest.mark.usefixtures("database")
MANY, CLASSES = 300, 4
END = NOW + WEEK


@asynccontextmanager
async def counted() -> AsyncIterator[list[str]]:
    """The statements sent inside an open transaction; a batch counts as one."""
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
        Invoice(user_id=s.user_id, membership_id=s.membership_id, subscription_id=s.id, external_id=f"i{s.id}", **paid)
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
            await allocations.reallocate(work, touched)
        took.append(len(sent))
    assert took[1:] == [11, 11], sent
    shares = await sql("SELECT amount, count(*) AS times FROM allocation_share GROUP BY amount ORDER BY amount")
    assert [(row["amount"], row["times"]) for row in shares] == [(12_50, 3 * MANY), (12_51, MANY)]
    assert await Invoice.filter(hold__isnull=True).count() == MANY

    changed = {invoice.user_id: [NOW + DAY] for invoice in invoices if invoice.user_id}
    await Attendance.filter(class_session__starts_at=NOW + DAY).update(mark=Mark.DNA)
    async with unit(acting=BY, at=NOW) as work, counted() as sent:
        await allocations.reallocate_around(work, changed)
    assert len(sent) == 11, sent
    assert await Allocation.filter(version=2, current=True).count() == MANY
    assert await AllocationShare.filter(allocation__version=2, amount=16_67).count() == 3 * MANY
