"""How woken rows come to a runner: arq carries the wakes, a doorbell instead of polling, many at once.

arq's queue, its job keys and its worker are used as they are, but for how a worker begins what it has found: all of it
in one trip, and by one claim, because the row is the lock. While Redis is away, rows run straight.
"""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import structlog
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.worker import Worker, func
from redis.exceptions import RedisError

from integrations.bell import RUN_JOB, Wakes, dumps, loads
from workers.runner import Runner

if TYPE_CHECKING:
    from arq.typing import WorkerCoroutine

AT_ONCE = 64
LISTEN_SECONDS = 1.0
AGAIN_SECONDS = 1.0
ROW_BACK_SECONDS = 1.0
log = structlog.get_logger("dueflow.worker")

# KEYS: queue. ARGV: what arq's job keys begin with, then names of jobs -> those that nobody else has taken
_TAKE = """
local mine = {}
for i = 2, #ARGV do
  redis.call('ZREM', KEYS[1], ARGV[i])
  if redis.call('DEL', ARGV[1] .. ARGV[i]) == 1 then mine[#mine + 1] = ARGV[i] end
end
return mine
"""


class Carrier:
    """Gives woken rows to a runner, so many at once and no more."""

    def __init__(self, runner: Runner, at_once: int = AT_ONCE) -> None:
        self.runner = runner
        self._free = at_once
        self._freed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._straight: dict[UUID, None] = {}  # in order, each once
        self._feeding: asyncio.Task[None] | None = None

    async def room(self) -> int:
        """Wait until a job may begin -> how many may."""
        while not self._free:
            self._freed.clear()
            await self._freed.wait()
        return self._free

    def begin(self, job_ids: Sequence[UUID]) -> None:
        """Run what of these rows may run now; there must be room for all."""
        self._free -= len(job_ids)
        self._keep(self._run(job_ids))

    def straight(self, wakes: Wakes) -> None:
        """Run rows for which arq could not be told, as room comes."""
        self._straight.update(dict.fromkeys(job_id for job_id, _ in wakes))
        if self._feeding is None or self._feeding.done():
            log.warning("running straight", jobs=len(self._straight))
            self._feeding = self._keep(self._feed())

    async def settle(self) -> None:
        """Stop what runs; its rows go back."""
        await ended(self._tasks, ROW_BACK_SECONDS)

    async def _run(self, job_ids: Sequence[UUID]) -> None:
        held = []
        try:
            held = await self.runner.claim(job_ids)
        except Exception:  # PostgreSQL may be restarting; the sweeper finds them
            log.exception("claim failed", jobs=len(job_ids))
        finally:
            self._give_back(len(job_ids) - len(held))
        for each in held:
            self._keep(self.runner.hold(each)).add_done_callback(lambda _: self._give_back(1))

    async def _feed(self) -> None:
        while self._straight:
            room = await self.room()
            next_ones = list(self._straight)[:room]
            for job_id in next_ones:
                del self._straight[job_id]
            self.begin(next_ones)

    def _give_back(self, places: int) -> None:
        self._free += places
        self._freed.set()

    def _keep(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Listening(Worker):
    """arq's worker that waits to be rung for instead of asking again and again, and takes all there is at once."""

    def __init__(self, redis: ArqRedis, carrier: Carrier) -> None:
        async def run_job(_ctx: dict[Any, Any], job_id: str) -> None:
            carrier.begin([UUID(job_id)])

        super().__init__(
            functions=[func(cast("WorkerCoroutine", run_job), name=RUN_JOB)],
            redis_pool=redis,
            job_serializer=dumps,
            job_deserializer=loads,
            max_jobs=AT_ONCE,
            queue_read_limit=AT_ONCE,
            poll_delay=0,
            health_check_interval=5,
            health_check_key=f"dueflow:health:{socket.gethostname()}:{os.getpid()}",
            handle_signals=False,
        )
        self._carrier = carrier
        self._take: Callable[..., Any] = redis.register_script(_TAKE)

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Begin those of these arq jobs that are still there; where there are none, wait for the next, or a second."""
        if not job_ids:
            rung = await self.pool.bzpopmin([self.queue_name], timeout=LISTEN_SECONDS)
            if rung is None:
                return
            job_ids = [rung[1]]
        room = await self._carrier.room()
        mine = await self._take(keys=[self.queue_name], args=[job_key_prefix, *job_ids[:room]])
        self._carrier.begin([UUID(name.decode().partition(":")[0]) for name in mine])


async def carry(redis: ArqRedis, carrier: Carrier) -> None:
    """Run what arq carries; start anew whenever Redis was away longer than arq bears."""
    while True:
        listening = asyncio.create_task(Listening(redis, carrier).async_run())
        try:
            await asyncio.wait((listening,))  # unlike awaiting it, this ends at once when this task is cancelled
            listening.result()
        except (RedisError, OSError) as away:
            log.warning("redis is away", error=type(away).__name__)
        except Exception:  # a worker that sweeps and no longer carries would look alive and do nothing
            log.exception("arq failed")
        finally:
            await ended((listening,))
        await asyncio.sleep(AGAIN_SECONDS)


async def ended(tasks: Iterable[asyncio.Task[Any]], patience: float = 0.2) -> None:
    """Cancel tasks until all have ended: redis-py may lose a cancellation, then another one comes after `patience`."""
    running = set(tasks)
    while running:
        for task in running:
            task.cancel()
        over, running = await asyncio.wait(running, timeout=patience)
        await asyncio.gather(*over, return_exceptions=True)
