"""Rounds in turn: what disturbs the machine for a while disturbs everybody, and nobody is always first."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from bench.figures import spread
from bench.load import Told

T = TypeVar("T")


WARM = 0.25


class Round(NamedTuple):
    """What one round of requests found, and the seconds of processor the server and PostgreSQL took for it."""

    told: Told
    server: float
    postgres: float

    @property
    def microseconds(self) -> tuple[float, float]:
        """Of processor a request: the server's and PostgreSQL's."""
        return 1e6 * self.server / self.told.count, 1e6 * self.postgres / self.told.count


def rates(told: Mapping[str, Sequence[Round]]) -> dict[str, list[float]]:
    """The answers a second of each contestant's rounds."""
    return {name: [each.told.rate for each in rounds] for name, rounds in told.items()}


def spent(told: Mapping[str, Sequence[Round]]) -> str:
    """What a request cost each of them in processor time, in words: less disturbed by the machine than rates are."""
    cost = {
        name: [spread(values).median for values in zip(*(each.microseconds for each in rounds), strict=True)]
        for name, rounds in told.items()
    }
    words = "; ".join(f"{name} {server:.0f} + {postgres:.0f}" for name, (server, postgres) in cost.items())
    busiest = max(each.told.busy for rounds in told.values() for each in rounds)
    return (
        f"µs of processor a request, server + PostgreSQL: {words}. Who asks was busy for {busiest:.0%} of the time at"
        " most."
    )


def timed(contestants: Mapping[str, Callable[[float], T]], rounds: int, seconds: float) -> dict[str, list[T]]:
    """Rounds of so many seconds, after a shorter one of each that does not count."""
    for contestant in contestants.values():
        contestant(WARM * seconds)
    return interleaved({name: partial(each, seconds) for name, each in contestants.items()}, rounds)


def interleaved(contestants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Each contestant's results, a round each, in another order each round."""
    told: dict[str, list[T]] = {name: [] for name in contestants}
    names = list(contestants)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            told[name].append(contestants[name]())
    return told
