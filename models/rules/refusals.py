"""Every business "no", declared once: its code, the sentence that says what to do, and who says so (D8).

A refusal is an answer, not a fault: it is raised by rules and actions, undoes what was written, and reaches the client
as a `userError`.
"""

from enum import StrEnum
from typing import NamedTuple

from models.rules.explain import Step


class Code(StrEnum):
    """Why the answer is no; clients may switch on it, so a code is never renamed."""

    INSUFFICIENT_CREDITS = "INSUFFICIENT_CREDITS"
    MEMBERSHIP_FULL_RATE_STARTED = "MEMBERSHIP_FULL_RATE_STARTED"
    PACKAGE_CANNOT_COVER_ELAPSED = "PACKAGE_CANNOT_COVER_ELAPSED"
    NO_FUTURE_CLASSES = "NO_FUTURE_CLASSES"
    COURSE_FULL = "COURSE_FULL"
    ALREADY_BOOKED = "ALREADY_BOOKED"
    QUOTE_CHANGED = "QUOTE_CHANGED"
    QUOTE_EXPIRED = "QUOTE_EXPIRED"
    BOOKING_NOT_CANCELLABLE = "BOOKING_NOT_CANCELLABLE"
    BOOKING_NOT_MOVABLE = "BOOKING_NOT_MOVABLE"
    CLASS_ALREADY_DELETED = "CLASS_ALREADY_DELETED"
    ALREADY_WAITING = "ALREADY_WAITING"
    COURSE_HAS_PLACES = "COURSE_HAS_PLACES"
    CAPACITY_TAKEN = "CAPACITY_TAKEN"
    PACKAGE_NOT_VALID = "PACKAGE_NOT_VALID"
    MEMBERSHIP_NOT_VALID = "MEMBERSHIP_NOT_VALID"
    MEMBERSHIP_REQUIRED = "MEMBERSHIP_REQUIRED"
    NO_CARD_ON_FILE = "NO_CARD_ON_FILE"
    NO_MANDATE = "NO_MANDATE"
    NEGATIVE_AMOUNT = "NEGATIVE_AMOUNT"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    UNKNOWN_PRICING_OPTION = "UNKNOWN_PRICING_OPTION"
    COURSE_NOT_MAPPED = "COURSE_NOT_MAPPED"
    PRICING_OPTION_NOT_COURSEPRO = "PRICING_OPTION_NOT_COURSEPRO"
    PRICING_OPTION_IN_USE = "PRICING_OPTION_IN_USE"
    ONE_PAYMENT_OPTION_ONLY = "ONE_PAYMENT_OPTION_ONLY"
    FREQUENCY_DOES_NOT_FIT = "FREQUENCY_DOES_NOT_FIT"
    INTEGRATION_FIXED = "INTEGRATION_FIXED"
    OWNED_BY_COURSEPRO = "OWNED_BY_COURSEPRO"
    OWNED_BY_NOOKAL = "OWNED_BY_NOOKAL"
    ILLEGAL_MOVE = "ILLEGAL_MOVE"
    NOT_FOUND = "NOT_FOUND"
    FORBIDDEN = "FORBIDDEN"
    ROLE_NOT_ALLOWED = "ROLE_NOT_ALLOWED"
    INVALID_INPUT = "INVALID_INPUT"
    RECORD_ALREADY_EXISTS = "RECORD_ALREADY_EXISTS"
    TOO_MANY_ATTEMPTS = "TOO_MANY_ATTEMPTS"
    TOO_MANY_EXPORTS = "TOO_MANY_EXPORTS"
    BILLING_DETAILS_REFUSED = "BILLING_DETAILS_REFUSED"
    PAYMENT_NOT_RETRYABLE = "PAYMENT_NOT_RETRYABLE"
    PAYMENT_NOT_COLLECTABLE = "PAYMENT_NOT_COLLECTABLE"
    NO_ARREARS = "NO_ARREARS"
    SETTLEMENT_NOT_POSSIBLE = "SETTLEMENT_NOT_POSSIBLE"
    MANDATE_NOT_CANCELLABLE = "MANDATE_NOT_CANCELLABLE"
    PAYMENT_NOT_REFUNDABLE = "PAYMENT_NOT_REFUNDABLE"
    REFUND_TOO_LARGE = "REFUND_TOO_LARGE"
    INVOICE_NOT_PAID = "INVOICE_NOT_PAID"
    INVOICE_NOT_DUE = "INVOICE_NOT_DUE"
    INVOICE_ALREADY_BILLED = "INVOICE_ALREADY_BILLED"
    MONEY_BREAK = "MONEY_BREAK"
    UNMANAGED_PRODUCT = "UNMANAGED_PRODUCT"
    PATIENT_UNLINKED = "PATIENT_UNLINKED"
    NO_SUBSCRIPTION = "NO_SUBSCRIPTION"
    SUBSCRIPTION_UNLINKED = "SUBSCRIPTION_UNLINKED"
    PRODUCT_IN_USE = "PRODUCT_IN_USE"
    PROVIDER_NOT_CONFIGURED = "PROVIDER_NOT_CONFIGURED"
    CREDENTIALS_INCOMPLETE = "CREDENTIALS_INCOMPLETE"
    ADDRESS_NOT_ALLOWED = "ADDRESS_NOT_ALLOWED"
    SECRET_REQUIRED = "SECRET_REQUIRED"  # noqa: S105  the name of a refusal, not a secret
    IDEMPOTENCY_KEY_MISMATCH = "IDEMPOTENCY_KEY_MISMATCH"
    IDEMPOTENCY_IN_PROGRESS = "IDEMPOTENCY_IN_PROGRESS"
    IDEMPOTENCY_ANSWER_LOST = "IDEMPOTENCY_ANSWER_LOST"
    JOB_NOT_RETRYABLE = "JOB_NOT_RETRYABLE"
    CLOCK_ONLY_FORWARD = "CLOCK_ONLY_FORWARD"
    SANDBOX_ONLY = "SANDBOX_ONLY"


