"""GraphQL names and descriptions for the words of the rules; clients should expect words to be added."""

from enum import StrEnum

from models.actions.revenue import By
from models.rules import readiness
from models.rules.access import NoEntry
from models.rules.arrears import SettleBy
from models.rules.booking import Basis, Method, Pricing, SettledBy
from models.rules.corrections import CorrectionCause, CorrectionState, Proposal, ShipmentKind
from models.rules.drifting import FieldOwner, Repair
from models.rules.dunning import SuspendOn
from models.rules.fees import FirstPeriod
from models.rules.invoicing import Hold, Kind, LeftOutReason, Mark
from models.rules.ledger import Account, Movement
from models.rules.lifecycle import STANDING, Status, WhileSuspended
from models.rules.partners import DeliveryState, ExportFormat, WebhookTopic
from models.rules.pricing import Frequency, Integration, Level, MembershipKind, OptionType
from models.rules.proof import Check
from models.rules.returns import CancellationPolicy, DeletionPolicy
from models.rules.spreading import OverlapRule
from models.rules.states import (
    AttendanceSource,
    BookingStatus,
    InboxState,
    InvoiceStatus,
    JobState,
    KeyPurpose,
    LinkState,
    MandateStatus,
    Owner,
    PaymentPurpose,
    PaymentStatus,
    Probe,
    Provider,
    RefundStatus,
    ReviewKind,
    ReviewState,
    Role,
    ShipmentState,
    SubscriptionStatus,
    SyncState,
    UserState,
    WaitingState,
)
from models.rules.timetable import ClassState
from resolvers.reads.declare import words

Availability = StrEnum(  # type: ignore[misc]  # the words are those of the rule
    "Availability", {word.upper(): word.upper() for _, _, word in STANDING.values() if word}
)
Availability.__doc__ = "What the course system is told about a membership."


