"""The edge of GoCardless's own library.

It is synchronous: every call runs in a thread, of which a client has its own few. Cancelling does not stop a call that
has begun; the idempotency key, ours and stored before, is what makes that harmless.
"""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from gocardless_pro import Client

from integrations.gocardless.errors import RAISED, Conflict, mapped
from integrations.http import CONNECT_SECONDS, Effect
from integrations.pace import Free

THREADS = 8
MOST_ON_A_PAGE = 500
Json = dict[str, Any]
T = TypeVar("T")


class Calls:
    """Calls with one access token: reads, creates under a key of ours, errors as the ports name them."""

    def __init__(self, access_token: str, *, api_base: str, answer_seconds: float, pace: Free | None = None) -> None:
        """Access token, address of the API (no path), seconds to wait for an answer, the gate of each call."""
        self._pace = pace or Free()
        self._api = Client(
            access_token=access_token,
            base_url=api_base,
            timeout=(CONNECT_SECONDS, answer_seconds),
            raise_on_idempotency_conflict=True,
        )
        self._threads = anyio.CapacityLimiter(THREADS)

    async def _create(self, create: Any, fetch: Any, params: Json, key: str) -> Json:
        """Create under our key -> the object; the one made before where the key was used already."""
        try:
            made = await self._write(create, params=params, headers=keyed(key))
        except Conflict as known:
            found: Json = await fetch(known.conflicting_resource_id)
            return found
        fresh: Json = made.attributes
        return fresh

    async def _fetch(self, get: Any, reference: str) -> Json:
        found: Json = (await self._read(get, reference)).attributes
        return found

    async def _all(self, service: Any, params: Json) -> list[Json]:
        """Every object of every page, newest first."""
        return [one async for page in self._pages(service, params) for one in page]

    async def _pages(self, service: Any, params: Json, after: str | None = None) -> AsyncIterator[list[Json]]:
        """Every object page by page, newest first; behind the id `after` where one is given."""
        while True:
            wanted = {**params, "limit": MOST_ON_A_PAGE} | ({"after": after} if after else {})
            page = await self._read(partial(service.list, params=wanted))
            yield [one.attributes for one in page.records]
            after = page.after
            if not after:
                return

    async def _read(self, call: Callable[..., T], *args: Any) -> T:
        return await self._in_thread(Effect.READ, partial(call, *args))

    async def _write(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._in_thread(Effect.WRITE, partial(call, *args, **kwargs))

    async def _in_thread(self, effect: Effect, call: Callable[[], T]) -> T:
        return await self._pace(partial(self._called, effect, call))

    async def _called(self, effect: Effect, call: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        except Conflict:
            raise
        except RAISED as error:
            raise mapped(error, effect) from error


def keyed(key: str) -> dict[str, str]:
    """Our key -> the header that carries it."""
    return {"Idempotency-Key": key}
