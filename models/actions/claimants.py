"""All that decides which invoice pays for which attendance, read in a few statements however many invoices there are.

It reads and locks, and decides nothing: `models.rules.spreading` does.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from models.rules.invoicing import Attendance, Claim, Coverage, Mark, Period, net_paid
from models.rules.spreading import Claimant, Seat, Walk
from models.rules.states import InvoiceStatus
from models.tables import sql
from models.tables.course import ClassSession
from models.tables.membership import Coverage as CoverageRow

# looked up for each class and each invoice: half of what making them costs
_MARKS = {mark.value: mark for mark in Mark}
_STATUSES = {status.value: status for status in InvoiceStatus}
_NEVER_PAID = (InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE)  # such a one must not keep a class from another

# The unbilled invoices of everybody whose classes these pay for, and themselves: $1 their ids.
_BESIDE = """
SELECT i.id FROM (SELECT DISTINCT attendee_id FROM invoice WHERE id = ANY($1::uuid[])) whose
JOIN invoice i ON i.attendee_id = whose.attendee_id WHERE i.billed_off_at IS NULL
UNION SELECT unnest($1::uuid[])
"""
_LOCKED = f"SELECT id FROM invoice WHERE id IN ({_BESIDE}) ORDER BY id FOR UPDATE"  # noqa: S608  words of this file
_WALKS = """
SELECT i.id, i.subscription_id, i.membership_id, i.attendee_id AS who, i.user_id, i.status, i.currency, i.hold,
    i.period_start, i.period_end, i.amount_paid, i.amount_refunded, i.credited, i.credit_used,
    i.billed_off_at IS NOT NULL AS billed, m.membership_type_id, coalesce(s.created_at, i.created_at) AS subscribed_at,
    i.user_id IS NULL AND EXISTS (SELECT 1 FROM membership_type t WHERE t.product = s.product) AS unowned,
    (SELECT l.external_id FROM external_link l WHERE l.user_id = i.attendee_id AND l.provider = 'NOOKAL'
        AND l.kind = 'patient' AND l.state = 'LINKED') AS patient
FROM invoice i LEFT JOIN subscription s ON s.id = i.subscription_id LEFT JOIN membership m ON m.id = i.membership_id
WHERE i.id = ANY($1::uuid[]) ORDER BY i.id
"""
# What the people of some invoices ($1) attend from the first of their periods to the last, and who carries it now.
_SEATS = """
WITH span AS (
    SELECT attendee_id AS who, min(period_start) AS first, max(period_end) AS until
    FROM invoice WHERE id = ANY($1::uuid[]) GROUP BY attendee_id
), carried AS (
    SELECT DISTINCT ON (sh.attendance_id) sh.attendance_id, i.id AS invoice_id, i.billed_off_at IS NOT NULL AS billed
    FROM span JOIN invoice i ON i.attendee_id = span.who JOIN allocation al ON al.invoice_id = i.id AND al.current
    JOIN allocation_share sh ON sh.allocation_id = al.id
    ORDER BY sh.attendance_id, i.billed_off_at IS NULL
)
SELECT a.user_id, a.id, c.id, c.class_type_id, c.starts_at, a.mark, a.invoiced_elsewhere, a.paid_by_id,
    carried.invoice_id, coalesce(carried.billed, false)
FROM span JOIN attendance a ON a.user_id = span.who JOIN class_session c ON c.id = a.class_session_id
LEFT JOIN carried ON carried.attendance_id = a.id
WHERE c.starts_at >= span.first AND c.starts_at < span.until AND c.class_type_id IS NOT NULL AND c.deleted_at IS NULL
ORDER BY a.user_id, c.starts_at, a.id
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


