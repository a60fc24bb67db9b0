"""Half a year of one membership by direct debit, day by day: real clients, the bank's calendar, every event twice."""

import hashlib
import hmac
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import date, datetime

import pytest

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.registry import Registry
from models.actions import dunning, fee_calendar, inbound, mandates, memberships
from models.actions.vault import Vault
from models.ports import MandateGateway, PaymentGateway, WebhookSource
from models.rules.calendar import months_after
from models.rules.lifecycle import Cause, Status
from models.rules.states import JobState, MandateStatus, PaymentStatus, Provider
from models.rules.working_days import rolled
from models.tables.audit import AuditEntry
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from tests.build import BY, a_membership, a_user
from tests.workers.conftest import Sandbox
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
P = PaymentStatus
OURS = ("inbox.apply", "payments.", "mandates.")
STEP = 2


class Only(Registry):
    """Providers of which only the direct debits are set up."""

    def __init__(self, debits: DirectDebits, secret: str, vault: Vault) -> None:
        super().__init__(vault, None)
        self._debits, self._source = debits, DirectDebitWebhooks(debits, [secret])

    async def payments(self, provider: Provider) -> PaymentGateway:
        assert provider is Provider.GOCARDLESS
        return self._debits

    async def mandates(self) -> MandateGateway:
        return self._debits

    async def webhooks(self, provider: Provider) -> WebhookSource:
        return self._source


@dataclass
class SandboxClock:
    """The clock of the sandbox, read once a step."""

    at: datetime

    def now(self) -> datetime:
        return self.at


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Months:
    """A membership, its bank, and the workers."""

    membership: Membership
    sandbox: Sandbox
    clock: SandboxClock
    runner: Runner
    source: WebhookSource
    told: int = 0
    dice: random.Random = field(default_factory=lambda: random.Random(7))

    async def live(self, until: Callable[[Payment | None], bool], most: int = 80) -> Payment:
        """Let days pass until the newest payment is as wanted -> that payment."""
        for _ in range(most):
            await self.work()
            newest = await Payment.filter(membership_id=self.membership.id).order_by("-id").first()
            if until(newest):
                assert newest is not None
                return newest
            self.sandbox.advance(days=STEP)
        raise AssertionError([(row.period_start, row.status) for row in await Payment.all().order_by("id")])

    async def work(self) -> None:
        """All that is to be done now: the recurring jobs, what was told, and what follows."""
        self.clock.at = self.sandbox.now()
        at = self.clock.at
        for membership_id, cause in await memberships.due_to_move(at.date()):
            await memberships.due(membership_id, cause, acting=BY, at=at)
        for _ in range(2):  # two workers, one after the other
            await fee_calendar.raise_fees(acting="job:payments.raise_fees", at=at)
            for payment_id in await dunning.due(at):
                await dunning.retry_as_planned(payment_id, acting="job:payments.retry_due", at=at)
        await self.hear()
        await self.drain()

    async def hear(self) -> None:
        """What the bank told since the last time: signed, twice, in any order."""
        events = self.sandbox.state_of("gocardless.events")
        fresh, self.told = events[self.told :] * 2, len(events)
        self.dice.shuffle(fresh)
        body = json.dumps({"events": fresh}).encode()
        secret = self.sandbox.credentials["gocardless"]["webhook_secret"].encode()
        signed = {"webhook-signature": hmac.new(secret, body, hashlib.sha256).hexdigest()}
        await inbound.receive(Provider.GOCARDLESS, self.source.verify(body, signed))

    async def drain(self) -> None:
        while ready := await Job.filter(state=JobState.READY).order_by("id"):
            for job in ready:
                if job.kind.startswith(OURS):
                    await Job.filter(id=job.id).update(run_at=None)
                    await self.runner.run(job.id)
                else:
                    await Job.filter(id=job.id).update(state=JobState.DONE)  # those of others

    async def standing(self) -> tuple[Status, str | None]:
        row = await Membership.get(id=self.membership.id)
        return row.status, row.reason

    def fee(self, number: int, status: PaymentStatus) -> Callable[[Payment | None], bool]:
        """Whether the newest payment is that of a month, and stands so."""
        day = months_after(self.membership.starts_on, number)
        return lambda row: row is not None and row.period_start == day and row.status is status


@pytest.fixture
async def months(outside: Outside, secret_key: str, sandbox: Sandbox) -> AsyncIterator[Months]:
    given = sandbox.credentials["gocardless"]
    debits = DirectDebits(given["access_token"], api_base=sandbox.urls["gocardless"])
    registry = Only(debits, given["webhook_secret"], Vault(secret_key))
    clock = SandboxClock(sandbox.now())
    membership = await a_membership(await a_user("Ada"), starts_on=clock.at.date())
    mandate = sandbox.do("gocardless", "create_mandate")["mandate"]
    await Mandate.filter(id=membership.mandate_id).update(external_id=mandate)
    runner = Runner(HANDLERS, {}, Outside(registry, clock, outside.bus), silent)
    yield Months(membership, sandbox, clock, runner, await registry.webhooks(Provider.GOCARDLESS))
    await debits.close()


