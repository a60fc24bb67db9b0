"""`python -m workers`: one worker process. arq carries the wakes; while Redis is away due rows run straight."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, cast
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from pydantic_settings import BaseSettings
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app import ReadsForJobs
from integrations.bell import RUN_JOB, dumps, loads
from integrations.bus import RedisBus
from integrations.clock import SandboxClock, SystemClock
from integrations.logs import log_as_json
from integrations.registry import Registry
from models.actions import jobs
from models.actions.settings import clock_offset, refuse_blank
from models.actions.unit import hang
from models.actions.vault import Vault
from models.ports import Clock
from models.tables.config import opened
from workers.kinds import AT_START, HANDLERS, RECURRING
from workers.runner import JOB_SECONDS, Runner
from workers.work import Outside

if TYPE_CHECKING:
    from arq.typing import WorkerCoroutine

SWEEP_SECONDS = 1.0
CARRY_SECONDS = 1.0
ROW_BACK_SECONDS = 1.0
AT_ONCE = 20
log = structlog.get_logger("dueflow.worker")


class Settings(BaseSettings):
    """What a worker reads from its environment."""

    database_url: str
    redis_url: str
    dueflow_secret_key: str
    dueflow_sandbox_admin: str | None = None
    dueflow_env: Literal["development", "production"] = "production"
    dueflow_lease_seconds: float = jobs.LEASE_SECONDS


def arq_redis(url: str) -> ArqRedis:
    """arq's connection, patient where Redis restarts, and JSON only: who writes to Redis must not run code here."""
    pool: ConnectionPool = ConnectionPool.from_url(
        url,
        encoding="utf8",
        socket_timeout=3,
        socket_connect_timeout=2,
        health_check_interval=10,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), 3),
        retry_on_error=[RedisConnectionError, RedisTimeoutError, OSError],
    )
    return ArqRedis(pool_or_conn=pool, job_serializer=dumps, job_deserializer=loads)


class Carrier:
    """Brings woken rows to a runner: through arq, or straight while Redis is away."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis
        self._straight: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)
        self.runner: Runner | None = None

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        """Bell: have somebody look at these rows soon."""
        for place, (job_id, wake) in enumerate(wakes):
            try:
                async with asyncio.timeout(CARRY_SECONDS):
                    await self._redis.enqueue_job(RUN_JOB, str(job_id), _job_id=f"{job_id}:{wake}")
            except (RedisError, OSError) as away:
                log.warning("redis is away, running straight", error=type(away).__name__, jobs=len(wakes) - place)
                for late_id, _ in wakes[place:]:
                    self._run_straight(late_id)
                return

    def _run_straight(self, job_id: UUID) -> None:
        task = asyncio.create_task(self._run(job_id))
        self._straight.add(task)
        task.add_done_callback(self._straight.discard)

    async def _run(self, job_id: UUID) -> None:
        assert self.runner is not None
        async with self._places:
            await self.runner.run(job_id)

    async def settle(self) -> None:
        """Stop what runs straight; its rows go back."""
        await ended(self._straight, ROW_BACK_SECONDS)


async def ended(tasks: Iterable[asyncio.Task[Any]], patience: float = 0.2) -> None:
    """Cancel tasks until all have ended: redis-py may lose a cancellation, then another one comes after `patience`."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        over, running = await asyncio.wait(running, timeout=patience)
        await asyncio.gather(*over, return_exceptions=True)


async def sweep(carrier: Carrier) -> None:
    """Each second, wake the due rows nobody woke: lost rings, retries, leases of dead workers, recurring jobs."""
    while True:
        try:
            await carrier.ring(await jobs.sweep())
        except Exception:  # PostgreSQL may be restarting; the sweeper must outlive that
            log.exception("sweep failed")
        await asyncio.sleep(SWEEP_SECONDS)


async def carry(redis: ArqRedis, runner: Runner) -> None:
    """Run what arq carries; start anew whenever Redis was away longer than arq bears."""

    async def run_job(_ctx: dict[Any, Any], job_id: str) -> None:
        await runner.run(UUID(job_id))

    while True:
        worker = Worker(
            functions=[func(cast("WorkerCoroutine", run_job), name=RUN_JOB)],
            redis_pool=redis,
            job_serializer=dumps,
            job_deserializer=loads,
            keep_result=0,
            max_tries=1,
            max_jobs=AT_ONCE,
            job_timeout=JOB_SECONDS + 30,  # the runner ends a job that takes too long; this one only guards the runner
            poll_delay=0.02,
            health_check_interval=5,
            health_check_key=f"dueflow:health:{socket.gethostname()}:{os.getpid()}",
            log_results=False,
            handle_signals=False,
        )
        polling = asyncio.create_task(worker.async_run())
        try:
            await asyncio.wait((polling,))  # unlike awaiting it, this ends at once when this task is cancelled
            polling.result()
        except (RedisError, OSError) as away:
            log.warning("redis is away", error=type(away).__name__)
        except Exception:  # a worker that sweeps and no longer carries would look alive and do nothing
            log.exception("arq failed")
        finally:
            await ended((polling,))
            await ended(worker.tasks.values(), ROW_BACK_SECONDS)
        await asyncio.sleep(SWEEP_SECONDS)


async def main() -> None:
    """Run until SIGTERM or SIGINT."""
    settings = Settings()
    log_as_json(pretty=settings.dueflow_env == "development")
    redis, bus = arq_redis(settings.redis_url), RedisBus(settings.redis_url)
    clock: Clock = SandboxClock(clock_offset) if settings.dueflow_sandbox_admin else SystemClock()
    vault = Vault(settings.dueflow_secret_key)
    registry = Registry(vault, settings.dueflow_sandbox_admin, clock=clock, redis_url=settings.redis_url)
    reads = ReadsForJobs(settings.database_url, settings.dueflow_secret_key)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened(settings.database_url):
        await refuse_blank(vault)
        await jobs.ensure_recurring(RECURRING)
        await jobs.hurry(AT_START)
        carrier = Carrier(redis)
        hang(carrier)
        runner = carrier.runner = Runner(
            HANDLERS,
            RECURRING,
            Outside(registry, clock, bus, reads),
            carrier.ring,
            settings.dueflow_lease_seconds,
        )
        carrying = asyncio.create_task(carry(redis, runner))
        tasks = [asyncio.create_task(sweep(carrier))]
        if isinstance(clock, SandboxClock):
            await clock.refresh()
            tasks.append(asyncio.create_task(clock.run()))
        log.info("worker runs", kinds=len(HANDLERS))
        await stop.wait()
        await ended(tasks)
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        await carrier.settle()
        with suppress(RedisError, OSError):
            await bus.stop()
            await redis.aclose(close_connection_pool=True)
        await registry.close()
        await reads.close()


if __name__ == "__main__":
    asyncio.run(main())
