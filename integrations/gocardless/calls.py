"""The edge of GoCardless's own library.

It is synchronous: every call runs in a thread, of which a client has its own few. Cancelling does not stop a call that
has begun; the idempotency key, ours and stored before, is what makes that harmless.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from gocardless_pro import Client

from integrations.gocardless.errors import RAISED, Conflict, mapped
from integrations.http import CONNECT_SECONDS, Effect

THREADS = 8
MOST_ON_A_PAGE = 500
Json = dict[str, Any]
T = TypeVar("T")


class Calls:
    """Calls with one access token: reads, creates under a key of ours, errors as the ports name them."""

    def __init__(self, access_token: str, *, api_base: str, answer_seconds: float) -> None:
        """Access token, address of the API (no path), seconds to wait for an answer."""
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

    @staticmethod
    def _all(service: Any, params: Json) -> list[Json]:
        """Every object of every page, newest first; for use inside a thread."""
        found: list[Json] = []
        after: str | None = None
        while True:
            page = service.list(params={**params, "limit": MOST_ON_A_PAGE} | ({"after": after} if after else {}))
            found += [one.attributes for one in page.records]
            after = page.after
            if not after:
                return found

    async def _read(self, call: Callable[..., T], *args: Any) -> T:
        return await self._in_thread(Effect.READ, partial(call, *args))

    async def _write(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        return await self._in_thread(Effect.WRITE, partial(call, *args, **kwargs))

    async def _in_thread(self, effect: Effect, call: Callable[[], T]) -> T:
        try:
            return await anyio.to_thread.run_sync(call, limiter=self._threads)
        except Conflict:
            raise
        except RAISED as error:
            raise mapped(error, effect) from error


def keyed(key: str) -> dict[str, str]:
    """Our key -> the header that carries it."""
    return {"Idempotency-Key": key}
