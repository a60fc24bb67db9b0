"""`python -m workers` as it runs in production: a process of its own, on servers that come and go."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from integrations.bus import STREAM
from local.process import Running
from local.servers import wait_until_ready
from local.state import held_ports
from local.valkey import Valkey
from models.actions.vault import Vault
from models.rules.states import JobState
from models.tables.job import Job
from models.tables.row import new_id
from models.tables.setting import ProviderSetting
from tests.build import NOW, a_name, sql

pytestmark = pytest.mark.usefixtures("database")
ROOT = Path(__file__).resolve().parents[2]
DONE, READY, LEASED = JobState.DONE, JobState.READY, JobState.LEASED


class Worker:
    """One worker process with its log."""

    def __init__(self, log: Path, **environment: str) -> None:
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers"], cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out
            )

    def said(self) -> str:
        return self.log.read_text()

    async def runs(self) -> None:
        await until(lambda: "worker runs" in self.said(), 20)

    async def stopped(self, seconds: float = 5) -> float:
        """Ask it to end -> how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        await until(lambda: self.process.poll() is not None, seconds)
        return time.monotonic() - began


async def until(true: Callable[[], bool | Awaitable[bool]], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator["Comes"]:
    server = Comes(Valkey(tmp_path / "valkey", held_ports(1)[0], "s3cret", keep=False), tmp_path / "valkey.log")
    server.start()
    yield server
    server.stop()


class Comes:
    """A Valkey of the test's own that goes and comes back at the same address, empty."""

    def __init__(self, valkey: Valkey, log: Path) -> None:
        self.url = valkey.url
        self._valkey, self._log = valkey, log
        self._running: Running | None = None

    def start(self) -> None:
        self._running = Running(self._valkey.child(), self._log)
        wait_until_ready(self._running)

    def stop(self) -> None:
        if self._running:
            self._running.stop()
            self._running = None


Starts = Callable[..., Worker]


@pytest.fixture
def worker(database_url: str, valkey: Comes, secret_key: str, tmp_path: Path) -> Iterator[Starts]:
    """Start a worker; whatever still lives at the end is killed."""
    started: list[Worker] = []

    def start(**environment: str) -> Worker:
        settings = {
            "DATABASE_URL": f"{database_url}?maxsize=8",
            "REDIS_URL": valkey.url,
            "DUEFLOW_SECRET_KEY": secret_key,
        }
        one = Worker(tmp_path / f"worker{len(started)}.log", **{**settings, **environment})
        started.append(one)
        return one

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()


@contextmanager
def silence() -> Iterator[str]:
    """An address at which a server takes calls and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


async def a_telling(**values: Any) -> Job:
    """A row as a mutation leaves it, without anybody having rung."""
    told = {"id": str(new_id()), "topic": "booking", "name": "BookingMade", "ids": {}, "occurred_at": NOW.isoformat()}
    return await Job.create(kind="live.publish", key=a_name("told"), payload={"events": [told]}, **values)


async def a_quiet_job() -> Job:
    """Work that needs PostgreSQL only."""
    return await Job.create(kind="invoices.respread", key=a_name("respread"), payload={"user_id": str(new_id())})


async def state(job: Job) -> JobState:
    return (await Job.get(id=job.id)).state


async def is_in(job: Job, wanted: JobState) -> bool:
    return await state(job) is wanted


async def test_a_row_nobody_rang_for_is_done_once_by_the_sweeper(worker: Starts, valkey: Comes) -> None:
    await worker().runs()
    jobs = [await a_telling() for _ in range(5)]
    for job in jobs:
        await until(lambda job=job: is_in(job, DONE), 5)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    client = redis.asyncio.Redis.from_url(valkey.url, decode_responses=True)
    entries = await client.xrange(STREAM)
    await client.aclose()
    told = [json.loads(fields["event"])["id"] for _, fields in entries if fields["event"]]
    assert sorted(told) == sorted(job.payload["events"][0]["id"] for job in jobs)
    assert [(job.attempts, job.token) for job in await Job.filter(kind="live.publish")] == [(1, 1)] * 5


async def test_while_redis_is_away_jobs_run_straight_and_afterwards_through_arq_again(
    worker: Starts, valkey: Comes
) -> None:
    one = worker()
    await one.runs()
    valkey.stop()
    without = [await a_quiet_job() for _ in range(5)]
    for job in without:
        await until(lambda job=job: is_in(job, DONE), 20)  # type: ignore[misc]  # mypy cannot infer a lambda's default
    assert "running straight" in one.said()
    telling = await a_telling()
    await until(lambda: Job.exists(id=telling.id, error_code="BUS_AWAY"), 20)

    valkey.start()
    await sql("WITH x AS (UPDATE job SET run_at = NULL WHERE id = $1 RETURNING 1) SELECT * FROM x", telling.id)
    await until(lambda: is_in(telling, DONE), 20)
    assert one.process.poll() is None, "the same process"
    client = redis.asyncio.Redis.from_url(valkey.url, decode_responses=True)
    await until(lambda: _has_worker(client), 10)
    straight = one.said().count("running straight")
    again = await a_quiet_job()
    await until(lambda: is_in(again, DONE), 10)
    assert one.said().count("running straight") == straight, "carried by arq"
    await client.aclose()

    valkey.stop()
    last = await a_quiet_job()
    await until(lambda: is_in(last, DONE), 20)
    assert await one.stopped() < 5, "Redis being away does not hold it up"


async def _has_worker(client: "redis.asyncio.Redis") -> bool:
    return bool(await client.keys("dueflow:health:*"))


async def test_a_blank_secret_refuses_to_start(worker: Starts, secret_key: str) -> None:
    """Whoever signs with nothing would be let in; while the provider is switched off it does no harm."""
    secrets = Vault(secret_key).seal({"access_token": "t", "webhook_secret": "  "})
    row = await ProviderSetting.create(provider="GOCARDLESS", settings={}, secrets=secrets)
    one = worker()
    await until(lambda: one.process.poll() is not None, 20)
    assert one.process.returncode == 1
    assert "The stored webhook_secret of GOCARDLESS is blank. Switch the provider off" in one.said()
    await ProviderSetting.filter(id=row.id).update(enabled=False)
    other = worker()
    await other.runs()
    await other.stopped()
    await row.delete()


async def test_a_worker_that_is_asked_to_stop_puts_its_job_back(worker: Starts) -> None:
    with silence() as address:
        one = worker(DUEFLOW_SANDBOX_ADMIN=address)
        await one.runs()
        job = await Job.create(kind="sandbox.move_clock", key=a_name("clock"), payload={"now": NOW.isoformat()})
        await until(lambda: is_in(job, LEASED))
        assert await one.stopped() < 5
        assert one.process.returncode == 0
    row = await Job.get(id=job.id)
    assert (row.state, row.attempts, row.error_code) == (READY, 0, "STOPPED")
    await Job.filter(id=job.id).delete()


async def test_the_job_of_a_killed_worker_is_run_by_the_next_after_its_lease(worker: Starts) -> None:
    with silence() as address:
        one = worker(DUEFLOW_SANDBOX_ADMIN=address)
        await one.runs()
        job = await Job.create(kind="sandbox.move_clock", key=a_name("clock"), payload={"now": NOW.isoformat()})
        await until(lambda: is_in(job, LEASED))
        one.process.kill()
        one.process.wait()
        other = worker(DUEFLOW_SANDBOX_ADMIN=address)
        await other.runs()
        for _ in range(2):  # two sweeps long nobody else may touch it
            swept = await a_quiet_job()
            await until(lambda swept=swept: is_in(swept, DONE))  # type: ignore[misc]  # mypy cannot infer a lambda's default
        row = await Job.get(id=job.id)
        assert (row.state, row.token) == (LEASED, 1)
        await sql(
            "WITH x AS (UPDATE job SET lease_until = now(), wake_at = NULL WHERE id = $1 RETURNING 1) SELECT * FROM x",
            job.id,
        )
        await until(lambda: Job.exists(id=job.id, state="LEASED", token=2, attempts=2), 5)
        await other.stopped()
    await Job.filter(id=job.id).delete()


async def test_the_database_restarting_is_outlived_and_the_log_shows_no_local_variables(worker: Starts) -> None:
    """They hold keys and bank data."""
    one = worker()
    await one.runs()
    await sql(
        "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    job = await a_quiet_job()
    await until(lambda: is_in(job, DONE), 5)
    assert one.process.poll() is None

    secret = a_name("sort-code")
    job = await Job.create(kind="invoices.respread", key=a_name("broken"), payload={"user": secret})
    await until(lambda: Job.exists(id=job.id, error_code="INTERNAL"))
    await until(lambda: "job failed" in one.said())
    assert "KeyError" in one.said()
    assert secret not in one.said()
    await Job.filter(id=job.id).delete()
