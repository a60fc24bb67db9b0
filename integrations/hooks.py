"""Partners' endpoints, called by the Standard Webhooks convention: signed, ten seconds to answer, no redirects.

The answer's body is not read: what counts is the status. An endpoint is called a few times at once by one process, one
that fails once only, so that it holds up nobody else's messages.
"""

import asyncio
import random
import time
from collections import Counter
from datetime import datetime

import httpx
import structlog

from integrations.guard import Reach
from models.actions.vault import Vault
from models.actions.webhook_endpoints import good_secrets
from models.ports import Answered, RateLimited
from models.rules.partners import signature

ANSWER_SECONDS, CONNECT_SECONDS = 10.0, 3.0
AT_ONCE, AT_ONCE_WHILE_FAILING = 4, 1
LONGEST_REST_SECONDS = 3600.0
_log = structlog.get_logger(__name__)


class Hooks:
    """WebhookSender; it belongs to the event loop it is used in."""

    def __init__(self, vault: Vault, reach: Reach, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """The vault that opens the secrets, and how far addresses reach."""
        self._vault, self._seconds = vault, answer_seconds
        timeout = httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS)
        self._client = httpx.AsyncClient(timeout=timeout, transport=reach.transport())
        self._under_way: Counter[str] = Counter()

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def send(
        self, url: str, sealed: str, message_id: str, body: bytes, *, at: datetime, failing: bool
    ) -> Answered:
        """One attempt. Raises Refused, RateLimited, SealBroken."""
        if self._under_way[url] >= (AT_ONCE_WHILE_FAILING if failing else AT_ONCE):
            wait = random.uniform(1.0, 3.0) * (5 if failing else 1)  # noqa: S311  # spreads load, guards nothing
            raise RateLimited("The endpoint is being called already.", retry_after=wait)
        # receivers compare with their own clocks, so this is the real time whatever the business clock says
        timestamp = int(time.time())
        signed = [signature(each, message_id, timestamp, body) for each in good_secrets(self._vault, sealed, at)]
        headers = {
            "content-type": "application/json",
            "user-agent": "Dueflow webhooks",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(signed),
        }
        self._under_way[url] += 1
        try:
            return await self._posted(url, body, headers)
        finally:
            self._under_way[url] -= 1
            self._under_way += Counter()  # forgets who is at nought

    async def _posted(self, url: str, body: bytes, headers: dict[str, str]) -> Answered:
        began = time.monotonic()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._client.stream("POST", url, content=body, headers=headers) as answer,
            ):
                status, rest = answer.status_code, answer.headers.get("retry-after", "")
        except TimeoutError:
            return Answered(None, f"It did not answer within {self._seconds:g} seconds.")
        except httpx.HTTPError as error:
            return Answered(None, f"It could not be reached ({type(error).__name__}).")
        _log.info("endpoint answered", status=status, seconds=round(time.monotonic() - began, 3))
        return Answered(status, None, min(float(rest), LONGEST_REST_SECONDS) if rest.isdigit() else 0.0)
