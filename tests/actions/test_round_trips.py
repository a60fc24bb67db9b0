"""How often each hot path goes to PostgreSQL: what it waits for. A number that grows is a decision."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tortoise.connection import get_connections

from models.actions import bookings, inbound, invoices, jobs, memberships, payments, shipments
from models.actions.unit import Lease, lease
from models.ports import ReceivedEvent
from models.rules.booking import Method
from models.rules.facts import PaymentSucceeded
from models.rules.lifecycle import Cause
from models.rules.states import Provider
from models.tables.config import opened
from models.tables.job import Job
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    NOW,
    a_course,
    a_fee,
    a_member_with_card,
    a_membership,
    a_name,
    a_package,
    a_subscriber,
    attend,
    tell,
)


@pytest.fixture(scope="module")
async def _one_connection(database_url: str) -> AsyncIterator[None]:
    async with opened(f"{database_url}?maxsize=1"):
        await User.all().count()
        yield


pytestmark = pytest.mark.usefixtures("_one_connection")


@asynccontextmanager
async def trips() -> AsyncIterator[list[str]]:
    """What is sent to PostgreSQL inside the block, in its order; a statement for many rows is sent once."""
    client: Any = get_connections().get("default")
    (connection,), sent = client._pool._all, list[str]()

    def keep(record: Any) -> None:
        sent.append(" ".join(record.query.split()))

    connection.add_query_logger(keep)
    yield sent
    await asyncio.sleep(0)  # the driver tells of a statement when the loop comes round
    connection.remove_query_logger(keep)


async def how_many(action: Awaitable[Any]) -> int:
    """The trips of an action, BEGIN and COMMIT among them where it is a transaction."""
    async with trips() as sent:
        await action
    assert sent.count("BEGIN;") == sent.count("COMMIT;") == (len(sent) > 1)
    return len(sent)


@pytest.mark.parametrize(("method", "count"), [(Method.PAYMENT, 17), (Method.PACKAGE, 17)])
async def test_booking_a_course(method: Method, count: int) -> None:
    """However many classes it has."""
    user = await a_member_with_card()
    await a_package(user, 30)
    for classes in (1, 12):
        course = await a_course(future=classes)
        booking = bookings.book_course(user_id=user.id, course_id=course.id, method=method, acting=BY, at=NOW)
        assert await how_many(booking) == count


async def test_cancelling_a_membership() -> None:
    membership = await a_membership()
    assert await how_many(memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=NOW)) == 11


@pytest.mark.parametrize("events", [1, 50])
async def test_a_webhook_however_many_events_it_brings(events: int) -> None:
    """One statement is its own transaction."""
    told = [ReceivedEvent(a_name("evt"), "invoice.paid", a_name("in"), {"id": "evt"}) for _ in range(events)]
    assert await how_many(inbound.receive(Provider.STRIPE, told)) == 1
    assert await how_many(inbound.receive(Provider.STRIPE, told)) == 1, "and where all of it is known"


async def test_what_a_webhook_told_is_applied() -> None:
    fee = await a_fee(await a_membership())
    fact = PaymentSucceeded(payment_reference=str(fee.id), provider="GOCARDLESS", external_id="PM1", occurred_at=NOW)
    assert await how_many(inbound.apply(fact, acting=BY, at=NOW)) == 13


@pytest.mark.parametrize("classes", [1, 6])
async def test_shipping_an_invoice_however_many_classes_it_pays_for(classes: int) -> None:
    clinic = await a_subscriber()
    await attend(*(clinic.seat(number, NOW + number * DAY) for number in range(1, classes + 1)))
    await tell(clinic.invoiced(50_00))
    invoice = await clinic.invoice()
    at = invoice.period_end
    await invoices.bill_off(invoice.id, acting=BY, at=at)
    nookal: Any = {"system": Provider.NOOKAL, "acting": BY, "at": at}
    await jobs.claim_all([])  # the driver asks once what an array is
    assert await how_many(shipments.begin_shipment(invoice.id, **nookal)) == 8
    assert await how_many(shipments.shipped(invoice.id, external_id=a_name("nk"), **nookal)) == 6


@pytest.mark.parametrize("many", [1, 40])
async def test_jobs_are_taken_kept_and_finished_however_many_by_one_statement_each(many: int) -> None:
    rows = [
        await Job.create(kind="test", key=a_name("key"), subject=a_name("subject"), payload={}) for _ in range(many)
    ]
    for warm in (jobs.claim_all([]), jobs.heartbeat([]), jobs.finish_all([])):
        await warm  # the driver asks once what an array is
    async with trips() as sent:
        held = await jobs.claim_all([row.id for row in rows])
        await jobs.heartbeat([each.lease for each in held])
        await jobs.finish_all([(each.lease, None) for each in held])
    assert (len(held), len(sent)) == (many, 3)


async def test_a_lease_costs_an_action_no_trip_of_its_own() -> None:
    row = await Job.create(kind="test", key=a_name("key"), payload={})
    [held] = await jobs.claim_all([row.id])
    alone, beside = [await a_membership() for _ in range(2)]
    count = await how_many(payments.collect_fee(alone.id, period_start=NOW.date(), acting=BY, at=NOW))
    holding = lease.set(Lease(held.id, held.token))
    assert await how_many(payments.collect_fee(beside.id, period_start=NOW.date(), acting=BY, at=NOW)) == count
    lease.reset(holding)
