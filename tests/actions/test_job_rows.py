"""The life of a job row: whoever looks, however many at once, one worker at a time runs it, and none is forgotten."""

import asyncio
import contextvars
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from models.actions import jobs
from models.actions.jobs import (
    BACKOFF_CAP_SECONDS,
    Held,
    backoff_seconds,
    outage_seconds,
)
from models.actions.transaction import transaction
from models.actions.unit import Lease
from models.rules.refusals import Code
from models.rules.states import JobState
from models.tables.job import Job
from models.tables.row import new_id
from tests.build import BY, NOW, a_name, happening, nothing_written, refused, sql

pytestmark = pytest.mark.usefixtures("database")


async def a_job(kind: str = "live.publish", **values: Any) -> Job:
    """A row as a mutation leaves it: ready, at once."""
    return await Job.create(kind=kind, **{"key": a_name("key"), "payload": {"n": 1}, **values})


async def taken(job: Job | UUID) -> Held:
    held = await jobs.claim(job if isinstance(job, UUID) else job.id)
    assert held is not None
    return held


async def shift(job: Job, column: str, seconds: float) -> None:
    """Put an instant of a row `seconds` from PostgreSQL's now."""
    await sql(
        f"WITH moved AS (UPDATE job SET {column} = now() + make_interval(secs => $2) WHERE id = $1 RETURNING 1)"
        " SELECT * FROM moved",
        job.id,
        float(seconds),
    )


async def seconds_until(job: Job, column: str) -> float:
    """How far an instant of a row is from PostgreSQL's now."""
    rows = await sql(f"SELECT extract(epoch FROM {column} - now())::float8 AS s FROM job WHERE id = $1", job.id)
    found: float = rows[0]["s"]
    return found


async def row(job: Job) -> tuple[JobState, int, int]:
    """(state, attempts, token)"""
    fresh = await Job.get(id=job.id)
    return fresh.state, fresh.attempts, fresh.token


@pytest.fixture(autouse=True)
async def _no_other_jobs(database: None) -> None:
    await Job.all().delete()


# -- claim and lease --------------------------------------------------------------------------------------------------


async def test_of_twenty_workers_one_gets_the_job() -> None:
    job = await a_job(payload={"payment_id": "7"})
    claims = await asyncio.gather(*(jobs.claim(job.id) for _ in range(20)))
    held = [claim for claim in claims if claim]
    assert held == [Held(job.id, "live.publish", job.key, {"payment_id": "7"}, attempts=1, token=1)]
    assert await row(job) == (JobState.LEASED, 1, 1)
    assert 29 < await seconds_until(job, "lease_until") <= 30


async def test_a_job_is_not_run_before_its_time() -> None:
    job = await a_job()
    await shift(job, "run_at", 60)
    async with nothing_written():
        assert await jobs.claim(job.id) is None
        assert await jobs.claim(new_id()) is None, "nor one that does not exist"
    await shift(job, "run_at", -1)
    assert (await taken(job)).attempts == 1


@pytest.mark.parametrize("state", [JobState.DONE, JobState.DEAD, JobState.CANCELLED])
async def test_what_is_over_is_not_run(state: JobState) -> None:
    job = await a_job(state=state)
    async with nothing_written():
        assert await jobs.claim(job.id) is None
        assert await jobs.sweep() == []


async def test_a_lost_lease_fences_every_later_write() -> None:
    job = await a_job(payload={"since": None})
    first = await taken(job)
    assert await jobs.claim(job.id) is None, "held"
    await shift(job, "lease_until", -1)
    second = await taken(job)
    assert (second.token, second.attempts) == (2, 2)
    async with nothing_written():
        await jobs.heartbeat([first.lease])
        assert await jobs.finish(first.lease) == []
        await jobs.put_back(first.lease, error="late", code="LATE", after_seconds=0)
        await jobs.bury(first.lease, error="late", code="LATE")
        await jobs.remember(first, {"since": "late"})
        await jobs.progress(first.lease, 1, 2)
        await jobs.answer(first.lease, "http://127.0.0.1/late")
    await jobs.finish(second.lease)
    assert await row(job) == (JobState.DONE, 2, 2)


async def test_a_heartbeat_keeps_every_lease_but_a_lost_one() -> None:
    kept, also, lost = [await a_job() for _ in range(3)]
    leases = [(await taken(job)).lease for job in (kept, also, lost)]
    for job in (kept, also, lost):
        await shift(job, "lease_until", 1)
    await jobs.heartbeat([*leases[:2], Lease(lost.id, 0)])
    for job in (kept, also):
        assert 29 < await seconds_until(job, "lease_until") <= 30
        assert await jobs.claim(job.id) is None
    assert await seconds_until(lost, "lease_until") <= 1


