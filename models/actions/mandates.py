"""Direct debit instructions: signed at their provider, changed by whoever may, and what they pay moves with them."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from models.actions import memberships
from models.actions.memberships import DEBIT_CURRENCIES
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.facts import MandateChanged
from models.rules.lifecycle import TERMINAL, Cause, Status
from models.rules.refusals import Code, Refusal
from models.rules.states import DEAD, MandateStatus, PaymentStatus
from models.tables.membership import Mandate, Membership
from models.tables.payment import Payment
from models.tables.user import User


async def start_mandate(*, user_id: UUID, currency: str, acting: str, at: datetime) -> Mandate:
    """Prepare a direct debit; a job opens its signing page. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        if not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        if currency not in DEBIT_CURRENCIES:
            raise Refusal(Code.INVALID_INPUT, f"There are no direct debits in {currency}.", field=("currency",))
        mandate = await Mandate.create(user_id=user_id, provider="GOCARDLESS")
        work.audit("start_mandate", mandate, after={"user_id": user_id})
        work.job("mandates.start", payload={"mandate_id": mandate.id, "currency": currency}, user_id=user_id)
    return mandate


async def signing_page_opened(mandate_id: UUID, *, request_id: str, url: str, acting: str, at: datetime) -> None:
    """The provider opened a page to sign the instruction at."""
    async with unit(acting=acting, at=at) as work:
        mandate = await Mandate.known(id=mandate_id, lock=True)
        mandate.request_id, mandate.authorisation_url = request_id, url
        await mandate.save(update_fields=["request_id", "authorisation_url"])
        work.audit("signing_page_opened", mandate, after={"request_id": request_id})


async def owner(mandate_id: UUID) -> UUID | None:
    """Whose instruction it is; None for an unknown one."""
    mandate = await Mandate.one(id=mandate_id)
    return mandate.user_id if mandate else None


@repeated
async def mandate_changed(fact: MandateChanged, *, acting: str, at: datetime) -> None:
    """A direct debit instruction is as the provider says now; what it pays moves with it (R11, R12).

    One that was replaced hands what it pays to the one that replaced it, and suspends nothing.
    """
    async with unit(acting=acting, at=at) as work:
        mandate = await _mandate_of(fact)
        if mandate is None:
            return
        before = mandate.status
        mandate.status, mandate.external_id = fact.status, fact.external_id
        await mandate.save(update_fields=["status", "external_id"])
        if before is not fact.status:
            after = {"status": fact.status} | ({"origin": fact.origin, "cause": fact.cause} if fact.cause else {})
            work.audit("mandate_changed", mandate, before={"status": before}, after=after)
        if fact.replaced_by is not None:
            await _replace(work, mandate, fact.replaced_by)
        await _follow(work, mandate, (fact.origin or "", fact.cause or ""))


async def _mandate_of(fact: MandateChanged) -> Mandate | None:
    ours = Mandate.filter(provider=fact.provider).select_for_update()
    known = await ours.filter(external_id=fact.external_id).first()
    if known is None and fact.billing_request_id:
        known = await ours.filter(request_id=fact.billing_request_id).first()
    return known


async def _follow(work: Unit, mandate: Mandate, because: tuple[str, ...]) -> None:
    """What an instruction pays stands as it stands."""
    if mandate.status is MandateStatus.ACTIVE:
        await _take_over(work, mandate)
    elif mandate.status not in DEAD:
        return
    for membership in await Membership.every(mandate_id=mandate.id, lock=True, order=("id",)):
        if mandate.status in DEAD:
            await memberships.follow_instruction(work, membership, because=because)
        elif membership.status is Status.PENDING:
            await memberships.move(work, membership, Cause.MANDATE_READY, because=because)
        else:
            await memberships.made_good(work, membership, Cause.MANDATE_REPLACED, because=because)


