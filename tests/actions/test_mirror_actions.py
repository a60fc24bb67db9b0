"""What is mirrored of subscriptions: questions nobody guesses at, who attends, plans that change, money as it came."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from models.actions import invoices, money_proof, reviews, subscriptions, users
from models.rules.corrections import ShipmentKind
from models.rules.facts import CheckoutCompleted, InvoiceGone, InvoiceLineSeen, Mirrored, ObjectTouched
from models.rules.invoicing import Kind, Period
from models.rules.lifecycle import Status
from models.rules.mirroring import named_in, reference_of
from models.rules.refusals import Code
from models.rules.states import InvoiceStatus, Provider, ReviewKind, ReviewState, SubscriptionStatus
from models.tables.coursepro import ReviewItem
from models.tables.invoice import Correction, Invoice, Shipment
from models.tables.job import Job
from models.tables.membership import Membership, Subscription
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    Clinic,
    a_clinic,
    a_name,
    a_subscriber,
    a_user,
    attend,
    happening,
    nothing_written,
    refused,
    spread,
    tell,
    tied,
    versions,
)

pytestmark = pytest.mark.usefixtures("database")
OFFICE = "key:office"


async def question(clinic: Clinic) -> ReviewItem | None:
    return await ReviewItem.get_or_none(kind=ReviewKind.SUBSCRIPTION_MATCH, subject=clinic.subscription)


# -- whose it is: asked, never guessed -------------------------------------------------------------------------------


async def test_a_subscription_of_an_unknown_person_is_held_and_asked_about() -> None:
    """The customer's address is evidence, and links nothing; the answer makes the membership, and spreads the money."""
    clinic = await a_clinic()
    await attend(clinic.seat(1, NOW + DAY))
    stranger: dict[str, Any] = {"customer_id": a_name("cus")}
    told = clinic.subscribed(**stranger, email=clinic.user.email.upper(), name="Ada Reader")
    await tell(clinic.invoiced(**stranger), told)
    row, invoice, asked = await clinic.row(), await clinic.invoice(), await question(clinic)
    assert (row.user_id, row.membership_id) == (None, None)
    assert (invoice.hold, invoice.user_id) == ("SUBSCRIPTION_UNLINKED", None)
    assert asked is not None
    assert (asked.state, asked.user_id, asked.evidence) == (
        ReviewState.OPEN,
        None,
        {
            "customer": stranger["customer_id"],
            "product": clinic.product,
            "email": clinic.user.email.upper(),
            "name": "Ada Reader",
            "candidates": [str(clinic.user.id)],
            "same_name": [str(clinic.user.id)],
        },
    )
    async with nothing_written():
        await tell(told)
    async with refused(Code.SUBSCRIPTION_UNLINKED):
        await invoices.bill_off(invoice.id, acting=BY, at=NOW + WEEK)
    async with refused(Code.INVALID_INPUT, "userId"):
        await reviews.settle_review(asked.id, answer="Ada", acting=OFFICE, at=NOW)

    child = await a_user("Kim")
    await tied(child, Provider.NOOKAL, "patient")
    await ExternalLink.filter(user_id=clinic.user.id, kind="customer").delete()
    async with happening() as seen:
        await subscriptions.link_subscription(
            row.id, user_id=clinic.user.id, beneficiary_id=child.id, acting=OFFICE, at=NOW
        )
    assert seen.verbs == [
        "link_subscription",
        "link_external",
        "settle_review",
        "start_membership",
        "move_membership",
        "hold_invoice",
        "allocate_invoice",
    ]
    assert seen.events == ["MembershipStatusChanged"]
    assert "practice.find_patient" in seen.kinds
    asked = await ReviewItem.get(id=asked.id)
    assert (asked.state, asked.user_id, asked.answer) == (ReviewState.SETTLED, clinic.user.id, str(clinic.user.id))
    link = await ExternalLink.get(user_id=clinic.user.id, kind="customer")
    assert (link.external_id, link.evidence) == (stranger["customer_id"], {"subscription": clinic.subscription})
    invoice = await clinic.invoice()
    assert (invoice.hold, invoice.user_id) == (None, clinic.user.id), "the child's classes, the parent's card"
    assert await versions(invoice) == [(1, Kind.AD_HOC, 50_00, True, [])]

    # who attends is corrected: the classes are the parent's after all
    await subscriptions.link_subscription(
        row.id, user_id=clinic.user.id, beneficiary_id=clinic.user.id, acting=OFFICE, at=NOW
    )
    assert await spread(invoice) == [50_00]
    membership = await Membership.get(id=(await clinic.row()).membership_id)
    assert (membership.user_id, (await clinic.row()).beneficiary_id) == (clinic.user.id, None)


