"""POST /webhooks/{provider}: raw bytes in, verified, stored, answered. Nothing is fetched and nothing applied here.

| what                        | Stripe | GoCardless |
|-----------------------------|--------|------------|
| stored, or known already    | 200    | 200        |
| not signed by a secret      | 400    | 498        |
| body over 1 MiB             | 413    | 413        |
| the provider is not set up  | 503    | 503        |
| it could not be stored      | 500    | 500        |

Any other provider is a 404. After a 5xx both vendors send the webhook again. What comes while statements are under
way is stored by the next one together; nobody is answered before the own events are committed (decision 77).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import orjson
import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from integrations.batch import Batch
from models.ports import BadSignature, Providers, ReceivedEvent, Refused
from models.rules.states import Provider

MOST_BYTES = 1024 * 1024
MOST_TOGETHER = 32  # deliveries in one statement
AT_ONCE = 2  # statements: while one is answered PostgreSQL does the other
STORED, NOT_ALLOWED, TOO_LARGE, NOT_STORED, NOT_SET_UP = 200, 405, 413, 500, 503
# Word in the address -> (provider, the status that tells it its signature is wrong: 498 is GoCardless's convention).
SENDERS = {"stripe": (Provider.STRIPE, 400), "gocardless": (Provider.GOCARDLESS, 498)}

Events = Sequence[ReceivedEvent]
Store = Callable[[Provider, Sequence[Events]], Awaitable[Sequence[int]]]

_log = structlog.get_logger(__name__)


def doors(registry: Providers, store: Store) -> dict[tuple[str, str], ASGIApp]:
    """Who reads webhooks; who stores (provider, events of each delivery) -> how many of each were new, or raises."""
    return {("http", f"/webhooks/{word}"): Intake(registry, store, *sender) for word, sender in SENDERS.items()}


@dataclass(slots=True)
class _Delivery:
    """The events of one webhook, how many of them were new, and why they could not be stored."""

    events: Events
    new: int = 0
    failed: Exception | None = None


class Intake:
    """The ASGI endpoint of one provider's webhooks."""

    def __init__(self, registry: Providers, store: Store, provider: Provider, unsigned: int) -> None:
        self._registry, self._store, self._provider, self._unsigned = registry, store, provider, unsigned
        self._deliveries = Batch(self._store_all, at_once=AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one delivery."""
        headers = []
        if scope["method"] == "POST":
            try:
                status, told = await self._answer(scope, receive)
            except ConnectionResetError:
                return
        else:
            status, told = NOT_ALLOWED, {"message": "Send webhooks by POST."}
            headers.append((b"allow", b"POST"))
        body = orjson.dumps(told)
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, dict[str, str | int]]:
        body = await raw_body(receive)
        if body is None:
            return TOO_LARGE, {"message": f"A webhook has at most {MOST_BYTES} bytes."}
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(scope["headers"])}
        provider = self._provider
        try:
            events = (await self._registry.webhooks(provider)).verify(body, headers)
            new = await self._stored(events) if events else 0
        except BadSignature as error:
            _log.warning("webhook refused", provider=provider.value, reason=str(error))
            return self._unsigned, {"message": str(error)}
        except Refused as error:
            _log.warning("webhook for a provider that is not set up", provider=provider.value)
            return NOT_SET_UP, {"message": str(error)}
        except Exception:
            _log.exception("webhook not stored", provider=provider.value)
            return NOT_STORED, {"message": "The webhook could not be stored; send it again."}
        return STORED, {"received": len(events), "new": new}

    async def _stored(self, events: Events) -> int:
        delivery = _Delivery(events)
        await self._deliveries(delivery)
        if delivery.failed is not None:
            raise delivery.failed
        return delivery.new

    async def _store_all(self, deliveries: list[_Delivery]) -> None:
        for first in range(0, len(deliveries), MOST_TOGETHER):
            await self._store_together(deliveries[first : first + MOST_TOGETHER])

    async def _store_together(self, deliveries: Sequence[_Delivery]) -> None:
        try:
            counts = await self._store(self._provider, [each.events for each in deliveries])
        except Exception as error:
            if len(deliveries) > 1:  # one that cannot be stored keeps out no other
                await asyncio.gather(*(self._store_together([each]) for each in deliveries))
            else:
                deliveries[0].failed = error
            return
        for each, new in zip(deliveries, counts, strict=True):
            each.new = new
        received = sum(len(each.events) for each in deliveries)
        _log.info(
            "webhooks stored",
            provider=self._provider.value,
            deliveries=len(deliveries),
            events=received,
            new=sum(counts),
        )


async def raw_body(receive: Receive) -> bytes | None:
    """The raw body; None as soon as it is too long, whatever its length header says. Raises ConnectionResetError."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > MOST_BYTES:
            return None
        parts.append(part)
    return b"".join(parts)