async def mandate_of(months: Months) -> Mandate:
    row = await Membership.get(id=months.membership.id)
    return await Mandate.get(id=row.mandate_id)


async def test_half_a_year(months: Months) -> None:
    do, membership = months.sandbox.do, months.membership
    # the first month is paid, and paid out
    await months.live(months.fee(0, P.PAID_OUT))
    assert (await months.standing())[0] is Status.ACTIVE
    # the second month's fee was made ahead of its day, fails, and is asked for again by the calendar
    second = await months.live(months.fee(1, P.SUBMITTED))
    assert second.due_on == rolled(months_after(membership.starts_on, 1))
    await months.live(lambda _: _there(months, second) == "submitted")
    do("gocardless", "fail_payment", payment=second.reference, cause="insufficient_funds")
    await months.live(months.fee(1, P.FAILED))
    assert await months.standing() == (Status.SUSPENDED, "PAYMENT_FAILED")
    await months.live(lambda _: _there(months, second) in ("confirmed", "paid_out"))
    await months.work()
    assert (await months.standing(), _retried(months, second)) == ((Status.ACTIVE, "PAYMENT_MADE_GOOD"), 1)
    # the third is paid, charged back months later than it looks, and the chargeback is taken back
    third = await months.live(months.fee(2, P.PAID_OUT))
    do("gocardless", "charge_back", payment=third.reference)
    await months.work()
    assert await months.standing() == (Status.SUSPENDED, "PAYMENT_CHARGED_BACK")
    do("gocardless", "cancel_chargeback", payment=third.reference)
    await months.work()
    assert (await months.standing())[0] is Status.ACTIVE
    # another instruction takes the place of the first: nobody is suspended, the fourth is taken by it
    first_mandate = await mandate_of(months)
    do("gocardless", "replace_mandate", mandate=first_mandate.external_id)
    fourth = await months.live(months.fee(3, P.PAID_OUT))
    now = await mandate_of(months)
    assert now.id != first_mandate.id
    assert fourth.mandate_id in (first_mandate.id, now.id), "what was with the bank went along there"
    assert (await months.standing())[0] is Status.ACTIVE
    # we cancel it while the fifth waits to be sent: that one is cancelled with it
    await months.live(months.fee(4, P.SUBMITTED))
    await mandates.cancel_mandate(now.id, reason="asked by telephone", acting=BY, at=months.clock.at)
    await months.live(months.fee(4, P.CANCELLED))
    assert await months.standing() == (Status.SUSPENDED, "MANDATE_CANCELLED")
    assert (await mandate_of(months)).status is MandateStatus.CANCELLED
    ours = Job.filter(kind="mandates.cancel", payload__contains={"mandate_id": str(now.id)})
    assert await ours.count() == 1, "our own cancellation does not come back to us"
    # the payer signs another one: what was cancelled is asked for by it
    await _sign(months)
    fifth = await months.live(months.fee(4, P.PAID_OUT))
    assert (await months.standing(), fifth.mandate_id) == (
        (Status.ACTIVE, "MANDATE_REPLACED"),
        (await mandate_of(months)).id,
    )
    # and the membership ends: no more is asked for
    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=months.clock.at)
    for _ in range(20):
        await months.work()
        months.sandbox.advance(days=STEP)
    await _once_a_period(months)


async def _sign(months: Months) -> None:
    new = await mandates.start_mandate(user_id=months.membership.user_id, currency="GBP", acting=BY, at=months.clock.at)
    await months.work()
    request = (await Mandate.get(id=new.id)).request_id
    months.sandbox.do("gocardless", "fulfil_billing_request", billing_request=request)


def _there(months: Months, row: Payment | None) -> str | None:
    """How a payment stands at the bank."""
    held = months.sandbox.state_of("gocardless.payments")
    return next((one["status"] for one in held if row is not None and one["id"] == row.reference), None)


def _retried(months: Months, row: Payment) -> int:
    told = months.sandbox.state_of("gocardless.events")
    return sum(
        one["action"] == "resubmission_requested" and one["links"].get("payment") == row.reference for one in told
    )


async def _once_a_period(months: Months) -> None:
    """One payment a month here and at the bank, but for what was cancelled; each by one entry in the audit."""
    rows = await Payment.filter(membership_id=months.membership.id).order_by("id")
    taken = [row for row in rows if row.status is not P.CANCELLED]
    days: list[date | None] = [months_after(months.membership.starts_on, number) for number in range(len(taken))]
    assert [row.period_start for row in taken] == days
    assert {row.status for row in taken} == {P.PAID_OUT}
    there = [one["status"] for one in months.sandbox.state_of("gocardless.payments")]
    assert (there.count("paid_out"), len(there)) == (len(taken), len([row for row in rows if row.reference]))
    asked = AuditEntry.filter(verb="collect_fee", subject_id__in=[row.id for row in rows])
    assert await asked.count() == len(rows)
