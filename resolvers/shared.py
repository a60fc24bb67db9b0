"""What many watchers with the same rights are told of one event is looked up and encoded once."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

SECONDS = 1.0
MOST = 10_000


class Shared:
    """Answers made for whoever asks the same within a second; who asks later has it made anew, from the present."""

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, tuple[float, asyncio.Task[Any]]] = OrderedDict()

    async def of(self, what: Hashable, make: Callable[[], Awaitable[Any]], since: float = 0.0) -> tuple[Any, float]:
        """What is asked for, and when it was done; never one whose making began before `since`. Raises what it raises.

        It is made in a task of its own: who asked first may leave.
        """
        now = time.monotonic()
        while self._made and (len(self._made) >= MOST or next(iter(self._made.values()))[0] < now - SECONDS):
            self._made.popitem(last=False)
        began, task = self._made.get(what) or (-1.0, None)
        if task is None or began < since:
            task = asyncio.create_task(self._timed(what, make))
            self._made[what] = now, task
            self._made.move_to_end(what)
        made: tuple[Any, float] = task.result() if task.done() else await asyncio.shield(task)
        return made

    async def _timed(self, what: Hashable, make: Callable[[], Awaitable[Any]]) -> tuple[Any, float]:
        try:
            return await make(), time.monotonic()
        except BaseException:
            self._made.pop(what, None)  # who asks next has it tried again
            raise
