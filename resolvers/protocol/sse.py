"""Server-sent events, one connection per operation: `next` frames with the event's cursor as id, then `complete`."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from starlette.types import Receive, Send

from resolvers.context import Context
from resolvers.protocol.answers import Answer
from resolvers.protocol.negotiation import SAFE

TICK_SECONDS = 5.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
    *SAFE,
]
_COMPLETE = b"event: complete\ndata:\n\n"


class Events:
    """One response of server-sent events."""

    def __init__(self, send: Send, context: Context, beside: Iterable[tuple[bytes, bytes]]) -> None:
        self._send = send
        self._headers = [*_HEADERS, (b"x-request-id", context.request_id.encode()), *beside]
        self._cursor = b""
        self._silent = True
        self.over = asyncio.Event()

    async def begin(self) -> None:
        """Send what comes before the first event."""
        await self._send({"type": "http.response.start", "status": 200, "headers": self._headers})

    async def tell(self, answer: Answer) -> None:
        """Send one answer; after one that was refused there is no other."""
        self._silent = False
        if answer.cursor is not None:
            self._cursor = f"id: {answer.cursor}\n".encode()
        await self._frame(b"event: next\n" + self._cursor + b"data: " + answer.body + b"\n\n")
        if answer.refused:
            self.over.set()

    async def until_over(self) -> None:
        """Wait for the end, with a word now and then."""
        while not self.over.is_set():
            self._silent = True
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_SECONDS):
                    await self.over.wait()
            if self._silent and not self.over.is_set():
                await self._frame(b":\n\n")  # a comment, so that nobody between us closes a silent connection

    async def complete(self) -> None:
        """End the response."""
        await self._send({"type": "http.response.body", "body": _COMPLETE})

    def end(self, *, sure: bool) -> None:
        """Its bearer is let in no more, or that cannot be found out."""
        del sure
        self.over.set()

    async def gone(self, receive: Receive) -> None:
        """Wait until the client has left; then it is over."""
        while (await receive())["type"] != "http.disconnect":
            continue
        self.over.set()

    async def _frame(self, frame: bytes) -> None:
        await self._send({"type": "http.response.body", "body": frame, "more_body": True})


async def send_single(send: Send, body: bytes, context: Context, beside: Iterable[tuple[bytes, bytes]]) -> None:
    """Send an answer that is there already as the only event."""
    events = Events(send, context, beside)
    await events.begin()
    await events.tell(Answer(body))
    await events.complete()