async def test_the_question_is_dropped_when_the_answer_comes_by_itself() -> None:
    """By the checkout, by the end of the subscription, or where a person ties the customer."""
    by_checkout, ended, by_customer = [await a_clinic() for _ in range(3)]
    customers = {clinic.subscription: a_name("cus") for clinic in (by_checkout, ended, by_customer)}
    for clinic in (by_checkout, ended, by_customer):
        await ExternalLink.filter(user_id=clinic.user.id, kind="customer").delete()
        await tell(clinic.subscribed(customer_id=customers[clinic.subscription]))
        assert (await question(clinic)) is not None
    checkout = CheckoutCompleted(
        provider="STRIPE",
        external_id=a_name("cs"),
        customer_id=customers[by_checkout.subscription],
        subscription_id=by_checkout.subscription,
        payment_id=None,
        user_reference=reference_of(by_checkout.user.id),
        email=None,
        name=None,
        occurred_at=NOW,
    )
    gone = ended.subscribed(SubscriptionStatus.CANCELED, customer_id=customers[ended.subscription])
    await tell(checkout, gone)
    customer = customers[by_customer.subscription]
    await users.link_external(
        user_id=by_customer.user.id, provider=Provider.STRIPE, kind="customer", external_id=customer, acting=BY, at=NOW
    )
    adopting = await Job.filter(kind="subscriptions.adopt").order_by("-id").first()
    assert adopting is not None
    assert adopting.payload == {"customer": customer}
    await subscriptions.adopt(**adopting.payload, acting=BY, at=NOW)
    states = [await question(clinic) for clinic in (by_checkout, ended, by_customer)]
    assert [item and item.state for item in states] == [ReviewState.DROPPED] * 3
    assert [item and item.user_id for item in states] == [by_checkout.user.id, None, by_customer.user.id]


async def test_nobody_is_asked_about_what_is_not_managed() -> None:
    clinic = await a_clinic()
    await tell(clinic.subscribed(customer_id="cus_nobody", product_ids=("prod_towels",)))
    assert await question(clinic) is None
    await tell(clinic.subscribed(customer_id="cus_nobody", product_ids=("prod_towels", clinic.product)))
    assert (await clinic.row()).product == clinic.product, "of several products the managed one counts"
    assert await question(clinic) is not None
    await tell(clinic.subscribed(customer_id="cus_nobody", product_ids=()))
    assert (await clinic.row()).product == clinic.product


def test_a_reference_survives_the_address_of_a_payment_link() -> None:
    payer, child = (a_clinic_id() for _ in range(2))
    for reference, named in (
        (reference_of(payer), (payer, None)),
        (reference_of(payer, payer), (payer, None)),
        (reference_of(payer, child), (payer, child)),
    ):
        assert named_in(reference) == named
        assert len(reference) <= 200
        assert set(reference) <= set("0123456789abcdef-_"), "anything else is dropped without a word"
    assert [named_in(other) for other in (None, "", "order 7", f"{payer}_x")] == [(None, None)] * 4


def a_clinic_id() -> Any:
    return ExternalLink().id


# -- told in any order --------------------------------------------------------------------------------------------


