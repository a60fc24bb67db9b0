"""What is sent to the database: a text that stays the same, and what its parameters are taken from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from resolvers.viewer import Viewer


class Asked(NamedTuple):
    """What a statement's parameters are taken from: coerced variables, the caller, the uuid of what to load."""

    variables: Mapping[str, Any]
    viewer: Viewer
    subject: UUID | None = None


Bind = Callable[[Asked], Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL whose only value is the answer as JSON, and where each of its parameters comes from."""

    sql: str
    binds: tuple[Bind, ...]
    used: tuple[int, ...]

    def values(self, asked: Asked) -> list[Any]:
        """The parameters for one request. Raises BadInput, for what is not used in the end as well."""
        values = [bind(asked) for bind in self.binds]
        return [values[at] for at in self.used]
