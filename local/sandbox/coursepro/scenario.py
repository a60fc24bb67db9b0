"""What happens in CoursePro, with the calls it then makes to our API; and what can be switched there."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from local.sandbox.coursepro.inbox import COURSE, SWITCH, USER, signature
from local.sandbox.world import Json, ScenarioError, World

SECONDS_FOR_A_CALL = 15


async def _call(world: World, config: Json, api_key: str, path: str, body: Json | None, **query: str) -> Json:
    """POST the body (GET without one) to our API -> {"status", "answer", "sent"}; ScenarioError when nobody answers."""
    content = b""
    headers = {"authorization": f"Bearer {api_key}", "accept": "application/json"}
    credentials = config["credentials"]["coursepro"]
    if body is not None:
        body = {
            "event_id": body.pop("event_id") or world.new_id("cpe_"),
            "occurred_at": world.now().isoformat(),
            **body,
        }
        content = json.dumps(body).encode()
        headers |= {
            "content-type": "application/json",
            "x-client-identifier": credentials["client_id"],
            "x-event-id": body["event_id"],
            "x-signature": signature(credentials["secret_token"], content),
        }
    url = f"{config['webhooks']['coursepro']}{path}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_FOR_A_CALL) as client:
            method = "GET" if body is None else "POST"
            response = await client.request(method, url, params=query, headers=headers, content=content)
    except httpx.TransportError as error:
        raise ScenarioError(f"Our API did not answer at {url}: {error!r}") from error
    is_json = "json" in response.headers.get("content-type", "")
    return {
        "status": response.status_code,
        "answer": response.json() if is_json else response.text,
        "sent": body,
    }


async def create_user(
    world: World, config: Json, api_key: str, fields: Json, coursepro_id: str | None = None, event_id: str | None = None
) -> Json:
    """Somebody signs up in CoursePro -> POST /users; a `user_id` in the answer links the two records."""
    coursepro_id = coursepro_id or world.new_id("cp_")
    body = {"event_id": event_id, "coursepro_id": coursepro_id, "fields": fields}
    result = await _call(world, config, api_key, "/users", body)
    answer = result["answer"]
    if result["status"] < 300 and isinstance(answer, dict) and answer.get("user_id"):
        known = world.get(USER, answer["user_id"]) or {}
        told = {"coursepro_id": coursepro_id, "user_id": answer["user_id"], **fields}
        world.put(USER, answer["user_id"], {**known, **told})
    return {**result, "coursepro_id": coursepro_id}


async def cart(
    world: World,
    config: Json,
    api_key: str,
    user: Json,
    items: list[Json],
    cart_id: str | None = None,
    event_id: str | None = None,
) -> Json:
    """A customer puts courses in the basket -> POST /carts; prices are ours, so an item names a pricing option only."""
    body = {"event_id": event_id, "cart_id": cart_id or world.new_id("cart_"), "user": user, "items": items}
    return await _call(world, config, api_key, "/carts", body)


def _ending(outcome: str) -> Callable[..., Awaitable[Json]]:
    async def end(
        world: World,
        config: Json,
        api_key: str,
        membership_id: str,
        actor: str = "customer",
        effective_at: str | None = None,
        course_ref: str | None = None,
        event_id: str | None = None,
    ) -> Json:
        course = world.get(COURSE, membership_id) or {}
        if course:
            world.put(COURSE, membership_id, {**course, "ended_here": outcome})
        body = {
            "event_id": event_id,
            "membership_id": membership_id,
            "course_ref": course_ref or course.get("course_ref"),
            "outcome": outcome,
            "actor": actor,
            "effective_at": effective_at or world.now().isoformat(),
        }
        return await _call(world, config, api_key, "/courses/ended", body)

    end.__doc__ = f"A course is {outcome} in CoursePro -> POST /courses/ended; no fee may follow."
    return end


async def move_course(
    world: World,
    config: Json,
    api_key: str,
    membership_id: str,
    to_course_ref: str,
    pricing_option_id: str | None = None,
    effective_at: str | None = None,
    event_id: str | None = None,
) -> Json:
    """A customer moves to another course -> POST /courses/moved; the course known here changes when we accept it."""
    course = world.get(COURSE, membership_id) or {}
    body = {
        "event_id": event_id,
        "membership_id": membership_id,
        "from_course_ref": course.get("course_ref"),
        "to_course_ref": to_course_ref,
        "pricing_option_id": pricing_option_id,
        "effective_at": effective_at or world.now().isoformat(),
    }
    result = await _call(world, config, api_key, "/courses/moved", body)
    answer = result["answer"]
    # at another price another membership stands for the course: it arrives as a cart, and the end of this one as news
    same = not isinstance(answer, dict) or answer.get("membership_id", membership_id) == membership_id
    if result["status"] < 300 and course and same:
        world.put(COURSE, membership_id, {**course, "course_ref": to_course_ref})
    return result


async def map_course(
    world: World,
    config: Json,
    api_key: str,
    course_ref: str,
    pricing_option_id: str,
    centre_id: str,
    event_id: str | None = None,
) -> Json:
    """A course configured in CoursePro is given its price and centre -> POST /course-mappings."""
    body = {
        "event_id": event_id,
        "course_ref": course_ref,
        "pricing_option_id": pricing_option_id,
        "centre_id": centre_id,
    }
    return await _call(world, config, api_key, "/course-mappings", body)


async def post_attendees(
    world: World, config: Json, api_key: str, attendees: list[Json], event_id: str | None = None
) -> Json:
    """Who is to attend, or who did (`mark`) -> POST /attendees."""
    return await _call(world, config, api_key, "/attendees", {"event_id": event_id, "attendees": attendees})


async def pricing_options(world: World, config: Json, api_key: str) -> Json:
    """CoursePro reads what may be mapped -> GET /pricing-options."""
    return await _call(world, config, api_key, "/pricing-options", None)


async def changed_memberships(world: World, config: Json, api_key: str, since: str) -> Json:
    """CoursePro's safety net beside the webhooks -> GET /memberships?changed_since=."""
    return await _call(world, config, api_key, "/memberships", None, changed_since=since)


async def customers_courses(world: World, _config: Json) -> Json:
    """-> {"customers_courses": all of them, "users": all of them}."""
    return {"customers_courses": world.all(COURSE), "users": world.all(USER)}


async def down(world: World, _config: Json, times: int) -> Json:
    """Answer the next `times` webhooks with 503; nothing of them is kept."""
    world.put(SWITCH, "down", {"times": times})
    return {"times": times}


ACTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "create_user": create_user,
    "cart": cart,
    "cancel_course": _ending("cancelled"),
    "complete_course": _ending("completed"),
    "map_course": map_course,
    "move_course": move_course,
    "post_attendees": post_attendees,
    "pricing_options": pricing_options,
    "changed_memberships": changed_memberships,
    "customers_courses": customers_courses,
    "down": down,
}
