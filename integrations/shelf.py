"""Documents kept in Redis by the digest of their text, so that clients may send the digest alone."""

from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from integrations.pools import impatient

PREFIX = "dueflow:document"
KEPT_SECONDS = 7 * 86_400
_log = structlog.get_logger(__name__)


class RedisShelf:
    """Shelf: a key a document, forgotten a week after it was asked for last."""

    def __init__(self, url: str) -> None:
        """REDIS_URL."""
        self._redis: Any = Redis.from_pool(impatient(url))

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose(close_connection_pool=True)

    async def found(self, digest: str) -> str | None:
        """The text of a digest; None where it is not kept, or Redis is away and the client sends it whole."""
        try:
            text: str | None = await self._redis.getex(f"{PREFIX}:{digest}", ex=KEPT_SECONDS)
        except (RedisError, OSError) as away:
            _log.warning("redis is away, documents are sent whole", error=type(away).__name__)
            return None
        return text

    async def keep(self, digest: str, text: str) -> None:
        """Keep a text."""
        try:
            await self._redis.set(f"{PREFIX}:{digest}", text, ex=KEPT_SECONDS)
        except (RedisError, OSError) as away:
            _log.warning("redis is away, a document is not kept", error=type(away).__name__)
