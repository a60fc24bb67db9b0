"""Lists narrowed, sorted and cut into pages, row by row in plain Python."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cmp_to_key
from typing import Any, NamedTuple
from uuid import UUID

from models.rules.matching import normalised_email
from tests.api.reads.oracle.types import managed
from tests.api.reads.oracle.world import Part, Row, Thing, World, decoded, instant, snake

PAGE, MOST = 50, 100
CREATED = "CREATED_AT"  # ids are made in the order of time: this order is theirs

Truth = Callable[[World, Row], bool]

# Fields of filters whose column is called otherwise.
COLUMNS: Mapping[str, str] = {
    "PricingOption.type": "option_type",
    "Membership.typeId": "membership_type_id",
    "Job.status": "state",
}
NAMED: Mapping[str, str] = {"typeId": "MembershipType", "endpointId": "WebhookEndpoint"}

TRUTHS: Mapping[str, Truth] = {
    "CardSubscription.linked": lambda _world, row: row["user_id"] is not None,
    "CardSubscription.managed": managed,
    "ClassSession.deleted": lambda _world, row: row["deleted_at"] is not None,
    "Invoice.billedOff": lambda _world, row: row["billed_off_at"] is not None,
    "Invoice.held": lambda _world, row: row["hold"] is not None,
    "Invoice.creditUsed": lambda _world, row: row["credit_used"] > 0,
    "AccessToken.revoked": lambda _world, row: row["revoked_at"] is not None,
    "ApiKey.revoked": lambda _world, row: row["revoked_at"] is not None,
    "Notification.sent": lambda _world, row: row["sent_at"] is not None,
    "ProbeRun.passed": lambda _world, row: row["passed"],
    "CourseMapping.verified": lambda _world, row: row["verified_at"] is not None,
    "WebhookEndpoint.enabled": lambda _world, row: row["enabled"],
}


def named(given: str, kind: str) -> UUID | None:
    """The uuid of an id of this type (`*` of any); an id of something else names nothing."""
    found = decoded(given)
    return found[1] if found and kind in ("*", found[0]) else None


def meets(world: World, kind: str, row: Row, filter_: Mapping[str, Any] | None) -> bool:
    """Whether a row meets all of a filter; null asks nothing."""
    asked = {name: value for name, value in (filter_ or {}).items() if value is not None}
    return all(_meets(world, kind, row, name, value) for name, value in asked.items())


def _meets(world: World, kind: str, row: Row, name: str, value: Any) -> bool:
    column = COLUMNS.get(f"{kind}.{name}", snake(name))
    if name == "ids":
        return row["id"] in [named(each, kind) for each in value]
    if name == "endsAfter":
        held = world.where("class_session", course_id=row["id"], deleted_at=None)
        return any(each["starts_at"] > instant(value) for each in held)
    if name == "email":
        return bool(row["email_key"] == normalised_email(value))
    if isinstance(value, bool):
        return TRUTHS[f"{kind}.{name}"](world, row) is value
    if isinstance(value, dict):
        return _within(row[column], value)
    if isinstance(value, list):
        return row[column] in [each for each in value if each is not None]
    wanted = NAMED.get(name, name[0].upper() + name[1:-2])
    key = named(value, wanted)
    return key is not None and row[column] == key


def _within(value: Any, stretch: Mapping[str, str | None]) -> bool:
    """[gte, lt) of instants or days."""
    bounds = [(side, bound) for side, bound in stretch.items() if bound is not None]
    if value is None:
        return not bounds
    return all((value >= _like(value, bound)) is (side == "gte") for side, bound in bounds)


def _like(value: Any, bound: str) -> Any:
    return instant(bound) if hasattr(value, "hour") else type(value).fromisoformat(bound)


class Step(NamedTuple):
    """One column of an order."""

    column: str
    falling: bool = False


def order_of(kind: str, args: Mapping[str, Any], stretches: Sequence[str]) -> tuple[Step, ...]:
    """What is asked for, else the column of the first stretch (in the order of the schema); the id decides last.

    It goes the way of the step before it.
    """
    steps: dict[str, Step] = {}
    for asked in args.get("orderBy") or ():
        column = "id" if asked["field"] == CREATED else snake(asked["field"].lower())
        steps.setdefault(column, Step(column, asked["direction"] == "DESC"))
    if not steps:
        given = args.get("filter") or {}
        narrowed = [name for name in stretches if any(bound is not None for bound in (given.get(name) or {}).values())]
        steps = {snake(name): Step(COLUMNS.get(f"{kind}.{name}", snake(name))) for name in narrowed[:1]}
    falling = next(reversed(steps.values())).falling if steps else False
    steps.setdefault("id", Step("id", falling))
    return tuple(steps.values())[: list(steps).index("id") + 1]


Key = tuple[Any, ...]


def _compared(order: Sequence[Step]) -> Callable[[Key, Key], int]:
    def compare(one: Key, other: Key) -> int:
        for step, left, right in zip(order, one, other, strict=True):
            if left != right:
                return 1 if (left > right) is not step.falling else -1
        return 0

    return compare


class Cursors:
    """Words for places: the same one for the same list, order, filter and row."""

    MARK = "␟cursor "

    def __init__(self) -> None:
        self._places: list[tuple[Any, Key]] = []
        self._words: dict[tuple[Any, Key], str] = {}

    def word(self, scope: Any, key: Key) -> str:
        """The place of a row of a list."""
        if (scope, key) not in self._words:
            self._words[scope, key] = f"{self.MARK}{len(self._places)}"
            self._places.append((scope, key))
        return self._words[scope, key]

    def place(self, cursor: str) -> tuple[Any, Key] | None:
        """What a word stands for: the list with its order and filter, and the row's values; None for what is none."""
        number = cursor.removeprefix(self.MARK)
        return None if number == cursor else self._places[int(number)]

    def key(self, scope: Any, cursor: str) -> Key | None:
        """The values of the row it was made of; None for another list's, and for what is no cursor."""
        found = self.place(cursor)
        return found[1] if found and found[0] == scope else None


