"""Nookal v2 as far as Dueflow uses it: calls by name under /production/v2/, answers in Nookal's envelopes.

A participant's change (added, cancelled, did not attend, arrived, invoiced) sets `lastModified` of the participant and
of its class. Polling therefore works like this: getClasses with last_modified=T carries every class with such a
change, then getClassParticipants with its appt_id tells what changed. getAppointments with last_modified=T carries the
changed bookings themselves. A filter takes rows changed at T or later, so nothing falls between two polls.

Nothing public says how these work; they are our own assumptions, to be checked against a live account:
* an item's price override `amount` (of one, tax included), its `qty`, and its class link `appt_id`; the item types
  Class and AdHoc (only Pass was seen); voiding an invoice frees the participants it had marked as invoiced;
* the results keys `participants` and `payment_id`; an appointment id of a class booking equals the id of its class;
* `last_modified`, `lastModified`, `dateCreated` and `cancellationDate` are UTC, class times are the location's;
* the clinic charges no tax; getInvoices shows what is not void unless `void` says otherwise.

State kinds: nookal.location, nookal.class_type, nookal.class, nookal.participant, nookal.patient, nookal.invoice.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from local.sandbox.nookal import billing, clinic, patients
from local.sandbox.nookal.scenario import ACTIONS, BARE, seed
from local.sandbox.nookal.wire import Failure, failure, parameters, success
from local.sandbox.world import Json, World

__all__ = ["ACTIONS", "server"]

FUNCTIONS = {**clinic.FUNCTIONS, **patients.FUNCTIONS, **billing.FUNCTIONS}
NOT_FOUND = "<!DOCTYPE html><html><head><title>Nookal - Page not found</title></head><body><h1>404</h1></body></html>"


def server(world: World, config: Json) -> Starlette:
    """World and configuration -> the ASGI app; an unknown function is an HTML 404, every other refusal an HTTP 200."""
    key = config["credentials"]["nookal"]["api_key"]
    seed(world)
    world.on_reset.append(lambda: seed(world))
    world.faults.error_bodies["nookal"] = lambda status: failure(f"L{status}", f"Server error {status}")

    async def call(request: Request) -> Response:
        name = request.path_params["function"]
        if name not in FUNCTIONS:
            return HTMLResponse(NOT_FOUND, 404)
        given = parameters(request.url.query, (await request.body()).decode() if request.method == "POST" else "")
        try:
            _check(given, key)
            with world.unit():
                answer = FUNCTIONS[name](world, given)
        except Failure as refused:
            return JSONResponse(failure(refused.code, refused.message, refused.alerts))
        return JSONResponse(success(name, answer, given, bare=world.get(*BARE) is not None))

    async def lost(_request: Request, _error: Exception) -> Response:
        return HTMLResponse(NOT_FOUND, 404)

    route = Route("/production/v2/{function}", call, methods=["GET", "POST"])
    return Starlette(routes=[route], exception_handlers={404: lost})


def _check(given: Json, key: str) -> None:
    if not given.get("api_key"):
        raise Failure("L000_1", None, ["Missing variable: api_key"])
    if given["api_key"] != key:
        raise Failure("L003", "The api key is invalid or has no access to this function.")