async def test_what_comes_before_its_parent_makes_a_stub_and_has_the_parent_read() -> None:
    clinic = await a_clinic()
    async with happening() as seen:
        await tell(clinic.invoiced(customer_id="cus_x"))
    row = await clinic.row()
    assert (row.status, row.product, row.user_id) == (SubscriptionStatus.INCOMPLETE, clinic.product, None)
    reads = [(job.payload, job.subject) for job in seen.jobs if job.kind == "mirror.read"]
    subject = f"inbox:STRIPE:{clinic.subscription}"
    told = {"provider": "STRIPE", "kind": "SUBSCRIPTION", "external_id": clinic.subscription}
    assert reads == [(told, subject)]
    async with happening() as seen:
        await tell(clinic.invoiced(customer_id="cus_x"), clinic.subscribed(customer_id="cus_x"))
        await tell(ObjectTouched(provider="STRIPE", kind=Mirrored.INVOICE, external_id="in_1"))
    assert [(job.payload["external_id"], job.subject) for job in seen.jobs if job.kind == "mirror.read"] == [
        ("in_1", "inbox:STRIPE:in_1")
    ], "the parent is there; what else told of an invoice only has it read"


@pytest.mark.parametrize(
    ("status", "membership", "reason"),
    [
        (SubscriptionStatus.INCOMPLETE, Status.PENDING, None),
        (SubscriptionStatus.TRIALING, Status.ACTIVE, "FIRST_PAYMENT_MADE"),
        (SubscriptionStatus.ACTIVE, Status.ACTIVE, "FIRST_PAYMENT_MADE"),
        (SubscriptionStatus.PAST_DUE, Status.SUSPENDED, "PAYMENT_FAILED"),
        (SubscriptionStatus.UNPAID, Status.SUSPENDED, "PAYMENT_FAILED"),
        (SubscriptionStatus.PAUSED, Status.SUSPENDED, "SUBSCRIPTION_PAUSED"),
        (SubscriptionStatus.CANCELED, Status.CANCELLED, "SUBSCRIPTION_ENDED"),
        (SubscriptionStatus.INCOMPLETE_EXPIRED, Status.CANCELLED, "SUBSCRIPTION_ENDED"),
    ],
)
async def test_what_each_status_makes_of_the_membership(
    status: SubscriptionStatus, membership: Status, reason: str | None
) -> None:
    """Whether it is the first that is heard of it, or the active one came before; resumed, it opens again."""
    first, later = await a_clinic(), await a_clinic()
    began = NOW - 3 * DAY
    await tell(first.subscribed(status, started_at=began))
    if status is not SubscriptionStatus.INCOMPLETE and status is not SubscriptionStatus.TRIALING:
        await tell(later.subscribed(started_at=began), later.subscribed(status))
        held = await Membership.get(user_id=later.user.id)
        assert (held.status, held.starts_on) == (membership, began.date())
    held = await Membership.get(user_id=first.user.id)
    assert (held.status, held.reason, held.starts_on) == (membership, reason, began.date())
    await tell(first.subscribed())
    over = membership is Status.CANCELLED
    assert (await Membership.get(id=held.id)).status is (Status.CANCELLED if over else Status.ACTIVE)


# -- plans that change, lines and money --------------------------------------------------------------------------


def lines(*told: tuple[str, int, bool, Period]) -> tuple[InvoiceLineSeen, ...]:
    return tuple(
        InvoiceLineSeen(
            external_id=f"il_{number}",
            description=product,
            amount=amount,
            period=period,
            product_id=product,
            proration=proration,
        )
        for number, (product, amount, proration, period) in enumerate(told)
    )


