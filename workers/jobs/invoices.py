"""Billing off what is due, and shipping it."""

from uuid import UUID

import structlog

from models.actions import invoices, shipments
from models.ports import (
    MOST_TOGETHER,
    AccountingSystem,
    Outgoing,
    OutgoingCredit,
    OutgoingInvoice,
    OutgoingVoid,
    Refused,
)
from models.rules.refusals import Refusal
from models.rules.states import Provider
from workers.work import Unfinished, Work

DUE_A_TURN, TOGETHER = 500, 100
log = structlog.get_logger("dueflow.invoices")


async def bill_off_due(work: Work) -> None:
    """Bill off each invoice whose period is over, many a transaction; one that is refused does not stop the others."""
    due = await invoices.due_to_bill_off(work.now, DUE_A_TURN)
    refused = 0
    for start in range(0, len(due), TOGETHER):
        left = await invoices.bill_off_together(due[start : start + TOGETHER], acting=work.acting, at=work.now)
        refused += len(left)
        for invoice_id in left:
            try:
                await invoices.bill_off(invoice_id, acting=work.acting, at=work.now)
            except Refusal as refusal:
                log.info("invoice not billed off", invoice=str(invoice_id), code=refusal.code.value)
    if refused < len(due) == DUE_A_TURN:
        raise Unfinished


async def respread(work: Work) -> None:
    """Spread a user's invoices anew."""
    await invoices.respread(UUID(work.job.payload["user_id"]), acting=work.acting, at=work.now)


async def ship_to_practice(work: Work) -> None:
    """Bring the practice system what it is to have of an invoice, each document once (R89)."""
    invoice_id = UUID(work.job.payload["invoice_id"])
    practice = await work.providers.practice()
    more = True
    while more and (outgoing := await _begun(work, invoice_id, Provider.NOOKAL)):
        match outgoing:
            case OutgoingVoid():
                await practice.void(outgoing)
                more = await _shipped(work, invoice_id, Provider.NOOKAL, outgoing.reference, outgoing.external_id)
            case OutgoingInvoice():
                # it cannot be told twice safely, so what may already be there is looked for first
                there = await practice.find_invoice(outgoing) or await practice.ship(outgoing)
                more = await _shipped(work, invoice_id, Provider.NOOKAL, outgoing.reference, there)
            case OutgoingCredit():
                raise Refused("The practice system has no credit notes.", code="NO_CREDIT_NOTES")


async def ship_to_books(work: Work) -> None:
    """Bring the books what they are to have of an invoice where their shipper is on, others along with it (R111)."""
    invoice_id = UUID(work.job.payload["invoice_id"])
    if not await shipments.awaited(invoice_id, Provider.XERO):
        return
    books = await work.providers.accounting()
    more = True
    while more and (outgoing := await _begun(work, invoice_id, Provider.XERO)):
        match outgoing:
            case OutgoingVoid():
                await books.void(outgoing)
                more = await _shipped(work, invoice_id, Provider.XERO, outgoing.reference, outgoing.external_id)
            case OutgoingCredit():
                there = await books.credit(outgoing)
                more = await _shipped(work, invoice_id, Provider.XERO, outgoing.credit.reference, there)
            case OutgoingInvoice():
                await _ship_together(work, books, invoice_id, outgoing)


async def _ship_together(work: Work, books: AccountingSystem, invoice_id: UUID, first: OutgoingInvoice) -> None:
    """One call for this invoice and those that wait too; one that is refused is its own job's to tell."""
    if known := await books.find_invoice(first):
        await _shipped(work, invoice_id, Provider.XERO, first.reference, known)
        return
    others = await shipments.begin_others(Provider.XERO, MOST_TOGETHER - 1, acting=work.acting, at=work.now)
    together = {invoice_id: first, **others}
    answers = await books.ship_all(list(together.values()))
    for (each_id, each), answer in zip(together.items(), answers, strict=True):
        if isinstance(answer, str):
            await _shipped(work, each_id, Provider.XERO, each.reference, answer)
    if isinstance(answers[0], Refused):
        raise answers[0]


async def _begun(work: Work, invoice_id: UUID, system: Provider) -> Outgoing | None:
    return await shipments.begin_shipment(invoice_id, system, acting=work.acting, at=work.now)


async def _shipped(work: Work, invoice_id: UUID, system: Provider, reference: str, external_id: str) -> bool:
    return await shipments.shipped(
        invoice_id, system, reference=reference, external_id=external_id, acting=work.acting, at=work.now
    )
