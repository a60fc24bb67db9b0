"""CoursePro as Dueflow sees it: receives our two webhooks, keeps customers' courses, calls our API as CoursePro would.

CoursePro publishes no wire format; what is spoken here is our own contract, written down in docs/coursepro.md.
State kinds: coursepro.user, coursepro.customers_course (one per membership), coursepro.event (webhooks taken),
coursepro.fields (what is collected of people), coursepro.switch.
"""

from collections.abc import Awaitable, Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from local.sandbox.coursepro.inbox import COURSE, cart_complete, once, refusal, still_down, user_sync
from local.sandbox.coursepro.scenario import ACTIONS
from local.sandbox.world import Json, World

__all__ = ["ACTIONS", "server"]


def server(world: World, config: Json) -> Starlette:
    """World and configuration -> the ASGI app that answers `/cart-complete`, `/user-sync` and `/customers-courses`."""
    credentials = config["credentials"]["coursepro"]

    def webhook(apply: Callable[[World, Json], Json]) -> Callable[[Request], Awaitable[JSONResponse]]:
        async def answer(request: Request) -> JSONResponse:
            body = await request.body()
            if still_down(world):
                return JSONResponse({"error": "service_unavailable"}, 503)
            if said := refusal(request.headers, body, credentials):
                return JSONResponse({"error": "unauthorized", "message": said}, 401)
            return once(world, request.headers["x-event-id"], body, apply)

        return answer

    async def customers_courses(_request: Request) -> JSONResponse:
        return JSONResponse({"customers_courses": world.all(COURSE)})

    return Starlette(
        routes=[
            Route("/cart-complete", webhook(cart_complete), methods=["POST"]),
            Route("/user-sync", webhook(user_sync), methods=["POST"]),
            Route("/customers-courses", customers_courses),
        ]
    )
