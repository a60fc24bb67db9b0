"""Subscription invoices: mirrored from their provider, and billed off once their period is over (R82-R112)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import allocations, corrections, ledger, money_proof, ownership, shipments
from models.actions.billing_policy import policy
from models.actions.mirror import read_anew
from models.actions.subscriptions import mirrored
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules import invoicing
from models.rules.events import InvoiceBilledOff, InvoiceOpened
from models.rules.facts import InvoiceGone, InvoiceSeen, Mirrored
from models.rules.invoicing import Hold
from models.rules.mirroring import Drawn, credit_drawn, period_paid, products_paid
from models.rules.refusals import Code, Refusal
from models.rules.states import InvoiceStatus, Provider
from models.tables.invoice import Allocation, Invoice, InvoiceItem
from models.tables.membership import Subscription
from models.tables.setting import ProviderSetting


@repeated
async def invoice_seen(fact: InvoiceSeen, *, acting: str, at: datetime) -> None:
    """Mirror an invoice as its provider has it now and spread its money at once (R86).

    One that was billed off keeps its figures: what changed is kept as a correction, for a person to decide.
    """
    async with unit(acting=acting, at=at) as work:
        products = products_paid((line.product_id, line.amount, line.proration) for line in fact.lines)
        subscription = await _subscription(work, fact, products)
        fact, drawn = credit_drawn(fact, await _drawn_from(fact))
        kind = await ownership.managed(products)
        period = period_paid(fact.period, fact.lines, kind.product if kind else None)
        invoice = await Invoice.one(provider=fact.provider, external_id=fact.external_id, lock=True)
        if invoice and invoice.billed_off_at:
            await corrections.invoice_told(work, invoice, fact, period)
            return
        opened = invoice is None
        drew = Drawn(invoice.drawn, invoice.drawn_from) if invoice else Drawn(0, None)
        values: dict[str, Any] = {
            "number": fact.number,
            "subscription_id": subscription.id if subscription else None,
            "membership_id": await ownership.membership_of(subscription, products) if subscription else None,
            "user_id": subscription.user_id if subscription else None,
            "attendee_id": ownership.attends(subscription) if subscription else None,
            "status": fact.status,
            "currency": fact.currency.upper(),
            "amount_paid": fact.amount_paid,
            "amount_refunded": fact.amount_refunded,
            "total": fact.total,
            "tax": fact.tax,
            "discount": fact.discount,
            "credit_used": fact.credit_used,
            "credited": fact.credited,
            "drawn": drawn.amount,
            "drawn_from": drawn.source,
            "period_start": period.start,
            "period_end": period.end,
        }
        if invoice is None:
            invoice = await Invoice.create(provider=fact.provider, external_id=fact.external_id, **values)
        else:
            invoice.update_from_dict(values)
            await invoice.save(update_fields=list(values))
        await _mirror_items(invoice, fact)
        _draw(work, invoice, drew)
        await ledger.invoice_mirrored(work, invoice)
        if opened:
            after = {"amount_paid": fact.amount_paid, "status": fact.status}
            if fact.credit_used:
                # less money came than is shared: what earlier credit paid is shared here, where it is used
                after["credit_used"] = fact.credit_used
            work.audit("open_invoice", invoice, after=after)
            work.emit(InvoiceOpened(invoice_id=invoice.id, user_id=invoice.user_id))
        await allocations.reallocate(work, [invoice.id])


async def _subscription(work: Unit, fact: InvoiceSeen, products: Sequence[str]) -> Subscription | None:
    if fact.subscription_id is None:
        return None
    product = next(iter(products), "")
    row, stub = await mirrored(fact.provider, fact.subscription_id, customer=fact.customer_id, product=product)
    if stub:
        read_anew(work, fact.provider, Mirrored.SUBSCRIPTION, fact.subscription_id)
    return row


async def _drawn_from(fact: InvoiceSeen) -> int:
    """What later invoices of the same provider left as credit out of this one's money."""
    drawing: Any = Invoice.filter(provider=fact.provider, drawn_from=fact.external_id)
    return sum(await drawing.exclude(status=InvoiceStatus.VOID).values_list("drawn", flat=True))


def _draw(work: Unit, invoice: Invoice, before: Drawn) -> None:
    """Have the invoices read anew whose money this one left as credit, now or before."""
    now = Drawn(invoice.drawn, invoice.drawn_from)
    for source in sorted({each.source for each in (before, now) if before != now and each.source}):
        read_anew(work, invoice.provider, Mirrored.INVOICE, source)


@repeated
async def invoice_gone(fact: InvoiceGone, *, acting: str, at: datetime) -> None:
    """A draft was deleted: it will never be paid, and must not keep a class from another invoice."""
    async with unit(acting=acting, at=at) as work:
        invoice = await Invoice.one(provider=fact.provider, external_id=fact.external_id, lock=True)
        if invoice is None or invoice.billed_off_at or invoice.status is InvoiceStatus.VOID:
            return
        before, invoice.status = invoice.status, InvoiceStatus.VOID
        await invoice.save(update_fields=["status"])
        work.audit("invoice_gone", invoice, before={"status": before}, after={"status": invoice.status})
        await allocations.reallocate(work, [invoice.id])


