"""Courses and the class sessions they are made of; sessions of the practice system have no course."""

from uuid import UUID

from tortoise import fields

from models.rules.booking import Basis, Pricing
from models.rules.invoicing import Mark
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import AttendanceSource, Owner
from models.tables.row import Row, belongs_to, check, choice, one_of, unique


class Course(Row):
    """A run of classes sold as one. Courses of the course system are mirrors, never edited here (R15, R16).

    A class that starts within `notice_hours` of a cancellation is not given back; a place that comes free is offered
    to the waiting list for `offer_hours`.
    """

    name = fields.CharField(max_length=120)
    centre_id: UUID
    centre = belongs_to("Centre", "courses")
    class_type_id: UUID | None
    class_type = belongs_to("ClassType", "courses", null=True)
    pricing_option_id: UUID
    pricing_option = belongs_to("PricingOption", "courses")
    pricing: Pricing = choice(Pricing)
    per_class_basis: Basis = choice(Basis, default=Basis.SCHEDULED)
    package_joins_late = fields.BooleanField(default=False)
    on_cancellation: CancellationPolicy = choice(CancellationPolicy, default=CancellationPolicy.FUTURE_CLASSES)
    on_deletion: DeletionPolicy = choice(DeletionPolicy, default=DeletionPolicy.AS_PRICED)
    notice_hours = fields.IntField(default=0)
    offer_hours = fields.IntField(default=24)
    capacity = fields.IntField()
    owner: Owner = choice(Owner, default=Owner.DUEFLOW)
    external_ref = fields.CharField(max_length=64, null=True, unique=True)

    class Meta:
        table = "course"
        constraints = (
            one_of("course", "pricing", Pricing),
            one_of("course", "per_class_basis", Basis),
            one_of("course", "owner", Owner),
            one_of("course", "on_cancellation", CancellationPolicy),
            one_of("course", "on_deletion", DeletionPolicy),
            check("course_capacity_positive", "capacity > 0"),
            check("course_notice_not_negative", "notice_hours >= 0"),
            check("course_offer_lasts", "offer_hours >= 1"),
        )
        indexes = (("centre_id", "id"), ("owner", "id"), ("name", "id"))


class ClassSession(Row):
    """One class on one day, [starts_at, ends_at). Deleted sessions stay, since they count in a course's share (D6)."""

    course_id: UUID | None
    course = belongs_to("Course", "sessions", null=True)
    class_type_id: UUID | None
    class_type = belongs_to("ClassType", "sessions", null=True)
    centre_id: UUID
    centre = belongs_to("Centre", "sessions")
    starts_at = fields.DatetimeField()
    ends_at = fields.DatetimeField()
    deleted_at = fields.DatetimeField(null=True)
    source: AttendanceSource = choice(AttendanceSource, default=AttendanceSource.DUEFLOW)
    external_ref = fields.CharField(max_length=64, null=True)

    class Meta:
        table = "class_session"
        constraints = (
            one_of("class_session", "source", AttendanceSource),
            check("class_session_in_order", "starts_at < ends_at"),
            unique("class_session_once", "source", "external_ref"),
        )
        indexes = (("course_id", "starts_at"), ("starts_at", "id"), ("centre_id", "id"))


class Attendance(Row):
    """A person expected at, or seen in, a class session, marked as the system that owns the class marked it.

    `paid_by` is the invoice a person chose for it, where several could pay for it (R91).
    """

    class_session_id: UUID
    class_session = belongs_to("ClassSession", "attendances")
    user_id: UUID
    user = belongs_to("User", "attendances")
    booking_id: UUID | None
    booking = belongs_to("Booking", "attendances", null=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "attendances", null=True)
    mark: Mark = choice(Mark, default=Mark.BOOKED)
    source: AttendanceSource = choice(AttendanceSource)
    invoiced_elsewhere = fields.BooleanField(default=False)
    paid_by_id: UUID | None
    paid_by = belongs_to("Invoice", "chosen_for", null=True)

    class Meta:
        table = "attendance"
        constraints = (
            one_of("attendance", "mark", Mark),
            one_of("attendance", "source", AttendanceSource),
            unique("attendance_once", "class_session_id", "user_id"),
        )
        indexes = (("user_id", "id"), ("mark", "id"))


class AccessToken(Row):
    """Leave to pass a gate for one class session, in [valid_from, valid_until) unless revoked (R14, R43)."""

    user_id: UUID
    user = belongs_to("User", "access_tokens")
    membership_id: UUID
    membership = belongs_to("Membership", "access_tokens")
    class_session_id: UUID
    class_session = belongs_to("ClassSession", "access_tokens")
    centre_id: UUID
    centre = belongs_to("Centre", "access_tokens")
    valid_from = fields.DatetimeField()
    valid_until = fields.DatetimeField()
    revoked_at = fields.DatetimeField(null=True)

    class Meta:
        table = "access_token"
        constraints = (
            check("access_token_in_order", "valid_from < valid_until"),
            unique("access_token_live_once", "membership_id", "class_session_id", where="revoked_at IS NULL"),
        )
        indexes = (("user_id", "valid_until"), ("membership_id", "id"), ("centre_id", "id"), ("valid_until", "id"))
