"""The books are written where money moves, in the same transaction (`rules.ledger`); entries are never changed.

A payment or an invoice is locked before it moves here, so its entries are numbered one after the other. What the books
do not know yet is written down as it stands: nothing is moved that never began.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from models.actions import positions
from models.actions.unit import Unit, unit
from models.rules.facts import FeesTaken
from models.rules.ledger import (
    MOVEMENTS,
    RETURNING,
    Mirrored,
    Moved,
    Movement,
    mirrored,
    refund_steps,
    stage,
    steps,
    with_purpose,
)
from models.rules.states import PaymentStatus, RefundStatus
from models.tables import sql
from models.tables.invoice import Invoice
from models.tables.payment import Payment, Refund
from models.tables.row import written_id

PAGE = 2000
_PAYMENT = f"""
SELECT coalesce(b.number, 0) AS number, coalesce(b.allocated, 0) AS allocated, s.allocated AS wanted
FROM ({positions.payments(positions.PAYMENT)}) s
LEFT JOIN ({positions.booked("payment_id", positions.PAYMENT)}) b ON b.payment_id = s.id AND b.currency = s.currency
"""  # noqa: S608  words of this file
_INVOICES = f"""
SELECT i.id, i.user_id, i.currency, coalesce(a.amount, 0) AS spread,
  b.number, b.came, b.refunded, b.credit, b.allocated
FROM invoice i
LEFT JOIN allocation a ON a.invoice_id = i.id AND a.current
LEFT JOIN ({positions.booked("invoice_id", positions.INVOICES)}) b ON b.invoice_id = i.id AND b.currency = i.currency
WHERE i.id = ANY($1::uuid[]) ORDER BY i.id
"""  # noqa: S608  words of this file


# one whose key is written already is there already
_WRITE = """
INSERT INTO ledger_entry (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at,
  user_id, payment_id, refund_id, invoice_id)
SELECT id, now(), now(), key, movement, debit, credit, amount, currency, $1, user_id, payment_id, refund_id, invoice_id
FROM jsonb_to_recordset($2::jsonb) AS told
  (id uuid, key text, movement text, debit text, credit text, amount bigint, currency text,
   user_id uuid, payment_id uuid, refund_id uuid, invoice_id uuid)
ON CONFLICT DO NOTHING
"""


def _entries(moved: Iterable[Moved], key: str, currency: str, **about: UUID | None) -> list[dict[str, Any]]:
    return [
        {
            "id": written_id(),
            "key": f"{key}:{movement}",
            "movement": movement,
            "debit": MOVEMENTS[movement].debit,
            "credit": MOVEMENTS[movement].credit,
            "amount": amount,
            "currency": currency,
            **about,
        }
        for movement, amount in moved
    ]


async def _write(work: Unit, entries: Sequence[dict[str, Any]]) -> None:
    if entries:
        await sql.run(_WRITE, work.at, orjson.dumps(entries, default=str).decode())


async def charged(work: Unit, payment: Payment) -> None:
    """A payment was made out: so much is owed."""
    await _post(work, payment, steps(None, stage(payment.status, payment.purpose), payment.amount), 0)


async def moved(work: Unit, payment: Payment, before: PaymentStatus) -> None:
    """A locked payment was saved with another status than `before`: what that moves, in the order it moves."""
    was, now = stage(before, payment.purpose), stage(payment.status, payment.purpose)
    if was is not now:
        await _move(work, payment, steps(was, now, payment.amount))


async def respread(work: Unit, payment: Payment) -> None:
    """What a locked payment pays for changed: a booking gave classes back, a person has, or has yet, to decide."""
    await _move(work, payment, [])


async def refund_moved(work: Unit, payment: Payment, made: Refund, before: RefundStatus | None) -> None:
    """A refund of a locked payment was saved with another status than `before`, or made."""
    was = None if before is None else RETURNING[before]
    await _move(work, payment, refund_steps(was, RETURNING[made.status], made.amount), refund=made)


async def _move(work: Unit, payment: Payment, moves: Sequence[Moved], *, refund: Refund | None = None) -> None:
    (stands,) = await sql.rows(_PAYMENT, payment.id)
    if not stands["number"]:
        await sql.run(_OPEN_PAYMENTS, [payment.id], work.at)
        return
    moves = with_purpose(moves, stands["allocated"], stands["wanted"])
    await _post(work, payment, moves, stands["number"], refund_id=refund.id if refund else None)


async def _post(work: Unit, payment: Payment, moves: Iterable[Moved], number: int, **refund: UUID | None) -> None:
    about = {"user_id": payment.user_id, "payment_id": payment.id, **refund}
    await _write(work, _entries(moves, f"payment:{payment.id}:{number}", payment.currency, **about))


async def fees_taken(fact: FeesTaken, *, acting: str, at: datetime) -> None:
    """Write what a provider kept of payments of ours, in their currency; the same payout told twice is written once."""
    async with unit(acting=acting, at=at) as work:
        kept = dict(fact.fees)
        known = Payment.filter(provider=fact.provider, reference__in=list(kept), currency=fact.currency)
        found = await known.select_for_update().order_by("id")
        await sql.run(
            _OPEN_PAYMENTS, [payment.id for payment in found], at
        )  # a fee must not be the first that is known
        rows = []
        for payment in found:
            amount = kept[payment.reference or ""]
            moved = Moved(Movement.FEE_TAKEN if amount > 0 else Movement.FEE_GIVEN_BACK, abs(amount))
            key = f"fee:{payment.id}:{fact.reference}"
            about = {"user_id": payment.user_id, "payment_id": payment.id}
            rows += _entries([moved] if amount else [], key, payment.currency, **about)
        await _write(work, rows)


# -- subscription invoices ---------------------------------------------------------------------------------------------


async def invoice_mirrored(work: Unit, invoice: Invoice) -> None:
    """A locked invoice was saved as its provider has it: what was received, given back and credited meanwhile."""
    told = Mirrored(invoice.amount_paid, invoice.amount_refunded, invoice.credited - invoice.credit_used)
    await _spread(work, {invoice.id: told})


async def invoices_spread(work: Unit, invoice_ids: Iterable[UUID]) -> None:
    """Locked invoices have other current allocations: what of their money that allocates or frees; two statements."""
    await _spread(work, dict.fromkeys(invoice_ids))


async def _spread(work: Unit, told: Mapping[UUID, Mirrored | None]) -> None:
    rows = []
    for row in await sql.rows(_INVOICES, list(told)):
        has = Mirrored(row["came"] or 0, row["refunded"] or 0, row["credit"] or 0)
        now = told[row["id"]] or has
        # what went back after it was billed off is freed, though the version that was billed off stays
        moves = with_purpose(mirrored(has, now), row["allocated"] or 0, min(row["spread"], now.net))
        about = {"user_id": row["user_id"], "invoice_id": row["id"]}
        rows += _entries(moves, f"invoice:{row['id']}:{row['number'] or 0}", row["currency"], **about)
    await _write(work, rows)


# -- what was there before the books -----------------------------------------------------------------------------------

# an id in the order of time, as those made in Python, a millisecond for each place
_ID = (
    "encode(substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint + v.place) FROM 3)"
    " || substring(uuid_send(gen_random_uuid()) FROM 7), 'hex')::uuid"
)


def _opening(about: str, rows: str, figures: dict[Movement, str]) -> str:
    """INSERT what `rows` have that the books know nothing of; $1 are their ids, $2 is the business instant."""
    name = about.removesuffix("_id")
    values = ", ".join(
        f"({place}, '{each.value}', '{accounts.debit.value}', '{accounts.credit.value}', ({figure})::bigint)"
        for place, (each, figure) in enumerate(figures.items())
        for accounts in [MOVEMENTS[each]]
    )
    return f"""
