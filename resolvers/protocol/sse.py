"""Server-sent events, one connection per operation: `next` frames with the event's cursor as id, then `complete`."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from starlette.types import Receive, Send

from resolvers.context import Context
from resolvers.protocol.engine import Answer

TICK_SECONDS = 5.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
]
_COMPLETE = b"event: complete\ndata:\n\n"


async def send_events(
    send: Send,
    answers: AsyncGenerator[Answer, None],
    context: Context,
    still_in: Callable[[], Awaitable[bool]],
    receive: Receive | None = None,
) -> None:
    """Send each answer as it comes. Ends with the answers, with the client, or once `still_in` says no."""
    headers = [*_HEADERS, (b"x-request-id", context.request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    gone = asyncio.create_task(_gone(receive))
    try:
        await _pump(send, answers, context, still_in, gone)
    finally:
        gone.cancel()
        await answers.aclose()
    await send({"type": "http.response.body", "body": _COMPLETE})


async def _pump(
    send: Send,
    answers: AsyncGenerator[Answer, None],
    context: Context,
    still_in: Callable[[], Awaitable[bool]],
    gone: asyncio.Task[None],
) -> None:
    coming = asyncio.create_task(_next(answers))
    try:
        while not gone.done():
            await asyncio.wait((coming, gone), timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                if (answer := coming.result()) is None:
                    return
                cursor = f"id: {context.cursor}\n".encode() if context.cursor else b""
                frame = b"event: next\n" + cursor + b"data: " + answer.body + b"\n\n"
                coming = asyncio.create_task(_next(answers))
            else:
                frame = b":\n\n"  # a comment, so that nobody between us closes a silent connection
            if not await still_in():
                return
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
