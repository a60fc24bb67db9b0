"""What the business asks of the outside: Protocols that `integrations` fulfils, and the errors they may raise.

ProviderError
├── Refused          the provider understood and said no; asking again changes nothing      -> the job dies
├── Unavailable      nothing happened over there, certainly: try again later                 -> back off
│   └── RateLimited  the same, and it told when                                              -> back off
└── OutcomeUnknown   the effect may or may not have happened: look it up before asking again -> back off

Only what is Refused is an attempt of a job: who is away, or wants to be asked later, is waited for.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from models.rules.diary import AttendanceSeen, RosterSeen
from models.rules.facts import Fact, Mirrored
from models.rules.partners import ExportKind, WebhookTopic
from models.rules.people import Field
from models.rules.states import PaymentOutcome, Provider, RefundOutcome, Role

CONFLICT = "IDEMPOTENCY_CONFLICT"  # the provider has something else under our key, or under our id


class ProviderError(Exception):
    """A provider did not do what was asked; `code` is the provider's own word for it, or ours."""

    def __init__(self, message: str, *, code: str = "PROVIDER_ERROR") -> None:
        super().__init__(message)
        self.code = code


class Refused(ProviderError):
    """The provider understood and said no."""


class Unavailable(ProviderError):
    """Nothing happened at the provider; `retry_after` is the seconds to leave it alone, 0 where nobody said."""

    def __init__(self, message: str, *, code: str = "PROVIDER_ERROR", retry_after: float = 0.0) -> None:
        super().__init__(message, code=code)
        self.retry_after = retry_after


class RateLimited(Unavailable):
    """Asked too often; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message, code="RATE_LIMITED", retry_after=retry_after)


class OutcomeUnknown(ProviderError):
    """The answer was lost; the effect may have happened."""


class BadSignature(Exception):
    """A webhook was not signed with a secret of ours, or is not what its provider sends."""


class Clock(Protocol):
    """Tells the time, real or moved on by the sandbox."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...


class Bell(Protocol):
    """Wakes a worker for jobs just written; losing a ring costs delay, never work."""

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        """(job id, wake number) pairs -> somebody looks at those rows soon. Never raises."""
        ...


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """One thing that happened, as subscribers see it; `cursor` is empty until the bus has taken it."""

    id: str
    topic: str
    name: str
    ids: Mapping[str, str]
    occurred_at: datetime
    cursor: str = ""


class CursorExpired(Exception):
    """Events after that cursor are no longer kept: read the present state and start anew."""


class SlowConsumer(Exception):
    """A subscriber let more than `WAITING_EVENTS` wait and was let go; it may resume from its last cursor."""


WAITING_EVENTS = 256


def place(cursor: str) -> tuple[int, int]:
    """A cursor the bus has given -> where it stands among all."""
    milliseconds, number = cursor.split("-")
    return int(milliseconds), int(number)


class Heard(Protocol):
    """What waits for one listener."""

    def next(self) -> LiveEvent | None:
        """The next event, None while there is none. Raises CursorExpired or SlowConsumer: no more will come."""
        ...

    def leave(self) -> None:
        """Listen no more."""
        ...


class LiveBus(Protocol):
    """Carries what happened to whoever watches, in order."""

    async def publish(self, events: Sequence[LiveEvent]) -> None:
        """Append events to the stream; publishing the same event id twice is harmless to readers."""
        ...

    def events(self, topics: frozenset[str], after: str | None) -> AsyncIterator[LiveEvent]:
        """Events of `topics` from now on, or after a cursor. Raises CursorExpired or SlowConsumer."""
        ...

    def missed(self, after: str) -> AsyncIterator[LiveEvent]:
        """Events after a cursor; ends where who listens at once misses none, and may hear some again.

        Raises CursorExpired.
        """
        ...

    def listen(self, topics: frozenset[str], stir: Callable[[], None]) -> Heard:
        """Listen from now on; `stir` is called each time something came."""
        ...

    async def cursor(self) -> str:
        """The cursor of the newest event, to resume from."""
        ...


