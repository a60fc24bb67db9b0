"""The calendar of fees: one payment for each membership and period, made ahead of its day, whatever the clock does.

`Membership.next_fee_on` is how far it has come; it moves in the transaction that makes the payment, so a run that is
ended, repeated or doubled makes none twice and leaves none out.
"""

from collections.abc import Awaitable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import owed
from models.actions.billing_policy import policy
from models.actions.fees import ask_fee, asked, has_fee, terms_of, today_everywhere, today_of
from models.actions.memberships import MOVED, locked
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.billing import Policy
from models.rules.calendar import Days, day_at
from models.rules.fees import NEVER, Terms, bills_now, passed_unbilled
from models.rules.lifecycle import TERMINAL, Status, WhileSuspended
from models.rules.refusals import Code, Refusal
from models.rules.states import PaymentStatus
from models.rules.working_days import working_days_after
from models.tables import sql
from models.tables.audit import AuditEntry
from models.tables.centre import Centre
from models.tables.membership import Membership, MembershipType
from models.tables.payment import Payment

PAGE = 200
A_TURN = 1000
_PAYS = """(d.status = 'ACTIVE' OR (m.mandate_id IS NULL AND t.kind <> 'ONGOING' AND EXISTS (
    SELECT 1 FROM external_link l WHERE l.user_id = m.user_id AND l.provider = 'STRIPE' AND l.kind = 'payment_method'
    AND l.state = 'LINKED')))"""
# Whose next period is near and can be asked for; each zone has its own today, $7 is the latest day of all of them: by
# that one the few that are near are found among all.
_DUE = f"""
    SELECT m.id FROM membership m
    JOIN membership_type t ON t.id = m.membership_type_id
    JOIN centre c ON c.id = m.centre_id
    JOIN unnest($3::text[], $4::date[], $5::date[]) AS z(zone, today, until) ON z.zone = c.zone
    LEFT JOIN mandate d ON d.id = m.mandate_id
    WHERE m.id > $1 AND m.amount > 0 AND m.next_fee_on <= z.until AND m.next_fee_on <= $7
    AND m.next_fee_on < coalesce(m.ends_on, 'infinity') AND (
        m.status IN ('ACTIVE', 'FUTURE') AND {_PAYS}
        OR m.status = 'PENDING' AND t.kind <> 'ONGOING' AND {_PAYS}
        OR m.status = 'SUSPENDED' AND $6::bool AND t.kind = 'ONGOING' AND m.next_fee_on <= z.today)
    ORDER BY m.id LIMIT $2
"""  # noqa: S608  words of this file
_ENDED = ", ".join(f"'{status.value}'" for status in sorted(TERMINAL))  # as the index membership_unasked has it
# Fee-bearing memberships from before the calendar: monthly ones, and prices to be paid once that nobody was asked for.
_WITHOUT = f"""
    SELECT m.id FROM membership m JOIN membership_type t ON t.id = m.membership_type_id
    WHERE m.id > $1 AND m.amount > 0 AND m.next_fee_on IS NULL AND m.status NOT IN ({_ENDED})
    AND (t.kind = 'ONGOING' OR m.fees_from IS NULL
         AND NOT EXISTS (SELECT 1 FROM payment p WHERE p.membership_id = m.id))
    ORDER BY m.id LIMIT $2
"""  # noqa: S608  words of this file


async def raise_fees(*, acting: str, at: datetime, most: int = A_TURN) -> bool:
    """Ask for every fee whose period is near, of at most so many memberships -> whether more are left.

    One that cannot be asked for holds up no other: the first fault is raised at the end. Source: R5, R39, R49
    """
    rules = await policy()
    fault: Exception | None = None
    done = 0
    for statement, values, act in (
        (_WITHOUT, [], _adopt),
        (_DUE, await _near(rules, at), raise_due),
    ):
        last: UUID | None = UUID(int=0)
        while last is not None and done < most:
            rows = await sql.rows(statement, last, PAGE, *values)
            last = rows[-1]["id"] if len(rows) == PAGE else None
            for row in rows:
                try:  # only who went on counts, or who cannot would keep the others from their turn
                    done += bool(await act(row["id"], acting=acting, at=at))
                except Exception as failed:  # told below, once the others have their turn
                    fault = fault or failed
    if fault is not None:
        raise fault
    return done >= most


