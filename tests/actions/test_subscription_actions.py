"""A subscription, its checkout and its invoices: told in whatever order, and what they do to a membership."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.actions import subscriptions
from models.rules.facts import CheckoutCompleted, Fact
from models.rules.lifecycle import Status
from models.rules.refusals import Code
from models.rules.states import SubscriptionStatus
from models.tables.invoice import InvoiceItem
from models.tables.membership import Membership
from models.tables.user import ExternalLink
from tests.build import (
    BY,
    DAY,
    NOW,
    Clinic,
    a_clinic,
    a_name,
    a_subscriber,
    a_user,
    attend,
    happening,
    refused,
    spread,
    tell,
    versions,
)

pytestmark = pytest.mark.usefixtures("database")


# -- in whatever order it is told -------------------------------------------------------------------------------------


def checkout(clinic: Clinic, customer: str) -> CheckoutCompleted:
    return CheckoutCompleted(
        provider="STRIPE",
        external_id=f"cs_{clinic.subscription}",
        customer_id=customer,
        subscription_id=clinic.subscription,
        payment_id=None,
        user_reference=str(clinic.user.id),
        email=None,
        name=None,
        occurred_at=NOW,
    )


async def _told_in(order: Sequence[int], *, known_customer: bool) -> dict[str, Any]:
    """A new customer's checkout, subscription, invoice and a seat, told in an order -> where it ends."""
    clinic = await a_clinic()
    customer = a_name("cus")
    if not known_customer:
        await ExternalLink.filter(user_id=clinic.user.id, kind="customer").delete()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    subscribed = clinic.subscribed(customer_id=customer)
    invoiced = clinic.invoiced(50_00, customer_id=customer)
    facts: list[Fact] = [checkout(clinic, customer), subscribed, invoiced]
    await tell(*(facts[number % 3] for number in order))
    invoice, subscription = await clinic.invoice(), await clinic.row()
    membership = await Membership.get_or_none(user_id=clinic.user.id)
    return {
        "invoice is theirs": invoice.user_id == clinic.user.id,
        "hold": invoice.hold,
        "shares": await spread(invoice) if await versions(invoice) else None,
        "items": [(item.description, item.amount) for item in await InvoiceItem.filter(invoice_id=invoice.id)],
        "subscription": (
            subscription.status,
            subscription.product == clinic.product,
            subscription.customer == customer,
        ),
        "membership": membership and (membership.status, membership.id == subscription.membership_id),
        "invoice's membership": membership is not None and invoice.membership_id == membership.id,
        "customers": await ExternalLink.filter(user_id=clinic.user.id, kind="customer").count(),
    }


@pytest.mark.parametrize("known_customer", [False, True], ids=["a new customer", "another customer of a known one"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.integers(0, 2), max_size=3).flatmap(lambda extra: st.permutations([0, 1, 2, *extra])))
def test_whatever_the_order_and_however_often_the_end_is_the_same(
    loop: asyncio.AbstractEventLoop, order: list[int], known_customer: bool
) -> None:
    assert loop.run_until_complete(_told_in(order, known_customer=known_customer)) == {
        "invoice is theirs": True,
        "hold": None,
        "shares": [25_00, 25_00],
        "items": [("Weekly", 50_00)],
        "subscription": (SubscriptionStatus.ACTIVE, True, True),
        "membership": (Status.ACTIVE, True),
        "invoice's membership": True,
        "customers": 1,
    }


# -- what a subscription does to its membership -----------------------------------------------------------------------


async def test_a_card_that_fails_suspends_and_the_end_cancels() -> None:
    clinic = await a_subscriber()
    membership = await Membership.get(user_id=clinic.user.id)
    assert (membership.status, membership.reason, membership.centre_id) == (
        Status.ACTIVE,
        "FIRST_PAYMENT_MADE",
        clinic.centre.id,
    )
    walk = [
        (SubscriptionStatus.PAST_DUE, Status.SUSPENDED, "PAYMENT_FAILED"),
        (SubscriptionStatus.ACTIVE, Status.ACTIVE, "PAYMENT_MADE_GOOD"),
        (SubscriptionStatus.UNPAID, Status.SUSPENDED, "PAYMENT_FAILED"),
        (SubscriptionStatus.CANCELED, Status.CANCELLED, "SUBSCRIPTION_ENDED"),
        (SubscriptionStatus.ACTIVE, Status.CANCELLED, "SUBSCRIPTION_ENDED"),
    ]
    for told, status, reason in walk:
        await tell(clinic.subscribed(told))
        membership = await Membership.get(id=membership.id)
        assert (membership.status, membership.reason) == (status, reason)


async def test_a_subscription_of_nobody_is_given_to_its_owner_by_a_person() -> None:
    clinic = await a_clinic()
    await tell(clinic.subscribed(customer_id="cus_stranger"), clinic.invoiced(customer_id="cus_stranger"))
    row = await clinic.row()
    assert (row.user_id, row.membership_id) == (None, None)
    await attend(clinic.seat(1, NOW + DAY))
    async with happening() as seen:
        await subscriptions.link_subscription(row.id, user_id=clinic.user.id, acting="key:office", at=NOW)
    assert "link_subscription" in seen.verbs
    assert await spread(await clinic.invoice()) == [50_00]
    other = await a_user()
    async with refused(Code.INVALID_INPUT, "userId"):
        await subscriptions.link_subscription(row.id, user_id=other.id, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "subscriptionId"):
        await subscriptions.link_subscription(other.id, user_id=other.id, acting=BY, at=NOW)
    async with refused(Code.NOT_FOUND, "userId"):
        await subscriptions.link_subscription(row.id, user_id=row.id, acting=BY, at=NOW)
