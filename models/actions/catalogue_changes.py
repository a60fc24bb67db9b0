"""What is changed of the catalogue once it is on sale; memberships that run keep the price they were sold at (R59)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.catalogue import check_product_free, create_membership_type
from models.actions.unit import Unit, unit
from models.rules import pricing
from models.rules.pricing import Integration, MembershipKind, OptionType
from models.rules.refusals import Code, Refusal
from models.tables.centre import Centre
from models.tables.invoice import Invoice
from models.tables.membership import ClassType, Coverage, MembershipType
from models.tables.pricing import PricingOption


async def update_pricing_option(
    *,
    pricing_option_id: UUID,
    acting: str,
    at: datetime,
    name: str | None = None,
    option_type: OptionType | None = None,
    amount: int | None = None,
) -> PricingOption:
    """Rename an option, change its base amount (minor units) for what is sold from now on, or its type.

    Raises Refusal UNKNOWN_PRICING_OPTION, NEGATIVE_AMOUNT, PRICING_OPTION_IN_USE.        Source: R22, R33
    """
    async with unit(acting=acting, at=at) as work:
        option = await PricingOption.one(id=pricing_option_id, lock=True)
        if option is None:
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        if amount is not None:
            pricing.check_amount(amount)
        if option_type is not None and option_type is not option.option_type:
            users = await MembershipType.filter(payment_options__pricing_option_id=option.id)
            pricing.check_retyping([each.integration for each in users], option_type)
        wanted = {"name": name, "option_type": option_type, "amount": amount}
        changed = {word: value for word, value in wanted.items() if value not in (None, getattr(option, word))}
        if changed:
            before = {word: getattr(option, word) for word in changed}
            await option.update_from_dict(changed).save(update_fields=[*changed])
            work.audit("update_pricing_option", option, before=before, after=changed)
    return option


async def update_membership_type(
    *,
    membership_type_id: UUID,
    acting: str,
    at: datetime,
    name: str | None = None,
    integration: Integration | None = None,
    class_type_ids: Sequence[UUID] | None = None,
    product: str | None = None,
    centre_id: UUID | None = None,
) -> MembershipType:
    """Rename a membership type, change which classes it covers from now on, or say which product it stands for.

    Its integration stays, and so does a product it has. Classes that began before are judged as they were (R97). Raises
    Refusal NOT_FOUND, INTEGRATION_FIXED, PRODUCT_IN_USE, INVALID_INPUT.        Source: R27, R94, R97
    """
    async with unit(acting=acting, at=at) as work:
        kind = await MembershipType.one(id=membership_type_id, lock=True)
        if kind is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if integration is not None:
            pricing.check_integration(kind.integration, integration)
        wanted = {"name": name, "product": product, "centre_id": centre_id}
        changed = {word: value for word, value in wanted.items() if value not in (None, getattr(kind, word))}
        if changed:
            await _check_sold_as(kind, changed)
            before = {word: getattr(kind, word) for word in changed}
            await kind.update_from_dict(changed).save(update_fields=[*changed])
            work.audit("update_membership_type", kind, before=before, after=changed)
        if "product" in changed:
            work.job("subscriptions.adopt", payload={"product": product})
        if class_type_ids is not None:
            await _cover(work, kind, set(class_type_ids))
    return kind


async def _check_sold_as(kind: MembershipType, changed: Mapping[str, Any]) -> None:
    centre_id = changed.get("centre_id")
    if centre_id and not await Centre.has(id=centre_id):
        raise Refusal(Code.NOT_FOUND, field=("centreId",))
    if "product" not in changed:
        return
    if kind.product is not None:
        raise Refusal(Code.INVALID_INPUT, "It stands for another product already.", field=("product",))
    if not (kind.centre_id or centre_id):
        raise Refusal(Code.INVALID_INPUT, "A product's memberships belong to a centre.", field=("centreId",))
    await check_product_free(changed["product"])


async def _cover(work: Unit, kind: MembershipType, wanted: set[UUID]) -> None:
    """Have a type cover these classes and no others from now on; what it covered stays known (R97)."""
    if await ClassType.filter(id__in=list(wanted)).count() != len(wanted):
        raise Refusal(Code.NOT_FOUND, field=("classTypeIds",))
    held = {row.class_type_id: row for row in await Coverage.every(membership_type_id=kind.id, covered_until=None)}
    if held.keys() == wanted:
        return
    for class_type_id in held.keys() - wanted:
        if held[class_type_id].covered_from < work.at:
            await Coverage.filter(id=held[class_type_id].id).update(covered_until=work.at)
        else:
            await Coverage.filter(id=held[class_type_id].id).delete()  # it never covered a class
    for class_type_id in sorted(wanted - held.keys()):
        await Coverage.create(membership_type_id=kind.id, class_type_id=class_type_id, covered_from=work.at)
    work.audit("cover_classes", kind, before={"class_types": sorted(held)}, after={"class_types": sorted(wanted)})
    running = Invoice.filter(
        membership__membership_type_id=kind.id, billed_off_at=None, period_end__gt=work.at, attendee_id__not_isnull=True
    )
    users: Any = await running.values_list("attendee_id", flat=True)
    for user_id in sorted(set(users)):
        work.job("invoices.respread", payload={"user_id": user_id}, user_id=user_id)


async def clone_membership_type_for_frequency(
    *,
    membership_type_id: UUID,
    pricing_option_id: UUID,
    kind: MembershipKind,
    acting: str,
    at: datetime,
    name: str | None = None,
    term_months: int | None = None,
    sessions: int | None = None,
) -> MembershipType:
    """The same membership for the other way of paying: recurring and fixed for one course are two types (R30).

    Integration, centre and the classes covered now are the original's; the product is not, it belongs to one type.
    Raises Refusal NOT_FOUND, INVALID_INPUT (it is of this kind already), and those of `create_membership_type`.
    """
    async with unit(acting=acting, at=at) as work:
        original = await MembershipType.one(id=membership_type_id)
        if original is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if not await PricingOption.has(id=pricing_option_id):
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        if kind is original.kind:
            raise Refusal(Code.INVALID_INPUT, f"{original.name!r} is {kind} already.", field=("kind",))
        covered = await Coverage.filter(membership_type_id=original.id, covered_until__isnull=True)
        clone = await create_membership_type(
            name=name or f"{original.name} ({kind.replace('_', ' ').lower()})",
            integration=original.integration,
            kind=kind,
            pricing_option_ids=[pricing_option_id],
            class_type_ids=[each.class_type_id for each in covered],
            term_months=term_months,
            sessions=sessions,
            credits_per_period=None if kind is MembershipKind.SESSIONS else original.credits_per_period,
            centre_id=original.centre_id,
            acting=acting,
            at=at,
        )
        work.audit("clone_membership_type", clone, before={"membership_type": original.id}, after={"kind": kind})
    return clone
