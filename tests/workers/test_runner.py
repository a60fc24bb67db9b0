"""Whatever a handler does, the row says what became of the job: a table of what is raised and what is written."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tortoise.connection import get_connections

from integrations.bus import RedisBus
from local.state import held_ports
from models.actions import inbound, jobs
from models.actions.jobs import AWAY_SECONDS, AWAY_SINCE, MAX_ATTEMPTS
from models.actions.unit import PUBLISH, Fenced, unit
from models.ports import OutcomeUnknown, RateLimited, ReceivedEvent, Refused, Unavailable
from models.rules.refusals import REFUSALS, Code, Refusal
from models.rules.states import InboxState, JobState, Provider
from models.tables.centre import SettingGroup
from models.tables.inbox import InboxEvent
from models.tables.job import Job
from tests.build import NOW, a_name, sql
from tests.workers.conftest import Heard
from workers.jobs import news
from workers.runner import Runner, Wakes
from workers.work import Handler, Outside, Work

pytestmark = pytest.mark.usefixtures("database")
KIND = "test.work"


class Bell:
    """Remembers for whom it was rung."""

    def __init__(self) -> None:
        self.rings: Wakes = []

    async def ring(self, wakes: Wakes) -> None:
        """Remember."""
        self.rings += wakes


def raising(error: BaseException) -> Handler:
    async def handler(work: Work) -> None:
        raise error

    return handler


async def doing_nothing(work: Work) -> None:
    """Succeed."""


async def a_job(kind: str = KIND, **values: Any) -> Job:
    return await Job.create(kind=kind, **{"key": a_name("key"), "payload": {}, **values})


def a_runner(outside: Outside, handler: Handler, *, kind: str = KIND, **options: Any) -> Runner:
    values: dict[str, Any] = {"recurring": {}, "ring": Bell().ring, **options}
    return Runner({kind: handler}, values.pop("recurring"), outside, values.pop("ring"), **values)


async def wait_of(job: Job) -> float | None:
    """The seconds until a row is due, None where it is at once."""
    found = await sql("SELECT extract(epoch FROM run_at - now())::float8 AS s FROM job WHERE id = $1", job.id)
    seconds: float | None = found[0]["s"]
    return seconds


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not await true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


READY, DEAD, DONE, LEASED = JobState.READY, JobState.DEAD, JobState.DONE, JobState.LEASED
IN_FULL = f"Found so. {REFUSALS[Code.NO_MANDATE].sentence}"


@pytest.mark.parametrize(
    ("raised", "state", "attempts", "code", "says", "longest_wait", "told"),
    [
        (Refused("Card declined", code="card_declined"), DEAD, 1, "card_declined", "Card declined", None, ["DEAD"]),
        (Refusal(Code.NO_MANDATE, "Found so."), DEAD, 1, "NO_MANDATE", IN_FULL, None, ["DEAD"]),
        (RateLimited("Slow down", retry_after=42), READY, 0, "RATE_LIMITED", "Slow down", 42, []),
        (Unavailable("502", code="HTML"), READY, 0, "HTML", "502", 2, ["READY"]),
        (Unavailable("shut", code="BREAKER_OPEN", retry_after=9), READY, 0, "BREAKER_OPEN", "shut", 9, ["READY"]),
        (OutcomeUnknown("no answer", code="TIMEOUT"), READY, 0, "TIMEOUT", "no answer", 2, ["READY"]),
        (ZeroDivisionError("oops"), READY, 1, "INTERNAL", "ZeroDivisionError: oops", 2, ["READY"]),
        (Fenced("lost"), LEASED, 1, None, None, None, []),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_what_is_raised_and_what_the_row_says(
    outside: Outside,
    heard: Heard,
    raised: Exception,
    state: JobState,
    attempts: int,
    code: str | None,
    says: str | None,
    longest_wait: float | None,
    told: list[str],
) -> None:
    job = await a_job()
    await a_runner(outside, raising(raised)).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code, row.error) == (state, attempts, code, says)
    wait = await wait_of(job)
    if longest_wait is None:
        assert wait is None
    else:
        assert wait is not None
        assert 0.3 < wait <= longest_wait
    events = [json.loads(body) for body in await heard()]
    assert [(event["topic"], event["name"], event["ids"]) for event in events] == [
        ("job", name, {"job_id": str(job.id)}) for name in told
    ]


async def test_a_job_that_succeeds_is_done_and_rings_for_the_next_of_its_subject(
    outside: Outside, heard: Heard
) -> None:
    first, second = [await a_job(subject=f"{KIND}:1") for _ in range(2)]
    bell = Bell()
    runner = a_runner(outside, doing_nothing, ring=bell.ring)
    await runner.run(second.id)
    assert (await Job.get(id=second.id)).state is READY, "not before the first"
    await runner.run(first.id)
    assert (await Job.get(id=first.id)).state is DONE
    assert bell.rings == [(second.id, 0)]
    assert [json.loads(body)["name"] for body in await heard()] == ["DONE"]


async def test_what_may_not_run_is_left_alone(outside: Outside) -> None:
    job = await a_job(state=JobState.CANCELLED)
    await a_runner(outside, raising(AssertionError("it ran"))).run(job.id)
    assert (await Job.get(id=job.id)).token == 0


async def test_a_kind_this_worker_does_not_know_waits_for_one_that_does(outside: Outside) -> None:
    job = await a_job("of.tomorrow")
    await a_runner(outside, doing_nothing).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.error_code) == (READY, "INTERNAL")


async def aged(job: Job, seconds: float) -> None:
    """Let whom a job waits for have been away for so much longer."""
    await sql(
        f"WITH x AS (UPDATE job SET run_at = NULL, payload = jsonb_set(payload, '{{{AWAY_SINCE}}}', to_jsonb("
        f"(payload->>'{AWAY_SINCE}')::timestamptz - make_interval(secs => $2))) WHERE id = $1 RETURNING 1)"
        " SELECT * FROM x",
        job.id,
        float(seconds),
    )


@pytest.mark.parametrize("before", ["INTERNAL", "WORKER_LOST"])
async def test_the_last_attempt_buries(outside: Outside, before: str) -> None:
    runner = a_runner(outside, raising(ValueError("x")))
    last = await a_job(attempts=MAX_ATTEMPTS - 1, error_code=before)
    await runner.run(last.id)
    assert (await Job.get(id=last.id)).state is DEAD
    one_more = await a_job(attempts=MAX_ATTEMPTS - 2, error_code=before)
    await runner.run(one_more.id)
    assert (await Job.get(id=one_more.id)).state is READY


@pytest.mark.parametrize("away", [Unavailable("503", code="AWAY"), OutcomeUnknown("lost", code="AWAY")], ids=repr)
async def test_an_outage_is_no_attempt_and_is_given_up_after_two_days(outside: Outside, away: Exception) -> None:
    """Decision 51: it is waited for by the clock; a person's retry starts it anew."""
    job, runner = await a_job(payload={"kept": 1}), a_runner(outside, raising(away))
    for _ in range(3 * MAX_ATTEMPTS):
        await Job.filter(id=job.id).update(run_at=None)
        await runner.run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (READY, 0, "AWAY")
    await aged(job, AWAY_SECONDS - 60)
    await runner.run(job.id)
    assert (await Job.get(id=job.id)).state is READY
    wait = await wait_of(job)
    assert wait is not None
    assert jobs.OUTAGE_CAP_SECONDS / 2 - 1 < wait <= jobs.OUTAGE_CAP_SECONDS
    await aged(job, 60)
    await runner.run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.error_code) == (DEAD, "AWAY")
    await jobs.retry(job.id, acting="key:office", at=NOW)
    await runner.run(job.id)
    assert (await Job.get(id=job.id)).state is READY
    await Job.filter(id=job.id).update(run_at=None)
    await a_runner(outside, doing_nothing).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.payload) == (DONE, {"kept": 1})


