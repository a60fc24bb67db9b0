"""Memberships and what pays them."""

from datetime import date, datetime

from models.rules.lifecycle import STANDING, Status
from models.rules.states import MandateStatus, Provider, SubscriptionStatus
from resolvers.reads.declare import Node, column, entity, many, one, part
from schema.enums import Availability
from schema.scalars import URL
from schema.types.shared import Money, money

_ARREARS = """SELECT coalesce(sum(p.amount), 0)::bigint AS minor, {parent}.currency AS currency FROM payment p
    LEFT JOIN payment c ON c.id = p.carried_by_id WHERE p.membership_id = {parent}.id AND (
    p.status IN ('FAILED', 'CHARGED_BACK') OR p.status = 'CARRIED' AND coalesce(c.status, 'CANCELLED') = 'CANCELLED')"""


def _availability() -> str:
    words = (f"WHEN '{status}' THEN '{each.coursepro.upper()}'" for status, each in STANDING.items() if each.coursepro)
    return f"CASE {{row}}.status {' '.join(words)} END"


@entity("membership", "One person's membership.")
class Membership(Node):
    """A membership."""

    user = one("User", "Whose it is.")
    type = one("MembershipType", "What was bought.")
    centre = one("Centre", "Where it was bought.")
    pricing_option = one("PricingOption", "The price it was bought at.")
    mandate = one("Mandate", "The direct debit that pays it.")
    subscription = one(
        "CardSubscription", "The card subscription that pays it.", join="{row}.membership_id = {parent}.id"
    )
    status: Status = column("Where it stands.")
    reason: str | None = column("Why it stands there, where that is not plain.")
    availability: Availability | None = column("What the course system is told; null for nothing yet.", _availability())
    amount: Money | None = money("What each cycle costs; null where the card provider keeps the price.")
    starts_on: date = column("Its first day.")
    ends_on: date | None = column("Its last day; null for no end.")
    course_ref: str | None = column("The customer's course in the course system.")
    cart_ref: str | None = column("The cart of the course system it was bought with.")
    moved_from = one("Membership", "The one it took over from when its course was moved.", on="moved_from_id")
    fees_from: date | None = column(
        "The first day it owes a fee for, where that is not its first; 9999-12-31 for never."
    )
    next_fee_on: date | None = column("The first day of the next period to be asked for; null where none is.")
    billing_day: int | None = column("The day of the month its periods begin on; null for its anniversary.")
    arrears: Money | None = part(
        "What was not paid and nobody is asked for now; null where money is not shown.", _ARREARS
    )
    version: int = column("Rises with each change of status.")
    created_at: datetime = column("When it was bought.")
    updated_at: datetime = column("When it last changed.")
    payments = many("Payment", "What was asked for it.", on="membership_id")
    invoices = many("Invoice", "Its subscription's invoices.", on="membership_id")
    access_tokens = many("AccessToken", "The leave it gives to pass the gates.", on="membership_id")
    credits = many("Package", "The credits it came with.", on="membership_id")


@entity("mandate", "A direct debit instruction.")
class Mandate(Node):
    """A mandate."""

    user = one("User", "Whose account is debited.")
    provider: Provider = column("Who keeps the instruction.")
    external_id: str | None = column("Its id there; null until it is signed.")
    authorisation_url: URL | None = column("The page to sign it on.")
    status: MandateStatus = column("Where it stands.")
    created_at: datetime = column("When it was asked for.")
    updated_at: datetime = column("When it last changed.")
    memberships = many("Membership", "What it pays.", on="mandate_id")


@entity("subscription", "A card subscription, mirrored from its provider.")
class CardSubscription(Node):
    """A subscription."""

    provider: Provider = column("Where it is kept.")
    external_id: str = column("Its id there.")
    customer: str = column("The customer's id there.")
    product: str = column("The product's id there.")
    status: SubscriptionStatus = column("Where it stands there.")
    user = one("User", "Who pays, once that is sure.")
    beneficiary = one("User", "Who attends, where that is another.", on="beneficiary_id")
    managed: bool = column(
        "Whether a membership type stands for its product; one without is kept, and not billed off.",
        "EXISTS (SELECT 1 FROM membership_type mt WHERE mt.product = {row}.product)",
    )
    membership = one("Membership", "What it pays, once that is sure.")
    created_at: datetime = column("When it was first seen.")
    invoices = many("Invoice", "Its invoices.", on="subscription_id")
