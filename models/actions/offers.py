"""Packages of credits on sale: an offer costs what its pricing option costs at a centre on the day it is bought."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import packages
from models.actions.catalogue import price_at
from models.actions.charges import raise_payment
from models.actions.memberships import DEBIT_CURRENCIES, FARTHEST
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.rules.calendar import day_at
from models.rules.money import Money
from models.rules.pricing import Frequency
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, PaymentPurpose, Provider
from models.tables.centre import Centre
from models.tables.membership import Mandate
from models.tables.package import Package, PackageOffer
from models.tables.pricing import PricingOption
from models.tables.user import User


async def create_package_offer(
    *,
    name: str,
    pricing_option_id: UUID,
    credits: int,  # noqa: A002  the word of the field
    acting: str,
    at: datetime,
    valid_days: int | None = None,
    class_type_id: UUID | None = None,
    course_id: UUID | None = None,
) -> PackageOffer:
    """Put a pack of credits on sale, good for one kind of class, one course, or any; without days it has no end.

    Raises Refusal INVALID_INPUT, NOT_FOUND, UNKNOWN_PRICING_OPTION, FREQUENCY_DOES_NOT_FIT (a pack is paid once).
    """
    if credits < 1:
        raise Refusal(Code.INVALID_INPUT, "A package holds at least one credit.", field=("credits",))
    if valid_days is not None and not 1 <= valid_days <= FARTHEST.days:
        raise Refusal(Code.INVALID_INPUT, "A package is valid for a day to ten years.", field=("validDays",))
    async with unit(acting=acting, at=at) as work:
        option = await PricingOption.one(id=pricing_option_id)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        if option.frequency is not Frequency.FIXED:
            raise Refusal(Code.FREQUENCY_DOES_NOT_FIT, field=("pricingOptionId",))
        await packages.check_binding(class_type_id, course_id)
        offer = await PackageOffer.create(
            name=name,
            pricing_option_id=pricing_option_id,
            credits=credits,
            valid_days=valid_days,
            class_type_id=class_type_id,
            course_id=course_id,
        )
        work.audit("create_package_offer", offer, after={"name": name, "credits": credits, "valid_days": valid_days})
    return offer


@repeated
async def buy_package(
    *,
    package_offer_id: UUID,
    user_id: UUID,
    centre_id: UUID,
    acting: str,
    at: datetime,
    mandate_id: UUID | None = None,
) -> Package:
    """Sell a pack of credits at the centre's price of its day: by card, or by the direct debit named.

    It has no credits before its money is in; one that costs nothing has them at once. Raises Refusal NOT_FOUND,
    CURRENCY_MISMATCH, NO_MANDATE, NO_CARD_ON_FILE.
    """
    async with unit(acting=acting, at=at) as work:
        offer = await PackageOffer.one(id=package_offer_id)
        centre = await Centre.one(id=centre_id)
        for found, field in ((offer, "packageOfferId"), (centre, "centreId")):
            if found is None:
                raise Refusal(Code.NOT_FOUND, field=(field,))
        assert offer is not None
        assert centre is not None
        if not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        today = day_at(at, ZoneInfo(centre.zone))
        option, amount, level = await price_at(offer.pricing_option_id, centre_id=centre.id, on=today)
        if option.currency != centre.currency:
            raise Refusal(Code.CURRENCY_MISMATCH, field=("centreId",))
        mandate = await _usable(mandate_id, user_id, option.currency) if mandate_id else None
        package = await Package.create(
            user_id=user_id,
            name=offer.name,
            offer_id=offer.id,
            class_type_id=offer.class_type_id,
            course_id=offer.course_id,
            valid_from=at,
        )
        work.audit("buy_package", package, after={"amount": amount, "price_level": level, "centre": centre.id})
        if amount:
            await _ask_for(work, package, Money(amount, option.currency), mandate)
        else:
            await packages.paid(work, package.id)
            await package.refresh_from_db()
    return package


async def _usable(mandate_id: UUID, user_id: UUID, currency: str) -> Mandate:
    mandate = await Mandate.one(id=mandate_id, user_id=user_id, status=MandateStatus.ACTIVE)
    if mandate is None:
        raise Refusal(Code.NO_MANDATE, field=("mandateId",))
    if currency not in DEBIT_CURRENCIES:
        raise Refusal(Code.CURRENCY_MISMATCH, f"There are no direct debits in {currency}.", field=("mandateId",))
    return mandate


async def _ask_for(work: Unit, package: Package, price: Money, mandate: Mandate | None) -> None:
    if mandate is None and await linked(package.user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE, field=("userId",))
    await raise_payment(
        work,
        user_id=package.user_id,
        purpose=PaymentPurpose.PACKAGE,
        package_id=package.id,
        price=price,
        due_on=work.at.date(),
        mandate=mandate,
    )
