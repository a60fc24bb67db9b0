"""SQL of what the books have of each payment and invoice, and of what the rows they mirror say.

Every statement is about one payment, one invoice, one user or all: the same text with another `Scope`, and $1 where it
is not all. Nothing here loops over rows.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from models.rules.ledger import BY_DEBIT, RETURNING, STAGES, Account, Movement, Returning, Stage

INVOICE_CREDIT = "i.credited - i.credit_used"  # what an invoice left its payer, less what earlier credit paid of it


class Scope(NamedTuple):
    """Conditions on payments `p`, their bookings `b` and refunds `r`, on invoices `i`, and on entries `e`."""

    payments: str
    bookings: str
    refunds: str
    invoices: str
    entries: str


_OF_USER = (
    "(e.payment_id IN (SELECT id FROM payment WHERE user_id = $1)"
    " OR e.invoice_id IN (SELECT id FROM invoice WHERE user_id = $1))"
)
ALL = Scope("true", "true", "true", "true", "true")
USER = Scope("p.user_id = $1", "b.user_id = $1", "r.user_id = $1", "i.user_id = $1", _OF_USER)
INVOICE = Scope("false", "false", "false", "i.id = $1", "e.invoice_id = $1")
PAYMENTS = Scope(
    "p.id = ANY($1::uuid[])",
    "b.user_id IN (SELECT user_id FROM payment WHERE id = ANY($1::uuid[]) AND booking_id IS NOT NULL)",
    "r.payment_id = ANY($1::uuid[])",
    "false",
    "e.payment_id = ANY($1::uuid[])",
)
INVOICES = Scope("false", "false", "false", "i.id = ANY($1::uuid[])", "e.invoice_id = ANY($1::uuid[])")
# a booking and those it was moved from are one user's
PAYMENT = Scope(
    "p.id = $1",
    "b.user_id = (SELECT user_id FROM payment WHERE id = $1 AND booking_id IS NOT NULL)",
    "r.payment_id = $1",
    "false",
    "e.payment_id = $1",
)


def _words(found: Iterable[StrEnum]) -> str:
    return ", ".join(f"'{word.value}'" for word in found)


_OWED = _words(status for status, stage in STAGES.items() if stage is Stage.OWED)
_RECEIVED = _words(status for status, stage in STAGES.items() if stage is Stage.RECEIVED)
_GOES_BACK = _words(status for status, stands in RETURNING.items() if stands is not Returning.OFF)
_WENT_BACK = _words(status for status, stands in RETURNING.items() if stands is Returning.PAID)


def _on(account: Account) -> str:
    """What stands on an account, as it grows."""
    grows, shrinks = ("debit", "credit") if account in BY_DEBIT else ("credit", "debit")
    return (
        f"sum(CASE WHEN e.{grows} = '{account.value}' THEN e.amount"
        f" WHEN e.{shrinks} = '{account.value}' THEN -e.amount ELSE 0 END)::bigint AS {account.value.lower()}"
    )


# `came` is what was received less what banks took back, by movements; the accounts follow.
SUMS = ", ".join(
    [
        "count(*)::int AS number",
        f"sum(CASE e.movement WHEN '{Movement.RECEIVED.value}' THEN e.amount"
        f" WHEN '{Movement.RETURNED.value}' THEN -e.amount ELSE 0 END)::bigint AS came",
        *(_on(account) for account in Account),
    ]
)


def booked(about: str, scope: Scope) -> str:
    """What the books have of each payment or invoice (`about` names the column) and currency."""
    return (
        f"SELECT e.{about}, e.currency, {SUMS} FROM ledger_entry e"  # noqa: S608  words of this file
        f" WHERE e.{about} IS NOT NULL AND {scope.entries} GROUP BY e.{about}, e.currency"
    )


def payments(scope: Scope) -> str:
    """How the money of each payment stands by its own row, its refunds, its booking and the questions about it.

    A booking's payment pays for what the booking, and those it was moved to, did not give back (`returns.repay`);
    another one for all that was not refunded, unless a person has yet to decide about it.
    """
    return f"""
