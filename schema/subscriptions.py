"""What can be watched. Every event carries a cursor; a subscription with `after` goes on behind it, missing nothing."""

from collections.abc import AsyncIterable
from datetime import datetime
from functools import partial
from typing import Annotated, TypeVar
from uuid import UUID

import strawberry

from resolvers.context import Info
from resolvers.live import Happened, Topic, Watch
from resolvers.reads.declare import loaded, words

words(
    Topic,
    "LiveTopic",
    "What events are about.",
    (f"Events about a {topic.value.replace('_', ' ')}." for topic in Topic),
)

E = TypeVar("E", bound="LiveEvent")
After = Annotated[
    str | None,
    strawberry.argument(description="A cursor: go on behind it. Without one: from now on, the object as it is first."),
]
Only = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Only what happens to this one; without it, to all that the caller may see."),
]
TheJob = Annotated[strawberry.ID, strawberry.argument(description="The job.")]
Topics = Annotated[list[Topic], strawberry.argument(description="What about; at least one.")]


@strawberry.interface(description="Something that happened.")
class LiveEvent:
    """What every event tells."""

    cursor: str = strawberry.field(description="Its place among all events, for `after`.")
    occurred_at: datetime = strawberry.field(description="When it happened.")
    kind: str = strawberry.field(description="What happened; SNAPSHOT for the object as it was when the watch began.")
    subject: strawberry.Private[UUID]


@strawberry.type(description="Something that happened to a membership.")
class MembershipEvent(LiveEvent):
    """A membership's event."""

    membership = loaded("Membership", "The membership as it is now.", "subject")


@strawberry.type(description="Something that happened to a booking.")
class BookingEvent(LiveEvent):
    """A booking's event."""

    booking = loaded("Booking", "The booking as it is now.", "subject")


@strawberry.type(description="Something that happened on a waiting list.")
class WaitingPlaceEvent(LiveEvent):
    """A waiting place's event."""

    waiting_place = loaded("WaitingPlace", "The place in line as it is now.", "subject")


@strawberry.type(description="Something that happened to a payment.")
class PaymentEvent(LiveEvent):
    """A payment's event."""

    payment = loaded("Payment", "The payment as it is now.", "subject")


@strawberry.type(description="Something that happened to an invoice.")
class InvoiceEvent(LiveEvent):
    """An invoice's event."""

    invoice = loaded("Invoice", "The invoice as it is now.", "subject")


@strawberry.type(description="Something that happened to a job.")
class JobEvent(LiveEvent):
    """A job's event."""

    job = loaded("Job", "The job as it is now.", "subject")


TOLD: dict[Topic, type[LiveEvent]] = {
    Topic.MEMBERSHIP: MembershipEvent,
    Topic.BOOKING: BookingEvent,
    Topic.WAITING_LIST: WaitingPlaceEvent,
    Topic.PAYMENT: PaymentEvent,
    Topic.INVOICE: InvoiceEvent,
    Topic.JOB: JobEvent,
}
assert TOLD.keys() == set(Topic)


def _as(event: type[E], happened: Happened) -> E:
    return event(cursor=happened.cursor, occurred_at=happened.occurred_at, kind=happened.kind, subject=happened.subject)


def _one(topic: Topic, event: type[E], info: Info, only: str | None, after: str | None) -> Watch[E]:
    return Watch(info.context, frozenset({topic}), only, after, partial(_as, event))


def _memberships(info: Info, membership_id: Only = None, after: After = None) -> AsyncIterable[MembershipEvent]:
    return _one(Topic.MEMBERSHIP, MembershipEvent, info, membership_id, after)


def _bookings(info: Info, booking_id: Only = None, after: After = None) -> AsyncIterable[BookingEvent]:
    return _one(Topic.BOOKING, BookingEvent, info, booking_id, after)


def _waiting(info: Info, waiting_place_id: Only = None, after: After = None) -> AsyncIterable[WaitingPlaceEvent]:
    return _one(Topic.WAITING_LIST, WaitingPlaceEvent, info, waiting_place_id, after)


def _payments(info: Info, payment_id: Only = None, after: After = None) -> AsyncIterable[PaymentEvent]:
    return _one(Topic.PAYMENT, PaymentEvent, info, payment_id, after)


def _invoices(info: Info, invoice_id: Only = None, after: After = None) -> AsyncIterable[InvoiceEvent]:
    return _one(Topic.INVOICE, InvoiceEvent, info, invoice_id, after)


def _job(info: Info, id: TheJob, after: After = None) -> AsyncIterable[JobEvent]:  # noqa: A002  # the API's word
    return _one(Topic.JOB, JobEvent, info, id, after)


def _events(info: Info, topics: Topics, after: After = None) -> AsyncIterable[LiveEvent]:
    return Watch(info.context, frozenset(topics), None, after, lambda happened: _as(TOLD[happened.topic], happened))


@strawberry.type(description="Everything that can be watched. What a caller may not see is not told.")
class Subscription:
    """A line a stream."""

    membership_status_changed = strawberry.subscription(
        _memberships, description="Memberships start and move, their access tokens come and go."
    )
    booking_updated = strawberry.subscription(_bookings, description="Bookings are made, confirmed, released.")
    waiting_place_updated = strawberry.subscription(
        _waiting, description="People join a waiting list, are offered a place, take it or do not."
    )
    payment_updated = strawberry.subscription(
        _payments, description="Payments fall due, are collected, fail, are given back."
    )
    invoice_updated = strawberry.subscription(
        _invoices, description="Invoices open, are allocated anew, billed off, shipped."
    )
    job_updated = strawberry.subscription(_job, description="A job is done, fails, is tried again.")
    events = strawberry.subscription(_events, description="All about these topics, in the order it happened.")
