"""A request -> its answer: the compiled read where plans cover the whole operation, else graphql-core."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Hashable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any
from uuid import UUID

import orjson
from asyncpg import QueryCanceledError
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
    execute,
    execute_subscription_event,
    located_error,
    visit,
)
from prometheus_client import Histogram
from strawberry.execution import optimized_is_awaitable

from resolvers.context import Context
from resolvers.protocol.asked import Asked
from resolvers.protocol.documents import Documents, Prepared
from resolvers.protocol.faults import TOO_LONG, Rejected, status_of, tell
from resolvers.protocol.paying import FREE_VALUES, UNREAD, affordable, pay
from resolvers.protocol.persisted import Persisted

SECONDS = 10.0
TOOK = Histogram("dueflow_graphql_seconds", "Time to answer one operation.", ("kind",))
_READ = TOOK.labels("read")


@dataclass(frozen=True, slots=True)
class Answer:
    """A finished answer: its JSON, its status where statuses are spoken, and its errors where it was not executed.

    `undone` is True where the root field itself failed, so that a mutation wrote nothing; `whole` where nothing failed.
    """

    body: bytes
    status: int = 200
    refused: list[dict[str, Any]] | None = None
    whole: bool = True
    undone: bool = False


class Engine:
    """Executes the operations of one schema."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        *,
        seconds: float = SECONDS,
        persisted: Persisted | None = None,
    ) -> None:
        self.schema = schema
        self.documents = documents
        self.persisted = persisted or Persisted()
        self._seconds = seconds
        self._streams: Counter[UUID] = Counter()

    async def admit(self, asked: Asked, context: Context) -> Prepared:
        """Check a document and take what its operation costs. Raises Rejected."""
        known = self.documents.known(asked.query)
        if known is None:
            await pay(context, UNREAD)
        prepared = known or self.documents.prepare(asked.query)
        context.cost = prepared.price(asked.operation_name, asked.variables) + max(0, asked.values - FREE_VALUES)
        affordable(context)
        await pay(context, context.cost if known else context.cost - UNREAD)
        if asked.keep:
            await self.persisted.keep(asked.query)
        return prepared

    async def read(self, asked: Asked, context: Context) -> bytes | None:
        """The whole answer of a query that plans cover; None where `prepare` and `run` have to. Raises Rejected 503."""
        began = time.perf_counter()
        try:
            return await context.reader.answer(
                asked.query, asked.variables, asked.operation_name, context.viewer, seconds=self._seconds
            )
        except (TimeoutError, QueryCanceledError):
            raise Rejected(503, "TIMEOUT", TOO_LONG) from None
        finally:
            _READ.observe(time.perf_counter() - began)

    async def run(self, prepared: Prepared, asked: Asked, context: Context) -> Answer:
        """Execute a query or mutation. Raises Rejected 503 where it took too long, its writes undone."""
        async with self._in_time(prepared.chosen(asked.operation_name).operation.value):
            result = execute(
                self.schema,
                prepared.document,
                variable_values=asked.variables,
                operation_name=asked.operation_name,
                context_value=context,
                is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]  # a plain bool, faster than a guard
            )
            return self._told(await result if isawaitable(result) else result, prepared, context)

    async def stream(self, prepared: Prepared, asked: Asked, context: Context) -> AsyncGenerator[Answer, None]:
        """Execute a subscription: one answer per event. Ends after an answer that was refused."""
        caller, most = context.viewer.key_id, context.deployment.limits.streams
        if self._streams[caller] >= most:
            words = f"A caller has {most} subscriptions at once: end one of them first."
            no = GraphQLError(words, extensions={"code": "THROTTLED"})
            yield self._refused([no], prepared, context)
            return
        self._streams[caller] += 1
        try:
            async with aclosing(self._events(prepared, asked, context)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self._streams[caller] -= 1
            self._streams += Counter()  # forgets who has none

    async def _events(self, prepared: Prepared, asked: Asked, context: Context) -> AsyncGenerator[Answer, None]:
        executor = Executor.build(
            self.schema,
            prepared.document,
            raw_variable_values=asked.variables,
            operation_name=asked.operation_name,
            context_value=context,
        )
        events: Any = executor if isinstance(executor, list) else create_source_event_stream(executor)
        if isawaitable(events):
            events = await events
        if isinstance(executor, list) or isinstance(events, ExecutionResult):
            yield self._refused(executor if isinstance(executor, list) else events.errors, prepared, context)
            return
        alike = _alike(prepared, asked)
        async with aclosing(events):
            try:
                async for event in events:
                    yield await self._shared(executor, event, alike, prepared, context)
            except Exception as fault:  # the source of events failed, or ended its subscriber on purpose
                root = prepared.chosen(asked.operation_name).selection_set.selections[0]
                key = (root.alias or root.name).value if isinstance(root, FieldNode) else "subscription"
                yield self._refused([located_error(fault, None, [key])], prepared, context)

    async def _shared(
        self, executor: Executor[Any], event: Any, alike: Hashable, prepared: Prepared, context: Context
    ) -> Answer:
        """The answer to one event, made once for all who ask the same with the same rights; a wrong one by oneself.

        What comes after an answer was never read before it, so nobody sees an object go back in time.
        """

        async def make() -> ExecutionResult | bytes:
            result = execute_subscription_event(executor.build_per_event_executor(event))
            result = await result if isawaitable(result) else result
            return result if result.errors else orjson.dumps({"data": result.data})

        what = (repr(event), alike, context.viewer)  # events cannot be keys, and say all they hold
        told, context.read_at = await context.deployment.shared.of(what, make, context.read_at)
        return Answer(told) if isinstance(told, bytes) else self._told(told, prepared, context)

    @asynccontextmanager
    async def _in_time(self, kind: str) -> AsyncIterator[None]:
        began = time.perf_counter()
        try:
            async with asyncio.timeout(self._seconds):
                yield
        except (TimeoutError, QueryCanceledError):
            raise Rejected(503, "TIMEOUT", TOO_LONG) from None
        finally:
            TOOK.labels(kind).observe(time.perf_counter() - began)

    def _told(self, result: ExecutionResult, prepared: Prepared, context: Context) -> Answer:
        if not result.errors:
            return Answer(orjson.dumps({"data": result.data}))
        if result.data is None and all(error.path is None for error in result.errors):
            return self._refused(result.errors, prepared, context)
        errors = [tell(error, context.request_id, document=prepared.digest) for error in result.errors]
        undone = any(len(error.path or ()) < 2 for error in result.errors)
        return Answer(orjson.dumps({"errors": errors, "data": result.data}), whole=False, undone=undone)

    def _refused(self, wrongs: list[GraphQLError], prepared: Prepared, context: Context) -> Answer:
        errors = [tell(error, context.request_id, document=prepared.digest) for error in wrongs]
        return Answer(orjson.dumps({"errors": errors}), status_of(errors), errors, whole=False, undone=True)


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
