"""What can be asked without changing anything."""

import strawberry

from models.rules.states import Role
from resolvers.reads.declare import Node, Where, all_rows, column, found, listed, looked_up, one, part
from resolvers.reads.ids import known
from schema.filters import InvoiceBy, PaymentBy, UserBy
from schema.types.billing import BillingPolicy, the_policy
from schema.types.books import money_proof
from schema.types.decisions import explain, why_not
from schema.types.gate import may_enter
from schema.types.going_live import integration_readiness
from schema.types.mapping import mapping_sheet, mapping_sheet_csv
from schema.types.quotes import booking_quotes, price_at
from schema.types.reports import revenue_report

_SUBJECT = Where("{row}.subject_id = {value}::uuid", known("*"))


@strawberry.type(description="Who is asking.")
class Viewer:
    """The caller, as its key or token says."""

    role: Role = column("What the caller is.")
    name: str = column("What the caller's key is called.")
    user = one("User", "The person the caller stands for.")


@strawberry.type(description="Everything that can be read. Nothing a caller may not see is told from nothing at all.")
class Query:
    """The roots."""

    viewer: Viewer = part("Who is asking.", "SELECT {viewer} AS user_id, {viewer.role} AS role, {viewer.name} AS name")
    node = looked_up("Anything, by its id.", Node, many=False)
    nodes = looked_up("Anything, by ids, in their order; null where there is nothing to see.", Node, many=True)
    user = found("User", "A user.", by=UserBy)
    users = listed("User", "Users.")
    user_fields = all_rows("UserField", "The fields the operator collects of users.", order="{row}.name")
    review_items = listed("ReviewItem", "Questions that are left to a person.")
    membership_type = found("MembershipType", "A membership type.")
    membership_types = listed("MembershipType", "Membership types.")
    membership = found("Membership", "A membership.")
    memberships = listed("Membership", "Memberships.")
    pricing_option = found("PricingOption", "A pricing option.")
    pricing_options = listed("PricingOption", "Pricing options.")

    price_at = strawberry.field(
        resolver=price_at, description="What a pricing option costs at a centre on a day; null where either is unknown."
    )
    booking_quotes = strawberry.field(
        resolver=booking_quotes,
        description="What each way of paying for a course would take, side by side; null where either is unknown.",
    )
    explain = strawberry.field(
        resolver=explain, description="Every decision about a thing, with the rules and figures that led to it."
    )
    why_not = strawberry.field(
        resolver=why_not,
        description="Why a course cannot be booked in a way, or which invoice pays for an attendance and why others do"
        " not; null where anything named is unknown.",
    )
    mapping_sheet = strawberry.field(
        resolver=mapping_sheet,
        description="What is entered in CoursePro: ids, names and today's price at each centre; nothing for members.",
    )
    mapping_sheet_csv = strawberry.field(
        resolver=mapping_sheet_csv, description="The same as CSV, to be taken along: a line for each price."
    )
    course_mappings = listed("CourseMapping", "Which course of CoursePro is sold at which price.")
    drifts = listed("Drift", "What other systems said that is not what we know.")
    may_enter = strawberry.field(
        resolver=may_enter,
        description="Whether a person may pass a centre's gate; null where either is unknown.",
    )
    centres = listed("Centre", "Centres.")
    course = found("Course", "A course.")
    courses = listed("Course", "Courses.")
    booking = found("Booking", "A booking.")
    bookings = listed("Booking", "Bookings.")
    package = found("Package", "A package of credits.")
    packages = listed("Package", "Packages of credits.")
    package_offer = found("PackageOffer", "A pack of credits on sale.")
    package_offers = listed("PackageOffer", "Packs of credits on sale.")
    invoice = found("Invoice", "A subscription invoice.", by=InvoiceBy)
    invoices = listed("Invoice", "Subscription invoices.")
    card_subscription = found("CardSubscription", "A card subscription.")
    card_subscriptions = listed("CardSubscription", "Card subscriptions, those of unmanaged products among them.")
    corrections = listed("Correction", "What changed at invoices after they were billed off.")
    revenue_report = strawberry.field(
        resolver=revenue_report,
        description="What classes, membership types or months earned, after refunds; finance and administrators only.",
    )
    payment = found("Payment", "A payment.", by=PaymentBy)
    payments = listed("Payment", "Payments.")
    billing_policy: BillingPolicy | None = the_policy("When fees are asked for, and what follows a failure; for staff.")
    ledger_entries = listed("LedgerEntry", "Movements of money in the books.")
    money_proof = strawberry.field(
        resolver=money_proof,
        description="Whether what was received is allocated, refunded, credited or held; null for who may not see it.",
    )
    mandates = listed("Mandate", "Direct debit instructions.")
    job = found("Job", "A job.")
    jobs = listed("Job", "Jobs.")
    webhook_events = listed("WebhookEvent", "Events that providers sent.")
    webhook_endpoints = listed("WebhookEndpoint", "The addresses partners are told at.")
    webhook_messages = listed("WebhookMessage", "What partners were told.")
    access_tokens = listed("AccessToken", "Leave to pass the gates.")
    provider_settings = all_rows("ProviderSetting", "How providers are reached.", order="{row}.provider")
    integration_readiness = strawberry.field(
        resolver=integration_readiness,
        description="How far the integration with CoursePro is set up, step by step; the desk and administrators only.",
    )
    probe_runs = listed("ProbeRun", "Trial purchases that were looked for.")
    api_keys = listed("ApiKey", "The keys of callers.")
    audit_trail = listed("AuditEntry", "Who changed a thing.", subject_id=(_SUBJECT, "The id of the thing."))