class Known(NamedTuple):
    """An invoice, its walk to its classes, and what its membership type covers.

    `money` is what was paid, refunded, left as credit and paid by earlier credit, in minor units.
    """

    id: UUID
    walk: Walk
    covered: tuple[Coverage, ...]
    subscribed_at: datetime
    user_id: UUID | None
    period: Period
    status: InvoiceStatus
    currency: str
    money: tuple[int, int, int, int]
    hold: str | None
    billed: bool

    @property
    def shared(self) -> int:
        """What of it is shared over classes, in minor units (R109)."""
        return net_paid(*self.money)

    def claimant(self) -> Claimant | None:
        """What the rule spreads; None for an invoice of nobody known."""
        if self.walk.who is None:
            return None
        start, end = self.period.start, self.period.end
        kinds = {each.class_type_id for each in self.covered if each.until is None or each.until > start}
        claim = Claim(self.id, end, len(kinds), self.subscribed_at)
        return Claimant(claim, self.walk.who, self.period, self.covered, self.status not in _NEVER_PAID)


@dataclass(frozen=True, slots=True)
class Version:
    """The allocation that counts now: its row's id, its number, its amount, and (attendance, amount) in their order."""

    id: UUID
    version: int
    amount: int
    shares: tuple[tuple[UUID, int], ...]


async def around(changed: Mapping[UUID, Collection[datetime]], *, billed: bool) -> set[UUID]:
    """(people -> instants) -> the invoices that may pay for what these attend then, billed off or not."""
    pairs = [(user_id, moment) for user_id, moments in changed.items() for moment in moments]
    if not pairs:
        return set()
    rows = await sql.rows(_AROUND, [who for who, _ in pairs], [moment for _, moment in pairs], billed)
    return {row["id"] for row in rows}


async def locked_beside(invoice_ids: Collection[UUID]) -> list[UUID]:
    """Invoices and all unbilled ones of the same people, locked in the order of their ids."""
    asked, known = list(invoice_ids), set[UUID]()
    while True:
        locked = [invoice_id for (invoice_id,) in await sql.records(_LOCKED, asked)]
        # looked for again behind the locks: whoever held one may have written a further invoice meanwhile
        if known.issuperset(locked) or {found for (found,) in await sql.records(_BESIDE, asked)}.issubset(locked):
            return locked
        known.update(locked)


async def walks(invoice_ids: Collection[UUID]) -> dict[UUID, Known]:
    """Invoices -> each with its walk, by id and in the order of their ids."""
    rows = await sql.rows(_WALKS, list(invoice_ids))
    kinds = {row["membership_type_id"] for row in rows if row["membership_type_id"]}
    covered: defaultdict[UUID | None, tuple[Coverage, ...]] = defaultdict(tuple)
    for each in await CoverageRow.filter(membership_type_id__in=sorted(kinds)).order_by("id"):
        covered[each.membership_type_id] += (Coverage(each.class_type_id, each.covered_from, each.covered_until),)
    return {row["id"]: _known(row, covered[row["membership_type_id"]]) for row in rows}


def _known(row: Mapping[str, Any], covered: tuple[Coverage, ...]) -> Known:
    status = _STATUSES[row["status"]]
    return Known(
        id=row["id"],
        walk=Walk(
            subscription_id=row["subscription_id"],
            membership_id=row["membership_id"],
            who=row["who"],
            patient=row["patient"],
            paid=status is InvoiceStatus.PAID,
            owned=not row["unowned"],
        ),
        covered=covered,
        subscribed_at=row["subscribed_at"],
        user_id=row["user_id"],
        period=Period(row["period_start"], row["period_end"]),
        status=status,
        currency=row["currency"],
        money=(row["amount_paid"], row["amount_refunded"], row["credited"], row["credit_used"]),
        hold=row["hold"],
        billed=row["billed"],
    )


async def seats(claimants: Iterable[Claimant]) -> dict[UUID, list[Seat]]:
    """What the people of these invoices attend, from the first of their periods to the last, by person."""
    rows = await sql.records(_SEATS, [each.claim.invoice_id for each in claimants])
    found: defaultdict[UUID, list[Seat]] = defaultdict(list)
    for who, attendance_id, session_id, kind, at, mark, by_hand, chosen, carried_by, billed in rows:
        attendance = Attendance(attendance_id, session_id, kind, at, _MARKS[mark], by_hand)
        found[who].append(Seat(attendance, chosen, carried_by, billed))
    return found


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
