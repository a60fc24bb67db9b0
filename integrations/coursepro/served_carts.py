"""What CoursePro tells of purchases and of customers who move to another course. The format: docs/coursepro.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from integrations.coursepro import reading
from integrations.coursepro_calls import Call, Served
from models.actions.carts import Item, take_cart
from models.actions.course_moves import move_course
from models.rules.refusals import Refusal
from models.tables.membership import Mandate, Membership

OURS_TO_SAY = (*reading.PRICES, "currency", "centre_id")


async def post_cart(call: Call) -> dict[str, Any]:
    """A customer's cart -> a membership for each item, at our price. Raises as `take_cart`."""
    user = reading.part(call.body, "user")
    cart_id = reading.text(call.body, "cart_id")
    sold = await take_cart(
        cart_id=cart_id,
        user_id=reading.maybe_id(user, "user_id"),
        coursepro_id=reading.maybe_text(user, "coursepro_id"),
        items=[_item(number, each) for number, each in enumerate(reading.parts(call.body, "items"))],
        mandate_id=reading.maybe_id(call.body, "mandate"),
        said=reading.said(call.body, reading.PRICES),
        acting=call.acting,
        at=call.at,
    )
    return {"cart_id": cart_id, "items": [_told(each) for each in sold], "mandate": await _signing(sold)}


def _item(number: int, told: Mapping[str, Any]) -> Item:
    try:
        return Item(
            pricing_option_id=reading.an_id(told, "pricing_option_id"),
            course_ref=reading.text(told, "course_ref"),
            starts_on=reading.a_day(told, "start_date"),
            said=reading.said(told, OURS_TO_SAY),
        )
    except Refusal as refusal:
        refusal.field = ("items", str(number), *refusal.field)
        raise


def _told(membership: Membership) -> dict[str, Any]:
    return {
        "membership_id": str(membership.id),
        "pricing_option_id": str(membership.pricing_option_id),
        "course_ref": membership.course_ref,
        "centre_id": str(membership.centre_id),
        "price_minor": membership.amount,
        "currency": membership.currency,
        "status": membership.status.value,
    }


async def _signing(sold: Sequence[Membership]) -> dict[str, Any] | None:
    """The direct debit that pays a cart, with the page it is signed on once there is one."""
    named = next((each.mandate_id for each in sold if each.mandate_id), None)
    mandate = await Mandate.get_or_none(id=named) if named else None
    if mandate is None:
        return None
    return {
        "mandate_id": str(mandate.id),
        "status": mandate.status.value,
        "authorisation_url": mandate.authorisation_url,
    }


async def post_course_moved(call: Call) -> dict[str, Any]:
    """A customer moved to another course -> the membership that stands for it. Raises as `move_course`."""
    membership = await move_course(
        membership_id=reading.an_id(call.body, "membership_id"),
        from_course_ref=reading.text(call.body, "from_course_ref"),
        to_course_ref=reading.text(call.body, "to_course_ref"),
        pricing_option_id=reading.maybe_id(call.body, "pricing_option_id"),
        effective_at=reading.an_instant(call.body, "effective_at"),
        said=reading.said(call.body, OURS_TO_SAY),
        acting=call.acting,
        at=call.at,
    )
    days = {"start_date": membership.starts_on.isoformat(), "fees_from": None}
    if membership.fees_from:
        days["fees_from"] = membership.fees_from.isoformat()
    moved_from = str(membership.moved_from_id) if membership.moved_from_id else None
    return {**_told(membership), **days, "moved_from": moved_from}


SERVED: Mapping[tuple[str, str], Served] = {
    ("POST", "/carts"): post_cart,
    ("POST", "/courses/moved"): post_course_moved,
}
