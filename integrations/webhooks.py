"""POST /webhooks/{provider}: raw bytes in, verified, stored, answered. Nothing is fetched and nothing applied here.

| what                        | Stripe | GoCardless |
|-----------------------------|--------|------------|
| stored, or known already    | 200    | 200        |
| not signed by a secret      | 400    | 498        |
| body over 1 MiB             | 413    | 413        |
| the provider is not set up  | 503    | 503        |
| it could not be stored      | 500    | 500        |

Any other provider is a 404. After a 5xx both vendors send the webhook again.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.ports import BadSignature, Providers, ReceivedEvent, Refused
from models.rules.states import Provider

MOST_BYTES = 1024 * 1024
STORED, UNKNOWN, TOO_LARGE, NOT_STORED, NOT_SET_UP = 200, 404, 413, 500, 503
# Word in the address -> (provider, the status that tells it its signature is wrong: 498 is GoCardless's convention).
SENDERS = {"stripe": (Provider.STRIPE, 400), "gocardless": (Provider.GOCARDLESS, 498)}

Store = Callable[[Provider, Sequence[ReceivedEvent]], Awaitable[int]]

_log = structlog.get_logger(__name__)


def routes(registry: Providers, store: Store) -> list[Route]:
    """Who reads webhooks; who stores (provider, events) -> how many were new, and raises where it cannot."""

    async def receive(request: Request) -> JSONResponse:
        word = request.path_params["provider"]
        if word not in SENDERS:
            return _said(UNKNOWN, "There is no such webhook.")
        provider, unsigned = SENDERS[word]
        body = await raw_body(request)
        if body is None:
            return _said(TOO_LARGE, f"A webhook has at most {MOST_BYTES} bytes.")
        log = _log.bind(provider=provider.value)
        try:
            source = await registry.webhooks(provider)
            events = source.verify(body, request.headers)
            new = await store(provider, events) if events else 0
        except BadSignature as error:
            log.warning("webhook refused", reason=str(error))
            return _said(unsigned, str(error))
        except Refused as error:
            log.warning("webhook for a provider that is not set up")
            return _said(NOT_SET_UP, str(error))
        except Exception:
            log.exception("webhook not stored")
            return _said(NOT_STORED, "The webhook could not be stored; send it again.")
        log.info("webhook stored", events=len(events), new=new)
        return JSONResponse({"received": len(events), "new": new}, STORED)

    return [Route("/webhooks/{provider}", receive, methods=["POST"])]


async def raw_body(request: Request) -> bytes | None:
    """The raw body; None as soon as it is too long, whatever its length header says."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)


def _said(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status)
