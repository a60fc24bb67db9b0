"""What changed after an invoice was billed off: kept as a question with a proposal, applied by a person alone."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import allocations, claimants, ledger, shipments
from models.actions.allocations import Spread, shared_of
from models.actions.claimants import Known
from models.actions.transaction import repeated
from models.actions.unit import Unit, plain, unit
from models.rules import corrections as rules
from models.rules.corrections import Change, CorrectionCause, CorrectionState, Figures, Line, Proposal, Shipped
from models.rules.events import CorrectionApplied, CorrectionClosed, CorrectionOpened
from models.rules.facts import InvoiceSeen
from models.rules.invoicing import Matching, Period, allocate
from models.rules.refusals import Code, Refusal
from models.rules.spreading import Claimant, Ruling, Seat, spread
from models.rules.states import InvoiceStatus, Provider, ShipmentState
from models.tables.course import Attendance
from models.tables.invoice import Correction, Invoice, InvoiceItem, Shipment

_OF_FIGURES = (CorrectionCause.PAYMENT_LOST, CorrectionCause.REFUNDED, CorrectionCause.INVOICE_CHANGED)
_OF_CLASSES = (CorrectionCause.ATTENDANCE_CHANGED,)
LONGEST_ANSWER = 255


# -- noticing ----------------------------------------------------------------------------------------------------------


async def invoice_told(work: Unit, invoice: Invoice, fact: InvoiceSeen, period: Period) -> None:
    """Keep what differs between a billed-off invoice, which is locked, and what its provider says of it now."""
    lines = tuple(
        Line(each.external_id, each.description[:500], each.amount, each.product_id, each.proration)
        for each in fact.lines
    )
    told = Figures(
        fact.status,
        fact.currency.upper(),
        fact.amount_paid,
        fact.amount_refunded,
        fact.credited,
        fact.credit_used,
        period.start,
        period.end,
        lines,
    )
    await _keep(work, [invoice], {invoice.id: rules.changes(await _figures(invoice), told)}, _OF_FIGURES)


async def _figures(invoice: Invoice) -> Figures:
    lines = [
        Line(row.external_id, row.description, row.amount, row.product, row.proration)
        for row in await InvoiceItem.every(invoice_id=invoice.id, order=("position", "id"))
    ]
    return Figures(
        invoice.status,
        invoice.currency,
        invoice.amount_paid,
        invoice.amount_refunded,
        invoice.credited,
        invoice.credit_used,
        invoice.period_start,
        invoice.period_end,
        tuple(lines),
    )


async def seats_changed(work: Unit, **which: Any) -> None:
    """Attendances by their columns, just written -> the invoices that may pay for them follow, billed off or not."""
    rows = Attendance.filter(**which, class_session__class_type_id__isnull=False)
    changed: defaultdict[UUID, set[datetime]] = defaultdict(set)
    for user_id, starts_at in await rows.values_list("user_id", "class_session__starts_at"):
        changed[user_id].add(starts_at)
    await classes_changed(work, changed)


async def classes_changed(work: Unit, changed: Mapping[UUID, Collection[datetime]]) -> None:
    """(people -> when the classes they changed at start) -> unbilled invoices spread anew, billed ones asked about."""
    await allocations.reallocate_around(work, changed)
    ids = await claimants.around(changed, billed=True)
    if not ids:
        return
    invoices = await Invoice.filter(id__in=sorted(ids)).select_for_update().order_by("id")
    found: dict[UUID, dict[CorrectionCause, Change]] = {}
    for each in await _as_of_now(invoices):
        was, now = dict(each.current.shares if each.current else ()), _shares(each)
        differs = was.keys() != now.keys() and each.known.status is InvoiceStatus.PAID
        change = Change({"shares": was}, {"shares": now}, Proposal.VOID_AND_REISSUE)
        found[each.known.id] = {CorrectionCause.ATTENDANCE_CHANGED: change} if differs else {}
    await _keep(work, invoices, found, _OF_CLASSES)


async def _as_of_now(invoices: Sequence[Invoice]) -> list[Spread]:
    """What billed-off invoices would pay for by today's marks; what another invoice carries stays with that one."""
    known = await claimants.walks([invoice.id for invoice in invoices])
    claiming = {each.id: found for each in known.values() if (found := each.claimant())}
    seats = await claimants.seats(claiming.values())
    current = await claimants.current(known)
    return [
        Spread(
            known[invoice_id], _alone(known[invoice_id], claimant, seats.get(claimant.who, [])), current.get(invoice_id)
        )
        for invoice_id, claimant in claiming.items()
    ]


def _alone(known: Known, claimant: Claimant, seats: Iterable[Seat]) -> Ruling:
    if known.status is not InvoiceStatus.PAID:
        return Ruling(Matching((), ()), {})
    # whatever another one carries counts as billed off
    theirs = [each._replace(chosen=None, billed=each.carried_by != known.id) for each in seats]
    return spread([claimant], {claimant.who: theirs})[known.id]


