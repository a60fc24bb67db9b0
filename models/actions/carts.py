"""What a customer buys in the course system: a membership for each item, at our price, and what is told of it after."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.actions import fees, links, mandates, mappings, memberships, user_fields, users
from models.actions.catalogue import price_at
from models.actions.drift import said_of_price
from models.actions.transaction import alone, repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.ports import CartPush
from models.rules.pricing import Frequency
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, Provider
from models.tables.coursepro import CourseMapping
from models.tables.membership import Mandate, Membership
from models.tables.pricing import PricingOption
from models.tables.user import User

MOST_ITEMS = 50


@dataclass(frozen=True, slots=True)
class Item:
    """One course in a cart; `said` is what the other side said of what is ours to say: prices, currency, centre."""

    pricing_option_id: UUID
    course_ref: str
    starts_on: date
    said: Mapping[str, Any] = field(default_factory=dict)


@repeated
async def take_cart(
    *,
    cart_id: str,
    items: Sequence[Item],
    acting: str,
    at: datetime,
    user_id: UUID | None = None,
    coursepro_id: str | None = None,
    mandate_id: UUID | None = None,
    said: Mapping[str, Any] | None = None,
) -> list[Membership]:
    """Sell a cart of the course system, all of it or nothing -> a membership for each item, in their order.

    The price is ours, of the course's centre and the item's first day (R24); what was said of it is kept as drift where
    it differs (R1). The same cart again is the same cart. Raises Refusal NOT_FOUND, INVALID_INPUT,
    UNKNOWN_PRICING_OPTION, COURSE_NOT_MAPPED, NO_MANDATE, CURRENCY_MISMATCH.        Source: CoursePro, A; R9, R32
    """
    async with unit(acting=acting, at=at) as work:
        # two calls about one cart run one after the other: there may be nothing yet to lock
        await alone(f"cart:{cart_id}")
        buyer = await _buyer(user_id, coursepro_id)
        known = await Membership.every(cart_ref=cart_id, order=("id",))
        if known:
            if any(each.user_id != buyer for each in known):
                raise Refusal(Code.INVALID_INPUT, "This cart is somebody else's.", field=("cartId",))
            return known
        if not 0 < len(items) <= MOST_ITEMS:
            raise Refusal(Code.INVALID_INPUT, f"A cart has 1 to {MOST_ITEMS} items.", field=("items",))
        sold = []
        for number, item in enumerate(items):
            path = ("items", str(number))
            try:
                mapping = await mappings.mapped(item.course_ref, item.pricing_option_id)
                membership = await _sell(work, buyer, cart_id, item, mapping, mandate_id)
            except Refusal as refusal:
                refusal.field = (*path, *refusal.field)
                raise
            await _believe(work, mapping)
            await _compare(work, membership, item.said, membership.amount or 0, f"cart:{cart_id}:{number}")
            sold.append(membership)
        total = sum(each.amount or 0 for each in sold)
        await _compare(work, sold[0], said or {}, total, f"cart:{cart_id}")
    return sold


async def _buyer(user_id: UUID | None, coursepro_id: str | None) -> UUID:
    """Who buys: one of ours, by our id or by the other side's; both, where given, mean one person."""
    known = await links.user_of_record(coursepro_id) if coursepro_id is not None else None
    if user_id is not None and await User.has(id=user_id) and known in (None, user_id):
        return user_id
    if user_id is None and known is not None:
        return known
    raise Refusal(Code.NOT_FOUND, "Nobody is known by this id.", field=("user",))


async def _sell(
    work: Unit, user_id: UUID, cart_id: str, item: Item, mapping: CourseMapping, mandate_id: UUID | None
) -> Membership:
    option, amount, _ = await price_at(item.pricing_option_id, centre_id=mapping.centre_id, on=item.starts_on)
    membership = await memberships.start_membership(
        user_id=user_id,
        membership_type_id=mapping.membership_type_id,
        centre_id=mapping.centre_id,
        pricing_option_id=option.id,
        starts_on=item.starts_on,
        mandate_id=mandate_id or (await paid_by(work, user_id, option) if amount else None),
        course_ref=item.course_ref,
        cart_ref=cart_id,
        acting=work.acting,
        at=work.at,
    )
    await ask_once(work, membership, option)
    return membership


async def paid_by(work: Unit, user_id: UUID, option: PricingOption) -> UUID | None:
    """The direct debit a purchase is paid by where none was named; None for the card on file, or for later.

    A recurring fee takes the buyer's own, one not signed yet rather than none; where there is none, one is prepared.
    """
    own = Mandate.filter(user_id=user_id).order_by("-id")
    usable = await own.filter(status=MandateStatus.ACTIVE).first()
    if option.frequency is Frequency.FIXED:
        card = await linked(user_id, Provider.STRIPE, "payment_method")
        return usable.id if usable and card is None else None
    found = usable or await own.filter(status=MandateStatus.PENDING).first()
    if found is None:
        found = await mandates.start_mandate(user_id=user_id, currency=option.currency, acting=work.acting, at=work.at)
    return found.id


async def ask_once(work: Unit, membership: Membership, option: PricingOption) -> None:
    """Ask for a price that is paid once, where something can pay it; else the membership waits for its money."""
    if option.frequency is not Frequency.FIXED or not membership.amount:
        return
    try:
        await fees.ask_fee(work, membership, membership.starts_on)
    except Refusal as refusal:
        if refusal.code not in (Code.NO_CARD_ON_FILE, Code.NO_MANDATE):
            raise


async def _believe(work: Unit, mapping: CourseMapping) -> None:
    if mapping.verified_at is None:
        mapping.verified_at = work.at
        await mapping.save(update_fields=["verified_at"])
        work.audit("verify_mapping", mapping, after={"verified_at": work.at})


async def _compare(work: Unit, membership: Membership, said: Mapping[str, Any], amount: int, cause: str) -> None:
    await said_of_price(
        work,
        membership,
        said,
        amount=amount,
        currency=membership.currency,
        centre_id=membership.centre_id,
        cause=cause,
    )


# -- what is told of a purchase ---------------------------------------------------------------------------------------


async def to_push(membership_id: UUID, *, event_id: str, at: datetime) -> CartPush:
    """A purchase as the course system is told of it: the person, the item at its agreed price, and what pays it.

    Of the person go the fixed and the configured fields, never anything about payment.        Source: R52, R63, R69
    """
    membership = await Membership.get(id=membership_id).prefetch_related("user", "pricing_option", "mandate")
    assert membership.pricing_option_id is not None
    mandate = membership.mandate if membership.amount else None
    user, known, record = membership.user, await user_fields.configured(), await links.of_user(membership.user_id)
    return CartPush(
        event_id=event_id,
        occurred_at=at,
        cart_id=membership.cart_ref or str(membership.id),
        user_id=user.id,
        coursepro_id=record.external_id if record else None,
        details={name: value for name, value in users.may_be_told(user, known).items() if value is not None},
        membership_id=membership.id,
        pricing_option_id=membership.pricing_option_id,
        frequency=membership.pricing_option.frequency.lower(),
        course_ref=membership.course_ref,
        centre_id=membership.centre_id,
        price=membership.amount or 0,
        currency=membership.currency,
        starts_on=membership.starts_on,
        ends_on=membership.ends_on,
        payment="direct_debit" if mandate else "card" if membership.amount else "free",
        instruction=_INSTRUCTION.get(mandate.status, "cancelled") if mandate else None,
    )


_INSTRUCTION = {MandateStatus.ACTIVE: "active", MandateStatus.PENDING: "pending"}
