"""What is compared with its provider each night, and what is written down where settling it cannot help."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from uuid import UUID

from tortoise.queryset import QuerySet

from models.actions import drift
from models.actions.unit import unit
from models.ports import Collected, Refunded
from models.rules.states import MandateStatus, PaymentStatus, RefundStatus, SubscriptionStatus
from models.tables.membership import Mandate, Subscription
from models.tables.payment import Payment, Refund


class Thing(StrEnum):
    """What is compared with its provider each night."""

    PAYMENT = "PAYMENT"
    REFUND = "REFUND"
    MANDATE = "MANDATE"
    SUBSCRIPTION = "SUBSCRIPTION"


RECENT = timedelta(days=35)  # in real time; what rests longer changes by an event alone
Compared = Payment | Refund | Mandate | Subscription
Rows = QuerySet[Payment] | QuerySet[Refund] | QuerySet[Mandate] | QuerySet[Subscription]
_PAYMENTS = (PaymentStatus.SUBMITTED, PaymentStatus.UNKNOWN, PaymentStatus.CONFIRMED, PaymentStatus.FAILED)
_REFUNDS = (RefundStatus.SUBMITTED, RefundStatus.UNKNOWN, RefundStatus.SUCCEEDED)
_MANDATES = (MandateStatus.PENDING, MandateStatus.ACTIVE, MandateStatus.BLOCKED)
_ENDED = (SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED)

# thing: those of its rows that may stand otherwise at the provider
OPEN: dict[
    Thing, Callable[[datetime], QuerySet[Payment] | QuerySet[Refund] | QuerySet[Mandate] | QuerySet[Subscription]]
]
OPEN = {
    Thing.PAYMENT: lambda since: Payment.filter(status__in=_PAYMENTS, reference__isnull=False, updated_at__gte=since),
    Thing.REFUND: lambda since: Refund.filter(status__in=_REFUNDS, reference__isnull=False, updated_at__gte=since),
    Thing.MANDATE: lambda _: Mandate.filter(status__in=_MANDATES, external_id__isnull=False),
    Thing.SUBSCRIPTION: lambda _: Subscription.exclude(status__in=_ENDED),
}
assert OPEN.keys() == set(Thing)


async def batch(thing: Thing, after: UUID | None, limit: int) -> list[Compared]:
    """The next rows to compare, in the order of their ids."""
    rows = OPEN[thing](datetime.now(UTC) - RECENT)
    return list(await (rows.filter(id__gt=after) if after else rows).order_by("id").limit(limit))


async def compared(row: Payment | Refund, known: Collected | Refunded, *, acting: str, at: datetime) -> None:
    """Write down as drift, once, where the provider has a row under another amount or currency."""
    pairs = {"amount": (row.amount, known.amount), "currency": (row.currency, known.currency)}
    wrong = {name: pair for name, pair in pairs.items() if pair[1] is not None and pair[0] != pair[1]}
    if not wrong:
        return
    async with unit(acting=acting, at=at) as work:
        for name, (ours, theirs) in wrong.items():
            subject, cause = (type(row).__name__, row.id), f"reconcile:{known.reference}"
            await drift.note(work, row.provider, subject, name, ours=str(ours), theirs=str(theirs), cause=cause)
