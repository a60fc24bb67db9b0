"""POST /coursepro/v1/{attendees|courses/ended}: CoursePro tells, by its API key and signed; stored here, applied later.

202 stored or known already · 401 no key of purpose COURSEPRO, or not signed · 413 too long · 503 not set up
"""

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from integrations.webhooks import MOST_BYTES, TOO_LARGE, Store, raw_body
from models.actions.keys import find_api_key
from models.ports import BadSignature, Clock, Providers, Refused
from models.rules.states import KeyPurpose, Provider

CALLS = ("/coursepro/v1/attendees", "/coursepro/v1/courses/ended")
log = structlog.get_logger("dueflow.coursepro")


def routes(registry: Providers, store: Store, clock: Clock) -> list[Route]:
    """Who verifies, who stores, and the time keys are judged by."""

    async def receive(request: Request) -> JSONResponse:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        key = await find_api_key(token, at=clock.now()) if scheme.lower() == "bearer" else None
        if key is None or key.purpose is not KeyPurpose.COURSEPRO:
            return JSONResponse({"message": "An API key of purpose COURSEPRO is needed."}, 401)
        body = await raw_body(request)
        if body is None:
            return JSONResponse({"message": f"A call has at most {MOST_BYTES} bytes."}, TOO_LARGE)
        try:
            events = (await registry.webhooks(Provider.COURSEPRO)).verify(body, request.headers)
        except BadSignature as bad:
            log.warning("call refused", reason=str(bad))
            return JSONResponse({"message": str(bad)}, 401)
        except Refused as refused:
            return JSONResponse({"message": str(refused)}, 503)
        new = await store(Provider.COURSEPRO, events)
        return JSONResponse({"event_id": events[0].event_id, "new": bool(new)}, 202)

    return [Route(path, receive, methods=["POST"]) for path in CALLS]
