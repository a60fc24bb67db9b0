"""What the outside tells: stored once, applied later by the one switch from a fact to its action."""

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from models.actions import (
    attendances,
    course_ends,
    invoices,
    ledger,
    mandates,
    mirror,
    payments,
    refunds,
    rosters,
    subscriptions,
)
from models.actions.unit import unit, wake
from models.ports import ReceivedEvent
from models.rules import diary, facts
from models.rules.facts import Fact
from models.rules.refusals import Code, Refusal
from models.rules.states import InboxState, Provider
from models.tables import sql
from models.tables.inbox import InboxEvent
from models.tables.row import new_id
from models.tables.setting import ProviderSetting

LONGEST_ID = 255
_NUL = b"\\u0000"  # as JSON writes it; where that stands without being one, a longer look finds nothing

# $1 provider, $2 events with the job of each. Of two statements at once the second finds the first one's rows.
_STORE = """
WITH told AS (
  SELECT * FROM jsonb_to_recordset($2::jsonb) AS told
    (id uuid, event_id text, event_type text, object_id text, body jsonb, job_id uuid, subject text)
), stored AS (
  INSERT INTO inbox_event (id, created_at, updated_at, provider, event_id, event_type, object_id, body, state)
  SELECT id, now(), now(), $1::text, event_id, event_type, object_id, body, 'RECEIVED'
  FROM told ORDER BY event_id  -- two statements with the same events take their rows in the same order
  ON CONFLICT (provider, event_id) DO NOTHING
  RETURNING id
)
INSERT INTO job (id, created_at, updated_at, kind, key, subject, payload, state, attempts, token, wake, done_count)
SELECT job_id, now(), now(), 'inbox.apply', 'inbox.apply:' || $1::text || ':' || event_id, subject,
  jsonb_build_object('provider', $1::text, 'event_id', event_id), 'READY', 0, 0, 0, 0
FROM told JOIN stored USING (id) ORDER BY job_id
ON CONFLICT (key) DO NOTHING
RETURNING id
"""


async def receive(provider: Provider, events: Sequence[ReceivedEvent]) -> int:
    """Store each event of one delivery once with the job that applies it -> how many were new."""
    (new,) = await receive_all(provider, [events])
    return new


async def receive_all(provider: Provider, deliveries: Sequence[Sequence[ReceivedEvent]]) -> list[int]:
    """Store the events of deliveries as `receive` does, all in one statement -> how many of each delivery were new.

    An event that came before and is not applied yet is woken again by its job, which the sweeper finds. No lease is
    asked for: to store twice is to store once.
    """
    told, brought_by = dict[str, dict[str, Any]](), dict[UUID, int]()
    for number, events in enumerate(deliveries):
        for event in map(storable, events):
            if event.event_id not in told:
                row = told[event.event_id] = _told(provider, event)
                brought_by[row["job_id"]] = number
    jobs = [job["id"] for job in await sql.rows(_STORE, provider.value, orjson.dumps([*told.values()]).decode())]
    await wake(jobs)
    new = Counter(brought_by[job_id] for job_id in jobs)
    return [new[number] for number in range(len(deliveries))]


def _told(provider: Provider, event: ReceivedEvent) -> dict[str, Any]:
    return {
        "id": new_id(),
        "event_id": event.event_id,
        "event_type": event.event_type,
        "object_id": event.object_id,
        "body": event.body,
        "job_id": new_id(),
        "subject": _subject(provider, event.object_id),
    }


def _subject(provider: Provider, object_id: str | None) -> str | None:
    """Jobs about one object run in the order their events came."""
    return mirror.about(provider, object_id) if object_id else None


def storable(event: ReceivedEvent) -> ReceivedEvent:
    """An event as its row can hold it: no U+0000 anywhere, and a digest in place of an id that is too long."""
    event_id = _without_nul(event.event_id)
    if len(event_id) > LONGEST_ID:
        event_id = hashlib.sha256(event_id.encode()).hexdigest()
    object_id = _without_nul(event.object_id)
    body = _without_nul(event.body) if _NUL in orjson.dumps(event.body) else event.body
    return ReceivedEvent(event_id, _without_nul(event.event_type)[:120], object_id and object_id[:LONGEST_ID], body)


