"""Coroutines that seldom have to wait run without a task of their own, as Python 3.12 can have them run itself."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from types import coroutine
from typing import Any

Work = Coroutine[Any, Any, None]


def eager(work: Work) -> asyncio.Task[None] | None:
    """Run it until it has to wait -> the task that runs the rest, None where none is left. Raises what it raises."""
    try:
        awaited = work.send(None)
    except StopIteration:
        return None
    return asyncio.create_task(_waiting(work, awaited))


async def _waiting(work: Work, awaited: object) -> None:
    await _rest(work, awaited)


@coroutine
def _rest(work: Work, awaited: object) -> Generator[object, None, None]:
    while True:
        step: Callable[[], object] = partial(work.send, None)
        try:
            yield awaited
        except BaseException as thrown:  # what it waited for failed, or the task is cancelled
            step = partial(work.throw, thrown)
        try:
            awaited = step()
        except StopIteration:
            return
