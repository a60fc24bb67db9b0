"""Courses sold at our prices: mapped, bought in carts, paid once or monthly, moved without a second fee, and told."""

import asyncio
from datetime import date, datetime
from typing import Any
from uuid import UUID

import pytest

from models.actions import (
    carts,
    catalogue,
    catalogue_changes,
    course_feed,
    links,
    memberships,
    packages,
    payments,
    users,
)
from models.actions.carts import Item
from models.rules.lifecycle import Cause, Status
from models.rules.pricing import Integration, OptionType
from models.rules.refusals import Code
from models.rules.states import (
    LinkState,
    MandateStatus,
    PaymentOutcome,
    PaymentPurpose,
    PaymentStatus,
    Provider,
    UserState,
)
from models.tables.coursepro import Drift, UserSync
from models.tables.membership import Coverage, Mandate, Membership
from models.tables.package import Package
from models.tables.payment import Payment
from models.tables.row import new_id
from models.tables.user import ExternalLink, User, UserField
from tests.build import (
    BY,
    NOW,
    WEEK,
    a_centre,
    a_mandate,
    a_member_with_card,
    a_name,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
)
from tests.sold import FIXED_TERM, ONGOING, SESSIONS, TODAY, WHO, a_bought, a_sold, a_type, buy

pytestmark = pytest.mark.usefixtures("database")


# -- the catalogue ----------------------------------------------------------------------------------------------------


async def test_recurring_and_fixed_for_one_course_are_two_types() -> None:
    """R30."""
    monthly, _ = await a_type(ONGOING, 32_00)
    lanes = await catalogue.create_class_type(name="Lanes", **WHO)
    await Coverage.create(membership_type_id=monthly.id, class_type_id=lanes.id, covered_from=NOW)
    term = await an_option(90_00)
    wanted: dict[str, Any] = {
        "membership_type_id": monthly.id,
        "pricing_option_id": term.id,
        "kind": FIXED_TERM,
        **WHO,
    }
    async with happening() as seen:
        clone = await catalogue_changes.clone_membership_type_for_frequency(**wanted)
    assert (clone.name, clone.kind, clone.term_months) == (f"{monthly.name} (fixed term)", FIXED_TERM, 3)
    assert clone.integration is Integration.COURSEPRO_COURSE
    assert [each.class_type_id for each in await Coverage.filter(membership_type_id=clone.id)] == [lanes.id]
    assert seen.verbs == ["create_membership_type", "clone_membership_type"]
    for changes, code, field in (
        ({"membership_type_id": new_id()}, Code.NOT_FOUND, "membershipTypeId"),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"kind": ONGOING}, Code.INVALID_INPUT, "kind"),
        ({"kind": SESSIONS}, Code.INVALID_INPUT, "sessions"),
    ):
        async with refused(code, field):
            await catalogue_changes.clone_membership_type_for_frequency(**{**wanted, **changes})


async def test_what_is_on_sale_is_changed_within_its_rules() -> None:
    """R22, R27, R33, R59: what was sold keeps its price."""
    membership, sold = await a_bought()
    changed = await catalogue_changes.update_pricing_option(pricing_option_id=sold.option.id, amount=40_00, **WHO)
    assert changed.amount == 40_00
    assert (await Membership.get(id=membership.id)).amount == 32_00
    async with nothing_written():
        await catalogue_changes.update_pricing_option(pricing_option_id=sold.option.id, amount=40_00, **WHO)
    for changes, code, field in (
        ({"amount": -1}, Code.NEGATIVE_AMOUNT, "amount"),
        ({"option_type": OptionType.STANDARD}, Code.PRICING_OPTION_IN_USE, "type"),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
    ):
        async with refused(code, field):
            given: dict[str, Any] = {"pricing_option_id": sold.option.id, **changes, **WHO}
            await catalogue_changes.update_pricing_option(**given)
    renamed = await catalogue_changes.update_membership_type(
        membership_type_id=sold.kind.id, name="Lessons", integration=Integration.COURSEPRO_COURSE, **WHO
    )
    assert renamed.name == "Lessons"
    async with refused(Code.INTEGRATION_FIXED, "integration"):
        await catalogue_changes.update_membership_type(
            membership_type_id=sold.kind.id, integration=Integration.NONE, **WHO
        )


# -- carts ------------------------------------------------------------------------------------------------------------


