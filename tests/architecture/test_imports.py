"""Who may import whom: the contracts hold here, and each one is broken by the import it is there to stop."""

import ast
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = {each["name"] for each in PYPROJECT["tool"]["importlinter"]["contracts"]}
PACKAGES = PYPROJECT["tool"]["importlinter"]["root_packages"]
BIN = Path(sys.executable).parent

# contract: (module, what it must not import)
PLANTED = {
    "schema asks resolvers, resolvers ask models; jobs use integrations, integrations use models": (
        "resolvers/may.py",
        "import schema.enums",
    ),
    "a request never calls a provider": ("resolvers/context.py", "from integrations.registry import Registry"),
    "a job never speaks GraphQL": ("workers/runner.py", "from resolvers.viewer import Viewer"),
    "the floors of models": ("models/tables/user.py", "from models.actions.unit import unit"),
    "rules are pure": ("models/rules/money.py", "import random"),
    "only the registry names the providers": ("integrations/webhooks.py", "import integrations.stripe.client"),
    "providers do not know each other": ("integrations/nookal/client.py", "from integrations.xero import session"),
    "nothing imports the one-machine set-up": ("workers/__main__.py", "from local.state import free_ports"),
}
# The clock, chance and the outside are as much out of bounds for rules as the libraries that reach them.
IMPURE = ("asyncio", "os", "time", "tortoise", "strawberry", "httpx", "stripe")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where import-linter keeps what it knows of unchanged files."""
    return tmp_path_factory.mktemp("graphs")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The program's sources and its contracts, to be changed."""
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            target = tmp_path / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return tmp_path


def broken(folder: Path, cache: Path) -> set[str]:
    """Run import-linter in a folder -> the contracts it says are broken."""
    done = subprocess.run(
        [BIN / "lint-imports", "--no-logo", "--cache-dir", cache],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "COLUMNS": "400", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stdout.splitlines()
    said = {name: line.split()[-1] for name in CONTRACTS for line in lines if line.startswith(f"{name} ")}
    assert said.keys() == CONTRACTS, f"{done.stdout}{done.stderr}"
    found = {name for name, verdict in said.items() if verdict == "BROKEN"}
    assert done.returncode == bool(found)
    return found


def plant(folder: Path, module: str, line: str) -> None:
    source = folder / module
    assert source.exists()
    source.write_text(f"{source.read_text()}\n{line}\n")


def test_the_contracts_hold(copy: Path, graphs: Path) -> None:
    assert broken(copy, graphs) == set()


def test_each_contract_has_its_breach() -> None:
    assert PLANTED.keys() == CONTRACTS
    assert set(PACKAGES) == {path.parent.name for path in ROOT.glob("[a-z]*/__init__.py")}


@pytest.mark.parametrize("contract", PLANTED)
def test_a_breach_is_found(contract: str, copy: Path, graphs: Path) -> None:
    plant(copy, *PLANTED[contract])
    assert contract in broken(copy, graphs)


@pytest.mark.parametrize("impure", IMPURE)
def test_rules_reach_nothing_outside(impure: str, copy: Path, graphs: Path) -> None:
    plant(copy, "models/rules/booking.py", f"import {impure}")
    assert "rules are pure" in broken(copy, graphs)


def test_the_rules_load_neither_the_tables_nor_graphql() -> None:
    rules = [f"models.rules.{path.stem}" for path in (ROOT / "models" / "rules").glob("[a-z]*.py")]
    heavy = {"tortoise", "strawberry", "graphql", "starlette", "asyncpg", "redis", "httpx", "models.tables"}
    program = f"import sys, {', '.join(rules)}; print(sorted({heavy!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_nothing_imports_the_composition_root() -> None:
    sources = [source for package in PACKAGES for source in (ROOT / package).rglob("*.py")]
    importers = {source.relative_to(ROOT).as_posix() for source in sources if "app" in _imported(source)}
    assert importers <= {"workers/__main__.py"}  # the worker's own root, which sets up the same log


def _imported(source: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("used", "found"),
    [
        ("from tortoise.transactions import in_transaction\n\nin_transaction()\n", ["TID251"]),
        ("from tortoise import transactions\n\ntransactions.in_transaction()\n", ["TID251"]),
        ("from models.actions.unit import unit\n\nunit()\n", []),
    ],
    ids=["by name", "by module", "ours"],
)
def test_the_leaking_transaction_is_banned(tmp_path: Path, used: str, found: list[str]) -> None:
    source = tmp_path / "action.py"
    source.write_text(used)
    ruff = f"{BIN}/ruff check --no-cache --select TID --output-format concise --config {ROOT}/pyproject.toml {source}"
    done = subprocess.run(ruff.split(), capture_output=True, text=True, check=False)
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith(str(source))] == found


def test_only_our_own_transaction_begins_one() -> None:
    sources = [source for package in PACKAGES for source in (ROOT / package).rglob("*.py")]
    users = {source.relative_to(ROOT).as_posix() for source in sources if "TransactionWrapper(" in source.read_text()}
    assert users == {"models/tables/client.py"}
