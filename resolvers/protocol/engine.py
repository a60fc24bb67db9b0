"""A request -> its answer: the compiled read where plans cover the whole operation, else graphql-core."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from inspect import isawaitable

from asyncpg import QueryCanceledError
from graphql import GraphQLSchema, execute
from prometheus_client import Histogram
from strawberry.execution import optimized_is_awaitable

from resolvers.context import Context
from resolvers.protocol.answers import Answer, answered
from resolvers.protocol.asked import Asked
from resolvers.protocol.documents import Documents, Prepared
from resolvers.protocol.faults import TOO_LONG, Rejected
from resolvers.protocol.paying import FREE_VALUES, UNREAD, affordable, pay
from resolvers.protocol.persisted import Persisted
from resolvers.protocol.streams import Streams

SECONDS = 10.0
TOOK = Histogram("dueflow_graphql_seconds", "Time to answer one operation.", ("kind",))
_READ = TOOK.labels("read")


class Engine:
    """Executes the operations of one schema; subscriptions run in its `streams`."""

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
        self.streams = Streams(schema)

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
            return answered(await result if isawaitable(result) else result, prepared, context)

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
