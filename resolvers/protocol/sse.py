"""Server-sent events, one connection per operation: `next` frames with the event's cursor as id, then `complete`."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterable
from typing import Any

from starlette.types import Receive, Send

from resolvers.context import Context
from resolvers.protocol.engine import Answer
from resolvers.protocol.negotiation import SAFE

TICK_SECONDS = 5.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
    *SAFE,
]
_COMPLETE = b"event: complete\ndata:\n\n"


async def send_events(
    send: Send,
    answers: AsyncGenerator[Answer, None],
    context: Context,
    ended: Coroutine[Any, Any, None] | None = None,
    receive: Receive | None = None,
    beside: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Send each answer as it comes. Ends with the answers, with the client, or once `ended` returns."""
    headers = [*_HEADERS, (b"x-request-id", context.request_id.encode()), *beside]
    over = [asyncio.create_task(_gone(receive))]
    if ended is not None:
        over.append(asyncio.create_task(ended))
    try:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _pump(send, answers, context, over)
    finally:
        for task in over:
            task.cancel()
        await asyncio.gather(*over, return_exceptions=True)
        await answers.aclose()
    await send({"type": "http.response.body", "body": _COMPLETE})


async def _pump(
    send: Send, answers: AsyncGenerator[Answer, None], context: Context, over: list[asyncio.Task[None]]
) -> None:
    coming = asyncio.create_task(_next(answers))
    try:
        while True:
            await asyncio.wait((coming, *over), timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if any(task.done() for task in over):
                return
            if coming.done():
                if (answer := coming.result()) is None:
                    return
                cursor = f"id: {context.cursor}\n".encode() if context.cursor else b""
                frame = b"event: next\n" + cursor + b"data: " + answer.body + b"\n\n"
                coming = asyncio.create_task(_next(answers))
            else:
                frame = b":\n\n"  # a comment, so that nobody between us closes a silent connection
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


async def _next(answers: AsyncGenerator[Answer, None]) -> Answer | None:
    return await anext(answers, None)


async def _gone(receive: Receive | None) -> None:
    if receive is None:
        await asyncio.Event().wait()
        return
    while (await receive())["type"] != "http.disconnect":
        continue
