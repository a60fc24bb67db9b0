"""A whole running system: `python -m local up` on this test process's own database and Valkey."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from local.caller import Caller
from local.journeys.stage import Stage, nothing

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 90
STOP_SECONDS = 15


@dataclass(frozen=True, slots=True)
class System:
    """A supervisor and what runs under it."""

    supervisor: subprocess.Popen[bytes]
    folder: Path
    run: dict[str, Any]
    keys: dict[str, str]
    redis_url: str

    def worker(self) -> int | None:
        """The process id of the worker, while there is one."""
        pid = self.supervisor.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            try:
                if b"workers" in Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return int(child)
            except FileNotFoundError:
                continue
        return None

    async def kill_worker(self, _point: str) -> None:
        """kill -9; the supervisor starts another."""
        deadline = time.monotonic() + START_SECONDS
        pid = self.worker()
        while pid is None:
            assert time.monotonic() < deadline, "no worker came back"
            await asyncio.sleep(0.05)
            pid = self.worker()
        os.kill(pid, signal.SIGKILL)

    async def flush(self, _point: str) -> None:
        """All of Redis is gone at once."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()


@pytest.fixture(scope="module")
def system(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """The system, up."""
    folder = tmp_path_factory.mktemp("system")
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DUEFLOW_LOCAL": str(folder / "local"),
        "DUEFLOW_LEASE_SECONDS": "5",
        "DUEFLOW_API_PORT": "0",
    }
    log = (folder / "up.log").open("wb")
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "local", "up"], cwd=ROOT, env=environment, stdout=log, stderr=log
    )
    run_file = folder / "local" / "run.json"
    deadline = time.monotonic() + START_SECONDS
    while not run_file.exists():
        assert supervisor.poll() is None, (folder / "up.log").read_text()
        assert time.monotonic() < deadline, (folder / "up.log").read_text()
        time.sleep(0.1)
    run = json.loads(run_file.read_text())
    yield System(supervisor, folder, run, json.loads((folder / "local" / "keys.json").read_text()), redis_url)
    supervisor.send_signal(signal.SIGTERM)
    supervisor.wait(STOP_SECONDS)
    log.close()


Staged = Callable[[str], Stage]


@pytest.fixture
async def staged(system: System) -> AsyncIterator[Staged]:
    """What disturbs -> a stage where it does, with the admin's key."""
    run = system.run
    caller = Caller(run["graphql"], run["ws"], system.keys["admin"])
    disturbs: dict[str, Callable[[str], Awaitable[None]]] = {
        "calm": nothing,
        "the worker is killed": system.kill_worker,
        "Redis is emptied": system.flush,
    }

    def stage(disturbance: str) -> Stage:
        hears = disturbance != "Redis is emptied"
        return Stage(
            caller,
            run["sandbox"],
            system.keys["coursepro"],
            lambda _line: None,
            disturbs[disturbance],
            hears,
        )

    yield stage
    await caller.close()
