"""Wakes workers through arq: "look at job row N". Losing a ring costs the sweeper's second, never work."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

RING_SECONDS = 1.0
RUN_JOB = "run_job"
log = structlog.get_logger("dueflow.bell")


def dumps(job: dict[str, Any]) -> bytes:
    """An arq job -> its bytes: JSON, because whoever writes to Redis must not run code in a worker."""
    return json.dumps(job).encode()


def loads(job: bytes) -> dict[str, Any]:
    """The bytes of an arq job -> the job. Raises ValueError."""
    told: dict[str, Any] = json.loads(job)
    return told


class ArqBell:
    """Bell: enqueues one arq job per wake, each under an id of its own."""

    def __init__(self, url: str) -> None:
        """REDIS_URL."""
        pool: ConnectionPool = ConnectionPool.from_url(
            url,
            encoding="utf8",
            socket_timeout=RING_SECONDS,
            socket_connect_timeout=RING_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = ArqRedis(pool_or_conn=pool, job_serializer=dumps, job_deserializer=loads)
        self._ringing: set[asyncio.Future[None]] = set()

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        """(job id, wake number) pairs -> a worker looks at each row; within a second, or not at all."""
        try:
            async with asyncio.timeout(RING_SECONDS):
                # redis-py may lose a cancellation: the call runs to its end, only the waiting stops
                ringing = asyncio.ensure_future(self._enqueue(wakes))
                self._ringing.add(ringing)
                ringing.add_done_callback(self._ringing.discard)
                await asyncio.shield(ringing)
        except (RedisError, OSError) as away:
            log.warning("bell not rung", error=type(away).__name__, jobs=len(wakes))

    async def _enqueue(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        for job_id, wake in wakes:
            await self._redis.enqueue_job(RUN_JOB, str(job_id), _job_id=f"{job_id}:{wake}")

    async def close(self) -> None:
        """Give the connections back."""
        await asyncio.gather(*self._ringing, return_exceptions=True)
        await self._redis.aclose(close_connection_pool=True)
