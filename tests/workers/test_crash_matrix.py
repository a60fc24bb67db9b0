"""Collecting money while workers die or freeze at the worst points and providers fail: each payment is taken once.

Real processes, real PostgreSQL and Redis, the providers' sandbox. A few cells run with the suite, all of them with
`make soak`. The naive worker is the negative control: what finds nothing wrong with it proves nothing.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import pytest
import redis

from models.actions import offers
from models.actions.settings import configure_provider
from models.actions.vault import Vault
from models.rules.states import JobState, PaymentStatus, Provider
from models.tables.inbox import InboxEvent
from models.tables.job import Job
from models.tables.membership import Mandate
from models.tables.payment import Payment
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink
from tests.build import BY, NOW, a_centre, a_fee, a_member_with_card, a_membership, a_package_offer, sql
from tests.workers.conftest import Sandbox
from tests.workers.crashing import DIED, EFFECT, POINTS, UNCOMMITTED, WRITTEN
from tests.workers.naive import TAKEN, WAITING

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.timeout(300)]
ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS = 2.0
SECONDS = 150.0  # a 429 of GoCardless is over with the minute
EACH = 2
CREATE = {"stripe": "/v1/payment_intents$", "gocardless": "/payments$"}
HOWS = ("exit", "stop")
# fault: (its kind in the sandbox, at whom). Stripe keeps a 500 under its key; with the last one the clock moves on by a
# day before anybody asks again.
FAULTS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "none": (None, ()),
    "answer lost": ("drop_answer", ("stripe", "gocardless")),
    "stored 500": ("500_after", ("stripe", "gocardless")),
    "key in use": ("409", ("stripe",)),
    "429": ("429", ("stripe", "gocardless")),
    "key forgotten": ("drop_answer", ("stripe", "gocardless")),
}


# rows a frozen worker holds are left alone
HURRY = (
    "WITH hurried AS (UPDATE job SET run_at = NULL, wake_at = NULL WHERE id IN (SELECT id FROM job"
    " WHERE kind = 'payments.collect' AND state IN ('READY', 'LEASED') FOR UPDATE SKIP LOCKED) RETURNING 1)"
    " SELECT * FROM hurried"
)


@dataclass
class Fleet:
    """Worker processes that are replaced when they die and thawed some time after they froze."""

    environment: dict[str, str]
    program: str
    size: int
    log: Path
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    frozen: dict[int, float] = field(default_factory=dict)
    died = 0

    @property
    def flags(self) -> Path:
        """Where each crash left its process id."""
        return Path(self.environment["CRASH_FLAGS"])

    def tend(self) -> None:
        """Start who is missing, thaw who was frozen for longer than its lease."""
        for one in [one for one in self.running if one.poll() is not None]:
            assert one.returncode == DIED, self.log.read_text()[-3000:]
            self.running.remove(one)
            self.died += 1
        while len(self.running) < self.size:
            with self.log.open("ab") as out:
                command = [sys.executable, f"tests/workers/{self.program}.py"]
                self.running.append(subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=out, stderr=out))
        if self.environment["CRASH_HOW"] == "stop":
            for flag in self.flags.iterdir():
                if (text := flag.read_text()) and int(text) not in self.frozen:
                    self.frozen[int(text)] = time.monotonic()
            for one in self.running:
                if time.monotonic() - self.frozen.get(one.pid, time.monotonic()) > LEASE_SECONDS + 1:
                    one.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End all of them at once."""
        for one in self.running:
            one.kill()
            one.wait()


@dataclass
class Cell:
    """Some payments that are due at both providers, and the workers that are to collect them."""

    sandbox: Sandbox
    fleet: Fleet
    due: list[Payment]
    forgets: bool = False

    async def run(self, finished: Callable[[], Awaitable[bool]], seconds: float = SECONDS) -> None:
        """Tend the workers until all is finished; nobody waits for the time of a retry."""
        deadline = time.monotonic() + seconds
        while not await finished():
            assert time.monotonic() < deadline, [(job.state, job.error) for job in await self.jobs()]
            self.fleet.tend()
            if self.forgets and await Job.exists(kind="payments.collect", error_code="NO_ANSWER"):
                self.forgets = False
                self.sandbox.advance(hours=25)
            await sql(HURRY)
            await asyncio.sleep(0.05)

    async def jobs(self) -> list[Job]:
        """The jobs that collect what is due; the workers raise the fees of later months meanwhile."""
        return await Job.filter(subject__in=[f"payments.collect:{payment.id}" for payment in self.due])

    async def collected(self) -> bool:
        """Whether no job is under way."""
        return not any(job.state in (JobState.READY, JobState.LEASED) for job in await self.jobs())

    async def check(self) -> None:
        """The invariant: each payment was taken exactly once, is known by that reference, and no job is stuck."""
        there: Counter[str] = Counter()
        references: dict[str, str] = {}
        for kind in ("stripe.payment_intent", "gocardless.payments"):
            for made in self.sandbox.state_of(kind):
                there[made["metadata"]["payment_id"]] += 1
                references[made["metadata"]["payment_id"]] = made["id"]
        # the fees of later months: each of them once, too
        assert there == Counter({str(payment.id) for payment in self.due} | there.keys())
        rows = await Payment.filter(id__in=[payment.id for payment in self.due])
        taken = (PaymentStatus.SUBMITTED, PaymentStatus.CONFIRMED)
        assert [row for row in rows if row.status not in taken or row.reference != references[str(row.id)]] == []
        assert {job.state for job in await self.jobs()} <= {JobState.DONE}


