"""What partners are told: a message for each event and endpoint, kept until it is delivered or given up.

An event's message is written by the job that tells subscribers of it, so nothing that happened is lost and a change
costs no more while nobody listens. Decision 64.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from models.actions.callers import caller_of
from models.actions.transaction import alone
from models.actions.unit import PUBLISH, Unit, unit
from models.actions.webhook_endpoints import owned
from models.ports import PartnerReads
from models.rules.partners import SUBJECT, TEST, DeliveryState, WebhookTopic, failed_too_long
from models.rules.refusals import Code, Refusal
from models.tables import sql
from models.tables.partner import WebhookEndpoint, WebhookMessage
from models.tables.row import new_id

AT_ONCE = 1000
KEPT = timedelta(days=30)
LONGEST_ERROR = 200
Reads = Callable[[], Awaitable[PartnerReads]]

# Events of one object must be written in the order they happened, whichever worker comes first.
_UNTOLD = (
    "SELECT (payload->'events')::text AS events FROM job WHERE kind = $1 AND id < $2 AND state IN ('READY', 'LEASED')"
    " AND payload::text LIKE ANY($3::text[]) ORDER BY id"
)


@dataclass(frozen=True, slots=True)
class _Told:
    endpoint: WebhookEndpoint
    event: Mapping[str, Any]
    subject: str
    body: dict[str, Any]


async def fan_out(job_id: UUID, events: Sequence[Mapping[str, Any]], *, reads: Reads, acting: str, at: datetime) -> int:
    """Write the messages of events for whoever is told of them and may see their objects -> how many are new.

    Earlier events of the same objects that another worker has not come to yet are written first. Once per event and
    endpoint, however often it is asked for.
    """
    endpoints = await WebhookEndpoint.every(enabled=True, order=("id",))
    about = {subject for event in events if (subject := _subject(event))}
    if not endpoints or not about:
        return 0
    earlier = await _earlier(job_id, about)
    told = await _seen([*earlier, *events], endpoints, await reads(), at)
    if not told:
        return 0
    async with unit(acting=acting, at=at) as work:
        await alone("webhooks.fan_out")
        ids: list[str] = [each.event["id"] for each in told]
        pairs = await WebhookMessage.filter(event_id__in=ids).values_list("endpoint_id", "event_id")
        known = set(pairs)
        fresh = [each for each in told if (each.endpoint.id, each.event["id"]) not in known]
        rows = [_message(each) for each in fresh]
        await WebhookMessage.bulk_create(rows)
        for row in rows:
            _ask(work, row)
    return len(rows)


async def _earlier(job_id: UUID, about: set[str]) -> list[Mapping[str, Any]]:
    patterns = [f"%{subject.partition(':')[2]}%" for subject in about]
    rows = await sql.rows(_UNTOLD, PUBLISH, job_id, patterns)
    told = [event for row in rows for event in json.loads(row["events"])]
    return [event for event in told if _subject(event) in about]


async def _seen(
    events: Sequence[Mapping[str, Any]], endpoints: Sequence[WebhookEndpoint], reads: PartnerReads, at: datetime
) -> list[_Told]:
    told = []
    callers = {endpoint.api_key_id: await caller_of(endpoint.api_key_id, at=at) for endpoint in endpoints}
    for event in events:
        for endpoint in endpoints:
            caller, topic = callers[endpoint.api_key_id], event["topic"].upper()
            if caller is None or topic not in endpoint.topics or not _subject(event):
                continue
            if (data := await reads.told(WebhookTopic(topic), event["ids"], caller)) is not None:
                body = {
                    "type": f"{event['topic']}.{event['name']}",
                    "timestamp": event["occurred_at"],
                    "data": data,
                }
                told.append(_Told(endpoint, event, _subject(event), body))
    return told


def _subject(event: Mapping[str, Any]) -> str:
    """An event -> "topic:uuid" of the object it is about; empty where it is about none that is told of."""
    word = event["topic"].upper()
    key = event["ids"].get(SUBJECT[WebhookTopic(word)]) if word in WebhookTopic.__members__ else None
    return f"{event['topic']}:{key}" if key else ""


def _message(told: _Told) -> WebhookMessage:
    return WebhookMessage(
        id=new_id(),
        endpoint_id=told.endpoint.id,
        event_id=told.event["id"],
        topic=told.event["topic"].upper(),
        name=told.event["name"],
        subject=told.subject,
        body=told.body,
    )


def _ask(work: Unit, row: WebhookMessage) -> None:
    # one object's messages to one endpoint go one after the other; a job's subject has 80 characters
    subject = f"webhook:{row.endpoint_id.hex}:{row.subject.partition(':')[2]}"
    work.job("webhooks.deliver", payload={"message_id": row.id}, subject=subject)


async def waiting(message_id: UUID) -> tuple[WebhookMessage, WebhookEndpoint] | None:
    """A message that is to be sent, with its endpoint; None where it is settled."""
    message = (
        await WebhookMessage.filter(id=message_id, state=DeliveryState.PENDING).prefetch_related("endpoint").first()
    )
    return (message, message.endpoint) if message else None


async def may_be_told(message: WebhookMessage, endpoint: WebhookEndpoint, *, reads: Reads, at: datetime) -> str | None:
    """Whether the endpoint's key may still see what a message is about -> why not, None where it may."""
    caller = await caller_of(endpoint.api_key_id, at=at)
    if caller is None:
        return "The key of the endpoint has ended."
    if message.topic == TEST:
        return None
    topic = WebhookTopic(message.topic)
    ids = {SUBJECT[topic]: message.subject.partition(":")[2]}
    seen = await (await reads()).told(topic, ids, caller)
    return None if seen is not None else "The key of the endpoint may not see this any more."


