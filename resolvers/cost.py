"""What an operation costs in points, told from its document and variables before anything runs.

    a value                              nothing, but 10 for `totalCount`, which counts every row
    an object                            1 + what is asked of it
    a page                               1 + its size (`first` or `last`, else 50) × (1 + what is asked of a row)
    a list without pages                 1 + 10 × (1 + what is asked of a row); of `nodes`, as many as ids are given
    a mutation                           11 + what is asked of its answer
    `__schema`, `__type`                 100
    what is reckoned when it is asked    what `RECKONED` says, and what is asked of it

A fragment counts wherever it is spread, whatever `@skip` and `@include` say; an operation costs at least 1.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
)

from resolvers.limits import LIMITS, Limits
from resolvers.reads.paging import PAGE

Variables = Mapping[str, Any]
Price = int | Callable[[Variables], int]

MUTATION = 10
INTROSPECTION = 100
COUNTED = 10
SHORT_LIST = 10
RECKONED = {
    "bookingQuotes": 20,
    "explain": 20,
    "integrationReadiness": 20,
    "mappingSheet": 100,
    "mappingSheetCsv": 100,
    "mayEnter": 5,
    "moneyProof": 200,
    "priceAt": 5,
    "revenueReport": 200,
    "whyNot": 20,
}


def prices(schema: GraphQLSchema, document: DocumentNode, limits: Limits = LIMITS) -> dict[str, Price]:
    """A valid document -> the price of each of its operations by name, "" for one without."""
    pricing = _Pricing(schema, document, limits)
    return {
        definition.name.value if definition.name else "": pricing.operation(definition)
        for definition in document.definitions
        if isinstance(definition, OperationDefinitionNode)
    }


def asked(price: Price, variables: Variables | None) -> int:
    """A price and the variables as they came -> points."""
    return price if isinstance(price, int) else price(variables or {})


class _Pricing:
    """One document being priced; each fragment once."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, limits: Limits) -> None:
        self._schema, self._limits = schema, limits
        self._fragments = {
            each.name.value: each for each in document.definitions if isinstance(each, FragmentDefinitionNode)
        }
        self._known: dict[str, Price] = {}
        self._defaults: dict[str, Any] = {}

    def operation(self, node: OperationDefinitionNode) -> Price:
        self._known = {}  # a fragment's variables are those of the operation it stands in
        self._defaults = {
            each.variable.name.value: _literal(each.default_value)
            for each in node.variable_definitions or ()
            if each.default_value is not None
        }
        extra = MUTATION if node.operation is OperationType.MUTATION else 0
        price = self._selected(node.selection_set, self._schema.get_root_type(node.operation), SHORT_LIST, extra)
        return _least(price)

    def _selected(self, chosen: SelectionSetNode, type_: Any, size: Price, extra: int = 0) -> Price:
        """What is asked of a type; `size` is how many rows its lists hold where it is a page."""
        return _sum(self._selection(each, type_, size, extra) for each in chosen.selections)

    def _selection(self, each: Any, type_: Any, size: Price, extra: int) -> Price:
        if isinstance(each, FieldNode):
            return self._field(each, type_, size, extra)
        if isinstance(each, InlineFragmentNode):
            condition = each.type_condition
            within = self._schema.type_map[condition.name.value] if condition else type_
            return self._selected(each.selection_set, within, size, extra)
        assert isinstance(each, FragmentSpreadNode)
        fragment = self._fragments[each.name.value]
        within = self._schema.type_map[fragment.type_condition.name.value]
        if _is_page(within):  # its price depends on the page it is spread in
            return self._selected(fragment.selection_set, within, size, extra)
        if each.name.value not in self._known:
            self._known[each.name.value] = self._selected(fragment.selection_set, within, SHORT_LIST, extra)
        return self._known[each.name.value]

    def _field(self, node: FieldNode, type_: Any, size: Price, extra: int) -> Price:
        name = node.name.value
        if name.startswith("__"):
            return 0 if name == "__typename" else INTROSPECTION
        field = type_.fields[name]
        base = extra + (RECKONED.get(name, 0) if type_ is self._schema.query_type else 0)
        if is_leaf_type(get_named_type(field.type)):
            return base + (COUNTED if name == "totalCount" and _is_page(type_) else 0)
        inner = get_named_type(field.type)
        assert node.selection_set is not None
        if _is_page(inner):
            return _sum([base + 1, self._selected(node.selection_set, inner, self._size(node))])
        content = self._selected(node.selection_set, inner, SHORT_LIST)
        if _is_page(type_):
            return self._of_page(name, content, size)
        if not is_list_type(get_nullable_type(field.type)):
            return _sum([base + 1, content])
        rows = self._given(node, "ids") if type_ is self._schema.query_type and name == "nodes" else SHORT_LIST
        return _sum([base + 1, _times(rows, _sum([1, content]))])

    def _of_page(self, name: str, content: Price, size: Price) -> Price:
        if name == "pageInfo":
            return 0
        # an edge is nothing beside its node, but without one it is a row
        return _times(size, _sum([1, content]) if name == "nodes" else content or 1)

    def _size(self, node: FieldNode) -> Price:
        given = [each for each in ("first", "last") if _argument(node, each) is not None]
        return self._given(node, given[0]) if given else min(PAGE, self._limits.page)

    def _given(self, node: FieldNode, name: str) -> Price:
        """How many rows an argument says: a number, or one for each of a list."""
        value, most = _argument(node, name), self._limits.page
        if isinstance(value, VariableNode):
            word = value.name.value
            default = self._defaults.get(word)
            return lambda variables: _rows(variables.get(word, default), most)
        return _rows(_literal(value), most)


def _is_page(type_: Any) -> bool:
    return str(type_.name).endswith("Connection") and "pageInfo" in getattr(type_, "fields", ())


def _argument(node: FieldNode, name: str) -> ValueNode | None:
    return next((each.value for each in node.arguments or () if each.name.value == name), None)


def _literal(value: ValueNode | None) -> Any:
    if isinstance(value, IntValueNode):
        return int(value.value)
    return list(value.values) if isinstance(value, ListValueNode) else None


def _rows(given: Any, most: int) -> int:
    """What stands for a page's size -> rows; what is wrong is refused later, and costs no less for it."""
    if isinstance(given, list):
        given = len(given)
    if isinstance(given, bool) or not isinstance(given, int):
        return min(PAGE, most)
    return min(max(given, 1), most)


def _sum(prices: Iterable[Price]) -> Price:
    fixed, asking = 0, list[Callable[[Variables], int]]()
    for each in prices:
        if isinstance(each, int):
            fixed += each
        else:
            asking.append(each)
    if not asking:
        return fixed
    return lambda variables: fixed + sum(each(variables) for each in asking)


def _times(size: Price, content: Price) -> Price:
    if isinstance(size, int) and isinstance(content, int):
        return size * content
    return lambda variables: asked(size, variables) * asked(content, variables)


def _least(price: Price) -> Price:
    return max(1, price) if isinstance(price, int) else lambda variables: max(1, price(variables))
