"""`make run`: the table of what runs on one machine, and what is told once it does."""

from __future__ import annotations

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from local.postgres import Postgres
from local.process import Child
from local.programs import ServerBrokenError, ServerMissingError
from local.state import ROOT, AlreadyRunningError, Folder, Settings, write_private
from local.supervisor import Supervisor
from local.valkey import Valkey

ROLES = ("member", "front_desk", "finance", "admin", "partner")
PROVIDERS = ("stripe", "gocardless", "coursepro", "nookal", "xero")
QUERIES = (
    "{ viewer { role name } }",
    "{ courses(first: 5) { nodes { name pricing centre { name } sessions { nodes { startsAt } } } } }",
    "{ users(first: 5) { nodes { firstName packages { nodes { name balance } } memberships { nodes { status } } } } }",
)
_UVICORN = (
    *("--loop", "uvloop", "--http", "httptools", "--lifespan", "on", "--no-access-log", "--no-proxy-headers"),
    *("--ws", "websockets-sansio", "--ws-max-size", "65536", "--ws-per-message-deflate", "false"),
    *("--timeout-graceful-shutdown", "3"),
)


@dataclass(frozen=True, slots=True)
class Machine:
    """The addresses of one set-up; a `database_url` or `redis_url` of the user's own replaces the bundled server."""

    folder: Folder
    settings: Settings
    database_url: str | None
    redis_url: str | None

    @property
    def api(self) -> str:
        """Where the API answers, without a slash at the end."""
        return f"http://127.0.0.1:{self.settings.ports['api']}"

    @property
    def sandbox(self) -> str:
        """The admin address of the sandbox."""
        return f"http://127.0.0.1:{self.settings.ports['admin']}"

    @property
    def valkey(self) -> Valkey:
        """The bundled Valkey."""
        return Valkey(self.folder.path / "valkey", self.settings.ports["valkey"], self.settings.secrets["valkey"])

    @property
    def postgres(self) -> Postgres:
        """The bundled PostgreSQL."""
        kept = self.settings.secrets
        home, port = Path(self.settings.postgres_home), self.settings.ports["postgresql"]
        return Postgres(home, port, kept["postgresql"], kept["postgresql_admin"])

    def environment(self) -> dict[str, str]:
        """What each program of ours is told about the machine."""
        return {
            "DATABASE_URL": self.database_url or self.postgres.url,
            "REDIS_URL": self.redis_url or self.valkey.url,
            "DUEFLOW_SECRET_KEY": os.environ.get("DUEFLOW_SECRET_KEY") or self.settings.secrets["fernet"],
            "DUEFLOW_ENV": "development",
            "DUEFLOW_PUBLIC_URL": self.api,
            "DUEFLOW_SANDBOX_ADMIN": self.sandbox,
            "DUEFLOW_OIDC_ISSUER": f"{self.sandbox}/issuer",
            "DUEFLOW_OIDC_JWKS_URL": f"{self.sandbox}/issuer/jwks.json",
            # nobody shares this machine: a caller may ask for all it can do
            "DUEFLOW_RATE": os.environ.get("DUEFLOW_RATE") or '{"burst": 5000000, "per_second": 500000}',
            "DUEFLOW_SANDBOX_CONFIG": str(self.folder.path / "sandbox.json"),
            "DUEFLOW_RUN_KEYS": str(self.folder.keys_file),
            "NO_PROXY": "127.0.0.1,localhost",
            "PYTHONUNBUFFERED": "1",
        }

    def write_sandbox_config(self) -> None:
        """The sandbox's ports, its credentials, and where it sends its webhooks."""
        ports, kept = self.settings.ports, self.settings.secrets
        config = {
            "state": str(self.folder.path / "sandbox"),
            "host": "127.0.0.1",
            "ports": {name: ports[name] for name in ("admin", *PROVIDERS)},
            "credentials": {
                provider: {
                    name.removeprefix(f"{provider}_"): value
                    for name, value in kept.items()
                    if name.startswith(f"{provider}_")
                }
                for provider in PROVIDERS
            },
            "webhooks": {
                "stripe": f"{self.api}/webhooks/stripe",
                "gocardless": f"{self.api}/webhooks/gocardless",
                "coursepro": f"{self.api}/coursepro/v1",
            },
        }
        (self.folder.path / "sandbox").mkdir(mode=0o700, exist_ok=True)
        write_private(self.folder.path / "sandbox.json", json.dumps(config, indent=2))

    def children(self) -> list[Child]:
        """The table, in the order it is started and told; stopped API, worker, sandbox, PostgreSQL, Valkey."""
        servers: list[Child] = []
        if self.redis_url is None:
            servers.append(self.valkey.child())
        if self.database_url is None:
            servers.append(self.postgres.child())
        up = tuple(server.name for server in servers)
        python, env = sys.executable, self.environment()
        uvicorn = ("uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(self.settings.ports["api"]), *_UVICORN)
        return [
            *servers,
            Child(name="migrations", argv=(python, "-m", "app", "migrate"), env=env, cwd=ROOT, after=up, patience=120),
            Child(
                name="sandbox",
                argv=(python, "-m", "local.sandbox", env["DUEFLOW_SANDBOX_CONFIG"]),
                ready=lambda running: "sandbox ready" in running.output(),
                env=env,
                cwd=ROOT,
                after=up,
                stop=((signal.SIGTERM, 1.5),),
            ),
            Child(
                name="demo data",
                argv=(python, "-m", "local.demo_data"),
                env=env,
                cwd=ROOT,
                after=("migrations", "sandbox"),
                patience=120,
            ),
            Child(
                name="api",
                argv=(python, "-m", *uvicorn),
                ready=lambda _running: _answers(f"{self.api}/healthz"),
                env=env,
                cwd=ROOT,
                after=("demo data",),
                stop=((signal.SIGTERM, 3.2),),
                stop_rank=1,
            ),
            Child(
                name="worker",
                argv=(python, "-m", "workers"),
                ready=lambda running: "worker runs" in running.output(),
                env=env,
                cwd=ROOT,
                after=("demo data",),
                stop=((signal.SIGTERM, 1.5),),
            ),
        ]

    def addresses(self) -> dict[str, object]:
        """What run.json holds; the keys come from the demo data."""
        keys = json.loads(self.folder.keys_file.read_text())
        return {
            "graphql": f"{self.api}/graphql",
            "ws": f"ws{self.api.removeprefix('http')}/graphql",
            "explorer": f"{self.api}/explorer",
            "sandbox": self.sandbox,
            "keys": {role: keys[role] for role in ROLES},
        }


def up(folder: Folder) -> int:
    """Run everything until a signal -> exit status: 0 stopped, 1 could not start, 2 runs already."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        lock = folder.claim()
    except AlreadyRunningError as reason:
        print(reason)
        return 2
    try:
        folder.run_file.unlink(missing_ok=True)
        folder.turn_logs_over()
        machine = Machine(folder, folder.settings(), os.environ.get("DATABASE_URL"), os.environ.get("REDIS_URL"))
        machine.write_sandbox_config()
        supervisor = Supervisor(machine.children(), folder.logs, inherit=(lock,))
        return supervisor.run(lambda: _announce(machine))
    except (ServerMissingError, ServerBrokenError) as reason:
        print(reason)
        return 1
    finally:
        folder.run_file.unlink(missing_ok=True)
        os.close(lock)


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _announce(machine: Machine) -> None:
    addresses = machine.addresses()
    write_private(machine.folder.run_file, json.dumps(addresses, indent=2))
    keys = addresses.pop("keys")
    assert isinstance(keys, dict)
    lines = ["", *(f"  {name:<10} {address}" for name, address in addresses.items())]
    lines += ["", "  Authorization: Bearer KEY, with one of these for KEY:"]
    lines += [f"  {role:<10} {key}" for role, key in keys.items()]
    lines += ["", "  To paste into the explorer, with the admin's key:", *(f"  {query}" for query in QUERIES)]
    lines += ["", f"  For scripts: {machine.folder.run_file}   Logs: {machine.folder.logs}   Stop: Ctrl-C", ""]
    print("\n".join(lines), flush=True)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:  # noqa: S310 - our own loopback address
            return bool(answer.status == 200)
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