async def test_a_cart_is_sold_at_our_price_whatever_it_says() -> None:
    """R1, R24: the course's centre decides."""
    user, sold, other = await a_user(), await a_sold(), await a_centre()
    mandate = await a_mandate(user)
    await catalogue.set_price_override(pricing_option_id=sold.option.id, centre_id=sold.centre.id, amount=30_00, **WHO)
    item = sold.item(amount=1, price="3000", currency="EUR", centre_id=str(other.id))
    async with happening() as seen:
        (membership,) = await buy(user, items=[item], cart_id="cart-1", said={"total": 31_00, "amount": 30_00})
    assert (membership.amount, membership.currency, membership.centre_id) == (30_00, "GBP", sold.centre.id)
    assert (membership.cart_ref, membership.course_ref, membership.mandate_id) == ("cart-1", sold.ref, mandate.id)
    assert (membership.status, membership.membership_type_id) == (Status.ACTIVE, sold.kind.id)
    rows = await Drift.filter(subject_id=membership.id).order_by("cause", "field")
    assert [(row.cause, row.field, row.ours, row.theirs) for row in rows] == [
        ("cart:cart-1", "total", "3000", "3100"),
        ("cart:cart-1:0", "amount", "3000", "1"),
        ("cart:cart-1:0", "centre_id", str(sold.centre.id), str(other.id)),
        ("cart:cart-1:0", "currency", "GBP", "EUR"),
    ]
    assert seen.verbs == ["start_membership", "move_membership", "verify_mapping"]
    # the purchase and the first status wait in one line, the purchase first (R52, R69)
    line = [(job.kind, job.subject) for job in seen.jobs if job.kind.startswith("courses.")]
    subject = f"courses.push_membership:{membership.id}"
    assert line == [("courses.push_cart", subject), ("courses.push_membership", subject)]
    async with nothing_written():
        again = await buy(user, items=[], cart_id="cart-1")
    assert [each.id for each in again] == [membership.id]
    stranger = await a_user()
    async with refused(Code.INVALID_INPUT, "cartId"):
        await buy(stranger, sold, cart_id="cart-1")


