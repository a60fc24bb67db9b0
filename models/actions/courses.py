"""Courses of our own, with their classes."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from models.actions.unit import unit
from models.rules.booking import Basis, Pricing
from models.rules.refusals import Code, Refusal
from models.tables.centre import Centre
from models.tables.course import ClassSession, Course
from models.tables.membership import ClassType
from models.tables.pricing import PricingOption


async def create_course(
    *,
    name: str,
    centre_id: UUID,
    pricing_option_id: UUID,
    pricing: Pricing,
    capacity: int,
    sessions: Sequence[tuple[datetime, datetime]],
    acting: str,
    at: datetime,
    per_class_basis: Basis = Basis.SCHEDULED,
    class_type_id: UUID | None = None,
) -> Course:
    """Offer a course of classes [starts_at, ends_at).

    Raises Refusal NOT_FOUND, UNKNOWN_PRICING_OPTION, CURRENCY_MISMATCH, INVALID_INPUT.
    """
    if capacity < 1:
        raise Refusal(Code.INVALID_INPUT, "A course has at least one place.", field=("capacity",))
    if not sessions:
        raise Refusal(Code.INVALID_INPUT, "A course has at least one class.", field=("sessions",))
    for number, (starts_at, ends_at) in enumerate(sessions):
        if starts_at >= ends_at:
            raise Refusal(Code.INVALID_INPUT, "A class ends after it starts.", field=("sessions", str(number)))
    async with unit(acting=acting, at=at) as work:
        centre = await Centre.get_or_none(id=centre_id)
        if centre is None:
            raise Refusal(Code.NOT_FOUND, field=("centreId",))
        option = await PricingOption.get_or_none(id=pricing_option_id)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        if option.currency != centre.currency:
            raise Refusal(Code.CURRENCY_MISMATCH, field=("pricingOptionId",))
        if class_type_id and not await ClassType.exists(id=class_type_id):
            raise Refusal(Code.NOT_FOUND, field=("classTypeId",))
        course = await Course.create(
            name=name,
            centre_id=centre_id,
            pricing_option_id=pricing_option_id,
            pricing=pricing,
            per_class_basis=per_class_basis,
            capacity=capacity,
            class_type_id=class_type_id,
        )
        await ClassSession.bulk_create(
            [
                ClassSession(
                    course_id=course.id, class_type_id=class_type_id, centre_id=centre_id, starts_at=start, ends_at=end
                )
                for start, end in sessions
            ]
        )
        work.audit("create_course", course, after={"name": name, "classes": len(sessions), "pricing": pricing})
    return course
