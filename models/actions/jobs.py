"""The life of a job row: claim by lease and token, heartbeat, finish, fail, sweep, retry, cancel.

PostgreSQL's `now()` decides leases and due times, so hosts with skewed clocks agree.
"""

import json
import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.unit import Lease, Unit, unit
from models.rules.refusals import Code, Refusal
from models.rules.states import JobState
from models.tables import sql
from models.tables.job import Job

LEASE_SECONDS = 30
WAKE_AGAIN_SECONDS = 10
MAX_ATTEMPTS = 12
BACKOFF_CAP_SECONDS = 3600
# whoever is away is waited for, and found no later than ten minutes after it is back: decision 51
AWAY_SECONDS = 2 * 86_400
OUTAGE_SECONDS, OUTAGE_CAP_SECONDS = 2.0, 600.0
AWAY_SINCE = "away_since"  # the queue's own word in a payload
LOST = "WORKER_LOST"
FAULT = "INTERNAL"
# somebody waits for the outcome of these, and nobody else would bring it
NEVER_CANCELLED = frozenset({"payments.cancel", "payments.collect", "payments.retry", "payments.refund", "inbox.apply"})

_DUE = "(state = 'READY' AND (run_at IS NULL OR run_at <= now()) OR state = 'LEASED' AND lease_until < now())"
_FIRST_OF_SUBJECT = (
    "(subject IS NULL OR NOT EXISTS (SELECT 1 FROM job other WHERE other.subject = job.subject"
    " AND (other.id < job.id AND other.state IN ('READY', 'LEASED')"
    # a later one runs where this one was dead and a person revived it
    " OR other.id > job.id AND other.state = 'LEASED' AND other.lease_until >= now())))"
)


@dataclass(frozen=True, slots=True)
class Held:
    """A job a worker may run now; `away` is for how many seconds whom it needs has been away."""

    id: UUID
    kind: str
    key: str
    payload: dict[str, Any]
    attempts: int
    token: int
    away: float = 0.0

    @property
    def lease(self) -> Lease:
        """The hold to name in each later write."""
        return Lease(self.id, self.token)


async def claim(job_id: UUID, lease_seconds: float = LEASE_SECONDS) -> Held | None:
    """Take a due job, or None where it is finished, not due, held, or behind an earlier one of its subject."""
    return next(iter(await claim_all([job_id], lease_seconds)), None)


async def claim_all(job_ids: Sequence[UUID], lease_seconds: float = LEASE_SECONDS) -> list[Held]:
    """Take those of these jobs that may run now, in one statement; a row somebody else writes just now is passed over.

    What is passed over so is found by the sweeper, unless whoever wrote it took it.
    """
    rows = await sql.rows(
        f"WITH due AS (SELECT id FROM job WHERE id = ANY($1::uuid[]) AND {_DUE} AND {_FIRST_OF_SUBJECT}"
        " ORDER BY id FOR UPDATE SKIP LOCKED),"
        # a worker that was lost with the job is counted from the first one lost in a row
        " taken AS (UPDATE job SET state = 'LEASED', token = token + 1, attempts = CASE WHEN state = 'LEASED'"
        f" AND error_code IS DISTINCT FROM '{LOST}' THEN 2 ELSE attempts + 1 END,"
        f" error_code = CASE WHEN state = 'LEASED' THEN '{LOST}' ELSE error_code END,"
        " lease_until = now() + make_interval(secs => $2), updated_at = now()"
        f" FROM due WHERE job.id = due.id RETURNING job.id, kind, key, payload - '{AWAY_SINCE}' AS payload, attempts,"
        f" token, coalesce(extract(epoch FROM now() - (payload->>'{AWAY_SINCE}')::timestamptz), 0)::float8 AS away)"
        " SELECT * FROM taken ORDER BY id",
        job_ids,
        float(lease_seconds),
    )
    return [Held(**{**row, "payload": json.loads(row["payload"])}) for row in rows]


async def heartbeat(held: Collection[Lease], lease_seconds: float = LEASE_SECONDS) -> None:
    """Extend leases, those that were not lost; a row somebody else writes just now has to wait for the next beat."""
    await sql.rows(
        "WITH mine AS (SELECT job.id FROM job JOIN unnest($1::uuid[], $2::int[]) AS held (id, token)"
        " ON job.id = held.id AND job.token = held.token WHERE state = 'LEASED' FOR UPDATE OF job SKIP LOCKED),"
        " kept AS (UPDATE job SET lease_until = now() + make_interval(secs => $3) FROM mine WHERE job.id = mine.id"
        " RETURNING 1) SELECT count(*) FROM kept",
        [lease.job_id for lease in held],
        [lease.token for lease in held],
        float(lease_seconds),
    )


