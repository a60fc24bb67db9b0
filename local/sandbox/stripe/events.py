"""The event log as requests read it."""

from local.sandbox.stripe.account import Account
from local.sandbox.stripe.reading import LIST, Routes
from local.sandbox.stripe.wire import ApiError, array, missing, page, text, within
from local.sandbox.world import Json

MOST_TYPES = 20


def list_events(account: Account, params: Json) -> Json:
    """type?, types?, created? -> page of the last 30 days' events, newest first."""
    types = params.get("types", [])
    if len(types) > MOST_TYPES:
        raise ApiError(400, f"You may pass at most {MOST_TYPES} types.", param="types")
    wanted = {params["type"]} if params.get("type") else set(types)
    found = [
        event
        for event in account.events()
        if (not wanted or event["type"] in wanted) and within(event["created"], params.get("created", {}))
    ]
    return page(found, params, "/v1/events")


def read_event(account: Account, _params: Json, id: str) -> Json:  # noqa: A002 - the path's word
    """-> the event, for 30 days."""
    for event in account.events():
        if event["id"] == id:
            return event
    raise missing("event", id)


# (method, path) -> handler, parameters, required ones
ROUTES: Routes = {
    ("GET", "/events"): (list_events, LIST | {"type": text, "types": array}, ()),
    ("GET", "/events/{id}"): (read_event, {}, ()),
}
