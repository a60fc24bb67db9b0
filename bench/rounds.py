"""Rounds in turn: what disturbs the machine for a while disturbs everybody, and nobody is always first."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar

T = TypeVar("T")


WARM = 0.25


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