class Left(NamedTuple):
    """What a caller may still spend, in points, after a payment; `wait` is 0, or seconds until it could be made."""

    points: int
    wait: float = 0.0


class Purse(Protocol):
    """What callers may spend, known to all processes: `burst` points at once, `per_second` coming back."""

    burst: int
    per_second: int

    async def spend(self, caller: str, points: int) -> Left:
        """Pay, or be told how long to wait; never fails, and never lets a caller spend without end."""
        ...


class Shelf(Protocol):
    """Keeps documents by the SHA-256 of their text, for all processes."""

    async def found(self, digest: str) -> str | None:
        """The text, None where it is not kept, or nobody can say."""
        ...

    async def keep(self, digest: str, text: str) -> None:
        """Keep a text for a while; quietly without effect where nobody can."""
        ...


@dataclass(frozen=True, slots=True)
class Collection:
    """Money to be taken: minor units of `currency`, from a card (`customer`, `payment_method`) or a `mandate`."""

    payment_id: UUID
    key: str
    amount: int
    currency: str
    description: str
    charge_on: date
    customer: str | None = None
    payment_method: str | None = None
    mandate: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Collected:
    """What the provider has of a collection: its reference, and its outcome where that is already certain.

    `will_retry` is whether the provider itself tries a failed one again. `amount` (minor units) and `currency` are for
    comparing; two that tell the same outcome are equal.
    """

    reference: str
    outcome: PaymentOutcome | None
    failure: str | None = None
    will_retry: bool = False
    amount: int | None = field(default=None, compare=False)
    currency: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """Money to be given back: minor units of `currency`, of the collection with the provider's `payment_reference`.

    `refunded_so_far` is what the provider gives back of it already; one that counts otherwise refuses.
    """

    refund_id: UUID
    payment_reference: str
    key: str
    amount: int
    currency: str
    refunded_so_far: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refunded:
    """What the provider has of a refund, as of a collection."""

    reference: str
    outcome: RefundOutcome | None
    failure: str | None = None
    amount: int | None = field(default=None, compare=False)
    currency: str | None = field(default=None, compare=False)


class PaymentGateway(Protocol):
    """Takes one-off payments, and gives them back. Each call carries our stored key."""

    async def collect(self, order: Collection) -> Collected:
        """Ask for the money. Raises Refused, Unavailable, OutcomeUnknown."""
        ...

    async def look_up(self, order: Collection) -> Collected | None:
        """The collection made for this payment, by our id in its metadata; None where there surely is none."""
        ...

    async def status(self, reference: str) -> Collected:
        """What became of a collection."""
        ...

    async def retry(self, reference: str, key: str) -> Collected:
        """Ask again for a failed collection, keeping its reference. Raises Refused where the provider cannot."""
        ...

    async def cancel(self, reference: str, key: str) -> Collected:
        """Have a collection not made after all. Raises Refused where it is too late, Unavailable, OutcomeUnknown."""
        ...

    async def refund(self, order: RefundOrder) -> Refunded:
        """Give the money back. Raises Refused, Unavailable, OutcomeUnknown."""
        ...

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        """The refund made for this order, by our id in its metadata; None where there surely is none."""
        ...

    async def refund_status(self, reference: str) -> Refunded:
        """What became of a refund."""
        ...


@dataclass(frozen=True, slots=True)
class MandateRequest:
    """A hosted page on which a payer signs a direct debit."""

    request_id: str
    authorisation_url: str


