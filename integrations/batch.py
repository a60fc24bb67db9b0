"""Many calls at once become one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Batch(Generic[T]):
    """What is asked for while calls are under way goes together in the next: who is alone never waits for others."""

    def __init__(self, do: Callable[[list[T]], Awaitable[Any]], *, at_once: int = 1) -> None:
        """What does many, and how many calls may be under way; it belongs to the event loop it is used in."""
        self._do = do
        self._waiting: list[T] = []
        self._turn = asyncio.Semaphore(at_once)
        self._next: asyncio.Task[None] | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    def begin(self, item: T) -> asyncio.Task[None]:
        """Have it done with the next call -> that call."""
        self._waiting.append(item)
        if self._next is None:
            self._next = asyncio.create_task(self._call())
            self._under_way.add(self._next)
            self._next.add_done_callback(self._under_way.discard)
        return self._next

    async def __call__(self, item: T) -> None:
        """Return once it is done. Raises what the call it went with raises."""
        await asyncio.shield(self.begin(item))

    async def ended(self) -> None:
        """Return once nothing is under way, however it went."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def _call(self) -> None:
        async with self._turn:
            self._next = None
            items, self._waiting = self._waiting, []
            await self._do(items)
