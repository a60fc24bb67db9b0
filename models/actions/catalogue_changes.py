"""What is changed of the catalogue once it is on sale; memberships that run keep the price they were sold at (R59)."""

from datetime import datetime
from uuid import UUID

from models.actions.catalogue import create_membership_type
from models.actions.unit import unit
from models.rules import pricing
from models.rules.pricing import Integration, MembershipKind, OptionType
from models.rules.refusals import Code, Refusal
from models.tables.membership import Coverage, MembershipType
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
        option = await PricingOption.filter(id=pricing_option_id).select_for_update().first()
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
) -> MembershipType:
    """Rename a membership type; its integration stays. Raises Refusal NOT_FOUND, INTEGRATION_FIXED. Source: R27."""
    async with unit(acting=acting, at=at) as work:
        kind = await MembershipType.filter(id=membership_type_id).select_for_update().first()
        if kind is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if integration is not None:
            pricing.check_integration(kind.integration, integration)
        if name is not None and name != kind.name:
            before, kind.name = kind.name, name
            await kind.save(update_fields=["name"])
            work.audit("update_membership_type", kind, before={"name": before}, after={"name": name})
    return kind


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
        original = await MembershipType.get_or_none(id=membership_type_id)
        if original is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if not await PricingOption.exists(id=pricing_option_id):
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
