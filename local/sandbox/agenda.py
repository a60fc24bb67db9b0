"""What falls due as virtual time passes: objects of some kinds, each with its next step, done in the order of time."""

import asyncio
import heapq
import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime

from local.sandbox.world import Json, World

Ref = tuple[str, str]


@dataclass(frozen=True)
class Step:
    """What happens next to one object: when, its name in the answer of the clock, and how; `act` names new objects."""

    when: datetime
    name: str
    act: Callable[[], Iterable[Ref]]


class Agenda:
    """World, kinds of objects, and the function that knows an object's next step -> `catch_up` for the clock.

    `at` lets what happens inside it happen as of an instant that has passed.
    """

    def __init__(
        self,
        world: World,
        kinds: tuple[str, ...],
        next_step: Callable[[str, Json], Step | None],
        at: Callable[[datetime], AbstractContextManager[None]],
    ) -> None:
        self.world, self.kinds, self.next_step, self.at = world, kinds, next_step, at
        self._seen, self._earliest = -1, -math.inf

    async def catch_up(self, now: datetime) -> list[str]:
        """Do everything due by `now`, earliest first -> its names."""
        if self._seen == self.world.writes and now.timestamp() < self._earliest:
            return []  # nothing was written since, and nothing is due: do not read everything again
        waiting: list[tuple[float, str, str]] = []
        for kind in self.kinds:
            for obj in self.world.all(kind):
                self._wait(waiting, kind, obj)
        fired: list[str] = []
        while waiting and waiting[0][0] <= now.timestamp():
            if done := self._do(waiting, *heapq.heappop(waiting)):
                fired.append(done)
                await asyncio.sleep(0)  # requests are answered and webhooks sent meanwhile
        # After a round without a step nothing else can have been written, so what was read is all there is.
        self._seen = -1 if fired else self.world.writes
        self._earliest = waiting[0][0] if waiting else math.inf
        return fired

    def _wait(self, waiting: list[tuple[float, str, str]], kind: str, obj: Json) -> None:
        if step := self.next_step(kind, obj):
            heapq.heappush(waiting, (step.when.timestamp(), kind, obj["id"]))

    def _do(self, waiting: list[tuple[float, str, str]], when: float, kind: str, id: str) -> str | None:  # noqa: A002 - as World
        obj = self.world.get(kind, id)
        step = self.next_step(kind, obj) if obj else None
        if step is None or obj is None:
            return None  # something done before has made it needless
        if step.when.timestamp() != when:
            self._wait(waiting, kind, obj)
            return None
        with self.world.unit(), self.at(step.when.astimezone(UTC)):
            touched = {(kind, id), *step.act()}
        for ref in touched:
            if new := self.world.get(*ref):
                self._wait(waiting, ref[0], new)
        if waiting and waiting[0] == (when, kind, id):
            raise RuntimeError(f"{step.name} changed nothing: it would be done for ever")
        return step.name


def only(act: Callable[..., object], *args: object, **named: object) -> Callable[[], Iterable[Ref]]:
    """Function and its arguments -> the act of a step that makes no new object."""

    def run() -> Iterable[Ref]:
        act(*args, **named)
        return ()

    return run
