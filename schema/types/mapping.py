"""Which courses of the course system are sold at which price, and what it said that is not what we know."""

from datetime import datetime
from typing import Annotated, Any

import strawberry

from models.actions.mappings import Entry
from models.rules.drifting import FieldOwner
from models.rules.money import Money as Amount
from models.rules.pricing import Frequency, Level, MembershipKind
from models.rules.states import Provider
from resolvers.context import Info
from resolvers.mapping import as_csv, sheet
from resolvers.reads.declare import Node, column, entity, one
from resolvers.reads.ids import encode, known
from schema.types.quotes import told_money
from schema.types.shared import Money


@entity("course_mapping", "A course of the course system and the price it is sold at.")
class CourseMapping(Node):
    """A mapping."""

    course_ref: str = column("The course's id in the course system.")
    pricing_option = one("PricingOption", "At which price.")
    membership_type = one("MembershipType", "The membership its customers get.")
    centre = one("Centre", "The course's centre, which decides the price.")
    verified_at: datetime | None = column("When a valid cart first used it; null for not yet.")
    created_at: datetime = column("When it was first told.")
    updated_at: datetime = column("When it last changed.")


@entity("drift", "Something another system said that is not what we know, and was not taken over.")
class Drift(Node):
    """A drift."""

    provider: Provider = column("Who said it.")
    subject_type: str = column("The kind of thing it is about.")
    subject_id: str = column("The thing's own id.", "{row}.subject_id::text")
    field: str = column("What of it.")
    owner: FieldOwner = column(
        "Whose word counts for it.", "CASE WHEN {row}.provider = 'STRIPE' THEN 'STRIPE' ELSE 'DUEFLOW' END"
    )
    ours: str | None = column("What we know.")
    theirs: str | None = column("What was said.")
    cause: str = column("With what it was said: a cart and its item, a call.")
    at: datetime = column("When it was said.")


@strawberry.type(description="What a pricing option costs at one centre today.")
class MappingSheetPrice:
    """A price of the sheet."""

    centre_id: strawberry.ID = strawberry.field(description="The id of the centre.")
    centre_ref: str = strawberry.field(description="The id CoursePro knows the centre by.")
    centre: str = strawberry.field(description="Its name.")
    price: Money = strawberry.field(description="What it costs there.")
    level: Level = strawberry.field(description="Where that price was found.")


@strawberry.type(description="A CoursePro membership with the pricing option its courses are mapped to.")
class MappingSheetRow:
    """A line of the sheet."""

    membership_type_id: strawberry.ID = strawberry.field(description="The id of the membership type.")
    membership_type: str = strawberry.field(description="Its name.")
    kind: MembershipKind = strawberry.field(description="How long it lasts.")
    pricing_option_id: strawberry.ID = strawberry.field(description="The id of the pricing option.")
    pricing_option_ref: str = strawberry.field(description="The id to enter in CoursePro: what a mapping goes by.")
    pricing_option: str = strawberry.field(description="Its name.")
    frequency: Frequency = strawberry.field(description="How it is paid.")
    prices: list[MappingSheetPrice] = strawberry.field(description="What it costs at each centre of its currency.")


def _told(entry: Entry) -> MappingSheetRow:
    kind, option = entry.kind, entry.option
    prices = [
        MappingSheetPrice(
            centre_id=strawberry.ID(encode("Centre", centre.id)),
            centre_ref=str(centre.id),
            centre=centre.name,
            price=told_money(Amount(price.amount, option.currency)),
            level=price.level,
        )
        for centre, price in entry.prices
    ]
    return MappingSheetRow(
        membership_type_id=strawberry.ID(encode("MembershipType", kind.id)),
        membership_type=kind.name,
        kind=kind.kind,
        pricing_option_id=strawberry.ID(encode("PricingOption", option.id)),
        pricing_option_ref=str(option.id),
        pricing_option=option.name,
        frequency=option.frequency,
        prices=prices,
    )


def _asks(description: str) -> Any:
    return strawberry.argument(description=description)


OnlyOf = Annotated[strawberry.ID | None, _asks("Only this membership type; all of them, if left out.")]


async def mapping_sheet(info: Info, membership_type_id: OnlyOf = None) -> list[MappingSheetRow]:
    """What is entered in CoursePro, line by line; empty for members. Raises BadInput."""
    return [_told(each) for each in await sheet(info.context, *_only(membership_type_id))]


async def mapping_sheet_csv(info: Info, membership_type_id: OnlyOf = None) -> str:
    """The same as CSV, a line for each price; members get its first line alone. Raises BadInput."""
    return as_csv(await sheet(info.context, *_only(membership_type_id)))


def _only(membership_type_id: strawberry.ID | None) -> tuple[Any, bool]:
    return (known("MembershipType")(membership_type_id), True) if membership_type_id else (None, False)
