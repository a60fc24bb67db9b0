"""Booking and moving by a quote: what is refused is kept, and answered with the quote of this moment."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import strawberry

from models.actions.bookings import book_course, known_booking
from models.actions.moves import move_booking
from models.actions.quotes import Asked, NotAsQuoted, keep_refusal
from models.rules.refusals import Code, Refusal
from models.tables.booking import Booking
from resolvers.context import Context
from resolvers.quotes import opened
from schema.payloads import Answer, user_error
from schema.types.quotes import BookingQuote, told_quote

new_quote: BookingQuote | None = strawberry.field(
    description="What it takes now, with its token, where what was quoted no longer holds.",
    graphql_type=BookingQuote | None,
)


async def book(ctx: Context, given: dict[str, Any]) -> Answer:
    """The decoded input of `bookCourse` -> the booking, or the new quote."""
    asked = Asked(given["course_id"], given["user_id"], given["method"], given.get("package_id"))
    return await _as_quoted(ctx, given, "book_course", asked, book_course)


async def move(ctx: Context, given: dict[str, Any]) -> Answer:
    """The decoded input of `moveBooking` -> the booking there, or the new quote."""
    before = await known_booking(given["booking_id"])
    asked = Asked(given["course_id"], before.user_id, given.get("method") or before.method, given.get("package_id"))
    return await _as_quoted(ctx, given, "move_booking", asked, move_booking)


async def _as_quoted(
    ctx: Context, given: dict[str, Any], verb: str, asked: Asked, action: Callable[..., Awaitable[Booking]]
) -> Answer:
    token = given.pop("quote_token", None)
    quoted = opened(ctx, token) if token else None
    actor, at = ctx.viewer.actor, ctx.clock.now()
    try:
        booking = await action(**given, quoted=quoted, acting=actor, at=at)
    except Refusal as refusal:
        if refusal.code is Code.NOT_FOUND:
            raise  # there is nothing the no could be about
        quote_id: UUID = await keep_refusal(verb, asked, refusal, acting=actor, at=at)
        if not isinstance(refusal, NotAsQuoted):
            raise
        return Answer(quote=told_quote(ctx, asked, quote_id, refusal.instead), user_errors=[user_error(refusal)])
    return Answer(subject_id=booking.id)
