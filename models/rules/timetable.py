"""The classes of a course at one moment: deleted, elapsed or still to come (D4, D5). Source: Groovio."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class ClassState(StrEnum):
    """A class at the moment of booking; deleted beats elapsed beats future (D4)."""

    DELETED = "DELETED"
    ELAPSED = "ELAPSED"
    FUTURE = "FUTURE"


@dataclass(frozen=True, slots=True)
class Session:
    """One class of a course's timetable: when it starts (UTC) and whether it was deleted."""

    id: UUID
    starts_at: datetime
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Timetable:
    """The classes of a course in the order of their start, each with its state at one moment (D4)."""

    classes: tuple[tuple[Session, ClassState], ...]

    def count(self, state: ClassState) -> int:
        """How many classes are in this state."""
        return sum(found is state for _, found in self.classes)

    @property
    def elapsed(self) -> int:
        """How many classes have started."""
        return self.count(ClassState.ELAPSED)

    @property
    def deleted(self) -> int:
        """How many classes were deleted."""
        return self.count(ClassState.DELETED)

    @property
    def future(self) -> int:
        """How many classes are still to come."""
        return self.count(ClassState.FUTURE)

    @property
    def started(self) -> bool:
        """Whether the course has begun: its first class that was not deleted has started (D5)."""
        return self.elapsed > 0

    @property
    def last_future(self) -> Session | None:
        """The last class still to come, None when there is none."""
        return next((session for session, state in reversed(self.classes) if state is ClassState.FUTURE), None)


def timetable(sessions: Iterable[Session], at: datetime) -> Timetable:
    """(classes in any order, UTC instant) -> Timetable; a class that starts at this instant has elapsed.

    Source: Groovio; D4, D5
    """
    ordered = sorted(sessions, key=lambda session: (session.starts_at, session.id))
    return Timetable(tuple((session, _state(session, at)) for session in ordered))


def _state(session: Session, at: datetime) -> ClassState:
    if session.deleted:
        return ClassState.DELETED
    return ClassState.ELAPSED if session.starts_at <= at else ClassState.FUTURE
