"""Card subscriptions mirrored from their provider, and whose they are (R82-R92)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import allocations, memberships
from models.actions.unit import Unit, unit
from models.actions.users import user_of
from models.rules.facts import CheckoutCompleted, SubscriptionSeen
from models.rules.lifecycle import Cause, Status
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, Provider, SubscriptionStatus
from models.tables.centre import Centre
from models.tables.membership import Membership, MembershipType, Subscription
from models.tables.user import ExternalLink, User

CAUSES: dict[SubscriptionStatus, Cause] = {
    SubscriptionStatus.TRIALING: Cause.FIRST_PAYMENT_MADE,
    SubscriptionStatus.ACTIVE: Cause.FIRST_PAYMENT_MADE,
    SubscriptionStatus.PAST_DUE: Cause.PAYMENT_FAILED,
    SubscriptionStatus.UNPAID: Cause.PAYMENT_FAILED,
    SubscriptionStatus.PAUSED: Cause.PAYMENT_FAILED,
    SubscriptionStatus.CANCELED: Cause.SUBSCRIPTION_ENDED,
    SubscriptionStatus.INCOMPLETE_EXPIRED: Cause.SUBSCRIPTION_ENDED,
}


async def subscription_seen(fact: SubscriptionSeen, *, acting: str, at: datetime) -> None:
    """Mirror a subscription as it stands; its membership is made or moved where it is sure whose it is."""
    async with unit(acting=acting, at=at) as work:
        row = await mirrored(fact.provider, fact.external_id, customer=fact.customer_id, product=fact.product_ids[0])
        row.status, row.customer, row.product = fact.status, fact.customer_id, fact.product_ids[0]
        row.user_id = row.user_id or await _whose(fact.user_reference, fact.provider, fact.customer_id)
        await row.save(update_fields=["status", "customer", "product", "user_id"])
        await _keep_membership(work, row)


async def mirrored(provider: str, external_id: str, *, customer: str, product: str) -> Subscription:
    """The locked row of a subscription; a stub where its invoice or checkout came before it."""
    row, _ = await Subscription.get_or_create(
        provider=provider,
        external_id=external_id,
        defaults={"customer": customer, "product": product, "status": SubscriptionStatus.INCOMPLETE},
    )
    return await Subscription.filter(id=row.id).select_for_update().get()


async def checkout_completed(fact: CheckoutCompleted, *, acting: str, at: datetime) -> None:
    """A customer signed up: where we know the person, their customer record there is theirs from now on."""
    if fact.user_reference is None or fact.customer_id is None:
        return
    async with unit(acting=acting, at=at) as work:
        user_id = await _whose(fact.user_reference, fact.provider, fact.customer_id)
        if user_id is None:
            return
        taken = ExternalLink.filter(provider=fact.provider, kind="customer").exclude(state=LinkState.UNLINKED)
        if (
            not await taken.filter(user_id=user_id).exists()
            and not await taken.filter(external_id=fact.customer_id).exists()
        ):
            link = await ExternalLink.create(
                user_id=user_id,
                provider=fact.provider,
                kind="customer",
                external_id=fact.customer_id,
                evidence={"checkout": fact.external_id},
            )
            work.audit("link_external", link, after={"user_id": user_id, "checkout": fact.external_id})
        if fact.subscription_id:
            # its own news may come later, and does not say whose it is where the customer is another than the known one
            row = await mirrored(fact.provider, fact.subscription_id, customer=fact.customer_id, product="")
            if row.user_id is None:
                row.user_id = user_id
                await row.save(update_fields=["user_id"])
                await _keep_membership(work, row)


async def create_payment_link(
    membership_type_id: UUID, *, user_id: UUID | None, acting: str, at: datetime
) -> MembershipType:
    """Have a page made to subscribe at; its address is the result of the job.

    Raises Refusal NOT_FOUND, UNMANAGED_PRODUCT.
    """
    async with unit(acting=acting, at=at) as work:
        kind = await MembershipType.get_or_none(id=membership_type_id)
        if kind is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if kind.product is None:
            raise Refusal(Code.UNMANAGED_PRODUCT, field=("membershipTypeId",))
        if user_id and not await User.exists(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        payload = {"product": kind.product, "user_id": user_id}
        job = work.job("subscriptions.payment_link", payload=payload, user_id=user_id)
        work.audit("create_payment_link", kind, after={**payload, "job_id": job.id})
    return kind


async def link_subscription(subscription_id: UUID, *, user_id: UUID, acting: str, at: datetime) -> Subscription:
    """A person says whose subscription it is. Raises Refusal NOT_FOUND, INVALID_INPUT (it is another user's)."""
    async with unit(acting=acting, at=at) as work:
        row = await Subscription.filter(id=subscription_id).select_for_update().first()
        if row is None:
            raise Refusal(Code.NOT_FOUND, field=("subscriptionId",))
        if not await User.exists(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if row.user_id not in (None, user_id):
            raise Refusal(Code.INVALID_INPUT, "This subscription is another user's.", field=("userId",))
        row.user_id = user_id
        await row.save(update_fields=["user_id"])
        work.audit("link_subscription", row, after={"user_id": user_id})
        await _keep_membership(work, row)
    return row


async def _whose(reference: str | None, provider: str, customer: str) -> UUID | None:
    if reference:
        try:
            user_id = UUID(reference)
        except ValueError:
            user_id = None  # somebody else's reference
        if user_id and await User.exists(id=user_id):
            return user_id
    return await user_of(Provider(provider), "customer", customer)


async def _keep_membership(work: Unit, row: Subscription) -> None:
    """Make or move the membership of a subscription whose user and managed product are known (R94, R101)."""
    kind = await MembershipType.get_or_none(product=row.product)
    if kind is None or row.user_id is None:
        return
    if row.membership_id is None:
        assert kind.centre_id is not None  # kept by constraint membership_type_product_has_centre
        centre = await Centre.get(id=kind.centre_id)
        membership = await Membership.create(
            user_id=row.user_id,
            membership_type_id=kind.id,
            centre_id=centre.id,
            currency=centre.currency,
            status=Status.PENDING,
            starts_on=work.at.date(),
        )
        row.membership_id = membership.id
        await row.save(update_fields=["membership_id"])
        work.audit("start_membership", membership, after={"subscription": row.external_id})
    membership = await memberships.locked(row.membership_id)
    cause: Any = CAUSES.get(row.status)
    if cause is Cause.FIRST_PAYMENT_MADE and membership.status is not Status.PENDING:
        cause = Cause.PAYMENT_MADE_GOOD
    if cause:
        await memberships.move(work, membership, cause, because=(f"subscription {row.status}",))
    await allocations.give_to_owner(work, row)
