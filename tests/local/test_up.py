"""What `make run` runs: the table of children, what they are told, and the whole of it started, asked and stopped."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local.servers import throwaway
from local.state import Folder, is_free
from local.up import QUERIES, ROLES, Machine

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_STOP = 10


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "local")
    lock = folder.claim()
    yield folder
    os.close(lock)
    folder.forget()


def test_ports_and_secrets_are_kept(folder: Folder) -> None:
    first = folder.settings()
    assert folder.settings() == first
    assert len(set(first.ports.values())) == len(first.ports) == 9


def test_a_port_somebody_else_took_is_replaced_and_no_other(folder: Folder) -> None:
    first = folder.settings()
    with socket.create_server(("127.0.0.1", first.ports["valkey"])):
        second = folder.settings()
    changed = {name for name in first.ports if first.ports[name] != second.ports[name]}
    assert changed == {"valkey"}
    assert second.secrets == first.secrets


def test_what_is_kept_is_private(folder: Folder) -> None:
    machine = Machine(folder, folder.settings(), "postgres://mine/db", "redis://mine")
    machine.write_sandbox_config()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder.path, *folder.path.iterdir())}
    assert modes == {
        "local": 0o700,
        "logs": 0o700,
        "sandbox": 0o700,
        "run.lock": 0o600,
        "settings.json": 0o600,
        "sandbox.json": 0o600,
    }


def test_the_sandbox_is_told_its_ports_credentials_and_our_webhooks(folder: Folder) -> None:
    settings = folder.settings()
    machine = Machine(folder, settings, "postgres://mine/db", "redis://mine")
    machine.write_sandbox_config()
    config = json.loads((folder.path / "sandbox.json").read_text())
    assert config["ports"] == {
        name: settings.ports[name] for name in ("admin", "stripe", "gocardless", "coursepro", "nookal", "xero")
    }
    assert {provider: sorted(names) for provider, names in config["credentials"].items()} == {
        "stripe": ["api_key", "webhook_secret"],
        "gocardless": ["access_token", "webhook_secret"],
        "coursepro": ["client_id", "secret_token"],
        "nookal": ["api_key"],
        "xero": ["client_id", "client_secret", "tenant_id"],
    }
    assert config["webhooks"] == {
        "stripe": f"{machine.api}/webhooks/stripe",
        "gocardless": f"{machine.api}/webhooks/gocardless",
        "coursepro": f"{machine.api}/coursepro/v1",
    }


@pytest.mark.parametrize(
    ("database_url", "redis_url", "bundled"),
    [
        (None, None, ["valkey", "postgresql"]),
        ("postgres://mine/db", None, ["valkey"]),
        (None, "redis://mine", ["postgresql"]),
        ("postgres://mine/db", "redis://mine", []),
    ],
)
def test_an_address_of_ones_own_replaces_the_bundled_server(
    folder: Folder, database_url: str | None, redis_url: str | None, bundled: list[str]
) -> None:
    machine = Machine(folder, folder.settings(), database_url, redis_url)
    children = machine.children()
    ours = ["migrations", "sandbox", "demo data", "api", "worker"]
    assert [child.name for child in children] == [*bundled, *ours]
    told = children[-1].env
    assert told["DATABASE_URL"] == database_url or told["DATABASE_URL"].startswith("postgres://dueflow:")
    assert told["REDIS_URL"] == redis_url or told["REDIS_URL"].startswith("redis://:")


def test_the_longest_stop_stays_within_ten_seconds(folder: Folder) -> None:
    children = Machine(folder, folder.settings(), None, None).children()
    ladders = [child.stop for child in children if child.ready is not None]
    assert sum(seconds for ladder in ladders for _, seconds in ladder) < SECONDS_TO_STOP


class Run:
    """`python -m local up` in a process of its own, with a folder of its own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        names = ("DATABASE_URL", "REDIS_URL", "DUEFLOW_SECRET_KEY")
        inherited = {name: value for name, value in os.environ.items() if name not in names}
        self.environment = {**inherited, **environment, "DUEFLOW_LOCAL": str(folder)}
        self.said_file = folder.parent / f"said-{time.monotonic_ns()}"
        with self.said_file.open("w") as out:
            self.process = subprocess.Popen(self.command("up"), cwd=ROOT, env=self.environment, stdout=out, stderr=out)

    @staticmethod
    def command(name: str) -> list[str]:
        return [sys.executable, "-m", "local", name]

    def other(self, name: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(name), cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    @property
    def said(self) -> str:
        return self.said_file.read_text()

    def addresses(self, seconds: float = 60.0) -> dict[str, Any]:
        """run.json, as soon as it is there."""
        file, deadline = self.folder / "run.json", time.monotonic() + seconds
        while not file.exists():
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return dict(json.loads(file.read_text()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS_TO_STOP)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(**environment: str) -> Run:
        runs.append(Run(tmp_path / "local", **environment))
        return runs[-1]

    yield start
    for one in runs:
        if one.process.poll() is None:
            one.stop()
    assert runs[0].other("clean").returncode == 0
    assert not (tmp_path / "local").exists()


def ask(addresses: dict[str, Any], query: str, role: str = "admin") -> dict[str, Any]:
    request = urllib.request.Request(
        addresses["graphql"],
        json.dumps({"query": query}).encode(),
        {"content-type": "application/json", "authorization": f"Bearer {addresses['keys'][role]}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.load(answer))


def test_the_whole_is_started_asked_stopped_and_started_again(run: Callable[..., Run]) -> None:
    first = run()
    addresses = first.addresses()
    assert sorted(addresses) == ["explorer", "graphql", "keys", "sandbox", "ws"]
    assert sorted(addresses["keys"]) == sorted(ROLES)
    assert stat.S_IMODE((first.folder / "run.json").stat().st_mode) == 0o600
    for role in ROLES:
        assert ask(addresses, "{ __typename }", role) == {"data": {"__typename": "Query"}}
    for query in QUERIES:
        assert "errors" not in ask(addresses, query), query
        assert query in first.said

    second = first.other("up")
    assert second.returncode == 2
    assert second.stdout == (
        f"Dueflow already runs here at {addresses['explorer']} (process {first.process.pid}). "
        f"Stop it with Ctrl-C or `kill {first.process.pid}`.\n"
    )
    assert first.other("clean").returncode == 2

    assert first.stop() == 0
    assert first.said.endswith("Stopping\n")
    os.close(Folder(first.folder).claim(patience=0))  # nobody holds it: no child is left
    kept = json.loads((first.folder / "settings.json").read_text())["ports"]
    assert [name for name, port in kept.items() if not is_free(port)] == []

    assert run().addresses() == addresses


def test_servers_of_ones_own_are_used(run: Callable[..., Run]) -> None:
    with throwaway() as pair:
        mine = run(DATABASE_URL=pair.database_url, REDIS_URL=pair.redis_url)
        assert ask(mine.addresses(), "{ __typename }") == {"data": {"__typename": "Query"}}
        assert not (mine.folder / "valkey").exists()
        assert mine.stop() == 0
