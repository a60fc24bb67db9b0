"""Packages of credits: put on sale, bought, filled when their money is in, emptied when it is lost or they are over."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.actions import catalogue, dunning, offers, packages, payments
from models.actions.bookings import book_course
from models.actions.packages import balance, grant_package
from models.rules.booking import Method
from models.rules.pricing import Frequency
from models.rules.refusals import Code
from models.rules.states import BookingStatus, MandateStatus, PaymentOutcome, PaymentPurpose, PaymentStatus, Provider
from models.tables.booking import Booking
from models.tables.centre import Centre
from models.tables.course import Course
from models.tables.package import CreditEntry, Package, PackageOffer
from models.tables.payment import Payment
from models.tables.row import new_id
from models.tables.user import User
from tests.build import (
    BY,
    DAY,
    HOUR,
    NOW,
    WEEK,
    a_centre,
    a_course,
    a_mandate,
    a_member_with_card,
    a_name,
    a_package,
    a_package_offer,
    a_user,
    an_option,
    happening,
    nothing_written,
    refused,
    sql,
)

pytestmark = pytest.mark.usefixtures("database")
Out, P = PaymentOutcome, PaymentStatus
LATER = NOW + HOUR / 2


async def buy(user: User, offer: PackageOffer, centre: Centre | None = None, **options: Any) -> Package:
    where = centre or await a_centre()
    values: dict[str, Any] = {"package_offer_id": offer.id, "user_id": user.id, "centre_id": where.id, "at": NOW}
    return await offers.buy_package(**{**values, **options}, acting=BY)


async def settle(package: Package, outcome: PaymentOutcome, at: datetime = LATER, **options: Any) -> bool:
    payment = await Payment.get(package_id=package.id)
    return await payments.settle(payment.id, outcome, acting="webhook", at=at, **options)


async def entries(package: Package) -> list[tuple[int, str]]:
    return [(row.delta, row.reason) for row in await CreditEntry.filter(package_id=package.id).order_by("id")]


async def validity(package: Package) -> tuple[datetime, datetime | None]:
    row = await Package.get(id=package.id)
    return row.valid_from, row.valid_until


async def draw(package: Package, course: Course, at: datetime = NOW) -> Booking:
    """Book a course under way, so that there is always a charge whose failure gives the credits back."""
    return await book_course(
        user_id=package.user_id,
        course_id=course.id,
        method=Method.PACKAGE_AND_CHARGE,
        package_id=package.id,
        acting=BY,
        at=at,
    )


async def give_back(booking: Booking) -> None:
    payment = await Payment.get(booking_id=booking.id)
    await payments.settle(payment.id, Out.FAILED, acting="webhook", at=NOW)


async def expire(at: datetime, **options: Any) -> int:
    return await packages.expire(acting="job:packages.expire", at=at, **options)


# -- an offer ---------------------------------------------------------------------------------------------------------


async def test_an_offer_says_how_many_credits_for_what_and_how_long() -> None:
    course = await a_course(future=4)
    async with happening() as seen:
        offer = await a_package_offer(credits=12, valid_days=90, course_id=course.id)
    assert (offer.credits, offer.valid_days, offer.course_id, offer.class_type_id) == (12, 90, course.id, None)
    assert [(entry.verb, entry.after) for entry in seen.audit][1:] == [  # its pricing option comes first
        ("create_package_offer", {"name": offer.name, "credits": 12, "valid_days": 90})
    ]
    assert (seen.events, seen.jobs) == ([], [])


async def test_an_offer_is_made_whole_or_not_at_all() -> None:
    option, course = await an_option(), await a_course(future=1)
    monthly = await an_option(frequency=Frequency.RECURRING)
    kind = await catalogue.create_class_type(name=a_name("Kind"), acting=BY, at=NOW)
    good: dict[str, Any] = {"name": "Ten", "pricing_option_id": option.id, "credits": 10, "acting": BY, "at": NOW}
    for changes, code, field in (
        ({"credits": 0}, Code.INVALID_INPUT, "credits"),
        ({"valid_days": 0}, Code.INVALID_INPUT, "validDays"),
        ({"valid_days": 10**9}, Code.INVALID_INPUT, "validDays"),
        ({"pricing_option_id": new_id()}, Code.UNKNOWN_PRICING_OPTION, "pricingOptionId"),
        ({"pricing_option_id": monthly.id}, Code.FREQUENCY_DOES_NOT_FIT, "pricingOptionId"),
        ({"class_type_id": new_id()}, Code.NOT_FOUND, "classTypeId"),
        ({"course_id": new_id()}, Code.NOT_FOUND, "courseId"),
        ({"class_type_id": kind.id, "course_id": course.id}, Code.INVALID_INPUT, "courseId"),
    ):
        async with refused(code, field):
            await offers.create_package_offer(**{**good, **changes})


async def test_a_granted_package_is_for_a_kind_of_class_or_for_a_course() -> None:
    user, course = await a_user(), await a_course(future=1)
    kind = await catalogue.create_class_type(name=a_name("Kind"), acting=BY, at=NOW)
    package = await a_package(user, 3, course_id=course.id)
    assert ((await Package.get(id=package.id)).course_id, await entries(package)) == (course.id, [(3, "GRANT")])
    options: dict[str, Any] = {"user_id": user.id, "name": "Ten", "granted": 1, "acting": BY, "at": NOW}
    async with refused(Code.INVALID_INPUT, "courseId"):
        await grant_package(**options, class_type_id=kind.id, course_id=course.id)
    async with refused(Code.NOT_FOUND, "courseId"):
        await grant_package(**options, course_id=new_id())


# -- a purchase -------------------------------------------------------------------------------------------------------


async def test_a_package_is_bought_by_card_and_filled_when_its_money_is_in() -> None:
    user, offer, centre = await a_member_with_card(), await a_package_offer(50_00, valid_days=30), await a_centre()
    async with happening() as seen:
        package = await buy(user, offer, centre)
    payment = await Payment.get(package_id=package.id)
    assert (package.name, package.offer_id, package.user_id) == (offer.name, offer.id, user.id)
    assert (await entries(package), await balance(package.id)) == ([], 0)
    assert (payment.amount, payment.currency, payment.purpose, payment.provider, payment.status) == (
        50_00,
        "GBP",
        PaymentPurpose.PACKAGE,
        Provider.STRIPE,
        P.DUE,
    )
    assert (payment.user_id, payment.mandate_id, payment.due_on, payment.key) == (
        user.id,
        None,
        NOW.date(),
        f"payment:{payment.id}:1",
    )
    assert (seen.events, seen.kinds, seen.verbs) == (
        ["PaymentDue"],
        ["payments.collect", "live.publish"],
        ["buy_package"],
    )
    attempt = await payments.begin_collection(payment.id, acting=BY, at=NOW)
    assert attempt is not None
    assert (attempt.order.description, attempt.order.amount) == ("Package of credits", 50_00)

    async with happening() as seen:
        await settle(package, Out.CONFIRMED)
    assert await entries(package) == [(10, "GRANT")]
    assert await validity(package) == (LATER, LATER + 30 * DAY)
    assert (seen.events, seen.verbs) == (["PaymentUpdated"], ["settle_payment", "grant_package"])
    assert seen.audit[1].after == {"credits": 10, "valid_until": (LATER + 30 * DAY).isoformat()}


async def test_news_of_the_money_fills_it_once() -> None:
    package = await buy(await a_member_with_card(), await a_package_offer())
    await settle(package, Out.SUBMITTED)
    news = [settle(package, outcome) for outcome in (Out.CONFIRMED, Out.PAID_OUT) for _ in range(4)]
    await asyncio.gather(*news)
    async with nothing_written():
        await settle(package, Out.CONFIRMED)
    assert await entries(package) == [(10, "GRANT")]
    assert await validity(package) == (LATER, None)


async def test_the_centre_of_the_purchase_decides_the_price_on_its_own_day() -> None:
    """An override that begins on the 3rd holds in Tokyo while it is still the 2nd in London."""
    offer = await a_package_offer(50_00)
    here = await a_centre()
    east = await catalogue.create_centre(name=a_name("East"), zone="Asia/Tokyo", currency="GBP", acting=BY, at=NOW)
    for centre, amount in ((here, 45_00), (east, 40_00)):
        await catalogue.set_price_override(
            pricing_option_id=offer.pricing_option_id,
            centre_id=centre.id,
            amount=amount,
            effective_from=NOW.date() + DAY,
            acting=BY,
            at=NOW,
        )
    evening = NOW.replace(hour=16)
    prices = []
    for centre in (here, east):
        package = await buy(await a_member_with_card(), offer, centre, at=evening)
        prices.append((await Payment.get(package_id=package.id)).amount)
    assert prices == [50_00, 40_00]


async def test_a_package_is_bought_by_the_direct_debit_named() -> None:
    user, offer = await a_user(), await a_package_offer()
    mandate = await a_mandate(user)
    package = await buy(user, offer, mandate_id=mandate.id)
    payment = await Payment.get(package_id=package.id)
    assert (payment.provider, payment.mandate_id, payment.status) == (Provider.GOCARDLESS, mandate.id, P.DUE)
    attempt = await payments.begin_collection(payment.id, acting=BY, at=NOW)
    assert attempt is not None
    assert attempt.order.mandate == mandate.external_id
    await settle(package, Out.PAID_OUT)
    assert await entries(package) == [(10, "GRANT")]


async def test_a_package_that_costs_nothing_is_filled_at_once() -> None:
    user, offer, centre = await a_user(), await a_package_offer(0, credits=1, valid_days=7), await a_centre()
    async with happening() as seen:
        package = await buy(user, offer, centre)
    assert (await entries(package), package.valid_from, package.valid_until) == ([(1, "GRANT")], NOW, NOW + WEEK)
    assert not await Payment.exists(package_id=package.id)
    assert (seen.events, seen.verbs) == ([], ["buy_package", "grant_package"])


async def test_what_cannot_be_paid_is_not_bought() -> None:
    payer, poor, offer = await a_member_with_card(), await a_user(), await a_package_offer()
    yen = await offers.create_package_offer(
        name="Yen", pricing_option_id=(await an_option(5_000, currency="JPY")).id, credits=1, acting=BY, at=NOW
    )
    here, tokyo = await a_centre(), await a_centre("JPY")
    pending, cancelled = await a_mandate(payer, MandateStatus.PENDING), await a_mandate(payer, MandateStatus.CANCELLED)
    usable = await a_mandate(payer)
    async with refused(Code.NO_CARD_ON_FILE, "userId"):
        await buy(poor, offer, here)
    for mandate_id in (pending.id, cancelled.id, new_id(), (await a_mandate(poor)).id):
        async with refused(Code.NO_MANDATE, "mandateId"):
            await buy(payer, offer, here, mandate_id=mandate_id)
    async with refused(Code.CURRENCY_MISMATCH, "mandateId"):
        await buy(payer, yen, tokyo, mandate_id=usable.id)
    async with refused(Code.CURRENCY_MISMATCH, "centreId"):
        await buy(payer, yen, here)
    for unknown, field in (
        ({"package_offer_id": new_id()}, "packageOfferId"),
        ({"user_id": new_id()}, "userId"),
        ({"centre_id": new_id()}, "centreId"),
    ):
        async with refused(Code.NOT_FOUND, field):
            await buy(payer, offer, here, **unknown)


# -- money that does not come, goes, and comes back -------------------------------------------------------------------


async def test_a_payment_that_fails_leaves_it_empty_and_may_be_tried_again() -> None:
    package = await buy(await a_member_with_card(), await a_package_offer(valid_days=10))
    await settle(package, Out.SUBMITTED, reference=a_name("PI"))
    await settle(package, Out.FAILED, failure="card_declined")
    assert await entries(package) == []
    payment = await Payment.get(package_id=package.id)
    async with happening() as seen:
        await dunning.retry_payment(payment.id, acting=BY, at=NOW)
    assert (seen.kinds, seen.verbs) == (["payments.retry"], ["retry_payment"])
    await settle(package, Out.SUBMITTED)
    await settle(package, Out.CONFIRMED, at=NOW + WEEK)
    assert await entries(package) == [(10, "GRANT")]
    assert await validity(package) == (NOW + WEEK, NOW + WEEK + 10 * DAY)


async def test_one_that_never_reached_the_provider_is_asked_for_again() -> None:
    package = await buy(await a_member_with_card(), await a_package_offer())
    await settle(package, Out.FAILED, failure="mandate_is_inactive")
    payment = await Payment.get(package_id=package.id)
    async with happening() as seen:
        assert (await dunning.retry_payment(payment.id, acting=BY, at=NOW)).status is P.DUE
    assert seen.events == ["PaymentDue"]


@pytest.mark.parametrize("lost", [Out.FAILED, Out.CHARGED_BACK])
async def test_lost_money_takes_what_is_left_and_gives_it_back_with_the_money(lost: PaymentOutcome) -> None:
    package = await buy(await a_member_with_card(), await a_package_offer(valid_days=30))
    await settle(package, Out.CONFIRMED)
    await draw(package, await a_course(elapsed=1, future=3), LATER)
    filled = [(10, "GRANT"), *[(-1, "BOOKING")] * 3]
    assert await entries(package) == filled
    async with happening() as seen:
        await settle(package, lost, at=NOW + WEEK, failure="refer_to_payer")
    assert await entries(package) == [*filled, (-7, "PAYMENT_LOST")]
    assert seen.events == ["PaymentUpdated", "PaymentMissed"]
    assert [(entry.verb, entry.after, entry.because) for entry in seen.audit][1:] == [
        ("take_credits_back", {"credits": 7}, ["PAYMENT_LOST"])
    ]
    async with nothing_written():
        await settle(package, lost)

    async with happening() as seen:
        await settle(package, Out.CONFIRMED, at=NOW + 2 * WEEK)
    assert await entries(package) == [*filled, (-7, "PAYMENT_LOST"), (7, "PAYMENT_REGAINED")]
    taken, given = await CreditEntry.filter(package_id=package.id, reason__startswith="PAYMENT").order_by("id")
    assert given.reverses_id == taken.id
    assert [(entry.verb, entry.after) for entry in seen.audit][1:] == [("give_credits_back", {"credits": 7})]
    assert await validity(package) == (LATER, LATER + 30 * DAY), "as it was first paid"
    await settle(package, Out.PAID_OUT)
    assert await balance(package.id) == 7

    await settle(package, lost)
    await settle(package, Out.CONFIRMED)
    assert (await entries(package))[-2:] == [(-7, "PAYMENT_LOST"), (7, "PAYMENT_REGAINED")]
    assert await balance(package.id) == 7


async def test_all_drawn_before_the_money_was_lost_leaves_nothing_to_take() -> None:
    package = await buy(await a_member_with_card(), await a_package_offer(credits=2))
    await settle(package, Out.CONFIRMED)
    booking = await draw(package, await a_course(elapsed=1, future=4), LATER)
    await settle(package, Out.CHARGED_BACK)
    assert await entries(package) == [(2, "GRANT"), (-1, "BOOKING"), (-1, "BOOKING")]
    assert (await Booking.get(id=booking.id)).status is BookingStatus.AWAITING_PAYMENT, "drawn credits stay drawn"

    await give_back(booking)
    assert await balance(package.id) == 2
    assert await expire(NOW) == 1, "what is given back to an unpaid package is taken by the next run"
    assert (await entries(package))[-1] == (-2, "PAYMENT_LOST")
    await settle(package, Out.CONFIRMED)
    assert await balance(package.id) == 2


# -- the end ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def emptied(database: None) -> None:
    """What other tests left has ended."""
    await expire(NOW + 5000 * DAY)


async def test_credits_end_with_their_package(emptied: None) -> None:
    user = await a_user()
    end = NOW + WEEK
    ending, spent = await a_package(user, 5, valid_until=end), await a_package(user, 1, valid_until=end)
    lasting, endless = await a_package(user, 5, valid_until=end + HOUR), await a_package(user, 5)
    await CreditEntry.create(package_id=spent.id, delta=-1, reason="BOOKING")
    async with nothing_written():
        assert await expire(end - timedelta(microseconds=1)) == 0
    async with happening() as seen:
        assert await expire(end) == 1
    assert await entries(ending) == [(5, "GRANT"), (-5, "EXPIRED")]
    assert [await balance(each.id) for each in (ending, spent, lasting, endless)] == [0, 0, 5, 5]
    assert [(entry.verb, entry.subject_id, entry.because) for entry in seen.audit] == [
        ("take_credits_back", ending.id, ["EXPIRED"])
    ]
    assert (seen.events, seen.jobs) == ([], [])
    async with nothing_written():
        assert await expire(end) == 0


async def test_what_is_given_back_after_the_end_ends_too(emptied: None) -> None:
    package = await a_package(await a_member_with_card(), 5, valid_until=NOW + 30 * DAY)
    booking = await draw(package, await a_course(elapsed=1, future=3))
    await expire(NOW + 30 * DAY)
    await give_back(booking)
    assert await balance(package.id) == 3
    assert await expire(NOW + 30 * DAY) == 1
    assert await entries(package) == [
        (5, "GRANT"),
        *[(-1, "BOOKING")] * 3,
        (-2, "EXPIRED"),
        *[(1, "RELEASED")] * 3,
        (-3, "EXPIRED"),
    ]


async def test_many_end_page_by_page_each_once_whoever_runs_it(emptied: None) -> None:
    user = await a_user()
    ending = [await a_package(user, number, valid_until=NOW + DAY) for number in range(1, 8)]
    runs = await asyncio.gather(*(expire(NOW + DAY, page=3) for _ in range(4)))
    assert sum(runs) == 7
    assert [await entries(each) for each in ending] == [[(n, "GRANT"), (-n, "EXPIRED")] for n in range(1, 8)]


async def test_an_end_that_races_a_draw_leaves_nothing_and_takes_nothing_twice(emptied: None) -> None:
    """Each draw comes before the end of its package or after it; either way the balance is nought and never less."""
    payer, courses = await a_member_with_card(), [await a_course(elapsed=1, future=4) for _ in range(6)]
    held = [await a_package(payer, 6, valid_until=NOW + 60 * DAY) for _ in courses]
    end = NOW + 60 * DAY
    drawing = [draw(package, course) for package, course in zip(held, courses, strict=True)]
    bookings = await asyncio.gather(*drawing, *(expire(end) for _ in range(3)))
    for package, booking in zip(held, bookings[: len(held)], strict=True):
        assert isinstance(booking, Booking)
        drawn = booking.credits
        assert drawn in (0, 4)
        assert sorted(await entries(package)) == sorted(
            [(6, "GRANT"), *[(-1, "BOOKING")] * drawn, (drawn - 6, "EXPIRED")]
        )
        assert await balance(package.id) == 0


async def test_draws_that_race_the_loss_of_the_money_never_overdraw() -> None:
    package = await buy(await a_member_with_card(), await a_package_offer(credits=10))
    await settle(package, Out.CONFIRMED, at=NOW)
    courses = [await a_course(elapsed=1, future=4) for _ in range(4)]
    waiting: list[Any] = [draw(package, course) for course in courses]
    waiting.insert(2, settle(package, Out.CHARGED_BACK))
    done = await asyncio.gather(*waiting)
    drawn = sum(booking.credits for booking in done if isinstance(booking, Booking))
    assert drawn in (0, 4, 8, 10)
    assert await balance(package.id) == 0
    await settle(package, Out.CONFIRMED)
    assert await balance(package.id) == 10 - drawn


# -- whatever happens, in whatever order ------------------------------------------------------------------------------


async def _told(steps: list[tuple[str, int]]) -> None:
    payer = await a_member_with_card()
    package = await buy(payer, await a_package_offer(credits=5, valid_days=60))
    end = NOW + 100 * DAY
    drawn: list[Booking] = []
    for step, which in steps:
        match step:
            case "paid":
                await settle(package, (Out.CONFIRMED, Out.PAID_OUT)[which % 2], at=NOW)
            case "lost":
                await settle(package, (Out.FAILED, Out.CHARGED_BACK)[which % 2], at=NOW)
            case "draw":
                drawn.append(await draw(package, await a_course(elapsed=1, future=which)))
            case "give back" if drawn:
                await give_back(drawn.pop(which % len(drawn)))
            case "end":
                await expire(end)
        moved = await entries(package)
        sums = [sum(delta for delta, _ in moved[: n + 1]) for n in range(len(moved))]
        assert all(each >= 0 for each in sums), moved
        assert [reason for _, reason in moved].count("GRANT") <= 1
        assert sum(sums[-1:]) == await balance(package.id)
        if step == "end" and (await Package.get(id=package.id)).valid_until:
            assert await balance(package.id) == 0
    held = sum(booking.credits for booking in drawn)
    assert -sum(delta for delta, reason in await entries(package) if reason in ("BOOKING", "RELEASED")) == held
    assert (
        await sql(
            "SELECT reverses_id FROM credit_entry WHERE package_id = $1 AND reverses_id IS NOT NULL"
            " GROUP BY reverses_id HAVING count(*) > 1",
            package.id,
        )
        == []
    )


_STEPS = st.tuples(st.sampled_from(["paid", "paid", "lost", "draw", "draw", "give back", "end"]), st.integers(1, 4))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEPS, max_size=10).map(lambda steps: [("paid", 0), *steps]))
def test_no_order_of_events_makes_a_balance_that_is_below_zero(
    loop: asyncio.AbstractEventLoop, steps: list[tuple[str, int]]
) -> None:
    loop.run_until_complete(_told(steps))
