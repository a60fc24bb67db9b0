"""Live events for one viewer: the present first, then what happens, and only what the viewer may see."""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Protocol, TypeVar
from uuid import UUID

from graphql import GraphQLError

from models.ports import LiveEvent
from models.rules.refusals import Code, Refusal
from resolvers.context import Context
from resolvers.reads.ids import known

SNAPSHOT = "SNAPSHOT"


class Topic(StrEnum):
    """What events are about."""

    MEMBERSHIP = "membership"
    BOOKING = "booking"
    WAITING_LIST = "waiting_list"
    PAYMENT = "payment"
    INVOICE = "invoice"
    JOB = "job"


# topic: (the GraphQL type of its objects, where an event names the object)
SUBJECTS: dict[Topic, tuple[str, str]] = {
    Topic.MEMBERSHIP: ("Membership", "membership_id"),
    Topic.BOOKING: ("Booking", "booking_id"),
    Topic.WAITING_LIST: ("WaitingPlace", "waiting_place_id"),
    Topic.PAYMENT: ("Payment", "payment_id"),
    Topic.INVOICE: ("Invoice", "invoice_id"),
    Topic.JOB: ("Job", "job_id"),
}
assert SUBJECTS.keys() == set(Topic)


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing to tell; its object is read when it is told, so that it is never older than the event."""

    topic: Topic
    kind: str
    cursor: str
    occurred_at: datetime
    subject: UUID


class Placed(Protocol):
    """What is told of an event: it says where among all events that is."""

    cursor: str


E = TypeVar("E", bound=Placed)


class Watch(AsyncIterable[E]):
    """What one subscription watches: the present, then what it missed, then what each event is to it.

    Topics, the id of one object of a single topic, a cursor -> what `tell` makes of each event. With an id and no
    cursor the object as it is now comes first. Who asks is looked up anew for each event. `cursor` is how far it came.
    Raises Refusal NOT_FOUND where the viewer may not see it, BadInput for a malformed id, GraphQLError UNAUTHENTICATED
    once the key has ended, and what the bus raises.
    """

    def __init__(
        self,
        context: Context,
        topics: frozenset[Topic],
        given: str | None,
        after: str | None,
        tell: Callable[[Happened], E],
    ) -> None:
        self.topics = topics
        self.only: UUID | None = None
        self.cursor = after or context.resume_after or ""
        self._context = context
        self._given = given
        self._tell = tell

    async def present(self) -> E | None:
        """The object as it is now, for who follows one and has not seen it."""
        if self._given is not None:
            self.only = await _the_one(self._context, self.topics, self._given)
        if self.cursor:
            return None
        # the place in the stream is taken before the object is read, so nothing falls between the two
        self.cursor = await self._context.bus.cursor()
        if self.only is None:
            return None
        (topic,) = self.topics
        return self._tell(Happened(topic, SNAPSHOT, self.cursor, self._context.clock.now(), self.only))

    async def __aiter__(self) -> AsyncGenerator[E, None]:
        """What was missed; from then on one listens."""
        async with aclosing(self._context.bus.missed(self.cursor)) as missed:  # type: ignore[type-var]  # a generator
            async for event in missed:
                self.cursor = event.cursor
                if (told := await self.told(event)) is not None:
                    yield told

    async def told(self, event: LiveEvent) -> E | None:
        """What is told of an event; None where it is of something else, or may not be seen."""
        if event.topic not in self.topics:
            return None
        topic = Topic(event.topic)
        subject = UUID(event.ids[SUBJECTS[topic][1]])
        if self.only not in (None, subject) or not await _still_sees(self._context, topic, subject, event.cursor):
            return None
        return self._tell(Happened(topic, event.name, event.cursor, event.occurred_at, subject))


async def _the_one(context: Context, topics: frozenset[Topic], given: str) -> UUID:
    (topic,) = topics
    only = known(SUBJECTS[topic][0])(given)
    if only is None or not await _sees(context, topic, only):
        raise Refusal(Code.NOT_FOUND)
    return only


async def _still_sees(context: Context, topic: Topic, subject: UUID, cursor: str) -> bool:
    """Whether the event may be told: by the rights its caller has by now, not those the stream began with."""
    if context.present is not None:
        viewer = await context.present()
        if viewer is None:
            raise GraphQLError("The key has ended: connect with a live one.", extensions={"code": "UNAUTHENTICATED"})
        context.viewer = viewer
    sees, _ = await context.deployment.shared.of(
        (cursor, subject, context.viewer), partial(_sees, context, topic, subject)
    )
    return bool(sees)


async def _sees(context: Context, topic: Topic, subject: UUID) -> bool:
    return await context.reader.sees(SUBJECTS[topic][0], subject, context.viewer)
