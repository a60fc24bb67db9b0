"""What an operation costs its caller: paid before it runs, told in headers and, where it was asked for, in the answer.

The headers are those of the draft "RateLimit header fields for HTTP": `RateLimit-Policy` says what every caller has,
`RateLimit` what this one has left, and in how many seconds all of it will be back.
"""

import math
from functools import lru_cache

import orjson

from models.ports import Left
from resolvers.context import Context
from resolvers.protocol.faults import Rejected

UNREAD = 10  # what it costs to have a document read that was not read lately
FREE_VALUES = 100  # of variables; each beyond costs a point
Headers = tuple[tuple[bytes, bytes], ...]


async def pay(context: Context, points: int) -> None:
    """Take points from the caller. Raises Rejected 429 THROTTLED, which says when to ask again."""
    purse = context.deployment.purse
    if purse is None or points <= 0:
        return
    context.left = await purse.spend(context.viewer.key_id.hex, points)
    if context.left.wait:
        raise _throttled(context.left, points)


def affordable(context: Context) -> None:
    """Raise Rejected MAX_COST_EXCEEDED for what no caller could ever pay."""
    purse, most = context.deployment.purse, context.deployment.limits.cost
    most = min(most, purse.burst) if purse else most
    if context.cost > most:
        words = f"This operation costs {context.cost} points, one may cost {most}: ask for smaller pages, or in parts."
        told = {"code": "MAX_COST_EXCEEDED", "requested": context.cost, "limit": most}
        errors = [{"message": words, "extensions": told}]
        raise Rejected(400, "MAX_COST_EXCEEDED", words, spoken=True, errors=errors)


def headers(context: Context) -> Headers:
    """What is said of a caller's points beside an answer."""
    purse, left = context.deployment.purse, context.left
    if purse is None or left is None:
        return ()
    seconds = -(-(purse.burst - left.points) // purse.per_second)
    return (
        (b"ratelimit-policy", _policy(purse.burst, purse.per_second)),
        (b"ratelimit", b'"points";r=%d;t=%d' % (left.points, seconds)),
    )


@lru_cache(maxsize=8)
def _policy(burst: int, per_second: int) -> bytes:
    return b'"points";q=%d;w=%d' % (burst, -(-burst // per_second))


def _throttled(left: Left, points: int) -> Rejected:
    seconds = math.ceil(left.wait)
    words = f"This needs {points} points and {left.points} are left: ask again in {seconds} seconds."
    told = {"code": "THROTTLED", "retryAfter": seconds, "requested": points, "remaining": left.points}
    wait = ((b"retry-after", str(seconds).encode()),)
    return Rejected(429, "THROTTLED", words, headers=wait, errors=[{"message": words, "extensions": told}])


def with_cost(body: bytes, context: Context, *, wanted: bool) -> bytes:
    """A finished answer -> the same with `extensions.cost` where that is wanted."""
    if not wanted:
        return body
    told = orjson.loads(body)
    purse, left = context.deployment.purse, context.left
    cost = {"requested": context.cost}
    if purse is not None and left is not None:
        cost |= {"remaining": left.points, "limit": purse.burst, "restoreRate": purse.per_second}
    told["extensions"] = {**told.get("extensions", {}), "cost": cost}
    return orjson.dumps(told)
