"""All that decides which invoice pays for which attendance, read in a few statements however many invoices there are.

It reads and locks, and decides nothing: `models.rules.spreading` does.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.rules.invoicing import Attendance, Claim, Coverage, Mark, Period
from models.rules.spreading import Claimant, Seat, Walk
from models.rules.states import InvoiceStatus
from models.tables import sql
from models.tables.course import ClassSession
from models.tables.invoice import Invoice
from models.tables.membership import Coverage as CoverageRow

_NEVER_PAID = (InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE)  # such a one must not keep a class from another

# The unbilled invoices of everybody whose classes these pay for, and themselves: $1 their ids.
_BESIDE = """
SELECT i.id FROM (SELECT DISTINCT attendee_id FROM invoice WHERE id = ANY($1::uuid[])) whose
JOIN invoice i ON i.attendee_id = whose.attendee_id WHERE i.billed_off_at IS NULL
UNION SELECT unnest($1::uuid[])
"""
_WALKS = """
SELECT i.id, i.subscription_id, i.membership_id, i.attendee_id AS who,
    m.membership_type_id, coalesce(s.created_at, i.created_at) AS subscribed_at,
    i.user_id IS NULL AND EXISTS (SELECT 1 FROM membership_type t WHERE t.product = s.product) AS unowned,
    (SELECT l.external_id FROM external_link l WHERE l.user_id = i.attendee_id AND l.provider = 'NOOKAL'
        AND l.kind = 'patient' AND l.state = 'LINKED') AS patient
FROM invoice i LEFT JOIN subscription s ON s.id = i.subscription_id LEFT JOIN membership m ON m.id = i.membership_id
WHERE i.id = ANY($1::uuid[])
"""
# What people attend within a span each ($1 who, $2 from, $3 until), and which current allocation carries it.
_SEATS = """
WITH carried AS (
    SELECT DISTINCT ON (sh.attendance_id) sh.attendance_id, i.id AS invoice_id, i.billed_off_at IS NOT NULL AS billed
    FROM invoice i JOIN allocation al ON al.invoice_id = i.id AND al.current
    JOIN allocation_share sh ON sh.allocation_id = al.id WHERE i.attendee_id = ANY($1::uuid[])
    ORDER BY sh.attendance_id, i.billed_off_at IS NULL
)
SELECT a.id, a.user_id, a.mark, a.invoiced_elsewhere, a.paid_by_id, c.id AS session_id, c.class_type_id, c.starts_at,
    carried.invoice_id AS carried_by, carried.billed
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS span(who, first, until)
JOIN attendance a ON a.user_id = span.who JOIN class_session c ON c.id = a.class_session_id
LEFT JOIN carried ON carried.attendance_id = a.id
WHERE c.starts_at >= span.first AND c.starts_at < span.until AND c.class_type_id IS NOT NULL AND c.deleted_at IS NULL
ORDER BY c.starts_at, a.id
"""
# The invoices that may pay for a person's ($1) classes at an instant ($2), billed off ($3) or not.
_AROUND = """
WITH change AS (SELECT DISTINCT * FROM unnest($1::uuid[], $2::timestamptz[]) AS told(who, at))
SELECT DISTINCT i.id FROM change JOIN invoice i ON i.attendee_id = change.who
WHERE i.period_start <= change.at AND i.period_end > change.at AND (i.billed_off_at IS NOT NULL) = $3
"""
_CURRENT = """
SELECT al.id, al.invoice_id, al.version, al.amount,
    coalesce(array_agg(sh.attendance_id ORDER BY sh.position) FILTER (WHERE sh.id IS NOT NULL), '{}') AS attendances,
    coalesce(array_agg(sh.amount ORDER BY sh.position) FILTER (WHERE sh.id IS NOT NULL), '{}') AS amounts
