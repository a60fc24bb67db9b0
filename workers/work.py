"""What a job gets to work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from models.actions.jobs import Held
from models.ports import Clock, LiveBus, Providers


class Unfinished(Exception):
    """A long job did its share of one turn: it goes on at once, behind others, and that counts as no attempt."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The world of one worker process."""

    providers: Providers
    clock: Clock
    bus: LiveBus


@dataclass(frozen=True, slots=True)
class Work:
    """One claimed job and the outside it may call; jobs take ids and read the present."""

    job: Held
    outside: Outside

    @property
    def acting(self) -> str:
        """Who the audit says did it."""
        return f"job:{self.job.kind}"

    @property
    def now(self) -> datetime:
        """The business instant."""
        return self.outside.clock.now()

    @property
    def providers(self) -> Providers:
        """The ports."""
        return self.outside.providers


Handler = Callable[[Work], Awaitable[None]]
