"""Who is asking."""

from dataclasses import dataclass, field
from uuid import UUID

from models.rules.states import Role


@dataclass(frozen=True, slots=True)
class Viewer:
    """A caller whose key or token was verified; `user_id` is the person it stands for, if any.

    `key_id` is the key's id, or made of a token's issuer and subject; `ends` is when it is good no more, in seconds of
    this process's monotonic clock.
    """

    role: Role
    user_id: UUID | None
    key_id: UUID
    name: str
    scopes: frozenset[str] = frozenset()
    shows: str = "key"
    ends: float | None = field(default=None, compare=False)

    @property
    def actor(self) -> str:
        """How audit rows name this caller: "key:front desk", "token:auth0|17"."""
        return f"{self.shows}:{self.name}"
