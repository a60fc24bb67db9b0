"""Answers operations by graphql-core alone: on the printed schema, with resolvers that walk rows.

What is wrong with an argument anywhere under a root field is told of that root, be there rows to tell it of or not.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from graphql import (
    ExecutionResult,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLIncludeDirective,
    GraphQLInputObjectType,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    GraphQLSkipDirective,
    SelectionNode,
    build_schema,
    execute,
    get_argument_values,
    get_directive_values,
    get_named_type,
    is_leaf_type,
    parse,
)

from resolvers.viewer import Viewer
from tests.api.reads.oracle import lists, rights, types
from tests.api.reads.oracle.world import Row, Thing, World, decoded, encoded, entries, leaf, money, snake, steps

Info = GraphQLResolveInfo[Any]
ROOT = Path(__file__).resolve().parents[4]
SCHEMA: GraphQLSchema = build_schema((ROOT / "schema" / "schema.graphql").read_text())
NODE: Any = SCHEMA.type_map["Node"]
KINDS = {type_.name for type_ in SCHEMA.get_possible_types(NODE)}
BY = {"id": "id", "externalId": "external_id", "reference": "reference"}


def is_page(type_: Any) -> bool:
    """Whether a type is that of pages."""
    return bool(type_.name.endswith("Connection"))


class Oracle:
    """Answers for one world; `cursors` are its own words for places in lists."""

    def __init__(self, world: World) -> None:
        self.world, self.cursors = world, lists.Cursors()

    def answer(self, query: str, variables: dict[str, Any], viewer: Viewer) -> ExecutionResult:
        """A valid query -> its data and errors."""
        asking = Asking(self, viewer)
        result = execute(
            SCHEMA, parse(query), variable_values=variables, field_resolver=asking.resolve, type_resolver=_kind_of
        )
        assert isinstance(result, ExecutionResult)
        for error in result.errors or ():
            assert isinstance(error.original_error, GraphQLError), error.original_error
        return result


def _kind_of(thing: Thing, *_: Any) -> str:
    return thing.kind


def written(result: ExecutionResult) -> str:
    """Data as the bytes of a body."""
    return json.dumps({"data": result.data}, ensure_ascii=False, separators=(",", ":"))


class Asking:
    """One operation of one caller."""

    def __init__(self, oracle: Oracle, viewer: Viewer) -> None:
        self._world, self._cursors, self._viewer = oracle.world, oracle.cursors, viewer

    def resolve(self, source: Any, info: Info, **args: Any) -> Any:
        """A field of anything."""
        if info.parent_type is SCHEMA.query_type:
            if wrong := set(self._faults(info.parent_type, info.field_nodes, info)):
                raise GraphQLError("wrong", extensions={"code": min(wrong), "codes": wrong})
            return self._finished(info.return_type, self._root(info, args))
        if isinstance(source, Thing):
            return self._of_row(source, info, args)
        return self._finished(info.return_type, source[info.field_name])

    def _finished(self, type_: Any, value: Any) -> Any:
        """A row -> the thing it is, where it may be seen; a column -> as it is written."""
        named = get_named_type(type_)
        if isinstance(value, list):
            return [self._finished(named, each) for each in value]
        if named.name in KINDS and not isinstance(value, Thing):
            return Thing(named.name, value) if rights.seen(self._world, named.name, value, self._viewer) else None
        return leaf(named.name, value) if is_leaf_type(named) else value

    def _seen(self, kind: str, rows: Iterable[Row]) -> list[Row]:
        return [row for row in rows if rights.seen(self._world, kind, row, self._viewer)]

    # Roots

    def _root(self, info: Info, args: dict[str, Any]) -> Any:
        type_: Any = get_named_type(info.return_type)
        name = info.field_name
        match name:
            case "viewer":
                return types.caller(self._world, self._viewer)
            case "billingPolicy":
                return self._world.table("billing_policy")[0]
            case "node":
                return self._node(args["id"])
            case "nodes":
                return [self._node(each) for each in args["ids"]]
        if is_page(type_):
            rows = self._world.kind(type_.name.removesuffix("Connection"))
            if "subjectId" in args:
                rows = [row for row in rows if row["subject_id"] == lists.named(args["subjectId"], "*")]
            return self._page(f"Query.{name}", type_, rows, args, info)
        if "id" in args or "by" in args:
            found = self._seen(type_.name, self._named(type_.name, args.get("by") or {"id": args["id"]}))
            return found[0] if found else None
        return sorted(self._seen(type_.name, self._world.kind(type_.name)), key=self._by(f"Query.{name}"))

    def _node(self, given: str) -> Thing | None:
        kind, key = decoded(given) or ("", None)
        row = self._world.the(kind, key) if kind in KINDS else None
        return Thing(kind, row) if row and rights.seen(self._world, kind, row, self._viewer) else None

    def _named(self, kind: str, by: dict[str, str]) -> list[Row]:
        """The rows that exactly one way to name one names, the longest known first."""
        ((how, given),) = by.items()
        match how:
            case "id":
                row = self._world.the(kind, lists.named(given, kind))
                return [row] if row else []
            case "email":
                return [row for row in self._world.kind(kind) if lists.meets(self._world, kind, row, by)]
            case "courseproId":
                links = self._world.where("external_link", provider="COURSEPRO", kind="user", external_id=given)
                keys = {link["user_id"] for link in links if link["state"] != "UNLINKED"}
                return [row for row in self._world.kind(kind) if row["id"] in keys]
            case _:
                return [row for row in self._world.kind(kind) if row[BY[how]] == given]

    # Fields of rows

    def _of_row(self, source: Thing, info: Info, args: dict[str, Any]) -> Any:
        (kind, row), name = source, info.field_name
        place, named = f"{kind}.{name}", get_named_type(info.return_type)
        if not rights.told(place, self._viewer):
            return None
        if name == "id":
            return encoded(kind, row["id"])
        if place in types.COMPUTED:
            value = types.COMPUTED[place](self._world, row)
            return self._finished(named, self._seen(named.name, value) if _rows(named, value) else value)
        if place in types.BACK:
            return self._behind(place, named, row, args, info)
        if named.name in KINDS:
            key = row[types.KEYS.get(place, f"{snake(name)}_id")]
            return self._finished(named, self._world.the(named.name, key))
        column = row[types.COLUMNS.get(place, snake(name))]
        match named.name:
            case "Money":
                return money(column, row["currency"])
            case "NamedValue":
                return entries(column)
            case "Step":
                return steps(column)
        return leaf(named.name, column)

    def _behind(self, place: str, type_: Any, row: Row, args: dict[str, Any], info: Info) -> Any:
        kind = type_.name.removesuffix("Connection")
        rows = [each for each in self._world.kind(kind) if each[types.BACK[place]] == row["id"]]
        if is_page(type_):
            return self._page(place, type_, rows, args, info)
        return self._finished(type_, sorted(self._seen(kind, rows), key=self._by(place)))

    def _by(self, place: str) -> Any:
        order = types.ORDERS.get(place)
        return lambda row: order(self._world, row) if order else row["id"]

    # Pages

    def _asked(self, place: str, type_: Any, args: dict[str, Any], filter_: Any) -> lists.Asked:
        kind = type_.name.removesuffix("Connection")
        filters: Any = get_named_type(filter_.type)
        stretches = [
            name
            for name, each in filters.fields.items()
            if get_named_type(each.type).name in ("DateRange", "DateTimeRange")
        ]
        return lists.Asked(place, kind, args, lists.order_of(kind, args, stretches))

    def _page(self, place: str, type_: Any, rows: list[Row], args: dict[str, Any], info: Info) -> Any:
        asked = self._asked(place, type_, args, info.parent_type.fields[info.field_name].args["filter"])
        met = [
            row for row in self._seen(asked.kind, rows) if lists.meets(self._world, asked.kind, row, args.get("filter"))
        ]
        return lists.page(asked, met, self._cursors)

    # What is wrong with arguments

    def _faults(self, type_: Any, nodes: Iterable[FieldNode], info: Info) -> Iterator[str]:
        for node in nodes:
            if node.name.value == "__typename":
                continue
            field = type_.fields[node.name.value]
            args = get_argument_values(field, node, info.variable_values)
            within: Any = get_named_type(field.type)
            yield from self._wrong_ids(field.args, args)
            if is_page(within):
                asked = self._asked(f"{type_.name}.{node.name.value}", within, args, field.args["filter"])
                yield from lists.faults(asked, self._cursors)
            if len(args.get("ids") or ()) > lists.MOST and type_ is SCHEMA.query_type:
                yield "BAD_USER_INPUT"
            for each in self._kinds(within, args) if node.selection_set else ():
                yield from self._faults(each, _chosen(each, node, info), info)

    def _kinds(self, type_: Any, args: dict[str, Any]) -> list[GraphQLObjectType]:
        """What may be under a field; of things by their ids, what the ids are of and the caller may see any of."""
        if type_ is not NODE:
            return [type_]
        found = {(decoded(each) or ("",))[0] for each in args.get("ids", [args.get("id")])}
        named: list[Any] = [SCHEMA.type_map[kind] for kind in sorted(found & KINDS)]
        return [each for each in named if rights.sees_some(each.name, self._viewer)]

    def _wrong_ids(self, fields: Any, given: Any) -> Iterator[str]:
        for name, value in (given or {}).items():
            type_: Any = get_named_type(fields[name].type)
            for each in value if isinstance(value, list) else [value]:
                if isinstance(type_, GraphQLInputObjectType):
                    yield from self._wrong_ids(type_.fields, each)
                elif type_.name == "ID" and each is not None and decoded(each) is None:
                    yield "BAD_USER_INPUT"


def _rows(type_: Any, value: Any) -> bool:
    return type_.name in KINDS and isinstance(value, list)


def _chosen(type_: GraphQLObjectType, node: FieldNode, info: Info) -> Iterator[FieldNode]:
    """The fields that are asked of a type under a field, fragments and directives followed."""

    def within(selections: Iterable[SelectionNode]) -> Iterator[FieldNode]:
        for each in selections:
            skip = get_directive_values(GraphQLSkipDirective, each, info.variable_values)
            include = get_directive_values(GraphQLIncludeDirective, each, info.variable_values)
            if (skip and skip["if"]) or (include and not include["if"]):
                continue
            if isinstance(each, FieldNode):
                yield each
                continue
            fragment: Any = info.fragments[each.name.value] if isinstance(each, FragmentSpreadNode) else each
            condition = fragment.type_condition
            if condition is None or condition.name.value in (type_.name, "Node"):
                yield from within(fragment.selection_set.selections)

    assert node.selection_set
    return within(node.selection_set.selections)
