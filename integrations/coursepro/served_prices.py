"""What CoursePro reads of prices and memberships, and which course it sells at which price: docs/coursepro.md."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from integrations.coursepro import reading
from integrations.coursepro.client import standing
from integrations.coursepro_calls import Call, Served
from models.actions import mappings
from models.actions.course_feed import changed_memberships
from models.actions.mappings import Entry
from models.rules.pricing import visible_to_coursepro


async def get_pricing_options(call: Call) -> dict[str, Any]:
    """What courses may be mapped to, with today's price at each centre; nothing before the link is set up (R37)."""
    configured = await mappings.configured()
    entries = await mappings.mapping_sheet(at=call.at)
    visible = [
        each
        for each in entries
        if visible_to_coursepro(each.kind.integration, [each.option.option_type], configured=configured)
    ]
    return {"pricing_options": [_told(each) for each in visible]}


def _told(entry: Entry) -> dict[str, Any]:
    kind, option = entry.kind, entry.option
    prices = [
        {
            "centre_id": str(centre.id),
            "centre": centre.name,
            "price_minor": price.amount,
            "level": price.level.value.lower(),
        }
        for centre, price in entry.prices
    ]
    return {
        "pricing_option_id": str(option.id),
        "name": option.name,
        "frequency": option.frequency.value.lower(),
        "currency": option.currency,
        "membership_type": {
            "id": str(kind.id),
            "name": kind.name,
            "kind": kind.kind.value.lower(),
            "term_months": kind.term_months,
            "sessions": kind.sessions,
        },
        "prices": prices,
    }


async def put_course_mapping(call: Call) -> dict[str, Any]:
    """A course is sold at a pricing option in a centre; believed once a valid cart used it. Raises as `map_course`."""
    mapping = await mappings.map_course(
        course_ref=reading.text(call.body, "course_ref"),
        pricing_option_id=reading.an_id(call.body, "pricing_option_id"),
        centre_id=reading.an_id(call.body, "centre_id"),
        said=reading.said(call.body, (*reading.PRICES, "currency")),
        acting=call.acting,
        at=call.at,
    )
    return {
        "course_ref": mapping.course_ref,
        "pricing_option_id": str(mapping.pricing_option_id),
        "membership_type_id": str(mapping.membership_type_id),
        "centre_id": str(mapping.centre_id),
        "verified_at": mapping.verified_at.isoformat() if mapping.verified_at else None,
    }


async def get_memberships(call: Call) -> dict[str, Any]:
    """Memberships that changed since an instant, in pages: `next` is asked for as `after` until it is null."""
    since, after = _place(call.query)
    pushes, following = await changed_memberships(since, after)
    told = [{**standing(push), "user_id": str(push.user_id)} for push in pushes]
    return {"memberships": told, "next": f"{following[0].isoformat()}_{following[1]}" if following else None}


def _place(query: Mapping[str, str]) -> tuple[datetime, UUID | None]:
    # a plus sign that was not escaped arrives as a space
    given = {name: value.replace(" ", "+") for name, value in query.items()}
    if "after" not in given:
        return reading.an_instant(given, "changed_since"), None
    since, _, row = given["after"].partition("_")
    return reading.an_instant({"after": since}, "after"), reading.an_id({"after": row}, "after")


SERVED: Mapping[tuple[str, str], Served] = {
    ("GET", "/pricing-options"): get_pricing_options,
    ("GET", "/memberships"): get_memberships,
    ("PUT", "/course-mappings"): put_course_mapping,
    ("POST", "/course-mappings"): put_course_mapping,
}
