"""What partners are told and given: webhooks delivered, exports written, what is over removed."""

import time
from uuid import UUID

import orjson

from models.actions import exports, jobs, webhook_messages
from models.ports import Answered, RateLimited, Refused, Unavailable
from models.rules.partners import ExportFormat
from models.tables.partner import WebhookEndpoint, WebhookMessage
from workers.work import Unfinished, Work

GONE = 410
TURN_SECONDS = 15.0


async def deliver(work: Work) -> None:
    """Send one message, if its endpoint is on and its key may still see what it is about.

    A failure is waited for as an outage is: the messages of this object wait behind it, all others go on.
    """
    message_id = UUID(work.job.payload["message_id"])
    found = await webhook_messages.waiting(message_id)
    if found is None:
        return
    message, endpoint = found
    if not endpoint.enabled:
        await webhook_messages.gave_up(message_id, "The endpoint is switched off.")
        return
    if why := await webhook_messages.may_be_told(message, endpoint, reads=work.outside.reads, at=work.now):
        await webhook_messages.gave_up(message_id, why)
        return
    answered = await _sent(work, message, endpoint)
    if answered.status is not None and 200 <= answered.status < 300:
        await webhook_messages.delivered(message, answered.status, acting=work.acting, at=work.now)
        return
    error = answered.error or f"It answered {answered.status}."
    if await webhook_messages.not_delivered(
        message,
        status=answered.status,
        error=error,
        gone=answered.status == GONE,
        acting=work.acting,
        at=work.now,
    ):
        raise Unavailable(error, code="NOT_DELIVERED", retry_after=answered.retry_after)


async def _sent(work: Work, message: WebhookMessage, endpoint: WebhookEndpoint) -> Answered:
    hooks = await work.providers.hooks()
    failing = endpoint.failing_since is not None
    body = orjson.dumps(message.body)
    try:
        return await hooks.send(endpoint.url, endpoint.secrets, str(message.id), body, at=work.now, failing=failing)
    except RateLimited:
        raise
    except Refused as refused:  # a name may lead elsewhere for a while, as it may lead nowhere
        return Answered(None, str(refused))


async def write_export(work: Work) -> None:
    """Write the pages of a file, each by its caller's rights of that moment; goes on behind what is written."""
    file = await exports.of_job(work.job.id)
    reads = await work.outside.reads()
    columns = reads.columns(file.kind)
    caller = await exports.reader_of(file, at=work.now)
    total, began = await reads.total(file.kind, file.asked_for["filter"], caller), time.monotonic()
    while file.finished_at is None:
        page = await reads.page(file.kind, file.asked_for["filter"], caller, file.done_until)
        if page.lines or (file.format is ExportFormat.CSV and file.done_until is None):
            await exports.keep(file, page, columns, total=total, acting=work.acting, at=work.now)
        if not page.more:
            await exports.finish(file, acting=work.acting, at=work.now)
        elif time.monotonic() - began > TURN_SECONDS:
            raise Unfinished
        else:
            caller = await exports.reader_of(file, at=work.now)
    await jobs.answer(work.job.lease, file.asked_for["base"] + reads.link(file.id, file.expires_at))


async def tidy(work: Work) -> None:
    """Remove expired files, and messages that are settled and old."""
    while await exports.remove_expired(acting=work.acting, at=work.now):
        continue
    await webhook_messages.forget(at=work.now)
