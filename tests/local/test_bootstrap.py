"""The set-up of `.venv` for real: venv and pip, with two small wheels made here instead of the real locks."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9.-]+)==([^ ;\\]+)", re.MULTILINE)


def wheel(folder: Path, name: str, version: str) -> str:
    """Make name-version in `folder` -> its line in a lock."""
    file = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", f"{name}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"{name}=={version} \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


class Checkout:
    """A folder with our bootstrap, locks of its own, and a folder of wheels instead of a registry."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wheels = folder / "wheels"
        self.venv = folder / ".venv"
        (folder / "local").mkdir()
        self.wheels.mkdir()
        shutil.copy(ROOT / "local" / "bootstrap.py", folder / "local")
        self.one = wheel(self.wheels, "one", "1.0")
        self.two = wheel(self.wheels, "two", "2.0")
        self.lock(self.one, self.one + self.two)

    def lock(self, run: str, dev: str) -> None:
        (self.folder / "requirements.lock").write_text(run)
        (self.folder / "requirements-dev.lock").write_text(dev)

    def set_up(self, which: str, **environment: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels), **environment}
        command = [sys.executable, "-I", str(self.folder / "local" / "bootstrap.py"), which]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def installed(self) -> dict[str, str]:
        command = [str(self.venv / "bin" / "python"), "-I", "-m", "pip", "list", "--format", "json"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return {row["name"]: row["version"] for row in json.loads(listed) if row["name"] in ("one", "two")}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("checkout"))


def test_the_whole_life_of_a_venv(checkout: Checkout) -> None:
    """One venv is made once and followed, since making it takes seconds."""
    first = checkout.set_up("run", PIP_USER="1", PIP_TARGET="/nowhere")
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stdout.splitlines()[1:2] == ["Installing 1 packages, hashes checked"]
    assert len([line for line in first.stdout.splitlines() if not line.startswith("  fetching ")]) == 3
    assert checkout.installed() == {"one": "1.0"}

    assert checkout.set_up("run").stdout == ""  # nothing to do

    assert "Installing 2 packages" in checkout.set_up("dev").stdout
    assert checkout.installed() == {"one": "1.0", "two": "2.0"}
    assert [checkout.set_up(which).stdout for which in ("run", "dev")] == ["", ""]  # the larger lock serves both

    newer = wheel(checkout.wheels, "one", "1.1")
    checkout.lock(newer, newer + checkout.two)
    assert "Python" not in checkout.set_up("run").stdout  # another lock needs no other venv
    assert checkout.installed() == {"one": "1.1", "two": "2.0"}
    assert "Installing 2 packages" in checkout.set_up("dev").stdout

    stamp = checkout.venv / "dueflow-stamp"
    stamp.write_text(stamp.read_text().replace(sys.version.split()[0], "3.10.1"))
    theirs = checkout.venv.rename(checkout.folder / "somebody-elses")
    checkout.venv.symlink_to(theirs)
    assert f"Python {sys.version.split()[0]} -> {checkout.venv}" in checkout.set_up("run").stdout
    assert checkout.installed() == {"one": "1.1"}
    assert (theirs / "bin" / "python").exists()  # a venv that was only pointed at is left alone


def test_a_wheel_with_another_hash_is_refused(checkout: Checkout) -> None:
    checkout.lock(checkout.one.replace("sha256:", "sha256:0")[:-2] + "\n", checkout.two)
    refused = checkout.set_up("run")
    assert refused.returncode == 1
    assert "Installing failed. The end of " in refused.stderr
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in refused.stderr
    assert checkout.installed() == {"one": "1.1"}  # what was there before
    checkout.lock(checkout.one, checkout.one)
    assert "Python" not in checkout.set_up("run").stdout  # the venv itself is whole
    assert checkout.installed() == {"one": "1.0"}


def test_a_package_without_a_wheel_is_refused(checkout: Checkout) -> None:
    checkout.lock(f"absent==1.0 \\\n    --hash=sha256:{'0' * 64}\n", checkout.two)
    refused = checkout.set_up("run")
    assert refused.returncode == 1
    assert "No matching distribution found for absent==1.0" in refused.stderr


def test_without_ensurepip_the_message_names_the_package(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    program = (
        "import importlib.util, runpy, sys; find = importlib.util.find_spec; "
        "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest); "
        "sys.argv = ['bootstrap.py', 'run']; "
        f"runpy.run_path({str(tmp_path / 'local/bootstrap.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert done.returncode == 1
    assert done.stderr == (
        f"This Python {version} cannot make a virtual environment. Type `apt-get install python{version}-venv`.\n"
    )
    assert not checkout.venv.exists()


def test_the_development_lock_holds_every_pin_of_the_other() -> None:
    run, dev = ({*PIN.findall((ROOT / name).read_text())} for name in ("requirements.lock", "requirements-dev.lock"))
    assert run <= dev
    assert len(run) > 50


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_has_a_hash_for_each_pin_and_no_address(name: str) -> None:
    text = (ROOT / name).read_text()
    assert "://" not in text
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []
    assert len(blocks) == len(PIN.findall(text))


def test_every_requirement_is_locked() -> None:
    for wishes, lock in (
        ("requirements", "requirements"),
        ("requirements-dev",) * 2,
        ("requirements-data", "requirements-dev"),
    ):
        wanted = re.findall(r"^([A-Za-z0-9-]+)", (ROOT / f"{wishes}.in").read_text(), re.MULTILINE)
        locked = {pin for pin, _ in PIN.findall((ROOT / f"{lock}.lock").read_text())}
        assert {one.lower() for one in wanted if not one.startswith("-")} <= locked