async def progress(held: Lease, done: int, total: int | None) -> None:
    """Show how far a long job has come."""
    await sql.rows(
        "WITH shown AS (UPDATE job SET done_count = $3, total_count = $4 WHERE id = $1 AND token = $2 RETURNING 1)"
        " SELECT * FROM shown",
        held.job_id,
        held.token,
        done,
        total,
    )


async def answer(held: Lease, url: str) -> None:
    """Keep the address a job was run to get."""
    await sql.rows(
        "WITH kept AS (UPDATE job SET result_url = $3 WHERE id = $1 AND token = $2 RETURNING 1) SELECT * FROM kept",
        held.job_id,
        held.token,
        url,
    )


async def remember(held: Held, payload: dict[str, Any]) -> Held:
    """Change what a recurring job knows, unless somebody else changed it meanwhile -> the hold that knows it."""
    await sql.rows(
        "WITH kept AS (UPDATE job SET payload = $3::jsonb WHERE id = $1 AND token = $2"
        f" AND payload - '{AWAY_SINCE}' = $4::jsonb"
        " RETURNING 1) SELECT * FROM kept",
        held.id,
        held.token,
        json.dumps(payload),
        json.dumps(held.payload),
    )
    return replace(held, payload=payload)


async def finish(held: Lease, *, again_in: float | None = None) -> list[tuple[UUID, int]]:
    """Mark a job done, or due `again_in` seconds where it recurs -> the next job of its subject, to ring for."""
    return await finish_all([(held, again_in)])


async def finish_all(ended: Sequence[tuple[Lease, float | None]]) -> list[tuple[UUID, int]]:
    """The same for many in one statement: (lease, in how many seconds it is due again) of each."""
    rows = await sql.rows(
        "WITH held AS (SELECT * FROM unnest($1::uuid[], $2::int[], $3::float8[]) AS held (id, token, again)),"
        " ended AS (UPDATE job SET state = CASE WHEN again IS NULL THEN 'DONE' ELSE 'READY' END,"
        " run_at = CASE WHEN again IS NULL THEN run_at ELSE now() + make_interval(secs => again) END,"
        " attempts = CASE WHEN again IS NULL THEN attempts ELSE 0 END, wake_at = NULL,"
        " lease_until = NULL, finished_at = now(), error = NULL, error_code = NULL, updated_at = now(),"
        f" payload = payload - '{AWAY_SINCE}' FROM held"
        " WHERE job.id = held.id AND job.token = held.token AND state = 'LEASED' RETURNING job.id, subject)"
        " SELECT next.id, next.wake FROM ended CROSS JOIN LATERAL (SELECT id, wake FROM job"
        " WHERE subject = ended.subject AND state = 'READY' AND id <> ended.id ORDER BY id LIMIT 1) next",
        [lease.job_id for lease, _ in ended],
        [lease.token for lease, _ in ended],
        [again_in for _, again_in in ended],
    )
    return [(row["id"], row["wake"]) for row in rows]


def backoff_seconds(attempts: int) -> float:
    """How long to wait after a failed attempt: doubling, full jitter, an hour at most."""
    cap = min(BACKOFF_CAP_SECONDS, 2.0 ** min(attempts, 12))  # the cap is reached by then, a float's end far later
    return random.uniform(0.5, cap)  # noqa: S311  # spreads load, guards nothing


def outage_seconds(away: float) -> float:
    """How long to wait for who is away: as long as it has been, up to ten minutes, of that at least one half."""
    cap = min(max(away, OUTAGE_SECONDS), OUTAGE_CAP_SECONDS)
    return random.uniform(cap / 2, cap)  # noqa: S311  # spreads load, guards nothing


