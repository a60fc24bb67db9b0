"""How bookings end: their payment failed, a person cancels, the centre deletes a class."""

from datetime import datetime, timedelta
from uuid import UUID

from models.actions import bookings, corrections, endings, waiting
from models.actions.returns import PAID, as_kept, give_back, kept, money_given_back, repay
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules import returns
from models.rules.booking import Session, timetable
from models.rules.events import BookingChanged, BookingReleased
from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.rules.states import BookingStatus, PaymentStatus
from models.rules.timetable import ClassState
from models.rules.waiting import HOLDS_A_PLACE
from models.tables.booking import Booking, BookingLine
from models.tables.course import Attendance, ClassSession, Course
from models.tables.payment import Payment


async def release(work: Unit, booking_id: UUID, *, because: str) -> bool:
    """Give the places and credits of a booking back whose payment failed -> whether it still held any."""
    booking = await Booking.known(id=booking_id, lock=True)
    if booking.status not in HOLDS_A_PLACE:
        return False
    given = returns.returned(await kept(booking), because)
    await end(work, booking, BookingStatus.RELEASED, given)
    await repay(work, booking)
    return True


async def end(work: Unit, booking: Booking, status: BookingStatus, given: returns.Return) -> None:
    """A locked booking holds no place any more and gives back what was decided, but for its money."""
    before, booking.status = booking.status, status
    await booking.save(update_fields=["status"])
    await give_back(work, booking, given, reason=status)
    to_come = Attendance.filter(booking_id=booking.id, class_session__starts_at__gt=work.at)
    await to_come.update(mark=Mark.CANCELLED)
    await corrections.seats_changed(work, booking_id=booking.id)
    after = {"status": status, "credits": given.credits, "money": given.money}
    work.audit("release_booking", booking, before={"status": before}, after=after, because=given.because)
    work.emit(BookingReleased(booking_id=booking.id, user_id=booking.user_id))
    await waiting.offer_places(work, booking.course_id)


@repeated
async def cancel_booking(booking_id: UUID, *, acting: str, at: datetime) -> Booking:
    """End a live booking; credits and money come back as the course's policy says.

    A charge not sent yet that would come back whole is not sent; others come back when they arrive.
    Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO, BOOKING_NOT_CANCELLABLE.
    """
    async with unit(acting=acting, at=at) as work:
        booking, (course,) = await locked(booking_id)
        if booking.status not in HOLDS_A_PLACE:
            raise Refusal(Code.BOOKING_NOT_CANCELLABLE, f"It is {booking.status}.", field=("bookingId",))
        given = returns.on_cancellation(
            await kept(booking),
            at,
            begun=await begun(course, at),
            policy=course.on_cancellation,
            notice=timedelta(hours=course.notice_hours),
        )
        await end(work, booking, BookingStatus.CANCELLED, given)
        await _drop_charge(work, booking)
        await repay(work, booking)
    return booking


async def locked(booking_id: UUID, *to: UUID) -> tuple[Booking, list[Course]]:
    """A booking, after its course and those it may move to: whoever holds a booking held its course before."""
    known = await bookings.known_booking(booking_id)
    courses = await bookings.lock_courses(known.course_id, *to)
    await Payment.one(booking_id=booking_id, lock=True)
    return await Booking.known(id=booking_id, lock=True), courses


async def begun(course: Course, at: datetime) -> bool:
    """Whether a course has begun (D5)."""
    rows = await ClassSession.every(course_id=course.id)
    return timetable((Session(row.id, row.starts_at, row.deleted_at is not None) for row in rows), at).started


async def _drop_charge(work: Unit, booking: Booking) -> None:
    """Nobody asks for a charge that was not sent yet and would come back whole."""
    payment = await Payment.one(booking_id=booking.id, status=PaymentStatus.DUE, attempts=0)
    if payment is not None and await money_given_back(booking) - booking.carried >= payment.amount:
        await endings.drop(work, payment, verb="drop_charge")


@repeated
async def delete_class_session(class_session_id: UUID, *, acting: str, at: datetime) -> ClassSession:
    """Take a class out of a course; who booked it gets back what the course's policy says.

    It still counts in the price of the course (D6). Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO,
    CLASS_ALREADY_DELETED.
    """
    async with unit(acting=acting, at=at) as work:
        known = await ClassSession.one(id=class_session_id)
        if known is None or known.course_id is None:
            raise Refusal(Code.NOT_FOUND, field=("classSessionId",))
        (course,) = await bookings.lock_courses(known.course_id)
        session = await ClassSession.known(id=class_session_id, lock=True)
        if session.deleted_at is not None:
            raise Refusal(Code.CLASS_ALREADY_DELETED, field=("classSessionId",))
        session.deleted_at = at
        await session.save(update_fields=["deleted_at"])
        await Attendance.filter(class_session_id=session.id).exclude(mark=Mark.ATTENDED).update(mark=Mark.CANCELLED)
        await corrections.seats_changed(work, class_session_id=session.id)
        work.audit("delete_class_session", session, before={"deleted_at": None}, after={"deleted_at": at})
        lines = BookingLine.filter(
            class_session_id=session.id,
            state=ClassState.FUTURE,
            given_back_at=None,
            settled_by__in=PAID,
            booking__status__in=HOLDS_A_PLACE,
        )
        for line in await lines.select_related("booking", "class_session").order_by("booking_id"):
            await _return_deleted(work, course, line)
    return session


async def _return_deleted(work: Unit, course: Course, line: BookingLine) -> None:
    await Payment.one(booking_id=line.booking_id, lock=True)
    booking = await Booking.known(id=line.booking_id, lock=True)
    given = returns.on_deletion(as_kept(line), method=booking.method, pricing=course.pricing, policy=course.on_deletion)
    await give_back(work, booking, given, reason="CLASS_DELETED")
    work.audit("return_class", booking, after={"credits": given.credits, "money": given.money}, because=given.because)
    work.emit(BookingChanged(booking_id=booking.id, user_id=booking.user_id))
    await repay(work, booking)
