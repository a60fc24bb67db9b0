"""Wakes workers through arq: "look at job row N". Losing a ring costs the sweeper's second, never work."""

import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.utils import timestamp_ms
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from integrations.batch import Batch

RING_SECONDS = 1.0
RUN_JOB = "run_job"
Wakes = Sequence[tuple[UUID, int]]
log = structlog.get_logger("dueflow.bell")


def dumps(job: dict[str, Any]) -> bytes:
    """An arq job -> its bytes: JSON, because whoever writes to Redis must not run code in a worker."""
    return json.dumps(job).encode()


def loads(job: bytes) -> dict[str, Any]:
    """The bytes of an arq job -> the job. Raises ValueError."""
    told: dict[str, Any] = json.loads(job)
    return told


class ArqBell:
    """Bell: enqueues one arq job per wake, each under an id of its own, and all that ring at the same time in one trip.

    Nobody waits for it; where Redis does not answer within a second, `missed` is told for whom nobody was woken.
    """

    def __init__(self, url: str, missed: Callable[[Wakes], None] | None = None) -> None:
        """REDIS_URL, and what to do instead: nothing unless told."""
        pool: ConnectionPool = ConnectionPool.from_url(
            url,
            encoding="utf8",
            socket_timeout=RING_SECONDS,
            socket_connect_timeout=RING_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = ArqRedis(pool_or_conn=pool, job_serializer=dumps, job_deserializer=loads)
        self._missed = missed
        self._rings = Batch(self._ring_all)

    async def ring(self, wakes: Wakes) -> None:
        """(job id, wake number) pairs -> a worker looks at each row soon."""
        if wakes:
            self._rings.begin(wakes)

    async def _ring_all(self, rings: list[Wakes]) -> None:
        wakes = [wake for each in rings for wake in each]
        try:
            await self._enqueue(wakes)
        except (RedisError, OSError) as away:
            log.warning("bell not rung", error=type(away).__name__, jobs=len(wakes))
            if self._missed is not None:
                self._missed(wakes)

    async def _enqueue(self, wakes: Wakes) -> None:
        # what arq's enqueue_job writes, without asking first whether it stands there already: it would be the same
        now, names = timestamp_ms(), {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for job_id, wake in wakes:
                names[f"{job_id}:{wake}"] = now
                job = serialize_job(RUN_JOB, (str(job_id),), {}, None, now, serializer=dumps)
                pipe.psetex(f"{job_key_prefix}{job_id}:{wake}", self._redis.expires_extra_ms, job)
            pipe.zadd(self._redis.default_queue_name, names, nx=True)
            await pipe.execute()

    async def close(self) -> None:
        """Give the connections back."""
        await self._rings.ended()
        await self._redis.aclose(close_connection_pool=True)
