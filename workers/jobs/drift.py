"""Comparing invoices with what stands at their provider, in the practice system and in the books."""

import asyncio
from datetime import date
from typing import Any
from uuid import UUID

from models.actions import drift_report, jobs
from models.actions.drift_report import FIRST
from models.rules.drifting import Differs, mirrored_differs, shipped_differs
from models.rules.facts import InvoiceSeen, Mirrored
from models.rules.money import Money
from models.rules.states import Provider
from workers.work import Unfinished, Work

TURN_SECONDS = 60.0  # a job may take two minutes
Row = dict[str, Any]


async def report(work: Work) -> None:
    """Compare invoice by invoice; a run that was cut short goes on where it was."""
    told = work.job.payload
    providers = [Provider(each) for each in told["providers"]]
    since, after, done = date.fromisoformat(told["since"]), UUID(told.get("after") or str(FIRST)), told.get("done", 0)
    ends = asyncio.get_running_loop().time() + TURN_SECONDS
    while providers:
        while page := await drift_report.page(providers[0], since, after):
            for row in page:
                await _compare(work, providers[0], row)
                after, done = row["id"], done + 1
                await jobs.progress(work.job.lease, done, None)
                if asyncio.get_running_loop().time() > ends:
                    left = {"providers": providers, "since": told["since"], "after": str(after), "done": done}
                    await jobs.remember(work.job, left)
                    raise Unfinished
        providers, after = providers[1:], FIRST
    await jobs.progress(work.job.lease, done, done)


async def _compare(work: Work, provider: Provider, row: Row) -> None:
    found = await (_mirrored(work, row) if provider is Provider.STRIPE else _shipped(work, provider, row))
    if found:
        await drift_report.differs(
            provider, row["invoice_id"], found, job_id=work.job.id, acting=work.acting, at=work.now
        )


async def _shipped(work: Work, provider: Provider, row: Row) -> list[Differs]:
    system = await (work.providers.practice() if provider is Provider.NOOKAL else work.providers.accounting())
    there = await system.standing(row["external_id"], row["currency"])
    theirs = Money(there.total, there.currency) if there else None
    return shipped_differs(Money(row["total"], row["currency"]), theirs, voided=bool(there and there.voided))


async def _mirrored(work: Work, row: Row) -> list[Differs]:
    seen = await _seen(work, row["external_id"])
    names = ("status", "currency", "amount_paid", "amount_refunded")
    theirs = {name: getattr(seen, name) for name in names} if seen else None
    return mirrored_differs({name: row[name] for name in names}, theirs)


async def _seen(work: Work, external_id: str) -> InvoiceSeen | None:
    """An invoice as the card provider has it, read as its webhooks have it read."""
    source = await work.providers.webhooks(Provider.STRIPE)
    found = await source.read(Mirrored.INVOICE, external_id)
    return next((fact for fact in found if isinstance(fact, InvoiceSeen)), None)
