"""A selection of fields -> one SQL statement that answers finished JSON, with the row rules in every WHERE.

What a statement's text depends on beyond the document (is `after` given? which filters?) is asked through `decide`
and kept as a guard, so that a compiled statement serves every later request that would decide the same.
"""

import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLBoolean,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    NameNode,
    SelectionSetNode,
    get_named_type,
    is_abstract_type,
    is_non_null_type,
)

from resolvers.permissions import FIELDS, NONE, ROWS, Audience
from resolvers.reads import written
from resolvers.reads.arguments import Arguments, Ask, Fixed, after, declared, reader
from resolvers.reads.ids import BadInput, split
from resolvers.reads.meaning import ENTITIES, ID_SQL, Lookup, Relation, Shape, Text
from resolvers.reads.paging import MOST, Page
from resolvers.reads.statement import Bind, Statement
from resolvers.reads.written import list_of, object_of, or_null, word

_OF_VIEWER: dict[str, Bind] = {
    "{viewer}": lambda asked: asked.viewer.user_id,
    "{viewer.role}": lambda asked: asked.viewer.role.value,
    "{viewer.name}": lambda asked: asked.viewer.name,
    "{viewer.key}": lambda asked: asked.viewer.key_id,
}
_KIND = {"{viewer}": "uuid", "{viewer.role}": "text", "{viewer.name}": "text", "{viewer.key}": "uuid"}
_PARAMETER = re.compile(r"\$(\d+)")
_COLUMN = re.compile(r"\w+\.\w+", re.ASCII)
_OF_OWNER = re.compile(r"\(SELECT o\.(\w+) FROM \w+ o WHERE o\.id = (\w+\.\w+)\)", re.ASCII)
_TO_OWNER = re.compile(r"\{row\}\.(\w+) = \{parent\}\.id", re.ASCII)
_TYPENAME = FieldNode(name=NameNode(value="__typename"))