INSERT INTO ledger_entry
  (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at, user_id, {about})
SELECT {_ID}, now(), now(), '{name}:' || s.id || ':opening:' || v.movement, v.movement, v.debit, v.credit, v.amount,
  s.currency, $2::timestamptz, s.user_id, s.id
FROM ({rows}) s CROSS JOIN LATERAL (VALUES {values}) v(place, movement, debit, credit, amount)
WHERE v.amount > 0 AND NOT EXISTS (SELECT 1 FROM ledger_entry e WHERE e.{about} = s.id)
ON CONFLICT (key) DO NOTHING
"""  # noqa: S608  words of this file


_OF_PAYMENTS = {
    Movement.CHARGED: "s.owed",
    Movement.RECEIVED: "s.received",
    Movement.REFUNDED: "s.refunded",
    Movement.PAID_BACK: "s.paid_back",
    Movement.ALLOCATED: "s.allocated",
}
_OF_INVOICES = {
    Movement.RECEIVED: "s.received",
    Movement.REFUNDED: "s.refunded",
    Movement.PAID_BACK: "s.refunded",
    Movement.CREDITED: "s.credit",
    Movement.CREDIT_USED: "-s.credit",
    Movement.ALLOCATED: "s.allocated",
    Movement.FREED: "-s.allocated",
}
_OPEN_PAYMENTS = _opening("payment_id", positions.payments(positions.PAYMENTS), _OF_PAYMENTS)
_OPEN_INVOICES = _opening("invoice_id", positions.invoices(positions.INVOICES), _OF_INVOICES)
# rows as old as these were written before there were books; a later one without an entry is a break
_SINCE = "SELECT coalesce(min(created_at), now()) AS since FROM ledger_entry"
_UNKNOWN = """
SELECT o.id FROM {table} o WHERE o.created_at < $1 AND o.id > $2
  AND NOT EXISTS (SELECT 1 FROM ledger_entry e WHERE e.{table}_id = o.id)
ORDER BY o.id LIMIT $3 FOR UPDATE
"""


async def open_books(*, acting: str, at: datetime, page: int = PAGE) -> None:
    """Write down how payments and invoices of an earlier version stand, once, page by page."""
    since = (await sql.rows(_SINCE))[0]["since"]
    for table, statement in (("payment", _OPEN_PAYMENTS), ("invoice", _OPEN_INVOICES)):
        last: UUID | None = UUID(int=0)
        while last is not None:
            async with unit(acting=acting, at=at):
                found = await sql.rows(_UNKNOWN.format(table=table), since, last, page)
                ids = [row["id"] for row in found]  # held, so that none of them moves meanwhile
                if ids:
                    await sql.run(statement, ids, at)
            last = ids[-1] if ids else None
