"""An invoice's money over the classes it paid for, in versions; older ones stay (R86-R88, R91, R96-R110).

A month of changes is spread in one pass: a handful of statements, whether one invoice is touched or three hundred.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from tortoise import timezone

from models.actions import claimants, ledger
from models.actions.claimants import Known, Version
from models.actions.unit import Unit
from models.rules import invoicing, spreading
from models.rules.events import InvoiceReallocated
from models.rules.spreading import Ruling
from models.tables import sql
from models.tables.invoice import Allocation, Invoice
from models.tables.row import written_id

_BORN = ("id", "created_at", "updated_at")
_VERSION = (*_BORN, "invoice_id", "version", "kind", "amount", "currency", "because", "current")
_SHARE = (*_BORN, "allocation_id", "attendance_id", "position", "amount")


class Spread(NamedTuple):
    """What an invoice is to pay for, why, and how it is spread now."""

    known: Known
    ruling: Ruling
    current: Version | None


def shared_of(invoice: Invoice) -> int:
    """What of an invoice is shared over classes, in minor units (R109)."""
    return invoicing.net_paid(invoice.amount_paid, invoice.amount_refunded, invoice.credited, invoice.credit_used)


async def reallocate(work: Unit, invoice_ids: Collection[UUID]) -> None:
    """Spread invoices anew, together with those whose periods overlap: an attendance is billed once (R91).

    A version is written only where the shares differ from the present ones; the older versions stay. All of them are
    held in memory together, some ten kilobytes each: whoever has many brings a thousand at a time.
    """
    if not invoice_ids:
        return
    asked = set(invoice_ids)
    known = await claimants.walks(await claimants.locked_beside(asked))
    claiming = [found for each in known.values() if not each.billed and (found := each.claimant())]
    together = spreading.linked_together(asked, claiming)
    spread = spreading.spread(together, await claimants.seats(together))
    current = await claimants.current(spread)
    await _hold(work, [known[each] for each in known if each in spread or each in asked])
    await write_versions(
        work, [Spread(known[invoice_id], ruling, current.get(invoice_id)) for invoice_id, ruling in spread.items()]
    )


async def reallocate_around(work: Unit, changed: Mapping[UUID, Collection[datetime]]) -> None:
    """(people -> when the classes they changed at start) -> their unbilled invoices of those periods spread anew."""
    await reallocate(work, await claimants.around(changed, billed=False))


async def _hold(work: Unit, walked: Iterable[Known]) -> None:
    """Say what each invoice waits for now, and why where that changed."""
    changed = [each for each in walked if each.hold != each.walk.hold and not each.billed]
    if not changed:
        return
    for each in changed:
        why = spreading.walked(each.walk, each.covered)
        before, after = {"hold": each.hold}, {"hold": each.walk.hold}
        work.audit("hold_invoice", ("Invoice", each.id), before=before, after=after, because=why)
    await sql.run(
        "UPDATE invoice SET hold = told.hold, updated_at = now()"
        " FROM unnest($1::uuid[], $2::text[]) AS told(id, hold) WHERE invoice.id = told.id",
        [each.id for each in changed],
        [each.walk.hold for each in changed],
    )


async def write_versions(work: Unit, spreads: Sequence[Spread]) -> None:
    """Write the next version of each invoice whose shares or amount differ from the present one's."""
    replaced: list[UUID] = []
    versions: list[tuple[Any, ...]] = []
    shares: list[tuple[Any, ...]] = []
    now = timezone.now()
    for known, ruling, before in spreads:
        amount = known.shared
        allocation = invoicing.allocate(amount, ruling.matching.kept)
        wanted = tuple([(each.attendance_id, each.amount) for each in allocation.shares if each.attendance_id])
        if before is not None:
            if (before.shares, before.amount) == (wanted, amount):
                continue
            replaced.append(before.id)
            work.emit(InvoiceReallocated(invoice_id=known.id, user_id=known.user_id))
        version_id, version = written_id(), before.version + 1 if before else 1
        steps = (*spreading.walked(known.walk, known.covered, ruling), *allocation.because)
        because = orjson.dumps([each.as_dict() for each in steps])
        versions.append(
            (version_id, now, now, known.id, version, allocation.kind, amount, known.currency, because.decode(), True)
        )
        shares += [
            (written_id(), now, now, version_id, attendance_id, position, share)
            for position, (attendance_id, share) in enumerate(wanted)
        ]
        was = before and {"version": before.version, "amount": before.amount, "shares": before.shares}
        now_so = {"version": version, "kind": allocation.kind, "amount": amount, "shares": wanted}
        after = orjson.dumps(now_so, default=str)
        work.audit(
            "allocate_invoice",
            ("Invoice", known.id),
            before=was,
            after=orjson.Fragment(after),
            because=orjson.Fragment(because),
        )
    if versions:
        if replaced:
            await Allocation.filter(id__in=replaced).update(current=False)
        await sql.copy("allocation", _VERSION, versions)
        await sql.copy("allocation_share", _SHARE, shares)
        await ledger.invoices_spread(work, [invoice_id for _, _, _, invoice_id, *_ in versions])
