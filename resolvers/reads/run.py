"""Runs compiled reads: whole operations as finished bytes, or trees of dicts for graphql-core to walk."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol
from uuid import UUID

import orjson
import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    get_named_type,
    is_abstract_type,
    parse,
    validate,
)

from models.tables.connections import Connections
from resolvers.permissions import Audience, audience
from resolvers.reads.arguments import Variables, declared
from resolvers.reads.compile import Compiler
from resolvers.reads.ids import BadInput
from resolvers.reads.meaning import Loaded
from resolvers.reads.paging import MOST
from resolvers.reads.plans import Operation, Plan, Plans, Recent, covered
from resolvers.reads.statement import Asked, Statement
from resolvers.viewer import Viewer

KEPT_OPERATIONS = 1_000
Resolving = GraphQLResolveInfo[Any]

_SESSION = {
    "application_name": "dueflow reads",
    "datestyle": "ISO",
    "default_transaction_read_only": "on",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "random_page_cost": "1.1",  # what is read often lies in memory, where no page is far away
    "statement_timeout": "5000",
    "timezone": "UTC",
}


class Asking(Protocol):
    """What a resolver finds in `info.context`."""

    viewer: Viewer
    reader: "Reader"


class Reader:
    """Answers reads from a pool of its own.

    `secret` signs cursors, `admit` gives valid documents within limits, `most` is how many rows a page may have.
    """

    def __init__(
        self,
        schema: strawberry.Schema,
        pool: Connections,
        secret: bytes,
        admit: Callable[[str], DocumentNode | None] | None = None,
        *,
        most: int = MOST,
    ) -> None:
        self.schema = schema._schema
        self.most = most
        self.pool = pool
        self.secret = secret
        self._admit = admit or self._parsed
        self._operation = lru_cache(KEPT_OPERATIONS)(self._covered)
        self._selections: Recent[tuple[Any, ...], tuple[Sequence[FieldNode], Plans[Statement]]] = Recent(1000)

    @classmethod
    async def open(
        cls,
        database_url: str,
        schema: strawberry.Schema,
        secret: str,
        admit: Callable[[str], DocumentNode | None] | None = None,
        *,
        most: int = MOST,
    ) -> "Reader":
        """(postgres://..., the bound schema, DUEFLOW_SECRET_KEY) -> a reader with 2 to 10 connections."""
        pool = Connections(
            database_url,
            10,
            statement_cache_size=200,
            max_cached_statement_lifetime=0,
            max_cacheable_statement_size=0,
            server_settings=_SESSION,
        )
        await pool.open(2)
        return cls(schema, pool, hmac.digest(secret.encode(), b"cursors", "sha256"), admit, most=most)

    async def close(self) -> None:
        """Let the connections go."""
        await self.pool.close()

    async def answer(
        self,
        document: str,
        variables: Mapping[str, Any] | None,
        operation_name: str | None,
        viewer: Viewer,
        *,
        seconds: float | None = None,
    ) -> bytes | None:
        """A query -> the whole response body, or None where graphql-core has to answer (and to tell what is wrong).

        Raises TimeoutError after so many seconds.
        """
        operation = self._operation(document, operation_name, audience(viewer))
        if operation is None or (values := operation.coerced(variables)) is None:
            return None
        try:
            made = operation.plans.made_for(values)
            if isinstance(made, bytes):
                return made
            given = made.values(Asked(values, viewer))
        except BadInput:
            return None
        body: bytes = await self.pool.fetchval(made.sql, *given, seconds=seconds)
        return body

    async def root(self, info: Resolving) -> Any:
        """A declared root field -> its tree of dicts. Raises BadInput."""
        field = info.parent_type.fields[info.field_name]
        text = await self._fetch(info, field.type, lambda compiler: compiler.statement(info.field_nodes))
        return orjson.loads(text)

    async def load(self, type_name: str, key: UUID | None, info: Resolving) -> Any:
        """A thing by its uuid, as much of it as the field of `info` selects -> a tree of dicts, or None."""
        if key is None:
            return None
        return orjson.loads(
            await self._fetch(info, type_name, lambda compiler: compiler.loading(type_name, info.field_nodes), key)
        )

    async def sees(self, type_name: str, key: UUID, viewer: Viewer) -> bool:
        """Whether a thing exists and this viewer may see it."""
        statement = Compiler(self.schema, {}, audience(viewer), self.secret, {}).loading(type_name, ())
        text: str = await self.pool.fetchval(statement.sql, *statement.values(Asked({}, viewer, key)))
        return text != "null"

    def _covered(self, document: str, name: str | None, audience_: Audience) -> Operation | None:
        parsed = self._admit(document)
        return covered(self.schema, parsed, name, audience_, self.secret, self.most) if parsed else None

    def _parsed(self, text: str) -> DocumentNode | None:
        try:
            document = parse(text)
        except GraphQLError:
            return None
        return None if validate(self.schema, document) else document

    async def _fetch(
        self, info: Resolving, what: Any, make: Callable[[Compiler], Statement], subject: UUID | None = None
    ) -> str:
        viewer: Viewer = info.context.viewer
        variables: Variables = info.variable_values.coerced
        nodes, audience_ = info.field_nodes, audience(viewer)
        fragments: Mapping[str, FragmentDefinitionNode] = info.fragments

        def compile_(values: Variables) -> Plan[Statement]:
            compiler = Compiler(
                self.schema, fragments, audience_, self.secret, values, typed=is_abstract(what), most=self.most
            )
            statement = make(compiler)
            return Plan(tuple(compiler.guards.items()), statement)

        key = (*map(id, nodes), str(what), audience_)
        if key not in self._selections:
            self._selections[key] = (nodes, Plans(compile_))  # holding the nodes keeps their ids from being reused
        statement = self._selections[key][1].made_for(variables)
        text: str = await self.pool.fetchval(statement.sql, *statement.values(Asked(variables, viewer, subject)))
        return text


def bind(schema: strawberry.Schema) -> strawberry.Schema:
    """Give every declared field of a built schema its resolver; call once, before the first request."""
    core: GraphQLSchema = schema._schema
    for type_ in core.type_map.values():
        if isinstance(type_, GraphQLInterfaceType) and type_.name == "Node":
            type_.resolve_type = lambda value, _info, _type: value["__typename"]
        if not isinstance(type_, GraphQLObjectType):
            continue
        for field in type_.fields.values():
            read = declared(field)
            if isinstance(read, Loaded):
                field.resolve = _loading(read, field.extensions["strawberry-definition"].python_name)
            elif read is not None and type_ is core.query_type:
                field.resolve = _root
            elif read is not None:
                field.resolve = _picking(field.resolve)
                type_.is_type_of = None
    return schema


async def _root(_source: Any, info: Resolving, **_arguments: Any) -> Any:
    return await info.context.reader.root(info)


def _loading(read: Loaded, name: str) -> Callable[..., Any]:
    attribute = read.attribute or f"{name}_id"

    async def load(source: Any, info: Resolving, **_arguments: Any) -> Any:
        return await info.context.reader.load(read.target, getattr(source, attribute), info)

    return load


def _picking(otherwise: Any) -> Callable[..., Any]:
    def pick(source: Any, info: Resolving, **arguments: Any) -> Any:
        return source[info.path.key] if type(source) is dict else otherwise(source, info, **arguments)

    return pick


def is_abstract(what: Any) -> bool:
    """Whether a field's type needs `__typename` in its tree to be walked."""
    return not isinstance(what, str) and is_abstract_type(get_named_type(what))
