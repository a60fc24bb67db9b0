"""What runs while it is measured: throw-away PostgreSQL and Valkey, databases of a size, programs that are asked."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
from cryptography.fernet import Fernet

from bench import data
from bench.load import DATA, Load
from bench.rounds import Round
from local.process import Child, Running
from local.servers import Pair, wait_until_ready
from local.state import held_ports
from models.actions.keys import create_api_key
from models.rules.states import Role
from models.tables.config import opened

ROOT = Path(__file__).resolve().parents[1]
PROFILES = ROOT / "bench" / "profiles"
TEMPLATE = "bench_template"
# so high that nothing is throttled; the price is reckoned and paid all the same
RATE = '{"burst": 2000000000, "per_second": 5000000}'
LIMITS = '{"streams": 10000}'  # one caller listens a thousand times
UVICORN = (
    *("--host", "127.0.0.1", "--lifespan", "on", "--no-access-log", "--no-proxy-headers", "--log-level", "warning"),
    *("--loop", "uvloop", "--http", "httptools", "--ws", "websockets-sansio", "--ws-max-size", "65536"),
    *("--ws-per-message-deflate", "false", "--backlog", "4096"),
)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Program:
    """A running program and the port it answers on, 0 for none."""

    running: Running
    port: int

    @property
    def pid(self) -> int:
        """Its process."""
        return self.running.process.pid

    @property
    def cpu(self) -> float:
        """The seconds of processor it has used."""
        return cpu_of(self.pid)

    def watch(self) -> None:
        """Begin to profile a program that was started for that: what it did to start is of no interest."""
        self.running.process.send_signal(signal.SIGUSR1)

    @property
    def kib(self) -> int:
        """What it holds in memory."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise RuntimeError("a process without memory")


