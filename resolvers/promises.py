"""What a schema once promised to its clients, and whether it still keeps it."""

import re
from datetime import date
from typing import Any

from graphql import REMOVE, Node, Visitor, build_ast_schema, find_breaking_changes, find_dangerous_changes, parse, visit
from graphql.utilities import BreakingChange, DangerousChange, DangerousChangeType

Change = BreakingChange | DangerousChange
DEPRECATION = re.compile(r"Use .+\. Removed after (\d{4}-\d\d-\d\d)\.")
# Enums and unions are open, which their users are told; what is optional may be added anywhere.
_GROWTH = set(DangerousChangeType) - {
    DangerousChangeType.ARG_DEFAULT_VALUE_CHANGE,
    DangerousChangeType.INPUT_FIELD_DEFAULT_VALUE_CHANGE,
}


class _Past(Visitor):
    """Takes out of an SDL what it says is gone by a day."""

    def __init__(self, today: date) -> None:
        super().__init__()
        self._today = today

    def enter(self, node: Node, *_: Any) -> Any:
        for directive in getattr(node, "directives", None) or ():
            if directive.name.value == "deprecated" and directive.arguments:
                said = DEPRECATION.fullmatch(directive.arguments[0].value.value)
                if said and date.fromisoformat(said[1]) < self._today:
                    return REMOVE
        return None


def broken(before: str, after: str, today: date) -> list[str]:
    """(SDL as released, SDL now) -> a sentence for each change that some client of the first would not survive.

    What the first said would be removed after a day that has passed may be gone.
    """
    was, now = build_ast_schema(visit(parse(before), _Past(today))), build_ast_schema(parse(after))
    changes: list[Change] = [*find_breaking_changes(was, now)]
    changes += [change for change in find_dangerous_changes(was, now) if change.type not in _GROWTH]
    return sorted(f"{change.type.name}: {change.description}" for change in changes)