class MandateGateway(Protocol):
    """Sets up direct debit instructions."""

    async def start(
        self, *, user_id: UUID, mandate_id: UUID, currency: str, prefilled: Mapping[str, str], key: str
    ) -> MandateRequest:
        """Open a signing page. `prefilled` holds given_name, family_name, email."""
        ...

    async def withdraw(self, *, mandate: str | None, request: str | None, key: str) -> None:
        """Cancel an instruction by its id, or one nobody signed by its request; harmless where it is over already.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        ...

    async def next_charge_date(self, mandate: str) -> date:
        """The first day a payment may be charged on."""
        ...


class SubscriptionSeller(Protocol):
    """Sells subscriptions by a page the customer opens."""

    async def payment_link(
        self, *, product: str, metadata: Mapping[str, str], reference: str | None, email: str | None, key: str
    ) -> str:
        """A web address to sign up at for the product's recurring price.

        `metadata` goes on what is sold, `reference` comes back with the checkout, `email` is filled in already.
        """
        ...


@dataclass(frozen=True, slots=True)
class MembershipPush:
    """What the course system is told of a membership; `version` rises with each change of status."""

    event_id: str
    membership_id: UUID
    version: int
    user_id: UUID
    course_ref: str | None
    status: str
    availability: str
    reason: str | None
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class CartPush:
    """A purchase the course system is told of: who bought, and one item at the price agreed, in minor units.

    `details` holds what may leave this system of the person, and nothing else. `frequency` is how the item is paid,
    `payment` what pays it (direct_debit, card or free), `instruction` how a direct debit stands.
    """

    event_id: str
    occurred_at: datetime
    cart_id: str
    user_id: UUID
    coursepro_id: str | None
    details: Mapping[str, str]
    membership_id: UUID
    pricing_option_id: UUID
    frequency: str
    course_ref: str | None
    centre_id: UUID
    price: int
    currency: str
    starts_on: date
    ends_on: date | None
    payment: str
    instruction: str | None


@dataclass(frozen=True, slots=True)
class UserPush:
    """What the course system is told of a user: the details that changed, None for one that is gone.

    `version` rises with each change of the user; the same event id always stands for the same words.
    """

    event_id: str
    user_id: UUID
    version: int
    details: Mapping[str, str | None]
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class FieldsPush:
    """The fields that are collected of people now, fixed ones first; `version` rises with each change of the set."""

    event_id: str
    version: int
    fields: Sequence[Field]
    occurred_at: datetime


class CourseSystem(Protocol):
    """The system that runs courses and lets people attend."""

    async def push_cart(self, push: CartPush) -> str | None:
        """Tell a purchase -> the id of the buyer's record there, where that is told; a repeat is harmless there.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        ...

    async def push_membership(self, push: MembershipPush) -> None:
        """Tell the status; repeats and late deliveries are harmless there."""
        ...

    async def push_user(self, push: UserPush) -> None:
        """Tell a user's changed details; repeats and late deliveries are harmless there.

        Raises Refused(code UNKNOWN_USER) where the user is not known there.
        """
        ...

    async def push_fields(self, push: FieldsPush) -> None:
        """Tell which fields are collected; repeats and late deliveries are harmless there."""
        ...


MOST_TOGETHER = 50  # invoices in one call


@dataclass(frozen=True, slots=True)
class ShippedItem:
    """A line of a shipped invoice, minor units; where it pays for a class, the practice's ids of it and its type."""

    description: str
    amount: int
    session_ref: str | None = None
    class_type_ref: str | None = None


@dataclass(frozen=True, slots=True)
class OutgoingInvoice:
    """An invoice to create elsewhere; `reference` is ours, deterministic, and stands in what is sent.

    `known_as` are ids the customer had there before: a try whose answer was lost may have gone to one of them.
    """

    reference: str
    customer_ref: str | None
    customer_name: str
    customer_email: str
    currency: str
    issued_on: date
    items: tuple[ShippedItem, ...]
    location_ref: str | None = None
    known_as: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingVoid:
    """An invoice of ours to void elsewhere, and the credit notes that stand against it there, by their ids."""

    reference: str
    external_id: str
    credit_notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutgoingCredit:
    """A credit note to set against an invoice of ours; `credit.items` are what is given back, above zero."""

    credit: OutgoingInvoice
    against: str


Outgoing = OutgoingInvoice | OutgoingVoid | OutgoingCredit


@dataclass(frozen=True, slots=True)
class StandingInvoice:
    """How an invoice of ours stands elsewhere: minor units of `currency`."""

    external_id: str
    currency: str
    total: int
    voided: bool


@dataclass(frozen=True, slots=True)
class Patient:
    """A person as the practice system knows them; empty where it does not know a detail."""

    external_id: str
    first_name: str
    last_name: str
    email: str
    date_of_birth: date | None = None
    active: bool = True