def scope_of(place: str, order: Sequence[Step], args: Mapping[str, Any]) -> Any:
    """What a cursor belongs to: the list, its order, and what it is narrowed by, however that is spelled."""
    narrowed = {name: value for name, value in args.items() if name in ("filter", "subjectId")}
    return place, tuple(order), _meaning(narrowed)


def _meaning(value: Any) -> Any:
    if isinstance(value, Mapping):
        said = {name: _meaning(each) for name, each in value.items()}
        return tuple(sorted((name, each) for name, each in said.items() if each not in (None, ())))
    if isinstance(value, list):
        return ("list", *(_meaning(each) for each in value))
    try:
        return instant(value).isoformat() if isinstance(value, str) and "T" in value and ":" in value else value
    except ValueError:
        return value


class Asked(NamedTuple):
    """A connection as it was asked for."""

    place: str
    kind: str
    args: Mapping[str, Any]
    order: tuple[Step, ...]

    @property
    def scope(self) -> Any:
        return scope_of(self.place, self.order, self.args)


def faults(asked: Asked, cursors: Cursors) -> Iterator[str]:
    """The codes of what is wrong with a page."""
    args = {name: value for name, value in asked.args.items() if value is not None}
    if "first" in args and "last" in args:
        yield "BAD_USER_INPUT"
    if any(not 1 <= args[name] <= MOST for name in ("first", "last") if name in args):
        yield "BAD_USER_INPUT"
    for name in ("after", "before"):
        if name in args and cursors.key(asked.scope, args[name]) is None:
            yield "INVALID_CURSOR"


def page(asked: Asked, rows: Sequence[Row], cursors: Cursors) -> Part:
    """The rows of a list that meet its filter -> the page that was asked for."""
    args, compare = asked.args, _compared(asked.order)
    keyed = {tuple(row[step.column] for step in asked.order): row for row in rows}
    keys = sorted(keyed, key=cmp_to_key(compare))
    after, before = (cursors.key(asked.scope, args[name]) if args.get(name) else None for name in ("after", "before"))
    between = [
        key
        for key in keys
        if (after is None or compare(key, after) > 0) and (before is None or compare(key, before) < 0)
    ]
    if args.get("last") is not None:
        kept = between[-args["last"] :]
        more = {"hasNextPage": before is not None, "hasPreviousPage": len(between) > len(kept) or after is not None}
    else:
        kept = between[: PAGE if args.get("first") is None else args["first"]]
        more = {"hasNextPage": len(between) > len(kept) or before is not None, "hasPreviousPage": after is not None}
    edges = [{"cursor": cursors.word(asked.scope, key), "node": Thing(asked.kind, keyed[key])} for key in kept]
    ends = {
        "startCursor": edges[0]["cursor"] if edges else None,
        "endCursor": edges[-1]["cursor"] if edges else None,
    }
    nodes = [edge["node"] for edge in edges]
    return {"edges": edges, "nodes": nodes, "pageInfo": {**more, **ends}, "totalCount": len(rows)}