def _shares(each: Spread) -> dict[UUID, int]:
    allocation = allocate(each.known.shared, each.ruling.matching.kept)
    return {share.attendance_id: share.amount for share in allocation.shares if share.attendance_id}


async def _keep(
    work: Unit,
    invoices: Sequence[Invoice],
    found: Mapping[UUID, Mapping[CorrectionCause, Change]],
    causes: Sequence[CorrectionCause],
) -> None:
    """Open, change or drop the corrections of these causes, so that each says what is so now."""
    rows = await Correction.filter(invoice_id__in=[invoice.id for invoice in invoices], cause__in=causes).order_by("id")
    latest = {(row.invoice_id, row.cause): row for row in rows}
    for invoice in invoices:
        for cause in causes:
            await _keep_one(work, invoice, cause, found[invoice.id].get(cause), latest.get((invoice.id, cause)))


async def _keep_one(
    work: Unit, invoice: Invoice, cause: CorrectionCause, change: Change | None, known: Correction | None
) -> None:
    asked = known if known is not None and known.state is CorrectionState.OPEN else None
    if change is None:
        if asked is not None and "system" not in asked.change:
            await _close(work, asked, invoice, CorrectionState.DROPPED, "It was undone.")
        return
    told = plain({"was": _told(change.was), "now": _told(change.now)})
    decided = known is not None and known.state is CorrectionState.DISMISSED
    if known is not None and (asked or decided) and known.change == told:
        return  # it stands as it is, or a person wanted it so
    values: dict[str, Any] = {"proposal": change.proposal, "amount": change.amount, "change": told}
    before = asked.change if asked else None
    if asked is None:
        asked = await Correction.create(invoice_id=invoice.id, cause=cause, **values)
    else:
        asked.update_from_dict(values)
        await asked.save(update_fields=["proposal", "amount", "change", "updated_at"])
    work.audit("open_correction", asked, before=before, after={"cause": cause, **values})
    work.emit(CorrectionOpened(invoice_id=invoice.id, correction_id=asked.id, user_id=invoice.user_id))


async def stands_otherwise(
    work: Unit, invoice: Invoice, system: Provider, there: Mapping[str, Any], here: Mapping[str, Any]
) -> None:
    """What a system has of an invoice, which is locked, is not what was shipped: ask, where nothing is asked yet."""
    causes: dict[str, Any] = {"invoice_id": invoice.id, "cause": CorrectionCause.INVOICE_CHANGED}
    if await Correction.filter(**causes, state=CorrectionState.OPEN).exists():
        return
    change = plain({"was": dict(there), "now": dict(here), "system": system})
    asked = await Correction.create(**causes, proposal=Proposal.VOID_AND_REISSUE, change=change)
    work.audit("open_correction", asked, after={"cause": asked.cause, "change": change})
    work.emit(CorrectionOpened(invoice_id=invoice.id, correction_id=asked.id, user_id=invoice.user_id))


def _told(figures: Mapping[str, Any]) -> dict[str, Any]:
    shown = dict(figures)
    if "lines" in shown:
        shown["lines"] = [line._asdict() for line in shown["lines"]]
    return shown


async def _close(work: Unit, asked: Correction, invoice: Invoice, state: CorrectionState, answer: str) -> None:
    asked.state, asked.answer = state, answer
    await asked.save(update_fields=["state", "answer", "updated_at"])
    open_ = {"state": CorrectionState.OPEN}
    work.audit(f"{state.lower()}_correction", asked, before=open_, after={"state": state}, because=[answer])
    work.emit(CorrectionClosed(invoice_id=invoice.id, correction_id=asked.id, user_id=invoice.user_id))


# -- deciding ----------------------------------------------------------------------------------------------------------


@repeated
async def dismiss_correction(correction_id: UUID, reason: str, *, acting: str, at: datetime) -> Correction:
    """Leave what was shipped as it is, and say why; the same change does not ask again.

    Raises Refusal NOT_FOUND, ILLEGAL_MOVE, INVALID_INPUT.
    """
    if not reason.strip() or len(reason) > LONGEST_ANSWER:
        said = f"Say why, in at most {LONGEST_ANSWER} characters."
        raise Refusal(Code.INVALID_INPUT, said, field=("reason",))
    async with unit(acting=acting, at=at) as work:
        correction, invoice = await _open(correction_id)
        await _close(work, correction, invoice, CorrectionState.DISMISSED, reason)
    return correction


