"""Courses, who is in them, and the credits that pay for them."""

from datetime import date, datetime

from models.rules.booking import Basis, Method, Pricing, SettledBy
from models.rules.invoicing import Mark
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.states import AttendanceSource, BookingStatus, Owner, WaitingState
from models.rules.timetable import ClassState
from resolvers.reads.declare import Node, all_of, column, entity, many, of_owner, one
from schema.types.shared import Money, Step, money, steps

_BY_START = "(SELECT s.starts_at FROM class_session s WHERE s.id = {row}.class_session_id), {row}.id"
_IN_LINE = (
    "CASE WHEN {row}.state = 'WAITING' THEN (SELECT count(*) FROM waiting_place w"
    " WHERE w.course_id = {row}.course_id AND w.state = 'WAITING' AND w.id <= {row}.id) END"
)
_LINE_CURRENCY = of_owner("booking", "booking_id", "currency")


@entity("course", "A run of classes sold as one.")
class Course(Node):
    """A course."""

    name: str = column("Its name.")
    centre = one("Centre", "Where it is held.")
    class_type = one("ClassType", "The kind of its classes.")
    pricing_option = one("PricingOption", "What it costs.")
    pricing: Pricing = column("What joining late costs.")
    per_class_basis: Basis = column("The classes its price is shared over.")
    package_joins_late: bool = column("Whether a package alone may join a full-rate course that has begun.")
    on_cancellation: CancellationPolicy = column("What a cancelled booking gives back.")
    notice_hours: int = column("Classes that start this soon after a cancellation are not given back.")
    on_deletion: DeletionPolicy = column("What a class gives back that is deleted after it was booked.")
    offer_hours: int = column("How long a place that came free is kept for the first on the waiting list.")
    capacity: int = column("How many places it has.")
    places_taken: int = column(
        "How many places are taken.",
        "(SELECT count(*) FROM booking b WHERE b.course_id = {row}.id"
        " AND b.status IN ('AWAITING_PAYMENT', 'CONFIRMED'))",
    )
    places_offered: int = column(
        "How many free places are kept for people on its waiting list.",
        "(SELECT count(*) FROM waiting_place w WHERE w.course_id = {row}.id AND w.state = 'OFFERED')",
    )
    owner: Owner = column("Where it is managed.")
    external_ref: str | None = column("Its id there.")
    starts_at: datetime | None = column(
        "When its first class starts, deleted ones left out.",
        "(SELECT min(s.starts_at) FROM class_session s WHERE s.course_id = {row}.id AND s.deleted_at IS NULL)",
    )
    sessions = many("ClassSession", "Its classes, deleted ones too.", on="course_id")
    bookings = many("Booking", "Who booked it.", on="course_id")
    waiting_list = many("WaitingPlace", "Who waits or waited for a place on it.", on="course_id")
    created_at: datetime = column("When it was created.")


@entity("class_session", "One class on one day.")
class ClassSession(Node):
    """A class session."""

    course = one("Course", "The course it belongs to; null for a class of the practice system.")
    class_type = one("ClassType", "Its kind.")
    centre = one("Centre", "Where it is held.")
    starts_at: datetime = column("When it starts.")
    ends_at: datetime = column("When it ends.")
    deleted_at: datetime | None = column("When it was deleted; it still counts in its course's price.")
    source: AttendanceSource = column("Where it is managed.")
    external_ref: str | None = column("Its id there.")
    attendances = many("Attendance", "Who is expected or was seen.", on="class_session_id")


@entity("attendance", "A person's place in a class.")
class Attendance(Node):
    """An attendance."""

    class_session = one("ClassSession", "Which class.")
    user = one("User", "Who.")
    booking = one("Booking", "The booking that made it.")
    membership = one("Membership", "The membership the person comes by.")
    mark: Mark = column("How it stands.")
    source: AttendanceSource = column("Who told of it.")
    invoiced_elsewhere: bool = column("Whether an invoice that is not ours bills it.")
    chosen_invoice = one(
        "Invoice", "The invoice a person chose to pay for it; null for what the rule says.", on="paid_by_id"
    )
    created_at: datetime = column("When it was first known.")
    updated_at: datetime = column("When it last changed.")