async def test_an_outage_and_a_fault_are_counted_apart(outside: Outside) -> None:
    """A day of waiting leaves our own fault its twelve attempts, and a fault ends the waiting."""
    job = await a_job()
    await a_runner(outside, raising(Unavailable("away", code="AWAY"))).run(job.id)
    await aged(job, AWAY_SECONDS)
    await a_runner(outside, raising(ValueError("x"))).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code, row.payload) == (READY, 1, "INTERNAL", {})
    await Job.filter(id=job.id).update(run_at=None, attempts=MAX_ATTEMPTS - 1)
    await a_runner(outside, raising(Unavailable("away", code="AWAY"))).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (READY, MAX_ATTEMPTS - 1, "AWAY")


async def test_a_worker_lost_after_faults_is_the_first_one_lost() -> None:
    job = await a_job(attempts=9, error_code="INTERNAL")
    counted = []
    for _ in range(3):
        held = await jobs.claim(job.id, 0.0)  # a lease that is over at once
        assert held is not None
        counted.append(held.attempts)
    assert counted == [10, 2, 3]


async def test_rate_limits_never_bury(outside: Outside) -> None:
    job = await a_job(attempts=MAX_ATTEMPTS - 1)
    await a_runner(outside, raising(RateLimited("Slow down", retry_after=1))).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts) == (READY, MAX_ATTEMPTS - 1)


async def test_a_job_that_kills_every_worker_is_buried_without_being_run(outside: Outside) -> None:
    job = await a_job(attempts=MAX_ATTEMPTS)
    await a_runner(outside, raising(AssertionError("it ran"))).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.error_code) == (DEAD, "WORKER_LOST")


