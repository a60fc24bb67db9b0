"""Booking every class of a course, at the price the rules decide, with credits that cannot leak (R113-R142)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.catalogue import course_price
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.rules import booking as rules
from models.rules.booking import ClassState, Method, Quote, Session, SettledBy, Timetable
from models.rules.events import BookingConfirmed, BookingMade, BookingReleased, PaymentDue
from models.rules.explain import Step
from models.rules.invoicing import Mark
from models.rules.lifecycle import STANDING
from models.rules.money import Money
from models.rules.refusals import Code, Refusal
from models.rules.states import AttendanceSource, BookingStatus, Owner, PaymentPurpose, Provider
from models.tables.booking import Booking
from models.tables.course import Attendance, ClassSession, Course
from models.tables.membership import ClassType, Membership
from models.tables.package import CreditEntry, Package
from models.tables.payment import Payment
from models.tables.row import new_id
from models.tables.user import User

LIVE = (BookingStatus.AWAITING_PAYMENT, BookingStatus.CONFIRMED)


@dataclass(frozen=True, slots=True)
class Held:
    """A course as a booking sees it: its price, its classes, and the credits the student could draw."""

    course: Course
    price: Money
    sessions: tuple[Session, ...]
    package: Package | None
    credits: int

    def timetable(self, at: datetime) -> Timetable:
        """The classes as they stand at an instant."""
        return rules.timetable(self.sessions, at)

    def quote(self, method: Method, at: datetime) -> Quote:
        """What the rules say. Raises Refusal."""
        quote = rules.quote(
            self.price, self.course.pricing, self.sessions, at, method, self.credits, self.course.per_class_basis
        )
        if quote.credits:
            rules.check_valid_through(self.timetable(at), method, self.package.valid_until if self.package else None)
        return quote


@repeated
async def book_course(
    *,
    user_id: UUID,
    course_id: UUID,
    method: Method,
    acting: str,
    at: datetime,
    package_id: UUID | None = None,
) -> Booking:
    """(student, course, way of paying) -> the booking: confirmed where nothing is owed, else awaiting its payment.

    Credits are drawn and the charge is written in the same transaction. Raises Refusal NOT_FOUND, OWNED_BY_COURSEPRO,
    ALREADY_BOOKED, COURSE_FULL, PACKAGE_REQUIRED, PACKAGE_NOT_VALID, MEMBERSHIP_REQUIRED, NO_CARD_ON_FILE and those
    of `rules.booking.quote`.        Source: Groovio, all scenarios
    """
    async with unit(acting=acting, at=at) as work:
        course = await Course.filter(id=course_id).select_for_update().first()
        if course is None:
            raise Refusal(Code.NOT_FOUND, field=("courseId",))
        if not await User.exists(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if course.owner is Owner.COURSEPRO:
            raise Refusal(Code.OWNED_BY_COURSEPRO, field=("courseId",))
        await _check_place(course, user_id)
        held = await hold(course, user_id, method, package_id, at)
        quote = held.quote(method, at)
        booking = await Booking.create(
            course_id=course.id,
            user_id=user_id,
            method=method,
            status=BookingStatus.AWAITING_PAYMENT if quote.charge.minor_units else BookingStatus.CONFIRMED,
            credits=quote.credits,
            charge=quote.charge.minor_units,
            currency=quote.charge.currency,
            because=explained(quote.because),
        )
        await _draw(held, booking, quote)
        await _seat(held, booking, at)
        work.audit(
            "book_course", booking, after={"credits": quote.credits, "charge": booking.charge}, because=booking.because
        )
        work.emit(BookingMade(booking_id=booking.id, user_id=user_id))
        if quote.charge.minor_units:
            await _charge(work, booking)
        else:
            work.emit(BookingConfirmed(booking_id=booking.id, user_id=user_id))
    return booking


async def _check_place(course: Course, user_id: UUID) -> None:
    live = Booking.filter(course_id=course.id, status__in=LIVE)
    if await live.filter(user_id=user_id).exists():
        raise Refusal(Code.ALREADY_BOOKED, field=("courseId",))
    if await live.count() >= course.capacity:
        raise Refusal(Code.COURSE_FULL, field=("courseId",))


async def hold(course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime) -> Held:
    """The course's price and classes, and the credits `method` may draw, their package locked in a transaction.

    Raises Refusal PACKAGE_REQUIRED, PACKAGE_NOT_VALID, MEMBERSHIP_REQUIRED.
    """
    amount, currency = await course_price(course, on=at.date())
    rows = await ClassSession.filter(course_id=course.id).order_by("starts_at", "id")
    package = await _package(course, user_id, method, package_id, at)
    return Held(
        course,
        Money(amount, currency),
        tuple(Session(row.id, row.starts_at, row.deleted_at is not None) for row in rows),
        package,
        await balance(package.id) if package else 0,
    )


async def _package(
    course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime
) -> Package | None:
    if method is Method.PAYMENT:
        return None
    if method is Method.MEMBERSHIP:
        return await _membership_credits(course, user_id, at)
    if package_id is None:
        raise Refusal(Code.PACKAGE_REQUIRED, field=("packageId",))
    package = await Package.filter(id=package_id, user_id=user_id).select_for_update().first()
    if package is None or package.membership_id is not None or not _valid(package, at):
        raise Refusal(Code.PACKAGE_NOT_VALID, field=("packageId",))
    if package.class_type_id not in (None, course.class_type_id):
        raise Refusal(Code.PACKAGE_NOT_VALID, "It is for another kind of class.", field=("packageId",))
    return package


async def _membership_credits(course: Course, user_id: UUID, at: datetime) -> Package:
    """The credits for this kind of class of the student's standing memberships that end first and are not spent."""
    packages = await Package.filter(user_id=user_id, membership_id__not_isnull=True).select_for_update().order_by("id")
    standing = {row.id for row in await Membership.filter(user_id=user_id) if STANDING[row.status].enters}
    usable = [
        row
        for row in packages
        if row.membership_id in standing and _valid(row, at) and row.class_type_id in (None, course.class_type_id)
    ]
    if not usable:
        raise Refusal(Code.MEMBERSHIP_REQUIRED)
    held = {row.id: await balance(row.id) for row in usable}
    return min(usable, key=lambda row: (held[row.id] == 0, row.valid_until is None, row.valid_until or at, row.id))