@entity("booking", "One person's booking of a course, at the price of that moment.")
class Booking(Node):
    """A booking."""

    course = one("Course", "What was booked.")
    user = one("User", "For whom.")
    moved_from = one("Booking", "The booking it was moved from.", on="moved_from_id")
    payment = one("Payment", "What was asked for it.", join="{row}.booking_id = {parent}.id")
    method: Method = column("How it is paid.")
    status: BookingStatus = column("Where it stands.")
    credits: int = column("How many credits it drew.")
    charge: Money = money("What is charged beside them.", "charge")
    carried: Money = money("What of the charge was paid with the booking it was moved from.", "carried")
    lines = all_of("BookingLine", "What was decided for each class, in their order.", on="booking_id", order=_BY_START)
    credit_entries = many("CreditEntry", "Its movements of credits.", on="booking_id")
    because: list[Step] = steps("How the price came about.")
    attendances = many("Attendance", "The places it keeps.", on="booking_id")
    created_at: datetime = column("When it was made.")
    updated_at: datetime = column("When it last changed.")


@entity("booking_line", "What was decided for one class of a booking.")
class BookingLine(Node):
    """A booking line."""

    booking = one("Booking", "The booking.")
    class_session = one("ClassSession", "The class.")
    state: ClassState = column("How the class stood when it was booked.")
    share: Money = money("Its share of the price.", "share", currency=_LINE_CURRENCY)
    settled_by: SettledBy = column("What pays for it.")
    because: str = column("The rule that says so.")
    given_back_at: datetime | None = column("When its credit or share was given back; null while it is kept.")


@entity("package_offer", "A pack of credits on sale.")
class PackageOffer(Node):
    """An offer."""

    name: str = column("Its name.")
    credits: int = column("How many credits it holds.")
    pricing_option = one("PricingOption", "What it costs.")
    valid_days: int | None = column("How many days its credits are valid once paid; null for no end.")
    class_type = one("ClassType", "The only kind of class they are good for; null for any.")
    course = one("Course", "The only course they are good for; null for any.")
    created_at: datetime = column("When it was put on sale.")


@entity("waiting_place", "One person's place on a course's waiting list.")
class WaitingPlace(Node):
    """A waiting place."""

    course = one("Course", "What is waited for.")
    user = one("User", "Who waits.")
    state: WaitingState = column("Where it stands.")
    position: int | None = column("Its place in line, 1 is next; null for who does not wait.", _IN_LINE)
    offered_until: datetime | None = column("The first instant its offer no longer stands; null while none was made.")
    created_at: datetime = column("When the person joined.")
    updated_at: datetime = column("When it last changed.")


@entity("package", "A pack of credits of one person.")
class Package(Node):
    """A package."""

    user = one("User", "Whose credits.")
    name: str = column("Its name.")
    class_type = one("ClassType", "The only kind of class they are good for; null for any.")
    course = one("Course", "The only course they are good for; null for any.")
    offer = one("PackageOffer", "What was bought; null where it was not.", on="offer_id")
    payment = one("Payment", "What was asked for it.", join="{row}.package_id = {parent}.id")
    membership = one("Membership", "The membership it came with.")
    period_start: date | None = column("The first day of the membership's period it is for.")
    balance: int = column(
        "How many credits are left.",
        "(SELECT coalesce(sum(e.delta), 0)::int FROM credit_entry e WHERE e.package_id = {row}.id)",
    )
    valid_from: datetime = column("The first instant it is valid.")
    valid_until: datetime | None = column("The first instant it no longer is; null for no end.")
    entries = many("CreditEntry", "Every movement of its credits.", on="package_id")
    created_at: datetime = column("When it was granted.")


@entity("credit_entry", "A movement of credits, never changed afterwards.")
class CreditEntry(Node):
    """A credit entry."""

    package = one("Package", "Whose balance it moves.")
    booking = one("Booking", "The booking that drew it.")
    class_session = one("ClassSession", "The class it pays for.")
    reverses = one("CreditEntry", "The entry it gives back.", on="reverses_id")
    delta: int = column("Credits added, or taken where below zero.")
    reason: str = column("Why.")
    created_at: datetime = column("When.")