Place = Mapping[str, str]  # how far changes were read: the practice system's own words, given back to it as they are


@dataclass(frozen=True, slots=True)
class DiaryPage:
    """Classes read whole, and the place where reading goes on after them; `last` where nothing follows by now."""

    rosters: Sequence[RosterSeen]
    place: Place
    last: bool = False


@dataclass(frozen=True, slots=True)
class PatientsPage:
    """Patients, and the place where reading goes on after them; `last` where nothing follows by now."""

    patients: Sequence[Patient]
    place: Place
    last: bool = False


class PracticeSystem(Protocol):
    """The clinic's diary: classes, who is in them, the patients, and itemised invoices."""

    def changes(self, place: Place) -> AsyncIterator[DiaryPage]:
        """Classes that changed after a place was reached, all there are where it is empty; a class at a time."""
        ...

    def classes_held(self, first: date, last: date) -> AsyncIterator[Sequence[str]]:
        """The ids of all classes on the clinic's days from `first` to `last`, in pages."""
        ...

    async def attendances_of(self, patient_id: str, since: date) -> list[AttendanceSeen]:
        """A patient's places in classes from a day of the clinic on."""
        ...

    def patients(self, place: Place) -> AsyncIterator[PatientsPage]:
        """Patients that are new or changed after a place was reached, all there are where it is empty, in pages."""
        ...

    async def find_patients(self, *, email: str, last_name: str) -> list[Patient]:
        """The patients with this e-mail address or this family name."""
        ...

    async def find_invoice(self, invoice: OutgoingInvoice) -> str | None:
        """The id of the invoice that carries our reference, if it was shipped."""
        ...

    async def ship(self, invoice: OutgoingInvoice) -> str:
        """Create the invoice -> its id. Not idempotent over there: look first."""
        ...

    async def void(self, document: OutgoingVoid) -> None:
        """Void an invoice of ours; one that is void already stays so. Raises Refused, Unavailable, OutcomeUnknown."""
        ...

    async def standing(self, external_id: str, currency: str) -> StandingInvoice | None:
        """An invoice as it stands there, None where there is none. Raises Refused, Unavailable."""
        ...


class AccountingSystem(Protocol):
    """The ledger outside: plain invoices."""

    async def find_invoice(self, invoice: OutgoingInvoice) -> str | None:
        """The id of the invoice with our number."""
        ...

    async def ship(self, invoice: OutgoingInvoice) -> str:
        """Create the invoice under our deterministic number -> its id."""
        ...

    async def ship_all(self, invoices: Sequence[OutgoingInvoice]) -> list[str | Refused]:
        """Create up to `MOST_TOGETHER` invoices in one call -> the id of each, or why that one was refused.

        Raises Unavailable, OutcomeUnknown for all of them.
        """
        ...

    async def void(self, document: OutgoingVoid) -> None:
        """Void an invoice of ours and the credit notes against it; what is void already stays so."""
        ...

    async def credit(self, note: OutgoingCredit) -> str:
        """Create the credit note under our deterministic number -> its id; one that is there already is not doubled."""
        ...

    async def standing(self, external_id: str, currency: str) -> StandingInvoice | None:
        """An invoice as it stands there, None where there is none. Raises Refused, Unavailable."""
        ...


class Notifier(Protocol):
    """Reaches a person."""

    async def send(self, *, email: str, subject: str, text: str, key: str) -> None:
        """Send one message; the same key is sent once."""
        ...