def _without_nul(part: Any) -> Any:
    if isinstance(part, str):
        return part.replace("\x00", "")
    if isinstance(part, dict):
        return {_without_nul(name): _without_nul(value) for name, value in part.items()}
    return [_without_nul(each) for each in part] if isinstance(part, list) else part


async def stored(provider: Provider, event_id: str) -> InboxEvent:
    """A stored event."""
    return await InboxEvent.known(provider=provider, event_id=event_id)


async def applied(row: InboxEvent, *, at: datetime, any_facts: bool) -> None:
    """Mark an event as done with."""
    state = InboxState.APPLIED if any_facts else InboxState.IGNORED
    await InboxEvent.filter(id=row.id).update(state=state, applied_at=at)


async def told_until(provider: Provider) -> datetime | None:
    """Until when a provider's events are known: when the newest came, else when it was set up; None while it is not."""
    row = await ProviderSetting.one(provider=provider, enabled=True)
    if row is None:
        return None
    newest = await InboxEvent.filter(provider=provider).order_by("-created_at").first()
    return max(newest.created_at, row.created_at) if newest else row.created_at


async def gave_up(provider: Provider, event_id: str) -> None:
    """Mark an event as not applicable until a person replays it."""
    await InboxEvent.filter(provider=provider, event_id=event_id).update(state=InboxState.DEAD)


async def replay(inbox_id: UUID, *, acting: str, at: datetime) -> InboxEvent:
    """Apply a stored event once more. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        row = await InboxEvent.one(id=inbox_id, lock=True)
        if row is None:
            raise Refusal(Code.NOT_FOUND, field=("id",))
        before, row.state = row.state, InboxState.RECEIVED
        await row.save(update_fields=["state"])
        work.audit("replay_webhook", row, before={"state": before}, after={"state": row.state})
        payload = {"provider": row.provider, "event_id": row.event_id}
        work.job("inbox.apply", payload=payload, subject=_subject(row.provider, row.object_id))
    return row


async def _attendance(fact: diary.AttendanceSeen, *, acting: str, at: datetime) -> None:
    await attendances.attendances_seen([fact], acting=acting, at=at)


async def _roster(fact: diary.RosterSeen, *, acting: str, at: datetime) -> None:
    await attendances.rosters_seen([fact], acting=acting, at=at)


Applies = Callable[..., Awaitable[Any]]
APPLIES: dict[type, Applies] = {
    facts.PaymentSubmitted: payments.payment_fact,
    facts.PaymentSucceeded: payments.payment_fact,
    facts.PaymentPaidOut: payments.payment_fact,
    facts.PaymentFailed: payments.payment_fact,
    facts.PaymentCancelled: payments.payment_fact,
    facts.PaymentChargedBack: payments.payment_fact,
    facts.RefundFact: refunds.refund_fact,
    facts.MandateChanged: mandates.mandate_changed,
    facts.FeesTaken: ledger.fees_taken,
    facts.CheckoutCompleted: subscriptions.checkout_completed,
    facts.SubscriptionSeen: subscriptions.subscription_seen,
    facts.InvoiceSeen: invoices.invoice_seen,
    facts.InvoiceGone: invoices.invoice_gone,
    facts.ObjectTouched: mirror.object_touched,
    facts.CourseEnded: course_ends.course_ended,
    facts.StatusClaimed: course_ends.status_claimed,
    facts.AttendeesPosted: rosters.attendees_posted,
    diary.AttendanceSeen: _attendance,
    diary.RosterSeen: _roster,
}


async def apply(fact: Fact, *, acting: str, at: datetime) -> None:
    """Do what a fact asks for; applying it again changes nothing."""
    await APPLIES[type(fact)](fact, acting=acting, at=at)
