"""Subscriptions that run. What is behind a stream's cursor is answered for it alone; then it stands in a line.

A line is all who ask the same by the same key: what happens is answered once, and its bytes are handed to each. A
stream has a task only while it catches up or is told something, a line while it answers.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterable, Awaitable, Callable, Hashable
from contextlib import aclosing
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, NamedTuple
from uuid import UUID

import orjson
from graphql import (
    ExecutionResult,
    Executor,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    Node,
    VariableNode,
    Visitor,
    create_source_event_stream,
    execute_subscription_event,
    located_error,
    visit,
)

from models.ports import WAITING_EVENTS, Heard, LiveEvent, SlowConsumer, place
from resolvers.context import Context
from resolvers.live import Watch
from resolvers.protocol.answers import Answer, answered, refused
from resolvers.protocol.asked import Asked
from resolvers.protocol.documents import Prepared

Tell = Callable[[Answer | None], Awaitable[None]]


class Streams:
    """The subscriptions of one process."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self.schema = schema
        self.lines: dict[Hashable, Line] = {}
        self.callers: Counter[UUID] = Counter()

    def begin(self, prepared: Prepared, asked: Asked, context: Context, tell: Tell) -> "Stream":
        """Begin a subscription: `tell` is given one answer after another, none before the last is through.

        The last is one that was refused, or None where the events have come to their end. `tell` never raises.
        """
        stream = Stream(self, Line(self, prepared, asked, context), context, tell)
        stream.task = asyncio.create_task(stream.begin())
        return stream


class Told(NamedTuple):
    """What a line tells of an event: where it stands, since when its objects were read, and until when."""

    event: LiveEvent
    place: tuple[int, int]
    result: Answer | ExecutionResult
    began: float
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
            source = await self.line.source()
            if isinstance(source, list):
                await self._end(source)
                return
            async with aclosing(aiter(source)) as events:  # type: ignore[type-var]  # all sources are generators
                async for event in events:
                    await self._answer(event)
                if isinstance(source, Watch):
                    self.had = place(source.cursor)
                    self.line = self.line.opened(source)
                    self.line.members.add(self)
                else:
                    self.leave()
                    await self.tell(None)
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
        self.task = self.task or asyncio.create_task(self._work())

    def fail(self, why: Exception) -> None:
        """End it, after what is being told."""
        self.wrong = why
        self.leave()
        self.task = self.task or asyncio.create_task(self._work())

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
                        await self._told(told.result, told.event.cursor)
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

    async def _answer(self, event: Any) -> None:
        result, self.read_at = await self.line.answer(event, self.read_at)
        await self._told(result, getattr(event, "cursor", None))

    async def _told(self, result: Answer | ExecutionResult, cursor: str | None) -> None:
        if isinstance(result, ExecutionResult):
            result = answered(result, self.line.prepared, self.context, cursor)
        if result.refused:
            self.leave()
        await self.tell(result)

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
        self._alike = _alike(prepared, asked)
        self._key: Hashable = None
        self._heard: Heard | None = None
        self._task: asyncio.Task[None] | None = None

    async def source(self) -> AsyncIterable[Any] | list[GraphQLError]:
        """Where its events come from, or what is wrong with what was asked."""
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
        return (source.errors or []) if isinstance(source, ExecutionResult) else source

    def opened(self, watch: Watch[Any]) -> "Line":
        """The line of all who watch the same, which is this one where there is none yet."""
        key = (self._context.present, watch.topics, watch.only, self._alike)
        line = self._streams.lines.setdefault(key, self)
        if line is self:
            self._key, self.watch = key, watch
            self._heard = self._context.bus.listen(frozenset(watch.topics), self._stir)
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

    async def answer(self, event: Any, since: float) -> tuple[Answer | ExecutionResult, float]:
        """The answer to one event and when it was read, made once for all who ask the same with the same rights.

        A wrong one is told by each for itself. None was begun before `since`, so nobody sees an object go back in time.
        """

        async def make() -> Answer | ExecutionResult:
            result = execute_subscription_event(self._executor.build_per_event_executor(event))
            result = await result if isawaitable(result) else result
            return (
                result
                if result.errors
                else answered(result, self.prepared, self._context, getattr(event, "cursor", None))
            )

        what = (repr(event), self._alike, self._context.viewer)  # events cannot be keys, and say all they hold
        return await self._context.deployment.shared.of(what, make, since)

    def _stir(self) -> None:
        self._task = self._task or asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._heard is not None and (event := self._heard.next()) is not None:
                began = time.monotonic()
                if (seen := await self.watch.told(event)) is not None:
                    made = Told(event, place(event.cursor), *await self._made(seen, began))
                    for stream in tuple(self.members):
                        stream.hand(made)
        except Exception as fault:
            for stream in tuple(self.members):
                stream.fail(fault)
        finally:
            self._task = None

    async def _made(self, event: Any, began: float) -> tuple[Answer | ExecutionResult, float, float]:
        result, read_at = await self.answer(event, began)
        return result, began, read_at


class _Variables(Visitor):
    """Collects the names of the variables it comes by."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_variable(self, node: VariableNode, *_: Any) -> None:
        """One more."""
        self.names.add(node.name.value)


def _alike(prepared: Prepared, asked: Asked) -> Hashable:
    """What two subscriptions have in common that answer an event alike, whatever they watch and wherever they began."""
    used = _Variables()
    roots = prepared.chosen(asked.operation_name).selection_set.selections
    parts: list[Node | None] = []
    parts += [each for each in prepared.document.definitions if isinstance(each, FragmentDefinitionNode)]
    for root in roots:
        parts += [root.selection_set, *(root.directives or ())] if isinstance(root, FieldNode) else [root]
    for part in parts:
        if part is not None:
            visit(part, used)
    values = {name: value for name, value in (asked.variables or {}).items() if name in used.names}
    return asked.query, asked.operation_name, orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