class SandboxControl(Protocol):
    """Moves the provider sandbox's clock, and has things happen at its providers; only on one machine."""

    async def move_clock(self, now: datetime) -> None:
        """Set the sandbox's time, firing what falls due on the way."""
        ...

    async def act(self, provider: Provider, action: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Have one of a provider's scenarios happen -> what it tells of it. Raises Refused."""
        ...


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """One provider event as it is stored: `body` is what the provider sent of it."""

    event_id: str
    event_type: str
    object_id: str | None
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of a provider's own list of events: those somebody cares for, and the id to go on behind."""

    events: Sequence[ReceivedEvent]
    last: str | None


class WebhookSource(Protocol):
    """Reads one provider's webhooks."""

    def verify(self, body: bytes, headers: Mapping[str, str]) -> list[ReceivedEvent]:
        """Signed raw bytes -> the events inside. Raises BadSignature."""
        ...

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """An event -> what it means here, from the latest state of its object; empty where nobody cares."""
        ...

    async def read(self, kind: Mirrored, external_id: str) -> list[Fact]:
        """A mirrored object as it is now, unasked; empty where there is none, or that provider has no such.

        Raises Refused, Unavailable.
        """
        ...


class EventLog(Protocol):
    """Reads what one provider's webhooks should have told."""

    def missed(self, since: datetime, after: str | None) -> AsyncIterator[EventPage]:
        """The provider's list of events from an instant on, newest first, behind the event `after` where one is given.

        Raises Refused, Unavailable.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose eyes something is read with, while nobody asks: the holder of a key, or with `key_id` None the office."""

    role: Role
    user_id: UUID | None = None
    key_id: UUID | None = None
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Rows written out, each a JSON object in one line of text; the id of the last one; whether there may be more."""

    lines: Sequence[str]
    last: UUID | None
    more: bool


class PartnerReads(Protocol):
    """What a caller may read, by the plans and row rules of the API; for jobs, which know neither."""

    async def told(self, topic: WebhookTopic, ids: Mapping[str, Any], caller: Caller) -> dict[str, str] | None:
        """The ids of an event as the API writes them; None where the caller may not see its object."""
        ...

    def columns(self, kind: ExportKind) -> Sequence[str]:
        """What stands in an export's rows, nested names joined by dots."""
        ...

    async def total(self, kind: ExportKind, narrowed: Mapping[str, Any], caller: Caller) -> int:
        """How many rows an export has; `narrowed` is the filter of the API's list."""
        ...

    async def page(
        self, kind: ExportKind, narrowed: Mapping[str, Any], caller: Caller, after: UUID | None
    ) -> ExportPage:
        """The next rows in the order of their ids."""
        ...

    def link(self, file_id: UUID, until: datetime) -> str:
        """The path and query a file is fetched by until then, signed."""
        ...


@dataclass(frozen=True, slots=True)
class Answered:
    """What an endpoint answered: the status, None where it did not, and why then; seconds it asked to be left alone."""

    status: int | None
    error: str | None = None
    retry_after: float = 0.0


class WebhookSender(Protocol):
    """Calls endpoints of partners."""

    async def send(
        self, url: str, sealed: str, message_id: str, body: bytes, *, at: datetime, failing: bool
    ) -> Answered:
        """One attempt, signed with the secrets that are good at that instant.

        Raises Refused where the address must not be called, RateLimited where this process calls it enough already.
        """
        ...


class Providers(Protocol):
    """The outside, by what it does. Each raises Refused(code PROVIDER_NOT_CONFIGURED) while it is not set up."""

    async def payments(self, provider: Provider) -> PaymentGateway:
        """Who takes money: cards or direct debits."""
        ...

    async def mandates(self) -> MandateGateway:
        """Who keeps direct debit instructions."""
        ...

    async def subscriptions(self) -> SubscriptionSeller:
        """Who sells subscriptions."""
        ...

    async def courses(self) -> CourseSystem:
        """Who runs courses."""
        ...

    async def practice(self) -> PracticeSystem:
        """Who keeps the clinic's diary."""
        ...

    async def accounting(self) -> AccountingSystem:
        """Who keeps the books."""
        ...

    async def webhooks(self, provider: Provider) -> WebhookSource:
        """Who reads that provider's webhooks."""
        ...

    async def event_log(self, provider: Provider) -> EventLog:
        """Who knows what that provider's webhooks should have told."""
        ...

    async def hooks(self) -> WebhookSender:
        """Who calls the addresses of partners."""
        ...

    async def notifier(self) -> Notifier | None:
        """Who reaches people; None where no mail server is set up, and messages stay in their list."""
        ...

    async def sandbox(self) -> SandboxControl:
        """Who moves the sandbox's clock."""
        ...
