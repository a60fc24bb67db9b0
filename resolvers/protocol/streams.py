"""Subscriptions that run. What is behind a stream's cursor is answered for it alone; then it stands in a line.

A line is all who ask the same by the same key: what happens is answered once, and its bytes are handed to each. A
stream has a task only while it catches up or is told something, a line while it answers.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable
from typing import Any, NamedTuple
from uuid import UUID

from graphql import (
    ExecutionResult,
    Executor,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    create_source_event_stream,
    execute_subscription_event,
    located_error,
)

from models.ports import WAITING_EVENTS, Heard, LiveEvent, SlowConsumer, place
from resolvers.context import Context
from resolvers.live import Placed, Watch
from resolvers.protocol.answers import Answer, answered, refused
from resolvers.protocol.asked import Asked
from resolvers.protocol.documents import Prepared
from resolvers.protocol.eager import eager

Made = Answer | ExecutionResult
Tell = Callable[[Answer], Awaitable[None]]


class Streams:
    """The subscriptions of one process."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self.lines: dict[Hashable, Line] = {}
        self.callers: Counter[UUID] = Counter()

    def begin(self, prepared: Prepared, asked: Asked, context: Context, tell: Tell) -> "Stream":
        """Begin a subscription: `tell`, which never raises, is given answers one by one; a refused one is the last."""
        stream = Stream(self, Line(self, prepared, asked, context), context, tell)
        stream.task = asyncio.create_task(stream.begin())
        return stream


class Told(NamedTuple):
    """What a line tells of an event: where it stands, since when its objects were read, and until when."""

    event: LiveEvent
    place: tuple[int, int]
    began: float
    made: Made
    read_at: float


