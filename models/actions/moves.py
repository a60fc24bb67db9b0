"""Changing a booking for one of another course."""

from datetime import datetime
from uuid import UUID

from models.actions import bookings, waiting
from models.actions.cancellations import begun, end, locked
from models.actions.quotes import Quoted, agreed, hold
from models.actions.returns import kept, repay
from models.actions.transaction import repeated
from models.actions.unit import unit
from models.rules import returns
from models.rules.booking import Method
from models.rules.refusals import Code, Refusal
from models.rules.returns import CancellationPolicy
from models.rules.states import BookingStatus
from models.tables.booking import Booking


@repeated
async def move_booking(
    booking_id: UUID,
    course_id: UUID,
    *,
    acting: str,
    at: datetime,
    method: Method | None = None,
    package_id: UUID | None = None,
    quoted: Quoted | None = None,
) -> Booking:
    """Change a confirmed booking for one of another course, at that course's price now -> the new booking.

    What is still to come of the old one comes back whole; its money pays for the new one, the difference is charged or
    refunded. Raises Refusal BOOKING_NOT_MOVABLE and those of `book_course`.
    """
    async with unit(acting=acting, at=at) as work:
        before, (left, course) = await locked(booking_id, course_id)
        if before.status is not BookingStatus.CONFIRMED or left.id == course.id:
            raise Refusal(Code.BOOKING_NOT_MOVABLE, f"It is {before.status}.", field=("bookingId",))
        await waiting.check_place(course, before.user_id, at)
        given = returns.on_cancellation(
            await kept(before), at, begun=await begun(left, at), policy=CancellationPolicy.FUTURE_CLASSES
        )
        await end(work, before, BookingStatus.CANCELLED, given)
        method = method or before.method
        held = await hold(course, before.user_id, method, package_id, at, lock=True)
        if held.price.currency != before.currency:
            raise Refusal(Code.BOOKING_NOT_MOVABLE, f"It is paid in {before.currency}.", field=("courseId",))
        quote = agreed(held, before.user_id, method, package_id, at, quoted)
        carried = min(given.money, quote.charge.minor_units)
        booking = await bookings.book(work, held, before.user_id, method, quote, moved_from=before, carried=carried)
        await repay(work, booking)
    return booking
