"""What we tell once it is written: events with ids only, and what follows from each. A reader looks up the present."""

from dataclasses import dataclass
from uuid import UUID

from models.rules.lifecycle import Status


@dataclass(frozen=True, slots=True)
class UserLinked:
    """A user was tied to their record in another system (R55, R103)."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserUnlinked:
    """A tie of a user to their record in another system was undone."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserChanged:
    """The details of a user changed, or their record in the course system became sure (R55, R57)."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class UserFieldsChanged:
    """The set of configured user fields changed; the id is that of the one set there is (R56)."""

    user_fields_id: UUID


@dataclass(frozen=True, slots=True)
class MembershipStatusChanged:
    """A membership moved (R4, R58)."""

    membership_id: UUID
    user_id: UUID
    status: Status


@dataclass(frozen=True, slots=True)
class AccessGranted:
    """A token was made for a place on a roster (R14)."""

    membership_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class AccessRevoked:
    """The open tokens of a membership were revoked (R43)."""

    membership_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class BookingMade:
    """A place on a course was booked (R113)."""

    booking_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class BookingConfirmed:
    """All a booking owed is settled."""

    booking_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class BookingReleased:
    """A booking gave its place and credits back: its payment failed, or a person cancelled it."""

    booking_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class BookingChanged:
    """A class of a booking was deleted, and what it held given back as the course's policy says."""

    booking_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class WaitingListJoined:
    """A person waits for a place on a full course."""

    waiting_place_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class PlaceOffered:
    """A place came free and is kept for the first in line."""

    waiting_place_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class WaitingPlaceClosed:
    """A person waits no longer: a booking took the place, its offer ended, or the person left."""

    waiting_place_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class PaymentDue:
    """A payment is to be collected (R145)."""

    payment_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class PaymentUpdated:
    """What is known of a payment changed."""

    payment_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class PaymentMissed:
    """A payment failed or was taken back; one for each attempt (R44)."""

    payment_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class RefundDue:
    """Money is to be given back; refunds of one payment go one after the other."""

    payment_id: UUID
    refund_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class RefundUpdated:
    """What is known of a refund changed."""

    payment_id: UUID
    refund_id: UUID
    user_id: UUID


@dataclass(frozen=True, slots=True)
class PatientWanted:
    """A person's classes are paid by a membership, so their record in the practice system has to be known (R103)."""

    user_id: UUID


@dataclass(frozen=True, slots=True)
class InvoiceOpened:
    """A subscription invoice arrived and was allocated for the first time (R86)."""

    invoice_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class InvoiceReallocated:
    """An invoice was shared anew (R87, R88)."""

    invoice_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class InvoiceBilledOff:
    """An invoice's allocation is final (R89)."""

    invoice_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class InvoiceShipped:
    """A billed-off invoice stands in another system (R89, R111)."""

    invoice_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class CorrectionOpened:
    """Something changed after an invoice was billed off, or changed again: a person is to decide."""

    invoice_id: UUID
    correction_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class CorrectionApplied:
    """A person had a billed-off invoice put right; what does so is to be shipped."""

    invoice_id: UUID
    correction_id: UUID
    user_id: UUID | None


@dataclass(frozen=True, slots=True)
class CorrectionClosed:
    """A correction is not needed any more: it was undone by itself, or a person left things as they are."""

    invoice_id: UUID
    correction_id: UUID
    user_id: UUID | None


Event = (
    UserLinked
    | UserUnlinked
    | UserChanged
    | UserFieldsChanged
    | MembershipStatusChanged
    | AccessGranted
    | AccessRevoked
    | BookingMade
    | BookingConfirmed
    | BookingReleased
    | BookingChanged
    | WaitingListJoined
    | PlaceOffered
    | WaitingPlaceClosed
    | PaymentDue
    | PaymentUpdated
    | PaymentMissed
    | RefundDue
    | RefundUpdated
    | PatientWanted
    | InvoiceOpened
    | InvoiceReallocated
    | InvoiceBilledOff
    | InvoiceShipped
    | CorrectionOpened
    | CorrectionApplied
    | CorrectionClosed
)

TOPIC: dict[type, str] = {  # the live topic an event is told on; events left out are told on none
    MembershipStatusChanged: "membership",
    AccessGranted: "membership",
    AccessRevoked: "membership",
    BookingMade: "booking",
    BookingConfirmed: "booking",
    BookingReleased: "booking",
    BookingChanged: "booking",
    WaitingListJoined: "waiting_list",
    PlaceOffered: "waiting_list",
    WaitingPlaceClosed: "waiting_list",
    PaymentDue: "payment",
    PaymentUpdated: "payment",
    PaymentMissed: "payment",
    RefundDue: "payment",
    RefundUpdated: "payment",
    InvoiceOpened: "invoice",
    InvoiceReallocated: "invoice",
    InvoiceBilledOff: "invoice",
    InvoiceShipped: "invoice",
    CorrectionOpened: "invoice",
    CorrectionApplied: "invoice",
    CorrectionClosed: "invoice",
}

REACTIONS: dict[type, tuple[str, ...]] = {  # event -> the jobs written with it, in one transaction
    UserLinked: ("invoices.respread",),
    UserUnlinked: ("invoices.respread",),
    UserChanged: ("courses.push_user",),
    UserFieldsChanged: ("courses.push_fields",),
    MembershipStatusChanged: ("courses.push_membership", "packages.grant_to_membership"),
    PlaceOffered: ("notifications.place_offered",),
    PaymentDue: ("payments.collect",),
    PaymentMissed: ("notifications.payment_failed",),
    RefundDue: ("payments.refund",),
    PatientWanted: ("practice.find_patient",),
    InvoiceBilledOff: ("practice.ship_invoice", "accounting.ship_invoice"),
    CorrectionApplied: ("practice.ship_invoice", "accounting.ship_invoice"),
}
