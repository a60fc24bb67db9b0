"""What is shipped: our flat top-level names are nobody else's, and the wheel holds all that runs and no test."""

import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from importlib.metadata import distributions, packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
NAMES = {"app", "schema", "resolvers", "models", "workers", "integrations", "local"}
OURS = "dueflow"


def test_our_names_are_all_there_is_at_the_top() -> None:
    packages = {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")}
    modules = {path.stem for path in ROOT.glob("*.py")}
    assert packages | modules == NAMES
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_installed_distribution_has_one_of_our_names() -> None:
    owners = packages_distributions()
    assert {name: set(owners.get(name, ())) - {OURS} for name in NAMES} == {name: set() for name in NAMES}
    for each in distributions():
        if each.metadata["Name"] != OURS:
            tops = {path.parts[0].removesuffix(".py") for path in each.files or ()}
            assert not tops & NAMES, each.metadata["Name"]


def test_no_locked_distribution_is_called_like_one_of_ours() -> None:
    for lock in ("requirements.lock", "requirements-dev.lock"):
        lines = (ROOT / lock).read_text().splitlines()
        locked = {line.partition("==")[0] for line in lines if line[:1].isalnum()}
        assert len(locked) > 30
        assert not locked & (NAMES | {OURS})


def test_the_rules_of_packaging_take_each_package_and_no_test() -> None:
    include = SETUPTOOLS["packages"]["find"]["include"]
    assert set(SETUPTOOLS["py-modules"]) | {pattern.removesuffix("*") for pattern in include} == NAMES
    assert not any(fnmatch("tests", pattern) for pattern in include)
    for package, patterns in SETUPTOOLS["package-data"].items():
        for pattern in patterns:
            assert list((ROOT / package).glob(pattern)), f"{package}: {pattern}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What setuptools puts into the wheel, built from the committed files in a folder of its own."""
    pytest.importorskip("setuptools", reason="setuptools is not installed here")
    folder = tmp_path_factory.mktemp("built")
    for name in committed():
        target = folder / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    program = "import setuptools; setuptools.setup()"
    build = [sys.executable, "-W", "ignore", "-c", program, "-q", "build", "--build-base", str(folder / "build")]
    done = subprocess.run(build, cwd=folder / "source", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    wheel = folder / "build" / "lib"
    return {path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()}


def committed() -> list[str]:
    """The files of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


def test_the_wheel_holds_all_that_runs(built: set[str]) -> None:
    sources = {
        name for name in committed() if name.endswith(".py") and not name.startswith(("bench/", "tests/", "examples/"))
    }
    explorer = {name for name in committed() if name.startswith("resolvers/explorer/")}
    assert "resolvers/explorer/index.html" in explorer
    assert sources | explorer | {"schema/schema.graphql"} <= built


def test_the_wheel_holds_nothing_else(built: set[str]) -> None:
    assert {name.partition("/")[0].removesuffix(".py") for name in built} == NAMES
