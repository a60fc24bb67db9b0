"""Many calls at once become one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """What is asked for while one call is under way goes together in the next: who is alone never waits for others."""

    def __init__(self, do: Callable[[list[T]], Awaitable[Any]]) -> None:
        """What does many; it belongs to the event loop it is used in."""
        self._do = do
        self._waiting: list[T] = []
        self._next: asyncio.Task[None] | None = None
        self._under_way: asyncio.Task[None] | None = None

    def begin(self, item: T) -> asyncio.Task[None]:
        """Have it done with the next call -> that call."""
        self._waiting.append(item)
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._under_way))
        return self._next

    async def __call__(self, item: T) -> None:
        """Return once it is done. Raises what the call it went with raises."""
        await asyncio.shield(self.begin(item))

    async def ended(self) -> None:
        """Return once nothing is under way, however it went."""
        while pending := [task for task in (self._under_way, self._next) if task is not None and not task.done()]:
            await asyncio.wait(pending)

    async def _after(self, before: asyncio.Task[None] | None) -> None:
        if before is not None and not before.done():
            await asyncio.wait((before,))
        self._under_way, self._next = self._next, None
        items, self._waiting = self._waiting, []
        await self._do(items)
