"""Packages of credits: what is on sale, what a person holds, and every movement of it."""

from uuid import UUID

from tortoise import fields

from models.tables.row import Row, belongs_to, check, unique


class PackageOffer(Row):
    """A pack of credits on sale, for one course or one kind of class or any; valid so many days once paid."""

    name = fields.CharField(max_length=120)
    pricing_option_id: UUID
    pricing_option = belongs_to("PricingOption", "package_offers")
    credits = fields.IntField()
    valid_days = fields.IntField(null=True)
    class_type_id: UUID | None
    class_type = belongs_to("ClassType", "package_offers", null=True)
    course_id: UUID | None
    course = belongs_to("Course", "package_offers", null=True)

    class Meta:
        table = "package_offer"
        constraints = (
            check("package_offer_has_credits", "credits >= 1"),
            check("package_offer_valid_for_a_day", "valid_days >= 1"),
            check("package_offer_one_binding", "class_type_id IS NULL OR course_id IS NULL"),
        )


class Package(Row):
    """A pack of credits of one person, valid [valid_from, valid_until); its balance is the sum of its entries.

    It may be good for one course or one kind of class only. One that was bought has no entry before it is paid; one
    that a membership grants names the first day of its period.
    """

    user_id: UUID
    user = belongs_to("User", "packages")
    name = fields.CharField(max_length=120)
    offer_id: UUID | None
    offer = belongs_to("PackageOffer", "packages", null=True)
    class_type_id: UUID | None
    class_type = belongs_to("ClassType", "packages", null=True)
    course_id: UUID | None
    course = belongs_to("Course", "packages", null=True)
    membership_id: UUID | None
    membership = belongs_to("Membership", "credits", null=True)
    period_start = fields.DateField(null=True)
    valid_from = fields.DatetimeField()
    valid_until = fields.DatetimeField(null=True)

    class Meta:
        table = "package"
        constraints = (
            check("package_in_order", "valid_until IS NULL OR valid_from < valid_until"),
            check("package_one_binding", "class_type_id IS NULL OR course_id IS NULL"),
            check("package_period_of_membership", "period_start IS NULL OR membership_id IS NOT NULL"),
            unique("package_once_per_period", "membership_id", "period_start"),
        )
        indexes = (("user_id", "id"), ("valid_until",), ("membership_id", "id"), ("valid_from", "id"))


class CreditEntry(Row):
    """A movement of credits: positive when granted or given back, negative when drawn; never changed afterwards.

    A booking draws one credit a class; what is given back names the entry it reverses.
    """

    package_id: UUID
    package = belongs_to("Package", "entries")
    booking_id: UUID | None
    booking = belongs_to("Booking", "credit_entries", null=True)
    class_session_id: UUID | None
    class_session = belongs_to("ClassSession", "credit_entries", null=True)
    reverses_id: UUID | None
    reverses = belongs_to("CreditEntry", "reversal", null=True, single=True)
    delta = fields.IntField()
    reason = fields.CharField(max_length=40)

    class Meta:
        table = "credit_entry"
        constraints = (
            check("credit_entry_moves_something", "delta <> 0"),
            unique("credit_entry_draw_once", "booking_id", "class_session_id", where="reverses_id IS NULL"),
        )
        indexes = (("package_id", "id"), ("booking_id", "id"))