async def delivered(message: WebhookMessage, status: int, *, acting: str, at: datetime) -> None:
    """The endpoint took it, and is not failing."""
    async with unit(acting=acting, at=at):
        await WebhookMessage.filter(id=message.id).update(
            state=DeliveryState.DELIVERED,
            delivered_at=at,
            attempts=message.attempts + 1,
            last_status=status,
            last_error=None,
            updated_at=at,
        )
        await WebhookEndpoint.filter(id=message.endpoint_id, failing_since__isnull=False).update(failing_since=None)


async def not_delivered(
    message: WebhookMessage, *, status: int | None, error: str, gone: bool, acting: str, at: datetime
) -> bool:
    """An attempt failed -> whether to try again: not where the endpoint is gone, or failed for five days on end.

    Then it is switched off, says why, and the message has failed.
    """
    async with unit(acting=acting, at=at) as work:
        endpoint = await owned(message.endpoint_id, None)
        endpoint.failing_since = endpoint.failing_since or at
        too_long = failed_too_long(endpoint.failing_since, at)
        if endpoint.enabled and (gone or too_long):
            endpoint.enabled = False
            endpoint.disabled_because = (
                "It answered 410 Gone." if gone else f"It failed since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC."
            )
            switched = {"before": {"enabled": True}, "after": {"enabled": False}}
            work.audit("disable_webhook_endpoint", endpoint, **switched, because=[endpoint.disabled_because])
        await endpoint.save(update_fields=["enabled", "disabled_because", "failing_since", "updated_at"])
        await WebhookMessage.filter(id=message.id).update(
            state=DeliveryState.PENDING if endpoint.enabled else DeliveryState.FAILED,
            attempts=message.attempts + 1,
            last_status=status,
            last_error=error[:LONGEST_ERROR],
            updated_at=at,
        )
    return endpoint.enabled


async def gave_up(message_id: UUID, error: str) -> None:
    """A message that waits is not sent any more; it may be asked for again."""
    await WebhookMessage.filter(id=message_id, state=DeliveryState.PENDING).update(
        state=DeliveryState.FAILED, last_error=error[:LONGEST_ERROR]
    )


async def redeliver_webhook(message_id: UUID, *, owner: UUID | None, acting: str, at: datetime) -> WebhookMessage:
    """Send a message once more under its own id; one that waits is on its way already.

    Raises Refusal NOT_FOUND, ILLEGAL_MOVE (its endpoint is switched off).
    """
    async with unit(acting=acting, at=at) as work:
        row = await WebhookMessage.one(id=message_id, lock=True)
        try:
            endpoint = await owned(row.endpoint_id, owner) if row else None
        except Refusal:
            endpoint = None
        if row is None or endpoint is None:
            raise Refusal(Code.NOT_FOUND, field=("webhookMessageId",))
        _must_be_on(endpoint, "webhookMessageId")
        if row.state is not DeliveryState.PENDING:
            before, row.state, row.delivered_at = row.state, DeliveryState.PENDING, None
            await row.save(update_fields=["state", "delivered_at", "updated_at"])
            work.audit("redeliver_webhook", row, before={"state": before}, after={"state": row.state})
            _ask(work, row)
    return row


async def redeliver_webhooks(
    endpoint_id: UUID, *, since: datetime, owner: UUID | None, acting: str, at: datetime
) -> WebhookEndpoint:
    """Send the failed messages written since then once more, the oldest 1000 of them.

    Raises Refusal NOT_FOUND, ILLEGAL_MOVE (the endpoint is switched off).
    """
    async with unit(acting=acting, at=at) as work:
        endpoint = await owned(endpoint_id, owner)
        _must_be_on(endpoint, "webhookEndpointId")
        failed = WebhookMessage.filter(endpoint_id=endpoint_id, state=DeliveryState.FAILED, created_at__gte=since)
        rows = await failed.order_by("id").limit(AT_ONCE).select_for_update()
        await WebhookMessage.filter(id__in=[row.id for row in rows]).update(state=DeliveryState.PENDING, updated_at=at)
        for row in rows:
            _ask(work, row)
        work.audit("redeliver_webhooks", endpoint, after={"since": since, "messages": len(rows)})
    return endpoint


async def send_test_webhook(endpoint_id: UUID, *, owner: UUID | None, acting: str, at: datetime) -> WebhookMessage:
    """Send an endpoint a message about nothing. Raises Refusal NOT_FOUND, ILLEGAL_MOVE (it is switched off)."""
    async with unit(acting=acting, at=at) as work:
        endpoint = await owned(endpoint_id, owner)
        _must_be_on(endpoint, "webhookEndpointId")
        row = await WebhookMessage.create(
            endpoint_id=endpoint_id,
            event_id=f"test:{new_id()}",
            topic=TEST,
            name="Test",
            subject=f"test:{endpoint_id}",
            body={"type": "test", "timestamp": at.isoformat(), "data": {}},
        )
        work.audit("send_test_webhook", endpoint, after={"message": row.id})
        _ask(work, row)
    return row


async def forget(*, at: datetime) -> None:
    """Remove messages that are settled and a month old."""
    await WebhookMessage.filter(created_at__lt=at - KEPT).exclude(state=DeliveryState.PENDING).delete()


def _must_be_on(endpoint: WebhookEndpoint, field: str) -> None:
    if not endpoint.enabled:
        raise Refusal(Code.ILLEGAL_MOVE, "The endpoint is switched off: enable it first.", field=(field,))
