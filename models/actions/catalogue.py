"""What can be sold and where: centres, setting groups, pricing options with overrides, membership types (R20-R35)."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tortoise.exceptions import IntegrityError

from models.actions.access import check_minutes
from models.actions.transaction import alone
from models.actions.unit import unit
from models.rules import pricing
from models.rules.money import exponent
from models.rules.pricing import Frequency, Integration, Level, MembershipKind, OptionType
from models.rules.refusals import Code, Refusal
from models.tables.centre import Centre, SettingGroup
from models.tables.course import Course
from models.tables.membership import ClassType, Coverage, MembershipType, PaymentOption
from models.tables.pricing import PriceOverride, PricingOption


async def create_setting_group(*, name: str, acting: str, at: datetime) -> SettingGroup:
    """Make a group of centres that share settings. Raises Refusal INVALID_INPUT where the name is taken."""
    async with unit(acting=acting, at=at) as work:
        if await SettingGroup.has(name=name):
            raise Refusal(Code.INVALID_INPUT, f"A setting group is called {name!r} already.", field=("name",))
        group = await SettingGroup.create(name=name)
        work.audit("create_setting_group", group, after={"name": name})
    return group


async def create_centre(
    *,
    name: str,
    zone: str,
    currency: str,
    acting: str,
    at: datetime,
    setting_group_id: UUID | None = None,
    practice_location: str | None = None,
    minutes_before: int = 30,
    minutes_after: int = 30,
) -> Centre:
    """Open a centre in an IANA zone with an ISO currency; its gates open so many minutes around a class.

    Raises Refusal INVALID_INPUT, NOT_FOUND.
    """
    check_zone(zone)
    check_currency(currency)
    check_minutes(minutes_before, minutes_after)
    async with unit(acting=acting, at=at) as work:
        if await Centre.has(name=name):
            raise Refusal(Code.INVALID_INPUT, f"A centre is called {name!r} already.", field=("name",))
        if practice_location and await Centre.has(practice_location=practice_location):
            raise Refusal(Code.INVALID_INPUT, "This place is another centre's.", field=("practiceLocation",))
        if setting_group_id and not await SettingGroup.has(id=setting_group_id):
            raise Refusal(Code.NOT_FOUND, field=("settingGroupId",))
        centre = await Centre.create(
            name=name,
            zone=zone,
            currency=currency,
            setting_group_id=setting_group_id,
            practice_location=practice_location,
            minutes_before=minutes_before,
            minutes_after=minutes_after,
        )
        work.audit("create_centre", centre, after={"name": name, "zone": zone, "currency": currency})
    return centre


def check_zone(zone: str) -> None:
    """Refuse what is no IANA zone (INVALID_INPUT)."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Refusal(Code.INVALID_INPUT, f"{zone!r} is no IANA time zone.", field=("zone",)) from None


def check_currency(currency: str) -> None:
    """Refuse what is no known ISO currency code (INVALID_INPUT)."""
    try:
        exponent(currency)
    except ValueError as unknown:
        raise Refusal(Code.INVALID_INPUT, str(unknown), field=("currency",)) from None


async def create_pricing_option(
    *,
    name: str,
    option_type: OptionType,
    frequency: Frequency,
    amount: int,
    currency: str,
    acting: str,
    at: datetime,
) -> PricingOption:
    """Set a fee in minor units; zero is a free course (R22). Raises Refusal NEGATIVE_AMOUNT, INVALID_INPUT."""
    pricing.check_amount(amount)
    check_currency(currency)
    async with unit(acting=acting, at=at) as work:
        option = await PricingOption.create(
            name=name, option_type=option_type, frequency=frequency, amount=amount, currency=currency
        )
        work.audit("create_pricing_option", option, after={"amount": amount, "currency": currency, "type": option_type})
    return option


