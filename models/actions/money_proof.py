"""Whether the books say what the rows say, by one statement a check; what breaks is not shipped."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import ledger, positions
from models.actions.positions import ALL, INVOICE, INVOICES, PAYMENT, USER, Scope
from models.actions.unit import Unit, unit
from models.rules.ledger import MOVEMENTS
from models.rules.proof import Books, Break, Check, Proof, told
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ReviewKind, ReviewState
from models.tables import sql
from models.tables.coursepro import ReviewItem

MOST = 1000  # breaks that are told at once: who has more reads the first ones
SCOPES = {"Invoice": INVOICE, "Payment": PAYMENT, "User": USER}
LONGEST_MESSAGE = 500

_LEGAL = ", ".join(f"('{each.value}', '{way.debit.value}', '{way.credit.value}')" for each, way in MOVEMENTS.items())
# rows older than the books that were not opened yet are no break
_KNOWN = "(b.number IS NOT NULL OR s.created_at >= (SELECT min(created_at) FROM ledger_entry))"


def _compared(subject: str, rows: str, scope: Scope, checks: dict[Check, tuple[str, str]], credit: str) -> str:
    """Where two figures differ that should be one: rows of a check, its two figures, and the equation by the rows."""
    about = f"{subject.lower()}_id"
    values = ", ".join(
        f"('{check.value}', ({ours})::bigint, ({rows_})::bigint)" for check, (ours, rows_) in checks.items()
    )
    return f"""
SELECT w.what, '{subject}' AS subject, s.id, s.user_id, s.provider, s.currency, w.booked, w.told,
  s.received AS charged, s.allocated, s.refunded, {credit} AS credit, coalesce(b.held, 0) AS held
FROM ({rows}) s
LEFT JOIN ({positions.booked(about, scope)}) b ON b.{about} = s.id AND b.currency = s.currency
CROSS JOIN LATERAL (VALUES {values}) w(what, booked, told)
WHERE w.booked <> w.told AND {_KNOWN}
ORDER BY s.id, w.what LIMIT {MOST}
"""  # noqa: S608  words of this file


def _payments(scope: Scope) -> str:
    checks = {
        Check.RECEIVABLE: ("coalesce(b.receivable, 0)", "s.owed"),
        Check.RECEIVED: ("coalesce(b.came, 0)", "s.received"),
        Check.REFUNDED: ("coalesce(b.refunded, 0)", "s.refunded"),
        Check.PAID_BACK: ("coalesce(b.paid_back, 0)", "s.paid_back"),
        Check.ALLOCATED: ("coalesce(b.allocated, 0)", "s.allocated"),
        Check.HELD: ("coalesce(b.held, 0)", "greatest(b.held, 0)"),
    }
    return _compared("Payment", positions.payments(scope), scope, checks, credit="0")


def _invoices(scope: Scope) -> str:
    checks = {
        Check.RECEIVED: ("coalesce(b.came, 0)", "s.received"),
        Check.REFUNDED: ("coalesce(b.refunded, 0)", "s.refunded"),
        Check.CREDIT: ("coalesce(b.credit, 0)", "s.credit"),
        Check.ALLOCATED: ("coalesce(b.allocated, 0)", "s.allocated"),
        Check.HELD: ("coalesce(b.held, 0)", "greatest(b.held, 0)"),
        Check.SPREAD: ("s.spread", "least(s.spread, s.at_most)"),
        Check.SHARES: ("s.shared", "s.spread"),
    }
    return _compared("Invoice", positions.invoices(scope), scope, checks, credit="s.credit")


def _entries(scope: Scope) -> str:
    about = "CASE WHEN e.payment_id IS NULL THEN 'Invoice' ELSE 'Payment' END"
    return f"""
SELECT '{Check.ENTRIES.value}' AS what, {about} AS subject, coalesce(e.payment_id, e.invoice_id) AS id,
  coalesce(p.user_id, i.user_id) AS user_id, coalesce(p.provider, i.provider) AS provider,
  coalesce(p.currency, i.currency) AS currency, sum(e.amount)::bigint AS booked, 0::bigint AS told,
  sum(e.amount)::bigint AS charged, 0 AS allocated, 0 AS refunded, 0 AS credit, 0 AS held
FROM ledger_entry e LEFT JOIN payment p ON p.id = e.payment_id LEFT JOIN invoice i ON i.id = e.invoice_id
WHERE {scope.entries} AND ((e.movement, e.debit, e.credit) NOT IN ({_LEGAL})
  OR e.currency <> coalesce(p.currency, i.currency))
