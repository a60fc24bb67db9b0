"""What is read out of a mirrored subscription invoice, and how a sign-up names who it is for. Source: BOS; R82-R95."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from models.rules.facts import InvoiceLineSeen, InvoiceSeen
from models.rules.invoicing import Period

BETWEEN = "_"  # the one sign beside letters, digits and hyphens that survives in a payment link's address


def reference_of(user_id: UUID, beneficiary_id: UUID | None = None) -> str:
    """(payer, who attends where that is another) -> what a payment link's address carries of them.

    >>> reference_of(UUID(int=1))
    '00000000-0000-0000-0000-000000000001'

    Source: R82, R92
    """
    return str(user_id) if beneficiary_id in (None, user_id) else f"{user_id}{BETWEEN}{beneficiary_id}"


def named_in(reference: str | None) -> tuple[UUID | None, UUID | None]:
    """What a checkout came back with -> (payer, who attends where that is another); nobody where it is not ours."""
    payer, _, beneficiary = (reference or "").partition(BETWEEN)
    try:
        return UUID(payer), UUID(beneficiary) if beneficiary else None
    except ValueError:
        return None, None  # somebody else's reference


def products_paid(lines: Iterable[tuple[str | None, int, bool]]) -> tuple[str, ...]:
    """An invoice's lines, each (product, minor units, proration) -> its products, the best to say what it is for first.

    The period's own lines, then what a change added, then what it gave back. Source: R95, R101
    """
    ranked = sorted(lines, key=lambda line: (line[2], line[1] < 0))
    return tuple(dict.fromkeys(product for product, _, _ in ranked if product))


def period_paid(whole: Period, lines: Iterable[InvoiceLineSeen], product: str | None) -> Period:
    """(the invoice's period, its lines, the product of its membership type) -> the time it pays for of that product.

    The product's own line says so, never the invoice; another product's line on the same invoice may last longer or
    look back. Where the product has no line of its own the invoice's period stays. Source: R95
    """
    own = [line.period for line in lines if product and line.product_id == product and not line.proration]
    own = [period for period in own if period.start < period.end]
    return max(own, key=lambda period: (period.start, period.end), default=whole)


class Drawn(NamedTuple):
    """What of the credit an invoice left was never its own money, in minor units, and the invoice whose it was."""

    amount: int
    source: str | None


def credit_drawn(fact: InvoiceSeen, by_others: int) -> tuple[InvoiceSeen, Drawn]:
    """(an invoice as told, what others drew from it) -> the same with the credit that was its own money, and the rest.

    A change to something cheaper gives back more than it charges: that credit is money of the invoice whose time it
    gives back, and is taken off there, so that no cent is shared twice. Source: R95, R109
    """
    own = fact.amount_paid - fact.amount_refunded + fact.credit_used
    credited = fact.credited + by_others
    kept = min(credited, own)
    source = min(((line.amount, line.credits) for line in fact.lines if line.credits), default=(0, None))[1]
    return replace(fact, credited=kept), Drawn(credited - kept, source) if credited > kept else Drawn(0, None)
