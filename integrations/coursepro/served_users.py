"""What CoursePro tells of its people, and what it reads of the fields that are collected of them."""

from collections.abc import Mapping
from typing import Any

from integrations.coursepro_calls import Call, Served
from models.actions import arrivals, user_fields
from models.rules.people import billing_detail
from models.rules.refusals import Code, Refusal

OF_THE_CALL = ("event_id", "occurred_at", "coursepro_id")  # ours and theirs to tell things by, never a person's account


async def users(call: Call) -> dict[str, Any]:
    """Somebody signed up in CoursePro, or was changed there -> whose record that is here.

    Raises Refusal INVALID_INPUT, BILLING_DETAILS_REFUSED.
    """
    told = {name: value for name, value in call.body.items() if name not in OF_THE_CALL}
    if (named := billing_detail(told)) is not None:
        raise Refusal(Code.BILLING_DETAILS_REFUSED, field=named)
    coursepro_id, fields = call.body.get("coursepro_id"), call.body.get("fields")
    if not isinstance(coursepro_id, str):
        raise Refusal(Code.INVALID_INPUT, "It is not text.", field=("coursepro_id",))
    if not isinstance(fields, dict):
        raise Refusal(Code.INVALID_INPUT, "It is no object.", field=("fields",))
    arrival = await arrivals.user_arrived(
        coursepro_id=coursepro_id, fields=fields, acting=call.acting, at=call.at, event_id=call.event_id or ""
    )
    user_id = str(arrival.user_id) if arrival.user_id else None
    return {"user_id": user_id, "review": user_id is None, "dropped": list(arrival.dropped)}


async def fields(call: Call) -> dict[str, Any]:
    """Which fields are collected of people, the fixed ones first, and the version of the set (R56)."""
    now = await user_fields.configured()
    told = [{"name": each.name, "label": each.label, "required": each.required} for each in now.all]
    return {"version": now.version, "fields": told}


SERVED: Mapping[tuple[str, str], Served] = {("POST", "/users"): users, ("GET", "/user-fields"): fields}
