"""What payments and refunds share: a row that stands for one request to a provider, made at most once.

Its key is stored before the provider is asked; a further attempt looks first; a fresh key is only made where the
provider surely never did what the old one asked for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from tortoise.expressions import Q
from tortoise.queryset import QuerySet

from models.actions.unit import Unit, unit
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ReviewKind, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.payment import Payment, Refund

Asked = TypeVar("Asked", Payment, Refund)
Order = TypeVar("Order")

LONGEST_FAILURE = 60
ANSWERED_ERROR = "ANSWERED_ERROR"  # the provider answered 5xx: the same key would only repeat that answer
_MINUTE, _HOUR, _DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# How long after the time before an unknown outcome is asked about; after the last one a person is (decision 52).
UNKNOWN_ASKED = (5 * _MINUTE, _HOUR, *[_DAY] * 5)
# The same where the provider has it and its news is due; the last one again and again.
NEWS_DUE: dict[Provider, tuple[timedelta, ...]] = {
    Provider.STRIPE: (timedelta(seconds=30), 5 * _MINUTE, _HOUR, _DAY),
    Provider.GOCARDLESS: (6 * _HOUR, _DAY),
}


@dataclass(frozen=True, slots=True)
class Attempt(Generic[Order]):
    """A provider is about to be asked; `look_first` where an earlier attempt may have reached it."""

    provider: Provider
    order: Order
    look_first: bool
    answered_error: bool


async def locked(payment_id: UUID) -> Payment:
    """A payment, locked, and with it all its refunds. Raises Refusal NOT_FOUND."""
    # the membership or booking is locked after its payment, everywhere
    payment = await Payment.one(id=payment_id, lock=True)
    if payment is None:
        raise Refusal(Code.NOT_FOUND, field=("paymentId",))
    return payment


async def known(table: type[Asked], provider: str, *, ours: str | None, theirs: str) -> Asked | None:
    """The row news is about, by our id where the provider tells one, else by its own; None for somebody else's."""
    try:
        row = await table.get_or_none(id=UUID(ours), provider=provider) if ours else None
    except ValueError:
        row = None  # an id somebody else wrote
    return row or await table.get_or_none(provider=provider, reference=theirs)


async def tried(row: Payment | Refund, order: Order) -> Attempt[Order]:
    """Count an attempt before it is made; the instant of the last change stays, the janitor counts from there."""
    look_first = row.attempts > 0
    row.attempts += 1
    await type(row).filter(id=row.id).update(attempts=row.attempts)
    return Attempt(row.provider, order, look_first, row.failure == ANSWERED_ERROR)


async def renew_key(work: Unit, row: Payment | Refund) -> None:
    """The provider surely has nothing under the old key: store the next one before it is used."""
    row.generation += 1
    row.key = f"{row._meta.db_table}:{row.id}:{row.generation}"
    row.failure = None
    await row.save(update_fields=["generation", "key", "failure"])
    work.audit("fresh_key", row, after={"generation": row.generation})


async def overdue(table: type[Asked], limit: int) -> list[Asked]:
    """Rows whose outcome should be known by now (in real time: it is about lost news), oldest first."""
    at = datetime.now(UTC)
    due = Q(join_type=Q.OR)
    for provider, waits in NEWS_DUE.items():
        for asks, wait in enumerate(waits):
            so_often = Q(asks=asks) if asks < len(waits) - 1 else Q(asks__gte=asks)
            due |= so_often & Q(status="SUBMITTED", provider=provider, updated_at__lt=at - wait)
    for asks, wait in enumerate(UNKNOWN_ASKED):
        due |= Q(status="UNKNOWN", asks=asks, updated_at__lt=at - wait)
    return await table.filter(due).order_by("updated_at").limit(limit)


async def asked(row: Payment | Refund, *, acting: str, at: datetime) -> None:
    """Remember that the provider was asked just now; after the last time an unknown outcome is a person's question."""
    async with unit(acting=acting, at=at) as work:
        table = type(row)
        await table.filter(id=row.id, status=row.status).update(updated_at=datetime.now(UTC), asks=row.asks + 1)
        now = await table.get(id=row.id)
        if now.status == "UNKNOWN" and now.asks >= len(UNKNOWN_ASKED):
            await ask_a_person(work, now, f"the provider was asked {now.asks} times")


async def ask_a_person(work: Unit, row: Payment | Refund, why: str) -> None:
    """Nobody could find out what became of a row: it stays unknown, and waits in the review list, once."""
    if await _question(row).exists():
        return
    item = await ReviewItem.create(
        kind=ReviewKind.OUTCOME_UNKNOWN,
        provider=row.provider,
        subject=str(row.id),
        user_id=row.user_id,
        evidence={
            "of": type(row).__name__,
            "amount": row.amount,
            "currency": row.currency,
            "key": row.key,
            "reference": row.reference,
            "failure": row.failure,
            "why": why,
        },
    )
    work.audit("outcome_unknown", row, after={"review": item.id, "failure": row.failure}, because=[why])


async def found_out(work: Unit, row: Payment | Refund) -> None:
    """What became of a row that was unknown is known: nobody needs to answer that any more."""
    for item in await _question(row):
        item.state, item.answer = ReviewState.DROPPED, f"{row._meta.db_table} {row.status}"
        await item.save(update_fields=["state", "answer"])
        work.audit("review_answered", item, before={"state": ReviewState.OPEN}, after={"state": item.state})


def _question(row: Payment | Refund) -> QuerySet[ReviewItem]:
    about = {"kind": ReviewKind.OUTCOME_UNKNOWN, "provider": row.provider, "subject": str(row.id)}
    return ReviewItem.filter(**about, state=ReviewState.OPEN)