class Declared(NamedTuple):
    """What is said with a code: the sentence that tells the reader what to do, and the rule or document behind it."""

    sentence: str
    source: str


_C = Code
REFUSALS: dict[Code, Declared] = {
    _C.INSUFFICIENT_CREDITS: Declared(
        "Credits must cover every class still to come: add credits, or pay the rest with package and charge.",
        "Groovio, scenario 1; R115, R116",
    ),
    _C.MEMBERSHIP_FULL_RATE_STARTED: Declared(
        "A membership joins a full-rate course only before it begins: choose another way to pay.",
        "Groovio, scenario 2; R122",
    ),
    _C.PACKAGE_CANNOT_COVER_ELAPSED: Declared(
        "A package alone cannot join a full-rate course that has begun: choose package and charge.",
        "Groovio is silent; R131",
    ),
    _C.NO_FUTURE_CLASSES: Declared("No class of this course is still to come: choose another course.", "D5"),
    _C.COURSE_FULL: Declared(
        "Every place on this course is taken: join its waiting list, or choose another course.",
        "The course's capacity",
    ),
    _C.ALREADY_BOOKED: Declared("This student already holds a booking of the course: use that one.", "One per student"),
    _C.ALREADY_WAITING: Declared("This person is on the course's waiting list already.", "One per student"),
    _C.COURSE_HAS_PLACES: Declared("Nobody needs to wait for this course: book it.", "The course's capacity"),
    _C.CAPACITY_TAKEN: Declared(
        "A course keeps the places that are booked or offered: name at least as many.", "The course's capacity"
    ),
    _C.QUOTE_CHANGED: Declared(
        "What was quoted no longer holds: show the new quote and book with its token.", "A quote binds"
    ),
    _C.QUOTE_EXPIRED: Declared(
        "A quote holds for ten minutes: show the new one and book with its token.", "A quote binds"
    ),
    _C.BOOKING_NOT_CANCELLABLE: Declared(
        "Only a booking that is confirmed or awaits its payment can be cancelled.", "The life of a booking"
    ),
    _C.BOOKING_NOT_MOVABLE: Declared(
        "Only a confirmed booking moves, to another course of its currency: wait for its payment, or book anew.",
        "The life of a booking",
    ),
    _C.CLASS_ALREADY_DELETED: Declared("This class is deleted already: nothing is left to do.", "D4"),
    _C.PACKAGE_NOT_VALID: Declared(
        "A package must be the student's own, for this course, and valid when its classes start: choose another one.",
        "R123",
    ),
    _C.MEMBERSHIP_NOT_VALID: Declared(
        "A membership must stay valid through the last class: renew it, or choose another way to pay.", "R123"
    ),
    _C.MEMBERSHIP_REQUIRED: Declared(
        "This way of paying needs an active membership of the student: start one, or choose another way to pay.",
        "Groovio; R115",
    ),
    _C.NO_CARD_ON_FILE: Declared("No card is stored for this user: add one first.", "BOS, membership lifecycle; R83"),
    _C.NO_MANDATE: Declared("No direct debit can be used for this user: set one up first.", "CoursePro, A; R11"),
    _C.NEGATIVE_AMOUNT: Declared("An amount is zero or more: correct it.", "R22"),
    _C.CURRENCY_MISMATCH: Declared("All amounts of one thing share one currency: use that of the price.", "D1"),
    _C.UNKNOWN_PRICING_OPTION: Declared(
        "No pricing option has this id: create it here first, then use its id.", "CoursePro, A; R9, R20"
    ),
    _C.COURSE_NOT_MAPPED: Declared(
        "This course is not sold at this price: map the course to the pricing option first.",
        "CoursePro, B step 6 and C; R9, R32",
    ),
    _C.PRICING_OPTION_NOT_COURSEPRO: Declared(
        "A CoursePro membership takes pricing options of type CoursePro Course only: choose one of these.",
        "CoursePro, B and C; R23, R28",
    ),
    _C.PRICING_OPTION_IN_USE: Declared(
        "A CoursePro membership uses this pricing option, so its type stays: create another option.",
        "CoursePro, C; R33",
    ),
    _C.ONE_PAYMENT_OPTION_ONLY: Declared(
        "A CoursePro membership takes one payment option: clone the membership for the other frequency.",
        "CoursePro, B step 5; R29, R30",
    ),
    _C.FREQUENCY_DOES_NOT_FIT: Declared(
        "An ongoing membership is paid by a recurring option, a fixed term or sessions by a fixed one: change either.",
        "CoursePro, Courses and Memberships; R10",
    ),
    _C.INTEGRATION_FIXED: Declared(
        "The integration of a membership type is chosen when it is created: create another membership type.",
        "CoursePro, B step 4; R27",
    ),
    _C.OWNED_BY_COURSEPRO: Declared("CoursePro owns this: change it there.", "CoursePro, A; R15, R16"),
    _C.OWNED_BY_NOOKAL: Declared("Nookal owns this: change it there.", "BOS; R87"),
    _C.ILLEGAL_MOVE: Declared("Choose a change its present state allows.", "CoursePro, D; R39-R49"),
    _C.NOT_FOUND: Declared("Nothing you may see has this id: check it.", "What a viewer may see"),
    _C.FORBIDDEN: Declared("You may not do this to this record: ask someone who may.", "What a viewer may do"),
    _C.ROLE_NOT_ALLOWED: Declared("Your role may not do this: ask someone whose role may.", "What a role may do"),
    _C.INVALID_INPUT: Declared("Correct the field named.", "The shape of the input"),
    _C.RECORD_ALREADY_EXISTS: Declared(
        "A record for these details exists already: claim it by the link sent to its e-mail address.",
        "CoursePro, E; R54",
    ),
    _C.TOO_MANY_ATTEMPTS: Declared(
        "Too many sign-ups of this caller met people who are known: try again in an hour.", "CoursePro, E; R54"
    ),
    _C.TOO_MANY_EXPORTS: Declared(
        "Three files are being written for you already: wait until one of them is done.", "Decision 65"
    ),
    _C.BILLING_DETAILS_REFUSED: Declared(
        "Bank and card details belong on the payment provider's own page: leave them out.", "CoursePro, E; R62"
    ),
    _C.PAYMENT_NOT_RETRYABLE: Declared("Only a failed payment can be tried again.", "CoursePro, D; R40"),
    _C.PAYMENT_NOT_COLLECTABLE: Declared("Only a payment that is due and not yet sent can be collected.", "R48, R145"),
    _C.NO_ARREARS: Declared("Nothing is owed that nobody is asked for: there is nothing to settle.", "R39, R49"),
    _C.SETTLEMENT_NOT_POSSIBLE: Declared("Choose another way to settle what is owed.", "Decision 47"),
    _C.MANDATE_NOT_CANCELLABLE: Declared("Only an instruction that is not over yet can be cancelled.", "R12"),
    _C.PAYMENT_NOT_REFUNDABLE: Declared(
        "Only money that was received can be given back: wait until the payment is confirmed.", "Decision 30"
    ),
    _C.REFUND_TOO_LARGE: Declared(
        "All refunds of a payment together are at most what was received: choose a smaller amount.", "Decision 30"
    ),
    _C.INVOICE_NOT_PAID: Declared("An invoice is billed off once it is paid: wait for the payment.", "BOS; R109"),
    _C.INVOICE_NOT_DUE: Declared("An invoice is billed off when its period has ended: wait until then.", "BOS; R89"),
    _C.INVOICE_ALREADY_BILLED: Declared("This invoice was billed off already and stays as it is.", "BOS; R89"),
    _C.MONEY_BREAK: Declared(
        "The money of this invoice does not add up in the books: have it looked at, then ship it again.", "Decision 49"
    ),
    _C.UNMANAGED_PRODUCT: Declared(
        "No membership type stands for the product of this invoice: create one for it.", "BOS, walk step 2; R101"
    ),
    _C.PATIENT_UNLINKED: Declared("The user is tied to no patient: link the user first.", "BOS, definitions; R103"),
    _C.NO_SUBSCRIPTION: Declared("The invoice's subscription is unknown here: link it.", "BOS, walk step 1; R100"),
    _C.SUBSCRIPTION_UNLINKED: Declared(
        "Nobody knows whose subscription this invoice is of: say so by linkSubscription.", "BOS, definitions; R92"
    ),
    _C.PRODUCT_IN_USE: Declared("A product stands for one membership type only: this one is taken.", "BOS; R94"),
    _C.PROVIDER_NOT_CONFIGURED: Declared("This provider has no credentials yet: configure it first.", "R65, R73"),
    _C.CREDENTIALS_INCOMPLETE: Declared(
        "Changes to users are sent to CoursePro once all its credentials are entered: give what is missing.",
        "CoursePro, F; R73",
    ),
    _C.ADDRESS_NOT_ALLOWED: Declared(
        "A system is called at an https address on the internet: give the one it has there.", "CoursePro, F; R69, R71"
    ),
    _C.SECRET_REQUIRED: Declared("The first set-up of a provider needs its secret: give it.", "CoursePro, F; R70"),
    _C.IDEMPOTENCY_KEY_MISMATCH: Declared("This key came with another input: use a fresh key.", "One key, one input"),
    _C.IDEMPOTENCY_IN_PROGRESS: Declared("The request of this key still runs: ask again shortly.", "One key, one run"),
    _C.IDEMPOTENCY_ANSWER_LOST: Declared(
        "The request of this key was done, but its answer was lost: read the thing by a query, and send no new key.",
        "One key, one run",
    ),
    _C.JOB_NOT_RETRYABLE: Declared("Only a job that gave up can be run again.", "R144"),
    _C.CLOCK_ONLY_FORWARD: Declared("The clock only moves forward: name a later instant.", "The sandbox's clock"),
    _C.SANDBOX_ONLY: Declared("This works only where the sandbox runs.", "The sandbox"),
}
assert REFUSALS.keys() == set(Code)


class Refusal(Exception):
    """A business no: (code, what was found, input field it concerns) -> code, message, because, field, steps.

    `message` is `found` followed by the declared sentence, `because` the declared source unless another is given, and
    `steps` are the rules that led to the no.
    """

    def __init__(
        self,
        code: Code,
        found: str = "",
        *,
        field: tuple[str, ...] = (),
        because: str | None = None,
        steps: tuple[Step, ...] = (),
    ) -> None:
        super().__init__(code, found)
        declared = REFUSALS[code]
        self.code = code
        self.message = f"{found} {declared.sentence}".strip()
        self.because = declared.source if because is None else because
        self.field = field
        self.steps = steps

    def __str__(self) -> str:
        return f"{self.code}: {self.message} ({self.because})"