@dataclass(slots=True)
class House:
    """The servers, the process that asks, and how long rounds are."""

    pair: Pair
    load: Load
    folder: Path
    rounds: int = 5
    seconds: float = 1.0
    scale: int = 100
    long: bool = False
    profiles: Path = PROFILES
    secret: str = field(default_factory=lambda: Fernet.generate_key().decode())
    began: float = field(default_factory=time.monotonic)
    kept: ExitStack = field(default_factory=ExitStack)
    _apis: dict[int, Program] = field(default_factory=dict)
    _postgres: int = 0
    _tokens: dict[str, str] = field(default_factory=dict)

    def say(self, words: str) -> None:
        """Show how far it is."""
        print(f"[{time.monotonic() - self.began:4.0f} s] {words}", flush=True)

    def api_of(self, scale: int) -> Program:
        """The API on the data of that size, started once and kept running."""
        if scale not in self._apis:
            self._apis[scale] = self.kept.enter_context(self.api(self.seeded(scale)))
        return self._apis[scale]

    def environment(self, database: str) -> dict[str, str]:
        """What each program of ours is told."""
        return {
            "DATABASE_URL": self.pair.named(database),
            "REDIS_URL": self.pair.redis_url,
            "DUEFLOW_SECRET_KEY": self.secret,
            "DUEFLOW_RATE": RATE,
            "DUEFLOW_LIMITS": LIMITS,
            "PYTHONUNBUFFERED": "1",
        }

    def administer(self, *statements: str) -> None:
        """Run statements as the superuser."""

        async def run() -> None:
            connection = await asyncpg.connect(self.pair.admin_url)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        asyncio.run(run())

    def empty(self, name: str) -> str:
        """A migrated database without rows, new -> its name."""
        known = "SELECT count(*) FROM pg_database WHERE datname = $1"
        if not asyncio.run(_value(self.pair.admin_url, known, TEMPLATE)):
            self.administer(f"CREATE DATABASE {TEMPLATE} OWNER dueflow")
            migrate = [sys.executable, "-m", "app", "migrate"]
            subprocess.run(migrate, cwd=ROOT, env={**os.environ, **self.environment(TEMPLATE)}, check=True)
        self.administer(
            f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER dueflow"
        )
        return name

    def seeded(self, scale: int) -> str:
        """A database with `scale` hundredths of the data, made once -> its name."""
        name = f"bench_{scale}"
        if name not in self._tokens:
            self.empty(name)
            self.fill(name, data.people(scale))
            self._tokens[name] = self.key(name)
        return name

    def fill(self, database: str, statements: str) -> None:
        """Rows into a database, and its statistics brought up to date: autovacuum must not do it while we measure."""

        async def run() -> None:
            settings = {"statement_timeout": "0"}
            connection = await asyncpg.connect(self.pair.named(database), server_settings=settings)
            await connection.execute(statements, timeout=600)
            await connection.execute("VACUUM ANALYZE", timeout=600)
            await connection.close()

        asyncio.run(run())

    def key(self, database: str) -> str:
        """A fresh key of an administrator."""

        async def make() -> str:
            async with opened(self.pair.named(database)):
                made = await create_api_key(name="bench", role=Role.ADMIN, acting="bench", at=datetime.now(UTC))
            return made[1]

        return asyncio.run(make())

    def token(self, database: str) -> str:
        """The key of a seeded database."""
        return self._tokens[database]

    @contextmanager
    def api(self, database: str, *, profile: Path | None = None) -> Iterator[Program]:
        """The API on a database, as it is deployed; with `profile` under the profiler, which writes that file."""
        with self.asgi("app:app", self.environment(database), profile=profile) as program:
            yield program

    @contextmanager
    def asgi(self, app: str, environment: Mapping[str, str], *, profile: Path | None = None) -> Iterator[Program]:
        """An ASGI application, served by uvicorn the way ours is."""
        (port,) = held_ports(1)
        argv = (*_python(profile), "uvicorn", app, "--port", str(port), *UVICORN)
        with self.program(app.partition(":")[0], argv, environment, port) as program:
            yield program

    @contextmanager
    def program(
        self, name: str, argv: tuple[str, ...], environment: Mapping[str, str], port: int = 0, said: str = ""
    ) -> Iterator[Program]:
        """A program; ready once it takes connections on its port, or has `said` so."""

        def ready(running: Running) -> bool:
            return said in running.output() if said else _listens(port)

        child = Child(
            name=name, argv=argv, ready=ready, env=environment, cwd=ROOT, patience=60, stop=((signal.SIGTERM, 20.0),)
        )
        running = Running(child, self.folder / f"{name.replace('/', '-')}.log")
        try:
            wait_until_ready(running)
            yield Program(running, port)
        finally:
            running.stop()

    @contextmanager
    def worker(
        self, database: str, *, profile: Path | None = None, more: Mapping[str, str] | None = None
    ) -> Iterator[Program]:
        """A worker process of ours, with `more` in its environment."""
        argv, environment = (*_python(profile), "workers"), {**self.environment(database), **(more or {})}
        with self.program("workers", argv, environment, said="worker runs") as program:
            yield program

    @property
    def postgres_cpu(self) -> float:
        """The seconds of processor all of PostgreSQL has used."""
        if not self._postgres:
            folder = asyncio.run(_value(self.pair.admin_url, "SELECT current_setting('data_directory')"))
            self._postgres = int((Path(str(folder)) / "postmaster.pid").read_text().splitlines()[0])
        return cpu_of(self._postgres, family=True)

    def round(
        self,
        program: Program,
        requests: Sequence[bytes],
        seconds: float,
        *,
        expected: bytes = DATA,
        once: bool = False,
    ) -> Round:
        """One round of requests to a program."""
        server, postgres = program.cpu, self.postgres_cpu
        told = self.load.run(program.port, requests, seconds, expected=expected, once=once)
        return Round(told, program.cpu - server, self.postgres_cpu - postgres)

    @property
    def sizes(self) -> list[int]:
        """The hundredths of the data that growth is measured at."""
        return [scale for scale in (1, 10, 100) if scale <= self.scale]


@contextmanager
def house(pair: Pair, folder: Path) -> Iterator[House]:
    """A house on running servers; it ends the process that asks."""
    with ExitStack() as until_the_end:
        load = Load()
        until_the_end.callback(load.close)
        made = House(pair, load, folder)
        until_the_end.push(made.kept)
        yield made


def cpu_of(pid: int, *, family: bool = False) -> float:
    """The seconds of processor a process has used; with its `family`, children dead and alive too."""
    if not family:
        return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9
    while True:
        parent = _stat(pid)
        used = sum(map(int, parent[11:15]))
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                child = _stat(int(folder.name))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(child[1]) == pid:
                used += sum(map(int, child[11:15]))
        if _stat(pid)[13:15] == parent[13:15]:  # else one that was counted, or was to be, has ended meanwhile
            return used / _TICKS


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


async def _value(url: str, statement: str, *values: object) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement, *values)
    finally:
        await connection.close()


def _python(profile: Path | None) -> tuple[str, ...]:
    return (sys.executable, "-m", *(("bench.profiled", str(profile)) if profile else ()))


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    time.sleep(0.05)
    return False
