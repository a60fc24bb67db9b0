"""What a job gets to work with."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from models.actions.jobs import Held
from models.ports import Clock, LiveBus, PartnerReads, Providers


async def _no_reads() -> PartnerReads:
    raise RuntimeError("this worker was not given the API's reads")


class Unfinished(Exception):
    """A long job did its share of one turn: it goes on at once, behind others, and that counts as no attempt."""


@dataclass(frozen=True, slots=True)
class Outside:
    """The world of one worker process; `reads` opens what the API reads by when it is first asked for."""

    providers: Providers
    clock: Clock
    bus: LiveBus
    reads: Callable[[], Awaitable[PartnerReads]] = _no_reads


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