# enum: (GraphQL name, description, a description for each value in order)
WORDS: dict[type[StrEnum], tuple[str, str, tuple[str, ...]]] = {
    Role: (
        "Role",
        "Who a caller is.",
        (
            "A person, who sees what is their own.",
            "Works with people, courses and bookings.",
            "Works with money and the books.",
            "May do everything.",
            "Another company's system; sees money only where its key says so.",
        ),
    ),
    Provider: (
        "Provider",
        "An outside system.",
        (
            "Cards and subscriptions.",
            "Direct debits.",
            "Courses.",
            "The clinic's diary and itemised invoices.",
            "The accounts.",
        ),
    ),
    UserState: ("UserState", "How far a user has come.", ("Has bought something.", "Known, has not bought yet.")),
    LinkState: (
        "LinkState",
        "How firmly an outside record is tied to a user.",
        ("Assumed until the user buys.", "Sure.", "Undone; kept with its evidence."),
    ),
    SyncState: (
        "UserSyncState",
        "Whether the course system knows of a user what is known here.",
        ("It does.", "Something is still to be told.", "The user has no sure record there."),
    ),
    ReviewKind: (
        "ReviewKind",
        "What a person is asked.",
        (
            "Whose record it is.",
            "What becomes of money that came too late.",
            "Whose subscription it is.",
            "Whose record in the practice system it is.",
            "What became of a payment or refund whose provider does not tell.",
            "Why what was received is not what was allocated, refunded, credited and held.",
        ),
    ),
    ReviewState: (
        "ReviewState",
        "Where a question stands.",
        ("To be answered.", "Answered.", "It does not matter any more."),
    ),
    Owner: (
        "CourseOwner",
        "Where a course is managed.",
        ("Here.", "In CoursePro; a read-only mirror here."),
    ),
    BookingStatus: (
        "BookingStatus",
        "Where a booking stands.",
        (
            "Its charge is not settled yet; the place is held.",
            "All it owed is settled.",
            "Its payment failed; place and credits were given back.",
            "A person cancelled it.",
        ),
    ),
    WaitingState: (
        "WaitingPlaceState",
        "Where a place on a waiting list stands.",
        (
            "In line.",
            "A free place is kept for the person for a while.",
            "The person booked the course.",
            "The offer ended unused, or no class was left to wait for.",
            "The person left the line.",
        ),
    ),
    Method: (
        "BookingMethod",
        "How a booking is paid.",
        (
            "The whole price is charged.",
            "A credit of the membership for each class to come.",
            "A credit of a package for each class to come.",
            "Credits first, money for what they do not reach.",
        ),
    ),
    Pricing: (
        "CoursePricing",
        "What joining a course late costs.",
        ("The full price, always.", "Only the classes still to come."),
    ),
    Basis: (
        "PerClassBasis",
        "The classes a course price is shared over.",
        ("All ever scheduled.", "Those that were not deleted."),
    ),
    SettledBy: (
        "SettledBy",
        "What pays for one class.",
        ("A credit.", "Money.", "Nothing: it has passed.", "Nothing: it was deleted."),
    ),
    CancellationPolicy: (
        "CancellationPolicy",
        "What a cancelled booking gives back.",
        (
            "Before the course begins all of it, then the classes still to come.",
            "All of it, classes that have passed too.",
            "Nothing.",
        ),
    ),
    DeletionPolicy: (
        "DeletionPolicy",
        "What a class gives back that is deleted after it was booked.",
        (
            "Its credit, or its share where the way of paying charges no deleted classes.",
            "Its credit or its share, however it was paid.",
            "Nothing.",
        ),
    ),
    ClassState: ("ClassState", "A class at a moment.", ("It was deleted.", "It has started.", "It is still to come.")),
    Mark: (
        "AttendanceMark",
        "How a person's place in a class stands.",
        ("A place is kept.", "The person came.", "The person did not come.", "The place was cancelled."),
    ),
    AttendanceSource: (
        "AttendanceSource",
        "Who told of an attendance.",
        ("Dueflow itself.", "CoursePro.", "Nookal."),
    ),
    SuspendOn: (
        "SuspendOn",
        "Which failed payment suspends a membership.",
        ("The first.", "The last, once nobody tries again."),
    ),
    WhileSuspended: (
        "WhileSuspended",
        "Whether fees fall due during a suspension.",
        ("None does; a period that passed wholly is never asked for.", "They do, and ride on the next fee."),
    ),
    FirstPeriod: (
        "FirstPeriod",
        "What a first period shorter than a month costs.",
        ("All.", "Its days' share of the month."),
    ),
    SettleBy: (
        "SettleArrearsBy",
        "How arrears are settled.",
        ("By the card on file, at once.", "Nobody asks for them again.", "They go on top of the next fee."),
    ),
    OptionType: (
        "PricingOptionType",
        "What a pricing option is for.",
        ("Anything.", "Memberships sold through CoursePro."),
    ),
    Frequency: ("Frequency", "How often a price is paid.", ("Each month until it ends.", "Once.")),
    Integration: (
        "Integration",
        "The system a membership type works with.",
        ("None.", "CoursePro.", "Nookal."),
    ),
    MembershipKind: (
        "MembershipKind",
        "How long a membership lasts.",
        ("Until it is ended.", "A number of months.", "A number of sessions."),
    ),
    Level: (
        "PriceLevel",
        "Where a price was found, the nearest one winning.",
        ("An override of the centre.", "An override of the centre's setting group.", "The pricing option itself."),
    ),
    Status: (
        "MembershipStatus",
        "Where a membership stands.",
        (
            "Bought, its payment not sure yet.",
            "Sure, starts later.",
            "Running.",
            "Held because of a payment or by staff.",
            "Paused at the member's wish.",
            "Ended before its time.",
            "Ended in time.",
            "Never taken up, or used up.",
        ),
    ),
    Availability: (
        "CourseAvailability",
        "What the course system is told about a membership.",
        ("May attend.", "May not attend for now.", "Ended before its time.", "Ended in time."),
    ),
    MandateStatus: (
        "MandateStatus",
        "Where a direct debit instruction stands.",
        (
            "Not usable yet.",
            "Usable.",
            "The bank refused it.",
            "Cancelled by the payer, the bank or here.",
            "Unused for too long.",
            "Blocked by the provider.",
        ),
    ),
    SubscriptionStatus: (
        "CardSubscriptionStatus",
        "Where a card subscription stands at its provider.",
        (
            "Its first payment is not made.",
            "In its trial.",
            "Running.",
            "A payment is late.",
            "Payments were given up.",
            "Paused.",
            "Ended.",
            "Its first payment was never made.",
        ),
    ),
    PaymentPurpose: (
        "PaymentPurpose",
        "What a payment is for.",
        ("A booking.", "A membership's fee.", "A package of credits."),
    ),
    PaymentStatus: (
        "PaymentStatus",
        "Where a payment stands.",
        (
            "To be sent.",
            "With the provider.",
            "The provider's answer was lost and is being looked up.",
            "Taken; it may still be taken back.",
            "In the operator's account.",
            "Failed.",
            "Stopped before it was taken.",
            "Taken back by the payer's bank.",
            "Part of what another payment asks for, or the next one will.",
            "Nobody asks for it any more.",
        ),
    ),
    RefundStatus: (
        "RefundStatus",
        "Where a refund stands.",
        (
            "To be sent.",
            "With the provider.",
            "The provider's answer was lost and is being looked up.",
            "Given back; a bank may still send it back.",
            "Failed: nothing was given back.",
        ),
    ),
    InvoiceStatus: (
        "InvoiceStatus",
        "The payment state of an invoice.",
        ("Not final yet.", "To be paid.", "Paid.", "Given up.", "Void."),
    ),
    Hold: (
        "InvoiceHold",
        "Why an invoice is not billed off yet.",
        (
            "It is of no subscription.",
            "Nobody knows whose its subscription is.",
            "No membership type stands for its product.",
            "The user is tied to no patient.",
            "It is not paid.",
        ),
    ),
    Kind: (
        "AllocationKind",
        "How an invoice's money is spread.",
        ("Over the classes it paid for.", "One line: no class is left."),
    ),
    LeftOutReason: (
        "LeftOutReason",
        "Why an invoice does not pay for an attendance.",
        (
            "Its membership type does not cover such classes then.",
            "The class is not within its period.",
            "It is marked as cancelled.",
            "It is marked as not attended.",
            "Somebody invoiced it by hand.",
            "Another invoice pays for it.",
            "The invoice was billed off without it.",
        ),
    ),
    OverlapRule: (
        "OverlapRule",
        "What decided which of several invoices pays for an attendance.",
        (
            "One that is billed off carries it.",
            "A person chose it.",
            "No other invoice could.",
            "Its period ends first.",
            "Its membership type covers fewer kinds of class.",
            "Its subscription is older.",
            "Nothing sets them apart: the one known first.",
        ),
    ),
    By: (
        "RevenueBy",
        "What revenue is summed by.",
        ("By kind of class.", "By membership type.", "By the month the invoice's period begins in."),
    ),
    FieldOwner: (
        "FieldOwner",
        "Whose word counts for a field that is one way here and another there.",
        ("Ours.", "The card provider's."),
    ),
    Repair: (
        "DriftRepairAction",
        "What is done about a difference.",
        (
            "Read it from its provider again.",
            "Look for it once more, and ship it again.",
            "A correction is opened for a person to apply.",
            "Nothing by itself.",
        ),
    ),
    CorrectionCause: (
        "CorrectionCause",
        "What changed after an invoice was billed off.",
        (
            "Who came to which class.",
            "Money was given back, or came back to us.",
            "Its money is not there any more.",
            "Anything else of it, at its provider.",
        ),
    ),
    Proposal: (
        "CorrectionProposal",
        "How what was shipped can be put right.",
        ("Void it, and issue it anew.", "A credit note in the books; the practice system gets it anew."),
    ),
    CorrectionState: (
        "CorrectionState",
        "How far a correction is decided.",
        ("To be decided.", "Put right.", "Left as it is, by a person.", "Undone by itself."),
    ),
    ShipmentKind: (
        "ShipmentKind",
        "What is shipped.",
        ("The invoice.", "That it is void.", "A credit note against it."),
    ),
    ShipmentState: (
        "ShipmentState",
        "How far an invoice has come on its way to another system.",
        ("To be sent.", "Being sent.", "There, with its id."),
    ),
    JobState: (
        "JobStatus",
        "Where a job stands.",
        (
            "Waits for its time.",
            "A worker has it.",
            "Done.",
            "Gave up; may be retried.",
            "Cancelled by a person.",
        ),
    ),
    InboxState: (
        "WebhookEventState",
        "What became of a webhook's event.",
        ("Stored, to be applied.", "Applied.", "Nothing here cares for it.", "Gave up; may be replayed."),
    ),
    NoEntry: (
        "NoEntryReason",
        "Why a gate stays shut.",
        (
            "The membership does not stand.",
            "The access token was taken back.",
            "The class is still to come.",
            "The class is over.",
            "Nobody of that name is on a roster there now.",
        ),
    ),
    Probe: (
        "IntegrationProbe",
        "A trial purchase, and what proves it.",
        (
            "Somebody born in CoursePro bought a course there: the person and the membership are here, at our price.",
            "Somebody born here bought a course here: CoursePro was told of it.",
        ),
    ),
    readiness.Step: (
        "ReadinessStep",
        "A step of setting the integration up, in the order they are taken.",
        (
            "Prices and memberships of CoursePro courses.",
            "Which course is sold at which price.",
            "A trial purchase in CoursePro.",
            "The credentials of both sides.",
            "A trial purchase here.",
            "The courses themselves, set up with CoursePro.",
            "Whether changes of users travel.",
        ),
    ),
    readiness.Standing: (
        "ReadinessState",
        "How a step stands.",
        (
            "Done, as far as we can tell.",
            "Not begun, or something is not there.",
            "Begun, but something is wrong or not proven.",
            "Done with somebody else; we cannot tell.",
        ),
    ),
    Account: (
        "LedgerAccount",
        "Where money stands. The first four grow by debits, the others by credits.",
        (
            "Asked for, not received yet.",
            "Received and still there.",
            "Kept by a provider.",
            "Gone back.",
            "What was asked for.",
            "There, and pays for nothing yet.",
            "Pays for something.",
            "Its payer's to use later.",
            "To go back, or gone back.",
        ),
    ),
    Movement: (
        "LedgerMovement",
        "What happened to money.",
        (
            "Somebody is asked for it.",
            "And is not any more.",
            "What was asked for is received.",
            "It came.",
            "The bank took it back.",
            "So it is owed again.",
            "It pays for something.",
            "And does not any more.",
            "It is its payer's to use later.",
            "Earlier credit paid.",
            "It is to go back.",
            "It went back.",
            "It could not go back.",
            "What had gone back came in again.",
            "A provider kept it.",
            "A provider gave it back.",
        ),
    ),
    Check: (
        "MoneyCheck",
        "What of the books is compared with the rows they mirror.",
        (
            "What is owed.",
            "What was received, less what banks took back.",
            "What is to go back, or went.",
            "What went back.",
            "What payers may use later.",
            "What pays for something.",
            "What is held is never below nothing.",
            "An invoice's allocation is never more than was paid.",
            "An allocation's shares sum to it.",
            "Entries stand on the accounts and in the currency of what they moved.",
        ),
    ),
    DeliveryState: (
        "WebhookMessageState",
        "Where a message stands.",
        (
            "To be sent; tried again until its endpoint takes it.",
            "Its endpoint took it.",
            "Given up; may be asked for again.",
        ),
    ),
    ExportFormat: (
        "ExportFormat",
        "How rows are written out.",
        ("A JSON object a line.", "Comma-separated values, a line of names first."),
    ),
    WebhookTopic: (
        "WebhookTopic",
        "What an endpoint may be told about.",
        (
            "Memberships start and move, their access tokens come and go.",
            "Bookings are made, confirmed, released, changed.",
            "People join waiting lists, are offered a place, leave.",
            "Payments fall due, are collected, fail, are given back.",
            "Invoices open, are allocated, billed off, shipped, corrected.",
        ),
    ),
    KeyPurpose: (
        "ApiKeyPurpose",
        "What an API key was made for.",
        ("This API.", "The calls CoursePro makes.", "The question of a gate who may enter."),
    ),
}

for _kind, (_name, _description, _each) in WORDS.items():
    words(_kind, _name, _description, _each)
