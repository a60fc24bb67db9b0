"""The unit of work: a change, its audit rows and the jobs it makes necessary, in one transaction or not at all."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

from tortoise.backends.asyncpg.client import AsyncpgDBClient

from models.actions.transaction import transaction
from models.ports import Bell
from models.rules.events import REACTIONS, TOPIC, Event
from models.rules.explain import Step
from models.tables.audit import AuditEntry
from models.tables.job import Job
from models.tables.row import Row, new_id

PUBLISH = "live.publish"


class Fenced(Exception):
    """The worker that runs this job has lost its lease to another; what it did here is rolled back."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a job row."""

    job_id: UUID
    token: int


class _NobodyListens:
    """The bell of a process that was given none: the sweeper finds the rows."""

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        """Ring nothing."""


lease: ContextVar[Lease | None] = ContextVar("lease", default=None)
once_under: ContextVar[UUID | None] = ContextVar("once_under", default=None)  # the row of a caller's key
written: ContextVar[list[Job] | None] = ContextVar("written", default=None)  # for who wants to know an action's jobs
_within: ContextVar[list[Job] | None] = ContextVar("within", default=None)  # the jobs of units inside an open one
_bell: Bell = _NobodyListens()


def hang(bell: Bell) -> None:
    """Give this process the bell that is rung after each commit; called by the composition roots."""
    global _bell  # one process, one bell
    _bell = bell


def plain(value: Any) -> Any:
    """A value as JSON keeps it: ids, days, instants and words as text, rule steps as records."""
    if isinstance(value, Step):
        return plain(value.as_dict())
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID | date | datetime):
        return value.isoformat() if isinstance(value, date) else str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


@dataclass(slots=True)
class Unit:
    """What one action does beside its own rows. `at` is the business instant all of it happens at."""

    acting: str
    at: datetime
    jobs: list[Job] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _audit: list[AuditEntry] = field(default_factory=list)

    def audit(
        self,
        verb: str,
        subject: Row | tuple[str, UUID],
        *,
        before: Any = None,
        after: Any = None,
        because: Sequence[Any] = (),
    ) -> None:
        """Record that `verb` happened to a row, or to what has a name and an id but no row of its own.

        `because` holds words or rule steps. Secrets and card or bank data must not be passed.
        """
        name, subject_id = subject if isinstance(subject, tuple) else (type(subject).__name__, subject.id)
        self._audit.append(
            AuditEntry(
                actor=self.acting,
                verb=verb,
                subject_type=name,
                subject_id=subject_id,
                before=plain(before),
                after=plain(after),
                because=plain(because),
                at=self.at,
            )
        )

    def emit(self, event: Event) -> None:
        """Say that something happened: subscribers hear it, and the jobs named in REACTIONS are written."""
        self._events.append(event)
        for kind in REACTIONS.get(type(event), ()):
            ids = plain(asdict(event))
            # jobs of one kind about one thing run in the order their events happened
            subject = f"{kind}:{next(iter(ids.values()))}"
            self.job(kind, payload=ids, subject=subject, user_id=getattr(event, "user_id", None))

    def job(
        self,
        kind: str,
        *,
        payload: dict[str, Any],
        key: str | None = None,
        subject: str | None = None,
        user_id: UUID | None = None,
        run_at: datetime | None = None,
    ) -> Job:
        """Ask for work; `key` names an obligation that must exist once, `run_at` is real time, at once by default."""
        job_id = new_id()
        row = Job(
            id=job_id,
            kind=kind,
            key=key or f"{kind}:{job_id}",
            payload=plain(payload),
            subject=subject,
            user_id=user_id,
            run_at=run_at,
        )
        self.jobs.append(row)
        return row

    async def write(self) -> None:
        """Write what was collected."""
        published = [event for event in self._events if type(event) in TOPIC]
        if published:
            occurred = self.at.isoformat()
            self.job(
                PUBLISH,
                payload={
                    "events": [
                        {
                            "id": str(new_id()),
                            "topic": TOPIC[type(event)],
                            "name": type(event).__name__,
                            "ids": plain(asdict(event)),
                            "occurred_at": occurred,
                        }
                        for event in published
                    ]
                },
            )
        if self._audit:
            await AuditEntry.bulk_create(self._audit)
        if self.jobs:
            await Job.bulk_create(self.jobs, ignore_conflicts=True)


@asynccontextmanager
async def unit(*, acting: str, at: datetime) -> AsyncIterator[Unit]:
    """Open one transaction for one action; on the way out its audit rows and jobs are written, then the bell is rung.

    `acting` names who does it ("key:front desk", "job:payments.collect"). Inside a job the worker's lease is checked
    last, so that a worker which lost its job writes nothing. A unit inside another is a savepoint of it, its bell is
    rung with the outer one's: whoever is woken must find the rows. Raises Fenced.
    """
    outer, inner = _within.get(), list[Job]()
    entered = _within.set(inner)
    try:
        async with transaction() as connection:
            work = Unit(acting=acting, at=at)
            yield work
            await work.write()
            await _check_lease(connection)
            await _mark_key(connection)
    finally:
        _within.reset(entered)
    jobs = [*inner, *work.jobs]
    if outer is not None:
        outer.extend(jobs)
        return
    asked = written.get()
    if asked is not None:
        asked.extend(jobs)
    if jobs:
        await _bell.ring([(job.id, 0) for job in jobs])


async def _mark_key(connection: AsyncpgDBClient) -> None:
    row_id = once_under.get()
    if row_id is None:
        return
    rows, _ = await connection.execute_query("UPDATE idempotency_key SET committed_at = now() WHERE id = $1", [row_id])
    if not rows:
        raise Fenced(f"the request under idempotency key {row_id} was given up and runs elsewhere")


async def _check_lease(connection: AsyncpgDBClient) -> None:
    held = lease.get()
    if held is None:
        return
    rows, _ = await connection.execute_query(
        "SELECT 1 FROM job WHERE id = $1 AND token = $2 AND state = 'LEASED' FOR SHARE", [held.job_id, held.token]
    )
    if not rows:
        raise Fenced(f"job {held.job_id} is no longer held with token {held.token}")
