"""The arithmetic of measuring: medians with their ranges, ratios of rounds, exponents of growth, and targets."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import NamedTuple


class Spread(NamedTuple):
    """The middle of some values, the lowest and the highest."""

    median: float
    low: float
    high: float


class Bound(Enum):
    """Which side of its target a value must be on."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


@dataclass(frozen=True, slots=True)
class Target:
    """What a median must reach."""

    bound: Bound
    value: float

    def met(self, value: float) -> bool:
        """Whether a value reaches it."""
        return value >= self.value if self.bound is Bound.AT_LEAST else value <= self.value

    def told(self, value: float) -> str:
        """A value -> "met", or by how much of the target it is missed."""
        if self.met(value):
            return "met"
        if self.bound is Bound.AT_MOST:
            return f"**missed: {value / self.value:.1f} times as much**"
        return f"**missed by {(self.value - value) / self.value:.0%}**"

    def __str__(self) -> str:
        return f"{self.bound.value} {self.value:g}"


def at_least(value: float) -> Target:
    """The target of a ratio that is good when high."""
    return Target(Bound.AT_LEAST, value)


def at_most(value: float) -> Target:
    """The target of a time, a size or an exponent."""
    return Target(Bound.AT_MOST, value)


@dataclass(frozen=True, slots=True)
class Measured:
    """One line of a table: what was measured, beside what, a value of each round, and what the median must reach."""

    what: str
    beside: str
    values: Sequence[float]
    target: Target | None = None
    unit: str = "×"

    @property
    def missed(self) -> bool:
        """Whether there is a target it does not reach."""
        return self.target is not None and not self.target.met(spread(self.values).median)


@dataclass(slots=True)
class Section:
    """What one part found: its lines, and sentences about them."""

    title: str
    words: str
    lines: list[Measured] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    profiles: list[Path] = field(default_factory=list)

    @property
    def missed(self) -> list[Measured]:
        """The lines whose target is not reached."""
        return [line for line in self.lines if line.missed]


def spread(values: Sequence[float]) -> Spread:
    """Values of rounds -> their median and range. [3, 1, 2] -> (2, 1, 3)"""
    return Spread(statistics.median(values), min(values), max(values))


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's own ratio: what disturbs the machine for a while disturbs both. [2, 9], [1, 3] -> [2.0, 3.0]"""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The k of cost = c * size**k, by least squares on logarithms. [1, 10, 100], [5, 50, 500] -> 1.0"""
    slope, _ = statistics.linear_regression([math.log(each) for each in sizes], [math.log(each) for each in costs])
    return slope


def quantile(values: Sequence[float], part: float) -> float:
    """The value that `part` of the values do not exceed. (1..100, 0.99) -> 99"""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
