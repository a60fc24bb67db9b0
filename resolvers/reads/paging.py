"""A relation read in pages: keyset conditions, signed cursors and page info, in the same statement as the rows."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
from graphql import FieldNode

from resolvers.reads import cursors
from resolvers.reads.arguments import Arguments, Ask, Fixed, after, folded
from resolvers.reads.arguments import word as plain
from resolvers.reads.ids import BadInput
from resolvers.reads.written import list_of, object_of, word

if TYPE_CHECKING:
    from resolvers.reads.compile import Compiler

PAGE, MOST = 50, 100
_STRETCH = re.compile(r"\{row\}\.(\w+) (?:>=|<) \$\d+::(\w+)", re.ASCII)
_ONE_OF = re.compile(r"\{row\}\.(\w+) = ANY\((\$\d+::text\[\])\)", re.ASCII)


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
        # a cursor is read, and refused, even where no row is asked for
        self._beyond = [self._behind(name) for name, given in self._bounded.items() if given]
        self._row = compiler.alias()
        self._peeks = False
        self._made: dict[str, str] = {}
        self._paddings: list[str] | None = None

    def sql(self, connection: Any, nodes: Sequence[FieldNode]) -> str:
        """The connection as it was selected -> SQL of it as a JSON object."""
        chosen = self._compiler.collect(connection, nodes)
        self._peeks = self._asks_for_more(connection, chosen.values())
        values = {key: self._field(connection, same) for key, same in chosen.items()}
        if not self._made:
            return object_of(values)
        made = ", ".join(f'{value} AS "{name}"' for value, name in self._made.items())
        return f'(SELECT {object_of(values)} FROM (SELECT {made} FROM {self._rows()}) "%")'

    def _asks_for_more(self, connection: Any, chosen: Iterable[Sequence[FieldNode]]) -> bool:
        """Whether anything tells if the list goes on, which one row more is read for."""
        info = connection.fields["pageInfo"].type.of_type
        wanted = "hasPreviousPage" if self._backward else "hasNextPage"
        infos = (self._compiler.collect(info, same) for same in chosen if same[0].name.value == "pageInfo")
        return any(same[0].name.value == wanted for each in infos for same in each.values())

    def _field(self, connection: Any, nodes: list[FieldNode]) -> str:
        match nodes[0].name.value:
            case "__typename":
                return word(connection.name)
            case "totalCount":
                counted = self._compiler.alias()
                return f"(SELECT count(*)::text FROM {self._compiler.rows(self._type, counted, self._conditions)})"
            case "pageInfo":
                return self._page_info(connection.fields["pageInfo"].type.of_type, nodes)
            case "nodes":
                item = self._compiler.columns(self._type, nodes, self._row)
            case _:
                item = self._edge(connection.fields["edges"].type.of_type.of_type.of_type, nodes)
        return list_of(self._each("string_agg", f"{item}, ','"))

    def _edge(self, type_: Any, nodes: list[FieldNode]) -> str:
        values = {}
        for key, same in self._compiler.collect(type_, nodes).items():
            match same[0].name.value:
                case "node":
                    values[key] = self._compiler.columns(self._type, same, self._row)
                case "cursor":
                    values[key] = self._cursor([f"{self._row}.{step.column}" for step in self._steps])
                case _:
                    values[key] = word(type_.name)
        return object_of(values)

    def _page_info(self, type_: Any, nodes: list[FieldNode]) -> str:
        beyond = {name: str(given).lower() for name, given in self._bounded.items()}

        def value(name: str) -> str:
            match name:
                case "hasNextPage" if not self._backward:
                    return f"({self._of_page('count(*)')} > {self._size} OR {beyond['before']})::text"
                case "hasPreviousPage" if self._backward:
                    return f"({self._of_page('count(*)')} > {self._size} OR {beyond['after']})::text"
                case "hasNextPage" | "hasPreviousPage":
                    return f"'{beyond['before' if name == 'hasNextPage' else 'after']}'"
                case "startCursor" | "endCursor":
                    return self._end(first=name == "startCursor")
                case _:
                    return word(type_.name)

        chosen = self._compiler.collect(type_, nodes)
        return object_of({key: value(same[0].name.value) for key, same in chosen.items()})

    def _end(self, *, first: bool) -> str:
        """The cursor of the first or the last row of the page, null where it has none."""
        every = [self._each("array_agg", f"{self._row}.{step.column}") for step in self._steps]
        columns = [f"({each})[{'1' if first else f'cardinality({each})'}]" for each in every]
        return f"CASE WHEN {columns[-1]} IS NULL THEN 'null' ELSE {self._cursor(columns)} END"

    def _each(self, aggregate: str, what: str) -> str:
        """An aggregate of the rows of the page, in their order: all have it, since one of them may have rows sorted."""
        order = f" ORDER BY {self._sorted(self._row)}" if self._backward else ""
        kept = f' FILTER (WHERE {self._row}."#" <= {self._size})' if self._peeks else ""
        return self._of_page(f"{aggregate}({what}{order}){kept}")

    def _of_page(self, aggregate: str) -> str:
        """Something said of all rows of the page -> its name, each said once."""
        return f'"%"."{self._made.setdefault(aggregate, str(len(self._made)))}"'

    # Which rows, in which order

    def _rows(self) -> str:
        """The rows of the page as a FROM item, numbered in the order they are read in where one more is."""
        inner, cut = self._compiler.alias(), self._compiler.alias()
        order = self._sorted("{row}", backward=self._backward)
        found = self._found(inner, [*self._conditions, *self._beyond], order)
        # the planner shall know that a page is small, whatever its size
        limited = f"({found}) {cut} LIMIT {self._size}{' + 1' if self._peeks else ''}"
        number = ', row_number() OVER () AS "#"' if self._peeks else ""
        return f"(SELECT {cut}.*{number} FROM {limited}) {self._row}"

    def _found(self, row: str, conditions: list[str], order: str) -> str:
        """The first rows there are, one more than a page may have; with some values of a column, the first of each.

        So an index that begins with the column gives them in their order, be they many or few.
        """
        most = self._compiler.most + 1
        listed = next((found for each in conditions if (found := _ONE_OF.fullmatch(each))), None)
        each = self._compiler.alias()
        if listed:
            conditions = [other for other in conditions if other != listed[0]] + [f"{{row}}.{listed[1]} = {each}.word"]
        rows, ordered = self._compiler.rows(self._type, row, conditions), f"ORDER BY {order.replace('{row}', row)}"
        first = f"SELECT {row}.* FROM {rows} {ordered} LIMIT {most}"
        if listed is None:
            return first
        words = f"(SELECT DISTINCT unnest({listed[2]}) AS word) {each}"
        return f"SELECT {row}.* FROM {words}, LATERAL ({first}) {row} {ordered} LIMIT {most}"

    def _sorted(self, row: str, *, backward: bool = False) -> str:
        return ", ".join(f"{row}.{step.column}{' DESC' if step.descending != backward else ''}" for step in self._steps)

    def _order(self) -> tuple[Step, ...]:
        chosen = self._compiler.decide(after(self._arguments.ask("orderBy"), _spelled))
        steps: dict[str, Step] = {}
        for spec, direction in chosen:
            name, kind = spec.split(":")
            steps.setdefault(name, Step(name, kind, direction == "DESC"))
        if not chosen and (stretch := next(filter(None, map(_STRETCH.fullmatch, self._conditions)), None)):
            steps[stretch[1]] = Step(stretch[1], stretch[2], descending=False)
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
        asks = {
            argument.name.value: self._arguments.ask(argument.name.value)
            for argument in self._arguments.node.arguments or ()
            if argument.name.value not in ("first", "last", "after", "before", "orderBy")
        }
        return folded(
            lambda variables: _scope(what, {name: ask(variables) for name, ask in asks.items()}), asks.values()
        )

    def _cursor(self, columns: Sequence[str]) -> str:
        if self._paddings is None:
            self._paddings = [self._compiler.bind(self._padding(side)) for side in (0, 1)]
        return f"""'"' || {cursors.sql(columns, *self._paddings)} || '"'"""

    def _padding(self, side: int) -> Ask:
        secret = self._compiler.secret
        return after(self._scope, lambda scope: cursors.keys(secret, scope)[side])

    def _reading(self, name: str, at: int) -> Ask:
        ask, scope, secret = self._arguments.ask(name), self._scope, self._compiler.secret
        return lambda variables: cursors.read(ask(variables), secret, scope(variables))[at]

    def _behind(self, name: str) -> str:
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


def _spelled(order: Sequence[Mapping[str, Any]] | None) -> tuple[tuple[str, str], ...]:
    return tuple((plain(step["field"]), plain(step["direction"])) for step in order or ())


def _checked(name: str, size: int, most: int) -> int:
    if not 1 <= size <= most:
        raise BadInput(f"`{name}` is a number from 1 to {most}.")
    return size


def _scope(what: str, narrowed: Mapping[str, Any]) -> str:
    return f"{what}|{orjson.dumps(_meant(narrowed), default=str, option=orjson.OPT_SORT_KEYS).decode()}"


def _meant(narrowed: Mapping[str, Any]) -> dict[str, Any]:
    """What narrows a list, however it is spelled: null and an empty object ask nothing."""
    said = {name: _meant(value) if isinstance(value, Mapping) else value for name, value in narrowed.items()}
    return {name: value for name, value in said.items() if value is not None and value != {}}
