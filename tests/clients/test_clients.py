"""The clients people use, unchanged: each suite is a program of its own, each of its checks a test here."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.api.conftest import Api

pytestmark = pytest.mark.timeout(400)  # the first of them may have all packages to install

HERE = Path(__file__).resolve().parent
SECONDS = 100


@pytest.mark.parametrize(
    ("suite", "checks"),
    [
        ("audit", 61),  # graphql-http's audit, SHOULD as well as MUST
        ("socket_client", 19),  # graphql-ws
        ("socket_strict", 56),  # against graphql-ws' own server
        ("sse", 18),  # graphql-sse, urql over fetch, the wire
        ("apollo", 15),
        ("urql", 12),
        ("request", 10),
    ],
)
async def test_suite(
    suite: str,
    checks: int,
    node: str,
    installed: Callable[[Path], Path],
    api: Api,
    watched: str,
    tmp_path: Path,
    subtests: pytest.Subtests,
) -> None:
    for script in HERE.glob("*.mjs"):
        shutil.copy(script, tmp_path)
    (tmp_path / "node_modules").symlink_to(await asyncio.to_thread(installed, HERE))
    ours = {"url": f"{api.url}/graphql", "key": api.keys["ADMIN"], "membership": watched}
    process = await asyncio.create_subprocess_exec(
        node,
        f"{suite}.mjs",
        cwd=tmp_path,
        env={**os.environ, "DUEFLOW_API": json.dumps(ours)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        told, complaints = await process.communicate()
    results = [json.loads(line) for line in told.splitlines()]
    for result in results:
        with subtests.test(msg=result["name"]):
            assert result["ok"], result["why"]
    assert len(results) == checks, complaints.decode()
