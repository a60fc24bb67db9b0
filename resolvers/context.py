"""What a resolver may know of its request."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import strawberry

from models.actions.vault import Vault
from models.ports import Clock, Left, LiveBus, Purse
from resolvers.limits import LIMITS, Limits
from resolvers.reads.run import Reader
from resolvers.shared import Shared
from resolvers.viewer import Viewer


@dataclass(frozen=True, slots=True)
class Deployment:
    """What every request of this process shares; `sandbox` is True where the sandbox's clock may be moved.

    `claim_url` is what a link to claim a record begins with; without it a message has the bare token. `public_url` is
    what a link to an exported file begins with, without it a path; such a link is good for `export_hours`. Without a
    `purse` callers spend as they like.
    """

    reader: Reader
    clock: Clock
    bus: LiveBus
    vault: Vault
    sandbox: bool = False
    claim_url: str = ""
    public_url: str = ""
    export_hours: int = 24
    limits: Limits = LIMITS
    purse: Purse | None = None
    shared: Shared = field(default_factory=Shared)


@dataclass(slots=True)
class Context:
    """One operation: who asks, under which id it is logged, where a stream resumes, its price.

    `present` tells, of an operation that lasts, who the caller is by now, None once the key has ended; it is equal for
    callers that show the same.
    """

    viewer: Viewer
    deployment: Deployment
    request_id: str
    present: Callable[[], Awaitable[Viewer | None]] | None = None
    resume_after: str | None = None
    cost: int = 0
    left: Left | None = None

    @property
    def reader(self) -> Reader:
        """Answers compiled reads."""
        return self.deployment.reader

    @property
    def clock(self) -> Clock:
        """Tells the business time."""
        return self.deployment.clock

    @property
    def bus(self) -> LiveBus:
        """Carries live events."""
        return self.deployment.bus

    @property
    def vault(self) -> Vault:
        """Seals secrets."""
        return self.deployment.vault

    @property
    def sandbox(self) -> bool:
        """Whether the sandbox runs here."""
        return self.deployment.sandbox

    @property
    def claim_url(self) -> str:
        """What a link to claim a record begins with."""
        return self.deployment.claim_url


Info = strawberry.Info[Context, None]
