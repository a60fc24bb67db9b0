"""Calls that come while one is under way go together in the next; each hears how its own went."""

import asyncio

import pytest

from integrations.batch import Batch


async def test_who_is_alone_goes_at_once_and_what_comes_meanwhile_goes_together() -> None:
    calls: list[list[int]] = []
    began, goes = asyncio.Event(), asyncio.Event()

    async def do(items: list[int]) -> None:
        calls.append(items)
        began.set()
        await goes.wait()
        if 13 in items:
            raise ValueError("13")

    batch = Batch(do)
    first = asyncio.create_task(batch(1))
    await began.wait()
    others = [asyncio.create_task(batch(number)) for number in (2, 13, 3)]
    leaves = asyncio.create_task(batch(4))
    await asyncio.sleep(0)
    leaves.cancel()
    assert calls == [[1]]
    goes.set()
    await first
    for each in others:
        with pytest.raises(ValueError, match="13"):
            await each
    with pytest.raises(asyncio.CancelledError):
        await leaves
    assert calls == [[1], [2, 13, 3, 4]], "who left is done all the same"
    batch.begin(5)
    await batch.ended()
    assert calls[2:] == [[5]], "what failed holds up nothing"
