"""The folder `.local`: what one machine keeps between two runs (ports, secrets, data, logs), private to its owner.

`.local` is 0700 and each file in it 0600. As root the PostgreSQL data lie in /var/lib/dueflow instead, as
PostgreSQL then runs as `nobody`, who must not be let into `.local`.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("api", "valkey", "postgresql", "admin", "stripe", "gocardless", "coursepro", "nookal", "xero")
# Below the ports the system lends to outgoing connections, so that nobody takes ours between two runs.
_PORTS = range(20000, 32000)
_LARGEST_LOG_BYTES = 5_000_000
_HELD: list[socket.socket] = []


class AlreadyRunningError(Exception):
    """Another supervisor holds the folder; the message says which and where."""


def write_private(path: Path, text: str) -> None:
    """Replace a file as a whole, readable and writable (0600) by its owner only."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    unfinished.rename(path)


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different loopback ports nobody listens on."""
    candidates = random.sample(_PORTS, len(_PORTS))
    found = (port for port in candidates if is_free(port))
    return [next(found) for _ in range(count)]


def held_ports(count: int) -> list[int]:
    """`count` different loopback ports that nobody else is given while this process lives.

    Each stays bound here without listening: a server that reuses addresses, as all do, may still listen on it.
    """
    found = [socket.socket() for _ in range(count)]
    for one in found:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", 0))
    _HELD.extend(found)
    return [one.getsockname()[1] for one in found]


@dataclass(slots=True)
class Settings:
    """What is made up once and then kept: ports by service, secrets by name, and the place of PostgreSQL's data."""

    ports: dict[str, int]
    secrets: dict[str, str]
    postgres_home: str


class Folder:
    """The folder `.local` of one set-up."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_file = path / "run.json"
        self.keys_file = path / "keys.json"
        self.logs = path / "logs"
        self._lock_file = path / "run.lock"
        self._settings_file = path / "settings.json"

    def claim(self, patience: float = 15.0) -> int:
        """Take the folder -> a descriptor to hand to every child, so that it is free when the last of them is gone.

        Waits `patience` seconds for the children of a supervisor that is no more. Raises AlreadyRunningError.
        """
        for folder in (self.path, self.logs):
            folder.mkdir(mode=0o700, exist_ok=True)
        lock = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                self._explain_holder(os.pread(lock, 32, 0).decode(), is_last_try=time.monotonic() > deadline)
                time.sleep(0.1)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        return lock

    def _explain_holder(self, pid: str, *, is_last_try: bool) -> None:
        if pid.isdigit() and _lives(int(pid)):
            where = f" at {json.loads(self.run_file.read_text())['explorer']}" if self.run_file.exists() else ""
            raise AlreadyRunningError(
                f"Dueflow already runs here{where} (process {pid}). Stop it with Ctrl-C or `kill {pid}`."
            )
        if is_last_try:
            raise AlreadyRunningError(
                f"Programs of an earlier run still hold {self._lock_file}; see them with `fuser {self._lock_file}`."
            )

    def settings(self) -> Settings:
        """What was kept, completed: a port somebody else uses now is replaced, and what is missing is made up."""
        kept: dict[str, Any] = json.loads(self._settings_file.read_text()) if self._settings_file.exists() else {}
        settings = Settings(
            ports=_ports(kept.get("ports", {})),
            secrets=_secrets() | kept.get("secrets", {}),
            postgres_home=kept.get("postgres_home") or str(self._new_postgres_home()),
        )
        write_private(
            self._settings_file,
            json.dumps(
                {"ports": settings.ports, "secrets": settings.secrets, "postgres_home": settings.postgres_home},
                indent=2,
            ),
        )
        return settings

    def _new_postgres_home(self) -> Path:
        if os.geteuid() != 0:
            return self.path / "postgresql"
        for parent in (Path("/var/lib"), Path("/var/tmp")):  # noqa: S108 - a fresh random name below it, made by root
            if os.access(parent, os.W_OK):
                return parent / "dueflow" / secrets.token_hex(8)
        raise PermissionError(
            "Neither /var/lib nor /var/tmp can be written, so root has no place for PostgreSQL's data."
        )

    def turn_logs_over(self) -> None:
        """Put logs that grew large aside, keeping one former file of each."""
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > _LARGEST_LOG_BYTES:
                log.rename(log.with_suffix(".log.1"))

    def forget(self) -> None:
        """Remove everything kept, also root's PostgreSQL data. Raises AlreadyRunningError."""
        if not self.path.exists():
            return
        lock = self.claim(patience=1.0)
        if self._settings_file.exists():
            home = Path(self.settings().postgres_home)
            shutil.rmtree(home, ignore_errors=True)
            with suppress(OSError):  # another checkout's data may lie there, too
                home.parent.rmdir()
        shutil.rmtree(self.path)
        os.close(lock)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ports(kept: dict[str, int]) -> dict[str, int]:
    spare = free_ports(len(SERVICES))
    # DUEFLOW_API_PORT=0 takes any free port, for several set-ups started at once
    preferred = int(os.environ.get("DUEFLOW_API_PORT", "8000"))
    wanted = ({"api": preferred} if preferred else {}) | kept
    return {name: wanted[name] if name in wanted and is_free(wanted[name]) else spare.pop() for name in SERVICES}


def _secrets() -> dict[str, str]:
    """Fresh secrets; DUEFLOW_SECRET_KEY is a Fernet key: 32 random bytes, URL-safe base64."""
    return {
        "fernet": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "valkey": secrets.token_hex(24),
        "postgresql": secrets.token_hex(24),
        "postgresql_admin": secrets.token_hex(24),
        "stripe_api_key": f"sk_test_{secrets.token_hex(24)}",
        "stripe_webhook_secret": f"whsec_{secrets.token_hex(24)}",
        "gocardless_access_token": f"sandbox_{secrets.token_hex(24)}",
        "gocardless_webhook_secret": secrets.token_hex(24),
        "coursepro_client_id": str(uuid.uuid4()),
        "coursepro_secret_token": secrets.token_hex(24),
        "nookal_api_key": str(uuid.uuid4()),
        "xero_client_id": secrets.token_hex(16).upper(),
        "xero_client_secret": secrets.token_hex(24),
        "xero_tenant_id": str(uuid.uuid4()),
    }
