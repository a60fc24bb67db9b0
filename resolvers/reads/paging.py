"""A relation read in pages: keyset conditions, signed cursors and page info, in the same statement as the rows."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from graphql import FieldNode

from resolvers.reads import cursors
from resolvers.reads.arguments import Arguments, Ask, Fixed, after, word
from resolvers.reads.ids import BadInput

if TYPE_CHECKING:
    from resolvers.reads.compile import Compiler

PAGE, MOST = 50, 100


class Step(NamedTuple):
    """One column of an order."""

    column: str
    kind: str
    descending: bool


class Page:
    """One connection field being compiled: rows of `type_` that meet `conditions` (SQL over `{row}`)."""

    def __init__(
        self, compiler: "Compiler", arguments: Arguments, type_: Any, place: str, conditions: list[str]
    ) -> None:
        self._compiler, self._arguments, self._type = compiler, arguments, type_
        self._conditions = [*conditions, *arguments.conditions("filter")]
        self._steps = self._order()
        self._backward = arguments.given("last")
        if self._backward and arguments.given("first"):
            raise BadInput("Give `first` or `last`, not both.")
        self._bounded = {name: arguments.given(name) for name in ("after", "before")}
        self._size = self._page_size("last" if self._backward else "first")
        self._scope = self._scope_of(f"{type_.name}|{place}|{self._steps}")

    def sql(self, connection: Any, nodes: Sequence[FieldNode]) -> str:
        """The connection as it was selected -> SQL of it as one object."""
        row = self._compiler.alias()
        made: dict[str, str] = {}
        columns = {
            key: self._field(connection, same, row, made)
            for key, same in self._compiler.collect(connection, nodes).items()
        }
        if not made:
            return self._compiler.object(columns)
        wanted = ", ".join(f'{value} AS "{name}"' for name, value in made.items())
        return self._compiler.object(columns, f'FROM (SELECT {wanted} FROM {self._numbered(row)}) "%"')

    def _field(self, connection: Any, nodes: list[FieldNode], row: str, made: dict[str, str]) -> str:
        match nodes[0].name.value:
            case "__typename":
                return f"'{connection.name}'"
            case "totalCount":
                counted = self._compiler.alias()
                return f"(SELECT count(*) FROM {self._compiler.rows(self._type, counted, self._conditions)})"
            case "pageInfo":
                return self._page_info(connection.fields["pageInfo"], nodes, row, made)
            case "nodes":
                item = self._compiler.object(self._compiler.columns(self._type, nodes, row))
            case _:
                item = self._edge(connection.fields["edges"], nodes, row)
        order = f' ORDER BY {row}."#n" DESC' if self._backward else ""
        kept = f'FILTER (WHERE {row}."#n" <= {self._size})'
        return _made(made, f"coalesce(array_to_json(array_agg({item}{order}) {kept}), '[]')")

    def _edge(self, field: Any, nodes: list[FieldNode], row: str) -> str:
        type_ = field.type.of_type.of_type.of_type
        columns = {}
        for key, same in self._compiler.collect(type_, nodes).items():
            name = same[0].name.value
            if name == "node":
                columns[key] = self._compiler.object(self._compiler.columns(self._type, same, row))
            else:
                columns[key] = self._cursor(row) if name == "cursor" else f"'{type_.name}'"
        return self._compiler.object(columns)

    def _page_info(self, field: Any, nodes: list[FieldNode], row: str, made: dict[str, str]) -> str:
        more = f"count(*) > {self._size}"
        ends = (f'{row}."#n" = 1', f'{row}."#n" = least({row}."#k", {self._size})')
        first, last = reversed(ends) if self._backward else ends
        beyond = {name: str(given).lower() for name, given in self._bounded.items()}

        def value(name: str) -> str:
            match name:
                case "hasNextPage":
                    return beyond["before"] if self._backward else _made(made, f"{more} OR {beyond['before']}")
                case "hasPreviousPage":
                    return _made(made, f"{more} OR {beyond['after']}") if self._backward else beyond["after"]
                case "startCursor" | "endCursor":
                    end = first if name == "startCursor" else last
                    return _made(made, f"min({self._cursor(row)}) FILTER (WHERE {end})")
                case _:
                    return "'PageInfo'"

        chosen = self._compiler.collect(field.type.of_type, nodes)
        return self._compiler.object({key: value(same[0].name.value) for key, same in chosen.items()})

    # Which rows, in which order

    def _numbered(self, row: str) -> str:
        inner, cut = self._compiler.alias(), self._compiler.alias()
        kept = [*self._conditions, *(self._beyond(name) for name, given in self._bounded.items() if given)]
        order = ", ".join(
            f"{inner}.{step.column}{' DESC' if step.descending != self._backward else ''}" for step in self._steps
        )
        rows = f"SELECT {inner}.* FROM {self._compiler.rows(self._type, inner, kept)} ORDER BY {order}"
        limited = f"({rows} LIMIT {self._size} + 1) {cut}"
        return f'(SELECT {cut}.*, row_number() OVER () AS "#n", count(*) OVER () AS "#k" FROM {limited}) {row}'

    def _order(self) -> tuple[Step, ...]:
        chosen = self._compiler.decide(after(self._arguments.ask("orderBy"), _spelled))
        steps: dict[str, Step] = {}
        for spec, direction in chosen:
            name, kind = spec.split(":")
            steps.setdefault(name, Step(name, kind, direction == "DESC"))
        last = next(reversed(steps.values()), None)
        steps.setdefault("id", Step("id", "uuid", last is not None and last.descending))
        return tuple(steps.values())[: list(steps).index("id") + 1]  # nothing behind the id decides anything

    def _page_size(self, name: str) -> str:
        most = self._compiler.most
        ask = after(
            self._arguments.ask(name), lambda given: _checked(name, min(PAGE, most) if given is None else given, most)
        )
        return str(ask.value) if isinstance(ask, Fixed) else f"{self._compiler.bind(ask)}::int"

    def _scope_of(self, what: str) -> Ask:
        asks = [
            self._arguments.ask(argument.name.value)
            for argument in self._arguments.node.arguments or ()
            if argument.name.value not in ("first", "last", "after", "before", "orderBy")
        ]
        if all(isinstance(ask, Fixed) for ask in asks):
            return Fixed(_scope(what, [ask({}) for ask in asks]))
        return lambda variables: _scope(what, [ask(variables) for ask in asks])

    def _cursor(self, row: str) -> str:
        inner, outer = (self._compiler.bind(self._padding(side)) for side in (0, 1))
        return cursors.sql([f"{row}.{step.column}" for step in self._steps], inner, outer)

    def _padding(self, side: int) -> Ask:
        secret = self._compiler.secret
        return after(self._scope, lambda scope: cursors.keys(secret, scope)[side])

    def _reading(self, name: str, at: int) -> Ask:
        ask, scope, secret = self._arguments.ask(name), self._scope, self._compiler.secret
        return lambda variables: cursors.read(ask(variables), secret, scope(variables))[at]

    def _beyond(self, name: str) -> str:
        """Rows behind (`after`) or before a cursor."""
        values = [
            f"{self._compiler.bind(self._reading(name, at))}::text::{step.kind}" for at, step in enumerate(self._steps)
        ]
        columns = [f"{{row}}.{step.column}" for step in self._steps]
        signs = ["<" if step.descending != (name == "before") else ">" for step in self._steps]
        if len(set(signs)) == 1:
            return f"({', '.join(columns)}) {signs[0]} ({', '.join(values)})"
        return f"({' OR '.join(_ladder(columns, signs, values))})"


def _ladder(columns: list[str], signs: list[str], values: list[str]) -> Iterable[str]:
    for depth, sign in enumerate(signs):
        same = "".join(f"{columns[at]} = {values[at]} AND " for at in range(depth))
        yield f"({same}{columns[depth]} {sign} {values[depth]})"


def _made(made: dict[str, str], value: str) -> str:
    name = f"{len(made)}"
    made[name] = value
    return f'"%"."{name}"'


def _spelled(order: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((word(step["field"]), word(step["direction"])) for step in order or ())


def _checked(name: str, size: int, most: int) -> int:
    if not 1 <= size <= most:
        raise BadInput(f"`{name}` is a number from 1 to {most}.")
    return size


def _scope(what: str, narrowed: list[Any]) -> str:
    return f"{what}|{orjson.dumps(narrowed, default=str).decode()}"
