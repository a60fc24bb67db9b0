"""One program of the set-up as data (`Child`), and one life of it (`Running`): how it starts, gets ready and stops.

It knows operating system processes and nothing of Dueflow.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from types import MappingProxyType
from typing import NamedTuple

_PR_SET_PDEATHSIG = 1
_TAIL_BYTES = 1 << 16
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """What to start, when it counts as ready, and how to stop it.

    `ready` None makes it a step: it is ready once it has ended with 0. `patience` is seconds until ready; with `retry`
    it may end and be started again within them (a server whose predecessor is still letting go of its files). `stop` is
    a ladder of (signal, seconds to wait); what still lives after it is killed. Children are stopped by `stop_rank`,
    highest first, and among equals in the opposite order of the table. `orphaned` is what the kernel sends a child
    whose supervisor is gone.
    """

    name: str
    argv: tuple[str, ...]
    ready: Callable[[Running], bool] | None = None
    env: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    after: tuple[str, ...] = ()
    patience: float = 30.0
    retry: bool = False
    stop: tuple[tuple[Signals, float], ...] = ((signal.SIGTERM, 2.0),)
    stop_rank: int = 0
    orphaned: Signals = signal.SIGKILL
    cwd: Path | None = None
    user: str | None = None


class Running:
    """One life of a child, in a process group of its own, writing to the end of its log file."""

    def __init__(self, child: Child, log: Path, inherit: tuple[int, ...] = ()) -> None:
        self.child = child
        self.log = log
        self.started = time.monotonic()
        parent = os.getpid()

        def tie_to_parent() -> None:
            # Runs in the child, after its user changed: the kernel forgets the wish when the user changes later.
            if _LIBC is not None:
                _LIBC.prctl(_PR_SET_PDEATHSIG, int(child.orphaned))
                if os.getppid() != parent:
                    os.kill(os.getpid(), child.orphaned)

        who = identity(child.user)
        with log.open("ab") as out:
            self._since = out.tell()
            self.process = subprocess.Popen(
                child.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **child.env},
                cwd=child.cwd,
                process_group=0,
                pass_fds=inherit,
                preexec_fn=tie_to_parent,
                user=who.user,
                group=who.group,
                extra_groups=who.groups,
            )

    @property
    def code(self) -> int | None:
        """The exit code, negative for a signal, None while it lives."""
        return self.process.poll()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started

    def ready(self) -> bool:
        """Whether it does its work now; a step is ready when it has ended well."""
        return self.code == 0 if self.child.ready is None else self.child.ready(self)

    def output(self) -> str:
        """What it wrote in this life, at most the last 64 KiB."""
        with self.log.open("rb") as file:
            file.seek(max(self._since, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return file.read().decode(errors="replace")

    def tail(self, lines: int = 15) -> str:
        """The last lines it wrote in this life, set off from what stands around them."""
        last = self.output().splitlines()[-lines:] or ["(it wrote nothing)"]
        return "\n".join(f"  | {line}" for line in last)

    def stop(self) -> None:
        """Climb the child's ladder of signals until it has gone, then kill whatever is left of its process group."""
        for number, seconds in self.child.stop:
            if self.code is not None:
                break
            self.process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


class Identity(NamedTuple):
    """The three arguments of `subprocess` that say whom a child runs as."""

    user: int | None
    group: int | None
    groups: list[int] | None


def identity(user: str | None) -> Identity:
    """A user's name -> that user and its own group, no other; None -> whoever we are."""
    if user is None:
        return Identity(None, None, None)
    entry = pwd.getpwnam(user)
    return Identity(entry.pw_uid, entry.pw_gid, [])


def ending(code: int) -> str:
    """How a process ended, in words: 3 -> "exit 3", -9 -> "SIGKILL"."""
    return f"exit {code}" if code >= 0 else Signals(-code).name
