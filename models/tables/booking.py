"""Bookings of courses: the terms decided for each class, and the list of those who wait for a place."""

from uuid import UUID

from tortoise import fields

from models.rules.booking import Method, SettledBy
from models.rules.states import BookingStatus, WaitingState
from models.rules.timetable import ClassState
from models.tables.row import Row, belongs_to, check, choice, document, minor_units, one_of, unique


class Booking(Row):
    """One person's booking of a course, with the price decided at that moment and why.

    `carried` is what of the charge was taken over from the booking it was moved from, and is not asked for again.
    """

    course_id: UUID
    course = belongs_to("Course", "bookings")
    user_id: UUID
    user = belongs_to("User", "bookings")
    moved_from_id: UUID | None
    moved_from = belongs_to("Booking", "moved_to", null=True, single=True)
    method: Method = choice(Method)
    status: BookingStatus = choice(BookingStatus)
    credits = fields.IntField()
    charge: int = minor_units()
    carried: int = minor_units(default=0)
    currency = fields.CharField(max_length=3)
    because = document(default=list)

    class Meta:
        table = "booking"
        constraints = (
            one_of("booking", "method", Method),
            one_of("booking", "status", BookingStatus),
            check("booking_credits_not_negative", "credits >= 0"),
            check("booking_charge_not_negative", "charge >= 0"),
            check("booking_carried_within_charge", "carried BETWEEN 0 AND greatest(charge, 0)"),
            check("booking_carries_from_somewhere", "carried = 0 OR moved_from_id IS NOT NULL"),
            unique("booking_live_once", "course_id", "user_id", where="status IN ('AWAITING_PAYMENT', 'CONFIRMED')"),
        )
        indexes = (("user_id", "id"), ("course_id", "id"), ("status", "id"), ("created_at", "id"))


class BookingLine(Row):
    """What was decided for one class of a booking: its share, what settles it, and when that was given back."""

    booking_id: UUID
    booking = belongs_to("Booking", "lines")
    class_session_id: UUID
    class_session = belongs_to("ClassSession", "booking_lines")
    state: ClassState = choice(ClassState)
    share: int = minor_units()
    settled_by: SettledBy = choice(SettledBy)
    because = fields.CharField(max_length=200)
    given_back_at = fields.DatetimeField(null=True)

    class Meta:
        table = "booking_line"
        constraints = (
            one_of("booking_line", "state", ClassState),
            one_of("booking_line", "settled_by", SettledBy),
            check("booking_line_share_not_negative", "share >= 0"),
            unique("booking_line_once", "booking_id", "class_session_id"),
        )
        indexes = (("class_session_id", "id"),)


class WaitingPlace(Row):
    """One person's place on a course's waiting list, first come first served; an offer holds a place until it ends."""

    course_id: UUID
    course = belongs_to("Course", "waiting_places")
    user_id: UUID
    user = belongs_to("User", "waiting_places")
    state: WaitingState = choice(WaitingState, default=WaitingState.WAITING)
    offered_until = fields.DatetimeField(null=True)

    class Meta:
        table = "waiting_place"
        constraints = (
            one_of("waiting_place", "state", WaitingState),
            check("waiting_place_offer_ends", "state <> 'OFFERED' OR offered_until IS NOT NULL"),
            unique("waiting_place_once", "course_id", "user_id", where="state IN ('WAITING', 'OFFERED')"),
        )
        indexes = (("course_id", "state", "id"), ("user_id", "id"), ("state", "id"))
