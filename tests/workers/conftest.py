"""Workers run on a migrated PostgreSQL of the test module's own, and tell what happened through a real Valkey."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
import redis.asyncio
import structlog

from integrations.bus import STREAM, RedisBus
from integrations.clock import SystemClock
from integrations.registry import Registry
from models.actions.vault import Vault
from tests.sandbox.conftest import Sandbox, receiver, receiver_process, sandbox, sandbox_process
from workers.work import Outside

__all__ = ["Sandbox", "receiver", "receiver_process", "sandbox", "sandbox_process"]


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Pictures of tracebacks take longer to draw than these tests wait."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture(scope="module")
async def outside(database: None, redis_url: str, secret_key: str) -> AsyncIterator[Outside]:
    """The world of a worker for which nothing is set up."""
    bus, registry = RedisBus(redis_url), Registry(Vault(secret_key), None)
    yield Outside(registry, SystemClock(), bus)
    await bus.stop()
    await registry.close()


Heard = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def heard(redis_url: str) -> AsyncIterator[Heard]:
    """() -> the events subscribers were told since the test began, by their bodies."""
    client = redis.asyncio.Redis.from_url(redis_url, decode_responses=True)
    newest = await client.xrevrange(STREAM, count=1)
    begun = newest[0][0] if newest else "0"

    async def since() -> list[str]:
        entries = await client.xrange(STREAM, min=f"({begun}")
        return [fields["event"] for _, fields in entries if fields["event"]]

    yield since
    await client.aclose()