@pytest.mark.parametrize("attempts", [MAX_ATTEMPTS, 3 * MAX_ATTEMPTS, 2000])
async def test_telling_is_never_given_up(outside: Outside, attempts: int) -> None:
    """Redis is really away: nobody listens at its address."""
    bus = RedisBus(f"redis://127.0.0.1:{held_ports(1)[0]}/0")
    alone = Outside(outside.providers, outside.clock, bus)
    told = {"id": "1", "topic": "booking", "name": "BookingMade", "ids": {}, "occurred_at": NOW.isoformat()}
    job = await a_job(PUBLISH, attempts=attempts, payload={"events": [told]})
    await a_runner(alone, news.publish, kind=PUBLISH).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.error_code) == (READY, "BUS_AWAY")
    await bus.stop()
    wait = await wait_of(job)
    assert wait is not None
    assert wait <= jobs.BACKOFF_CAP_SECONDS


@pytest.mark.parametrize(
    ("raised", "code", "longest_wait"),
    [
        (Unavailable("away", code="AWAY"), "AWAY", 60.0),
        (ValueError("x"), "INTERNAL", 60.0),
        (Refused("not set up", code="PROVIDER_NOT_CONFIGURED"), "PROVIDER_NOT_CONFIGURED", 7.0),
    ],
    ids=["away", "fault", "refused"],
)
async def test_a_recurring_job_goes_on_for_ever(
    outside: Outside, heard: Heard, raised: Exception, code: str, longest_wait: float
) -> None:
    job = await a_job(attempts=1500)
    runner = a_runner(outside, raising(raised), recurring={KIND: 7.0})
    await runner.run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.error_code) == (READY, code)
    wait = await wait_of(job)
    assert wait is not None
    assert 0.3 < wait <= longest_wait
    await Job.filter(id=job.id).update(run_at=None)
    await a_runner(outside, doing_nothing, recurring={KIND: 7.0}).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (READY, 0, None)
    wait = await wait_of(job)
    assert wait is not None
    assert 6 < wait <= 7
    assert await heard() == [], "nobody watches what recurs"


# -- stopped, slow, lost ----------------------------------------------------------------------------------------------


async def test_a_stopped_worker_puts_its_job_back_at_once_and_it_does_not_count(outside: Outside) -> None:
    began = asyncio.Event()

    async def writes_for_ever(work: Work) -> None:
        while True:
            async with unit(acting=work.acting, at=NOW):
                await SettingGroup.all().count()
            began.set()

    for _ in range(20):
        began.clear()
        job = await a_job()
        running = asyncio.create_task(a_runner(outside, writes_for_ever).run(job.id))
        await began.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        row = await Job.get(id=job.id)
        assert (row.state, row.attempts, row.error_code) == (READY, 0, "STOPPED")
        assert await jobs.claim(job.id) is not None


async def test_a_job_that_hangs_is_an_attempt_that_failed(outside: Outside) -> None:
    async def hangs(work: Work) -> None:
        await asyncio.Event().wait()

    job = await a_job()
    await a_runner(outside, hangs, job_seconds=0.1).run(job.id)
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (READY, 1, "INTERNAL")
    await Job.filter(id=job.id).update(run_at=None, attempts=MAX_ATTEMPTS - 1)
    await a_runner(outside, hangs, job_seconds=0.1).run(job.id)
    assert (await Job.get(id=job.id)).state is DEAD


async def test_a_long_job_keeps_its_lease_also_through_a_restart_of_the_database(outside: Outside) -> None:
    ends = asyncio.Event()

    async def long(work: Work) -> None:
        await ends.wait()

    job = await a_job()
    running = asyncio.create_task(a_runner(outside, long, lease_seconds=0.6).run(job.id))
    await until(lambda: Job.exists(id=job.id, state="LEASED"))
    # every connection but the one that says so dies, as in a restart
    await sql(
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(15):
        await asyncio.sleep(0.1)
        assert await jobs.claim(job.id) is None, "nobody else gets it"
    ends.set()
    await running
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts) == (DONE, 1)