@dataclass(slots=True)
class Compiler:
    """Compiles selections of one operation for one audience; one is for one statement."""

    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    audience: Audience
    secret: bytes
    variables: Mapping[str, Any]
    guards: dict[Ask, Hashable] = field(default_factory=dict)
    typed: bool = False
    most: int = MOST
    _binds: list[Bind] = field(default_factory=list)
    _known: dict[str, str] = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)
    _aliases: int = 0

    def body(self, values: Mapping[str, str]) -> Statement:
        """The roots by their names -> the statement of the whole body, in UTF-8."""
        whole = object_of({"data": object_of(values)})
        return self.finish(f"SELECT convert_to({whole}, 'UTF8')")

    def statement(self, nodes: Sequence[FieldNode]) -> Statement:
        """A root field as it was asked for -> a statement of it alone. Raises BadInput."""
        return self.finish(f"SELECT {self.root(nodes)}")

    def root(self, nodes: Sequence[FieldNode]) -> str:
        """A root field as it was asked for -> SQL of its JSON. Raises BadInput."""
        query: Any = self.schema.query_type
        name = nodes[0].name.value
        if name == "__typename":
            return word(query.name)
        field_ = query.fields[name]
        read = declared(field_)
        if isinstance(read, Lookup):
            return or_null(self._lookup(read, field_, nodes))
        return or_null(self._relation(read, field_, nodes))

    def loading(self, type_name: str, nodes: Sequence[FieldNode]) -> Statement:
        """What was selected of the `type_name` whose uuid is the request's subject -> its statement."""
        key = f"{self._parameter(lambda asked: asked.subject)}::uuid"
        found = self._one(self.schema.type_map[type_name], nodes, f"{{row}}.id = {key}")
        return self.finish(f"SELECT {or_null(found)}")

    def finish(self, sql: str) -> Statement:
        """SQL with this compiler's parameters -> the statement, with those it uses."""
        used = tuple(sorted({int(number) for number in _PARAMETER.findall(sql)}))
        places = {number: place for place, number in enumerate(used, 1)}
        text = _PARAMETER.sub(lambda found: f"${places[int(found[1])]}", sql)
        return Statement(text, tuple(self._binds), tuple(number - 1 for number in used))

    def decide(self, ask: Ask) -> Any:
        """What the text of the statement may depend on; the answer is kept as a guard."""
        answer = ask(self.variables)
        if not isinstance(ask, Fixed):
            self.guards[ask] = answer
        return answer

    def bind(self, ask: Ask) -> str:
        """Something taken from the variables -> its parameter."""
        return self._parameter(lambda asked: ask(asked.variables))

    def _parameter(self, bind: Bind) -> str:
        self._binds.append(bind)
        return f"${len(self._binds)}"

    def sql(self, template: str, row: str, **names: str) -> str:
        """A declaration's SQL with its row, other names and the viewer's parameters filled in."""
        text = template.replace("{row}", row)
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        for name, bind in _OF_VIEWER.items():
            if name in text:
                if name not in self._known:
                    self._known[name] = self._parameter(bind)
                text = text.replace(name, f"{self._known[name]}::{_KIND[name]}")
        return _OF_OWNER.sub(lambda found: self._at_hand(found[0], found[1], found[2]), text)

    def _at_hand(self, asked: str, column: str, key: str) -> str:
        """A column of an owner: that of its row where we came from there."""
        return f"{self._owners[key]}.{column}" if key in self._owners else asked

    def alias(self) -> str:
        self._aliases += 1
        return f"t{self._aliases}"

    # Selections

    def collect(self, type_: GraphQLObjectType, nodes: Iterable[FieldNode]) -> dict[str, list[FieldNode]]:
        found: dict[str, list[FieldNode]] = {}
        seen: set[str] = set()
        for node in nodes:
            if node.selection_set:
                self._gather(type_, node.selection_set, found, seen)
        if self.typed and ENTITIES.get(type_.name) and "__typename" not in found:
            found["__typename"] = [_TYPENAME]
        return found

    def _gather(
        self, type_: GraphQLObjectType, chosen: SelectionSetNode, found: dict[str, list[FieldNode]], seen: set[str]
    ) -> None:
        for selection in chosen.selections:
            if not self._included(selection):
                continue
            if isinstance(selection, FieldNode):
                key = selection.alias.value if selection.alias else selection.name.value
                found.setdefault(key, []).append(selection)
                continue
            if isinstance(selection, FragmentSpreadNode):
                if selection.name.value in seen:
                    continue
                seen.add(selection.name.value)
                fragment: Any = self.fragments[selection.name.value]
            else:
                fragment = selection
            if self._applies(fragment.type_condition, type_):
                self._gather(type_, fragment.selection_set, found, seen)

    def _applies(self, condition: Any, type_: GraphQLObjectType) -> bool:
        if condition is None or condition.name.value == type_.name:
            return True
        named = self.schema.type_map[condition.name.value]
        return is_abstract_type(named) and self.schema.is_sub_type(named, type_)

    def _included(self, selection: Any) -> bool:
        for directive in selection.directives or ():
            if directive.name.value in ("include", "skip"):
                ask = reader(directive.arguments[0].value, GraphQLBoolean)
                if self.decide(ask) is (directive.name.value == "skip"):
                    return False
        return True

    # Fields of a row

    def columns(self, type_: GraphQLObjectType, nodes: Iterable[FieldNode], row: str) -> str:
        """What is selected of a row -> SQL of the JSON object."""
        chosen = self.collect(type_, nodes)
        return object_of({key: self._value(type_, same, row) for key, same in chosen.items()})

    def _value(self, type_: GraphQLObjectType, nodes: list[FieldNode], row: str) -> str:
        name = nodes[0].name.value
        if name == "__typename":
            return word(type_.name)
        field_ = type_.fields[name]
        allowed = FIELDS.get((type_.name, name))
        if allowed is not None and self.audience not in allowed:
            return "'null'"
        read = declared(field_)
        if isinstance(read, Relation):
            return or_null(self._relation(read, field_, nodes, row))
        assert isinstance(read, Text), f"{type_.name}.{name} says not what it stands for"
        column = f"{{row}}.{field_.extensions['strawberry-definition'].python_name}"
        value = written.value(field_, self.sql(read.sql or column, row, type=type_.name))
        sure = is_non_null_type(field_.type) and read.sql in (None, ID_SQL)  # else who declares it may be wrong
        return value if sure else or_null(value)

    # Relations

    def _relation(self, read: Relation, field_: GraphQLField, nodes: Sequence[FieldNode], parent: str = "") -> str:
        type_: Any = get_named_type(field_.type)
        arguments = Arguments(field_, nodes[0], self.decide, self.bind)
        conditions = [self.sql(read.join, "{row}", parent=parent)] if read.join else []
        for name, where in read.args.items():
            conditions += arguments.conditions(name, where)
        if read.shape is Shape.PAGE:
            node: Any = self.schema.type_map[read.target]
            return Page(self, arguments, node, read.join or nodes[0].name.value, conditions).sql(type_, nodes)
        if read.values:
            return self._made_of(
                {name: self.sql(sql, "", parent=parent) for name, sql in read.values.items()}, type_, nodes
            )
        source = self.sql(read.source, "{row}", parent=parent) if read.source else None
        owner = (key[1], parent) if read.join and (key := _TO_OWNER.fullmatch(read.join)) else None
        found = self._one(type_, nodes, " AND ".join(conditions), source, read.order, owner)
        if read.shape is Shape.ONE:
            return found
        every = list_of("""string_agg("#"::text, ',')""")
        return f'(SELECT {every} FROM {found} "#"("#"))'

    def _one(
        self,
        type_: Any,
        nodes: Iterable[FieldNode],
        condition: str,
        source: str | None = None,
        order: str | None = None,
        owner: tuple[str, str] | None = None,
    ) -> str:
        row = self.alias()
        if owner:
            self._owners[f"{row}.{owner[0]}"] = owner[1]
        value = self.columns(type_, nodes, row)
        rows = self.rows(type_, row, [condition] if condition else [], source)
        return f"(SELECT {value} FROM {rows}{f' ORDER BY {self.sql(order, row)}' if order else ''})"

    def _made_of(self, values: Mapping[str, str], type_: Any, nodes: Iterable[FieldNode]) -> str:
        """An object of values, null where the first is; written out where they are columns, which costs no look-up."""
        row, first = self.alias(), next(iter(values.values()))
        value = self.columns(type_, nodes, row)
        if all(map(_COLUMN.fullmatch, values.values())):
            plain = re.sub(rf"\b{row}\.(\w+)", lambda found: values[found[1]], value)
            return f"CASE WHEN {first} IS NOT NULL THEN {plain} END"
        named = ", ".join(f"{sql} AS {name}" for name, sql in values.items())
        return f"(SELECT {value} FROM (SELECT {named} WHERE {first} IS NOT NULL) {row})"

    def rows(self, type_: Any, row: str, conditions: Iterable[str], source: str | None = None) -> str:
        """FROM item and WHERE of the rows of a type that this audience may see and that meet the conditions."""
        entity = ENTITIES.get(type_.name)
        met = [self.sql(condition, row) for condition in conditions]
        if entity:
            met.append(self.sql(ROWS[type_.name][self.audience], row))
        source = source or (entity.table if entity else "(SELECT)")
        return f"{source} {row}" + (f" WHERE {' AND '.join(met)}" if met else "")

    # Things by id alone

    def _lookup(self, read: Lookup, field_: GraphQLField, nodes: Sequence[FieldNode]) -> str:
        arguments = Arguments(field_, nodes[0], self.decide, self.bind)
        ask = after(arguments.ask("ids" if read.many else "id"), lambda given: _split(given, self.most))
        types = self.decide(after(ask, lambda keys: tuple(sorted({name for name, _ in keys}))))
        names = self.bind(after(ask, lambda keys: [name for name, _ in keys]))
        keys = self.bind(after(ask, lambda keys: [key for _, key in keys]))
        cases = []
        for name in (name for name in types if name in ENTITIES and ROWS[name][self.audience] != NONE):
            value = self._one(self.schema.type_map[name], nodes, '{row}.id = "##".key')
            cases.append(f"WHEN '{name}' THEN {value}")
        value = f'CASE "##".name {" ".join(cases)} END' if cases else "NULL::text"
        found = f'unnest({names}::text[], {keys}::uuid[]) WITH ORDINALITY "##"(name, key, place)'
        if read.many:
            every = f"string_agg({or_null(value)}, ',' ORDER BY \"##\".place)"
            return f"(SELECT {list_of(every)} FROM {found})"
        return f"(SELECT {value} FROM {found})"


def _split(given: str | list[str], most: int) -> list[tuple[str, UUID]]:
    ids = [given] if isinstance(given, str) else given
    if len(ids) > most:
        raise BadInput(f"At most {most} ids can be asked for at once.")
    return [split(each) for each in ids]