@repeated
async def apply_correction(
    correction_id: UUID, proposal: Proposal | None = None, *, acting: str, at: datetime
) -> Correction:
    """Take over what changed, and ship what puts right what stands elsewhere; marks count as they are now.

    Raises Refusal NOT_FOUND, ILLEGAL_MOVE (decided already, or still on its way), INVALID_INPUT (nothing to credit).
    """
    async with unit(acting=acting, at=at) as work:
        correction, invoice = await _open(correction_id)
        earlier = await Shipment.every(invoice_id=invoice.id, order=("id",))
        if waiting := sorted({each.system for each in earlier if each.state is not ShipmentState.SHIPPED}):
            said = f"The invoice is still on its way to {', '.join(waiting)}: have that shipped first."
            raise Refusal(Code.ILLEGAL_MOVE, said, field=("correctionId",))
        correction.proposal = proposal or correction.proposal
        net = shared_of(invoice)
        only = correction.change.get("system")
        await _take_over(invoice, {} if only else correction.change["now"])
        await ledger.invoice_mirrored(work, invoice)
        back = net - shared_of(invoice)
        correction.amount = back if correction.proposal is Proposal.CREDIT_NOTE else None
        if correction.amount is not None and back <= 0:
            raise Refusal(Code.INVALID_INPUT, "No money went back: nothing can be credited.", field=("proposal",))
        spreads = await _as_of_now([invoice])
        await allocations.write_versions(work, spreads)
        await _ship(work, correction, invoice, [each for each in earlier if only in (None, each.system)])
        correction.state = CorrectionState.APPLIED
        await correction.save(update_fields=["state", "proposal", "amount", "updated_at"])
        after = {"state": correction.state, "proposal": correction.proposal, "amount": correction.amount}
        work.audit("apply_correction", correction, before={"state": CorrectionState.OPEN}, after=after)
        work.emit(CorrectionApplied(invoice_id=invoice.id, correction_id=correction.id, user_id=invoice.user_id))
        # by today's marks is how it was spread just now, and a class it gave up may be another invoice's
        await _keep(work, [invoice], {invoice.id: {}}, _OF_CLASSES)
        await _give_up(work, spreads)
    return correction


async def _open(correction_id: UUID) -> tuple[Correction, Invoice]:
    known = await Correction.one(id=correction_id)
    if known is None:
        raise Refusal(Code.NOT_FOUND, field=("correctionId",))
    invoice = await Invoice.known(id=known.invoice_id, lock=True)  # before the correction, as news does
    correction = await Correction.known(id=correction_id, lock=True)
    if correction.state is not CorrectionState.OPEN:
        raise Refusal(Code.ILLEGAL_MOVE, f"It is {correction.state} already.", field=("correctionId",))
    return correction, invoice


async def _take_over(invoice: Invoice, figures: Mapping[str, Any]) -> None:
    """Write the figures of a change into the invoice, which is frozen for anything else."""
    names = [name for name in figures if name not in ("shares", "lines")]
    for name in names:
        at = name.startswith("period_")
        setattr(invoice, name, datetime.fromisoformat(figures[name]) if at else figures[name])
    if "status" in names:
        invoice.status = InvoiceStatus(figures["status"])
    if names:
        await invoice.save(update_fields=[*names, "updated_at"])
    if "lines" not in figures:
        return
    await InvoiceItem.filter(invoice_id=invoice.id).delete()
    told = enumerate(figures["lines"])
    await InvoiceItem.bulk_create([InvoiceItem(invoice_id=invoice.id, position=at, **line) for at, line in told])


async def _ship(work: Unit, correction: Correction, invoice: Invoice, earlier: Sequence[Shipment]) -> None:
    number = 1 + await Correction.filter(invoice_id=invoice.id, state=CorrectionState.APPLIED).count()
    asked, paid = (await shipments.asked_by([invoice.id]))[invoice.id], invoice.status is InvoiceStatus.PAID
    for system in dict.fromkeys(each.system for each in earlier):
        there = [each for each in earlier if each.system is system]
        stands = rules.standing(Shipped(each.kind, each.external_id or "") for each in there)
        anew = rules.issued(system, asked, shared_of(invoice)) if paid else ()
        for kind in rules.documents(system, correction.cause, correction.proposal, stands=bool(stands), anew=anew):
            await Shipment.create(
                invoice_id=invoice.id,
                correction_id=correction.id,
                kind=kind,
                system=Provider(system),
                reference=rules.reference(there[0].reference, kind, number),
            )


async def _give_up(work: Unit, spreads: Sequence[Spread]) -> None:
    """Classes an invoice carried and does not any more may be paid for by one that is not billed off yet."""
    for each in spreads:
        had = {attendance_id for attendance_id, _ in (each.current.shares if each.current else ())}
        starts = await claimants.starts(had - {attendance.id for attendance in each.ruling.matching.kept})
        if each.known.walk.who is not None:
            await allocations.reallocate_around(work, {each.known.walk.who: starts})
