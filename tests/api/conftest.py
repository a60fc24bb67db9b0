"""The API as a process of its own on a migrated database, with a key per role."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import pytest_asyncio
import websockets
from tortoise import Tortoise

from local.state import held_ports
from models.actions.keys import create_api_key
from models.rules.states import Role
from models.tables.config import tortoise_config
from models.tables.user import User

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 60
PROTOCOL = "graphql-transport-ws"


@pytest_asyncio.fixture(scope="module")
async def database(database_url: str) -> AsyncIterator[str]:
    """Tortoise in the test's own process, for arranging rows."""
    await Tortoise.init(config=tortoise_config(database_url), _enable_global_fallback=True)
    yield database_url
    await Tortoise.close_connections()


@dataclass
class Api:
    """A served API and the keys to it."""

    url: str
    member: User
    stranger: User
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def socket_url(self) -> str:
        return f"ws{self.url.removeprefix('http')}/graphql"

    def bearer(self, role: str = "ADMIN") -> dict[str, str]:
        return {"authorization": f"Bearer {self.keys[role]}"}

    def client(self, role: str | None = "ADMIN") -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.url, headers=self.bearer(role) if role else {}, timeout=20)

    async def ask(self, query: str, role: str = "ADMIN", **variables: Any) -> dict[str, Any]:
        """POST an operation -> its decoded answer."""
        async with self.client(role) as client:
            answer = await client.post("/graphql", json={"query": query, "variables": variables})
        told: dict[str, Any] = answer.json()
        return told

    @asynccontextmanager
    async def socket(self, role: str | None = "ADMIN") -> AsyncIterator["Wire"]:
        """An initialised socket (or, without a role, one that is only open)."""
        async with websockets.connect(self.socket_url, subprotocols=[websockets.Subprotocol(PROTOCOL)]) as raw:
            wire = Wire(raw)
            if role:
                await wire.say(type="connection_init", payload=self.bearer(role))
                assert await wire.hear() == {"type": "connection_ack"}
            yield wire


@dataclass
class Wire:
    """Messages of graphql-transport-ws over a websocket."""

    raw: websockets.ClientConnection

    async def say(self, **message: Any) -> None:
        await self.raw.send(orjson.dumps(message).decode())

    async def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:  # noqa: A002  # the protocol's word
        await self.say(type="subscribe", id=id, payload={"query": query, "variables": variables})

    async def hear(self, seconds: float = 10) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            told: dict[str, Any] = orjson.loads(await self.raw.recv())
        return told

    async def closed(self, seconds: float = 10) -> int:
        """Wait until the server closes -> the code it gave."""
        async with asyncio.timeout(seconds):
            await self.raw.wait_closed()
        assert self.raw.close_code is not None
        return self.raw.close_code


# what no line of a log may hold: keys, tokens, and who the people of the tests are
PERSONAL = re.compile(
    r"df_[0-9a-f]{12}_|eyJ[\w-]{8,}\.|[Bb]earer [\w.-]{16,}|[\w.+-]+@[\w-]+\.(?:test|org|com)|020 7946|whsec_|sk_test_"
)


@pytest.fixture(scope="module")
def served(database_url: str, redis_url: str, secret_key: str, tmp_path_factory: Any) -> Iterator[str]:
    """The API's address. What it wrote until the end is searched for secrets and people."""
    (port,) = held_ports(1)
    url = f"http://127.0.0.1:{port}"
    settings = {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "DUEFLOW_SECRET_KEY": secret_key,
        "DUEFLOW_ENV": "development",
        "DUEFLOW_PUBLIC_URL": url,
    }
    argv = ["uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port), "--ws", "websockets-sansio"]
    argv += ["--loop", "uvloop", "--http", "httptools", "--ws-max-size", "65536", "--ws-per-message-deflate", "false"]
    log = tmp_path_factory.mktemp("log") / "api.log"
    with log.open("wb") as kept:
        process = subprocess.Popen(
            [sys.executable, "-m", *argv], cwd=ROOT, env={**os.environ, **settings}, stdout=kept, stderr=kept
        )
    try:
        _wait_for(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(10)
    assert not (told := [line for line in log.read_text().splitlines() if PERSONAL.search(line)]), told


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail("the API did not start")


@pytest_asyncio.fixture(scope="module")
async def api(served: str, database: str) -> Api:
    """The served API, a key per role, a member with a key and a stranger."""
    now = datetime.now(UTC)
    member, stranger = [
        await User.create(
            first_name=name,
            last_name="Test",
            email=f"{name}@example.test",
            email_key=f"{name}@example.test",
            phone="020 7946 0999",
        )
        for name in ("mia", "sam")
    ]
    made = Api(served, member, stranger)
    for role in Role:
        user_id = member.id if role is Role.MEMBER else None
        _, made.keys[role.value] = await create_api_key(
            name=role.value.lower(), role=role, acting="test", at=now, user_id=user_id
        )
    return made
