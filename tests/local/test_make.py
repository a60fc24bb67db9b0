"""The Makefile: what it lists, and which Python it takes."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="no make here")


def make(folder: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    assert MAKE
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")
    }
    command = [MAKE, "-f", str(ROOT / "Makefile"), *arguments]
    return subprocess.run(
        command, cwd=folder, env={**environment, "PATH": path}, capture_output=True, text=True, check=False
    )


def python(folder: Path, name: str, *, runs: bool) -> None:
    """A program called like a Python that answers `-c`, or that fails like a shim for a version not chosen."""
    program = folder / name
    program.write_text(f"#!/bin/sh\nexit {0 if runs else 127}\n")
    program.chmod(0o755)


def test_make_alone_lists_every_target() -> None:
    listed = make(ROOT).stdout
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared
    assert re.findall(r"^  make ([a-z-]+)", listed, re.MULTILINE) == declared[1].split()


@pytest.mark.parametrize(
    ("there", "chosen"),
    [
        ({"python3.13": True, "python3.11": True, "python3": True}, "python3.13"),
        ({"python3.13": False, "python3.12": True, "python3.11": True}, "python3.12"),
        ({"python3.13": False, "python3.12": False, "python3": True}, "python3"),
    ],
)
def test_the_newest_python_that_really_runs_is_taken(tmp_path: Path, there: dict[str, bool], chosen: str) -> None:
    for name, runs in there.items():
        python(tmp_path, name, runs=runs)
    shutil.copy("/bin/sh", tmp_path / "sh")
    dry = make(tmp_path, "-n", "run", path=str(tmp_path))
    assert dry.stdout.splitlines() == [f"{chosen} -I local/bootstrap.py run", ".venv/bin/python -m local up"]


def test_a_venv_that_runs_is_kept(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python(tmp_path / ".venv" / "bin", "python", runs=True)
    assert make(tmp_path, "-n", "test").stdout.splitlines()[0] == ".venv/bin/python -I local/bootstrap.py dev"


def test_without_any_python_the_message_says_so(tmp_path: Path) -> None:
    refused = make(tmp_path, "run", path=str(tmp_path))
    assert refused.returncode == 2
    assert "Dueflow needs Python 3.11 or newer on PATH" in refused.stderr