async def a_debit(sandbox: Sandbox) -> Payment:
    """A fee that is due at GoCardless."""
    fee = await a_fee(await a_membership())
    there = sandbox.do("gocardless", "create_mandate")["mandate"]
    await Mandate.filter(id=fee.mandate_id).update(external_id=there)
    return fee


async def a_charge(sandbox: Sandbox) -> Payment:
    """A package whose price is due at Stripe."""
    user = await a_member_with_card()
    made = sandbox.do("stripe", "create_customer_with_card", email=user.email, name="Ada")
    for kind, external_id in made.items():
        await ExternalLink.filter(user_id=user.id, kind=kind).update(external_id=external_id)
    centre, offer = await a_centre(), await a_package_offer()
    bought = await offers.buy_package(
        user_id=user.id, package_offer_id=offer.id, centre_id=centre.id, acting=BY, at=NOW
    )
    return await Payment.get(package_id=bought.id)


Cells = Callable[..., Awaitable[Cell]]


@pytest.fixture
async def a_cell(
    sandbox: Sandbox, database_url: str, redis_url: str, secret_key: str, tmp_path: Path
) -> AsyncIterator[Cells]:
    """Make a cell: where workers crash, how, what the providers do, which program the workers run."""
    fleets: list[Fleet] = []
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()

    async def make(point: str, how: str, fault: str, program: str = "crashing", crashes: int = 1) -> Cell:
        for provider in (Provider.STRIPE, Provider.GOCARDLESS):
            name = provider.lower()
            await configure_provider(
                provider,
                settings={"api_base": sandbox.urls[name], "answer_seconds": 2},
                secrets=sandbox.credentials[name],
                enabled=True,
                vault=Vault(secret_key),
                acting=BY,
                at=NOW,
                local=True,
            )
        due = [await make_one(sandbox) for make_one in (a_debit, a_charge) for _ in range(EACH)]
        kind, at = FAULTS[fault]
        for name in at:
            sandbox.post("/faults", provider=name, kind=kind, path=CREATE[name], times=1 if kind == "429" else 2)
        flags = tmp_path / "flags"
        flags.mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": f"{database_url}?maxsize=8",
            "REDIS_URL": redis_url,
            "DUEFLOW_SECRET_KEY": secret_key,
            "DUEFLOW_SANDBOX_ADMIN": sandbox.urls["admin"],
            "DUEFLOW_LEASE_SECONDS": str(LEASE_SECONDS),
            "CRASH_POINT": point,
            "CRASH_HOW": how,
            "CRASH_FLAGS": str(flags),
            "CRASH_TIMES": str(crashes),
        }
        fleets.append(Fleet(environment, program, 2 if program == "crashing" else 1, tmp_path / "workers.log"))
        return Cell(sandbox, fleets[-1], due, forgets=fault == "key forgotten")

    yield make
    for fleet in fleets:
        fleet.stop()
    await ProviderSetting.all().delete()
    await InboxEvent.all().delete()
    await Job.all().delete()


async def taken_once(cell: Cell, crashes: int = 1) -> None:
    await cell.run(cell.collected)
    await cell.check()
    assert len(list(cell.fleet.flags.iterdir())) == crashes, "it did crash"


@pytest.mark.parametrize(
    ("point", "how", "fault"),
    [
        (EFFECT, "exit", "none"),
        (UNCOMMITTED, "stop", "answer lost"),
        (WRITTEN, "exit", "stored 500"),
    ],
)
async def test_each_payment_is_taken_once(a_cell: Cells, point: str, how: str, fault: str) -> None:
    await taken_once(await a_cell(point, how, fault))


@pytest.mark.soak
@pytest.mark.parametrize(("point", "how", "fault"), [*product(POINTS, HOWS, FAULTS)])
async def test_each_payment_is_taken_once_in_every_cell(a_cell: Cells, point: str, how: str, fault: str) -> None:
    await taken_once(await a_cell(point, how, fault, crashes=2), 2)


@pytest.mark.parametrize(
    ("point", "fault"), [(EFFECT, "none"), pytest.param("nowhere", "answer lost", marks=pytest.mark.soak)]
)
async def test_the_naive_worker_is_found_guilty(a_cell: Cells, redis_url: str, point: str, fault: str) -> None:
    cell = await a_cell(point, "exit", fault, "naive")
    await Job.filter(kind="payments.collect").delete()
    with redis.Redis.from_url(redis_url) as queue:
        for payment in cell.due:
            queue.rpush(WAITING, json.dumps({"payment_id": str(payment.id), "tries": 1}))

        async def finished() -> bool:
            return not queue.exists(WAITING, TAKEN)

        await cell.run(finished)
    with pytest.raises(AssertionError, match="Counter"):
        await cell.check()
