"""Run one job: claim its row, keep the lease alive, call its handler, and finish, put back or bury it.

    Refused, Refusal              -> buried: asking again changes nothing; a person may retry it
    Unfinished                    -> put back to go on at once, not counted as an attempt
    RateLimited                   -> put back until the provider's time, not counted as an attempt
    Unavailable, OutcomeUnknown   -> put back, at most ten minutes apart, not counted either; buried after two days
    anything else                 -> logged with its traceback, put back with backoff, buried after the last attempt
    Fenced, a lost lease          -> left to the worker that has it now

Telling subscribers is never given up: what happened must reach them, however long Redis is away.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from redis.exceptions import RedisError

from integrations.batch import Batch
from models.actions import inbound, jobs, webhook_messages
from models.actions.jobs import AWAY_SECONDS, FAULT, LEASE_SECONDS, LOST, MAX_ATTEMPTS, Held
from models.actions.unit import PUBLISH, Fenced, Lease, lease
from models.ports import LiveEvent, OutcomeUnknown, RateLimited, Refused, Unavailable
from models.rules.refusals import Refusal
from models.rules.states import Provider
from workers.work import Handler, Outside, Unfinished, Work

Wakes = list[tuple[UUID, int]]
Ring = Callable[[Wakes], Awaitable[None]]
JOB_SECONDS = 120.0
log = structlog.get_logger("dueflow.runner")


class Runner:
    """Runs jobs of the known kinds in this process."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        recurring: Mapping[str, float],
        outside: Outside,
        ring: Ring,
        lease_seconds: float = LEASE_SECONDS,
        job_seconds: float = JOB_SECONDS,
    ) -> None:
        """`recurring` has the seconds between two runs of a kind; `ring` wakes somebody for the next of a subject.

        A job whose worker died is taken by another after `lease_seconds`; one that takes longer than `job_seconds` is
        ended, and that attempt has failed.
        """
        self._handlers = handlers
        self._recurring = recurring
        self._outside = outside
        self._ring = ring
        self._lease_seconds = lease_seconds
        self._job_seconds = job_seconds
        self._holds: set[Lease] = set()
        self._beating: asyncio.Task[None] | None = None
        self._finish = Batch(self._finish_all)
        self._publish = Batch(outside.bus.publish)

    async def run(self, job_id: UUID) -> None:
        """Run one job if it may run now; whatever happens, its row says so afterwards."""
        for held in await self.claim([job_id]):
            await self.hold(held)

    async def claim(self, job_ids: Sequence[UUID]) -> list[Held]:
        """Take those of these jobs that may run now; each is to be held at once."""
        return await jobs.claim_all(job_ids, self._lease_seconds)

    async def hold(self, held: Held) -> None:
        """Run a job that was claimed; whatever happens, its row says so afterwards."""
        self._holds.add(held.lease)
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._heartbeat())
        holding = lease.set(held.lease)
        try:
            await self._attempt(held)
        except asyncio.CancelledError:
            await asyncio.shield(_put_back(held, "the worker stopped", "STOPPED", 0.0, counts=False))
            raise
        finally:
            self._holds.discard(held.lease)
            lease.reset(holding)

    async def _attempt(self, held: Held) -> None:
        if held.attempts > MAX_ATTEMPTS and held.kind not in {PUBLISH, *self._recurring}:
            await self._bury(held, "every worker that tried it was lost", LOST)
            return
        try:
            async with asyncio.timeout(self._job_seconds):
                await self._handlers[held.kind](Work(held, self._outside))
        except Fenced:
            log.warning("job lost to another worker", kind=held.kind, job=str(held.id))
        except Unfinished:
            await _put_back(held, "more is left to do", "UNFINISHED", 0.0, counts=False)
        except RateLimited as limited:
            await _put_back(held, str(limited), limited.code, limited.retry_after, counts=False)
        except (Unavailable, OutcomeUnknown) as failed:
            await self._wait(held, failed)
        except Refused as refused:
            await self._bury(held, str(refused), refused.code)
        except Refusal as refusal:
            await self._bury(held, refusal.message, refusal.code.value)
        except Exception as fault:
            log.exception("job failed", kind=held.kind, job=str(held.id))
            await self._later(held, f"{type(fault).__name__}: {fault}")
        else:
            await self._finish((held.lease, self._recurring.get(held.kind)))
            await self._tell(held, "DONE")

    async def _later(self, held: Held, error: str) -> None:
        every = self._recurring.get(held.kind)
        if every is None and held.attempts >= MAX_ATTEMPTS and held.kind != PUBLISH:
            await self._bury(held, error, FAULT)
            return
        wait = jobs.backoff_seconds(held.attempts)
        await _put_back(held, error, FAULT, wait if every is None else min(wait, max(every, 60.0)), away=False)
        await self._tell(held, "READY")

    async def _wait(self, held: Held, failed: Unavailable | OutcomeUnknown) -> None:
        every = self._recurring.get(held.kind)
        if every is None and held.away >= AWAY_SECONDS and held.kind != PUBLISH:
            await self._bury(held, str(failed), failed.code)
            return
        asked_for = failed.retry_after if isinstance(failed, Unavailable) else 0.0
        wait = max(jobs.outage_seconds(held.away), asked_for)
        wait = wait if every is None else min(wait, max(every, 60.0))
        await _put_back(held, str(failed), failed.code, wait, counts=False, away=True)
        await self._tell(held, "READY")

    async def _bury(self, held: Held, error: str, code: str) -> None:
        if held.kind in self._recurring:
            await _put_back(held, error, code, self._recurring[held.kind])
            return
        log.error("job is dead", kind=held.kind, job=str(held.id), code=code)
        if not await jobs.bury(held.lease, error=error, code=code):
            return
        if held.kind == "inbox.apply":
            await inbound.gave_up(Provider(held.payload["provider"]), held.payload["event_id"])
        if held.kind == "webhooks.deliver":
            await webhook_messages.gave_up(UUID(held.payload["message_id"]), error)
        await self._tell(held, "DEAD")

    async def _finish_all(self, done: list[tuple[Lease, float | None]]) -> None:
        await self._ring(await jobs.finish_all(done))

    async def _heartbeat(self) -> None:
        """Keep every lease alive while there is any."""
        while self._holds:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                await jobs.heartbeat(tuple(self._holds), self._lease_seconds)
            except Exception:  # PostgreSQL may be restarting; there are two more beats before the lease ends
                log.exception("heartbeat failed", jobs=len(self._holds))

    async def _tell(self, held: Held, state: str) -> None:
        """Let watchers of this job know; the row is the truth, so a bus that is away costs them only this hint."""
        if held.kind == PUBLISH or held.kind in self._recurring:
            return
        event = LiveEvent(
            id=str(uuid4()), topic="job", name=state, ids={"job_id": str(held.id)}, occurred_at=datetime.now(UTC)
        )
        try:
            await self._publish(event)
        except (RedisError, OSError) as away:
            log.warning("job event not published", job=str(held.id), error=type(away).__name__)


async def _put_back(held: Held, error: str, code: str, after: float, **counted: Any) -> None:
    await jobs.put_back(held.lease, error=error, code=code, after_seconds=after, **counted)
