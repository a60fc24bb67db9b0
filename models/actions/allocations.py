"""An invoice's money over the classes it paid for, in versions; older ones stay (R86-R88, R91, R96-R110).

A month of changes is spread in one pass: a handful of statements, whether one invoice is touched or three hundred.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson
from tortoise import timezone

from models.actions import claimants, ledger
from models.actions.claimants import Known, Version
from models.actions.unit import Unit, plain
from models.rules import invoicing, spreading
from models.rules.events import InvoiceReallocated
from models.rules.explain import Step
from models.rules.spreading import Ruling
from models.tables import sql
from models.tables.invoice import Allocation, Invoice
from models.tables.row import new_id

_BORN = ("id", "created_at", "updated_at")
_VERSION = (*_BORN, "invoice_id", "version", "kind", "amount", "currency", "because", "current")
_SHARE = (*_BORN, "allocation_id", "attendance_id", "position", "amount")


@dataclass(frozen=True, slots=True)
class Spread:
    """What an invoice is to pay for, why, and how it is spread now."""

    known: Known
    ruling: Ruling
    current: Version | None

    @property
    def because(self) -> tuple[Step, ...]:
        """The walk from the invoice to its classes."""
        return spreading.walked(self.known.walk, self.known.covered, self.ruling)


def shared_of(invoice: Invoice) -> int:
    """What of an invoice is shared over classes, in minor units (R109)."""
    return invoicing.net_paid(invoice.amount_paid, invoice.amount_refunded, invoice.credited, invoice.credit_used)


async def reallocate(work: Unit, touched: Iterable[Invoice]) -> None:
    """Spread invoices anew, together with those whose periods overlap: an attendance is billed once (R91).

    A version is written only where the shares differ from the present ones; the older versions stay.
    """
    await _reallocate(work, {invoice.id for invoice in touched})


async def reallocate_around(work: Unit, changed: Mapping[UUID, Collection[datetime]]) -> None:
    """(people -> when the classes they changed at start) -> their unbilled invoices of those periods spread anew."""
    await _reallocate(work, await claimants.around(changed, billed=False))


async def _reallocate(work: Unit, ids: Collection[UUID]) -> None:
    if not ids:
        return
    known = await claimants.walks(await claimants.locked_beside(ids))
    claiming = [found for each in known.values() if each.invoice.billed_off_at is None and (found := each.claimant())]
    together = spreading.linked_together(ids, claiming)
    spread = spreading.spread(together, [place.seat for place in await claimants.places(together)])
    current = await claimants.current(spread)
    await _hold(work, [each for each in known.values() if each.invoice.id in {*ids, *spread}])
    await write_versions(
        work, [Spread(known[invoice_id], ruling, current.get(invoice_id)) for invoice_id, ruling in spread.items()]
    )


async def _hold(work: Unit, walked: Iterable[Known]) -> None:
    """Say what each invoice waits for now, and why where that changed."""
    changed = [each for each in walked if each.invoice.hold != each.walk.hold and each.invoice.billed_off_at is None]
    if not changed:
        return
    for each in changed:
        why = spreading.walked(each.walk, each.covered)
        before, after = {"hold": each.invoice.hold}, {"hold": each.walk.hold}
        work.audit("hold_invoice", each.invoice, before=before, after=after, because=why)
    await sql.run(
        "UPDATE invoice SET hold = told.hold, updated_at = now()"
        " FROM unnest($1::uuid[], $2::text[]) AS told(id, hold) WHERE invoice.id = told.id",
        [each.invoice.id for each in changed],
        [each.walk.hold for each in changed],
    )


async def write_versions(work: Unit, spreads: Sequence[Spread]) -> None:
    """Write the next version of each invoice whose shares or amount differ from the present one's."""
    replaced: list[UUID] = []
    versions: list[tuple[Any, ...]] = []
    shares: list[tuple[Any, ...]] = []
    now = timezone.now()
    for each in spreads:
        invoice, before = each.known.invoice, each.current
        allocation = invoicing.allocate(shared_of(invoice), each.ruling.matching.kept)
        wanted = tuple((share.attendance_id, share.amount) for share in allocation.shares if share.attendance_id)
        total = sum(share.amount for share in allocation.shares)
        if before is not None:
            if (before.shares, before.amount) == (wanted, total):
                continue
            replaced.append(before.id)
            work.emit(InvoiceReallocated(invoice_id=invoice.id, user_id=invoice.user_id))
        because = (*each.because, *allocation.because)
        version_id, version = new_id(), before.version + 1 if before else 1
        told = orjson.dumps(plain(because)).decode()
        versions.append(
            (version_id, now, now, invoice.id, version, allocation.kind, total, invoice.currency, told, True)
        )
        shares += [
            (new_id(), now, now, version_id, attendance_id, position, amount)
            for position, (attendance_id, amount) in enumerate(wanted)
        ]
        after = {"version": version, "kind": allocation.kind, "amount": total, "shares": wanted}
        was = before and {"version": before.version, "amount": before.amount, "shares": before.shares}
        work.audit("allocate_invoice", invoice, before=was, after=after, because=because)
    if versions:
        if replaced:
            await Allocation.filter(id__in=replaced).update(current=False)
        await sql.copy("allocation", _VERSION, versions)
        await sql.copy("allocation_share", _SHARE, shares)
        await ledger.invoices_spread(work, [invoice_id for _, _, _, invoice_id, *_ in versions])
