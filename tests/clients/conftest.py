"""The served API of `tests/api`, with a membership about which something happens all the time, and Node's packages."""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from integrations.bus import RedisBus
from models.ports import LiveEvent
from models.rules.lifecycle import Status
from models.rules.pricing import Integration, MembershipKind
from models.tables.centre import Centre
from models.tables.membership import Membership, MembershipType
from resolvers.reads.ids import encode
from tests.api.conftest import Api, api, database, served  # noqa: F401  fixtures of this folder as well

ROOT = Path(__file__).resolve().parents[2]
OLDEST_NODE = 18  # Debian 12 has no newer one
SECONDS_TO_INSTALL = 300
SECONDS_BETWEEN_EVENTS = 0.05
NO_REGISTRY = re.compile(
    r"ENOTFOUND|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|ERR_SOCKET_TIMEOUT|E40[134]"
)


@pytest.fixture(scope="module")
async def watched(api: Api, redis_url: str) -> AsyncIterator[str]:  # noqa: F811
    """The id of a membership that events are told about, one after the other, while the module runs."""
    centre = await Centre.create(name="Baths", zone="Europe/London", currency="GBP")
    kind = await MembershipType.create(name="Swim", integration=Integration.NONE, kind=MembershipKind.ONGOING)
    membership = await Membership.create(
        user=api.member,
        membership_type=kind,
        centre=centre,
        amount=3000,
        currency="GBP",
        status=Status.ACTIVE,
        starts_on=date(2026, 1, 1),
    )
    ids = {"membership_id": str(membership.id), "user_id": str(api.member.id), "status": "ACTIVE"}
    bus = RedisBus(redis_url)

    async def happen() -> None:
        while True:
            event = LiveEvent(str(uuid4()), "membership", "MembershipStatusChanged", ids, datetime.now(UTC))
            await bus.publish([event])
            await asyncio.sleep(SECONDS_BETWEEN_EVENTS)

    happening = asyncio.create_task(happen())
    yield encode("Membership", membership.id)
    happening.cancel()
    await asyncio.gather(happening, return_exceptions=True)
    await bus.stop()


@pytest.fixture(scope="session")
def node() -> str:
    """The `node` to run, new enough."""
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        pytest.skip("needs Node.js and npm on PATH")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(told.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"needs Node.js {OLDEST_NODE} or newer, this is {told.strip()}")
    return found


@pytest.fixture(scope="session")
def installed(node: str) -> Callable[[Path], Path]:
    """A folder with a package.json and its lock -> its `node_modules`, installed once for each content of the lock."""

    def install(folder: Path) -> Path:
        lock = folder / "package-lock.json"
        kept = ROOT / ".local" / "node" / hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
        kept.mkdir(parents=True, exist_ok=True)
        with (kept / "turn").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            if not (kept / "done").exists():
                for name in ("package.json", "package-lock.json"):
                    shutil.copy(folder / name, kept)
                _ci(kept)
                (kept / "done").touch()
        return kept / "node_modules"

    return install


def _ci(folder: Path) -> None:
    argv = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    argv += ["--fetch-retries=1", "--fetch-timeout=60000"]
    done = subprocess.run(
        argv, cwd=folder, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL, check=False, env=os.environ
    )
    if done.returncode and (reason := NO_REGISTRY.search(done.stderr)):
        pytest.skip(f"needs npm's registry, or {folder} filled once: {reason[0]}")
    assert done.returncode == 0, done.stderr