async def set_price_override(
    *,
    pricing_option_id: UUID,
    amount: int,
    acting: str,
    at: datetime,
    centre_id: UUID | None = None,
    setting_group_id: UUID | None = None,
    effective_from: date | None = None,
    effective_until: date | None = None,
) -> PriceOverride:
    """Another amount at one centre or in one setting group (R24, R25); the same scope and first day is set anew.

    Raises Refusal INVALID_INPUT (not exactly one scope, days out of order), NEGATIVE_AMOUNT, UNKNOWN_PRICING_OPTION,
    NOT_FOUND, CURRENCY_MISMATCH.
    """
    pricing.check_amount(amount)
    if (centre_id is None) == (setting_group_id is None):
        raise Refusal(Code.INVALID_INPUT, "An override is for one centre or one setting group.", field=("centreId",))
    if effective_from and effective_until and effective_from >= effective_until:
        raise Refusal(Code.INVALID_INPUT, "An override ends after it begins.", field=("effectiveUntil",))
    async with unit(acting=acting, at=at) as work:
        option = await PricingOption.one(id=pricing_option_id)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        centre = await Centre.one(id=centre_id) if centre_id else None
        if centre_id and centre is None:
            raise Refusal(Code.NOT_FOUND, field=("centreId",))
        if centre and centre.currency != option.currency:
            raise Refusal(Code.CURRENCY_MISMATCH, field=("centreId",))
        if setting_group_id and not await SettingGroup.has(id=setting_group_id):
            raise Refusal(Code.NOT_FOUND, field=("settingGroupId",))
        override, made = await PriceOverride.get_or_create(
            pricing_option_id=pricing_option_id,
            centre_id=centre_id,
            setting_group_id=setting_group_id,
            effective_from=effective_from,
            defaults={"amount": amount, "effective_until": effective_until},
        )
        before = None if made else {"amount": override.amount, "effective_until": override.effective_until}
        override.amount, override.effective_until = amount, effective_until
        await override.save(update_fields=["amount", "effective_until"])
        work.audit("set_price_override", override, before=before, after={"amount": amount})
    return override


async def price_at(pricing_option_id: UUID, *, centre_id: UUID, on: date) -> tuple[PricingOption, int, Level]:
    """(option, the course's centre, day) -> (the option, amount in minor units of its currency, level that matched).

    Raises Refusal UNKNOWN_PRICING_OPTION, NOT_FOUND. Source: R24-R26
    """
    option = await PricingOption.one(id=pricing_option_id)
    if option is None:
        raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
    centre = await Centre.one(id=centre_id)
    if centre is None:
        raise Refusal(Code.NOT_FOUND, field=("centreId",))
    price = price_of(option, await PriceOverride.every(pricing_option_id=option.id), centre, on)
    return option, price.amount, price.level


def price_of(option: PricingOption, overridden: Iterable[PriceOverride], centre: Centre, on: date) -> pricing.Price:
    """(option, its overrides, centre, day) -> the price and the level that matched. Source: R24-R26."""
    overrides = [
        pricing.Override(row.centre_id, row.setting_group_id, row.amount, row.effective_from, row.effective_until)
        for row in overridden
    ]
    return pricing.price_at(
        option.amount, overrides, centre_id=centre.id, setting_group_id=centre.setting_group_id, on=on
    )


