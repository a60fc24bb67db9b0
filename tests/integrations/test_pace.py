"""The gate before every call: one rate, one pause and one breaker for all workers, through a real Valkey."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from integrations import pace as module
from integrations import together as shared
from integrations.limits import pace_of
from integrations.pace import Allowance, Pace
from integrations.together import Together
from local.servers import wait_until_ready
from local.state import held_ports
from local.valkey import Valkey
from models.ports import OutcomeUnknown, RateLimited, Refused, Unavailable
from models.rules.states import Provider

Gate = Callable[..., Pace]
AWAY = Unavailable("503", code="NO_ANSWER")


@pytest.fixture
async def gate(redis_url: str) -> AsyncIterator[Gate]:
    """Make the gate of one more worker for an account."""
    workers: list[Together] = []

    def make(account: str, allowance: Allowance | None = None, url: str = redis_url) -> Pace:
        workers.append(Together(url))
        return Pace(account, allowance or Allowance(), workers[-1])

    yield make
    for worker in workers:
        await worker.close()


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "FAILURES", 3)
    monkeypatch.setattr(shared, "OPEN_SECONDS", 0.3)
    monkeypatch.setattr(module, "WAIT_SECONDS", 2.0)


class Provides:
    """The other side: raises what it is told to, and counts."""

    def __init__(self, *raises: Exception | None) -> None:
        self.raises, self.calls = list(raises), 0
        self.at_once, self.most_at_once = 0, 0

    async def __call__(self) -> int:
        self.calls += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        error = self.raises.pop(0) if self.raises else None
        if error:
            raise error
        return self.calls


async def failing(gate: Pace, provider: Provides, times: int) -> None:
    for _ in range(times):
        with pytest.raises(Unavailable):
            await gate(provider)


async def test_workers_share_one_rate(gate: Gate) -> None:
    """Ten a second: three workers that want forty-five need as long as one would."""
    workers = [gate("A:rate", Allowance(((10, 1),))) for _ in range(3)]
    provider, began = Provides(), time.monotonic()
    done = await asyncio.gather(*(worker(provider) for worker in workers for _ in range(15)), return_exceptions=True)
    took = time.monotonic() - began
    limited = [one for one in done if isinstance(one, RateLimited)]
    assert provider.calls == len(done) - len(limited)
    assert provider.calls <= 10 * (took + 1)
    assert 15 <= provider.calls <= 32, "those that would have waited too long were told when to come again"
    assert all(one.retry_after >= 1 for one in limited)


async def test_what_is_used_up_for_the_day_is_told_at_once(gate: Gate) -> None:
    worker, provider = gate("A:day", Allowance(((60, 60), (2, 86_400)))), Provides()
    await worker(provider)
    await worker(provider)
    began = time.monotonic()
    with pytest.raises(RateLimited) as limited:
        await worker(provider)
    assert time.monotonic() - began < 0.5
    assert 60 <= limited.value.retry_after <= 3600
    assert provider.calls == 2


async def test_no_more_at_once_than_the_account_allows(gate: Gate) -> None:
    workers = [gate("A:five", Allowance(at_once=5)) for _ in range(2)]
    provider = Provides()
    await asyncio.gather(*(worker(provider) for worker in workers for _ in range(10)))
    assert (provider.calls, provider.most_at_once) == (20, 5)


async def test_a_429_stops_every_worker_until_the_instant_it_named(gate: Gate) -> None:
    one, other = gate("A:429"), gate("A:429")
    provider = Provides(RateLimited("429", retry_after=0.4), None, RateLimited("429", retry_after=30))
    with pytest.raises(RateLimited):
        await one(provider)
    began = time.monotonic()
    await other(provider)
    assert 0.3 < time.monotonic() - began < 1
    with pytest.raises(RateLimited):
        await one(provider)
    with pytest.raises(RateLimited) as limited:
        await other(provider)
    assert 28 < limited.value.retry_after <= 30
    assert provider.calls == 3, "nobody asked meanwhile"


async def test_the_breaker_opens_for_all_and_one_probe_closes_it(gate: Gate) -> None:
    one, other = gate("A:breaker"), gate("A:breaker")
    provider = Provides(AWAY, OutcomeUnknown("no answer"), AWAY)
    with pytest.raises(Unavailable):
        await one(provider)
    with pytest.raises(OutcomeUnknown):
        await other(provider)
    await failing(one, provider, 1)
    began = time.monotonic()
    with pytest.raises(Unavailable) as open_:
        await other(provider)
    assert time.monotonic() - began < 0.1
    assert (open_.value.code, provider.calls) == ("BREAKER_OPEN", 3)
    assert 0 < open_.value.retry_after <= 0.3

    await asyncio.sleep(0.35)
    provider.raises = [AWAY]
    found = await asyncio.gather(*(worker(provider) for worker in (one, other) * 3), return_exceptions=True)
    assert provider.calls == 4, "one probe"
    assert sorted(getattr(each, "code", "") for each in found) == ["BREAKER_OPEN"] * 5 + ["NO_ANSWER"]
    with pytest.raises(Unavailable) as open_:
        await one(provider)
    assert open_.value.retry_after > 0.4, "twice as long"

    await asyncio.sleep(0.65)
    await other(provider)
    await asyncio.gather(*(worker(provider) for worker in (one, other) * 3))
    assert provider.calls == 11


@pytest.mark.parametrize(
    "error",
    [Refused("no"), Unavailable("401", code="CREDENTIALS"), Unavailable("busy", code="IN_USE"), ValueError("declined")],
    ids=repr,
)
async def test_a_provider_that_answers_is_not_away(gate: Gate, error: Exception) -> None:
    worker, provider = gate(f"A:{error!r}"), Provides(*[AWAY, AWAY, error, AWAY, AWAY])
    for _ in range(5):
        with pytest.raises(type(error) if provider.calls == 2 else Unavailable):
            await worker(provider)
    await worker(provider)
    assert provider.calls == 6


async def test_accounts_do_not_know_each_other(gate: Gate) -> None:
    provider = Provides(AWAY, AWAY, AWAY)
    await failing(gate("A:1"), provider, 3)
    await gate("A:2")(provider)
    assert provider.calls == 4


async def test_a_call_that_is_cancelled_gives_its_place_back(gate: Gate) -> None:
    worker = gate("A:gone", Allowance(at_once=1))
    calling = asyncio.create_task(worker(lambda: asyncio.sleep(60)))
    await asyncio.sleep(0.05)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await worker(Provides())


async def test_while_redis_is_away_each_process_takes_a_part_of_the_rate_and_the_breaker_is_closed(
    gate: Gate, tmp_path: Path
) -> None:
    nobody = f"redis://127.0.0.1:{held_ports(1)[0]}/0"
    worker = gate("A:alone", Allowance(((20, 1),), at_once=8), nobody)
    provider, began = Provides(*[AWAY] * 4), time.monotonic()
    await failing(worker, provider, 4)
    await asyncio.gather(*(worker(provider) for _ in range(6)))
    took = time.monotonic() - began
    assert provider.calls == 10
    assert took >= 0.9, "a quarter of twenty a second: five at once, then five in a second"
    assert provider.most_at_once <= 2


async def test_redis_that_comes_back_is_used_again(gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "ASK_REDIS_AGAIN_SECONDS", 0.1)
    server = Valkey(tmp_path / "valkey", held_ports(1)[0], "s3cret", keep=False)
    worker, provider = gate("A:back", None, server.url), Provides(AWAY, AWAY, AWAY)
    await failing(worker, provider, 1)
    from local.process import Running

    running = Running(server.child(), tmp_path / "valkey.log")
    wait_until_ready(running)
    await asyncio.sleep(0.15)
    provider.raises = [AWAY] * 3
    await failing(worker, provider, 3)
    with pytest.raises(Unavailable) as open_:
        await worker(provider)
    running.stop()
    assert open_.value.code == "BREAKER_OPEN"


async def test_what_prometheus_is_told(gate: Gate, redis_url: str) -> None:
    worker = gate("A:told")
    await failing(worker, Provides(AWAY, AWAY, AWAY), 4)
    together = Together(redis_url)
    lines = [line for line in (await together.told()).splitlines() if "A:told" in line]
    await together.close()
    assert lines == [
        'dueflow_provider_breaker_open{account="A:told"} 1',
        'dueflow_provider_paused{account="A:told"} 0',
        'dueflow_provider_breaker_openings_total{account="A:told"} 1',
        'dueflow_provider_turned_away_total{account="A:told"} 1',
        'dueflow_provider_waited_seconds_total{account="A:told"} 0.0',
    ]


@pytest.mark.parametrize(
    ("provider", "settings", "secrets", "allowance"),
    [
        (Provider.STRIPE, {}, {"api_key": "sk_live_1"}, Allowance(((25, 1),))),
        (Provider.STRIPE, {}, {"api_key": "sk_test_1"}, Allowance(((25, 1),))),
        (Provider.GOCARDLESS, {}, {"access_token": "t"}, Allowance(((1000, 60),))),
        (Provider.XERO, {"tenant_id": "t"}, {}, Allowance(((60, 60), (5000, 86_400)), at_once=5)),
        (Provider.NOOKAL, {}, {"api_key": "k"}, Allowance(((2, 1),))),
        (Provider.NOOKAL, {"calls_per_second": "0.5"}, {"api_key": "k"}, Allowance(((1, 2),))),
        (Provider.COURSEPRO, {"client_id": "c"}, {}, Allowance()),
    ],
    ids=lambda value: str(value) if isinstance(value, Provider) else "",
)
def test_what_each_provider_allows(
    provider: Provider, settings: dict[str, str], secrets: dict[str, str], allowance: Allowance
) -> None:
    found = pace_of(provider, settings, secrets, None)
    assert found._allowance == allowance
    assert found._account.startswith(f"{provider}:")
    assert all(secret not in found._account for secret in secrets.values())
