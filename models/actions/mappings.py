"""Which course of the course system is sold at which price, and what it may see of our catalogue (R31-R37)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions.catalogue import price_at, price_of
from models.actions.drift import said_of_price
from models.actions.settings import NEEDED
from models.actions.unit import unit
from models.rules import pricing
from models.rules.calendar import day_at
from models.rules.pricing import Integration
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider
from models.tables.centre import Centre
from models.tables.coursepro import CourseMapping
from models.tables.membership import MembershipType, PaymentOption
from models.tables.pricing import PricingOption
from models.tables.setting import ProviderSetting

LONGEST_REF = 64


async def map_course(
    *,
    course_ref: str,
    pricing_option_id: UUID,
    centre_id: UUID,
    acting: str,
    at: datetime,
    said: Mapping[str, Any] | None = None,
) -> CourseMapping:
    """Sell a course at a price in its centre; believed once a valid cart used it. The same again changes nothing.

    What was `said` of the price is kept as drift where it differs from today's.
    Raises Refusal UNKNOWN_PRICING_OPTION, PRICING_OPTION_NOT_COURSEPRO (no CoursePro membership takes the option),
    NOT_FOUND, CURRENCY_MISMATCH, INVALID_INPUT.        Source: CoursePro, B step 6 and C; R8, R32
    """
    if not 0 < len(course_ref) <= LONGEST_REF:
        raise Refusal(Code.INVALID_INPUT, f"A course has 1 to {LONGEST_REF} characters.", field=("courseRef",))
    async with unit(acting=acting, at=at) as work:
        option = await PricingOption.one(id=pricing_option_id)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        kind = await sold_by(option.id)
        if kind is None:
            raise Refusal(Code.PRICING_OPTION_NOT_COURSEPRO, field=("pricingOptionId",))
        centre = await Centre.one(id=centre_id)
        if centre is None:
            raise Refusal(Code.NOT_FOUND, field=("centreId",))
        if centre.currency != option.currency:
            raise Refusal(Code.CURRENCY_MISMATCH, field=("centreId",))
        wanted = {"pricing_option_id": option.id, "membership_type_id": kind.id, "centre_id": centre.id}
        mapping, made = await CourseMapping.get_or_create(course_ref=course_ref, defaults=wanted)
        mapping = await CourseMapping.known(id=mapping.id, lock=True)
        before = {name: getattr(mapping, name) for name in wanted}
        if made or before != wanted:
            mapping.update_from_dict({**wanted, "verified_at": None})
            await mapping.save(update_fields=[*wanted, "verified_at"])
            work.audit("map_course", mapping, before=None if made else before, after={**wanted, "course": course_ref})
        if said:
            today = day_at(at, ZoneInfo(centre.zone))
            _, amount, _ = await price_at(option.id, centre_id=centre.id, on=today)
            known: dict[str, Any] = {"amount": amount, "currency": option.currency, "centre_id": centre.id}
            await said_of_price(work, mapping, said, **known, cause=f"mapping:{today}")
    return mapping


async def sold_by(pricing_option_id: UUID) -> MembershipType | None:
    """The CoursePro membership a pricing option stands for: the oldest of those that take it, None without any."""
    found = PaymentOption.filter(pricing_option_id=pricing_option_id, coursepro=True)
    offered = await found.order_by("id").prefetch_related("membership_type").first()
    return offered.membership_type if offered else None


async def mapped(course_ref: str, pricing_option_id: UUID, *field: str) -> CourseMapping:
    """The mapping of a course, held; `field` is named in a refusal.

    Raises Refusal UNKNOWN_PRICING_OPTION, COURSE_NOT_MAPPED (to nothing, or to another option).        Source: R9
    """
    if not await PricingOption.has(id=pricing_option_id):
        raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=(*field, "pricingOptionId"))
    mapping = await CourseMapping.one(course_ref=course_ref, lock=True)
    if mapping is None or mapping.pricing_option_id != pricing_option_id:
        raise Refusal(Code.COURSE_NOT_MAPPED, field=(*field, "courseRef"))
    return mapping


async def configured() -> bool:
    """Whether everything the course system needs is entered; the switch of the user sync plays no part (R37)."""
    row = await ProviderSetting.one(provider=Provider.COURSEPRO)
    settings, secrets = NEEDED[Provider.COURSEPRO]
    return row is not None and all(row.settings.get(name) for name in settings) and secrets <= row.hints.keys()


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the mapping sheet: a CoursePro membership, its pricing option, and what it costs at each centre."""

    kind: MembershipType
    option: PricingOption
    prices: list[tuple[Centre, pricing.Price]]


async def mapping_sheet(*, at: datetime, membership_type_id: UUID | None = None) -> list[Entry]:
    """What is noted down here and entered in the course system, at the prices of the day, in the order of making (R31).

    A centre of another currency than the option's sells nothing at it and is left out.
    """
    offered = PaymentOption.filter(membership_type__integration=Integration.COURSEPRO_COURSE)
    if membership_type_id:
        offered = offered.filter(membership_type_id=membership_type_id)
    rows = await offered.order_by("membership_type_id", "id").prefetch_related(
        "membership_type", "pricing_option__overrides"
    )
    centres = await Centre.all().order_by("name", "id")
    return [Entry(row.membership_type, row.pricing_option, _prices(row.pricing_option, centres, at)) for row in rows]


def _prices(option: PricingOption, centres: list[Centre], at: datetime) -> list[tuple[Centre, pricing.Price]]:
    overridden = list(option.overrides)  # type: ignore[attr-defined]  # the reverse side of a relation
    selling = [centre for centre in centres if centre.currency == option.currency]
    return [(centre, price_of(option, overridden, centre, day_at(at, ZoneInfo(centre.zone)))) for centre in selling]
