"""The unit of work: a change, its audit rows and the jobs it makes necessary, in one transaction or not at all."""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

from models.actions.transaction import transaction
from models.ports import Bell
from models.rules.events import REACTIONS, TOPIC, Event
from models.rules.explain import Step
from models.tables import sql
from models.tables.row import Row, new_id, written_id

PUBLISH = "live.publish"

# The last statement of each unit, all of it in one trip. $1 who, $2 when, $3 audit rows, $4 jobs, $5 and $6 the lease
# it is done under: taken last and kept until the commit, so that a worker which lost its job writes nothing; $7 the
# row of the caller's key it is done under. A key that names an obligation asked for before is passed over.
_WRITE = """
WITH audited AS (
  INSERT INTO audit_entry
    (id, created_at, updated_at, actor, verb, subject_type, subject_id, before, after, because, at)
  SELECT id, now(), now(), $1, verb, subject_type, subject_id, before, after, because, $2
  FROM jsonb_to_recordset($3::jsonb) AS told
    (id uuid, verb text, subject_type text, subject_id uuid, before jsonb, after jsonb, because jsonb)
), asked AS (
  INSERT INTO job
    (id, created_at, updated_at, kind, key, subject, payload, user_id, run_at, state, attempts, token, wake, done_count)
  SELECT id, now(), now(), kind, key, subject, payload, user_id, run_at, 'READY', 0, 0, 0, 0
  FROM jsonb_to_recordset($4::jsonb) AS told
    (id uuid, kind text, key text, subject text, payload jsonb, user_id uuid, run_at timestamptz)
  ON CONFLICT DO NOTHING
), held AS (
  SELECT 1 FROM job WHERE id = $5 AND token = $6 AND state = 'LEASED' FOR SHARE
), marked AS (
  UPDATE idempotency_key SET committed_at = now() WHERE id = $7 RETURNING 1
)
SELECT EXISTS (SELECT FROM held) AS held, EXISTS (SELECT FROM marked) AS marked
"""
_PLAIN = frozenset({str, int, bool, float, orjson.Fragment})  # a fragment is JSON already


class Fenced(Exception):
    """The worker that runs this job has lost its lease to another; what it did here is rolled back."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Work that is asked for: what of its row the asker decides."""

    id: UUID
    kind: str
    key: str
    payload: dict[str, Any]
    subject: str | None
    user_id: UUID | None
    run_at: datetime | None


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
written: ContextVar[list[Wanted] | None] = ContextVar("written", default=None)  # for who wants to know an action's jobs
_within: ContextVar[list[Wanted] | None] = ContextVar("within", default=None)  # the jobs of units inside an open one
_bell: Bell = _NobodyListens()


def hang(bell: Bell) -> None:
    """Give this process the bell that is rung after each commit; called by the composition roots."""
    global _bell  # one process, one bell
    _bell = bell


def plain(value: Any) -> Any:
    """A value as JSON keeps it: ids, days, instants and words as text, rule steps as records."""
    if value is None or type(value) in _PLAIN:
        return value
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


def _ids(event: Event) -> dict[str, Any]:
    return {each.name: plain(getattr(event, each.name)) for each in fields(event)}


@dataclass(slots=True)
class Unit:
    """What one action does beside its own rows. `at` is the business instant all of it happens at."""

    acting: str
    at: datetime
    jobs: list[Wanted] = field(default_factory=list)
    _events: list[Event] = field(default_factory=list)
    _audit: list[dict[str, Any]] = field(default_factory=list)

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
            {
                "id": written_id(),
                "verb": verb,
                "subject_type": name,
                "subject_id": subject_id,
                "before": plain(before),
                "after": plain(after),
                "because": plain(because),
            }
        )

    def emit(self, event: Event) -> None:
        """Say that something happened: subscribers hear it, and the jobs named in REACTIONS are written."""
        self._events.append(event)
        for kind in REACTIONS.get(type(event), ()):
            ids = _ids(event)
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
    ) -> Wanted:
        """Ask for work; `key` names an obligation that must exist once, `run_at` is real time, at once by default."""
        job_id = new_id()
        row = Wanted(job_id, kind, key or f"{kind}:{job_id}", plain(payload), subject, user_id, run_at)
        self.jobs.append(row)
        return row

    async def write(self) -> None:
        """Write what was collected, and see that who does it may still do so. Raises Fenced."""
        self._publish()
        held, under = lease.get(), once_under.get()
        if not (self._audit or self.jobs or held or under):
            return
        (found,) = await sql.rows(
            _WRITE,
            self.acting,
            self.at,
            orjson.dumps(self._audit, default=plain).decode(),
            orjson.dumps(self.jobs, default=plain).decode(),
            held and held.job_id,
            held and held.token,
            under,
        )
        if held and not found["held"]:
            raise Fenced(f"job {held.job_id} is no longer held with token {held.token}")
        if under and not found["marked"]:
            raise Fenced(f"the request under idempotency key {under} was given up and runs elsewhere")

    def _publish(self) -> None:
        published = [event for event in self._events if type(event) in TOPIC]
        if not published:
            return
        told = [
            {
                "id": str(new_id()),
                "topic": TOPIC[type(event)],
                "name": type(event).__name__,
                "ids": _ids(event),
                "occurred_at": self.at.isoformat(),
            }
            for event in published
        ]
        self.job(PUBLISH, payload={"events": told})


@asynccontextmanager
async def unit(*, acting: str, at: datetime) -> AsyncIterator[Unit]:
    """Open one transaction for one action; on the way out its audit rows and jobs are written, then the bell is rung.

    `acting` names who does it ("key:front desk", "job:payments.collect"). Inside a job the worker's lease is checked
    last, so that a worker which lost its job writes nothing. A unit inside another is a savepoint of it, its bell is
    rung with the outer one's: whoever is woken must find the rows. Raises Fenced.
    """
    outer, inner = _within.get(), list[Wanted]()
    entered = _within.set(inner)
    try:
        async with transaction():
            work = Unit(acting=acting, at=at)
            yield work
            await work.write()
    finally:
        _within.reset(entered)
    jobs = [*inner, *work.jobs]
    if outer is not None:
        outer.extend(jobs)
        return
    asked = written.get()
    if asked is not None:
        asked.extend(jobs)
    await wake(job.id for job in jobs)


async def wake(job_ids: Iterable[UUID]) -> None:
    """Have somebody look soon at jobs that were just committed."""
    if wakes := [(job_id, 0) for job_id in job_ids]:
        await _bell.ring(wakes)
