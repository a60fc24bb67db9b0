"""The words with which the schema says, beside each field, what it stands for: see `meaning` for what they declare."""

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any

import strawberry
from strawberry.annotation import StrawberryAnnotation
from strawberry.types.arguments import StrawberryArgument

from resolvers.reads.ids import known
from resolvers.reads.meaning import (
    READ,
    Later,
    Loaded,
    Lookup,
    Relation,
    Shape,
    Text,
    Where,
    entity,
    given,
    of_owner,
    told,
)
from resolvers.reads.shapes import Connection, Node

__all__ = [
    "Node",
    "Where",
    "all_of",
    "all_rows",
    "column",
    "entity",
    "found",
    "given",
    "listed",
    "loaded",
    "looked_up",
    "made_of",
    "many",
    "of_owner",
    "one",
    "orders",
    "part",
    "parts",
    "where",
    "words",
]


def column(description: str, sql: str | None = None) -> Any:
    """The column of the field's name, or an SQL expression over `{row}`."""
    return told(Text(sql), description)


def part(description: str, source: str) -> Any:
    """A small object whose fields come from a SELECT over `{parent}`; no row there answers null."""
    return told(Relation(Shape.ONE, source=f"({source})"), description)


def made_of(description: str, **values: str) -> Any:
    """A small object made of SQL over `{parent}`; null where the first value is."""
    return told(Relation(Shape.ONE, values=values), description)


def parts(description: str, source: str, *, order: str) -> Any:
    """A list of small objects whose fields come from a SELECT over `{parent}`, in an order of `{row}`."""
    return told(Relation(Shape.LIST, source=f"({source})", order=order), description)


def one(target: str, description: str, *, on: str | None = None, join: str | None = None) -> Any:
    """The row of another type that our column `on` names, null where there is none or the viewer may not see it."""
    key = on or f"{_snake(target)}_id"
    read = Relation(Shape.ONE, target, join or f"{{row}}.id = {{parent}}.{key}")
    return told(read, description, graphql_type=Later(target) | None)


def all_of(
    target: str, description: str, *, on: str | None = None, join: str | None = None, order: str = "{row}.id"
) -> Any:
    """Every row of another type whose column `on` names this one, or that `join` finds: for lists that stay short."""
    read = Relation(Shape.LIST, target, join or f"{{row}}.{on} = {{parent}}.id", order=order)
    return told(read, description, graphql_type=_list(target))


def all_rows(target: str, description: str, *, order: str) -> Any:
    """A root field: every row of a type, for those that stay few."""
    return told(Relation(Shape.LIST, target, order=order), description, graphql_type=_list(target))


def many(target: str, description: str, *, on: str) -> Any:
    """The rows of another type whose column `on` names this one, in pages."""
    return _paged(Relation(Shape.PAGE, target, f"{{row}}.{on} = {{parent}}.id"), description)


def found(target: str, description: str, *, by: type | None = None) -> Any:
    """A root field: the one row with this id, or with what a `@oneOf` input names."""
    name, kind, asks = ("by", by, "Which one.") if by else ("id", strawberry.ID, "Its id.")
    condition = None if by else Where("{row}.id = {value}::uuid", known(target))
    read = Relation(Shape.ONE, target, order="{row}.id LIMIT 1", args={name: condition})
    return _with(told(read, description, graphql_type=Later(target) | None), [_argument(name, kind, asks)])


def listed(target: str, description: str, **only: tuple[Where, str]) -> Any:
    """A root field: rows in pages; each extra argument is a required id that narrows them."""
    read = Relation(Shape.PAGE, target, args={_camel(name): where for name, (where, _) in only.items()})
    return _paged(read, description, [_argument(name, strawberry.ID, asks) for name, (_, asks) in only.items()])


def looked_up(description: str, node: type, *, many: bool) -> Any:
    """The root fields `node` and `nodes`."""
    kind, asks = (list[strawberry.ID], "At most 100 ids.") if many else (strawberry.ID, "Its id.")
    answers = list[node | None] if many else node | None  # type: ignore[valid-type]  # a type made at run time
    made = told(Lookup(many), description, graphql_type=answers)
    return _with(made, [_argument("ids" if many else "id", kind, asks)])


def loaded(target: str, description: str, attribute: str | None = None) -> Any:
    """A field of a payload or event: the thing whose uuid stands in `attribute` (by default `<field>_id`)."""
    return told(Loaded(target, attribute), description, default=None, graphql_type=Later(target) | None)


def where(
    description: str,
    sql: str,
    *,
    ids: str | None = None,
    plain: Callable[[Any], Any] | None = None,
    bounds: bool = False,
) -> Any:
    """A filter's field, as `Where` says; `ids` names the type whose global ids are given."""
    asks = Where(sql, known(ids) if ids else plain, bounds)
    return strawberry.field(description=description, default=strawberry.UNSET, metadata={READ: asks})


def words(kind: Any, name: str, description: str, each: Iterable[str]) -> Any:
    """Give an enum its GraphQL name, and a description to itself and to each value in order."""
    made = strawberry.enum(kind, name=name, description=description)
    for value, described in zip(made.__strawberry_definition__.values, each, strict=True):
        value.description = described
    return made


def orders(target: str, **columns: tuple[str, str]) -> None:
    """Declare how a type can be sorted: NAME=("column:sqltype", description); columns must not be null."""
    made = Enum(f"{target}OrderField", {name: spec for name, (spec, _) in columns.items()})  # type: ignore[misc]  # made at run time
    each = [described for _, described in columns.values()]
    wrapped = words(made, f"{target}OrderField", f"What lists of {target} can be sorted by.", each)
    body = {
        "__annotations__": {"field": wrapped, "direction": Direction},
        "field": strawberry.field(description="What to sort by."),
        "direction": strawberry.field(description="Which way."),
    }
    given(f"One step of the order of a list of {target}.")(type(f"{target}Order", (), body))


class Direction(Enum):
    """Which way a list is sorted."""

    ASC = "ASC"
    DESC = "DESC"


words(
    Direction,
    "OrderDirection",
    "Which way a list is sorted.",
    ["Smallest or oldest first.", "Largest or newest first."],
)


def _paged(read: Relation, description: str, extra: Sequence[StrawberryArgument] = ()) -> Any:
    target = read.target
    node: Any = Later(target)
    made = told(read, description, graphql_type=Connection[node])
    page = [
        _argument("first", int | None, "How many rows from the start (or behind `after`): 1 to 100, 50 by default."),
        _argument("after", str | None, "Only rows behind this cursor."),
        _argument("last", int | None, "How many rows from the end (or before `before`): 1 to 100, not with `first`."),
        _argument("before", str | None, "Only rows before this cursor."),
        _argument("filter", Later(f"{target}Filter") | None, "Only rows that meet all of these."),
        _argument("order_by", _list(f"{target}Order") | None, "The order, most important step first."),
    ]
    return _with(made, [*extra, *page])


def _list(type_name: str) -> Any:
    return list[Later(type_name)]  # type: ignore[misc]  # a type made at run time


def _with(made: Any, arguments: list[StrawberryArgument]) -> Any:
    made.arguments = arguments
    return made


def _argument(name: str, kind: Any, description: str) -> StrawberryArgument:
    return StrawberryArgument(name, None, StrawberryAnnotation(kind), description=description)


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
