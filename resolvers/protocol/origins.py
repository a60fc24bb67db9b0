"""Which sites' pages may ask: our own, and those the deployment names. Who is no browser sends no `Origin`."""

from ipaddress import ip_address
from urllib.parse import urlsplit

Headers = tuple[tuple[bytes, bytes], ...]
_TAKEN = b"authorization, content-type, accept, idempotency-key, graphql-cost, last-event-id"
_SHOWN = b"ratelimit, ratelimit-policy, retry-after, x-request-id"


class Origins:
    """The sites of one deployment: `https://shop.example.org`, each with its scheme and, if it is another, its port.

    `public_url` is where our own pages are; without it they are wherever the server is asked.
    """

    def __init__(self, public_url: str | None = None, *others: str) -> None:
        self._public = _origin(public_url) if public_url else None
        self._allowed = frozenset(_origin(each) for each in others)

    def allows(self, origin: str | None, host: str | None) -> bool:
        """Whether a page of `origin` may ask the server that is called `host`."""
        return origin is None or self._own(origin, host) or origin.lower() in self._allowed

    def headers(self, origin: str, host: str | None) -> Headers:
        """What a page of another site's needs to read an answer; nothing for our own pages."""
        if self._own(origin, host):
            return ()
        return ((b"access-control-allow-origin", origin.encode("latin-1")), (b"access-control-expose-headers", _SHOWN))

    def permission(self) -> Headers:
        """What a browser is told that asks beforehand."""
        return (
            (b"access-control-allow-methods", b"GET, POST"),
            (b"access-control-allow-headers", _TAKEN),
            (b"access-control-max-age", b"600"),
        )

    def _own(self, origin: str, host: str | None) -> bool:
        if origin.lower() == self._public:
            return True
        try:
            parts = urlsplit(origin)
            # a name can be made to lead here by whoever owns it, so it has to be ours; a number leads to itself
            return bool(host) and parts.netloc == host and (self._public is None or _fixed(parts.hostname or ""))
        except ValueError:
            return False


def _fixed(host: str) -> bool:
    """Whether nobody can make a host lead elsewhere: an IP address, or the name of this machine. Raises ValueError."""
    return host == "localhost" or bool(ip_address(host))


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()
