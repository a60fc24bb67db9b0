"""Queues beside ours: `python queues.py arq|saq|list work|fill|drip REDIS_URL [NUMBER]`, with jobs that do nothing.

A job carries when it was sent and how many there are; the worker tells `bench:told` all delays and starts once the last
of them has begun. `DATABASE_URL`, where it is set, gives each job of arq one look-up to do, as ours has.
"""

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import Redis

TOLD = "bench:told"
LIST = "bench:list"
AT_ONCE = 200
GAP_SECONDS = 0.02
_begun: list[tuple[float, float]] = []


async def began(redis: Any, sent: float, of: int) -> None:
    """A job begins: note it, and tell all of them with the last one."""
    _begun.append((sent, time.time()))
    if len(_begun) == of:
        told = json.dumps(_begun)
        _begun.clear()
        await redis.rpush(TOLD, told)


Send = Callable[[float, int], Awaitable[Any]]


async def send(enqueue: Send, how: str, number: int) -> None:
    """Enqueue so many: as fast as it goes, many under way at once; or one by one, with a pause between them."""
    if how == "fill":
        for start in range(0, number, AT_ONCE):
            at_once = min(AT_ONCE, number - start)
            await asyncio.gather(*(enqueue(time.time(), number) for _ in range(at_once)))
        return
    for _ in range(number):
        await enqueue(time.time(), number)
        await asyncio.sleep(GAP_SECONDS)


async def arq(how: str, url: str, number: int) -> None:
    """arq, tuned: it polls a hundred times a second and runs two hundred jobs at once."""
    from arq.connections import ArqRedis, RedisSettings, create_pool
    from arq.worker import Worker, func

    pool: ArqRedis = await create_pool(RedisSettings.from_dsn(url))
    if how != "work":
        await send(lambda sent, of: pool.enqueue_job("job", sent, of), how, number)
        return
    database: Any = None
    if "DATABASE_URL" in os.environ:
        import asyncpg

        database = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=10)

    async def job(_ctx: dict[Any, Any], sent: float, of: int) -> None:
        await began(pool, sent, of)
        if database is not None:
            await database.fetch("SELECT * FROM provider_setting WHERE provider = 'COURSEPRO' AND enabled")

    worker = Worker(
        functions=[func(cast("Any", job), name="job")],
        redis_pool=pool,
        max_jobs=200,
        poll_delay=0.01,
        keep_result=0,
        max_tries=1,
        log_results=False,
    )
    print("works", flush=True)
    await worker.async_run()


async def saq(how: str, url: str, number: int) -> None:
    """saq, two hundred at once."""
    from saq import Queue, Worker

    queue = Queue.from_url(url)
    await queue.connect()
    if how != "work":
        await send(lambda sent, of: queue.enqueue("job", sent=sent, of=of, ttl=-1), how, number)
        return
    redis = Redis.from_url(url)

    async def job(_ctx: Any, *, sent: float, of: int) -> None:
        await began(redis, sent, of)

    print("works", flush=True)
    await Worker(queue, functions=[("job", job)], concurrency=200).start()


async def plain(how: str, url: str, number: int) -> None:
    """A plain list: LPUSH and BRPOP, one by one."""
    redis = Redis.from_url(url)
    if how != "work":
        await send(lambda sent, of: redis.lpush(LIST, json.dumps((sent, of))), how, number)
        return
    print("works", flush=True)
    while True:
        _, told = await redis.brpop([LIST])
        await began(redis, *json.loads(told))


KINDS: dict[str, Callable[[str, str, int], Awaitable[None]]] = {"arq": arq, "saq": saq, "list": plain}

if __name__ == "__main__":
    logging.disable()
    asyncio.run(KINDS[sys.argv[1]](sys.argv[2], sys.argv[3], int((sys.argv[4:] or ["0"])[0])))  # type: ignore[arg-type]