def _valid(package: Package, at: datetime) -> bool:
    return package.valid_from <= at and (package.valid_until is None or at < package.valid_until)


async def balance(package_id: UUID) -> int:
    """The credits left in a package: the sum of its entries."""
    deltas: list[int] = await CreditEntry.filter(package_id=package_id).values_list("delta", flat=True)  # type: ignore[assignment]  # flat
    return sum(deltas)


async def _draw(held: Held, booking: Booking, quote: Quote) -> None:
    if held.package is not None:
        await CreditEntry.bulk_create(
            [
                CreditEntry(
                    package_id=held.package.id,
                    booking_id=booking.id,
                    class_session_id=line.session_id,
                    delta=-1,
                    reason="BOOKING",
                )
                for line in quote.lines
                if line.settled_by is SettledBy.CREDIT
            ]
        )


async def _seat(held: Held, booking: Booking, at: datetime) -> None:
    classes = held.timetable(at).classes
    await Attendance.bulk_create(
        [
            Attendance(
                class_session_id=session.id,
                user_id=booking.user_id,
                booking_id=booking.id,
                source=AttendanceSource.DUEFLOW,
            )
            for session, state in classes
            if state is ClassState.FUTURE
        ],
        on_conflict=["class_session_id", "user_id"],
        update_fields=["booking_id", "mark", "source"],
    )


async def _charge(work: Unit, booking: Booking) -> None:
    if await linked(booking.user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE, field=("userId",))
    payment_id = new_id()
    payment = await Payment.create(
        id=payment_id,
        user_id=booking.user_id,
        purpose=PaymentPurpose.BOOKING,
        booking_id=booking.id,
        provider=Provider.STRIPE,
        amount=booking.charge,
        currency=booking.currency,
        due_on=work.at.date(),
        key=f"payment:{payment_id}:1",
    )
    work.emit(PaymentDue(payment_id=payment.id, user_id=booking.user_id))


async def confirm(work: Unit, booking_id: UUID) -> None:
    """All a booking owed is settled; one that waits no longer is left as it is."""
    booking = await Booking.filter(id=booking_id).select_for_update().get()
    if booking.status is BookingStatus.AWAITING_PAYMENT:
        booking.status = BookingStatus.CONFIRMED
        await booking.save(update_fields=["status"])
        work.audit("confirm_booking", booking, after={"status": booking.status})
        work.emit(BookingConfirmed(booking_id=booking.id, user_id=booking.user_id))


async def release(work: Unit, booking_id: UUID, *, to: BookingStatus, because: str) -> bool:
    """Give the places and credits of a booking back, by a reversing entry -> whether it still held any."""
    booking = await Booking.filter(id=booking_id).select_for_update().get()
    if booking.status not in LIVE:
        return False
    before, booking.status = booking.status, to
    await booking.save(update_fields=["status"])
    await Attendance.filter(booking_id=booking.id, class_session__starts_at__gt=work.at).update(mark=Mark.CANCELLED)
    for entry in await CreditEntry.filter(booking_id=booking.id, reverses_id__isnull=True).order_by("id"):
        await CreditEntry.get_or_create(
            reverses_id=entry.id,
            defaults={
                "package_id": entry.package_id,
                "booking_id": booking.id,
                "class_session_id": entry.class_session_id,
                "delta": -entry.delta,
                "reason": to.value,
            },
        )
    work.audit("release_booking", booking, before={"status": before}, after={"status": to}, because=[because])
    work.emit(BookingReleased(booking_id=booking.id, user_id=booking.user_id))
    return True


async def grant_package(
    *,
    user_id: UUID,
    name: str,
    granted: int,
    acting: str,
    at: datetime,
    valid_until: datetime | None = None,
    class_type_id: UUID | None = None,
    membership_id: UUID | None = None,
) -> Package:
    """Give a user a pack of credits, valid from now on. Raises Refusal NOT_FOUND, INVALID_INPUT."""
    if granted < 1:
        raise Refusal(Code.INVALID_INPUT, "A package holds at least one credit.", field=("credits",))
    if valid_until is not None and valid_until <= at:
        raise Refusal(Code.INVALID_INPUT, "A package ends in the future.", field=("validUntil",))
    async with unit(acting=acting, at=at) as work:
        if not await User.exists(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if membership_id and not await Membership.exists(id=membership_id, user_id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("membershipId",))
        if class_type_id and not await ClassType.exists(id=class_type_id):
            raise Refusal(Code.NOT_FOUND, field=("classTypeId",))
        package = await Package.create(
            user_id=user_id,
            name=name,
            class_type_id=class_type_id,
            membership_id=membership_id,
            valid_from=at,
            valid_until=valid_until,
        )
        await CreditEntry.create(package_id=package.id, delta=granted, reason="GRANT")
        work.audit("grant_package", package, after={"credits": granted, "valid_until": valid_until})
    return package


def explained(steps: tuple[Step, ...]) -> list[dict[str, Any]]:
    """Rule steps as they are stored with a decision."""
    return [{"rule": each.rule, "text": each.text, "figures": dict(each.figures)} for each in steps]
