"""Who is asking."""

from dataclasses import dataclass
from uuid import UUID

from models.rules.states import Role


@dataclass(frozen=True, slots=True)
class Viewer:
    """A caller whose key or token was verified; `user_id` is the person it stands for, if any."""

    role: Role
    user_id: UUID | None
    key_id: UUID
    name: str
    scopes: frozenset[str] = frozenset()

    @property
    def actor(self) -> str:
        """How audit rows name this caller: "key:front desk"."""
        return f"key:{self.name}"
