"""The supervisor with real processes: order, waiting, restarts, log tails, one at a time, and nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import Signals
from typing import Any

import pytest

from local.supervisor import backoff_seconds

ROOT = Path(__file__).resolve().parents[2]

# A program that notes what happens to it and does what its words say, among them: "ready" says so, "fail" ends with 3,
# "end" with 0, "die-after:S" with 7, "fails:N" fails its first N lives, "deaf" ignores SIGTERM, "child" starts another.
STAND_IN = """
import os, signal, subprocess, sys, time
name, events, *words = sys.argv[1:]
def note(what, pid=os.getpid()):
    with open(events, "a") as file:
        file.write(f"{time.monotonic()} {pid} {name} {what}\\n")
def leave(number, frame):
    note("stopped by " + signal.Signals(number).name)
    sys.exit(0)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, leave)
note("started")
for word in words:
    word, _, value = word.partition(":")
    if word == "ready":
        note("ready"); print("ready", flush=True)
    elif word == "sleep":
        time.sleep(float(value))
    elif word == "say":
        print(value, flush=True)
    elif word == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    elif word == "child":
        note("has a child", subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
    elif word == "fails" and sum(f"{name} started" in line for line in open(events)) <= int(value):
        sys.exit(5)
    elif word == "fail":
        sys.exit(3)
    elif word == "die-after":
        time.sleep(float(value)); note("dies"); sys.exit(7)
    elif word == "end":
        note("ends"); sys.exit(0)
time.sleep(60)
"""

DRIVER = """
import json, signal, sys
from pathlib import Path
from local.process import Child
from local.state import AlreadyRunningError, Folder
from local.supervisor import Supervisor
rows, folder = json.loads(sys.argv[1]), Folder(Path(sys.argv[2]))
try:
    lock = folder.claim()
except AlreadyRunningError as reason:
    print(reason, flush=True)
    sys.exit(2)
def child(name, words, after=(), step=False, stop=(("SIGTERM", 2),), orphaned="SIGKILL", **more):
    return Child(
        name=name, argv=(sys.executable, "-I", "-S", sys.argv[3], name, sys.argv[4], *words), after=tuple(after),
        ready=None if step else lambda running: "ready" in running.output(),
        stop=tuple((signal.Signals[number], seconds) for number, seconds in stop),
        orphaned=signal.Signals[orphaned], **more)
supervisor = Supervisor([child(**row) for row in rows], folder.logs, lambda line: print(line, flush=True), (lock,))
sys.exit(supervisor.run(lambda: print("ALL UP", flush=True)))
"""

THE_SET_UP: list[dict[str, Any]] = [
    {"name": "valkey", "words": ["sleep:0.1", "ready"]},
    {"name": "postgresql", "words": ["sleep:0.1", "ready"], "after": ["valkey"], "stop": [["SIGINT", 2]]},
    {"name": "migrations", "words": ["sleep:0.1", "end"], "step": True, "after": ["postgresql"]},
    {"name": "sandbox", "words": ["ready"], "after": ["postgresql"]},
    {"name": "demo data", "words": ["end"], "step": True, "after": ["migrations", "sandbox"]},
    {"name": "api", "words": ["sleep:0.1", "ready"], "after": ["demo data"], "stop_rank": 1},
    {"name": "worker", "words": ["ready"], "after": ["demo data"]},
]


class Driven:
    """A supervisor in a process of its own, what it says, and what its stand-ins noted."""

    def __init__(self, folder: Path, rows: list[dict[str, Any]]) -> None:
        self.events_file = folder / "events"
        self.events_file.touch()
        (folder / "stand_in.py").write_text(STAND_IN)
        self.said_file = folder / f"said-{time.monotonic_ns()}"
        names = (folder / "local", folder / "stand_in.py", self.events_file)
        argv = [sys.executable, "-c", DRIVER, json.dumps(rows), *(str(name) for name in names)]
        with self.said_file.open("w") as out:
            self.process = subprocess.Popen(argv, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return self.said_file.read_text()

    @property
    def events(self) -> list[str]:
        """["api started", ...] in the order of time."""
        return [line.split(" ", 2)[2] for line in self.events_file.read_text().splitlines()]

    def at(self, event: str) -> list[float]:
        """When something happened, each time."""
        lines = (line.split(" ", 2) for line in self.events_file.read_text().splitlines())
        return [float(when) for when, _, what in lines if what == event]

    def pids(self) -> list[int]:
        return [int(line.split(" ", 2)[1]) for line in self.events_file.read_text().splitlines()]

    def end(self, number: Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(10)


def until(true: Callable[[], bool], driven: Driven, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s:\n{driven.said}\n{driven.events}"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[..., Driven]]:
    driven: list[Driven] = []

    def start(*rows: dict[str, Any]) -> Driven:
        driven.append(Driven(tmp_path, list(rows)))
        return driven[-1]

    yield start
    for one in driven:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def row(name: str, *words: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "words": list(words), **more}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_all_start_after_what_they_need_and_stop_in_the_opposite_order(
    drive: Callable[..., Driven], number: Signals
) -> None:
    driven = drive(*THE_SET_UP)
    until(lambda: "ALL UP" in driven.said, driven)
    assert driven.end(number) == 0
    happened = driven.events
    for earlier, later in [
        ("valkey ready", "postgresql started"),
        ("postgresql ready", "migrations started"),
        ("migrations ends", "demo data started"),
        ("sandbox ready", "demo data started"),
        ("demo data ends", "api started"),
        ("demo data ends", "worker started"),
    ]:
        assert happened.index(earlier) < happened.index(later), (earlier, later)
    assert happened[-5:] == [
        "api stopped by SIGTERM",
        "worker stopped by SIGTERM",
        "sandbox stopped by SIGTERM",
        "postgresql stopped by SIGINT",
        "valkey stopped by SIGTERM",
    ]
    told = [line.split("  ")[1] for line in driven.said.splitlines() if line.startswith("  ")]
    assert told == [str(row["name"]) for row in THE_SET_UP]
    assert not any(lives(pid) for pid in driven.pids())


def test_who_does_not_listen_is_killed_with_all_it_started(drive: Callable[..., Driven]) -> None:
    driven = drive(row("worker", "deaf", "child", "ready", stop=[["SIGTERM", 0.5]]))
    until(lambda: "ALL UP" in driven.said, driven)
    assert len(set(driven.pids())) == 2
    assert driven.end() == 0
    assert not any(lives(pid) for pid in driven.pids())


def test_a_failed_step_ends_everything_and_shows_the_end_of_its_log(drive: Callable[..., Driven]) -> None:
    driven = drive(
        row("valkey", "ready"),
        row("migrations", "say:no such column", "fail", step=True, after=["valkey"]),
        row("api", "ready", after=["migrations"]),
    )
    assert driven.process.wait(10) == 1
    assert "migrations: exit 3. The end of " in driven.said
    assert "  | no such column" in driven.said
    assert driven.events == ["valkey started", "valkey ready", "migrations started", "valkey stopped by SIGTERM"]


def test_who_is_not_ready_in_time_ends_everything(drive: Callable[..., Driven]) -> None:
    driven = drive(row("api", "say:still thinking", patience=3))
    assert driven.process.wait(10) == 1
    assert "api: not ready after 3 s. The end of " in driven.said
    assert "  | still thinking" in driven.said
    assert driven.events == ["api started", "api stopped by SIGTERM"]


def test_a_server_whose_predecessor_still_holds_its_files_is_tried_again(drive: Callable[..., Driven]) -> None:
    driven = drive(row("postgresql", "fails:2", "ready", retry=True))
    until(lambda: "ALL UP" in driven.said, driven)
    assert driven.events == ["postgresql started"] * 3 + ["postgresql ready"]
    assert driven.end() == 0


def test_who_dies_is_started_again_later_each_time_and_its_log_is_shown(drive: Callable[..., Driven]) -> None:
    driven = drive(row("valkey", "ready"), row("worker", "ready", "say:out of luck", "die-after:0.1"))
    until(lambda: len(driven.at("worker started")) == 4, driven)
    assert driven.end() == 0
    pauses = [
        later - sooner for sooner, later in zip(driven.at("worker dies"), driven.at("worker started")[1:], strict=False)
    ]
    assert [at_least < pause for at_least, pause in zip((0.5, 1.0, 2.0), pauses, strict=False)] == [True, True, True]
    for delay in ("0.5", "1", "2"):
        assert f"worker: exit 7; starting it again in {delay} s. The end of " in driven.said
    assert driven.said.count("  | out of luck") >= 3
    assert driven.events.count("valkey started") == 1


def test_who_is_killed_is_named_with_the_signal(drive: Callable[..., Driven]) -> None:
    driven = drive(row("api", "ready"))
    until(lambda: "ALL UP" in driven.said, driven)
    os.kill(driven.pids()[0], signal.SIGKILL)
    until(lambda: "api: SIGKILL; starting it again in 0.5 s" in driven.said, driven)
    until(lambda: driven.events.count("api ready") == 2, driven)
    assert driven.end() == 0


def test_a_stop_while_starting_is_a_stop(drive: Callable[..., Driven]) -> None:
    driven = drive(row("valkey", "ready"), row("api", after=["valkey"]))
    until(lambda: "api started" in driven.events, driven)
    assert driven.end() == 0
    assert "ALL UP" not in driven.said
    assert driven.events[-2:] == ["api stopped by SIGTERM", "valkey stopped by SIGTERM"]


def test_backoff_doubles_up_to_half_a_minute() -> None:
    assert [backoff_seconds(failures) for failures in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_all_end_with_a_killed_supervisor(drive: Callable[..., Driven]) -> None:
    driven = drive(row("postgresql", "ready", orphaned="SIGINT"), row("api", "deaf", "ready"))
    until(lambda: "ALL UP" in driven.said, driven)
    driven.process.kill()
    until(lambda: not any(lives(pid) for pid in driven.pids()), driven)
    until(lambda: "postgresql stopped by SIGINT" in driven.events, driven)


def test_a_second_one_says_so_and_exits_with_2(drive: Callable[..., Driven]) -> None:
    first = drive(row("api", "ready"))
    until(lambda: "ALL UP" in first.said, first)
    second = drive(row("api", "ready"))
    assert second.process.wait(10) == 2
    pid = first.process.pid
    assert second.said == f"Dueflow already runs here (process {pid}). Stop it with Ctrl-C or `kill {pid}`.\n"
    assert first.end() == 0
    assert first.events.count("api started") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_the_next_one_waits_for_what_a_killed_one_left(drive: Callable[..., Driven]) -> None:
    first = drive(row("postgresql", "deaf", "ready", orphaned="SIGTERM"))
    until(lambda: "ALL UP" in first.said, first)
    first.process.kill()
    first.process.wait()
    second = drive(row("valkey", "ready"))
    with pytest.raises(subprocess.TimeoutExpired):
        second.process.wait(1)
    assert second.said == ""
    os.kill(first.pids()[0], signal.SIGKILL)
    until(lambda: "ALL UP" in second.said, second)
    assert second.end() == 0
