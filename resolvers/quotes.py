"""Prices told before anything is bought: computed by the rules, from rows the viewer may see."""

from datetime import date, datetime
from uuid import UUID

from models.actions import quotes as told
from models.actions.catalogue import price_at
from models.actions.quotes import HOLDS_FOR, Asked, Quoted
from models.actions.vault import SealBroken
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
) -> dict[Method, tuple[UUID, Quote | Refusal]] | None:
    """(course, student, package to draw from, instant) -> what each way of paying takes, or why it cannot be.

    None where the viewer may not see the course or the student. It is what `book_course` would decide at that instant.
    """
    if not await sees_both(context, course_id, user_id):
        return None
    course = await Course.get(id=course_id)
    moment = at or context.clock.now()
    return await told.quotes(course, user_id, package_id, acting=context.viewer.actor, at=moment)


async def sees_both(context: Context, course_id: UUID, user_id: UUID) -> bool:
    """Whether the viewer may see the course and the student."""
    reader, viewer = context.reader, context.viewer
    return await reader.sees("Course", course_id, viewer) and await reader.sees("User", user_id, viewer)


def sealed(context: Context, asked: Asked, quote: Quote) -> tuple[str, datetime]:
    """A quote of this instant -> the token that binds us to it, and until when."""
    until = context.clock.now() + HOLDS_FOR
    token = context.vault.seal(
        {
            "course": str(asked.course_id),
            "user": str(asked.user_id),
            "method": asked.method,
            "package": str(asked.package_id or ""),
            "terms": quote.terms,
            "until": until.isoformat(),
        }
    )
    return token, until


def opened(context: Context, token: str) -> Quoted:
    """A token -> what was quoted. Raises Refusal INVALID_INPUT for one that is not ours."""
    try:
        said = context.vault.open(token)
        return Quoted(
            course_id=UUID(said["course"]),
            user_id=UUID(said["user"]),
            method=Method(said["method"]),
            package_id=UUID(said["package"]) if said["package"] else None,
            terms=said["terms"],
            until=datetime.fromisoformat(said["until"]),
        )
    except (SealBroken, KeyError) as made_up:
        raise Refusal(Code.INVALID_INPUT, "It is no token of a quote.", field=("quoteToken",)) from made_up
