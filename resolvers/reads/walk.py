"""All rows of a root list, for a file: compiled as the list is, read in the order of their ids."""

from collections.abc import Mapping, Sequence
from typing import Any

from graphql import FieldNode, GraphQLField, OperationDefinitionNode, parse
from graphql.execution.values import VariableValues, get_variable_values

from resolvers.permissions import audience
from resolvers.reads.arguments import Arguments, declared
from resolvers.reads.compile import Compiler
from resolvers.reads.ids import BadInput
from resolvers.reads.run import Reader
from resolvers.reads.statement import Asked, Statement
from resolvers.viewer import Viewer

AFTER = "@after"  # no name a document could give a variable


class Walk:
    """What is selected of the rows of a root list, for one viewer and filter. Raises BadInput for a malformed filter.

    `nodes` is a selection like "{ id name }" of fields that are given no arguments.
    """

    def __init__(self, reader: Reader, root: str, nodes: str, narrowed: Mapping[str, Any], viewer: Viewer) -> None:
        self._reader, self._viewer = reader, viewer
        query: Any = reader.schema.query_type
        self._field: GraphQLField = query.fields[root]
        target = declared(self._field).target
        document = parse(f"query ($filter: {target}Filter) {{ {root}(filter: $filter) {{ nodes {nodes} }} }}")
        operation: Any = document.definitions[0]
        self._type: Any = reader.schema.type_map[target]
        self._asked: FieldNode = operation.selection_set.selections[0]
        self._variables = _coerced(reader, operation, narrowed)

    async def total(self) -> int:
        """How many rows there are."""
        compiler = self._compiler()
        rows = compiler.rows(self._type, compiler.alias(), self._conditions(compiler))
        return int(await self._fetch(compiler.finish(f"SELECT count(*) FROM {rows}"), {}, one=True))

    async def page(self, after: Any, most: int) -> Sequence[str]:
        """The next rows behind an id, each a JSON object in text."""
        compiler = self._compiler()
        row = compiler.alias()
        nodes: Any = self._asked.selection_set
        line = compiler.columns(self._type, [nodes.selections[0]], row)
        behind = f"{{row}}.id > {compiler.bind(lambda variables: variables[AFTER])}::uuid"
        rows = compiler.rows(self._type, row, [behind, *self._conditions(compiler)])
        sql = f"SELECT {line} FROM {rows} ORDER BY {row}.id LIMIT {most}"
        found = await self._fetch(compiler.finish(sql), {AFTER: after})
        return [line for (line,) in found]

    def _compiler(self) -> Compiler:
        reader = self._reader
        return Compiler(reader.schema, {}, audience(self._viewer), reader.secret, self._variables)

    def _conditions(self, compiler: Compiler) -> list[str]:
        return list(Arguments(self._field, self._asked, compiler.decide, compiler.bind).conditions("filter"))

    async def _fetch(self, statement: Statement, more: Mapping[str, Any], *, one: bool = False) -> Any:
        values = statement.values(Asked({**self._variables, **more}, self._viewer))
        return await (self._reader.pool.fetchval if one else self._reader.pool.fetch)(statement.sql, *values)


def paths(nodes: str) -> list[str]:
    """A selection "{ id centre { name } }" -> the paths of its leaves: ["id", "centre.name"]."""

    def below(chosen: Any, before: str) -> list[str]:
        found = []
        for each in chosen.selections:
            path = f"{before}{each.name.value}"
            found += below(each.selection_set, f"{path}.") if each.selection_set else [path]
        return found

    operation: Any = parse(nodes).definitions[0]
    return below(operation.selection_set, "")


def _coerced(reader: Reader, operation: OperationDefinitionNode, narrowed: Mapping[str, Any]) -> Mapping[str, Any]:
    made = get_variable_values(reader.schema, operation.variable_definitions or (), {"filter": dict(narrowed)})
    if not isinstance(made, VariableValues):
        raise BadInput("This filter is not one of the list.")
    return made.coerced
