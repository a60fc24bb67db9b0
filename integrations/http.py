"""How a provider without an SDK is called: one client each, one error tree, logs without secrets.

                          was the request sent?
                    no ──────────┴────────── yes
                    │                         │
               Unavailable            answered in time?
                                  no ────────┴──────── yes
                                  │                     │
                        read: Unavailable       429  RateLimited (Retry-After)
                        write: OutcomeUnknown   5xx  read: Unavailable, write: OutcomeUnknown
                                                2xx–4xx  the caller's: a wrong credential or body is Refused

An address that must not be called is Refused before anything is sent (see `guard`); a redirect is an answer like any
other and is not followed.

A read is asked three times before it counts as Unavailable; a write is sent once, and its job looks before it asks
again. Bodies, query strings and headers are never logged: they hold names, keys and tokens.
"""

import json
import logging
import sys
import time
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import httpx
import stamina
import structlog

from integrations.guard import Reach
from integrations.pace import Free
from models.ports import OutcomeUnknown, ProviderError, RateLimited, Refused, Unavailable

CONNECT_SECONDS = 3.0
ANSWER_SECONDS = 10.0
READ_ATTEMPTS = 3
SHOWN_OF_AN_ANSWER = 200
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)

_log = structlog.get_logger(__name__)
# httpx looks for this library four times a request; not to find it takes a search of the whole path each time.
sys.modules.setdefault("sniffio", None)  # type: ignore[arg-type]  # None says that there is none
# It would log whole addresses, and a search by e-mail stands in a query string.
logging.getLogger("httpx").setLevel(logging.WARNING)


class Effect(Enum):
    """What a call may leave behind, and so what a lost answer means."""

    READ = Unavailable
    WRITE = OutcomeUnknown

    def lost(self, message: str, code: str = "NO_ANSWER") -> ProviderError:
        """The answer was lost -> the error of the tree above."""
        error: type[ProviderError] = self.value
        return error(message, code=code)


class Http:
    """One provider's HTTP client; it belongs to the event loop it was made in."""

    def __init__(
        self,
        provider: str,
        base_url: str,
        *,
        answer_seconds: float = ANSWER_SECONDS,
        reach: Reach | None = None,
        pace: Free | None = None,
    ) -> None:
        """Provider's word for the logs, address without a trailing slash, seconds to wait for an answer.

        `reach` is how far an address of a configuration row reaches; without one the address is our own, or a test's.
        `pace` is the gate each request passes, none without.
        """
        self.provider, self._pace = provider, pace or Free()
        timeout = httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS)
        transport = reach.transport() if reach else None
        self._client = httpx.AsyncClient(base_url=base_url, timeout=timeout, transport=transport)

    async def read(self, method: str, url: str, **request: Any) -> httpx.Response:
        """A call that changes nothing -> a 2xx–4xx answer. Raises Unavailable, RateLimited."""
        attempts = stamina.retry_context(on=_worth_another, attempts=READ_ATTEMPTS, wait_initial=0.1, wait_max=1.0)
        async for attempt in attempts:
            with attempt:
                return await self._pace(lambda: self._send(Effect.READ, method, url, request))
        raise AssertionError("stamina ends by an answer or by the last error")

    async def write(self, method: str, url: str, **request: Any) -> httpx.Response:
        """A call that changes something -> a 2xx–4xx answer. Raises Unavailable, RateLimited, OutcomeUnknown."""
        return await self._pace(lambda: self._send(Effect.WRITE, method, url, request))

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def _send(self, effect: Effect, method: str, url: str, request: dict[str, Any]) -> httpx.Response:
        began = time.monotonic()
        path = url.split("?", 1)[0]
        log = _log.bind(provider=self.provider, method=method, path=path)
        try:
            response = await self._client.request(method, url, **request)
        except NOT_SENT as error:
            log.warning("provider unreachable", error=type(error).__name__)
            raise Unavailable(
                f"{self.provider} is not reachable ({type(error).__name__}).", code="UNREACHABLE"
            ) from error
        except httpx.HTTPError as error:
            log.warning("provider did not answer", error=type(error).__name__)
            raise effect.lost(f"{self.provider} did not answer {method} {path} ({type(error).__name__}).") from error
        log.info("provider answered", status=response.status_code, seconds=round(time.monotonic() - began, 3))
        if response.status_code == 429:
            raise RateLimited(f"{self.provider} was asked too often.", retry_after=_retry_after(response.headers))
        if response.status_code >= 500:
            raise effect.lost(f"{self.provider} answered {method} {path} with {response.status_code}.")
        return response


def content(response: httpx.Response, effect: Effect) -> dict[str, Any]:
    """The answer's JSON object, its numbers exact (Decimal where not whole); a page of HTML is a lost answer."""
    try:
        found = json.loads(response.content, parse_float=Decimal)
    except ValueError as error:
        kind = response.headers.get("content-type", "no content type")
        raise effect.lost(f"The answer ({response.status_code}, {kind}) is not JSON.") from error
    if not isinstance(found, dict):
        raise effect.lost(f"The answer ({response.status_code}) is not a JSON object.")
    return found


def refusal(provider: str, response: httpx.Response, code: str | None = None) -> Refused:
    """A 4xx answer -> the refusal to raise, with the beginning of what the provider wrote."""
    said = " ".join(response.text.split())[:SHOWN_OF_AN_ANSWER]
    return Refused(f"{provider} answered {response.status_code}: {said}", code=code or f"HTTP_{response.status_code}")


def _worth_another(error: Exception) -> bool:
    return isinstance(error, Unavailable) and not error.retry_after


def _retry_after(headers: httpx.Headers) -> float:
    """Retry-After, in seconds or as a date -> seconds; 1 where the provider does not say."""
    said = headers.get("retry-after", "")
    if said.isdigit():
        return float(said)
    try:
        return max(0.0, parsedate_to_datetime(said).timestamp() - time.time())
    except ValueError:
        return 1.0