WITH RECURSIVE given AS (
  SELECT b.id, b.moved_from_id, b.carried, coalesce(sum(l.share) FILTER (
    WHERE l.settled_by = 'CHARGE' AND l.given_back_at IS NOT NULL), 0)::bigint AS money
  FROM booking b LEFT JOIN booking_line l ON l.booking_id = b.id WHERE {scope.bookings} GROUP BY b.id
), claim AS (
  SELECT g.id, g.moved_from_id, g.carried, g.money AS claim FROM given g
  WHERE NOT EXISTS (SELECT 1 FROM booking n WHERE n.moved_from_id = g.id)
  UNION ALL
  SELECT g.id, g.moved_from_id, g.carried, g.money - c.carried + least(c.claim, c.carried)
  FROM claim c JOIN given g ON g.id = c.moved_from_id
), back AS (
  SELECT r.payment_id, sum(r.amount) FILTER (WHERE r.status IN ({_GOES_BACK}))::bigint AS asked,
    sum(r.amount) FILTER (WHERE r.status IN ({_WENT_BACK}))::bigint AS went
  FROM refund r WHERE {scope.refunds} GROUP BY r.payment_id
), asked AS (
  SELECT DISTINCT v.subject FROM review_item v WHERE v.kind = 'REFUND_REVIEW' AND v.state = 'OPEN'
)
SELECT p.id, p.user_id, p.provider, p.currency, p.created_at,
  CASE WHEN p.status IN ({_OWED}) AND NOT (p.status = 'FAILED' AND p.purpose = 'BOOKING')
    THEN p.amount ELSE 0 END AS owed,
  CASE WHEN p.status IN ({_RECEIVED}) THEN p.amount ELSE 0 END AS received,
  coalesce(k.asked, 0) AS refunded, coalesce(k.went, 0) AS paid_back,
  CASE WHEN p.status NOT IN ({_RECEIVED}) THEN 0 ELSE greatest(0, least(p.amount - coalesce(k.asked, 0), CASE
    WHEN p.booking_id IS NOT NULL THEN p.amount - (c.claim - least(c.claim, c.carried))
    WHEN a.subject IS NOT NULL THEN 0
    ELSE p.amount END)) END AS allocated
FROM payment p
LEFT JOIN claim c ON c.id = p.booking_id
LEFT JOIN back k ON k.payment_id = p.id
LEFT JOIN asked a ON a.subject = p.id::text
WHERE {scope.payments}
"""  # noqa: S608  words of this file


def invoices(scope: Scope) -> str:
    """How the money of each invoice stands by its own row and its current allocation.

    What went back after it was billed off is not allocated any more, though the version that was billed off stays.
    """
    return f"""
SELECT i.id, i.user_id, i.provider, i.currency, i.created_at, i.amount_paid AS received,
  i.amount_refunded AS refunded, {INVOICE_CREDIT} AS credit,
  least(coalesce(CASE a.kind WHEN 'CLASSES' THEN s.shared ELSE a.amount END, 0),
    i.amount_paid - i.amount_refunded - ({INVOICE_CREDIT})) AS allocated,
  coalesce(a.amount, 0) AS spread, CASE a.kind WHEN 'CLASSES' THEN s.shared ELSE coalesce(a.amount, 0) END AS shared,
  i.amount_paid + i.credit_used AS at_most
FROM invoice i
LEFT JOIN allocation a ON a.invoice_id = i.id AND a.current
LEFT JOIN LATERAL (
  SELECT coalesce(sum(h.amount), 0)::bigint AS shared FROM allocation_share h WHERE h.allocation_id = a.id) s ON true
WHERE {scope.invoices}
"""  # noqa: S608  words of this file
