"""Makes `.venv` and installs a lock into it: wheels only, every hash checked. Run by make before anything else.

`python -I local/bootstrap.py run|dev`, standard library only. What is there already is told by `.venv/dueflow-stamp`:
the Python version and place of the venv, then the lock files installed in it with their hashes.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TextIO

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "dueflow-stamp"
RUN, DEV = ROOT / "requirements.lock", ROOT / "requirements-dev.lock"
# The development lock holds every pin of the other, so installing it serves both.
LOCKS = {"run": (RUN,), "dev": (DEV, RUN)}
SECONDS_BETWEEN_LINES = 5.0


def main() -> None:
    """Bring the venv up to date; exit 1 with one clear message if that cannot be done."""
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells people with an older Python
        sys.exit(f"Dueflow needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}.")
    if len(sys.argv) != 2 or sys.argv[1] not in LOCKS:
        sys.exit("usage: bootstrap.py run|dev")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with open(own_folder() / "setup.lock", "w", opener=private) as lock:
            take_turns(lock)
            bring_up_to_date(LOCKS[sys.argv[1]])
    except PermissionError as reason:
        sys.exit(f"{reason.filename} cannot be written: this checkout belongs to somebody else. Clone it as yourself.")
    except KeyboardInterrupt:
        sys.exit(130)


def bring_up_to_date(locks: tuple[Path, ...]) -> None:
    """Install the first of `locks` and note all, unless the stamp has it; another Python's venv is made anew."""
    stamp = STAMP.read_text().splitlines() if STAMP.exists() else [""]
    if stamp[0] != identity():
        make_venv()
    elif entry(locks[0]) in stamp:
        return
    STAMP.write_text(identity() + "\n")  # a break from here on is mended by installing again
    began = time.monotonic()
    install(locks[0])
    STAMP.write_text("\n".join((identity(), *(entry(lock) for lock in locks))) + "\n")
    print(f"Installed in {time.monotonic() - began:.0f} s", flush=True)


def take_turns(lock: TextIO) -> None:
    """Wait for another set-up here to end: `make run` and `make test` may begin together."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Another set-up runs here; waiting for it", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def identity() -> str:
    """What a venv stands and falls with: the Python version and the folder its scripts name."""
    return f"{sys.version.split()[0]} {VENV}"


def entry(lock: Path) -> str:
    """A lock file's line in the stamp: its name and the hash of its content."""
    return f"{lock.name} {hashlib.sha256(lock.read_bytes()).hexdigest()}"


def make_venv() -> None:
    """An empty `.venv`. Exits with the package to install where the system's Python comes without ensurepip."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("ensurepip") is None:
        sys.exit(
            f"This Python {version} cannot make a virtual environment. Type `apt-get install python{version}-venv`."
        )
    print(f"Python {sys.version.split()[0]} -> {VENV}", flush=True)
    if VENV.is_symlink():
        VENV.unlink()  # what it points at is somebody else's, and would be emptied
    # Make may have chosen the venv's own Python; what it was made from must make it anew.
    base = getattr(sys, "_base_executable", sys.executable)
    result = run_quietly([base, "-I", "-m", "venv", "--clear", str(VENV)], lambda _: None)
    if result != 0:
        fail("Making the virtual environment failed")


def install(lock: Path) -> None:
    """Install a lock with pip, telling how far it is. Exits with the end of pip's words on failure."""
    wanted = sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith(("#", " ")))
    print(f"Installing {wanted} packages, hashes checked", flush=True)
    pip = [str(VENV / "bin" / "python"), "-I", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--no-compile", "--progress-bar", "off"]
    progress = Progress(wanted)
    result = run_quietly([*pip, *options, "-r", str(lock)], progress.show)
    progress.end()
    if result != 0:
        fail("Installing failed")


class Progress:
    """How far pip is: one line that changes on a terminal, else a line now and then."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._terminal = sys.stdout.isatty()
        self._told_at = time.monotonic()

    def show(self, log: str) -> None:
        """Tell the state that pip's words so far and the packages on disk amount to."""
        told = ("Collecting", "Requirement already", "Ignoring")  # the last for other systems' packages
        fetched = sum(1 for line in log.splitlines() if line.startswith(told))
        installed = sum(1 for _ in VENV.glob("lib/python*/site-packages/*.dist-info")) if "\nInstalling" in log else 0
        step, done = ("installing", min(installed, self._wanted)) if installed else ("fetching", fetched)
        if self._terminal:
            print(f"\r  {step} {done} of {self._wanted}  ", end="", flush=True)
        elif time.monotonic() - self._told_at > SECONDS_BETWEEN_LINES:
            self._told_at = time.monotonic()
            print(f"  {step} {done} of {self._wanted}", flush=True)

    def end(self) -> None:
        """Wipe the line that changes."""
        if self._terminal:
            print("\r\033[K", end="", flush=True)


def own_folder() -> Path:
    """`.local`, private to its owner."""
    folder = ROOT / ".local"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def private(path: str, flags: int) -> int:
    """Open a file that only its owner may read."""
    return os.open(path, flags, 0o600)


def run_quietly(argv: list[str], watch: Callable[[str], None]) -> int:
    """Run a command with its output in the log, calling `watch` with it every fifth of a second -> exit status."""
    # What a person set for other projects must not move the packages out of the venv.
    moved = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV", "PYTHONHOME")
    environment = {name: value for name, value in os.environ.items() if name not in moved}
    words = own_folder() / "setup.log"
    with (
        open(words, "w", opener=private) as log,
        subprocess.Popen(argv, stdout=log, stderr=log, env=environment) as process,
    ):
        try:
            while process.poll() is None:
                time.sleep(0.2)
                watch(words.read_text(errors="replace"))
        finally:
            process.terminate()
    return process.returncode


def fail(what: str) -> NoReturn:
    """Exit 1 with the end of the log."""
    words = own_folder() / "setup.log"
    last = [line for line in words.read_text(errors="replace").splitlines() if line.strip()][-12:]
    sys.exit("\n".join((f"{what}. The end of {words}:", *(f"  | {line}" for line in last))))


if __name__ == "__main__":
    main()
