"""The webhooks CoursePro receives: checked, taken once, applied to users and customers' courses."""

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

from starlette.responses import JSONResponse

from local.sandbox.world import Json, World

USER, COURSE, EVENT, SWITCH = "coursepro.user", "coursepro.customers_course", "coursepro.event", "coursepro.switch"
FIELDS = "coursepro.fields"
UNKNOWN_USER = "unknown_user"
AVAILABILITIES = {"active", "unavailable", "cancelled"}
BILLING_WORDS = ("bank", "sort_code", "account_number", "iban", "card", "mandate")
WAITS_FOR_MANDATE = {"availability": "unavailable", "reason": "mandate_pending"}


class UnreadableError(Exception):
    """A webhook whose content breaks the contract; answered 422 with the sentence."""


def signature(secret_token: str, body: bytes) -> str:
    """Secret and raw body -> the value of X-Signature: hex HMAC-SHA256."""
    return hmac.new(secret_token.encode(), body, hashlib.sha256).hexdigest()


def refusal(headers: Mapping[str, str], body: bytes, credentials: Json) -> str | None:
    """Headers, raw body and credentials -> why the webhook is not ours, or None when it is."""
    expected = {
        "x-client-identifier": credentials["client_id"],
        "authorization": f"Bearer {credentials['secret_token']}",
        "x-signature": signature(credentials["secret_token"], body),
    }
    for name, value in expected.items():
        if not hmac.compare_digest(headers.get(name, "").encode(), value.encode()):
            return f"The header {name} is missing or wrong."
    return None if headers.get("x-event-id") else "The header x-event-id is missing."


def once(world: World, event_id: str, body: bytes, apply: Callable[[World, Json], Json]) -> JSONResponse:
    """Apply an event the first time it is seen; a repeat changes nothing and says so."""
    if world.get(EVENT, event_id):
        return JSONResponse({"applied": False, "reason": "duplicate"})
    try:
        event = json.loads(body)
        if not isinstance(event, dict) or event.get("event_id", event_id) != event_id:
            raise UnreadableError("The body must be an object and its event_id that of the header.")
        with world.unit():
            answer = apply(world, event)
            if answer.get("reason") != UNKNOWN_USER:  # that one may be told again, once the user is known
                world.put(EVENT, event_id, {"event_id": event_id, "answer": answer, "content": event})
    except (UnreadableError, KeyError, TypeError, ValueError) as error:
        return JSONResponse({"error": "unprocessable", "message": f"{type(error).__name__}: {error}"}, 422)
    return JSONResponse(answer)


def cart_complete(world: World, event: Json) -> Json:
    """A paid cart: the user is created or linked, each item becomes a customer's course."""
    if event["event"] != "cart.complete":
        raise UnreadableError(f"/cart-complete does not take {event['event']!r}.")
    payment = event["payment"]
    collectable = payment["kind"] != "direct_debit" or payment.get("instruction_status") == "active"
    user = _merge_user(world, event["user"], create=True)
    known = {"user_id": user["user_id"] if user else None, "cart_id": event["cart_id"]}
    default = {"availability": "active", "reason": None} if collectable else WAITS_FOR_MANDATE
    results = []
    for item in event["items"]:
        bought = {**default, "effective_at": event["occurred_at"], "version": 0, **item, **known}
        bought["id"] = bought.pop("membership_id")
        results.append(_apply_course(world, bought))
    return {"applied": any(results), **({"coursepro_id": user["coursepro_id"]} if user else {})}


def user_sync(world: World, event: Json) -> Json:
    """user.updated, fields.changed or membership.status_changed -> {"applied": bool, "reason"?}."""
    match event["event"]:
        case "user.updated":
            return _update_user(world, event["user"])
        case "fields.changed":
            known = world.get(FIELDS, FIELDS) or {"version": 0}
            if event["version"] <= known["version"]:
                return {"applied": False, "reason": "older_version"}
            world.put(FIELDS, FIELDS, {"version": event["version"], "fields": event["fields"]})
            return {"applied": True}
        case "membership.status_changed":
            user = _merge_user(world, event["user"], create=True)
            known = {"user_id": user["user_id"] if user else None}
            applied = [_apply_course(world, {**one, **known}) for one in event["memberships"]]
            return {"applied": True} if any(applied) else {"applied": False, "reason": "older_version"}
        case other:
            raise UnreadableError(f"/user-sync does not take {other!r}.")


def _update_user(world: World, fields: Json) -> Json:
    """Changed details of a user, null for one that is gone; those of an older version than is held change nothing."""
    known = world.get(USER, fields["user_id"])
    if known is None:
        return {"applied": False, "reason": UNKNOWN_USER}
    if fields.get("version", 0) < known.get("version", 0):
        return {"applied": False, "reason": "older_version"}
    user = _merge_user(world, fields, create=False) or {}
    gone = {name for name, value in fields.items() if value is None}
    world.put(USER, fields["user_id"], {name: value for name, value in user.items() if name not in gone})
    return {"applied": True}


def _merge_user(world: World, fields: Json, *, create: bool) -> Json | None:
    """Changed fields of one of our users -> the whole user, or None when CoursePro does not know it."""
    if billing := sorted(name for name in fields if any(word in name.lower() for word in BILLING_WORDS)):
        raise UnreadableError(f"Billing details never travel: {', '.join(billing)}.")
    known = world.get(USER, fields["user_id"])
    if known is None and not create:
        return None
    user = {"coursepro_id": world.new_id("cp_"), **(known or {}), **{k: v for k, v in fields.items() if v is not None}}
    world.put(USER, user["user_id"], user)
    return user


def _apply_course(world: World, news: Json) -> bool:
    """One membership's news -> was it newer than what is known? Older news only fills in what was not known."""
    if news["availability"] not in AVAILABILITIES:
        raise UnreadableError(f"Unknown availability {news['availability']!r}.")
    version = news["version"]
    if not isinstance(version, int):
        raise UnreadableError("version must be a whole number.")
    known = world.get(COURSE, news["id"]) or {"version": -1, "ended_here": None}
    newer: bool = version > known["version"]
    world.put(COURSE, news["id"], {**known, **news} if newer else {**news, **known})
    return newer


def still_down(world: World) -> bool:
    """Whether this webhook is to be answered 503; uses the switch up by one."""
    left: int = (world.get(SWITCH, "down") or {"times": 0})["times"]
    if left:
        world.put(SWITCH, "down", {"times": left - 1})
    return left > 0
