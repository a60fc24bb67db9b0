"""A worker that dies or freezes at a point of `payments.collect`: the real one, run by the crash matrix.

CRASH_POINT names the point, CRASH_HOW is exit or stop, CRASH_FLAGS a folder in which each crash leaves its process id,
CRASH_TIMES how many there may be. The exits are put in from here: the code that is tested knows nothing of them.
"""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from integrations.gocardless.client import DirectDebits
from integrations.stripe.client import StripeAccount
from models.actions import jobs, payments
from models.actions.unit import Unit
from models.ports import ProviderError

CLAIMED, WRITTEN, EFFECT = "after claim", "after the attempt is written", "after the provider's effect"
UNCOMMITTED, COMMITTED = "before the commit", "after the commit"
POINTS = (CLAIMED, WRITTEN, EFFECT, UNCOMMITTED, COMMITTED)
DIED = 17
KIND = "payments.collect"


def crash(point: str) -> None:
    """Die or freeze here, where it is the point and the crashes are not used up."""
    if point != os.environ["CRASH_POINT"]:
        return
    for number in range(int(os.environ["CRASH_TIMES"])):
        flag = Path(os.environ["CRASH_FLAGS"]) / str(number)
        try:
            with flag.open("x") as file:
                file.write(str(os.getpid()))
        except FileExistsError:
            continue
        if os.environ["CRASH_HOW"] == "exit":
            os._exit(DIED)
        os.kill(os.getpid(), signal.SIGSTOP)
        return


def after(owner: Any, name: str, point: str, only: Any = lambda _: True) -> None:
    """Crash at a point whenever a coroutine of `owner` has returned something `only` holds of, or lost the answer."""
    inner = getattr(owner, name)

    async def outer(*args: Any, **kwargs: Any) -> Any:
        try:
            found = await inner(*args, **kwargs)
        except ProviderError:
            crash(point)
            raise
        if only(found):
            crash(point)
        return found

    setattr(owner, name, outer)


def put_in() -> None:
    """Put the exits into this process."""
    after(jobs, "claim_all", CLAIMED, lambda held: any(each.kind == KIND for each in held))
    after(payments, "begin_collection", WRITTEN, lambda attempt: attempt is not None)
    after(payments, "settle", COMMITTED, bool)
    for gateway in (StripeAccount, DirectDebits):
        after(gateway, "collect", EFFECT)
    write = Unit.write

    async def written(work: Unit) -> None:
        await write(work)
        # whoever settles: an event the provider tells of may come before the collecting job's own look-up
        if any(entry["verb"] == "settle_payment" for entry in work._audit):
            crash(UNCOMMITTED)

    setattr(Unit, "write", written)  # noqa: B010  # a method assigned by name is no type error


if __name__ == "__main__":
    from workers.__main__ import main

    put_in()
    asyncio.run(main())
