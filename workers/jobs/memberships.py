"""Telling the course system, setting up direct debits and payment links."""

from uuid import UUID

from models.actions import carts, course_feed, jobs, links, mandates, memberships, subscriptions
from models.rules.mirroring import reference_of
from models.rules.states import MandateStatus
from models.tables.membership import Mandate
from models.tables.user import User
from workers.work import Work


async def push(work: Work) -> None:
    """Tell the course system a membership's present standing (R41, R46, R58)."""
    membership_id = UUID(work.job.payload["membership_id"])
    push = await course_feed.to_push(membership_id, event_id=str(work.job.id), at=work.now)
    if push is not None:
        await (await work.providers.courses()).push_membership(push)


async def push_cart(work: Work) -> None:
    """Tell the course system of a purchase, before any status of it (R52, R69)."""
    membership_id = UUID(work.job.payload["membership_id"])
    push = await carts.to_push(membership_id, event_id=str(work.job.id), at=work.now)
    record = await (await work.providers.courses()).push_cart(push)
    await links.linked_by_purchase(push.user_id, record, told=push.details, acting=work.acting, at=work.now)


async def move_due(work: Work) -> None:
    """Start memberships whose day has come, and complete those whose term is over."""
    fault: Exception | None = None
    for membership_id, cause in await memberships.due_to_move(work.now.date()):
        try:
            await memberships.due(membership_id, cause, acting=work.acting, at=work.now)
        except Exception as failed:  # told below, once the others have their turn
            fault = fault or failed
    if fault is not None:
        raise fault


async def start_mandate(work: Work) -> None:
    """Open the page a payer signs a direct debit at; the job's result is its address."""
    mandate = await Mandate.known(id=work.job.payload["mandate_id"])
    if mandate.authorisation_url is not None or mandate.status is MandateStatus.CANCELLED:
        return
    user = await User.known(id=mandate.user_id)
    request = await (await work.providers.mandates()).start(
        user_id=user.id,
        mandate_id=mandate.id,
        currency=work.job.payload["currency"],
        prefilled={"given_name": user.first_name, "family_name": user.last_name, "email": user.email},
        key=f"mandate:{mandate.id}",
    )
    await mandates.signing_page_opened(
        mandate.id,
        request_id=request.request_id,
        url=request.authorisation_url,
        acting=work.acting,
        at=work.now,
    )
    await jobs.answer(work.job.lease, request.authorisation_url)


async def cancel_mandate(work: Work) -> None:
    """Cancel an instruction, or the page to sign it at; one that is over already is fine."""
    mandate = await mandates.to_cancel(UUID(work.job.payload["mandate_id"]))
    if mandate is None:
        return
    gateway = await work.providers.mandates()
    await gateway.withdraw(mandate=mandate.external_id, request=mandate.request_id, key=f"mandate:{mandate.id}:cancel")
    await mandates.cancelled(mandate.id, acting=work.acting, at=work.now)


async def payment_link(work: Work) -> None:
    """Have a page made to subscribe at; the job's result is its address, which names who signs up and who attends."""
    told = work.job.payload
    user = await User.known(id=told["user_id"]) if told["user_id"] else None
    attends = told.get("beneficiary_id")
    seller = await work.providers.subscriptions()
    url = await seller.payment_link(
        product=told["product"],
        metadata={"membership_type_id": told["membership_type_id"]},
        reference=reference_of(user.id, UUID(attends) if attends else None) if user else None,
        email=user.email if user else None,
        key=f"link:{work.job.id}",
    )
    await jobs.answer(work.job.lease, url)


async def adopt(work: Work) -> None:
    """Take in subscriptions whose product, or customer, is known by now."""
    await subscriptions.adopt(**work.job.payload, acting=work.acting, at=work.now)
