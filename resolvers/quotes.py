"""Prices told before anything is bought: computed by the rules, from rows the viewer may see."""

from datetime import date, datetime
from uuid import UUID

from models.actions.bookings import hold
from models.actions.catalogue import price_at
from models.rules.booking import Method, Quote
from models.rules.money import Money
from models.rules.pricing import Level
from models.rules.refusals import Code, Refusal
from models.tables.course import Course
from resolvers.context import Context


async def price_of(option_id: UUID, centre_id: UUID, on: date) -> tuple[Money, Level] | None:
    """(pricing option, centre, day) -> the price there and the level it was found at; None where either is unknown."""
    try:
        option, amount, level = await price_at(option_id, centre_id=centre_id, on=on)
    except Refusal as refusal:
        if refusal.code in (Code.NOT_FOUND, Code.UNKNOWN_PRICING_OPTION):
            return None
        raise
    return Money(amount, option.currency), level


async def quotes(
    context: Context, course_id: UUID, user_id: UUID, package_id: UUID | None, at: datetime | None
) -> dict[Method, Quote | Refusal] | None:
    """(course, student, package to draw from, instant) -> what each way of paying takes, or why it cannot be.

    None where the viewer may not see the course or the student. It is what `book_course` would decide at that instant.
    """
    reader, viewer = context.reader, context.viewer
    if not (await reader.sees("Course", course_id, viewer) and await reader.sees("User", user_id, viewer)):
        return None
    course = await Course.get(id=course_id)
    moment = at or context.clock.now()
    return {method: await _quote(course, user_id, method, package_id, moment) for method in Method}


async def _quote(
    course: Course, user_id: UUID, method: Method, package_id: UUID | None, at: datetime
) -> Quote | Refusal:
    try:
        return (await hold(course, user_id, method, package_id, at)).quote(method, at)
    except Refusal as refusal:
        return refusal