async def _replace(work: Unit, old: Mandate, external_id: str) -> None:
    """The provider put another instruction in the place of one: it pays what that one paid."""
    new, made = await Mandate.get_or_create(
        provider=old.provider, external_id=external_id, defaults={"user_id": old.user_id}
    )
    if made:
        work.audit("replace_mandate", new, after={"user_id": new.user_id, "replaces": old.id})
    await _hand_over(work, [old.id], new)


async def _take_over(work: Unit, mandate: Mandate) -> None:
    """A person's new instruction pays what the one before, that is no more, was to pay. Source: decision 48."""
    dead = Mandate.filter(user_id=mandate.user_id, status__in=DEAD).exclude(id=mandate.id)
    found: list[UUID] = await dead.values_list("id", flat=True)  # type: ignore[assignment]  # flat
    if found:
        await _hand_over(work, found, mandate)


async def _hand_over(work: Unit, old: Collection[UUID], new: Mandate) -> None:
    """Memberships, and fees nobody was asked for yet, go from some instructions to another one."""
    unasked = Payment.filter(mandate_id__in=list(old), status=PaymentStatus.DUE, attempts=0)
    await unasked.update(mandate_id=new.id)  # before the memberships: a payment is locked first, everywhere
    paid = Membership.filter(mandate_id__in=list(old)).exclude(status__in=TERMINAL)
    for membership in await paid.select_for_update().order_by("id"):
        before, membership.mandate_id = membership.mandate_id, new.id
        await membership.save(update_fields=["mandate_id"])
        work.audit("change_mandate", membership, before={"mandate": before}, after={"mandate": new.id})


# -- our own cancellation ----------------------------------------------------------------------------------------------


async def cancel_mandate(mandate_id: UUID, *, reason: str, acting: str, at: datetime) -> Mandate:
    """Cancel an instruction; a job asks its provider, whose word moves what it pays. One nobody signed is simply gone.

    Raises Refusal NOT_FOUND, MANDATE_NOT_CANCELLABLE (it is over already).        Source: R12
    """
    async with unit(acting=acting, at=at) as work:
        mandate = await Mandate.one(id=mandate_id, lock=True)
        if mandate is None:
            raise Refusal(Code.NOT_FOUND, field=("mandateId",))
        if mandate.status in DEAD - {MandateStatus.BLOCKED}:
            raise Refusal(Code.MANDATE_NOT_CANCELLABLE, f"It is {mandate.status}.", field=("mandateId",))
        asked = {"status": MandateStatus.CANCELLED}
        work.audit("cancel_mandate", mandate, before={"status": mandate.status}, after=asked, because=[reason])
        if mandate.external_id is None and mandate.request_id is None:
            await _cancelled(work, mandate)
        else:
            payload = {"mandate_id": mandate.id}
            work.job("mandates.cancel", payload=payload, subject=f"mandate:{mandate.id}", user_id=mandate.user_id)
    return mandate


async def to_cancel(mandate_id: UUID) -> Mandate | None:
    """An instruction its provider is to be asked to cancel, None where it is over by now."""
    mandate = await Mandate.known(id=mandate_id)
    return None if mandate.status in DEAD - {MandateStatus.BLOCKED} else mandate


async def cancelled(mandate_id: UUID, *, acting: str, at: datetime) -> None:
    """The provider cancelled an instruction because we asked: its own news of that changes nothing any more."""
    async with unit(acting=acting, at=at) as work:
        mandate = await Mandate.known(id=mandate_id, lock=True)
        if mandate.status is not MandateStatus.CANCELLED:
            await _cancelled(work, mandate)


async def _cancelled(work: Unit, mandate: Mandate) -> None:
    before, mandate.status = mandate.status, MandateStatus.CANCELLED
    await mandate.save(update_fields=["status"])
    after = {"status": mandate.status, "origin": "api", "cause": "mandate_cancelled"}
    work.audit("mandate_changed", mandate, before={"status": before}, after=after)
    await _follow(work, mandate, ("api", "mandate_cancelled"))
