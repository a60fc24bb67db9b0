"""Connections to Redis for what can be done without it."""

from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

REDIS_SECONDS = 0.5


def impatient(url: str) -> ConnectionPool:
    """REDIS_URL -> connections that are given up soon and not tried again: whoever asks goes on by itself."""
    return ConnectionPool.from_url(
        url,
        decode_responses=True,
        socket_timeout=REDIS_SECONDS,
        socket_connect_timeout=REDIS_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
