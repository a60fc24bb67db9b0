"""What of a booking is given back when it is cancelled or one of its classes is deleted. The documents are silent.

The policies are settings of the course; docs/decisions/0036 says why they are what they are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from models.rules.booking import SETTLEMENT, Method, Pricing, SettledBy
from models.rules.explain import Step, step
from models.rules.timetable import ClassState

RULE = "0036"


class CancellationPolicy(StrEnum):
    """What a cancelled booking gives back: all of it before the course begins and then the classes to come, or else."""

    FUTURE_CLASSES = "FUTURE_CLASSES"
    EVERYTHING = "EVERYTHING"
    NOTHING = "NOTHING"


class DeletionPolicy(StrEnum):
    """What a class deleted after it was booked gives back: what the price table says of deleted classes, or else."""

    AS_PRICED = "AS_PRICED"
    ITS_SHARE = "ITS_SHARE"
    NOTHING = "NOTHING"


@dataclass(frozen=True, slots=True)
class Kept:
    """A class of a booking whose credit or share (minor units) was not given back yet."""

    session_id: UUID
    starts_at: datetime
    deleted: bool
    share: int
    settled_by: SettledBy


@dataclass(frozen=True, slots=True)
class Return:
    """The classes given back, the credits and minor units they held, and why."""

    sessions: frozenset[UUID]
    credits: int
    money: int
    because: tuple[Step, ...]


def returned(kept: Iterable[Kept], because: str, **figures: int | str) -> Return:
    """All of these classes, for a reason and its figures -> Return."""
    given = tuple(kept)
    drawn = sum(line.settled_by is SettledBy.CREDIT for line in given)
    money = sum(line.share for line in given if line.settled_by is SettledBy.CHARGE)
    told = step(RULE, because, classes=len(given), credits=drawn, amount=money, **figures)
    return Return(frozenset(line.session_id for line in given), drawn, money, (told,))


def on_cancellation(
    kept: Iterable[Kept], at: datetime, *, begun: bool, policy: CancellationPolicy, notice: timedelta = timedelta()
) -> Return:
    """(classes kept, UTC instant, whether the course has begun, policy, notice) -> what cancelling gives back.

    A class that starts within the notice is not given back; one that was deleted is, until the course begins.
    """
    if policy is CancellationPolicy.NOTHING:
        return returned((), "this course gives nothing back", policy=policy)
    if policy is CancellationPolicy.EVERYTHING:
        return returned(kept, "this course gives everything back", policy=policy)
    still = (line for line in kept if (not begun if line.deleted else line.starts_at > at + notice))
    hours = notice // timedelta(hours=1)
    return returned(still, "what is still to come is given back", policy=policy, notice_hours=hours)


def on_deletion(line: Kept, *, method: Method, pricing: Pricing, policy: DeletionPolicy) -> Return:
    """(class kept, how it was paid, policy) -> what deleting it gives back.

    AS_PRICED: what was paid in a way that costs nothing for deleted classes (R118-R121, R130, R136).
    """
    cell = SETTLEMENT[method, pricing][ClassState.DELETED]
    costs_nothing = cell.first is SettledBy.DELETED
    gives = policy is DeletionPolicy.ITS_SHARE or (policy is DeletionPolicy.AS_PRICED and costs_nothing)
    words = "a deleted class is given back" if gives else "a deleted class stays paid"
    return returned((line,) if gives else (), words, policy=policy, priced_by=cell.rule)
