"""Booking every class of a course, at the price the rules decide, with credits that cannot leak (R113-R142)."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from models.actions import corrections, waiting
from models.actions.charges import raise_payment
from models.actions.quotes import Held, Quoted, agreed, hold
from models.actions.returns import repay
from models.actions.transaction import repeated
from models.actions.unit import Unit, plain, unit
from models.actions.users import linked
from models.rules.booking import ClassState, Method, Quote, SettledBy
from models.rules.events import BookingConfirmed, BookingMade
from models.rules.money import Money
from models.rules.refusals import Code, Refusal
from models.rules.states import (
    AttendanceSource,
    BookingStatus,
    Owner,
    PaymentPurpose,
    Provider,
)
from models.tables.booking import Booking, BookingLine
from models.tables.course import Attendance, Course
from models.tables.package import CreditEntry
from models.tables.user import User


@repeated
async def book_course(
    *,
    user_id: UUID,
    course_id: UUID,
    method: Method,
    acting: str,
    at: datetime,
    package_id: UUID | None = None,
    quoted: Quoted | None = None,
) -> Booking:
    """(student, course, way of paying) -> the booking: confirmed where nothing is owed, else awaiting its payment.

    Credits are drawn and the charge is written in the same transaction. With `package_id` credits come from that
    package alone, with `quoted` what was quoted is taken or nothing. Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO,
    ALREADY_BOOKED, COURSE_FULL, PACKAGE_NOT_VALID, MEMBERSHIP_REQUIRED, NO_CARD_ON_FILE, those of
    `rules.booking.quote`, and NotAsQuoted.        Source: Groovio, all scenarios
    """
    async with unit(acting=acting, at=at) as work:
        (course,) = await lock_courses(course_id)
        held = await _admitted(course, user_id, method, package_id, at, lock=True)
        quote = agreed(held, user_id, method, package_id, at, quoted)
        return await book(work, held, user_id, method, quote)


async def rehearse(
    *, user_id: UUID, course_id: UUID, method: Method, at: datetime, package_id: UUID | None = None
) -> Quote:
    """What `book_course` would take now, with nothing held or written. Raises the Refusal it would raise."""
    course = await Course.one(id=course_id)
    if course is None:
        raise Refusal(Code.NOT_FOUND, field=("courseId",))
    check_owner(course)
    quote = (await _admitted(course, user_id, method, package_id, at, lock=False)).quote(method, at)
    if quote.charge.minor_units:
        await _check_card(user_id)
    return quote


async def _admitted(
    course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime, *, lock: bool
) -> Held:
    if not await User.has(id=user_id):
        raise Refusal(Code.NOT_FOUND, field=("userId",))
    await waiting.check_place(course, user_id, at)
    return await hold(course, user_id, method, package_id, at, lock=lock)


def check_owner(course: Course) -> None:
    """Refuse courses that are only mirrored here: OWNED_BY_COURSEPRO."""
    if course.owner is Owner.COURSEPRO:
        raise Refusal(Code.OWNED_BY_COURSEPRO, field=("courseId",))


async def _check_card(user_id: UUID) -> None:
    if await linked(user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE, field=("userId",))


async def known_booking(booking_id: UUID) -> Booking:
    """A booking. Raises Refusal NOT_FOUND."""
    booking = await Booking.one(id=booking_id)
    if booking is None:
        raise Refusal(Code.NOT_FOUND, field=("bookingId",))
    return booking


async def owner(booking_id: UUID) -> UUID | None:
    """Whose booking it is; None for an unknown one."""
    booking = await Booking.one(id=booking_id)
    return booking.user_id if booking else None


async def lock_courses(*course_ids: UUID) -> list[Course]:
    """The courses, held until the transaction ends and in the order asked for. Raises Refusal."""
    rows = {row.id: row for row in await Course.filter(id__in=course_ids).select_for_update().order_by("id")}
    for course_id in course_ids:
        if course_id not in rows:
            raise Refusal(Code.NOT_FOUND, field=("courseId",))
        check_owner(rows[course_id])
    return [rows[course_id] for course_id in course_ids]


async def book(
    work: Unit,
    held: Held,
    user_id: UUID,
    method: Method,
    quote: Quote,
    *,
    moved_from: Booking | None = None,
    carried: int = 0,
) -> Booking:
    """Write a booking of these terms: its lines, its credits, its seats, and the charge that nothing carried covers."""
    owed = quote.charge.minor_units - carried
    booking = await Booking.create(
        course_id=held.course.id,
        user_id=user_id,
        moved_from_id=moved_from.id if moved_from else None,
        method=method,
        status=BookingStatus.AWAITING_PAYMENT if owed else BookingStatus.CONFIRMED,
        credits=quote.credits,
        charge=quote.charge.minor_units,
        carried=carried,
        currency=quote.charge.currency,
        because=plain(quote.because),
    )
    await BookingLine.bulk_create(
        BookingLine(
            booking_id=booking.id,
            class_session_id=line.session_id,
            state=line.state,
            share=line.share,
            settled_by=line.settled_by,
            because=line.because,
        )
        for line in quote.lines
    )
    await CreditEntry.bulk_create(
        CreditEntry(
            package_id=line.package_id,
            booking_id=booking.id,
            class_session_id=line.session_id,
            delta=-1,
            reason="BOOKING",
        )
        for line in quote.lines
        if line.settled_by is SettledBy.CREDIT
    )
    await _seat(booking, (line.session_id for line in quote.lines if line.state is ClassState.FUTURE))
    if held.course.class_type_id is not None:  # an invoice may pay for such classes
        await corrections.seats_changed(work, booking_id=booking.id)
    work.audit(
        "move_booking" if moved_from else "book_course",
        booking,
        before={"booking_id": moved_from.id} if moved_from else None,
        after={"credits": booking.credits, "charge": booking.charge, "carried": carried},
        because=quote.because,
    )
    work.emit(BookingMade(booking_id=booking.id, user_id=user_id))
    await waiting.take_offer(work, booking)
    if owed:
        await _charge(work, booking, owed, quote)
    else:
        work.emit(BookingConfirmed(booking_id=booking.id, user_id=user_id))
    return booking


async def _seat(booking: Booking, session_ids: Iterable[UUID]) -> None:
    await Attendance.bulk_create(
        [
            Attendance(
                class_session_id=session_id,
                user_id=booking.user_id,
                booking_id=booking.id,
                source=AttendanceSource.DUEFLOW,
            )
            for session_id in session_ids
        ],
        on_conflict=["class_session_id", "user_id"],
        update_fields=["booking_id", "mark", "source"],
    )


async def _charge(work: Unit, booking: Booking, amount: int, quote: Quote) -> None:
    await _check_card(booking.user_id)
    payment = await raise_payment(
        work,
        user_id=booking.user_id,
        purpose=PaymentPurpose.BOOKING,
        booking_id=booking.id,
        price=Money(amount, booking.currency),
        due_on=work.at.date(),
        mandate=None,
    )
    work.audit("charge_booking", payment, after={"amount": amount, "carried": booking.carried}, because=quote.because)


async def confirm(work: Unit, booking_id: UUID) -> None:
    """All a booking owed is settled; what came for one that waits no longer goes back as far as it was given back."""
    booking = await Booking.known(id=booking_id, lock=True)
    if booking.status is BookingStatus.AWAITING_PAYMENT:
        booking.status = BookingStatus.CONFIRMED
        await booking.save(update_fields=["status"])
        work.audit("confirm_booking", booking, after={"status": booking.status})
        work.emit(BookingConfirmed(booking_id=booking.id, user_id=booking.user_id))
    await repay(work, booking)
