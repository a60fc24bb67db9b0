"""A peer: Strawberry as its documentation has it, DataLoaders over asyncpg, on the same tables.

It answers the shapes of `bench.shapes` with bare uuids for ids and cursors, and has none of what ours checks.
`uvicorn bench.peers.loaders:app`.
"""

import os
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date
from typing import Any
from uuid import UUID

import asyncpg
import strawberry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from strawberry.asgi import GraphQL
from strawberry.dataloader import DataLoader

Info = strawberry.Info[Any, None]
_ONE = "SELECT * FROM {table} WHERE id = ANY($1::uuid[])"
_MANY = "SELECT * FROM {table} WHERE {key} = ANY($1::uuid[]) ORDER BY {order}"
_PAGE = (
    "SELECT * FROM {table} WHERE id > coalesce($1::uuid, '00000000-0000-0000-0000-000000000000') ORDER BY id LIMIT $2"
)


class Loaders:
    """The loaders of one request."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool
        self.users, self.types, self.centres, self.memberships = map(
            self._one, ("user_account", "membership_type", "centre", "membership")
        )
        self.memberships_of = self._many("membership", "user_id", "id")
        self.invoices_of = self._many("invoice", "user_id", "id")
        self.items_of = self._many("invoice_item", "invoice_id", "position, id")

    def _one(self, table: str) -> DataLoader[UUID, Any]:
        async def load(keys: list[UUID]) -> Sequence[Any]:
            found = {row["id"]: row for row in await self.pool.fetch(_ONE.format(table=table), keys)}
            return [found[key] for key in keys]

        return DataLoader(load_fn=load)

    def _many(self, table: str, key: str, order: str) -> DataLoader[UUID, list[Any]]:
        statement = _MANY.format(table=table, key=key, order=order)

        async def load(keys: list[UUID]) -> Sequence[list[Any]]:
            found: defaultdict[UUID, list[Any]] = defaultdict(list)
            for row in await self.pool.fetch(statement, keys):
                found[row[key]].append(row)
            return [found[key] for key in keys]

        return DataLoader(load_fn=load)


@strawberry.type
class Money:
    """An amount."""

    minor_units: str
    currency: str


@strawberry.type
class Named:
    """A membership type, or a centre."""

    id: strawberry.ID
    name: str


@strawberry.type
class Item:
    """A line."""

    description: str
    amount: Money


@strawberry.type
class User:
    """A person."""

    id: strawberry.ID
    first_name: str
    last_name: str
    email: str

    @strawberry.field
    async def memberships(self, info: Info, first: int) -> "Memberships":
        """Their memberships."""
        rows = await info.context["loaders"].memberships_of.load(UUID(self.id))
        return Memberships(nodes=[_membership(row) for row in rows[:first]])

    @strawberry.field
    async def invoices(self, info: Info, last: int) -> "Invoices":
        """Their last invoices."""
        rows = await info.context["loaders"].invoices_of.load(UUID(self.id))
        return Invoices(nodes=[_invoice(row) for row in rows[-last:]])


@strawberry.type
class Membership:
    """A membership."""

    id: strawberry.ID
    status: str
    starts_on: date
    row: strawberry.Private[Any]

    @strawberry.field
    async def user(self, info: Info) -> User:
        """Whose."""
        return _user(await info.context["loaders"].users.load(self.row["user_id"]))

    @strawberry.field
    async def type(self, info: Info) -> Named:
        """Of which type."""
        return _named(await info.context["loaders"].types.load(self.row["membership_type_id"]))

    @strawberry.field
    async def centre(self, info: Info) -> Named:
        """Where."""
        return _named(await info.context["loaders"].centres.load(self.row["centre_id"]))


@strawberry.type
class Invoice:
    """An invoice."""

    id: strawberry.ID
    number: str
    status: str
    total: Money
    row: strawberry.Private[Any]

    @strawberry.field
    async def items(self, info: Info) -> list[Item]:
        """Its lines."""
        currency = self.row["currency"]
        rows = await info.context["loaders"].items_of.load(self.row["id"])
        return [Item(description=row["description"], amount=_money(row["amount"], currency)) for row in rows]

    @strawberry.field
    async def membership(self, info: Info) -> Membership:
        """What it is for."""
        return _membership(await info.context["loaders"].memberships.load(self.row["membership_id"]))


@strawberry.type
class Edge:
    """A row in a page."""

    node: Membership


@strawberry.type
class PageInfo:
    """Whether there is more."""

    has_next_page: bool


@strawberry.type
class Memberships:
    """A page."""

    nodes: list[Membership]
    page_info: PageInfo | None = None

    @strawberry.field
    def edges(self) -> list[Edge]:
        """Its rows."""
        return [Edge(node=node) for node in self.nodes]


@strawberry.type
class Invoices:
    """A page."""

    nodes: list[Invoice]


@strawberry.input
class By:
    """Which person."""

    id: strawberry.ID


@strawberry.type
class Query:
    """The roots."""

    @strawberry.field
    async def user(self, info: Info, by: By) -> User:
        """One person."""
        return _user(await info.context["loaders"].users.load(UUID(by.id)))

    @strawberry.field
    async def memberships(self, info: Info, first: int, after: str | None = None) -> Memberships:
        """A page of memberships."""
        rows = await info.context["loaders"].pool.fetch(_PAGE.format(table="membership"), _uuid(after), first + 1)
        return Memberships(
            nodes=[_membership(row) for row in rows[:first]], page_info=PageInfo(has_next_page=len(rows) > first)
        )

    @strawberry.field
    async def invoices(self, info: Info, first: int, after: str | None = None) -> Invoices:
        """A page of invoices."""
        rows = await info.context["loaders"].pool.fetch(_PAGE.format(table="invoice"), _uuid(after), first)
        return Invoices(nodes=[_invoice(row) for row in rows])


def _money(amount: int, currency: str) -> Money:
    return Money(minor_units=str(amount), currency=currency)


def _uuid(after: str | None) -> UUID | None:
    return None if after is None else UUID(after)


def _user(row: Any) -> User:
    return User(
        id=strawberry.ID(str(row["id"])), first_name=row["first_name"], last_name=row["last_name"], email=row["email"]
    )


def _named(row: Any) -> Named:
    return Named(id=strawberry.ID(str(row["id"])), name=row["name"])


def _membership(row: Any) -> Membership:
    return Membership(id=strawberry.ID(str(row["id"])), status=row["status"], starts_on=row["starts_on"], row=row)


def _invoice(row: Any) -> Invoice:
    total = _money(row["total"], row["currency"])
    return Invoice(id=strawberry.ID(str(row["id"])), number=row["number"], status=row["status"], total=total, row=row)


class _Endpoint(GraphQL[Any, None]):
    async def get_context(self, request: Any, response: Any = None) -> Any:
        assert isinstance(request, Request)
        return {"loaders": Loaders(request.app.state.pool)}


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.pool = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=2, max_size=10)
    yield
    await app.state.pool.close()


app = Starlette(routes=[Route("/graphql", _Endpoint(strawberry.Schema(Query), graphql_ide=None))], lifespan=_lifespan)
