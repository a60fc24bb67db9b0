"""The guard at the way out: an address from a configuration row is judged again whenever it is called.

    address as written ── not allowed ──────────────┐
            │                                       │
    name resolved, once ── any answer inside ───────┤
            │                                       │
    connected to just that answer               Refused ADDRESS_NOT_ALLOWED: nothing is sent

The name is not resolved a second time by whoever connects, so an answer that changes in between changes nothing; TLS
still checks the certificate against the name. Proxies of the environment are not used: they would resolve for us.
Redirects are not followed.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx

from models.ports import Refused
from models.rules.addresses import reachable, wrong_with
from models.rules.refusals import Code

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
MOST_CONNECTIONS, KEPT_CONNECTIONS, KEPT_SECONDS = 100, 20, 5.0


async def resolved(host: str, port: int) -> list[str]:
    """A host's name -> its IP addresses, in the order to try them. Raises OSError."""
    answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(where[0]) for *_, where in answers))


@dataclass(frozen=True, slots=True)
class Reach:
    """How far addresses of configuration rows reach: over the internet, and where the sandbox runs to loopback."""

    local: bool
    resolve: Resolve = resolved

    def check(self, url: str, only: frozenset[str] = frozenset()) -> None:
        """Raise Refused ADDRESS_NOT_ALLOWED for an address that must not be called, as it is written."""
        if fault := wrong_with(url, local=self.local, only=only):
            raise _refused(fault)

    def transport(self) -> httpx.AsyncBaseTransport:
        """What an httpx client sends by, so that it calls nothing else."""
        return _Guarded(self)


class _Guarded(httpx.AsyncHTTPTransport):
    """httpx's own transport, its connections made by `_Pinned`."""

    def __init__(self, reach: Reach) -> None:
        context = httpx.create_ssl_context()
        super().__init__(verify=context)
        # httpx lets nobody name a network backend, httpcore does
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_Pinned(reach),
        )
        self._reach = reach

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises Refused, and what httpx raises."""
        self._reach.check(str(request.url))
        return await super().handle_async_request(request)


class _Pinned(httpcore.AsyncNetworkBackend):
    """Connects to an address that was judged, and never to a name."""

    def __init__(self, reach: Reach) -> None:
        self._reach, self._network = reach, httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  the library's own signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first of the host's addresses that answers. Raises Refused, ConnectError, ConnectTimeout."""
        last: Exception = httpcore.ConnectError(f"{host} has no address")
        try:
            async with asyncio.timeout(timeout):
                found = await self._judged(host, port)
                each = timeout and timeout / max(1, len(found))  # so that one that is silent leaves time for the next
                for address in found:
                    try:
                        return await self._network.connect_tcp(address, port, each, local_address, socket_options)
                    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                        last = error
        except TimeoutError as late:
            raise httpcore.ConnectTimeout(f"{host} was not reached in time") from late
        raise last

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109  the library's own signature
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no address leads to a socket of this machine."""
        raise _refused("A socket of this machine is no address.")

    async def sleep(self, seconds: float) -> None:
        """Wait between two attempts."""
        await asyncio.sleep(seconds)

    async def _judged(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._reach.resolve(host, port)
        except (OSError, UnicodeError) as unknown:
            raise httpcore.ConnectError(f"{host} is not known") from unknown
        if not all(reachable(each, local=self._reach.local) for each in found):
            raise _refused(f"{host} leads to an address that is not on the internet.")
        return found


def _refused(message: str) -> Refused:
    return Refused(message, code=Code.ADDRESS_NOT_ALLOWED.value)
