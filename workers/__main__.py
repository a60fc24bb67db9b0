"""`python -m workers`: one worker process. arq carries the wakes; while Redis is away due rows run straight."""

import asyncio
import gc
import signal
from contextlib import suppress
from typing import Literal

import structlog
from arq.connections import ArqRedis
from pydantic_settings import BaseSettings
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app import ReadsForJobs
from integrations.bell import ArqBell, dumps, loads
from integrations.bus import RedisBus
from integrations.clock import SandboxClock, SystemClock
from integrations.logs import log_as_json
from integrations.registry import Registry
from models.actions import jobs
from models.actions.settings import clock_offset, refuse_blank
from models.actions.unit import hang
from models.actions.vault import Vault
from models.ports import Bell, Clock
from models.tables.config import opened
from workers.carrier import Carrier, carry, ended
from workers.kinds import AT_START, HANDLERS, RECURRING
from workers.runner import Runner
from workers.work import Outside

SWEEP_SECONDS = 1.0
SWEPT_AT_ONCE = 500
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


async def sweep(carrier: Carrier, bell: Bell) -> None:
    """Each second, wake the due rows nobody woke: lost rings, retries, leases of dead workers, recurring jobs."""
    while True:
        await carrier.room()
        try:
            found = await jobs.sweep(SWEPT_AT_ONCE)
        except Exception:  # PostgreSQL may be restarting; the sweeper must outlive that
            log.exception("sweep failed")
            found = []
        await bell.ring(found)
        if len(found) < SWEPT_AT_ONCE:
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
        world = Outside(registry, clock, bus, reads)
        bell = ArqBell(settings.redis_url, lambda missed: carrier.straight(missed))
        carrier = Carrier(Runner(HANDLERS, RECURRING, world, bell.ring, settings.dueflow_lease_seconds))
        hang(bell)
        carrying = asyncio.create_task(carry(redis, carrier))
        tasks = [asyncio.create_task(sweep(carrier, bell))]
        if isinstance(clock, SandboxClock):
            await clock.refresh()
            tasks.append(asyncio.create_task(clock.run()))
        gc.collect()
        gc.freeze()  # what is loaded stays: no collection while a job waits need look through it
        log.info("worker runs", kinds=len(HANDLERS))
        await stop.wait()
        await ended(tasks)
        carrying.cancel()
        await asyncio.gather(carrying, return_exceptions=True)
        await carrier.settle()
        with suppress(RedisError, OSError):
            await bell.close()
            await bus.stop()
            await redis.aclose(close_connection_pool=True)
        await registry.close()
        await reads.close()


if __name__ == "__main__":
    asyncio.run(main())