async def _near(rules: Policy, at: datetime) -> list[Any]:
    """The zones, the day it is in each, the day until which a fee is prepared there; what accrues; the latest day."""
    days = await today_everywhere(at)
    until = [working_days_after(day, rules.ahead_days) for day in days.values()]
    accrues = rules.while_suspended is WhileSuspended.ACCRUE
    return [list(days), list(days.values()), until, accrues, max(until, default=date.min)]


@repeated
async def raise_due(membership_id: UUID, *, acting: str, at: datetime) -> list[Payment]:
    """Ask for the fees of one membership whose periods are near -> the payments, oldest period first."""
    async with unit(acting=acting, at=at) as work:
        deferred: Sequence[Payment] = await owed.hold_deferred(membership_id)
        membership = await locked(membership_id)
        kind = await MembershipType.known(id=membership.membership_type_id)
        terms, rules, today = terms_of(membership, kind.kind), await policy(), await today_of(membership, work)
        if membership.next_fee_on is None or not bills_now(
            membership.status, once=terms.once, while_suspended=rules.while_suspended
        ):
            return []
        held = membership.status is Status.SUSPENDED
        until = today if held else working_days_after(today, rules.ahead_days)
        raised: list[Payment] = []
        for period in terms.owed(membership.next_fee_on, until):
            if await has_fee(membership, period) or await _skipped(work, membership, terms, period, today, rules):
                await asked(membership, terms, period)
                continue
            given: dict[str, Any] = {"deferred": deferred, "until": until, "accrues": held}
            payment = await _if_payable(ask_fee(work, membership, period.start, **given))
            if payment is None:
                break
            deferred = [*deferred, payment] if payment.status is PaymentStatus.CARRIED else []
            raised.append(payment)
        return raised


async def _if_payable(asking: Awaitable[Payment]) -> Payment | None:
    """A payment, None where it waits for what pays it."""
    try:
        return await asking
    except Refusal as refusal:
        if refusal.code not in (Code.NO_MANDATE, Code.NO_CARD_ON_FILE):
            raise
        return None


async def _skipped(work: Unit, membership: Membership, terms: Terms, period: Days, today: date, rules: Policy) -> bool:
    """Whether nobody owes a period: it costs nothing, or passed wholly while the membership was held (R39)."""
    assert membership.amount is not None
    why = None
    if not terms.price(period, membership.amount, rules.first_period):
        why = "it costs nothing"
    elif not terms.once and period.end <= today:
        zone = ZoneInfo((await Centre.known(id=membership.centre_id)).zone)
        moves = await AuditEntry.every(verb=MOVED, subject_id=membership.id, order=("id",))
        stood = [(day_at(move.at, zone), Status(move.after["status"])) for move in moves]
        if passed_unbilled(period, today, stood, while_suspended=rules.while_suspended):
            why = "it passed while the membership was held"
    if why is None:
        return False
    work.audit("skip_fee", membership, after={"period_start": period.start, "period_end": period.end}, because=[why])
    return True


@repeated
async def _adopt(membership_id: UUID, *, acting: str, at: datetime) -> bool:
    """Put a membership that has no next fee on the calendar: after its last fee, else from the period under way.

    -> whether it needed that
    """
    async with unit(acting=acting, at=at) as work:
        membership = await locked(membership_id)
        kind = await MembershipType.known(id=membership.membership_type_id)
        terms, today = terms_of(membership, kind.kind), await today_of(membership, work)
        fees = Payment.filter(membership_id=membership_id, period_start__isnull=False)
        last = await fees.exclude(status=PaymentStatus.CANCELLED).order_by("-period_start").first()
        if membership.next_fee_on is not None or membership.status in TERMINAL or terms.first is None:
            return False
        assert last is None or last.period_start is not None
        asked_until = terms.period(last.period_start) if last and last.period_start else None
        under_way = terms.period(max(today, terms.first))
        next_fee = asked_until.end if asked_until else under_way.start if under_way else NEVER
        membership.next_fee_on = terms.first if terms.once else next_fee
        await membership.save(update_fields=["next_fee_on"])
        work.audit("plan_fees", membership, after={"next_fee_on": membership.next_fee_on})
    return True