async def create_membership_type(
    *,
    name: str,
    integration: Integration,
    kind: MembershipKind,
    acting: str,
    at: datetime,
    pricing_option_ids: Sequence[UUID] = (),
    class_type_ids: Sequence[UUID] = (),
    term_months: int | None = None,
    sessions: int | None = None,
    credits_per_period: int | None = None,
    product: str | None = None,
    centre_id: UUID | None = None,
) -> MembershipType:
    """Make a membership that can be bought, with its payment options and the class types it covers from now on.

    Raises Refusal UNKNOWN_PRICING_OPTION, PRICING_OPTION_NOT_COURSEPRO, ONE_PAYMENT_OPTION_ONLY,
    FREQUENCY_DOES_NOT_FIT, NOT_FOUND, INVALID_INPUT, PRODUCT_IN_USE.        Source: CoursePro, B; R27-R30, R94
    """
    if term_months is not None and not 1 <= term_months <= 120:
        raise Refusal(Code.INVALID_INPUT, "A term has 1 to 120 months.", field=("termMonths",))
    if kind is MembershipKind.FIXED_TERM:
        term_months = 3 if term_months is None else term_months
    elif term_months is not None:
        raise Refusal(Code.INVALID_INPUT, "Only a fixed term has months.", field=("termMonths",))
    if (kind is MembershipKind.SESSIONS) != (sessions is not None) or (sessions is not None and sessions < 1):
        raise Refusal(Code.INVALID_INPUT, "A session purchase, and nothing else, has sessions.", field=("sessions",))
    _check_credits(kind, credits_per_period)
    if product and centre_id is None:
        raise Refusal(Code.INVALID_INPUT, "A product's memberships belong to a centre.", field=("centreId",))
    coursepro = integration is Integration.COURSEPRO_COURSE
    pricing_option_ids = tuple(dict.fromkeys(pricing_option_ids))
    async with unit(acting=acting, at=at) as work:
        await _check_options(integration, kind, pricing_option_ids)
        if centre_id and not await Centre.has(id=centre_id):
            raise Refusal(Code.NOT_FOUND, field=("centreId",))
        if await ClassType.filter(id__in=list(class_type_ids)).count() != len(set(class_type_ids)):
            raise Refusal(Code.NOT_FOUND, field=("classTypeIds",))
        await check_product_free(product)
        if coursepro and not pricing_option_ids:
            found = "A CoursePro membership has the one pricing option its courses are mapped to."
            raise Refusal(Code.INVALID_INPUT, found, field=("pricingOptionIds",))
        row = await MembershipType.create(
            name=name,
            integration=integration,
            kind=kind,
            term_months=term_months,
            sessions=sessions,
            credits_per_period=credits_per_period,
            product=product,
            centre_id=centre_id,
        )
        for option_id in pricing_option_ids:
            await PaymentOption.create(membership_type_id=row.id, pricing_option_id=option_id, coursepro=coursepro)
        for class_type_id in dict.fromkeys(class_type_ids):
            await Coverage.create(membership_type_id=row.id, class_type_id=class_type_id, covered_from=at)
        if product:
            # those sold before anybody told what they are for
            work.job("subscriptions.adopt", payload={"product": product})
        work.audit("create_membership_type", row, after={"name": name, "integration": integration, "kind": kind})
    return row


async def check_product_free(product: str | None) -> None:
    """Refuse a product that stands for another membership type (PRODUCT_IN_USE); who asks for the same meanwhile waits.

    Source: R94
    """
    if product is None:
        return
    await alone(f"product:{product}")
    if await MembershipType.has(product=product):
        raise Refusal(Code.PRODUCT_IN_USE, field=("product",))


def _check_credits(kind: MembershipKind, credits_per_period: int | None) -> None:
    if credits_per_period is not None and (credits_per_period < 1 or kind is MembershipKind.SESSIONS):
        found = "What lasts in months may grant a credit or more for each; a session purchase has its sessions."
        raise Refusal(Code.INVALID_INPUT, found, field=("creditsPerPeriod",))


async def _check_options(integration: Integration, kind: MembershipKind, option_ids: Sequence[UUID]) -> None:
    for held, option_id in enumerate(option_ids):
        option = await PricingOption.one(id=option_id)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionIds",))
        pricing.check_option_fits(integration, option.option_type)
        pricing.check_frequency(kind, option.frequency)
        pricing.check_another_option(integration, held)


async def create_class_type(*, name: str, acting: str, at: datetime, practice_id: str | None = None) -> ClassType:
    """Name a kind of class; `practice_id` ties it to the practice system's. Raises Refusal INVALID_INPUT."""
    async with unit(acting=acting, at=at) as work:
        try:
            row = await ClassType.create(name=name, practice_id=practice_id)
        except IntegrityError:
            raise Refusal(Code.INVALID_INPUT, "That class of the practice is known.", field=("practiceId",)) from None
        work.audit("create_class_type", row, after={"name": name, "practice_id": practice_id})
    return row


async def course_price(course: Course, *, on: date) -> tuple[int, str]:
    """What a course costs at its centre on a day -> (minor units, currency)."""
    option, amount, _ = await price_at(course.pricing_option_id, centre_id=course.centre_id, on=on)
    return amount, option.currency