async def test_many_are_taken_and_finished_at_once_as_one_by_one() -> None:
    """Of a subject the first only; what is not due, held or over is left; who finished rings for each next."""
    first, second = [await a_job(subject="membership:1") for _ in range(2)]
    alone, held, over, tick = [await a_job() for _ in range(4)]
    later = await a_job()
    await shift(later, "run_at", 60)
    await taken(held)
    await jobs.finish((await taken(over)).lease)
    asked = [tick.id, over.id, new_id(), later.id, held.id, alone.id, second.id, first.id]
    claims = await asyncio.gather(*(jobs.claim_all(asked) for _ in range(5)))
    assert all([each.id for each in got] == sorted(each.id for each in got) for got in claims), "as they were written"
    got = sorted((each for got in claims for each in got), key=lambda each: each.id)
    assert [each.id for each in got] == [first.id, alone.id, tick.id], "each once, whoever was first at it"
    ended = [(each.lease, 60.0 if each.id == tick.id else None) for each in got]
    lost = (Lease(held.id, 0), None)
    assert await jobs.finish_all([*ended, lost]) == [(second.id, 0)]
    assert [await row(job) for job in (first, alone, tick, held)] == [
        (JobState.DONE, 1, 1),
        (JobState.DONE, 1, 1),
        (JobState.READY, 0, 1),
        (JobState.LEASED, 1, 1),
    ]
    assert await seconds_until(tick, "run_at") > 59


async def test_a_row_somebody_writes_just_now_is_passed_over_and_found_later() -> None:
    """Neither a claim nor a heartbeat waits for one row while it has others."""
    locked, free, beaten = [await a_job() for _ in range(3)]
    lease = (await taken(beaten)).lease
    await shift(beaten, "lease_until", 1)
    async with transaction():
        await Job.filter(id__in=[locked.id, beaten.id]).select_for_update()
        others = contextvars.Context()
        claim = asyncio.get_running_loop().create_task(jobs.claim_all([locked.id, free.id]), context=others)
        assert [each.id for each in await asyncio.wait_for(claim, 5)] == [free.id]
        beat = asyncio.get_running_loop().create_task(jobs.heartbeat([lease]), context=others)
        await asyncio.wait_for(beat, 5)
    assert await seconds_until(beaten, "lease_until") <= 1
    assert await jobs.sweep() == [(locked.id, 1)]


async def test_a_long_job_shows_its_progress_and_its_answer() -> None:
    job = await a_job()
    held = await taken(job)
    await jobs.progress(held.lease, 3, 10)
    await jobs.answer(held.lease, "http://127.0.0.1/page")
    fresh = await Job.get(id=job.id)
    assert (fresh.done_count, fresh.total_count, fresh.result_url) == (3, 10, "http://127.0.0.1/page")


# -- order of a subject -----------------------------------------------------------------------------------------------


async def test_jobs_of_one_subject_run_one_at_a_time_in_the_order_of_their_ids() -> None:
    first, second, third = [await a_job(subject="membership:1") for _ in range(3)]
    other = await a_job(subject="membership:2")
    assert await jobs.claim(second.id) is None
    held = await taken(first)
    assert await jobs.claim(second.id) is None, "nor while the first runs"
    assert (await taken(other)).id == other.id
    assert await jobs.finish(held.lease) == [(second.id, 0)], "who finished rings for the next"
    assert await jobs.claim(third.id) is None
    held = await taken(second)
    assert await jobs.finish(held.lease) == [(third.id, 0)]
    assert await jobs.finish((await taken(third)).lease) == []


async def test_a_job_that_waits_for_its_retry_holds_up_its_subject_and_a_dead_one_does_not() -> None:
    first, second = [await a_job(subject="membership:1") for _ in range(2)]
    await jobs.put_back((await taken(first)).lease, error="away", code="AWAY", after_seconds=60)
    assert await jobs.claim(second.id) is None
    assert await jobs.sweep() == []
    await shift(first, "run_at", -1)
    await jobs.bury((await taken(first)).lease, error="no", code="NO")
    assert [job_id for job_id, _ in await jobs.sweep()] == [second.id]
    assert (await taken(second)).token == 1


