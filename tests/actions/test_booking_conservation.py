"""Whatever happens to bookings, in any order: no cent and no credit is made or lost on the way."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.actions import payments
from models.actions.bookings import book_course
from models.actions.cancellations import cancel_booking, delete_class_session
from models.actions.money_proof import prove
from models.actions.moves import move_booking
from models.rules.booking import Method, Pricing
from models.rules.refusals import Refusal
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import PaymentOutcome, PaymentStatus
from models.tables.booking import Booking
from models.tables.course import ClassSession, Course
from models.tables.payment import Payment
from models.tables.user import User
from tests.build import BY, NOW, a_course, a_member_with_card, a_package, sql

pytestmark = pytest.mark.usefixtures("database")
COURSES = ((4, 79_99), (8, 80_00), (3, 10_00), (5, 0))  # classes, price

# What a student paid and got back equals what is kept, once no payment is under way.
_MONEY = """
SELECT coalesce((SELECT sum(p.amount) FROM payment p WHERE p.user_id = $1 AND p.status IN ('CONFIRMED', 'PAID_OUT')), 0)
     - coalesce((SELECT sum(r.amount) FROM refund r WHERE r.user_id = $1 AND r.status <> 'FAILED'), 0) AS has,
  coalesce((SELECT sum(l.share) FROM booking_line l JOIN booking b ON b.id = l.booking_id
    WHERE b.user_id = $1 AND l.settled_by = 'CHARGE' AND l.given_back_at IS NULL), 0) AS kept
"""
_CREDITS = """
SELECT (SELECT sum(e.delta) FROM credit_entry e JOIN package k ON k.id = e.package_id WHERE k.user_id = $1) AS left,
  (SELECT count(*) FROM booking_line l JOIN booking b ON b.id = l.booking_id
    WHERE b.user_id = $1 AND l.settled_by = 'CREDIT' AND l.given_back_at IS NULL) AS kept,
  (SELECT min(left_in) FROM (SELECT sum(e.delta) AS left_in FROM credit_entry e JOIN package k ON k.id = e.package_id
    WHERE k.user_id = $1 GROUP BY k.id) AS each) AS least
"""
_SHARES = """
SELECT sum(l.share) AS shares, b.charge, sum(l.share) FILTER (WHERE l.settled_by = 'CHARGE') AS charged,
  count(*) FILTER (WHERE l.settled_by = 'CREDIT') AS drawn, b.credits, b.course_id
FROM booking b JOIN booking_line l ON l.booking_id = b.id WHERE b.user_id = $1 GROUP BY b.id
"""


@dataclass
class Studio:
    """Courses, a student with a card and a few credits, and a clock that only moves on."""

    user: User
    granted: int
    courses: list[Course] = field(default_factory=list)
    at: datetime = NOW

    async def booking(self, pick: int) -> Booking | None:
        rows = await Booking.filter(user_id=self.user.id).order_by("id")
        return rows[pick % len(rows)] if rows else None

    async def do(self, deed: str, pick: int, method: Method) -> None:
        """One thing that may happen; a refusal is an answer."""
        course = self.courses[pick % len(self.courses)]
        booking = await self.booking(pick)
        by: dict[str, Any] = {"acting": BY, "at": self.at}
        try:
            if deed == "book":
                await book_course(user_id=self.user.id, course_id=course.id, method=method, **by)
            elif deed == "later":
                self.at += timedelta(days=5)
            elif deed == "delete":
                rows = await ClassSession.filter(course_id=course.id).order_by("starts_at")
                await delete_class_session(rows[pick % len(rows)].id, **by)
            elif booking is not None and deed == "cancel":
                await cancel_booking(booking.id, **by)
            elif booking is not None and deed == "move":
                await move_booking(booking.id, course.id, method=method, **by)
            elif booking is not None:
                await self.news(booking, PaymentOutcome(deed))
        except Refusal:
            return

    async def news(self, booking: Booking, outcome: PaymentOutcome) -> None:
        for payment in await Payment.filter(booking_id=booking.id):
            if payment.status in (PaymentStatus.DUE, PaymentStatus.FAILED):
                await payments.begin_collection(payment.id, acting=BY, at=self.at)
                reference = f"pi_{payment.id}"
                await payments.settle(payment.id, outcome, reference=reference, acting=BY, at=self.at)

    async def settled(self) -> None:
        """Every payment that was asked for comes in at last, those too whose booking has ended meanwhile."""
        for booking in await Booking.filter(user_id=self.user.id):
            await self.news(booking, PaymentOutcome.CONFIRMED)

    async def check_credits(self) -> None:
        (row,) = await sql(_CREDITS, self.user.id)
        assert row["left"] + row["kept"] == self.granted
        assert row["least"] >= 0

    async def check_shares(self) -> None:
        prices = {course.id: price for course, (_, price) in zip(self.courses, COURSES, strict=True)}
        for row in await sql(_SHARES, self.user.id):
            assert row["shares"] == prices[row["course_id"]]
            assert (row["charged"] or 0, row["drawn"]) == (row["charge"], row["credits"])

    async def check_books(self) -> None:
        """Charged = allocated + refunded + credit + held after each step, and no row says otherwise."""
        proof = await prove(("User", self.user.id))
        assert proof.holds, (proof.equation, [each.because for each in proof.breaks])

    async def check_money(self) -> None:
        (row,) = await sql(_MONEY, self.user.id)
        assert row["has"] == row["kept"]


async def a_studio(pricing: Pricing, cancellation: CancellationPolicy, deletion: DeletionPolicy) -> Studio:
    studio = Studio(await a_member_with_card(), 7)
    await a_package(studio.user, 4)
    await a_package(studio.user, 3, valid_until=NOW + timedelta(weeks=3))
    for classes, price in COURSES:
        course = await a_course(future=classes, price=price, pricing=pricing)
        await Course.filter(id=course.id).update(on_cancellation=cancellation, on_deletion=deletion)
        studio.courses.append(course)
    return studio


deeds = st.sampled_from(["book", "book", "book", "cancel", "move", "move", "delete", "later", "CONFIRMED", "FAILED"])


@given(
    st.lists(st.tuples(deeds, st.integers(0, 11), st.sampled_from(Method)), min_size=3, max_size=14),
    st.sampled_from(Pricing),
    st.sampled_from(CancellationPolicy),
    st.sampled_from(DeletionPolicy),
)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_came_in_is_kept_given_back_or_refunded(
    loop: asyncio.AbstractEventLoop,
    story: list[tuple[str, int, Method]],
    pricing: Pricing,
    cancellation: CancellationPolicy,
    deletion: DeletionPolicy,
) -> None:
    async def tell() -> None:
        studio = await a_studio(pricing, cancellation, deletion)
        for deed, pick, method in story:
            await studio.do(deed, pick, method)
            await studio.check_credits()
            await studio.check_books()
        await studio.check_shares()
        await studio.settled()
        await studio.check_money()
        await studio.check_books()

    loop.run_until_complete(tell())
