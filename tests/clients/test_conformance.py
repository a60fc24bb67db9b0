"""Python tools that pin other versions than ours, in an environment of their own: random requests, a typed client."""

import asyncio
import fcntl
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.api.conftest import Api

pytestmark = [pytest.mark.conformance, pytest.mark.timeout(1800)]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCK = HERE / "requirements.lock"


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder of the tools' programs, made once for each content of the lock."""
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    kept = ROOT / ".local" / "tools" / f"{digest}-{sys.version_info.major}.{sys.version_info.minor}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "turn").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not (kept / "done").exists():
            subprocess.run([sys.executable, "-I", "-m", "venv", "--clear", kept / "venv"], check=True)
            pip = [str(kept / "venv" / "bin" / "python"), "-I", "-m", "pip", "install", "--quiet", "--no-input"]
            options = ["--require-hashes", "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check"]
            subprocess.run([*pip, *options, "-r", str(LOCK)], check=True)
            (kept / "done").touch()
    return kept / "venv" / "bin"


async def ran(argv: Sequence[str | Path], folder: Path, **more: str) -> "subprocess.CompletedProcess[str]":
    """A program's result, waited for beside the events that go on happening."""
    environment = {**os.environ, **more}
    return await asyncio.to_thread(
        subprocess.run, argv, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )


HOOKS = """
import schemathesis
from hypothesis import strategies as st
from schemathesis.graphql import nodes

some = st.sampled_from
schemathesis.graphql.scalar("CurrencyCode", some(["GBP", "EUR", "JPY", "gbp", "XXX"]).map(nodes.String))
schemathesis.graphql.scalar("Decimal", some(["20.00", "0", "-1.5", "1e9", "NaN", "0.0000001"]).map(nodes.String))
schemathesis.graphql.scalar("BigInt", some(["0", "-1", "9223372036854775807", "9223372036854775808"]).map(nodes.String))
schemathesis.graphql.scalar("URL", some(["https://example.test/a", "ftp://example.test", "//"]).map(nodes.String))
"""


@pytest.mark.parametrize("role", ["ADMIN", "MEMBER"])
async def test_no_request_a_machine_thinks_of_is_a_server_error(
    role: str, tools: Path, api: Api, watched: str, tmp_path: Path
) -> None:
    argv = [
        str(tools / "schemathesis"),
        "run",
        f"{api.url}/graphql",
        "--header",
        f"Authorization: Bearer {api.keys[role]}",
    ]
    argv += ["--checks", "not_a_server_error", "--mode", "all", "--phases", "fuzzing", "--max-examples", "12"]
    argv += ["--seed", "1", "--continue-on-failure", "--suppress-health-check", "all", "--no-color", "--workers", "2"]
    argv += ["--generation-database", "none"]
    (tmp_path / "hooks.py").write_text(HOOKS)
    done = await ran(argv, tmp_path, SCHEMATHESIS_HOOKS="hooks")
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]


USE = """
import asyncio, json, sys
from made import Client, CreateUserInput, UserBy, LiveTopic

async def main(url, socket_url, key, email):
    headers = {"authorization": f"Bearer {key}"}
    async with Client(url=url, headers=headers) as client:
        people = await client.people(first=1)
        signed = await client.sign(CreateUserInput(firstName="New", lastName="Comer", email=email))
        anyone = await client.anyone(by=UserBy(email=email), id=signed.create_user.user.id)
    live = Client(ws_url=socket_url, ws_headers=headers, ws_connection_init_payload=headers)
    async for told in live.watch(topics=[LiveTopic.MEMBERSHIP]):
        kind = told.events.kind
        break
    print(json.dumps([len(people.users.nodes), anyone.user.id == anyone.node.id, kind]))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_ariadne_codegen_makes_a_client_that_works(tools: Path, api: Api, watched: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[tool.ariadne-codegen]\n"
        f"schema_path = {json.dumps(str(ROOT / 'schema' / 'schema.graphql'))}\n"
        f"queries_path = {json.dumps(str(HERE / 'generators' / 'operations.graphql'))}\n"
        'target_package_name = "made"\n'
    )
    made = await ran([tools / "ariadne-codegen"], tmp_path, PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    assert made.returncode == 0, made.stdout + made.stderr
    (tmp_path / "use.py").write_text(USE)
    told = [f"{api.url}/graphql", api.socket_url, api.keys["ADMIN"], "generated@example.test"]
    used = await ran([sys.executable, "use.py", *told], tmp_path)
    assert json.loads(used.stdout or "null") == [1, True, "MembershipStatusChanged"], used.stderr
