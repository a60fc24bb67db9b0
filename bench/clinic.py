"""A practice system that takes every invoice at once: what is measured is us, not who answers. `bench.clinic:app`.

It speaks Nookal's wire: a form to a function's name, an envelope back.
"""

import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

Message = dict[str, Any]
_ids = itertools.count(1)


def _answer(function: str) -> dict[str, Any]:
    if function == "addInvoice":
        return {"invoice": {"ID": str(next(_ids))}}
    return {}


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer one call."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    while (await receive()).get("more_body"):
        pass
    function = scope["path"].rpartition("/")[2]
    body = orjson.dumps({"status": "success", "data": {"results": _answer(function)}})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
