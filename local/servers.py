"""A Valkey and a PostgreSQL of their own for whoever asks, thrown away afterwards: the tests' servers."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local.postgres import Postgres
from local.process import Running
from local.programs import ServerBrokenError
from local.state import held_ports
from local.valkey import Valkey


@dataclass(frozen=True, slots=True)
class Pair:
    """Where two running servers are; `admin_url` is PostgreSQL's superuser."""

    database_url: str
    admin_url: str
    redis_url: str

    def named(self, database: str) -> str:
        """The address of another database there, for the same ordinary role."""
        return f"{self.database_url.rpartition('/')[0]}/{database}"


@contextmanager
def throwaway(parent: Path | None = None) -> Iterator[Pair]:
    """Start both servers on empty data in a new folder in `parent` -> Pair; stop them and remove it at the end."""
    # As root PostgreSQL runs as nobody, who may not reach a temporary folder of root's own choice.
    parent = parent or Path("/tmp" if os.geteuid() == 0 else tempfile.gettempdir())  # noqa: S108 - mkdtemp makes it safe
    folder = Path(tempfile.mkdtemp(prefix="dueflow-", dir=parent))
    valkey_port, postgres_port = held_ports(2)
    valkey = Valkey(folder / "valkey", valkey_port, secrets.token_hex(8), keep=False)
    postgres = Postgres(folder / "postgres", postgres_port, secrets.token_hex(8), secrets.token_hex(8), keep=False)
    running: list[Running] = []
    try:
        for child in (valkey.child(), postgres.child()):
            running.append(Running(child, folder / f"{child.name}.log"))
        for server in running:
            wait_until_ready(server)
        yield Pair(postgres.url, postgres.admin_url, valkey.url)
    finally:
        for server in reversed(running):
            server.stop()
        shutil.rmtree(folder)


def wait_until_ready(server: Running) -> None:
    """Return once it is ready. Raises ServerBrokenError with the end of its log when it ends or takes too long."""
    while not server.ready():
        if server.code is not None or server.age > server.child.patience:
            raise ServerBrokenError(f"{server.child.name} did not start:\n{server.tail()}")
        time.sleep(0.01)