@dataclass(eq=False, slots=True)
class Stream:
    """One subscription: how far it came, and what waits while it is told something else."""

    streams: Streams
    line: "Line"
    context: Context
    tell: Tell
    had: tuple[int, int] = (0, 0)
    read_at: float = 0.0
    waiting: list[Told | LiveEvent] = field(default_factory=list)
    wrong: Exception | None = None
    counted: UUID | None = None
    task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Tell the present and what was missed, then stand in the line."""
        caller, most = self.context.viewer.key_id, self.context.deployment.limits.streams
        if self.streams.callers[caller] >= most:
            words = f"A caller has {most} subscriptions at once: end one of them first."
            await self._end([GraphQLError(words, extensions={"code": "THROTTLED"})])
            return
        self.streams.callers[caller] += 1
        self.counted = caller
        try:
            watch = await self.line.watched()
            if isinstance(watch, list):
                await self._end(watch)
                return
            if (present := await watch.present()) is not None:
                made = await self.line.made(present)
                self.read_at = time.monotonic()
                await self._told(made)
            async with aclosing(aiter(watch)) as missed:
                async for event in missed:
                    await self._answer(event)
                self.had = place(watch.cursor)
                self.line = self.line.joined(self, watch)
        except Exception as fault:  # the source of events failed, or ended its subscriber on purpose
            self.wrong = fault
        await self._work()

    def hand(self, told: Told) -> None:
        """Tell it of an event, unless it came by it while it caught up; what comes while it is told another waits."""
        if told.place <= self.had:
            return
        if len(self.waiting) >= WAITING_EVENTS:
            self.fail(SlowConsumer())
            return
        # what waits, or was read before what it had last, is answered for it alone when its turn comes
        fresh = self.task is None and told.began >= self.read_at
        self.waiting.append(told if fresh else told.event)
        if self.task is None:
            # to answer anew it asks the database, whose time limits must be its own task's
            self.task = eager(self._work()) if fresh else asyncio.create_task(self._work())

    def fail(self, why: Exception) -> None:
        """End it, after what is being told."""
        self.wrong = why
        self.leave()
        self.task = self.task or eager(self._work())

    def cancel(self) -> None:
        """End it, and tell it nothing more."""
        self.leave()
        if self.task is not None:
            self.task.cancel()

    def leave(self) -> None:
        """Leave the line; what waits is forgotten."""
        self.waiting.clear()
        self.line.leave(self)
        if self.counted is not None:
            self.streams.callers[self.counted] -= 1
            self.streams.callers += Counter()  # forgets who has none
            self.counted = None

    async def _work(self) -> None:
        try:
            while self.waiting:
                match self.waiting.pop(0):
                    case Told() as told:
                        self.had, self.read_at = told.place, told.read_at
                        await self._told(told.made)
                    case event:
                        self.had = place(event.cursor)
                        if (seen := await self.line.watch.told(event)) is not None:
                            await self._answer(seen)
            if self.wrong is not None:
                raise self.wrong
        except Exception as fault:
            await self._end([self.line.located(fault)])
        finally:
            self.task = None

    async def _answer(self, event: Placed) -> None:
        made, self.read_at = await self.line.answer(event, self.read_at)
        await self._told(made)

    async def _told(self, made: Made) -> None:
        answer = made if isinstance(made, Answer) else answered(made, self.line.prepared, self.context)
        assert answer.refused is None, "what runs was not refused"
        await self.tell(answer)

    async def _end(self, wrongs: list[GraphQLError]) -> None:
        self.leave()
        await self.tell(refused(wrongs, self.line.prepared, self.context))


class Line:
    """What is asked and by whom, and who all ask it."""

    watch: Watch[Any]
    _executor: Executor[Any]

    def __init__(self, streams: Streams, prepared: Prepared, asked: Asked, context: Context) -> None:
        self.prepared = prepared
        self.members: set[Stream] = set()
        self._streams = streams
        self._asked = asked
        self._context = context
        self._alike = prepared.alike(asked)
        self._key: Hashable = None
        self._heard: Heard | None = None
        self._task: asyncio.Task[None] | None = None

    async def watched(self) -> Watch[Any] | list[GraphQLError]:
        """What is to be watched, or what is wrong with what was asked."""
        executor = Executor.build(
            self._streams.schema,
            self.prepared.document,
            raw_variable_values=self._asked.variables,
            operation_name=self._asked.operation_name,
            context_value=self._context,
        )
        if isinstance(executor, list):
            return executor
        self._executor = executor
        source = create_source_event_stream(executor)
        if isawaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            return source.errors or []
        assert isinstance(source, Watch), "subscriptions answer with what they watch"
        return source

    def joined(self, stream: Stream, watch: Watch[Any]) -> "Line":
        """The line of all who watch the same, where `stream` now stands; this one where there was none."""
        key = (self._context.present, watch.topics, watch.only, self._alike)
        line = self._streams.lines.setdefault(key, self)
        if line is self:
            self._key, self.watch = key, watch
            self._heard = self._context.bus.listen(frozenset(watch.topics), self._stir)
        line.members.add(stream)
        return line

    def leave(self, stream: Stream) -> None:
        """One less; with the last nobody listens any more."""
        self.members.discard(stream)
        if self._heard is not None and not self.members:
            self._heard.leave()
            self._heard = None
            del self._streams.lines[self._key]

    def located(self, fault: Exception) -> GraphQLError:
        """A fault of the source of events, as one of the root field's."""
        root = self.prepared.chosen(self._asked.operation_name).selection_set.selections[0]
        key = (root.alias or root.name).value if isinstance(root, FieldNode) else "subscription"
        return located_error(fault, None, [key])

    async def made(self, event: Placed) -> Made:
        """The answer to one event; what has errors is told by each for itself."""
        result = execute_subscription_event(self._executor.build_per_event_executor(event))
        result = await result if isawaitable(result) else result
        return result if result.errors else answered(result, self.prepared, self._context, event.cursor)

    async def answer(self, event: Placed, since: float) -> tuple[Made, float]:
        """The same, made once for all who ask the same with the same rights, and when it was read.

        None was begun before `since`, so nobody sees an object go back in time.
        """
        what = (repr(event), self._alike, self._context.viewer)  # events cannot be keys, and say all they hold
        return await self._context.deployment.shared.of(what, partial(self.made, event), since)

    def _stir(self) -> None:
        self._task = self._task or asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._heard is not None and (event := self._heard.next()) is not None:
                began = time.monotonic()
                if (seen := await self.watch.told(event)) is not None:
                    told = Told(event, place(event.cursor), began, *await self.answer(seen, began))
                    for stream in tuple(self.members):
                        stream.hand(told)
        except Exception as fault:
            for stream in tuple(self.members):
                stream.fail(fault)
        finally:
            self._task = None
