"""What we know of invoices against what stands elsewhere: reports of it, and what puts right what differs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.actions import corrections, drift
from models.actions.mirror import read_anew
from models.actions.unit import Unit, Wanted, unit
from models.rules.corrections import ShipmentKind
from models.rules.drifting import Differs, Repair
from models.rules.drifting import repair as repair_of
from models.rules.events import InvoiceBilledOff
from models.rules.facts import Mirrored
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ShipmentState
from models.tables import sql
from models.tables.coursepro import Drift
from models.tables.invoice import Invoice, Shipment

COMPARED = (Provider.STRIPE, Provider.NOOKAL, Provider.XERO)
MOST_REPAIRED = 100
PAGE = 50

# Invoices of a period that ended on $2 or later, behind id $3; of a system ($1) only those of which all has arrived.
_SHIPPED = """
SELECT s.id, s.invoice_id, s.external_id, i.currency, CASE WHEN s.system = 'XERO'
    THEN (SELECT coalesce(sum(it.amount), 0)::bigint FROM invoice_item it WHERE it.invoice_id = i.id)
    ELSE (SELECT al.amount FROM allocation al WHERE al.invoice_id = i.id AND al.current) END AS total
FROM shipment s JOIN invoice i ON i.id = s.invoice_id
WHERE s.system = $1 AND s.kind = 'INVOICE' AND s.state = 'SHIPPED' AND i.period_end >= $2 AND s.id > $3
    AND NOT EXISTS (SELECT 1 FROM shipment l WHERE l.invoice_id = s.invoice_id AND l.system = s.system
        AND (l.state <> 'SHIPPED' OR (l.kind = 'VOID' AND l.id > s.id)))
ORDER BY s.id LIMIT $4
"""
_MIRRORED = """
SELECT i.id, i.id AS invoice_id, i.external_id, i.currency, i.amount_paid, i.amount_refunded, i.status
FROM invoice i WHERE i.provider = $1 AND i.period_end >= $2 AND i.id > $3 ORDER BY i.id LIMIT $4
"""
FIRST = UUID(int=0)
BEGINNING = date(1970, 1, 1)


async def report_drift(
    providers: Sequence[Provider], since: date | None = None, *, acting: str, at: datetime
) -> Wanted:
    """Have invoices compared with what stands elsewhere; `since` leaves out periods that ended before that day.

    What differs is kept as drift whose cause is `report:<id of the job>`. Raises Refusal INVALID_INPUT.
    """
    if not providers or not set(providers) <= set(COMPARED):
        said = f"Only {', '.join(COMPARED)} are compared."
        raise Refusal(Code.INVALID_INPUT, said, field=("providers",))
    async with unit(acting=acting, at=at) as work:
        payload = {"providers": list(dict.fromkeys(providers)), "since": since or BEGINNING}
        job = work.job("drift.report", payload=payload)
        work.audit("report_drift", ("Job", job.id), after=payload)
    return job


async def page(provider: Provider, since: date, after: UUID) -> list[dict[str, Any]]:
    """What is compared next: of the provider its invoices as mirrored, of another system ours as shipped."""
    statement = _MIRRORED if provider is Provider.STRIPE else _SHIPPED
    begins = datetime.fromisoformat(f"{since}T00:00:00+00:00")
    return await sql.rows(statement, provider.value, begins, after, PAGE)


async def differs(
    provider: Provider, invoice_id: UUID, found: Iterable[Differs], *, job_id: UUID, acting: str, at: datetime
) -> None:
    """Keep what differs of one invoice; once for each report."""
    async with unit(acting=acting, at=at) as work:
        for each in found:
            subject = ("Invoice", invoice_id)
            told = {"ours": each.ours, "theirs": each.theirs, "cause": f"report:{job_id}"}
            await drift.note(work, provider, subject, each.field, **told)


@dataclass(frozen=True, slots=True)
class Planned:
    """What is done, or would be, about one difference."""

    drift_id: UUID
    action: Repair
    text: str


async def repair_drift(drift_ids: Sequence[UUID], dry_run: bool = False, *, acting: str, at: datetime) -> list[Planned]:
    """Put right what differs, always towards the owner's word -> what is done about each; nothing, on a dry run.

    The provider's invoice is mirrored again; one that is missing elsewhere is shipped again, after a look for it; one
    that is otherwise there is a correction for a person to apply. Raises Refusal NOT_FOUND, INVALID_INPUT.
    """
    if not 0 < len(drift_ids) <= MOST_REPAIRED:
        said = f"Name 1 to {MOST_REPAIRED} differences."
        raise Refusal(Code.INVALID_INPUT, said, field=("driftIds",))
    async with unit(acting=acting, at=at) as work:
        rows = {row.id: row for row in await Drift.filter(id__in=list(drift_ids))}
        if rows.keys() != set(drift_ids):
            raise Refusal(Code.NOT_FOUND, field=("driftIds",))
        return [await _repair(work, rows[each], dry_run) for each in dict.fromkeys(drift_ids)]


async def _repair(work: Unit, row: Drift, dry_run: bool) -> Planned:
    action = repair_of(row.provider, row.field, row.theirs) if row.subject_type == "Invoice" else Repair.NOTHING
    invoice = await Invoice.one(id=row.subject_id) if action is not Repair.NOTHING else None
    if invoice is None:
        return Planned(row.id, Repair.NOTHING, "There is nothing to repair by itself: look at it there.")
    text = _TEXTS[action].format(provider=row.provider, reference=invoice.number or invoice.external_id)
    if not dry_run:
        before = {"ours": row.ours, "theirs": row.theirs}
        work.audit("repair_drift", row, before=before, after={"action": action}, because=[text])
        await _DONE_BY[action](work, row, invoice)
    return Planned(row.id, action, text)


_TEXTS = {
    Repair.MIRROR_AGAIN: "Read {reference} from {provider} again and take it over; after billing off, as a correction.",
    Repair.SHIP_AGAIN: "Look for {reference} at {provider} once more, and ship it again where it is not.",
    Repair.CORRECT: "Ask a person to have {reference} voided at {provider} and issued anew.",
}


async def _mirror_again(work: Unit, _row: Drift, invoice: Invoice) -> None:
    read_anew(work, invoice.provider, Mirrored.INVOICE, invoice.external_id)


async def _ship_again(work: Unit, row: Drift, invoice: Invoice) -> None:
    shipped = Shipment.filter(invoice_id=invoice.id, system=row.provider, kind=ShipmentKind.INVOICE)
    last = await shipped.select_for_update().order_by("-id").first()
    if last is not None and last.state is ShipmentState.SHIPPED:
        last.state, last.external_id, last.shipped_at = ShipmentState.SENDING, None, None
        await last.save(update_fields=["state", "external_id", "shipped_at"])
        work.emit(InvoiceBilledOff(invoice_id=invoice.id, user_id=invoice.user_id))


async def _correct(work: Unit, row: Drift, invoice: Invoice) -> None:
    locked = await Invoice.known(id=invoice.id, lock=True)
    await corrections.stands_otherwise(work, locked, row.provider, {row.field: row.theirs}, {row.field: row.ours})


_DONE_BY = {
    Repair.MIRROR_AGAIN: _mirror_again,
    Repair.SHIP_AGAIN: _ship_again,
    Repair.CORRECT: _correct,
}
