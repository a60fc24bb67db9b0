"""Billing off what is due, and shipping it."""

from uuid import UUID

import structlog

from models.actions import invoices, shipments
from models.ports import AccountingSystem, PracticeSystem
from models.rules.refusals import Refusal
from models.rules.states import Provider
from workers.work import Work

log = structlog.get_logger("dueflow.invoices")


async def bill_off_due(work: Work) -> None:
    """Bill off each invoice whose period is over; one that is refused does not stop the others."""
    for invoice_id in await invoices.due_to_bill_off(work.now):
        try:
            await invoices.bill_off(invoice_id, acting=work.acting, at=work.now)
        except Refusal as refusal:
            log.info("invoice not billed off", invoice=str(invoice_id), code=refusal.code.value)


async def respread(work: Work) -> None:
    """Spread a user's invoices anew."""
    await invoices.respread(UUID(work.job.payload["user_id"]), acting=work.acting, at=work.now)


async def ship_to_practice(work: Work) -> None:
    """Create the itemised invoice in the practice system, once (R89)."""
    await _ship(work, Provider.NOOKAL, await work.providers.practice())


async def ship_to_books(work: Work) -> None:
    """Create the plain invoice in the books, once, where their shipper is on (R111)."""
    invoice_id = UUID(work.job.payload["invoice_id"])
    if await shipments.awaited(invoice_id, Provider.XERO):
        await _ship(work, Provider.XERO, await work.providers.accounting())


async def _ship(work: Work, system: Provider, port: PracticeSystem | AccountingSystem) -> None:
    invoice_id = UUID(work.job.payload["invoice_id"])
    outgoing = await shipments.begin_shipment(invoice_id, system, acting=work.acting, at=work.now)
    if outgoing is None:
        return
    # neither system can be told twice safely, so what may already be there is looked for first
    external_id = await port.find_invoice(outgoing) or await port.ship(outgoing)
    await shipments.shipped(invoice_id, system, external_id=external_id, acting=work.acting, at=work.now)
