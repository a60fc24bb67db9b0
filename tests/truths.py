"""What must hold of money whatever happened: after every step, and once all is settled."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import pairwise
from uuid import UUID

from models.actions.fees import terms_of
from models.actions.money_proof import prove
from models.rules.dunning import SuspendOn
from models.rules.lifecycle import STOPS_PAYMENTS, TERMINAL, Cause, Status
from models.rules.pricing import FREQUENCY, Frequency, MembershipKind
from models.rules.proof import Check
from models.rules.states import (
    DEAD,
    RECEIVED,
    JobState,
    PaymentStatus,
    RefundStatus,
    ReviewKind,
    ReviewState,
)
from models.tables.audit import AuditEntry
from models.tables.coursepro import ReviewItem
from models.tables.job import Job
from models.tables.membership import Mandate, Membership, MembershipType
from models.tables.payment import Payment, Refund
from models.tables.setting import BillingPolicy
from tests.bank import OVER, TAKEN
from tests.build import sql
from tests.money import World

P = PaymentStatus
OPEN = (P.DUE, P.SUBMITTED, P.UNKNOWN)
MISSED = (P.FAILED, P.CHARGED_BACK)
MONEY = (Cause.PAYMENT_FAILED, Cause.PAYMENT_CHARGED_BACK)
SHORTEST_MONTH = timedelta(days=28)
REFUNDS = {"pending": RefundStatus.SUBMITTED, "paid": RefundStatus.SUCCEEDED, "failed": RefundStatus.FAILED}
_CREDITS = """
SELECT k.id, p.status, coalesce((SELECT sum(delta) FROM credit_entry e WHERE e.package_id = k.id), 0) AS left
FROM package k JOIN payment p ON p.package_id = k.id
"""


class Truths:
    """All rows as they stand, read once, and what must be true of them."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def read(self) -> "Truths":
        """Look."""
        self.payments = {row.id: row for row in await Payment.all().order_by("id")}
        self.refunds = await Refund.all().order_by("id")
        self.members = {row.id: row for row in await Membership.all().order_by("id")}
        self.mandates = {row.id: row for row in await Mandate.all()}
        self.kinds = {row.id: row.kind for row in await MembershipType.all()}
        self.policy = await BillingPolicy.first()
        of_money = ReviewItem.filter(kind=ReviewKind.REFUND_REVIEW).exclude(state=ReviewState.DROPPED)
        self.reviewed = {row.subject for row in await of_money}
        waiting = Job.filter(state__in=(JobState.READY, JobState.LEASED), kind="payments.cancel")
        self.stopping = {row.payload["payment_id"] for row in await waiting}
        self.carried = {}
        for row in await AuditEntry.filter(verb="carry_payment").order_by("id"):
            self.carried[row.subject_id] = UUID(row.after["carried_by"]) if row.after["carried_by"] else None
        verbs = AuditEntry.filter(verb="settle_payment").order_by("id")
        self.missed = {row.subject_id for row in await verbs if row.after["status"] in MISSED}
        waiting = Job.filter(state__in=(JobState.READY, JobState.LEASED), kind="payments.retry")
        self.retried = {UUID(row.payload["payment_id"]) for row in await waiting}
        self.retried |= {row.id for row in self.payments.values() if row.retry_on or row.will_retry}
        return self

    async def hold(self) -> None:
        """Raise AssertionError with all that is not so; nothing is looked at where nothing was done."""
        newest = await AuditEntry.all().order_by("-id").first()
        seen = (newest and newest.id, len(self.world.takings), self.world.at)
        if seen == self.world.seen:
            return
        self.world.seen = seen
        await self.read()
        found = [*await self.books(), *self.once(), *self.periods(), *self.ends(), *self.twice(), *self.standing()]
        found += [f"fault {row.kind}: {row.error}" for row in await Job.filter(error_code="INTERNAL")]
        found += await self.credits()
        assert not found, found

    # -- after every step --------------------------------------------------------------------------------------------

    async def books(self) -> list[str]:
        """The books say what the rows say, and only grow."""
        proof = await prove()
        (row,) = await sql("SELECT count(*) AS number FROM ledger_entry")
        found = [] if row["number"] >= self.world.entries else ["entries are gone"]
        self.world.entries = row["number"]
        found += [] if all(each.holds for each in proof.sums) else [proof.equation]
        # below zero is a loss where the bank took back what had been refunded, and a fault elsewhere
        lost = {
            each.payment_id
            for each in self.refunds
            if each.status is not RefundStatus.FAILED and self.payments[each.payment_id].status not in RECEIVED
        }
        return found + [
            f"{each.subject} {each.subject_id}: {each.because}"
            for each in proof.breaks
            if not (each.check is Check.HELD and each.subject_id in lost)
        ]

    def once(self) -> Iterator[str]:
        """The bank has one collection at most of each payment that is not over, and what came here came there."""
        live = Counter(each.payment_id for each in self.world.takings if each.status not in OVER)
        yield from (f"{payment} is collected {number} times" for payment, number in live.items() if number > 1)
        known = {each.id: each for each in self.world.takings}
        for row in self.payments.values():
            there = known.get(row.reference or "")
            if row.status in RECEIVED and (there is None or not there.came):
                yield f"{row.id} never came"
            if there is not None and (there.payment_id, there.amount) != (row.id, row.amount):
                yield f"{row.id} has another's reference"
        for bank in self.world.banks.of.values():
            for taking in bank.takings:
                back = sum(each.amount for each in bank.returned if each.of is taking and each.status != "failed")
                if back > taking.amount:
                    yield f"{taking.id} gave back {back} of {taking.amount}"
        given = Counter(each.refund_id for bank in self.world.banks.of.values() for each in bank.returned)
        yield from (f"{refund} was made {number} times" for refund, number in given.items() if number > 1)

    def periods(self) -> Iterator[str]:
        """Nobody is asked twice for a period, nor by a membership and the one that took over from it."""
        lines = defaultdict[UUID, list[date]](list)
        for row in self.payments.values():
            member = self.members.get(row.membership_id) if row.membership_id else None
            if member is None or row.period_start is None or row.status is P.CANCELLED:
                continue
            if self.kinds[member.membership_type_id] is MembershipKind.ONGOING:
                lines[self.line(member)[0].id].append(row.period_start)
        for days in lines.values() if self.policy is None else ():
            for one, another in pairwise(sorted(days)):
                if another - one < SHORTEST_MONTH:
                    yield f"periods from {one} and {another} overlap"

    def ends(self) -> Iterator[str]:
        """Nothing is asked for days after an end, and what is with the bank or came waits to be stopped or reviewed."""
        for row in self.payments.values():
            member = self.members.get(row.membership_id) if row.membership_id else None
            if member is None or row.period_start is None or member.status not in TERMINAL:
                continue
            if member.reason == Cause.COURSE_MOVED or member.ends_on is None or row.period_start < member.ends_on:
                decided = member.reason in STOPS_PAYMENTS
                if decided and row.status is P.DUE and row.attempts == 0:
                    yield f"{row.id} is asked for after {member.reason}"
                continue
            what = f"{row.id}, {row.status} for {row.period_start}, after the end on {member.ends_on}"
            if row.status is P.DUE and row.attempts == 0:
                yield what
            elif row.status is P.CARRIED and self.asks(row) is None:
                yield f"{what}, rides on"
            elif row.status in (*OPEN, *RECEIVED) and str(row.id) not in self.reviewed | self.stopping:
                yield f"{what}, and nobody looks"

    def asks(self, row: Payment) -> Payment | None:
        """The payment that asks for a carried one."""
        by = self.payments.get(row.carried_by_id) if row.carried_by_id else None
        return None if by is None or by.status is P.CANCELLED else by

    def twice(self) -> Iterator[str]:
        """What another payment asks for is not asked for itself; where both came somebody is asked."""
        back = Counter[UUID]()
        for each in self.refunds:
            back[each.payment_id] += each.amount if each.status is not RefundStatus.FAILED else 0
        for payment_id, carrier_id in self.carried.items():
            row, by = self.payments[payment_id], self.payments.get(carrier_id) if carrier_id else None
            if by is None or by.status is P.CANCELLED or row.status is P.CANCELLED:
                continue
            given = back[row.id] or back[by.id]
            if row.status in (*OPEN, *MISSED) and by.status is not P.WRITTEN_OFF and not given:
                yield f"{row.id} ({row.status}) is asked for beside {by.id} ({by.status}), which carries it"
            asked = {str(row.id), str(by.id)} & self.reviewed
            if row.status in RECEIVED and by.status in RECEIVED and not given and not asked:
                yield f"{row.id} was taken twice, by {by.id} too"

    def line(self, member: Membership) -> list[Membership]:
        """A membership's whole line, the first one first."""
        while member.moved_from_id is not None:
            member = self.members[member.moved_from_id]
        found = [member]
        after = {row.moved_from_id: row for row in self.members.values() if row.moved_from_id}
        while found[-1].id in after:
            found.append(after[found[-1].id])
        return found

    def standing(self) -> Iterator[str]:
        """A membership stands as what it owes and what pays it have it, but for what staff decided."""
        first = self.policy is None or self.policy.suspend_on is SuspendOn.FIRST_FAILURE
        for member in self.members.values():
            line = self.line(member)
            if line[-1] is not member:
                continue
            ids = {each.id for each in line}
            own = [row for row in self.payments.values() if row.membership_id in ids]
            later = {
                row.id for row in own if row.period_start and member.ends_on and row.period_start >= member.ends_on
            }
            missed = {row.id for row in own if row.status in MISSED} - self.world.forgiven - later
            mandate = self.mandates.get(member.mandate_id) if member.mandate_id else None
            monthly = FREQUENCY[self.kinds[member.membership_type_id]] is Frequency.RECURRING
            needed = member.amount and (monthly or member.next_fee_on is not None)
            dead = needed and mandate is not None and mandate.status in DEAD
            stands = f"{member.id} is {member.status} ({member.reason})"
            if member.status not in TERMINAL and monthly and member.amount and not self.billed(member):
                yield f"{stands} and nobody asks for its fees from {member.next_fee_on} on"
            if member.status in (Status.ACTIVE, Status.FUTURE):
                if first and missed:
                    yield f"{stands} and owes {missed}"
                if given_up := missed - self.retried:
                    yield f"{stands} and nobody asks for {given_up} any more"
                if dead and mandate is not None and mandate.id not in self.world.forgiven:
                    yield f"{stands} and nothing pays it"
            if member.status is Status.SUSPENDED:
                held = dead or any(row.status in MISSED for row in own) or any(self.again(row, own) for row in own)
                if member.reason in MONEY and not held:
                    yield f"{stands} and owes nothing"
                if member.reason == Cause.MANDATE_CANCELLED and not held:
                    yield f"{stands} and its instruction is {mandate.status if mandate else None}"

    def billed(self, member: Membership) -> bool:
        """Whether the calendar has a period to come, or the membership's end."""
        day = member.next_fee_on
        over = day is not None and member.ends_on is not None and day >= member.ends_on
        terms = terms_of(member, self.kinds[member.membership_type_id])
        return over or (day is not None and terms.begins(day) is not None)

    def again(self, row: Payment, own: list[Payment]) -> bool:
        """Whether a payment asks for what was missed."""
        if row.status not in OPEN:
            return False
        return row.id in self.missed or any(each.carried_by_id == row.id and each.id in self.missed for each in own)

    async def credits(self) -> list[str]:
        """A pack of credits is full exactly while its money is in."""
        rows = await sql(_CREDITS)
        wrong = [row for row in rows if (row["left"] > 0) != (row["status"] in RECEIVED)]
        return [f"package {row['id']} has {row['left']}" for row in wrong]

    # -- once all is settled -----------------------------------------------------------------------------------------

    async def agree(self) -> None:
        """Raise AssertionError where anything stands otherwise outside than here."""
        await self.read()
        found = list(self.differ())
        dead = [f"{row.kind}: {row.error}" for row in await Job.filter(state=JobState.DEAD)]
        assert not found, [*found, *dead]

    def differ(self) -> Iterator[str]:
        """Where they do."""
        for taking in self.world.takings:
            row = self.payments[taking.payment_id]
            pair = f"{row.id} is {row.status} here, {taking.id} {taking.status} there"
            under_way = taking.status in ("pending", "submitted")
            if row.reference != taking.id:
                wrong = taking.status not in OVER
            elif row.status is P.SUBMITTED:
                wrong = not under_way
            elif row.status is P.FAILED and row.will_retry is not taking.will_retry:
                wrong = True  # it waits for a bank that gave up, or is asked for beside it
            else:
                given_up = row.status in (P.CARRIED, P.WRITTEN_OFF)
                wrong = (row.status in RECEIVED) != (taking.status in TAKEN) or (under_way and not given_up)
            if wrong:
                yield pair
        held = {each.id for each in self.world.takings}
        for row in self.payments.values():
            unheard = row.status in (*RECEIVED, P.SUBMITTED) and row.reference not in held
            if row.status in (P.DUE, P.UNKNOWN) or unheard:
                yield f"{row.id} is {row.status} ({row.failure})"
        there = {each.refund_id: each for bank in self.world.banks.of.values() for each in bank.returned}
        for made in self.refunds:
            known = there.get(made.id)
            if made.status is not (REFUNDS[known.status] if known else RefundStatus.FAILED):
                yield f"refund {made.id} is {made.status} here, {known.status if known else 'not'} there"
