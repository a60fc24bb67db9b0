"""Typed clients are generated from the committed SDL, and their types tell right from wrong."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)  # the first of them may have all packages to install

HERE = Path(__file__).resolve().parent / "generators"
SDL = HERE.parents[2] / "schema" / "schema.graphql"
STRICT = ["--strict", "--noEmit", "--skipLibCheck", "--module", "esnext", "--moduleResolution", "bundler"]


@pytest.fixture(scope="module")
def workshop(node: str, installed: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDL, our documents and the generators."""
    folder = tmp_path_factory.mktemp("generators") / "here"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("node_modules"))
    shutil.copy(SDL, folder)
    (folder / "node_modules").symlink_to(installed(HERE))
    return folder


def ran(workshop: Path, tool: str, *argv: str) -> "subprocess.CompletedProcess[str]":
    program = workshop / "node_modules" / ".bin" / tool
    return subprocess.run([program, *argv], cwd=workshop, capture_output=True, text=True, timeout=100, check=False)


def test_graphql_code_generator_makes_types_that_tell_right_from_wrong(workshop: Path) -> None:
    made = ran(workshop, "graphql-codegen", "--config", "codegen.json")
    assert made.returncode == 0, made.stdout + made.stderr
    judged = ran(workshop, "tsc", *STRICT, "right.ts", "wrong.ts")
    lines = set(re.findall(r"^(\w+)\.ts\((\d+)", judged.stdout, re.MULTILINE))
    text = (workshop / "wrong.ts").read_text().splitlines()
    mistakes = {("wrong", str(number)) for number, line in enumerate(text, 1) if line.startswith("export")}
    assert lines == mistakes, judged.stdout


def test_relay_compiler_knows_our_nodes_connections_and_fragments(workshop: Path) -> None:
    (workshop / "relay" / "made").mkdir()
    made = ran(workshop, "relay-compiler", "relay.json")
    assert made.returncode == 0, made.stdout + made.stderr
    assert {path.name.partition(".")[0] for path in (workshop / "relay" / "made").iterdir()} == {
        "PeopleListQuery",
        "PeopleQuery",
        "PeopleSignMutation",
        "PeopleUserQuery",
        "PeopleWatchSubscription",
        "People_list",
        "People_user",
    }
    refetched = (workshop / "relay" / "made" / "PeopleUserQuery.graphql.ts").read_text()
    assert "node(id: $id)" in refetched
