"""Courses of the course system on sale at our prices, and what is bought of them."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from models.actions import carts, catalogue, mappings
from models.actions.carts import Item
from models.rules.pricing import Frequency, Integration, MembershipKind
from models.tables.centre import Centre
from models.tables.membership import Membership, MembershipType
from models.tables.pricing import PricingOption
from models.tables.user import User
from tests.build import BY, NOW, a_centre, a_mandate, a_name, a_user, an_option

WHO: dict[str, Any] = {"acting": BY, "at": NOW}
TODAY = NOW.date()
ONGOING, FIXED_TERM, SESSIONS = MembershipKind
RECURRING, FIXED = Frequency


@dataclass(slots=True)
class Sold:
    """A course on sale: its reference there, and what stands behind it here."""

    ref: str
    kind: MembershipType
    option: PricingOption
    centre: Centre

    def item(self, starts_on: date = TODAY, **said: Any) -> Item:
        return Item(self.option.id, self.ref, starts_on, said)


async def a_type(kind: MembershipKind, amount: int) -> tuple[MembershipType, PricingOption]:
    option = await an_option(amount, frequency=RECURRING if kind is ONGOING else FIXED)
    row = await catalogue.create_membership_type(
        name=a_name("Swimming"),
        integration=Integration.COURSEPRO_COURSE,
        kind=kind,
        pricing_option_ids=[option.id],
        sessions=5 if kind is SESSIONS else None,
        **WHO,
    )
    return row, option


async def a_sold(kind: MembershipKind = ONGOING, amount: int = 32_00, centre: Centre | None = None) -> Sold:
    row, option = await a_type(kind, amount)
    centre = centre or await a_centre()
    mapping = await mappings.map_course(
        course_ref=a_name("SWIM"), pricing_option_id=option.id, centre_id=centre.id, **WHO
    )
    return Sold(mapping.course_ref, row, option, centre)


async def buy(user: User, *sold: Sold, at: datetime = NOW, **options: Any) -> list[Membership]:
    given: dict[str, Any] = {"cart_id": a_name("cart"), "user_id": user.id, "items": [each.item() for each in sold]}
    return await carts.take_cart(**{**given, **options}, acting=BY, at=at)


async def a_bought(sold: Sold | None = None, user: User | None = None) -> tuple[Membership, Sold]:
    """An active membership of a course, paid by direct debit."""
    user, sold = user or await a_user(), sold or await a_sold()
    await a_mandate(user)
    (membership,) = await buy(user, sold)
    return await Membership.get(id=membership.id), sold