async def test_an_earlier_job_revived_by_a_person_waits_for_the_later_one_that_runs() -> None:
    first, second = [await a_job(subject="membership:1") for _ in range(2)]
    await jobs.bury((await taken(first)).lease, error="no", code="NO")
    running = await taken(second)
    await jobs.retry(first.id, acting=BY, at=NOW)
    assert await jobs.claim(first.id) is None, "one at a time"
    await shift(second, "lease_until", -1)
    assert await jobs.claim(second.id) is None
    revived = await taken(first)
    assert await jobs.finish(revived.lease) == []
    assert (await taken(second)).token == running.token + 1


# -- sweep ------------------------------------------------------------------------------------------------------------


async def test_the_sweep_wakes_what_is_due_and_was_not_woken_in_the_last_ten_seconds() -> None:
    due, expired, later, held, woken_lately, woken_long_ago = [await a_job() for _ in range(6)]
    await shift(later, "run_at", 60)
    await taken(expired)
    await shift(expired, "lease_until", -1)
    await taken(held)
    await shift(woken_lately, "wake_at", 5)
    await shift(woken_long_ago, "wake_at", -0.1)
    assert sorted(await jobs.sweep()) == sorted([(due.id, 1), (expired.id, 1), (woken_long_ago.id, 1)])
    assert await jobs.sweep() == []
    assert 9 < await seconds_until(due, "wake_at") <= 10
    await shift(due, "wake_at", -0.1)
    assert await jobs.sweep() == [(due.id, 2)], "each wake has a number of its own"


async def test_each_row_is_given_to_one_sweeper() -> None:
    rows = [await a_job() for _ in range(100)]
    pages = await asyncio.gather(*(jobs.sweep(limit=30) for _ in range(8)))
    woken = [job_id for page in pages for job_id, _ in page]
    assert len(woken) == len(set(woken))
    assert max(len(page) for page in pages) <= 30
    while page := await jobs.sweep():
        woken += [job_id for job_id, _ in page]
    assert sorted(woken) == sorted(job.id for job in rows)


# -- coming back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempts", [1, 5, 12, 13, 100, 5000])
def test_the_wait_doubles_up_to_an_hour_with_full_jitter(attempts: int) -> None:
    waits = [backoff_seconds(attempts) for _ in range(300)]
    cap = min(BACKOFF_CAP_SECONDS, 2 ** min(attempts, 20))
    assert all(0.5 <= wait <= cap for wait in waits)
    assert max(waits) > 0.8 * cap
    assert min(waits) < 0.5 + 0.2 * cap


def test_who_is_away_is_found_within_ten_minutes_of_coming_back() -> None:
    """Decision 51: each wait is at least the half of how long it has been, two seconds to ten minutes."""
    for away, cap in ((0, 2), (2, 2), (100, 100), (600, 600), (86_400, 600)):
        waits = [outage_seconds(away) for _ in range(300)]
        assert all(cap / 2 <= wait <= cap for wait in waits)
        assert max(waits) > 0.9 * cap
        assert min(waits) < 0.6 * cap


@pytest.mark.parametrize(("counts", "attempts"), [(True, 1), (False, 0)])
async def test_a_job_put_back_is_due_later(counts: bool, attempts: int) -> None:
    job = await a_job()
    held = await taken(job)
    await jobs.sweep()
    await jobs.put_back(held.lease, error="Too many requests", code="RATE_LIMITED", after_seconds=17.5, counts=counts)
    fresh = await Job.get(id=job.id)
    assert (fresh.state, fresh.attempts, fresh.error, fresh.error_code) == (
        JobState.READY,
        attempts,
        "Too many requests",
        "RATE_LIMITED",
    )
    assert (fresh.lease_until, fresh.wake_at) == (None, None)
    assert 17 < await seconds_until(job, "run_at") <= 17.5
    await shift(job, "run_at", -0.1)
    assert await jobs.sweep() == [(job.id, 1)], "the sweep need not wait for an older wake to pass"


async def test_a_job_that_is_done_says_so() -> None:
    job = await a_job()
    await jobs.put_back((await taken(job)).lease, error="away", code="AWAY", after_seconds=0)
    await jobs.finish((await taken(job)).lease)
    fresh = await Job.get(id=job.id)
    assert (fresh.state, fresh.attempts) == (JobState.DONE, 2)
    assert [fresh.error, fresh.error_code, fresh.lease_until] == [None] * 3
    assert isinstance(fresh.finished_at, datetime)