FROM allocation al LEFT JOIN allocation_share sh ON sh.allocation_id = al.id
WHERE al.current AND al.invoice_id = ANY($1::uuid[]) GROUP BY al.id
"""


@dataclass(frozen=True, slots=True)
class Known:
    """An invoice, its walk to its classes, and what its membership type covers."""

    invoice: Invoice
    walk: Walk
    covered: tuple[Coverage, ...]
    subscribed_at: datetime

    @property
    def period(self) -> Period:
        """What it pays for."""
        return Period(self.invoice.period_start, self.invoice.period_end)

    def claimant(self) -> Claimant | None:
        """What the rule spreads; None for an invoice of nobody known."""
        if self.walk.who is None:
            return None
        kinds = {each.class_type_id for each in self.covered if each.until is None or each.until > self.period.start}
        claim = Claim(self.invoice.id, self.invoice.period_end, len(kinds), self.subscribed_at)
        payable = self.invoice.status not in _NEVER_PAID
        return Claimant(claim, self.walk.who, self.period, self.covered, payable)


@dataclass(frozen=True, slots=True)
class Version:
    """The allocation that counts now: its row's id, its number, its amount, and (attendance, amount) in their order."""

    id: UUID
    version: int
    amount: int
    shares: tuple[tuple[UUID, int], ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A seat, and the invoice whose current allocation carries it, billed off or not."""

    seat: Seat
    carried_by: UUID | None


async def around(changed: Mapping[UUID, Collection[datetime]], *, billed: bool) -> set[UUID]:
    """(people -> instants) -> the invoices that may pay for what these attend then, billed off or not."""
    pairs = [(user_id, moment) for user_id, moments in changed.items() for moment in moments]
    if not pairs:
        return set()
    rows = await sql.rows(_AROUND, [who for who, _ in pairs], [moment for _, moment in pairs], billed)
    return {row["id"] for row in rows}


async def locked_beside(invoice_ids: Collection[UUID]) -> list[Invoice]:
    """Invoices and all unbilled ones of the same people, locked in the order of their ids."""
    known, invoices = set[UUID](), list[Invoice]()
    while True:
        # looked for again behind the locks: whoever held one may have written a further invoice meanwhile
        found = {row["id"] for row in await sql.rows(_BESIDE, list(invoice_ids))}
        if found <= known:
            return invoices
        known |= found
        invoices = await Invoice.filter(id__in=sorted(known)).select_for_update().order_by("id")


async def walks(invoices: Sequence[Invoice]) -> dict[UUID, Known]:
    """Invoices -> each with its walk, by id."""
    rows = {row["id"]: row for row in await sql.rows(_WALKS, [invoice.id for invoice in invoices])}
    kinds = {row["membership_type_id"] for row in rows.values() if row["membership_type_id"]}
    covered: defaultdict[UUID, list[Coverage]] = defaultdict(list)
    for each in await CoverageRow.filter(membership_type_id__in=sorted(kinds)).order_by("id"):
        coverage = Coverage(each.class_type_id, each.covered_from, each.covered_until)
        covered[each.membership_type_id].append(coverage)
    return {
        invoice.id: Known(
            invoice,
            Walk(
                subscription_id=row["subscription_id"],
                membership_id=row["membership_id"],
                who=row["who"],
                patient=row["patient"],
                paid=invoice.status is InvoiceStatus.PAID,
                owned=not row["unowned"],
            ),
            tuple(covered[row["membership_type_id"]]),
            row["subscribed_at"],
        )
        for invoice in invoices
        for row in [rows[invoice.id]]
    }


async def places(claimants: Iterable[Claimant]) -> list[Place]:
    """What the people of these invoices attend, from the first of their periods to the last."""
    spans: dict[UUID, Period] = {}
    for each in claimants:
        known = spans.get(each.who, each.period)
        spans[each.who] = Period(min(known.start, each.period.start), max(known.end, each.period.end))
    if not spans:
        return []
    rows = await sql.rows(
        _SEATS, list(spans), [span.start for span in spans.values()], [span.end for span in spans.values()]
    )
    return [_place(row) for row in rows]


def _place(row: Mapping[str, Any]) -> Place:
    attendance = Attendance(
        id=row["id"],
        session_id=row["session_id"],
        class_type_id=row["class_type_id"],
        starts_at=row["starts_at"],
        mark=Mark(row["mark"]),
        invoiced_by_hand=row["invoiced_elsewhere"],
    )
    carried_by = row["carried_by"]
    seat = Seat(row["user_id"], attendance, row["paid_by_id"], carried_by if row["billed"] else None)
    return Place(seat, carried_by)


async def starts(attendance_ids: Collection[UUID]) -> list[datetime]:
    """Attendances -> when their classes start."""
    rows = await ClassSession.filter(attendances__id__in=list(attendance_ids)).values_list("starts_at", flat=True)
    return list(rows)  # type: ignore[arg-type]  # flat values


async def current(invoice_ids: Collection[UUID]) -> dict[UUID, Version]:
    """Invoices -> the allocation of each that counts now."""
    return {
        row["invoice_id"]: Version(
            row["id"], row["version"], row["amount"], tuple(zip(row["attendances"], row["amounts"], strict=True))
        )
        for row in await sql.rows(_CURRENT, list(invoice_ids))
    }
