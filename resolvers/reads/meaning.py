"""What a field can stand for in the database: plain declarations, carried by the GraphQL fields, read by the compiler.

SQL in them names its row `{row}`, the row above it `{parent}` and the caller's user id `{viewer}`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import strawberry
from strawberry.types.lazy_type import LazyType

READ = "read"
ID_SQL = "split_part(encode(textsend('{type}:' || {row}.id), 'base64'), '=', 1)"  # the cheapest way without padding

Class = TypeVar("Class", bound=type)


def of_owner(table: str, key: str, column: str) -> str:
    """A column of the row that our column `key` names: written so that the compiler knows it where it is at hand."""
    return f"(SELECT o.{column} FROM {table} o WHERE o.id = {{parent}}.{key})"


class Shape(Enum):
    """How the rows of a relation are answered."""

    ONE = "one"
    LIST = "list"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Text:
    """A value of the row: SQL, or the column of the field's own name."""

    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """What an argument or a filter's field asks of `{row}`, with the value given as `{value}`.

    `plain` makes what SQL compares with of what was given (None matches nothing); with `bounds` the value is an
    object of `gte` and `lt`, and `{op}` the sign for each.
    """

    sql: str
    plain: Callable[[Any], Any] | None = None
    bounds: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows of another type, or of a `source` (a FROM item) made for the field, or one of `values` over `{parent}`."""

    shape: Shape
    target: str = ""
    join: str | None = None
    source: str | None = None
    order: str | None = None
    args: Mapping[str, Where | None] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lookup:
    """`node` and `nodes`: rows of whatever type the ids tell."""

    many: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """A thing read again after a change or an event: `attribute` of the object around it holds its uuid."""

    target: str
    attribute: str | None = None


@dataclass(frozen=True, slots=True)
class Entity:
    """Where the rows of a type live."""

    table: str


ENTITIES: dict[str, Entity] = {}
_TYPES: dict[str, Any] = {}


@dataclass(frozen=True)
class Later(LazyType[Any, Any]):
    """A type named before it is declared."""

    module: str = ""

    def resolve_type(self) -> Any:
        """The declared class of that name."""
        return _TYPES[self.type_name]


def told(read: Any, description: str, **options: Any) -> Any:
    """A field with its read declaration."""
    return strawberry.field(description=description, metadata={READ: read}, **options)


def entity(table: str, description: str) -> Callable[[Class], Class]:
    """Declare a type whose rows live in a table."""

    def declare(cls: Class) -> Class:
        ENTITIES[cls.__name__] = Entity(table)
        _TYPES[cls.__name__] = made = strawberry.type(cls, description=description)
        return made

    return declare


def given(description: str) -> Callable[[Class], Class]:
    """Declare an input type: a filter, an order or a bound."""

    def declare(cls: Class) -> Class:
        _TYPES[cls.__name__] = made = strawberry.input(cls, description=description)
        return made

    return declare