async def test_recurring_jobs_exist_once_and_are_armed_again() -> None:
    kinds = {"payments.ask": 15.0, "practice.poll": 5.0}
    await asyncio.gather(*(jobs.ensure_recurring(kinds) for _ in range(4)))
    assert sorted((job.key, job.kind) for job in await Job.all()) == [
        ("payments.ask", "payments.ask"),
        ("practice.poll", "practice.poll"),
    ]
    job = await Job.get(key="payments.ask")
    held = await taken(job)
    await jobs.put_back(held.lease, error="away", code="AWAY", after_seconds=0)
    await jobs.finish((await taken(job)).lease, again_in=15)
    fresh = await Job.get(id=job.id)
    assert (fresh.state, fresh.attempts, fresh.error_code) == (JobState.READY, 0, None)
    assert 14 < await seconds_until(job, "run_at") <= 15
    assert await jobs.claim(job.id) is None
    async with nothing_written():
        await jobs.ensure_recurring(kinds)


async def test_what_a_recurring_job_remembers_loses_against_a_concurrent_change() -> None:
    job = await a_job("practice.poll", payload={"since": "monday"})
    held = await taken(job)
    await jobs.remember(held, {"since": "tuesday"})
    assert (await Job.get(id=job.id)).payload == {"since": "tuesday"}
    await jobs.finish(held.lease, again_in=0)
    held = await taken(job)
    assert held.payload == {"since": "tuesday"}
    await Job.filter(id=job.id).update(payload={})
    await jobs.remember(held, {"since": "wednesday"})
    assert (await Job.get(id=job.id)).payload == {}


# -- by a person ------------------------------------------------------------------------------------------------------


async def test_a_person_lets_a_dead_job_run_again_with_its_key() -> None:
    job = await a_job()
    await jobs.put_back((await taken(job)).lease, error="away", code="AWAY", after_seconds=0)
    await jobs.bury((await taken(job)).lease, error="Card declined", code="DECLINED")
    dead = await Job.get(id=job.id)
    assert (dead.state, dead.error, dead.error_code) == (JobState.DEAD, "Card declined", "DECLINED")
    assert dead.finished_at is not None
    async with happening() as seen:
        await jobs.retry(job.id, acting="key:office", at=NOW)
    entry = seen.audit[0]
    assert (entry.actor, entry.verb, entry.subject_id, entry.before, entry.after) == (
        "key:office",
        "retry_job",
        job.id,
        {"state": "DEAD"},
        {"state": "READY"},
    )
    assert (await Job.get(id=job.id)).error is None
    held = await taken(job)
    assert (held.key, held.attempts, held.token) == (job.key, 1, 3)


async def test_a_person_takes_a_waiting_job_out() -> None:
    job = await a_job("practice.ship_invoice")
    async with happening() as seen:
        await jobs.cancel(job.id, acting="key:office", at=NOW)
    assert [(entry.verb, entry.after) for entry in seen.audit] == [("cancel_job", {"state": "CANCELLED"})]
    assert await jobs.claim(job.id) is None
    await jobs.retry(job.id, acting=BY, at=NOW)
    assert (await taken(job)).attempts == 1


@pytest.mark.parametrize("state", [JobState.READY, JobState.LEASED, JobState.DONE])
async def test_what_did_not_give_up_is_not_retried(state: JobState) -> None:
    job = await a_job()
    if state is not JobState.READY:
        held = await taken(job)
        if state is JobState.DONE:
            await jobs.finish(held.lease)
    async with refused(Code.JOB_NOT_RETRYABLE):
        await jobs.retry(job.id, acting=BY, at=NOW)


@pytest.mark.parametrize("kind", ["payments.collect", "payments.retry", "inbox.apply"])
async def test_work_whose_outcome_nobody_else_would_bring_is_not_cancelled(kind: str) -> None:
    job = await a_job(kind)
    async with refused(Code.JOB_NOT_RETRYABLE):
        await jobs.cancel(job.id, acting=BY, at=NOW)


async def test_what_runs_or_is_over_is_not_cancelled() -> None:
    job = await a_job("practice.ship_invoice")
    held = await taken(job)
    async with refused(Code.JOB_NOT_RETRYABLE):
        await jobs.cancel(job.id, acting=BY, at=NOW)
    await jobs.finish(held.lease)
    async with refused(Code.JOB_NOT_RETRYABLE):
        await jobs.cancel(job.id, acting=BY, at=NOW)
    for action in (jobs.retry, jobs.cancel):
        async with refused(Code.NOT_FOUND, "id"):
            await action(new_id(), acting=BY, at=NOW)


async def test_a_lease_names_a_row_and_a_token() -> None:
    held = await taken(await a_job())
    assert held.lease == Lease(held.id, 1)
