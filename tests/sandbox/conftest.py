"""The sandbox as a real process, and a real receiver for the webhooks it sends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import gocardless_pro
import httpx
import pytest
import stripe
import uvicorn
from starlette.types import Receive, Scope, Send

from local.state import held_ports

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PROVIDERS = ("stripe", "gocardless", "coursepro", "nookal", "xero")
DEADLINE = 10.0
CREDENTIALS: dict[str, dict[str, str]] = {
    "stripe": {"api_key": "sk_test_sandbox", "webhook_secret": "whsec_sandbox"},
    "gocardless": {"access_token": "sandbox_token", "webhook_secret": "gc_webhook_secret"},
    "coursepro": {"client_id": "coursepro", "secret_token": "coursepro_secret"},
    "nookal": {"api_key": "nookal_key"},
    "xero": {"client_id": "xero_id", "client_secret": "xero_secret", "tenant_id": "xero_tenant"},
}


def until(read: Callable[[], T], true: Callable[[T], bool], seconds: float = DEADLINE) -> T:
    """Read again and again until `true` holds of what was read; fails with the last reading at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = read()
        if true(found):
            return found
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s; last seen: {repr(found)[-500:]}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Received:
    """One request the receiver got."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)


@dataclass
class Receiver:
    """A loopback server that keeps every request and answers as it was told: statuses in turn, then 200 for ever."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    told_at: str = ""  # the only path the statuses are for; a port used before may still be called by strangers
    answer: Any = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.received.append(Received(scope["method"], scope["path"], headers, body))
        meant = self.told_at in ("", scope["path"])
        status = self.statuses.pop(0) if self.statuses and meant else 200
        content = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": content})
        await send({"type": "http.response.body", "body": json.dumps(self.answer).encode()})

    def at(self, path: str) -> list[Received]:
        """Path -> the requests received there, oldest first."""
        return [one for one in list(self.received) if one.path == path]

    def wait(self, path: str, enough: Callable[[list[Received]], bool]) -> list[Received]:
        """Wait until the requests at `path` are enough -> them; fails at the deadline."""
        return until(lambda: self.at(path), enough)

    def clear(self) -> None:
        """Forget what was received and what was to be answered."""
        self.received.clear()
        self.statuses.clear()
        self.told_at = ""
        self.answer = {}


@dataclass
class Sandbox:
    """A running sandbox process: base URLs by provider, credentials, and a client of its admin port."""

    urls: dict[str, str]
    credentials: dict[str, dict[str, str]]
    admin: httpx.Client
    process: subprocess.Popen[str]
    state: Path

    def get(self, path: str) -> Any:
        """Admin path -> its JSON answer; fails on an error status."""
        return self.admin.get(path).raise_for_status().json()

    def wait(self, path: str, enough: Callable[[Any], bool]) -> Any:
        """Admin path -> its JSON answer as soon as it is enough; fails at the deadline."""
        return until(lambda: self.get(path), enough)

    def post(self, path: str, /, **body: Any) -> Any:
        """Admin path and JSON fields -> its JSON answer; fails on an error status, showing the sentence."""
        answer = self.admin.post(path, json=body)
        assert answer.is_success, answer.text
        return answer.json()

    def do(self, provider: str, action: str, /, **arguments: Any) -> Any:
        """Run one scenario action -> its result."""
        return self.post(f"/do/{provider}/{action}", **arguments)

    def state_of(self, kind: str) -> list[Any]:
        """Kind -> all stored objects of it."""
        found: list[Any] = self.get(f"/state/{kind}")
        return found

    def now(self) -> datetime:
        """The virtual clock."""
        return datetime.fromisoformat(self.get("/clock")["now"])

    def advance(self, **span: float) -> list[str]:
        """Move the clock by timedelta(**span) -> names of what happened."""
        fired: list[str] = self.post("/clock", now=(self.now() + timedelta(**span)).isoformat())["fired"]
        return fired


def start(state: Path, webhooks: str, ports: dict[str, int] | None = None) -> Sandbox:
    """State folder and the receiver's URL -> a sandbox process that answers on every port."""
    names = ("admin", *PROVIDERS)
    ports = ports or dict(zip(names, held_ports(len(names)), strict=True))
    config = {
        "state": str(state),
        "host": "127.0.0.1",
        "ports": ports,
        "credentials": CREDENTIALS,
        "webhooks": {
            "stripe": f"{webhooks}/webhooks/stripe",
            "gocardless": f"{webhooks}/webhooks/gocardless",
            "coursepro": f"{webhooks}/coursepro/v1",
        },
    }
    state.mkdir(parents=True, exist_ok=True)
    path = state / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "local.sandbox", str(path)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": ""}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "sandbox ready\n", f"the sandbox said {line!r} and ended with {process.wait()}"
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    admin = httpx.Client(base_url=urls["admin"], trust_env=False, timeout=60)
    return Sandbox(urls, CREDENTIALS, admin, process, state)


def stop(sandbox: Sandbox, with_signal: int = signal.SIGTERM) -> int:
    """End the process, if it still runs -> its return code."""
    sandbox.admin.close()
    if sandbox.process.poll() is None:
        sandbox.process.send_signal(with_signal)
    code = sandbox.process.wait(10)
    if sandbox.process.stdout:
        sandbox.process.stdout.close()
    return code


@pytest.fixture(scope="session")
def receiver_process() -> Iterator[Receiver]:
    (port,) = held_ports(1)
    receiver = Receiver(f"http://127.0.0.1:{port}")
    config = uvicorn.Config(
        receiver, host="127.0.0.1", port=port, lifespan="off", log_level="warning", access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started, bool)
    yield receiver
    server.should_exit = True
    thread.join(5)


@pytest.fixture(scope="session")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory, receiver_process: Receiver) -> Iterator[Sandbox]:
    sandbox = start(tmp_path_factory.mktemp("sandbox"), receiver_process.url)
    yield sandbox
    stop(sandbox)


@pytest.fixture
def receiver(receiver_process: Receiver) -> Receiver:
    """The receiver, empty."""
    receiver_process.clear()
    return receiver_process


@pytest.fixture
def sandbox(sandbox_process: Sandbox, receiver: Receiver) -> Sandbox:
    """The sandbox, reset: no objects, no faults, the clock at real time."""
    sandbox_process.post("/reset")
    receiver.clear()
    return sandbox_process


@pytest.fixture
def another_sandbox(receiver: Receiver) -> Iterator[Callable[..., Sandbox]]:
    """A function (state folder, ports?) -> a sandbox process of the test's own, ended with the test."""
    started: list[Sandbox] = []

    def begin(state: Path, ports: dict[str, int] | None = None) -> Sandbox:
        started.append(start(state, receiver.url, ports))
        return started[-1]

    yield begin
    for one in started:
        stop(one)


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Any]:
    """The vendor's Stripe client, pointed at the sandbox."""
    http: Any = stripe.HTTPXClient(timeout=10)
    key = sandbox.credentials["stripe"]["api_key"]
    yield stripe.StripeClient(key, http_client=http, base_addresses={"api": sandbox.urls["stripe"]})
    await http.close_async()


@pytest.fixture
def debits(sandbox: Sandbox) -> Any:
    """The vendor's GoCardless client, pointed at the sandbox."""
    token = sandbox.credentials["gocardless"]["access_token"]
    url = sandbox.urls["gocardless"]
    return gocardless_pro.Client(access_token=token, base_url=url, raise_on_idempotency_conflict=True)