async def test_one_wrong_item_and_nothing_is_sold() -> None:
    """R9."""
    user, sold, other = await a_user(), await a_sold(), await a_sold()
    good = sold.item()
    for item, code, field in (
        (Item(new_id(), sold.ref, TODAY), Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        (Item(sold.option.id, "nowhere", TODAY), Code.COURSE_NOT_MAPPED, "courseRef"),
        (Item(other.option.id, sold.ref, TODAY), Code.COURSE_NOT_MAPPED, "courseRef"),
        (Item(sold.option.id, sold.ref, date(2200, 1, 1)), Code.INVALID_INPUT, "startsOn"),
    ):
        async with refused(code, "items", "1", field):
            await buy(user, items=[good, item])
    async with refused(Code.INVALID_INPUT, "items"):
        await buy(user)
    theirs = await a_mandate(await a_user())
    async with refused(Code.NO_MANDATE, "items", "0", "mandateId"):
        await buy(user, sold, mandate_id=theirs.id)
    for who in ({"user_id": new_id()}, {"user_id": None}, {"user_id": None, "coursepro_id": "cp_0"}):
        async with refused(Code.NOT_FOUND, "user"):
            await buy(user, sold, **who)


async def test_a_buyer_is_known_by_either_id() -> None:
    user, other, sold = await a_user(), await a_user(), await a_sold(amount=0)
    tied: dict[str, Any] = {"provider": Provider.COURSEPRO, "kind": "user", "external_id": a_name("cp")}
    await ExternalLink.create(user_id=user.id, state=LinkState.PROVISIONAL, **tied)
    (membership,) = await buy(user, sold, user_id=None, coursepro_id=tied["external_id"])
    assert (membership.user_id, membership.status, membership.mandate_id) == (user.id, Status.ACTIVE, None)
    async with refused(Code.NOT_FOUND, "user"):
        await buy(other, sold, coursepro_id=tied["external_id"])


async def test_a_recurring_course_waits_for_a_direct_debit_that_is_prepared() -> None:
    """R11."""
    user, sold, second = await a_user(), await a_sold(), await a_sold()
    async with happening() as seen:
        first, other = await buy(user, sold, second)
    assert (first.status, other.status) == (Status.PENDING, Status.PENDING)
    assert first.mandate_id == other.mandate_id, "one instruction pays both"
    assert seen.kinds == ["mandates.start"]
    mandate = await Mandate.get(id=first.mandate_id)
    assert (mandate.user_id, mandate.status) == (user.id, MandateStatus.PENDING)


async def test_two_deliveries_of_a_cart_make_one() -> None:
    user, sold = await a_user(), await a_sold(amount=0)
    both = await asyncio.gather(*(buy(user, sold, cart_id="cart-2") for _ in range(2)))
    assert len({each.id for cart in both for each in cart}) == 1
    assert await Membership.filter(cart_ref="cart-2").count() == 1


# -- paid once --------------------------------------------------------------------------------------------------------


async def test_sessions_are_granted_once_their_price_is_in() -> None:
    """R2, R7."""
    user, sold = await a_member_with_card(), await a_sold(SESSIONS, 25_00)
    (membership,) = await buy(user, sold)
    assert (membership.status, membership.ends_on) == (Status.PENDING, None)
    payment = await Payment.get(membership_id=membership.id)
    assert (payment.provider, payment.amount, payment.status) == (Provider.STRIPE, 25_00, PaymentStatus.DUE)
    assert payment.purpose is PaymentPurpose.MEMBERSHIP_FEE
    assert await Package.filter(membership_id=membership.id).count() == 0
    for outcome, left in (
        (PaymentOutcome.CONFIRMED, 5),
        (PaymentOutcome.PAID_OUT, 5),
        (PaymentOutcome.CHARGED_BACK, 0),
        (PaymentOutcome.CONFIRMED, 5),
    ):
        assert await payments.settle(payment.id, outcome, acting=BY, at=NOW)
        package = await Package.get(membership_id=membership.id)
        assert await packages.balance(package.id) == left, outcome
    assert (package.user_id, package.name, package.valid_until) == (user.id, sold.kind.name, None)
    async with refused(Code.PAYMENT_NOT_COLLECTABLE, "periodStart"):
        await payments.collect_fee(membership.id, period_start=TODAY, **WHO)


async def test_free_sessions_are_granted_at_once_and_a_term_of_three_months_ends() -> None:
    """R6, R22."""
    free, term = await a_sold(SESSIONS, 0), await a_sold(FIXED_TERM, 90_00)
    (sessions,) = await buy(await a_user(), free)
    assert await packages.balance((await Package.get(membership_id=sessions.id)).id) == 5
    nobody_pays = await a_user()
    (waiting,) = await buy(nobody_pays, term)
    assert (waiting.status, waiting.ends_on) == (Status.PENDING, date(2026, 6, 2))
    async with refused(Code.NO_CARD_ON_FILE):
        await payments.collect_fee(waiting.id, period_start=TODAY, **WHO)
    (bought,) = await buy(await a_member_with_card(), term)
    payment = await Payment.get(membership_id=bought.id)
    await payments.settle(payment.id, PaymentOutcome.CONFIRMED, acting=BY, at=NOW)
    assert (await Membership.get(id=bought.id)).reason == "FIRST_PAYMENT_MADE"
    assert (bought.id, Cause.TERM_ENDED) in await memberships.due_to_move(date(2026, 6, 2))
    await memberships.due(bought.id, Cause.TERM_ENDED, acting=BY, at=NOW + 14 * WEEK)
    assert (await Membership.get(id=bought.id)).status is Status.COMPLETED


# -- what is told -----------------------------------------------------------------------------------------------------


async def test_a_purchase_is_told_with_the_person_and_nothing_about_payment() -> None:
    """R52, R63, R69."""
    await UserField.create(name="allergy", label="Allergies")
    user = await users.create_user(
        first_name="Mia", last_name="Lee", email="mia@a.test", fields={"allergy": "nuts"}, **WHO
    )
    await User.filter(id=user.id).update(
        fields_={"allergy": "nuts", "iban": "GB33"}, date_of_birth=date(2015, 2, 3), state=UserState.PROVISIONAL
    )
    await ExternalLink.create(
        user_id=user.id, provider=Provider.COURSEPRO, kind="user", external_id="cp_7", state=LinkState.PROVISIONAL
    )
    membership, sold = await a_bought(user=user)
    push = await carts.to_push(membership.id, event_id="ev-1", at=NOW)
    assert (push.user_id, push.coursepro_id) == (user.id, "cp_7")
    assert push.details == {
        "first_name": "Mia",
        "last_name": "Lee",
        "email": "mia@a.test",
        "date_of_birth": "2015-02-03",
        "allergy": "nuts",
    }
    assert (push.membership_id, push.pricing_option_id) == (membership.id, sold.option.id)
    assert (push.course_ref, push.centre_id, push.cart_id) == (sold.ref, sold.centre.id, membership.cart_ref)
    assert (push.price, push.currency, push.frequency) == (32_00, "GBP", "recurring")
    assert (push.payment, push.instruction) == ("direct_debit", "active")
    await links.linked_by_purchase(user.id, "cp_7", told=push.details, **WHO)
    assert (await User.get(id=user.id)).state is UserState.ACTIVE
    assert (await ExternalLink.get(external_id="cp_7")).state is LinkState.LINKED
    assert (await UserSync.get(user_id=user.id)).told == push.details


async def test_changes_are_read_in_pages_from_an_instant_on() -> None:
    bought = [(await a_bought())[0] for _ in range(3)]
    (pending,) = await buy(await a_user(), await a_sold())
    since = bought[0].updated_at
    found: list[UUID] = []
    place: tuple[datetime, UUID] | None = (since, UUID(int=0))
    while place is not None:
        pushes, place = await course_feed.changed_memberships(*place, limit=2)
        found += [push.membership_id for push in pushes]
    assert found == [each.id for each in bought]
    assert pending.id not in found