async def put_back(
    held: Lease, *, error: str, code: str, after_seconds: float, counts: bool = True, away: bool | None = None
) -> None:
    """Try again later; `counts` is False where it was no attempt: who is needed is away, or wants to be asked later.

    `away` notes since when somebody is; False that nobody is any more, None leaves it as it was noted.
    """
    since = f"CASE WHEN $7 THEN jsonb_build_object('{AWAY_SINCE}', now()) || payload ELSE payload - '{AWAY_SINCE}' END"
    await sql.rows(
        "WITH back AS (UPDATE job SET state = 'READY', lease_until = NULL, wake_at = NULL, error = $3, error_code = $4,"
        " run_at = now() + make_interval(secs => $5), attempts = attempts - $6, updated_at = now(),"
        f" payload = CASE WHEN $7::bool IS NULL THEN payload ELSE {since} END"
        " WHERE id = $1 AND token = $2 AND state = 'LEASED' RETURNING 1) SELECT * FROM back",
        held.job_id,
        held.token,
        error,
        code,
        float(after_seconds),
        0 if counts else 1,
        away,
    )


async def bury(held: Lease, *, error: str, code: str) -> bool:
    """Give up: the row stays, visible, until a person retries it; False where the lease was lost."""
    rows = await sql.rows(
        "WITH buried AS (UPDATE job SET state = 'DEAD', lease_until = NULL, finished_at = now(), error = $3,"
        " error_code = $4, updated_at = now() WHERE id = $1 AND token = $2 AND state = 'LEASED' RETURNING 1)"
        " SELECT * FROM buried",
        held.job_id,
        held.token,
        error,
        code,
    )
    return bool(rows)


async def sweep(limit: int = 200) -> list[tuple[UUID, int]]:
    """Find due rows nobody was woken for lately -> (id, fresh wake number) pairs, each given to one sweeper only."""
    rows = await sql.rows(
        f"WITH woken AS (UPDATE job SET wake = wake + 1, wake_at = now() + make_interval(secs => {WAKE_AGAIN_SECONDS})"
        f" WHERE id IN (SELECT id FROM job WHERE {_DUE} AND (wake_at IS NULL OR wake_at < now())"
        f" AND {_FIRST_OF_SUBJECT} ORDER BY run_at NULLS FIRST, id LIMIT {int(limit)} FOR UPDATE SKIP LOCKED)"
        " RETURNING id, wake) SELECT * FROM woken"
    )
    return [(row["id"], row["wake"]) for row in rows]


async def ensure_recurring(kinds: dict[str, float]) -> None:
    """Write the rows of recurring jobs that do not exist yet."""
    for kind in kinds:
        await Job.get_or_create(key=kind, defaults={"kind": kind})


async def hurry(kinds: Collection[str]) -> None:
    """Have recurring jobs run now, those that did not in the last minute: a worker has just started."""
    await sql.rows(
        "WITH hurried AS (UPDATE job SET run_at = NULL WHERE key = ANY($1::text[]) AND state = 'READY'"
        " AND (finished_at IS NULL OR finished_at < now() - interval '1 minute') RETURNING 1) SELECT * FROM hurried",
        list(kinds),
    )


async def retry(job_id: UUID, *, acting: str, at: datetime) -> Job:
    """Let a dead or cancelled job run again, with its key and a fresh count of attempts.

    Raises Refusal NOT_FOUND, JOB_NOT_RETRYABLE.
    """
    async with unit(acting=acting, at=at) as work:
        job = await _locked(job_id)
        if job.state not in (JobState.DEAD, JobState.CANCELLED):
            raise Refusal(Code.JOB_NOT_RETRYABLE)
        await _move(work, job, "retry_job", JobState.READY)
    return job


async def cancel(job_id: UUID, *, acting: str, at: datetime) -> Job:
    """Take a job that waits out of the queue. Raises Refusal NOT_FOUND, JOB_NOT_RETRYABLE."""
    async with unit(acting=acting, at=at) as work:
        job = await _locked(job_id)
        if job.state is not JobState.READY or job.kind in NEVER_CANCELLED:
            raise Refusal(Code.JOB_NOT_RETRYABLE, f"A job of kind {job.kind} that is {job.state} is not cancelled.")
        await _move(work, job, "cancel_job", JobState.CANCELLED)
    return job


async def _locked(job_id: UUID) -> Job:
    job = await Job.one(id=job_id, lock=True)
    if job is None:
        raise Refusal(Code.NOT_FOUND, field=("id",))
    return job


async def _move(work: Unit, job: Job, verb: str, state: JobState) -> None:
    work.audit(verb, job, before={"state": job.state}, after={"state": state})
    payload = {name: value for name, value in job.payload.items() if name != AWAY_SINCE}
    await Job.filter(id=job.id).update(
        state=state,
        payload=payload,
        attempts=0,
        run_at=None,
        wake_at=None,
        error=None,
        error_code=None,
        finished_at=None,
    )
