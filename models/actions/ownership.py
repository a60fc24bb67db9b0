"""Whose a subscription is, and what follows it: its invoices, its membership, the question where nobody knows."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from models.actions import allocations
from models.actions.unit import Unit
from models.actions.users import user_of
from models.rules.matching import normalised_email, normalised_name
from models.rules.mirroring import named_in, products_paid
from models.rules.states import LinkState, Provider, ReviewKind, ReviewState, SubscriptionStatus
from models.tables.coursepro import ReviewItem
from models.tables.invoice import Invoice, InvoiceItem
from models.tables.membership import Membership, MembershipType, Subscription
from models.tables.user import ExternalLink, User

OVER = frozenset({SubscriptionStatus.CANCELED, SubscriptionStatus.INCOMPLETE_EXPIRED})


async def managed(products: Sequence[str]) -> MembershipType | None:
    """Products, the best first -> the membership type of the first that has one (R94, R101)."""
    kinds = {kind.product: kind for kind in await MembershipType.filter(product__in=list(products))}
    return next((kinds[product] for product in products if product in kinds), None)


async def whose(reference: str | None, provider: str, customer: str) -> tuple[UUID | None, UUID | None]:
    """(our reference, the customer there) -> (who pays, who attends where a reference says another), as far as sure."""
    payer, beneficiary = named_in(reference)
    if payer and await User.has(id=payer):
        known = beneficiary if beneficiary and await User.has(id=beneficiary) else None
        return payer, known
    return await user_of(Provider(provider), "customer", customer), None


def attends(row: Subscription) -> UUID | None:
    """Whose classes a subscription pays for (R92)."""
    return row.beneficiary_id or row.user_id


async def customer_is(work: Unit, user_id: UUID, provider: str, customer: str, evidence: dict[str, Any]) -> None:
    """The customer there is this user's from now on, unless the user, or the customer, is tied already."""
    taken = ExternalLink.filter(provider=provider, kind="customer").exclude(state=LinkState.UNLINKED)
    if await taken.filter(user_id=user_id).exists() or await taken.filter(external_id=customer).exists():
        return
    link = await ExternalLink.create(
        user_id=user_id, provider=provider, kind="customer", external_id=customer, evidence=evidence
    )
    work.audit("link_external", link, after={"user_id": user_id, **evidence})


# -- its invoices -----------------------------------------------------------------------------------------------------


async def membership_of(row: Subscription, products: Sequence[str]) -> UUID | None:
    """(subscription, an invoice's products) -> the membership it pays: the product may have been changed since."""
    kind = await managed(products)
    if kind is None or row.membership_id is None:
        return row.membership_id
    if await Membership.has(id=row.membership_id, membership_type_id=kind.id):
        return row.membership_id
    earlier = await Invoice.filter(subscription_id=row.id, membership__membership_type_id=kind.id).first()
    return earlier.membership_id if earlier else row.membership_id


async def give_invoices(work: Unit, row: Subscription) -> None:
    """A subscription's unbilled invoices follow it to the people and membership it is now known to be of.

    Classes of whom they leave may be paid for by another invoice, which is spread with them.
    """
    unbilled = (
        await Invoice.filter(subscription_id=row.id, billed_off_at__isnull=True).select_for_update().order_by("id")
    )
    left: set[UUID | None] = set()
    for invoice in unbilled:
        items = await InvoiceItem.every(invoice_id=invoice.id, order=("position",))
        products = products_paid((item.product, item.amount, item.proration) for item in items)
        wanted = row.user_id, attends(row), await membership_of(row, products)
        if (invoice.user_id, invoice.attendee_id, invoice.membership_id) != wanted:
            left.add(invoice.attendee_id)
            invoice.user_id, invoice.attendee_id, invoice.membership_id = wanted
            await invoice.save(update_fields=["user_id", "attendee_id", "membership_id"])
    beside = await Invoice.filter(attendee_id__in=left - {None}, billed_off_at__isnull=True)
    await allocations.reallocate(work, [invoice.id for invoice in (*unbilled, *beside)])


# -- the question whose it is -----------------------------------------------------------------------------------------


async def ask_or_drop(work: Unit, row: Subscription, told: dict[str, Any] | None = None) -> None:
    """Have a person asked whose a managed subscription is, while nobody knows and it runs; else drop the question.

    `told` is what its provider knows of the customer: evidence, by which nothing is linked.
    """
    question: dict[str, Any] = {
        "kind": ReviewKind.SUBSCRIPTION_MATCH,
        "provider": row.provider,
        "subject": row.external_id,
    }
    asked = await ReviewItem.one(**question, state=ReviewState.OPEN, lock=True)
    unclear = row.user_id is None and row.status not in OVER and await managed([row.product]) is not None
    if not unclear:
        if asked is not None:
            asked.state, asked.user_id = ReviewState.DROPPED, row.user_id
            await asked.save(update_fields=["state", "user_id"])
            work.audit("drop_review", asked, after={"user_id": row.user_id, "status": row.status})
        return
    evidence = {"customer": row.customer, "product": row.product, **await _alike(told or {})}
    if asked is None:
        asked = await ReviewItem.create(**question, evidence=evidence)
        work.audit("ask_whose_subscription", asked, after={"candidates": evidence.get("candidates", [])})
    elif told and asked.evidence != evidence:
        asked.evidence = evidence
        await asked.save(update_fields=["evidence"])


async def _alike(told: dict[str, Any]) -> dict[str, Any]:
    """The users with the customer's e-mail address, and whether their names agree."""
    email, name = told.get("email"), told.get("name")
    if not email:
        return told
    users = await User.every(email_key=normalised_email(email), order=("id",))
    wanted = normalised_name(name or "")
    same = [str(user.id) for user in users if normalised_name(user.first_name + user.last_name) == wanted]
    return {**told, "candidates": [str(user.id) for user in users], "same_name": same}


async def answered(work: Unit, row: Subscription) -> None:
    """A person said whose it is: the question is settled with that."""
    asked = await ReviewItem.filter(
        kind=ReviewKind.SUBSCRIPTION_MATCH, provider=row.provider, subject=row.external_id, state=ReviewState.OPEN
    ).first()
    if asked is None:
        return
    asked.state, asked.user_id, asked.answer = ReviewState.SETTLED, row.user_id, str(row.user_id)
    await asked.save(update_fields=["state", "user_id", "answer"])
    work.audit("settle_review", asked, before={"state": ReviewState.OPEN}, after={"state": asked.state})
