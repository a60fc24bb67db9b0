"""Calls from outside that are answered at once: done once, and a repeat gets the first answer again."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from models.actions.inbound import storable
from models.actions.transaction import repeated
from models.actions.unit import plain, unit
from models.ports import ReceivedEvent
from models.rules.refusals import Code, Refusal
from models.rules.states import InboxState, Provider
from models.tables.inbox import InboxEvent

Serve = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]


@repeated
async def answered_once(
    provider: Provider, call: ReceivedEvent, serve: Serve, *, acting: str, at: datetime
) -> dict[str, Any]:
    """Serve a call and keep it with its answer, all in one transaction -> the answer, the first one for a repeat.

    `call.event_type` names the call. What is refused leaves nothing behind, so it may be sent again under its id.
    Raises what `serve` raises, and Refusal IDEMPOTENCY_KEY_MISMATCH (the id came with another call).
    """
    call = storable(call)
    async with unit(acting=acting, at=at):
        row = InboxEvent(
            provider=provider, event_id=call.event_id, event_type=call.event_type, body={"call": call.body}
        )
        # a repeat that comes meanwhile waits here until this one is done
        await InboxEvent.bulk_create([row], ignore_conflicts=True)
        first = await InboxEvent.known(provider=provider, event_id=call.event_id)
        if first.id != row.id:
            if first.event_type != call.event_type or first.body.get("call") != call.body:
                raise Refusal(Code.IDEMPOTENCY_KEY_MISMATCH, field=("event_id",))
            known: dict[str, Any] = first.body["answer"]
            return known
        answer: dict[str, Any] = plain(await serve(call.body))
        first.body = {"call": call.body, "answer": answer}
        first.state, first.applied_at = InboxState.APPLIED, at
        await first.save(update_fields=["body", "state", "applied_at"])
    return answer