GROUP BY 2, 3, 4, 5, 6 ORDER BY 3 LIMIT {MOST}
"""  # noqa: S608  words of this file


async def prove(about: tuple[str, UUID] | None = None) -> Proof:
    """("Invoice", "Payment" or "User", its id), or all -> the books of each currency, and where they break."""
    scope, of = (SCOPES[about[0]], [about[1]]) if about else (ALL, [])
    totals = (
        f"SELECT e.currency, {positions.SUMS} FROM ledger_entry e WHERE {scope.entries}"  # noqa: S608
        " GROUP BY e.currency ORDER BY e.currency"
    )
    sums = tuple(
        Books(
            currency=row["currency"],
            charged=row["came"],
            allocated=row["allocated"],
            refunded=row["refunded"],
            credit=row["credit"],
            held=row["held"],
            fees=row["fees"],
            receivable=row["receivable"],
        )
        for row in await sql.rows(totals, *of)
    )
    checks = {PAYMENT: (_payments, _entries), INVOICE: (_invoices, _entries)}.get(
        scope, (_payments, _invoices, _entries)
    )
    return Proof(sums, tuple(await _breaks(checks, scope, *of)))


async def _breaks(checks: Iterable[Callable[[Scope], str]], scope: Scope, *of: Any) -> list[Break]:
    return [_break(row) for check in checks for row in await sql.rows(check(scope), *of)]


def _break(row: dict[str, Any]) -> Break:
    figures = {name: row[name] for name in ("currency", "charged", "allocated", "refunded", "credit", "held")}
    return Break(
        check=Check(row["what"]),
        subject=row["subject"],
        subject_id=row["id"],
        user_id=row["user_id"],
        provider=Provider(row["provider"]),
        booked=row["booked"],
        told=row["told"],
        by_rows=Books(**figures),
    )


async def unsound(invoice_ids: Iterable[UUID]) -> set[UUID]:
    """Those of some invoices whose money does not add up."""
    return {each.subject_id for each in await _breaks((_invoices, _entries), INVOICES, list(invoice_ids))}


async def check_invoice(invoice_id: UUID) -> None:
    """Let nothing of an invoice be shipped whose money does not add up. Raises Refusal MONEY_BREAK, by its equation."""
    if breaks := await _breaks((_invoices, _entries), INVOICE, invoice_id):
        raise Refusal(Code.MONEY_BREAK, told(breaks)[:LONGEST_MESSAGE], field=("invoiceId",))


async def prove_books(*, acting: str, at: datetime) -> Proof:
    """Open the books of what they do not know, prove all, and have each break looked at once while it lasts."""
    await ledger.open_books(acting=acting, at=at)
    proof = await prove()
    broken = defaultdict(list)
    for each in proof.breaks:
        broken[str(each.subject_id)].append(each)
    async with unit(acting=acting, at=at) as work:
        questions = ReviewItem.filter(kind=ReviewKind.MONEY_BREAK, state=ReviewState.OPEN)
        asked = {item.subject: item for item in await questions.select_for_update().order_by("id")}
        for subject, breaks in broken.items():
            await _ask(work, asked.get(subject), breaks)
        if len(proof.breaks) < MOST:
            for subject in asked.keys() - broken.keys():
                await _healed(work, asked[subject])
    return proof


async def _ask(work: Unit, asked: ReviewItem | None, breaks: Sequence[Break]) -> None:
    first = breaks[0]
    evidence = {
        "about": first.subject,
        "equation": f"{first.equation} {first.by_rows.currency}",
        "because": "; ".join(each.because for each in breaks),
    }
    if asked is None:
        asked = await ReviewItem.create(
            kind=ReviewKind.MONEY_BREAK,
            provider=first.provider,
            subject=str(first.subject_id),
            user_id=first.user_id,
            evidence=evidence,
        )
    elif asked.evidence != evidence:
        asked.evidence = evidence
        await asked.save(update_fields=["evidence"])
    else:
        return
    work.audit("money_breaks", asked, after=evidence)


async def _healed(work: Unit, asked: ReviewItem) -> None:
    asked.state, asked.answer = ReviewState.DROPPED, "the books agree again"
    await asked.save(update_fields=["state", "answer"])
    work.audit("money_heals", asked, before={"state": ReviewState.OPEN}, after={"state": asked.state})