async def test_a_heartbeat_that_fails_is_followed_by_another(outside: Outside, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away for one beat: its table cannot be written."""
    ends = asyncio.Event()

    async def long(work: Work) -> None:
        await ends.wait()

    job = await a_job()
    running = asyncio.create_task(a_runner(outside, long, lease_seconds=0.9).run(job.id))
    await until(lambda: Job.exists(id=job.id, state="LEASED"))
    away = (
        "CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.state = 'LEASED' THEN RAISE EXCEPTION 'away'; END IF; RETURN NEW; END $$"
    )
    await _run(away, "CREATE TRIGGER away BEFORE UPDATE ON job FOR EACH ROW EXECUTE FUNCTION away()")
    await asyncio.sleep(0.45)
    await _run("DROP TRIGGER away ON job", "DROP FUNCTION away")
    for _ in range(10):
        await asyncio.sleep(0.1)
        assert await jobs.claim(job.id) is None, "nobody else gets it"
    ends.set()
    await running
    assert (await Job.get(id=job.id)).state is DONE


async def _run(*statements: str) -> None:
    for statement in statements:
        await get_connections().get("default").execute_script(statement)


async def test_a_worker_that_was_frozen_past_its_lease_writes_nothing(outside: Outside) -> None:
    name = a_name("late")
    frozen, thawed = asyncio.Event(), asyncio.Event()

    async def slow(work: Work) -> None:
        frozen.set()
        await thawed.wait()
        async with unit(acting=work.acting, at=NOW) as done:
            done.audit("late", await SettingGroup.create(name=name))

    job = await a_job()
    late = asyncio.create_task(a_runner(outside, slow).run(job.id))
    await frozen.wait()
    await sql(
        "WITH x AS (UPDATE job SET lease_until = now() - interval '1 s' WHERE id = $1 RETURNING 1) SELECT * FROM x",
        job.id,
    )
    await a_runner(outside, doing_nothing).run(job.id)
    thawed.set()
    await late
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.token) == (DONE, 2, 2)
    assert not await SettingGroup.exists(name=name)


# -- what came in -----------------------------------------------------------------------------------------------------


async def _received() -> tuple[InboxEvent, Job]:
    event = ReceivedEvent(a_name("evt"), "invoice.paid", a_name("in"), {"id": "evt"})
    assert await inbound.receive(Provider.STRIPE, [event]) == 1
    return (
        await InboxEvent.get(event_id=event.event_id),
        await Job.get(key=f"inbox.apply:STRIPE:{event.event_id}"),
    )


async def test_an_event_whose_job_dies_is_dead_and_can_be_replayed(outside: Outside) -> None:
    event, job = await _received()
    await a_runner(outside, raising(Refused("no", code="NO")), kind="inbox.apply").run(job.id)
    assert ((await Job.get(id=job.id)).state, (await InboxEvent.get(id=event.id)).state) == (DEAD, InboxState.DEAD)
    await inbound.replay(event.id, acting="key:office", at=NOW)
    assert (await InboxEvent.get(id=event.id)).state is InboxState.RECEIVED
    again = await Job.exclude(id=job.id).get(kind="inbox.apply", state="READY")
    assert again.payload == {"provider": "STRIPE", "event_id": event.event_id}


async def test_a_worker_that_lost_an_event_does_not_call_it_dead(outside: Outside) -> None:
    """Another one applied it meanwhile."""
    event, job = await _received()

    async def overtaken(work: Work) -> None:
        await Job.filter(id=job.id).update(token=work.job.token + 1)
        await inbound.applied(event, at=NOW, any_facts=True)
        raise Refused("no", code="NO")

    await a_runner(outside, overtaken, kind="inbox.apply").run(job.id)
    assert (await InboxEvent.get(id=event.id)).state is InboxState.APPLIED
    await Job.filter(id=job.id).update(state="DONE", lease_until=None)


async def test_events_about_one_object_are_applied_one_after_the_other(outside: Outside) -> None:
    """Two workers that read the object at once could write what they read in the wrong order."""
    name = a_name("in")
    events = [ReceivedEvent(a_name("evt"), f"invoice.{word}", name, {}) for word in ("created", "paid")]
    other = ReceivedEvent(a_name("evt"), "ping", None, {})
    await inbound.receive(Provider.STRIPE, [*events, other])
    first, second, third = [await Job.get(key=f"inbox.apply:STRIPE:{event.event_id}") for event in (*events, other)]
    held = await jobs.claim(first.id)
    assert held is not None
    assert await jobs.claim(second.id) is None
    assert await jobs.claim(third.id) is not None
    assert await jobs.finish(held.lease) == [(second.id, 0)]


async def test_an_event_is_stored_once_with_one_job(outside: Outside) -> None:
    event, job = await _received()
    again = ReceivedEvent(event.event_id, "invoice.paid", event.object_id, {"id": "evt"})
    assert await inbound.receive(Provider.STRIPE, [again, again]) == 0
    delivered = ReceivedEvent(a_name("evt"), "invoice.paid", a_name("in"), {})
    await asyncio.gather(*(inbound.receive(Provider.STRIPE, [delivered]) for _ in range(6)))
    assert await InboxEvent.filter(event_id=delivered.event_id).count() == 1
    assert await Job.filter(key=f"inbox.apply:STRIPE:{delivered.event_id}").count() == 1
    assert await InboxEvent.filter(event_id=event.event_id).count() == 1
    assert await Job.filter(key=job.key).count() == 1
