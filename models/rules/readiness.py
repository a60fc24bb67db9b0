"""How far the integration with CoursePro is set up: the checklist, computed. Source: CoursePro, Checklist; R76-R81."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from models.rules.pricing import FREQUENCY, Frequency, MembershipKind, OptionType
from models.rules.states import Probe

SOON = timedelta(days=30)
MOST_NAMED = 20


class Step(StrEnum):
    """The steps, in the order they are taken."""

    PRICES_AND_MEMBERSHIPS = "PRICES_AND_MEMBERSHIPS"
    COURSES_MAPPED = "COURSES_MAPPED"
    BOUGHT_THERE = "BOUGHT_THERE"
    CREDENTIALS = "CREDENTIALS"
    BOUGHT_HERE = "BOUGHT_HERE"
    COURSES_SET_UP = "COURSES_SET_UP"
    USER_SYNC = "USER_SYNC"


class Standing(StrEnum):
    """How a step stands; only MISSING credentials keep the user sync off, the rest warns (R73)."""

    DONE = "DONE"
    MISSING = "MISSING"
    WARNING = "WARNING"
    EXTERNAL = "EXTERNAL"


# step: (what it is, who says so)
STEPS: dict[Step, tuple[str, str]] = {
    Step.PRICES_AND_MEMBERSHIPS: ("Prices and memberships for courses are made here", "R76"),
    Step.COURSES_MAPPED: ("Each course is mapped to a price, in CoursePro", "R77"),
    Step.BOUGHT_THERE: ("A new person buys a course in CoursePro, at our price, and is known here", "R78"),
    Step.CREDENTIALS: ("Both sides hold the other's keys", "R79"),
    Step.BOUGHT_HERE: ("A new person buys a course here, and CoursePro is told", "R80"),
    Step.COURSES_SET_UP: ("The courses themselves are set up together with CoursePro", "R81"),
    Step.USER_SYNC: ("Changes of users travel to CoursePro", "R73"),
}
assert STEPS.keys() == set(Step)

Evidence = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Item:
    """One step: how it stands, what that was told by, and who asks for it."""

    step: Step
    state: Standing
    evidence: Evidence

    @property
    def title(self) -> str:
        """What the step is."""
        return STEPS[self.step][0]

    @property
    def because(self) -> str:
        """The requirement it stands for."""
        return STEPS[self.step][1]


@dataclass(frozen=True, slots=True)
class Sold:
    """A membership of integration CoursePro Course, and the type and frequency of each price it has."""

    name: str
    kind: MembershipKind
    options: tuple[tuple[OptionType, Frequency], ...]


@dataclass(frozen=True, slots=True)
class Mapped:
    """How many courses have a price; of these used by a cart, at a price that is none any more; types without one."""

    courses: int = 0
    verified: int = 0
    broken: int = 0
    types_without: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """The last trial purchase of a kind."""

    passed: bool
    at: datetime
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What the database holds of it all; `keys` are live API keys of CoursePro's: (name, when each ends)."""

    sold: Sequence[Sold] = ()
    mapped: Mapped = field(default_factory=Mapped)
    missing: Sequence[str] = ()
    enabled: bool = False
    user_sync: bool = False
    keys: Sequence[tuple[str, datetime | None]] = ()
    runs: Mapping[Probe, Run] = field(default_factory=dict)


def checklist(found: Found, at: datetime) -> tuple[Item, ...]:
    """(what was found, now) -> the steps in their order. Source: CoursePro, Checklist and F; R73, R76-R81."""
    there, here = found.runs.get(Probe.BORN_THERE), found.runs.get(Probe.BORN_HERE)
    return (
        _sold(found.sold),
        _mapped(found.mapped),
        _bought(Step.BOUGHT_THERE, there),
        _credentials(found, at),
        _bought(Step.BOUGHT_HERE, here),
        Item(Step.COURSES_SET_UP, Standing.EXTERNAL, ()),
        _user_sync(found),
    )


def may_sync(items: Iterable[Item]) -> bool:
    """Whether the user sync may be switched on: the credentials are there; what is untested only warns (R73)."""
    return not any(item.step is Step.CREDENTIALS and item.state is Standing.MISSING for item in items)


def violations(kind: Sold) -> tuple[str, ...]:
    """A CoursePro membership -> what keeps it from being sold there (R10, R28, R29, R33)."""
    wrong = []
    if len(kind.options) != 1:
        wrong.append(f"it has {len(kind.options)} prices, not one")
    if any(option_type is not OptionType.COURSEPRO_COURSE for option_type, _ in kind.options):
        wrong.append("a price is not of the type for CoursePro courses")
    if any(frequency is not FREQUENCY[kind.kind] for _, frequency in kind.options):
        wrong.append(f"a price is not {FREQUENCY[kind.kind].value.lower()}")
    return tuple(wrong)


def _sold(sold: Sequence[Sold]) -> Item:
    wrong = [(kind.name, "; ".join(found)) for kind in sold if (found := violations(kind))]
    counted = (("memberships", str(len(sold))), ("of these wrong", str(len(wrong))))
    whole = Standing.WARNING if wrong else Standing.DONE
    state = whole if len(sold) > len(wrong) else Standing.MISSING
    return Item(Step.PRICES_AND_MEMBERSHIPS, state, (*counted, *wrong[:MOST_NAMED]))


def _mapped(mapped: Mapped) -> Item:
    unsure = mapped.verified < mapped.courses or mapped.broken or mapped.types_without
    state = Standing.MISSING if not mapped.courses else Standing.WARNING if unsure else Standing.DONE
    told = {
        "courses mapped": mapped.courses,
        "of these used by a cart": mapped.verified,
        "of these at a price their membership no longer has": mapped.broken,
        "memberships without a course": mapped.types_without,
    }
    return Item(Step.COURSES_MAPPED, state, tuple((name, str(count)) for name, count in told.items()))


def _bought(step: Step, run: Run | None) -> Item:
    if run is None:
        return Item(step, Standing.MISSING, ())
    told = [(name, None if value is None else str(value)) for name, value in run.evidence.items()]
    return Item(step, Standing.DONE if run.passed else Standing.WARNING, (("at", run.at.isoformat()), *told))


def _credentials(found: Found, at: datetime) -> Item:
    ends = [end for _, end in found.keys]
    told: list[tuple[str, str | None]] = [(name, "missing") for name in found.missing]
    told += [(f"API key {name!r}", end.isoformat() if end else "does not end") for name, end in found.keys]
    if found.missing or not found.keys:
        return Item(Step.CREDENTIALS, Standing.MISSING, (*told, *(() if found.keys else (("API key", "missing"),))))
    ending = all(end is not None and end <= at + SOON for end in ends)
    switched = (("switched on", str(found.enabled).lower()),)
    return Item(
        Step.CREDENTIALS, Standing.WARNING if ending or not found.enabled else Standing.DONE, (*told, *switched)
    )


def _user_sync(found: Found) -> Item:
    """Off is a choice while all is there, and the only one while it is not."""
    off = Standing.MISSING if found.missing else Standing.WARNING
    return Item(
        Step.USER_SYNC,
        Standing.DONE if found.user_sync and found.enabled else off,
        (("switched on", str(found.user_sync).lower()),),
    )
