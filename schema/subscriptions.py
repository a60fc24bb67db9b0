"""What can be watched. Every event carries a cursor; a subscription with `after` goes on behind it, missing nothing."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Annotated
from uuid import UUID

import strawberry

from resolvers.context import Info
from resolvers.live import Happened, Topic, watch
from resolvers.reads.declare import loaded

LiveTopic = strawberry.enum(Topic, name="LiveTopic", description="What events are about.")
for _value in LiveTopic.__strawberry_definition__.values:  # type: ignore[attr-defined]  # set by the line above
    _value.description = f"Events about a {_value.value}."

After = Annotated[
    str | None,
    strawberry.argument(description="A cursor: go on behind it. Without one: from now on, the object as it is first."),
]


Only = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Only what happens to this one; without it, to all that the caller may see."),
]


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
    Topic.PAYMENT: PaymentEvent,
    Topic.INVOICE: InvoiceEvent,
    Topic.JOB: JobEvent,
}
assert TOLD.keys() == set(Topic)


def _told(happened: Happened) -> LiveEvent:
    return TOLD[happened.topic](
        cursor=happened.cursor, occurred_at=happened.occurred_at, kind=happened.kind, subject=happened.subject
    )


@strawberry.type(
    description="Everything that can be watched. An event whose object the caller may not see is not told."
)
class Subscription:
    """The roots."""

    @strawberry.subscription(description="Memberships start and move, their access tokens come and go.")
    def membership_status_changed(
        self, info: Info, membership_id: Only = None, after: After = None
    ) -> AsyncGenerator[MembershipEvent, None]:
        """Events of memberships."""
        return watch(info.context, frozenset({Topic.MEMBERSHIP}), membership_id, after, _told)

    @strawberry.subscription(description="Bookings are made, confirmed, released.")
    def booking_updated(
        self, info: Info, booking_id: Only = None, after: After = None
    ) -> AsyncGenerator[BookingEvent, None]:
        """Events of bookings."""
        return watch(info.context, frozenset({Topic.BOOKING}), booking_id, after, _told)

    @strawberry.subscription(description="Payments fall due, are collected, fail.")
    def payment_updated(
        self, info: Info, payment_id: Only = None, after: After = None
    ) -> AsyncGenerator[PaymentEvent, None]:
        """Events of payments."""
        return watch(info.context, frozenset({Topic.PAYMENT}), payment_id, after, _told)

    @strawberry.subscription(description="Invoices open, are allocated anew, billed off, shipped.")
    def invoice_updated(
        self, info: Info, invoice_id: Only = None, after: After = None
    ) -> AsyncGenerator[InvoiceEvent, None]:
        """Events of invoices."""
        return watch(info.context, frozenset({Topic.INVOICE}), invoice_id, after, _told)

    @strawberry.subscription(description="A job is done, fails, is tried again.")
    def job_updated(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The job.")],  # noqa: A002  # the API's own word
        after: After = None,
    ) -> AsyncGenerator[JobEvent, None]:
        """Events of one job."""
        return watch(info.context, frozenset({Topic.JOB}), id, after, _told)

    @strawberry.subscription(description="Everything about these topics, in the order it happened.")
    def events(
        self,
        info: Info,
        topics: Annotated[list[LiveTopic], strawberry.argument(description="What about; at least one.")],
        after: After = None,
    ) -> AsyncGenerator[LiveEvent, None]:
        """Events of several topics in one stream."""
        return watch(info.context, frozenset(topics), None, after, _told)
