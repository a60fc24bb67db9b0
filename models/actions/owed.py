"""What a membership owes: payments that failed, those that ask for them again, and what rides on its next fee.

A membership that took over from another when its course was moved answers for all that stood before it: its line.
"""

from collections.abc import Collection
from uuid import UUID

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from models.actions import ledger
from models.actions.unit import Unit
from models.rules.arrears import MISSED
from models.rules.events import PaymentUpdated
from models.rules.states import PaymentStatus
from models.tables import sql
from models.tables.membership import Membership
from models.tables.payment import Payment

_LINE = """
    WITH RECURSIVE line(id, before) AS (
        SELECT id, moved_from_id FROM membership WHERE id = $1
        UNION SELECT m.id, m.moved_from_id FROM membership m JOIN line ON m.id = line.before
    ) SELECT id FROM line
"""
# The audit remembers that a payment which is asked for again, or which another one asks for, was missed before.
_OWES = """
    WITH missed AS (
        SELECT DISTINCT a.subject_id AS id FROM payment p JOIN audit_entry a ON a.subject_id = p.id
        WHERE p.membership_id = ANY ($1::uuid[]) AND a.verb = 'settle_payment'
        AND a.after ->> 'status' IN ('FAILED', 'CHARGED_BACK')
    )
    SELECT 1 FROM payment p WHERE p.membership_id = ANY ($1::uuid[]) AND (
        p.status IN ('FAILED', 'CHARGED_BACK')
        OR p.status IN ('DUE', 'SUBMITTED', 'UNKNOWN') AND (
            p.id IN (SELECT id FROM missed)
            OR EXISTS (SELECT 1 FROM payment c JOIN missed ON missed.id = c.id WHERE c.carried_by_id = p.id)))
    LIMIT 1
"""


async def line_of(membership_id: UUID) -> list[UUID]:
    """A membership and those it took over from."""
    rows = await sql.rows(_LINE, membership_id)
    return [row["id"] for row in rows]


async def heir_id(membership_id: UUID) -> UUID:
    """The membership that stands for it now."""
    successor = await Membership.one(moved_from_id=membership_id)
    return await heir_id(successor.id) if successor else membership_id


async def owes(membership: Membership) -> bool:
    """Whether anything that was missed is not paid yet: also what is asked for again, by itself or by another."""
    line = await line_of(membership.id)
    return bool(await sql.rows(_OWES, line))


def deferred(line: Collection[UUID]) -> QuerySet[Payment]:
    """What rides on the next fee of a line: carried by none, or by one that was cancelled."""
    riding = Payment.filter(membership_id__in=list(line), status=PaymentStatus.CARRIED)
    return riding.filter(Q(carried_by_id__isnull=True) | Q(carried_by__status=PaymentStatus.CANCELLED)).order_by("id")


async def hold_deferred(membership_id: UUID) -> list[Payment]:
    """What rides on a membership's next fee, held; call it before the membership is locked."""
    return await deferred(await line_of(membership_id)).select_for_update(of=("payment",))


async def hold_arrears(line: Collection[UUID]) -> list[Payment]:
    """All that is owed and asked for by nobody, held; call it before the membership is locked."""
    missed = Payment.filter(membership_id__in=list(line), status__in=MISSED).select_for_update().order_by("id")
    return [*await missed, *await deferred(line).select_for_update(of=("payment",))]


async def carry(work: Unit, payments: Collection[Payment], by: Payment | None) -> None:
    """Locked payments are part of another one's amount from now on, or of that of the next fee."""
    for payment in payments:
        before = payment.status
        payment.status, payment.carried_by_id, payment.retry_on = PaymentStatus.CARRIED, by.id if by else None, None
        await payment.save(update_fields=["status", "carried_by_id", "retry_on"])
        await ledger.moved(work, payment, before)
        after = {"status": payment.status, "carried_by": payment.carried_by_id}
        work.audit("carry_payment", payment, before={"status": before}, after=after)
        work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))
