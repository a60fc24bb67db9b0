"""What payments and refunds share: a row that stands for one request to a provider, made at most once.

Its key is stored before the provider is asked; a further attempt looks first; a fresh key is only made where the
provider surely never did what the old one asked for.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from models.actions.unit import Unit
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider
from models.tables.payment import Payment, Refund

Asked = TypeVar("Asked", Payment, Refund)
Order = TypeVar("Order")

ANSWERED_ERROR = "ANSWERED_ERROR"  # the provider answered 5xx: the same key would only repeat that answer
ASK_AFTER: dict[Provider, timedelta] = {Provider.STRIPE: timedelta(seconds=30), Provider.GOCARDLESS: timedelta(hours=6)}


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
    payment = await Payment.filter(id=payment_id).select_for_update().first()
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
    """Count an attempt before it is made."""
    look_first = row.attempts > 0
    row.attempts += 1
    await row.save(update_fields=["attempts"])
    return Attempt(row.provider, order, look_first, row.failure == ANSWERED_ERROR)


async def renew_key(work: Unit, row: Payment | Refund) -> None:
    """The provider surely has nothing under the old key: store the next one before it is used."""
    row.generation += 1
    row.key = f"{row._meta.db_table}:{row.id}:{row.generation}"
    row.failure = None
    await row.save(update_fields=["generation", "key", "failure"])
    work.audit("fresh_key", row, after={"generation": row.generation})


async def overdue(table: type[Asked], limit: int, **only: Any) -> list[Asked]:
    """Rows whose outcome should be known by now (in real time: it is about lost news), oldest first."""
    at = datetime.now(UTC)
    waiting: list[Asked] = []
    for provider, patience in ASK_AFTER.items():
        silent = table.filter(
            provider=provider, status__in=("SUBMITTED", "UNKNOWN"), updated_at__lt=at - patience, **only
        )
        waiting += await silent.order_by("updated_at").limit(limit)
    return waiting


async def asked(row: Payment | Refund) -> None:
    """Remember that the provider was asked just now and had no news, so that others are asked first."""
    await type(row).filter(id=row.id).update(updated_at=datetime.now(UTC))
