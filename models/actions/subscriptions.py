"""Card subscriptions mirrored from their provider, and what they do to memberships (R82-R92)."""

from datetime import date, datetime
from uuid import UUID

from models.actions import memberships, ownership
from models.actions.mirror import read_anew
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.events import PatientWanted
from models.rules.facts import CheckoutCompleted, Mirrored, SubscriptionSeen
from models.rules.lifecycle import TERMINAL, Cause, Status
from models.rules.refusals import Code, Refusal
from models.rules.states import SubscriptionStatus
from models.tables.centre import Centre
from models.tables.invoice import Invoice
from models.tables.membership import Membership, MembershipType, Subscription
from models.tables.user import User

# What a status says of the membership, in order: one that cannot be paid now was paid once.
CAUSES: dict[SubscriptionStatus, tuple[Cause, ...]] = {
    SubscriptionStatus.INCOMPLETE: (),
    SubscriptionStatus.TRIALING: (Cause.FIRST_PAYMENT_MADE, Cause.PAYMENT_MADE_GOOD),
    SubscriptionStatus.ACTIVE: (Cause.FIRST_PAYMENT_MADE, Cause.PAYMENT_MADE_GOOD),
    SubscriptionStatus.PAST_DUE: (Cause.FIRST_PAYMENT_MADE, Cause.PAYMENT_FAILED),
    SubscriptionStatus.UNPAID: (Cause.FIRST_PAYMENT_MADE, Cause.PAYMENT_FAILED),
    SubscriptionStatus.PAUSED: (Cause.FIRST_PAYMENT_MADE, Cause.SUBSCRIPTION_PAUSED),
    SubscriptionStatus.CANCELED: (Cause.SUBSCRIPTION_ENDED,),
    SubscriptionStatus.INCOMPLETE_EXPIRED: (Cause.SUBSCRIPTION_ENDED,),
}
assert CAUSES.keys() == set(SubscriptionStatus)


@repeated
async def subscription_seen(fact: SubscriptionSeen, *, acting: str, at: datetime) -> None:
    """Mirror a subscription as it stands; its membership is made or moved where it is sure whose it is."""
    async with unit(acting=acting, at=at) as work:
        row, _ = await mirrored(fact.provider, fact.external_id, customer=fact.customer_id, product="")
        kind = await ownership.managed(fact.product_ids)
        first = next(iter(fact.product_ids), row.product)
        row.status, row.customer, row.product = fact.status, fact.customer_id, (kind and kind.product) or first
        if row.user_id is None:
            row.user_id, row.beneficiary_id = await ownership.whose(
                fact.user_reference, fact.provider, fact.customer_id
            )
        await row.save(update_fields=["status", "customer", "product", "user_id", "beneficiary_id"])
        await _keep_membership(work, row, begun=fact.started_at.date())
        await ownership.ask_or_drop(work, row, {"email": fact.email, "name": fact.name})


async def mirrored(provider: str, external_id: str, *, customer: str, product: str) -> tuple[Subscription, bool]:
    """(the locked row of a subscription, whether it was made now: a stub, told of by its invoice or checkout)."""
    made = await Subscription.get_or_create(
        provider=provider,
        external_id=external_id,
        defaults={"customer": customer, "product": product, "status": SubscriptionStatus.INCOMPLETE},
    )
    return await Subscription.known(id=made[0].id, lock=True), made[1]


@repeated
async def checkout_completed(fact: CheckoutCompleted, *, acting: str, at: datetime) -> None:
    """A customer signed up: where we know the person, their customer record there is theirs from now on."""
    if fact.user_reference is None or fact.customer_id is None:
        return
    async with unit(acting=acting, at=at) as work:
        user_id, beneficiary_id = await ownership.whose(fact.user_reference, fact.provider, fact.customer_id)
        if user_id is None:
            return
        await ownership.customer_is(work, user_id, fact.provider, fact.customer_id, {"checkout": fact.external_id})
        if fact.subscription_id:
            # its own news may come later, and does not say whose it is where the customer is another than the known one
            row, stub = await mirrored(fact.provider, fact.subscription_id, customer=fact.customer_id, product="")
            if stub:
                read_anew(work, fact.provider, Mirrored.SUBSCRIPTION, fact.subscription_id)
            if row.user_id is None:
                row.user_id, row.beneficiary_id = user_id, beneficiary_id
                await row.save(update_fields=["user_id", "beneficiary_id"])
                await _keep_membership(work, row)
                await ownership.ask_or_drop(work, row)