async def test_a_change_of_plan_is_another_membership_and_each_invoice_keeps_its_own() -> None:
    swim = await a_subscriber()
    gym = await a_clinic(beside=swim)
    week, rest = Period(NOW, NOW + WEEK), Period(NOW + 3 * DAY, NOW + WEEK)
    await tell(swim.invoiced(50_00))
    changed = swim.invoiced(
        20_00,
        name="change",
        period=rest,
        lines=lines((swim.product, -30_00, True, rest), (gym.product, 50_00, True, rest)),
    )
    await tell(changed, swim.subscribed(product_ids=(gym.product,)))
    both = {row.membership_type_id: row for row in await Membership.filter(user_id=swim.user.id)}
    assert {kind: (row.status, row.reason) for kind, row in both.items()} == {
        swim.kind.id: (Status.CANCELLED, "SUBSCRIPTION_ENDED"),
        gym.kind.id: (Status.ACTIVE, "FIRST_PAYMENT_MADE"),
    }
    assert (await swim.row()).membership_id == both[gym.kind.id].id
    first, change = await swim.invoice(), await swim.invoice("change")
    assert [invoice.membership_id for invoice in (first, change)] == [both[swim.kind.id].id, both[gym.kind.id].id]
    assert [(change.period_start, change.period_end), (first.period_start, first.period_end)] == [
        (rest.start, rest.end),
        (week.start, week.end),
    ]
    await tell(swim.invoiced(50_00), changed)
    assert (await swim.invoice()).membership_id == both[swim.kind.id].id, "told again, it stays where it was"


async def test_the_period_is_that_of_the_managed_products_own_line() -> None:
    """A year of something else, and what is settled of the week before, stand on the same invoice."""
    clinic = await a_subscriber()
    week, year, before = Period(NOW, NOW + WEEK), Period(NOW, NOW + 52 * WEEK), Period(NOW - WEEK, NOW)
    told = lines(
        (clinic.product, -5_00, True, before), ("prod_locker", 90_00, False, year), (clinic.product, 50_00, False, week)
    )
    await tell(clinic.invoiced(135_00, lines=told, period=year))
    invoice = await clinic.invoice()
    assert (invoice.period_start, invoice.period_end) == (week.start, week.end)
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + WEEK))
    assert await spread(invoice) == [135_00], "the full amount the client was charged"