async def _mirror_items(invoice: Invoice, fact: InvoiceSeen) -> None:
    for position, line in enumerate(fact.lines):
        await InvoiceItem.update_or_create(
            invoice_id=invoice.id,
            external_id=line.external_id,
            defaults={
                "position": position,
                "description": line.description[:500],
                "amount": line.amount,
                "product": line.product_id,
                "proration": line.proration,
            },
        )
    seen = [line.external_id for line in fact.lines]
    await InvoiceItem.filter(invoice_id=invoice.id).exclude(external_id__in=seen).delete()


@repeated
async def allocate_invoice(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Spread one invoice anew from what is known now. Raises Refusal NOT_FOUND, INVOICE_ALREADY_BILLED."""
    async with unit(acting=acting, at=at) as work:
        invoice = await _locked(invoice_id)
        if invoice.billed_off_at:
            raise Refusal(Code.INVOICE_ALREADY_BILLED, field=("invoiceId",))
        await allocations.reallocate(work, [invoice.id])
    return invoice


@repeated
async def respread(user_id: UUID, *, acting: str, at: datetime) -> None:
    """Spread the unbilled invoices of a user's classes anew: what is known of the user changed."""
    async with unit(acting=acting, at=at) as work:
        unbilled = Invoice.filter(attendee_id=user_id, billed_off_at__isnull=True).select_for_update().order_by("id")
        await allocations.reallocate(work, [invoice.id for invoice in await unbilled])


async def _locked(invoice_id: UUID) -> Invoice:
    invoice = await Invoice.one(id=invoice_id, lock=True)
    if invoice is None:
        raise Refusal(Code.NOT_FOUND, field=("invoiceId",))
    return invoice


async def due_to_bill_off(at: datetime, limit: int = 500) -> list[UUID]:
    """Invoices whose period and grace are over and that nothing holds, oldest first."""
    over = at - (await policy()).grace
    ids: Any = (
        await Invoice.filter(billed_off_at__isnull=True, hold__isnull=True, period_end__lte=over)
        .order_by("period_end", "id")
        .limit(limit)
        .values_list("id", flat=True)
    )
    return list(ids)


@repeated
async def bill_off(invoice_id: UUID, *, acting: str, at: datetime) -> Invoice:
    """Freeze an invoice's allocation and have it shipped, once (R89, R99).

    Raises Refusal NOT_FOUND, INVOICE_ALREADY_BILLED, INVOICE_NOT_DUE, or what holds it: NO_SUBSCRIPTION,
    UNMANAGED_PRODUCT, PATIENT_UNLINKED, INVOICE_NOT_PAID; and MONEY_BREAK.
    """
    async with unit(acting=acting, at=at) as work:
        invoice = await _locked(invoice_id)
        if invoice.billed_off_at is None:
            await allocations.reallocate(work, [invoice.id])
            await invoice.refresh_from_db(fields=["hold"])
        invoicing.check_bill_off(
            billed=invoice.billed_off_at is not None,
            hold=Hold(invoice.hold) if invoice.hold else None,
            period_end=invoice.period_end,
            grace=(await policy()).grace,
            at=at,
        )
        await money_proof.check_invoice(invoice.id)
        allocation = await Allocation.known(invoice_id=invoice.id, current=True)
        net = allocations.shared_of(invoice)
        if allocation.amount != net:
            raise AssertionError(f"allocated {allocation.amount} != received {net} for invoice {invoice.id}")
        await _freeze(work, {allocation: invoice})
    return invoice


@repeated
async def bill_off_together(invoice_ids: Sequence[UUID], *, acting: str, at: datetime) -> list[UUID]:
    """Bill off in one transaction all of these that `bill_off` would not refuse -> the others, each for it to tell."""
    async with unit(acting=acting, at=at) as work:
        rows = Invoice.filter(id__in=invoice_ids, billed_off_at__isnull=True)
        await allocations.reallocate(work, [row.id for row in await rows.select_for_update().order_by("id")])
        grace, unsound = (await policy()).grace, await money_proof.unsound(invoice_ids)
        # read anew: what holds each was just found out
        free = {
            row.id: row
            for row in await rows.filter(hold__isnull=True)
            if row.id not in unsound and invoicing.billable(row.period_end, grace, at)
        }
        current = await Allocation.filter(invoice_id__in=list(free), current=True).order_by("invoice_id")
        frozen = {each: free[each.invoice_id] for each in current}
        frozen = {each: row for each, row in frozen.items() if each.amount == allocations.shared_of(row)}
        await _freeze(work, frozen)
    return [invoice_id for invoice_id in invoice_ids if invoice_id not in {row.id for row in frozen.values()}]


async def _freeze(work: Unit, invoices: Mapping[Allocation, Invoice]) -> None:
    """Let allocations count for ever, and have the invoices they are of shipped."""
    if not invoices:
        return
    await Invoice.filter(id__in=[row.id for row in invoices.values()]).update(billed_off_at=work.at)
    await shipments.prepare({row: allocation.amount for allocation, row in invoices.items()}, await _ships_to())
    for allocation, row in invoices.items():
        row.billed_off_at = work.at
        after = {"version": allocation.version, "amount": allocation.amount}
        work.audit("bill_off_invoice", row, before={"billed_off_at": None}, after=after)
        work.emit(InvoiceBilledOff(invoice_id=row.id, user_id=row.user_id))


async def _ships_to() -> list[Provider]:
    """Where billed-off invoices go: always the practice system, the books where their shipper is switched on (R111)."""
    books = await ProviderSetting.one(provider=Provider.XERO, enabled=True)
    return [Provider.NOOKAL, Provider.XERO] if books else [Provider.NOOKAL]
