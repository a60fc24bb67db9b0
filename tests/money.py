"""A centre, its members, its two banks and its workers, to whom anything may happen in any order."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tortoise.expressions import Q

from models.actions import (
    arrears,
    course_ends,
    course_moves,
    dunning,
    inbound,
    jobs,
    mandates,
    memberships,
    offers,
    payments,
    refunds,
    reviews,
)
from models.actions.billing_policy import configure_billing
from models.actions.unit import Unit, lease
from models.rules.arrears import SettleBy
from models.rules.dunning import SuspendOn
from models.rules.facts import CourseEnd, CourseEnded, MandateChanged
from models.rules.lifecycle import Cause, WhileSuspended
from models.rules.refusals import Refusal
from models.rules.states import JobState, MandateStatus, PaymentStatus, Provider, ReviewKind, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.job import Job
from models.tables.membership import Mandate, Membership
from models.tables.package import PackageOffer
from models.tables.payment import Payment, Refund
from tests.bank import Bank, Banks, Died, Fault, Taking
from tests.build import BY, NOW, a_centre, a_member_with_card, a_name, a_package_offer, a_user, sql
from tests.sold import FIXED_TERM, ONGOING, SESSIONS, Sold, a_sold
from workers.kinds import HANDLERS, RECURRING
from workers.runner import Runner, Wakes
from workers.work import Outside

RUN = ("payments.raise_fees", "payments.retry_due", "memberships.move_due")
ASK, COMPARE = "payments.ask", "payments.reconcile"
OURS = ("inbox.apply", "payments.", "mandates.", "memberships.move_due")
GONE = (MandateStatus.CANCELLED, MandateStatus.FAILED, MandateStatus.EXPIRED, MandateStatus.BLOCKED)
STAFF = (
    Cause.SUSPENDED_BY_STAFF,
    Cause.RESOLVED_BY_STAFF,
    Cause.FROZEN_BY_STAFF,
    Cause.UNFROZEN,
    Cause.CANCELLED_BY_STAFF,
    Cause.COMPLETED_BY_STAFF,
)
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"suspend_on": SuspendOn.RETRIES_EXHAUSTED, "retry_after_days": [1]},
    {"while_suspended": WhileSuspended.ACCRUE, "ahead_days": 20},
    {"retry_after_days": [], "billing_day": 1},
)
# what of an example is forgotten before the next one; what is on sale stays
_FORGET = (
    "TRUNCATE user_account, mandate, membership, payment, refund, package, credit_entry, ledger_entry, audit_entry,"
    " job, inbox_event, review_item, notification, billing_policy, drift CASCADE"
)
DEAD_LETTERS = 12


async def silent(_wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Shop:
    """What is on sale, made once."""

    sold: list[Sold]
    offer: PackageOffer

    @classmethod
    async def opened(cls) -> "Shop":
        """Two monthly courses, a term, sessions, a trifle that rides on the next fee, and a pack of credits."""
        centre = await a_centre()
        prices = ((ONGOING, 35_00), (ONGOING, 48_00), (FIXED_TERM, 120_00), (SESSIONS, 50_00), (ONGOING, 60))
        return cls([await a_sold(kind, amount, centre) for kind, amount in prices], await a_package_offer())


@dataclass
class World:
    """The present, and all that may happen; whoever picks says a number, which is taken round."""

    shop: Shop
    at: datetime = NOW
    uncommitted: bool = False
    told: set[str] = field(default_factory=set)
    forgiven: set[UUID] = field(default_factory=set)
    story: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    entries: int = 0
    seen: tuple[Any, ...] = ()
    lost: list[UUID] = field(default_factory=list)
    handlers: dict[str, Any] = field(default_factory=lambda: dict(HANDLERS))

    def __post_init__(self) -> None:
        both = (Provider.STRIPE, Provider.GOCARDLESS)
        self.banks = Banks({each: Bank(each, self.now, self.meanwhile) for each in both})
        outside = Outside(self.banks.providers, self, self.banks.bus)
        recurring = {kind: RECURRING[kind] for kind in (*RUN, ASK, COMPARE)}
        self.runner = Runner(self.handlers, recurring, outside, silent)

    async def begin(self, policy: int) -> None:
        """Nobody was here before."""
        await sql(_FORGET)
        if POLICIES[policy]:
            await configure_billing(**POLICIES[policy], acting=BY, at=self.at)
        await jobs.ensure_recurring(dict.fromkeys((*RUN, ASK, COMPARE), 0.0))

    def now(self) -> datetime:
        """The logical clock."""
        return self.at

    async def do(self, deed: str, **given: Any) -> None:
        """One thing happens; a refusal is an answer."""
        self.story.append((deed, given))
        with suppress(Refusal):
            await getattr(self, deed)(**given)
        await Job.filter(state=JobState.READY).exclude(_ours()).update(state=JobState.DONE)

    # -- people ------------------------------------------------------------------------------------------------------

    async def joins(self, card: bool, debit: bool, kind: int, days: int) -> None:
        """Somebody becomes a member, from a day on."""
        user = await (a_member_with_card() if card else a_user())
        mandate = await self._signs(user.id) if debit else None
        await self._buys(user.id, mandate, kind, days)

    async def buys_more(self, pick: int, kind: int, days: int) -> None:
        """A member becomes one of another course too."""
        mandate = await self._picked(Mandate.filter(status=MandateStatus.ACTIVE), pick)
        if mandate is not None:
            await self._buys(mandate.user_id, mandate, kind, days)

    async def _buys(self, user_id: UUID, mandate: Mandate | None, kind: int, days: int) -> None:
        sold = self.shop.sold[kind % len(self.shop.sold)]
        await memberships.start_membership(
            user_id=user_id,
            membership_type_id=sold.kind.id,
            centre_id=sold.centre.id,
            pricing_option_id=sold.option.id,
            mandate_id=mandate.id if mandate else None,
            starts_on=(self.at + timedelta(days=days)).date(),
            course_ref=sold.ref,
            acting=BY,
            at=self.at,
        )

    async def buys_package(self, debit: bool) -> None:
        """Somebody buys credits."""
        user = await a_member_with_card()
        mandate = await self._signs(user.id) if debit else None
        await offers.buy_package(
            user_id=user.id,
            package_offer_id=self.shop.offer.id,
            centre_id=self.shop.sold[0].centre.id,
            mandate_id=mandate.id if mandate else None,
            acting=BY,
            at=self.at,
        )

    async def signs(self, pick: int) -> None:
        """A member signs another instruction."""
        member = await self._picked(Membership.all(), pick)
        if member is not None:
            await self._signs(member.user_id)

    async def _signs(self, user_id: UUID) -> Mandate:
        made = await mandates.start_mandate(user_id=user_id, currency="GBP", acting=BY, at=self.at)
        request, signed = a_name("BRQ"), self.debits.signed()
        await mandates.signing_page_opened(made.id, request_id=request, url="http://127.0.0.1", acting=BY, at=self.at)
        fact = MandateChanged(
            provider=Provider.GOCARDLESS,
            external_id=signed,
            customer_id=None,
            user_reference=None,
            status=MandateStatus.ACTIVE,
            occurred_at=self.at,
            billing_request_id=request,
        )
        await mandates.mandate_changed(fact, acting=BY, at=self.at)
        return await Mandate.get(id=made.id)

    async def instruction(self, pick: int, what: int) -> None:
        """An instruction is cancelled by us, dies at the bank, or is reinstated or replaced there."""
        row = await self._picked(Mandate.filter(external_id__not_isnull=True), pick)
        if row is None or row.external_id is None:
            return
        there = self.debits.mandates[row.external_id]
        if what == 0:
            await mandates.cancel_mandate(row.id, reason="asked", acting=BY, at=self.at)
        elif what == 1 and there is MandateStatus.ACTIVE:
            self.debits.replace(row.external_id)
        elif there is MandateStatus.ACTIVE:
            self.debits.mandate_becomes(row.external_id, GONE[what % len(GONE)])
        elif row.external_id not in self.debits.replaced:
            self.debits.mandate_becomes(row.external_id, MandateStatus.ACTIVE)

    async def staff(self, pick: int, cause: int) -> None:
        """Somebody at the desk moves a membership."""
        row = await self._picked(Membership.all(), pick)
        if row is None:
            return
        why = STAFF[cause % len(STAFF)]
        await memberships.by_staff(row.id, why, acting=BY, at=self.at)
        if why in (Cause.RESOLVED_BY_STAFF, Cause.UNFROZEN):
            self.forgiven |= {each.id for each in await Payment.all()} | {each.id for each in await Mandate.all()}

    async def course_ends(self, pick: int, end: int, days: int) -> None:
        """The course system ends a course, on a day that was or will be."""
        row = await self._picked(Membership.all(), pick)
        if row is None:
            return
        fact = CourseEnded(
            provider=Provider.COURSEPRO,
            membership_id=row.id,
            end=list(CourseEnd)[end % 2],
            occurred_at=self.at,
            effective_at=self.at + timedelta(days=days),
        )
        await course_ends.course_ended(fact, acting=BY, at=self.at)

    async def moves(self, pick: int, to: int, days: int, same: bool) -> None:
        """A member moves to another course."""
        row = await self._picked(Membership.all(), pick)
        sold = self.shop.sold[to % len(self.shop.sold)]
        if row is not None and row.course_ref is not None:
            await course_moves.move_course(
                membership_id=row.id,
                from_course_ref=row.course_ref,
                to_course_ref=sold.ref,
                pricing_option_id=None if same else sold.option.id,
                effective_at=self.at + timedelta(days=days),
                acting=BY,
                at=self.at,
            )

    # -- money -------------------------------------------------------------------------------------------------------

    async def settles(self, pick: int, by: int) -> None:
        """Arrears are paid by card, given up, or put on the next fee."""
        owing = Payment.filter(status__in=(PaymentStatus.FAILED, PaymentStatus.CHARGED_BACK, PaymentStatus.CARRIED))
        row = await self._picked(owing.filter(membership_id__not_isnull=True), pick)
        if row is not None and row.membership_id is not None:
            how = list(SettleBy)[by % len(SettleBy)]
            await arrears.settle_arrears(row.membership_id, by=how, reason="agreed", acting=BY, at=self.at)

    async def by_hand(self, pick: int, retry: bool) -> None:
        """Somebody asks for a fee, or for one that failed, before its day."""
        failed = await self._picked(Payment.filter(status=PaymentStatus.FAILED), pick)
        row = await self._picked(Membership.filter(next_fee_on__not_isnull=True), pick)
        if retry and failed is not None:
            await dunning.retry_payment(failed.id, acting=BY, at=self.at)
        elif row is not None and row.next_fee_on is not None:
            await payments.collect_fee(row.id, period_start=row.next_fee_on, acting=BY, at=self.at)

    async def refunds(self, pick: int, part: int) -> None:
        """Money is given back, all that is left or a part."""
        received = (PaymentStatus.CONFIRMED, PaymentStatus.PAID_OUT)
        row = await self._picked(Payment.filter(status__in=received), pick)
        if row is not None:
            amount = part * 10_00 or None
            await refunds.refund_payment(row.id, amount=amount, reason="asked", acting=BY, at=self.at)

    async def answers(self, pick: int, keep: bool) -> None:
        """Somebody decides what becomes of money that came too late."""
        asked = ReviewItem.filter(kind=ReviewKind.REFUND_REVIEW, state=ReviewState.OPEN)
        item = await self._picked(asked, pick)
        if item is None:
            return
        if keep:
            await reviews.settle_review(item.id, answer="it is owed", acting=BY, at=self.at)
        else:
            await refunds.refund_payment(UUID(item.subject), reason="reviewed", acting=BY, at=self.at)

    # -- the outside -------------------------------------------------------------------------------------------------

    @property
    def debits(self) -> Bank:
        """The bank of the instructions."""
        return self.banks.of[Provider.GOCARDLESS]

    @property
    def takings(self) -> list[Taking]:
        """All that was asked for, oldest first."""
        return [each for bank in self.banks.of.values() for each in bank.takings]

    async def happens(self, pick: int, which: int, times: int) -> None:
        """Something becomes of a collection, and is told so often, at once."""
        open_ = [
            (bank, each)
            for bank in self.banks.of.values()
            for each in bank.takings
            if each.will_retry or each.status not in ("failed", "cancelled")
        ]
        if open_:
            bank, taking = open_[pick % len(open_)]
            bank.happens(taking, which)
            for _ in range(times):
                await self._tell(bank, len(bank.events) - 1)

    async def refund_happens(self, pick: int, which: int, times: int) -> None:
        """The same of a refund."""
        made = [(bank, each) for bank in self.banks.of.values() for each in bank.returned if each.status != "failed"]
        if made:
            bank, returned = made[pick % len(made)]
            bank.refund_happens(returned, which)
            for _ in range(times):
                await self._tell(bank, len(bank.events) - 1)

    async def told_again(self, pick: int) -> None:
        """An event comes, for the first time or once more."""
        events = [(bank, number) for bank in self.banks.of.values() for number in range(len(bank.events))]
        if events:
            await self._tell(*events[pick % len(events)])

    async def _tell(self, bank: Bank, number: int) -> None:
        event = bank.events[number]
        self.told.add(event.event_id)
        await inbound.receive(bank.provider, [event])
        key = f"inbox.apply:{bank.provider}:{event.event_id}"
        job = await Job.get(key=key)
        if job.state is JobState.READY:
            await self.run(job.id)

    async def lands(self, pick: int) -> None:
        """A call that was thought lost arrives."""
        for bank in self.banks.of.values():
            if bank.land(pick):
                return

    # -- workers and the clock ---------------------------------------------------------------------------------------

    async def later(self, hours: int) -> None:
        """The clock jumps, and what is due by then is asked for."""
        self.at += timedelta(hours=hours)
        for kind in RUN:
            await self.recurs(kind)

    async def janitor(self, compare: bool) -> None:
        """News is late: what is silent is asked about; or the night's comparison."""
        for table in (Payment, Refund):
            await sql(f"UPDATE {table._meta.db_table} SET updated_at = now() - interval '2 days' WHERE asks < 7")
        await self.recurs(COMPARE if compare else ASK)

    async def recurs(self, kind: str) -> None:
        """A recurring job runs, all its turns."""
        for _ in range(100):
            await self.run((await Job.get(key=kind)).id)
            if (await Job.get(key=kind)).error_code != "UNFINISHED":
                return

    async def works(self, pick: int, fault: Fault, uncommitted: bool) -> None:
        """A worker takes a job, and something goes wrong."""
        open_ = await self.open_jobs()
        if not open_:
            return
        for bank in self.banks.of.values():
            bank.fault = fault
        self.uncommitted = uncommitted
        await self.run(open_[pick % len(open_)].id)
        self.uncommitted = False
        for bank in self.banks.of.values():
            bank.fault = Fault.NONE

    async def works_on(self) -> None:
        """Workers do all that waits, and nothing goes wrong."""
        for _ in range(DEAD_LETTERS):
            open_ = await self.open_jobs()
            if not open_:
                return
            for job in open_:
                await self.run(job.id)

    async def open_jobs(self) -> list[Job]:
        """What waits, but for what recurs."""
        waiting = Job.filter(_ours(), state__in=(JobState.READY, JobState.LEASED))
        return await waiting.exclude(kind__in=(*RUN, ASK, COMPARE)).order_by("id")

    async def run(self, job_id: UUID) -> None:
        """One worker takes one job now; where it dies its lease ends."""
        await Job.filter(id=job_id).update(run_at=None)
        with suppress(Died):
            await self.runner.run(job_id)
        await self._leases_end()

    async def meanwhile(self) -> None:
        """Another worker takes the job of the one that froze."""
        held = lease.get()
        assert held is not None
        await self._leases_end()
        await self.runner.run(held.job_id)

    async def _leases_end(self) -> None:
        await sql("UPDATE job SET lease_until = now() - interval '1 second' WHERE state = 'LEASED'")

    def die_before_commit(self, work: Unit) -> None:
        """Called with what was written and is not committed."""
        if self.uncommitted and lease.get() is not None and work.jobs + work._audit:
            self.uncommitted = False
            raise Died

    # -- the end -----------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """All that was told is heard, all that waits is done, and every outcome is asked about."""
        for _ in range(DEAD_LETTERS):
            for bank in self.banks.of.values():
                while bank.land(0):
                    pass
                for number, event in enumerate(bank.events):
                    if event.event_id not in self.told:
                        await self._tell(bank, number)
            await self.works_on()
            for job in await Job.filter(state=JobState.DEAD).exclude(error_code="IDEMPOTENCY_CONFLICT"):
                if job.id not in self.lost:
                    self.lost.append(job.id)
                    await jobs.retry(job.id, acting=BY, at=self.at)
            await self.janitor(compare=False)
            await self.janitor(compare=True)
            await Job.filter(state=JobState.READY).exclude(_ours()).update(state=JobState.DONE)
            news = [each for bank in self.banks.of.values() for each in bank.events if each.event_id not in self.told]
            if not news and not await self.open_jobs() and not any(bank.late for bank in self.banks.of.values()):
                return
        raise AssertionError(["it never ends", [(job.kind, job.error) for job in await self.open_jobs()]])

    async def _picked(self, rows: Any, pick: int) -> Any:
        found = await rows.order_by("id")
        return found[pick % len(found)] if found else None


def _ours() -> Any:
    ours = Q(join_type=Q.OR)
    for each in OURS:
        ours |= Q(kind__startswith=each)
    return ours
