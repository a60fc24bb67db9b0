"""Bookings of courses, and the packages of credits that pay for them."""

from uuid import UUID

from tortoise import fields

from models.rules.booking import Method
from models.rules.states import BookingStatus
from models.tables.row import Row, belongs_to, check, choice, document, minor_units, one_of, unique


class Package(Row):
    """A pack of credits of one person, valid [valid_from, valid_until); its balance is the sum of its entries."""

    user_id: UUID
    user = belongs_to("User", "packages")
    name = fields.CharField(max_length=120)
    class_type_id: UUID | None
    class_type = belongs_to("ClassType", "packages", null=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "credits", null=True)
    valid_from = fields.DatetimeField()
    valid_until = fields.DatetimeField(null=True)

    class Meta:
        table = "package"
        constraints = (check("package_in_order", "valid_until IS NULL OR valid_from < valid_until"),)
        indexes = (("user_id", "id"),)


class Booking(Row):
    """One person's booking of a course, with the price decided at that moment and why."""

    course_id: UUID
    course = belongs_to("Course", "bookings")
    user_id: UUID
    user = belongs_to("User", "bookings")
    package_id: UUID | None
    package = belongs_to("Package", "bookings", null=True)
    method: Method = choice(Method)
    status: BookingStatus = choice(BookingStatus)
    credits = fields.IntField()
    charge: int = minor_units()
    currency = fields.CharField(max_length=3)
    because = document(default=list)

    class Meta:
        table = "booking"
        constraints = (
            one_of("booking", "method", Method),
            one_of("booking", "status", BookingStatus),
            check("booking_credits_not_negative", "credits >= 0"),
            check("booking_charge_not_negative", "charge >= 0"),
            unique("booking_live_once", "course_id", "user_id", where="status IN ('AWAITING_PAYMENT', 'CONFIRMED')"),
        )
        indexes = (("user_id", "id"),)


class CreditEntry(Row):
    """A movement of credits: positive when granted or given back, negative when drawn; never changed afterwards."""

    package_id: UUID
    package = belongs_to("Package", "entries")
    booking_id: UUID | None
    booking = belongs_to("Booking", "credit_entries", null=True)
    reverses_id: UUID | None
    reverses = belongs_to("CreditEntry", "reversal", null=True, single=True)
    delta = fields.IntField()
    reason = fields.CharField(max_length=40)

    class Meta:
        table = "credit_entry"
        constraints = (
            check("credit_entry_moves_something", "delta <> 0"),
            unique("credit_entry_draw_once", "booking_id", where="reverses_id IS NULL"),
        )
        indexes = (("package_id", "id"),)