async def create_payment_link(
    membership_type_id: UUID,
    *,
    user_id: UUID | None = None,
    beneficiary_id: UUID | None = None,
    acting: str,
    at: datetime,
) -> MembershipType:
    """Have a page made to subscribe at; its address is the result of the job.

    The address names the user, and who attends where that is another (R92). Raises Refusal NOT_FOUND,
    UNMANAGED_PRODUCT, INVALID_INPUT (somebody attends, and nobody pays).
    """
    async with unit(acting=acting, at=at) as work:
        kind = await MembershipType.one(id=membership_type_id)
        if kind is None:
            raise Refusal(Code.NOT_FOUND, field=("membershipTypeId",))
        if kind.product is None:
            raise Refusal(Code.UNMANAGED_PRODUCT, field=("membershipTypeId",))
        for person, field in ((user_id, "userId"), (beneficiary_id, "beneficiaryId")):
            if person and not await User.has(id=person):
                raise Refusal(Code.NOT_FOUND, field=(field,))
        if beneficiary_id and not user_id:
            raise Refusal(Code.INVALID_INPUT, "Say who pays as well.", field=("userId",))
        payload = {
            "product": kind.product,
            "membership_type_id": kind.id,
            "user_id": user_id,
            "beneficiary_id": beneficiary_id,
        }
        job = work.job("subscriptions.payment_link", payload=payload, user_id=user_id)
        work.audit("create_payment_link", kind, after={**payload, "job_id": job.id})
    return kind


@repeated
async def link_subscription(
    subscription_id: UUID, *, user_id: UUID, beneficiary_id: UUID | None = None, acting: str, at: datetime
) -> Subscription:
    """A person says whose subscription it is, and whose classes it pays for where that is another (R92).

    Left out, who attends stays. The customer there becomes the payer's. Raises Refusal NOT_FOUND, INVALID_INPUT (it is
    another user's).
    """
    async with unit(acting=acting, at=at) as work:
        row = await Subscription.one(id=subscription_id, lock=True)
        if row is None:
            raise Refusal(Code.NOT_FOUND, field=("subscriptionId",))
        for person, field in ((user_id, "userId"), (beneficiary_id, "beneficiaryId")):
            if person and not await User.has(id=person):
                raise Refusal(Code.NOT_FOUND, field=(field,))
        if row.user_id not in (None, user_id):
            raise Refusal(Code.INVALID_INPUT, "This subscription is another user's.", field=("userId",))
        row.user_id = user_id
        if beneficiary_id:
            row.beneficiary_id = None if beneficiary_id == user_id else beneficiary_id
        await row.save(update_fields=["user_id", "beneficiary_id"])
        work.audit("link_subscription", row, after={"user_id": user_id, "beneficiary_id": row.beneficiary_id})
        await ownership.customer_is(work, user_id, row.provider, row.customer, {"subscription": row.external_id})
        await ownership.answered(work, row)
        await _keep_membership(work, row)
    return row


@repeated
async def adopt(*, acting: str, at: datetime, product: str | None = None, customer: str | None = None) -> None:
    """Take in subscriptions that were mirrored before their product was managed, or their customer known (R94)."""
    async with unit(acting=acting, at=at) as work:
        mine = Subscription.filter(product=product) if product else Subscription.filter(customer=customer)
        for row in await mine.select_for_update().order_by("id"):
            if row.user_id is None:
                row.user_id, row.beneficiary_id = await ownership.whose(None, row.provider, row.customer)
                await row.save(update_fields=["user_id", "beneficiary_id"])
            await _keep_membership(work, row)
            await ownership.ask_or_drop(work, row)


async def _keep_membership(work: Unit, row: Subscription, begun: date | None = None) -> None:
    """Make or move the membership of a subscription whose user and managed product are known (R94, R101)."""
    kind = await ownership.managed([row.product])
    membership = await memberships.locked(row.membership_id) if row.membership_id else None
    if membership is not None and membership.membership_type_id != (kind and kind.id):
        # another product: what was bought before ends, and its invoices stay with it
        await memberships.move(work, membership, Cause.SUBSCRIPTION_ENDED, because=("its product was changed",))
        membership = None
    if kind is None or row.user_id is None:
        await ownership.give_invoices(work, row)
        return
    attended = membership.user_id if membership else None
    if membership is None:
        membership = await _start(work, row, kind, begun)
    elif membership.user_id != ownership.attends(row):
        before, membership.user_id = membership.user_id, ownership.attends(row) or row.user_id
        await membership.save(update_fields=["user_id"])
        work.audit("give_membership", membership, before={"user_id": before}, after={"user_id": membership.user_id})
    for cause in CAUSES[row.status]:
        await memberships.move(work, membership, cause, because=(f"subscription {row.status}",))
    if membership.user_id != attended and membership.status not in TERMINAL:
        work.emit(PatientWanted(user_id=membership.user_id))
    await ownership.give_invoices(work, row)


async def _start(work: Unit, row: Subscription, kind: MembershipType, begun: date | None) -> Membership:
    assert kind.centre_id is not None  # kept by constraint membership_type_product_has_centre
    centre = await Centre.known(id=kind.centre_id)
    if begun is None or row.membership_id is not None:
        first = await Invoice.filter(subscription_id=row.id).order_by("period_start").first()
        begun = work.at.date() if first is None or row.membership_id else first.period_start.date()
    membership = await Membership.create(
        user_id=ownership.attends(row),
        membership_type_id=kind.id,
        centre_id=centre.id,
        currency=centre.currency,
        status=Status.PENDING,
        starts_on=min(begun, work.at.date()),
    )
    row.membership_id = membership.id
    await row.save(update_fields=["membership_id"])
    work.audit("start_membership", membership, after={"subscription": row.external_id})
    return membership