async def test_what_is_split_is_the_money_that_came_and_stayed() -> None:
    """Credit is split where it is used, not where it was left; a part waits for the rest."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY), clinic.seat(2, NOW + 2 * DAY))
    part: dict[str, Any] = {"status": InvoiceStatus.OPEN, "total": 50_00}
    await tell(clinic.invoiced(20_00, **part))
    assert ((await clinic.invoice()).hold, await spread(await clinic.invoice())) == ("UNPAID", [10_00, 10_00])
    figures: dict[str, Any] = {"total": 55_00, "tax": 5_00, "discount": 3_00, "credit_used": 10_00, "credited": 4_00}
    async with happening():
        await tell(clinic.invoiced(45_00, **figures, amount_refunded=5_00))
    invoice = await clinic.invoice()
    assert invoice.hold is None
    assert {name: getattr(invoice, name) for name in figures} == figures
    assert (invoice.amount_paid, invoice.amount_refunded) == (45_00, 5_00)
    assert await spread(invoice) == [23_00, 23_00], "45.00 - 5.00 - 4.00 + 10.00"

    async with happening() as seen:
        await tell(clinic.invoiced(0, name="2", start=NOW + WEEK, end=NOW + 2 * WEEK, total=50_00, credit_used=50_00))
    covered = await clinic.invoice("2")
    assert await versions(covered) == [(1, Kind.AD_HOC, 50_00, True, [])]
    opened = next(entry for entry in seen.audit if entry.verb == "open_invoice")
    assert opened.after == {"amount_paid": 0, "status": "PAID", "credit_used": 50_00}, "flagged"

    # told so after billing off, the invoice stays as it was shipped: what follows is for a person
    await invoices.bill_off(invoice.id, acting=BY, at=NOW + WEEK)
    await tell(clinic.invoiced(45_00, **figures, amount_refunded=5_00), at=NOW + WEEK)
    assert await spread(await clinic.invoice()) == [23_00, 23_00]


async def test_credit_a_cheaper_plan_leaves_is_money_of_the_invoice_whose_time_it_gives_back() -> None:
    """50.00 paid, 12.00 of it left as credit by the change, and used a week later: 38.00 + 0.00 + 30.00, once each."""
    clinic = await a_subscriber()
    await attend(clinic.seat(1, NOW + DAY))
    rest, after = Period(NOW + 3 * DAY, NOW + WEEK), Period(NOW + WEEK, NOW + 2 * WEEK)
    first = clinic.invoiced(50_00)
    unused, remaining = lines((clinic.product, -30_00, True, rest), (clinic.product, 18_00, True, rest))
    told = (replace(unused, credits=first.external_id), remaining)
    cheaper = clinic.invoiced(0, name="2", total=-12_00, credited=12_00, period=rest, lines=told)
    renewal = clinic.invoiced(18_00, name="3", start=after.start, end=after.end, total=30_00, credit_used=12_00)
    async with happening() as seen:
        await tell(cheaper)
    reads = [job.payload["external_id"] for job in seen.jobs if job.kind == "mirror.read"]
    assert reads == [first.external_id], "it came first, and has the other read"
    await tell(first, renewal)
    made = [await clinic.invoice(name) for name in "123"]
    assert [(each.credited, each.drawn, each.drawn_from) for each in made] == [
        (12_00, 0, None),
        (0, 12_00, first.external_id),
        (0, 0, None),
    ]
    assert [(await versions(each))[-1][2] for each in made] == [38_00, 0, 30_00]
    assert await spread(made[0]) == [38_00]
    assert (await money_proof.prove(("User", clinic.user.id))).holds
    async with happening() as seen:
        await tell(cheaper, renewal, first)
    assert (seen.events, seen.verbs, seen.kinds) == ([], [], [])

    # the books get what was charged and what was given back; lines below zero bill nothing by themselves
    await ProviderSetting.get_or_create(provider=Provider.XERO, defaults={"secrets": "sealed"})
    for each in made:
        await invoices.bill_off(each.id, acting=BY, at=after.end)
    found = await Shipment.filter(system=Provider.XERO, invoice_id__in=[each.id for each in made]).order_by("id")
    assert [(row.invoice_id, row.kind) for row in found] == [
        (made[0].id, ShipmentKind.INVOICE),
        (made[0].id, ShipmentKind.CREDIT_NOTE),
        (made[2].id, ShipmentKind.INVOICE),
    ]

    # a change taken back after billing off is for a person, as anything else that changes then
    await tell(replace(first, credited=3_00), at=after.end)
    asked = await Correction.get(invoice_id=made[0].id)
    assert (asked.cause, asked.change["now"]) == ("INVOICE_CHANGED", {"credited": 15_00})


async def test_a_draft_that_is_thrown_away_keeps_no_class_from_another() -> None:
    clinic = await a_subscriber()
    monthly = await a_clinic(beside=clinic)
    await tell(monthly.subscribed(), monthly.invoiced(90_00, end=NOW + 4 * WEEK))
    await attend(clinic.seat(1, NOW + DAY))
    await tell(clinic.invoiced(0, status=InvoiceStatus.DRAFT, total=50_00))
    assert await spread(await monthly.invoice()) == []
    draft = await clinic.invoice()
    gone = InvoiceGone(provider="STRIPE", external_id=draft.external_id)
    await tell(gone)
    assert (await clinic.invoice()).status is InvoiceStatus.VOID
    assert await spread(await monthly.invoice()) == [90_00]
    async with nothing_written():
        await tell(gone, InvoiceGone(provider="STRIPE", external_id="in_never_seen"))


async def test_the_same_news_at_once_makes_one_of_each() -> None:
    clinic = await a_clinic()
    news: list[Any] = [clinic.subscribed(), clinic.invoiced(), clinic.invoiced(), clinic.subscribed()]
    await asyncio.gather(*(tell(fact) for fact in news))
    assert await Subscription.filter(external_id=clinic.subscription).count() == 1
    assert await Invoice.filter(subscription__external_id=clinic.subscription).count() == 1
    assert await Membership.filter(user_id=clinic.user.id).count() == 1
    assert (await clinic.invoice()).membership_id is not None
