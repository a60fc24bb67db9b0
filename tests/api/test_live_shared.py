"""What watchers with the same rights are told of one event is made once, and never from before what they had last."""

import asyncio
import time

import pytest

from resolvers import shared
from resolvers.shared import Shared


class Made:
    """Counts what is made, and lets it end."""

    def __init__(self) -> None:
        self.count = 0
        self.begun, self.ends = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        if number == 2:
            self.begun.set()
        await self.ends.wait()
        if number == 1 and self.fails:
            raise ValueError("the first")
        return number

    fails = False


async def test_many_who_ask_at_once_share_and_the_first_may_leave() -> None:
    answers, make = Shared(), Made()
    asking = [asyncio.create_task(answers.of("event", make)) for _ in range(100)]
    other = asyncio.create_task(answers.of("another", make))
    await make.begun.wait()
    asking[0].cancel()
    make.ends.set()
    told = await asyncio.gather(*asking[1:])
    assert {answer for answer, _ in told} == {1}
    assert (await other)[0] == 2
    assert (await answers.of("event", make))[0] == 1


async def test_what_was_begun_before_the_last_answer_is_made_anew() -> None:
    answers, make = Shared(), Made()
    make.ends.set()
    _, at = await answers.of("event", make)
    assert (await answers.of("event", make, time.monotonic()))[0] == 2
    assert (await answers.of("event", make, at))[0] == 2, "and serves the others from then on"


async def test_nothing_is_kept_longer_than_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, make = Shared(), Made()
    make.ends.set()
    await answers.of("event", make)
    monkeypatch.setattr(shared, "SECONDS", -1.0)  # it is over
    assert (await answers.of("event", make))[0] == 2


async def test_a_failure_is_told_to_all_who_asked_and_to_nobody_after() -> None:
    answers, make = Shared(), Made()
    make.fails = True
    make.ends.set()
    asking = [asyncio.create_task(answers.of("event", make)) for _ in range(2)]
    for each in asking:
        with pytest.raises(ValueError, match="the first"):
            await each
    assert (await answers.of("event", make))[0] == 2
