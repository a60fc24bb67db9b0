"""The Python of what is measured beside ours: packages of their own, in an environment of their own, made once."""

import hashlib
import subprocess
import sys
from pathlib import Path

from bench.servers import ROOT

LOCK = ROOT / "bench" / "requirements.lock"


class Missing(Exception):
    """The packages could not be brought; says why."""


def python() -> Path:
    """The Python of the peers, with `requirements.lock` installed as we install our own. Raises Missing."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    kept = ROOT / ".local" / "tools" / f"{digest}-{sys.version_info.major}.{sys.version_info.minor}"
    found = kept / "venv" / "bin" / "python"
    if not (kept / "done").exists():
        kept.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-I", "-m", "venv", "--clear", kept / "venv"], check=True)
        pip: list[str | Path] = [
            found,
            "-I",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
        ]
        options: list[str | Path] = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "-r", LOCK]
        done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing(f"pip could not install it ({done.stderr.strip().splitlines()[-1]})")
        (kept / "done").touch()
    return found
