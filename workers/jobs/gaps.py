"""What no webhook told: the providers' own lists of events, and every night how things stand there."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

import structlog

from models.actions import inbound, jobs, payments, reconciling, refunds
from models.actions.jobs import Held
from models.actions.reconciling import Thing
from models.ports import EventLog, OutcomeUnknown, ProviderError, Refused, Unavailable
from models.rules.facts import Mirrored
from models.rules.states import PaymentOutcome, Provider, RefundOutcome
from models.tables.membership import Mandate, Subscription
from models.tables.payment import Payment, Refund
from workers.work import Unfinished, Work

LISTED = (Provider.STRIPE, Provider.GOCARDLESS)
BACK = timedelta(days=1)  # events may be made late, and be told in any order
PAGES_A_TURN = 20
ROWS_A_TURN = 50
log = structlog.get_logger("dueflow.gaps")


async def catch_up(work: Work) -> None:
    """Take in the events of each provider's list that never came; one that is away holds up no other.

    Lists are newest first, so until all of one is read the instant it is read from stays where it was.
    """
    held, failed = work.job, list[ProviderError]()
    for provider in LISTED:
        try:
            held = await _caught_up(replace(work, job=held), provider)
        except (Unavailable, OutcomeUnknown, Refused) as error:
            failed.append(error)
    if failed:
        raise failed[0]


async def _caught_up(work: Work, provider: Provider) -> Held:
    known_until, held = await inbound.told_until(provider), work.job
    if known_until is None:
        return held
    log_of, place = await work.providers.event_log(provider), dict(held.payload.get(provider) or {})
    if "since" not in place:
        until = datetime.fromisoformat(place["until"]) if "until" in place else known_until
        place = {"since": (until - BACK).isoformat(), "began": work.now.isoformat(), "after": None}
        held = await _at(held, provider, place)
    try:
        return await _read_on(replace(work, job=held), provider, log_of, place)
    except Refused:
        if place["after"]:  # the event to go on behind may be kept no longer
            await _at(held, provider, {"until": (datetime.fromisoformat(place["since"]) + BACK).isoformat()})
        raise


async def _read_on(work: Work, provider: Provider, log_of: EventLog, place: dict[str, Any]) -> Held:
    held, pages = work.job, 0
    async with aclosing(cast("Any", log_of.missed(datetime.fromisoformat(place["since"]), place["after"]))) as missed:
        async for page in missed:
            new = await inbound.receive(provider, page.events)
            if new:
                log.warning("events that never came", provider=provider.value, new=new)
            pages += 1
            if pages == PAGES_A_TURN and page.last:
                await _at(held, provider, {**place, "after": page.last})
                raise Unfinished
    return await _at(held, provider, {"until": place["began"]})


async def _at(held: Held, provider: Provider, place: dict[str, Any]) -> Held:
    return await jobs.remember(held, {**held.payload, provider.value: place})


async def reconcile(work: Work) -> None:
    """Compare what is recent or still open with its provider, a batch a turn; what differs is settled as news is."""
    things = list(Thing)
    place, after = int(work.job.payload.get("thing", 0)), work.job.payload.get("after")
    rows = await reconciling.batch(things[place], UUID(after) if after else None, ROWS_A_TURN)
    for row in rows:
        try:
            await COMPARES[things[place]](work, row)
        except Refused as refused:  # it is not there, or nobody is to be asked: the others are compared
            log.warning("not compared", thing=things[place].value, id=str(row.id), code=refused.code)
    if rows:
        await jobs.remember(work.job, {"thing": place, "after": str(rows[-1].id)})
        raise Unfinished
    if place + 1 < len(things):
        await jobs.remember(work.job, {"thing": place + 1})
        raise Unfinished
    await jobs.remember(work.job, {})


async def _payment(work: Work, row: Payment) -> None:
    assert row.reference is not None
    known = await (await work.providers.payments(row.provider)).status(row.reference)
    await reconciling.compared(row, known, acting=work.acting, at=work.now)
    await payments.settle(
        row.id,
        known.outcome or PaymentOutcome.SUBMITTED,
        failure=known.failure,
        will_retry=known.will_retry,
        acting=work.acting,
        at=work.now,
    )


async def _refund(work: Work, row: Refund) -> None:
    assert row.reference is not None
    known = await (await work.providers.payments(row.provider)).refund_status(row.reference)
    await reconciling.compared(row, known, acting=work.acting, at=work.now)
    outcome = known.outcome or RefundOutcome.SUBMITTED
    await refunds.settle(row.id, outcome, failure=known.failure, acting=work.acting, at=work.now)


async def _mandate(work: Work, row: Mandate) -> None:
    await _present(work, row, Mirrored.MANDATE)


async def _subscription(work: Work, row: Subscription) -> None:
    await _present(work, row, Mirrored.SUBSCRIPTION)


async def _present(work: Work, row: Mandate | Subscription, kind: Mirrored) -> None:
    """A repeat could lift or end again what a person decided since: only what differs is applied."""
    assert row.external_id is not None
    source = await work.providers.webhooks(row.provider)
    for fact in await source.read(kind, row.external_id):
        if getattr(fact, "status", None) is not row.status:
            await inbound.apply(fact, acting=work.acting, at=work.now)


COMPARES: dict[Thing, Callable[[Work, Any], Awaitable[None]]] = {
    Thing.PAYMENT: _payment,
    Thing.REFUND: _refund,
    Thing.MANDATE: _mandate,
    Thing.SUBSCRIPTION: _subscription,
}
assert COMPARES.keys() == set(Thing)
