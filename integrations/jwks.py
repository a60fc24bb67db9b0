"""The public keys of an OpenID issuer, fetched when they are needed and remembered, through the guarded way out."""

import asyncio
import time

import jwt
import structlog

from integrations.http import Effect, Http, content
from models.ports import ProviderError

FRESH_SECONDS = 600.0
ASK_AGAIN_SECONDS = 60.0  # how often an unknown id, or an issuer that is away, makes us ask
MOST_KEYS = 50
ALGORITHMS = frozenset({"RS256", "ES256"})
_log = structlog.get_logger(__name__)


class Jwks:
    """The keys at one address; it belongs to the event loop it is used in."""

    def __init__(self, url: str, http: Http, *, ask_again_seconds: float = ASK_AGAIN_SECONDS) -> None:
        """Where the key set is, who fetches it, and how long an answer is taken as it is."""
        self._url, self._http, self._ask_again = url, http, ask_again_seconds
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fresh_until = self._asked_until = 0.0
        self._asking = asyncio.Lock()

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """A key's id -> the key, None where the issuer has none. While it is away the keys known last stay good."""
        if self._wanted(kid):
            async with self._asking:
                if self._wanted(kid):
                    await self._fetch()
        return self._keys.get(kid)

    def _wanted(self, kid: str) -> bool:
        now = time.monotonic()
        return (kid not in self._keys or now >= self._fresh_until) and now >= self._asked_until

    async def _fetch(self) -> None:
        self._asked_until = time.monotonic() + self._ask_again
        try:
            told = content(await self._http.read("GET", self._url), Effect.READ).get("keys")
        except ProviderError as away:
            _log.warning("the issuer's keys were not fetched", error=type(away).__name__, code=away.code)
            return
        found = dict(_usable(each) for each in (told if isinstance(told, list) else [])[:MOST_KEYS])
        found.pop("", None)
        if not found:
            _log.warning("the issuer told no key that can be used")
            return
        self._keys = {kid: key for kid, key in found.items() if key is not None}
        self._fresh_until = time.monotonic() + FRESH_SECONDS


def _usable(told: object) -> tuple[str, jwt.PyJWK | None]:
    """A key of the set -> (its id, the key); without an id what has none, is for encryption or signs otherwise."""
    try:
        if isinstance(told, dict) and isinstance(told.get("kid"), str) and told.get("use", "sig") == "sig":
            key = jwt.PyJWK.from_dict(told)
            if key.algorithm_name in ALGORITHMS:
                return told["kid"], key
    except (jwt.PyJWTError, ValueError, TypeError):
        pass
    return "", None
