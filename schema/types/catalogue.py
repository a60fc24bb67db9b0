"""What is sold where and for how much."""

from datetime import date, datetime

from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from resolvers.reads.declare import Node, all_of, column, entity, many, of_owner, one
from schema.scalars import CurrencyCode
from schema.types.shared import Money, money


@entity("centre", "A place with its own zone and currency.")
class Centre(Node):
    """A centre."""

    name: str = column("Its name.")
    zone: str = column("Its time zone, as the tz database names it.")
    currency: CurrencyCode = column("The currency of its prices.")
    setting_group = one("SettingGroup", "The group it shares settings with.")
    practice_location: str | None = column("Its id in the practice system.")
    minutes_before: int = column("How many minutes before a class its gates open for who is on its roster.")
    minutes_after: int = column("How many minutes after a class they shut.")
    courses = many("Course", "The courses held there.", on="centre_id")
    created_at: datetime = column("When it was created.")


@entity("setting_group", "A group of centres that share settings, prices among them.")
class SettingGroup(Node):
    """A setting group."""

    name: str = column("Its name.")
    centres = all_of("Centre", "Its centres.", on="setting_group_id")


@entity("pricing_option", "A fee, fixed or recurring; nothing for a free course.")
class PricingOption(Node):
    """A pricing option."""

    name: str = column("Its name.")
    type: OptionType = column("What it is for.", "{row}.option_type")
    frequency: Frequency = column("How often it is paid.")
    amount: Money = money("What it costs where nothing overrides it.")
    overrides = all_of("PriceOverride", "Other amounts for centres and setting groups.", on="pricing_option_id")
    created_at: datetime = column("When it was created.")
    updated_at: datetime = column("When it last changed.")


@entity("price_override", "Another amount for one centre or one setting group.")
class PriceOverride(Node):
    """An override."""

    pricing_option = one("PricingOption", "Which price it overrides.")
    centre = one("Centre", "The centre it is for; null where it is for a group.")
    setting_group = one("SettingGroup", "The group it is for; null where it is for a centre.")
    amount: Money = money(
        "What it costs there.",
        currency=of_owner("pricing_option", "pricing_option_id", "currency"),
    )
    effective_from: date | None = column("The first day it holds; null for always.")
    effective_until: date | None = column("The first day it no longer holds; null for no end.")


@entity("membership_type", "A membership that can be bought.")
class MembershipType(Node):
    """A membership type."""

    name: str = column("Its name.")
    centre = one("Centre", "The only centre it is sold at; null for all.")
    integration: Integration = column("The system it works with, fixed when it is created.")
    kind: MembershipKind = column("How long it lasts.")
    term_months: int | None = column("How many months, where it is of fixed length.")
    sessions: int | None = column("How many sessions, where it is made of sessions.")
    credits_per_period: int | None = column("How many credits it grants for each monthly period; null for none.")
    product: str | None = column("The card provider's product it stands for.")
    payment_options = all_of("PaymentOption", "The prices it is offered at.", on="membership_type_id")
    coverage = all_of("Coverage", "The kinds of classes it covers, and when.", on="membership_type_id")
    created_at: datetime = column("When it was created.")


@entity("payment_option", "A price a membership type is offered at.")
class PaymentOption(Node):
    """A payment option."""

    membership_type = one("MembershipType", "What is offered.")
    pricing_option = one("PricingOption", "At which price.")


@entity("class_type", "A kind of class.")
class ClassType(Node):
    """A class type."""

    name: str = column("Its name.")
    practice_id: str | None = column("Its id in the practice system.")


@entity("coverage", "From when until when a membership type covers a kind of class.")
class Coverage(Node):
    """A coverage."""

    membership_type = one("MembershipType", "What covers.")
    class_type = one("ClassType", "What is covered.")
    covered_from: datetime = column("The first instant it is covered.")
    covered_until: datetime | None = column("The first instant it no longer is; null for no end.")
