"""The life of a membership: it starts, moves by the table of `rules.lifecycle`, opens or shuts the door."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from tortoise.expressions import Q

from models.actions import access, endings, fees, links, owed, packages
from models.actions.catalogue import price_at
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules import lifecycle
from models.rules.calendar import term_of
from models.rules.events import MembershipStatusChanged
from models.rules.fees import Terms
from models.rules.lifecycle import STANDING, Cause, Status
from models.rules.pricing import FREQUENCY, Frequency, Integration, MembershipKind
from models.rules.refusals import Code, Refusal
from models.rules.states import DEAD, MandateStatus
from models.tables.centre import Centre
from models.tables.membership import Mandate, Membership, MembershipType, PaymentOption
from models.tables.user import User

MOVED, STILL_HELD = "move_membership", "still_held"
OWING = (Cause.PAYMENT_FAILED, Cause.PAYMENT_CHARGED_BACK)
FARTHEST = timedelta(days=3653)
# what the direct debit provider collects
DEBIT_CURRENCIES = frozenset({"AUD", "CAD", "DKK", "EUR", "GBP", "NZD", "SEK", "USD"})


@repeated
async def start_membership(
    *,
    user_id: UUID,
    membership_type_id: UUID,
    centre_id: UUID,
    pricing_option_id: UUID,
    starts_on: date,
    acting: str,
    at: datetime,
    mandate_id: UUID | None = None,
    course_ref: str | None = None,
    cart_ref: str | None = None,
) -> Membership:
    """Sell a membership at its first day's price; pending until its money is sure (R11, R22).

    A recurring one is paid by the user's mandate. Raises Refusal NOT_FOUND, UNKNOWN_PRICING_OPTION, NO_MANDATE,
    CURRENCY_MISMATCH.
    """
    async with unit(acting=acting, at=at) as work:
        if abs(starts_on - at.date()) > FARTHEST:
            raise Refusal(Code.INVALID_INPUT, "A membership starts within ten years.", field=("startsOn",))
        kind = await MembershipType.one(id=membership_type_id)
        centre = await Centre.one(id=centre_id)
        for found, field in ((kind, "membershipTypeId"), (centre, "centreId")):
            if found is None:
                raise Refusal(Code.NOT_FOUND, field=(field,))
        assert kind is not None
        assert centre is not None
        if not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        offered = PaymentOption.filter(membership_type_id=kind.id, pricing_option_id=pricing_option_id)
        if not await offered.exists():
            raise Refusal(Code.UNKNOWN_PRICING_OPTION, field=("pricingOptionId",))
        option, amount, level = await price_at(pricing_option_id, centre_id=centre_id, on=starts_on)
        if option.currency != centre.currency:
            raise Refusal(Code.CURRENCY_MISMATCH, field=("pricingOptionId",))
        mandate = await Mandate.one(id=mandate_id, user_id=user_id) if mandate_id else None
        if (mandate_id and mandate is None) or (option.frequency is Frequency.RECURRING and amount and not mandate):
            raise Refusal(Code.NO_MANDATE, field=("mandateId",))
        term = term_of(starts_on, kind.term_months or 3).end if kind.kind is MembershipKind.FIXED_TERM else None
        terms = Terms(kind.kind, starts_on, term)
        membership = await Membership.create(
            user_id=user_id,
            membership_type_id=kind.id,
            centre_id=centre_id,
            pricing_option_id=pricing_option_id,
            mandate_id=mandate_id,
            amount=amount,
            currency=option.currency,
            status=Status.PENDING,
            starts_on=starts_on,
            ends_on=terms.ends_on,
            course_ref=course_ref,
            cart_ref=cart_ref,
            **await fees.begun(terms, amount),
        )
        work.audit(
            "start_membership", membership, after={"amount": amount, "price_level": level, "starts_on": starts_on}
        )
        if amount == 0 or (mandate and mandate.status is MandateStatus.ACTIVE):
            await move(work, membership, Cause.MANDATE_READY if amount else Cause.FREE_OF_CHARGE)
        if amount == 0:
            await packages.sessions_paid(work, membership, holder=membership)
    return membership


async def move(
    work: Unit, membership: Membership, cause: Cause, *, because: tuple[Any, ...] = (), ended_on: date | None = None
) -> bool:
    """Move a locked membership for a cause, with what its new standing means for the door -> whether it moved.

    A suspension remembers what it was for, so only what answers it lifts it; an end may have been on a day that
    passed. Source: CoursePro, D; R39-R49
    """
    leads_to = lifecycle.move(membership.status, cause, _suspended_for(membership))
    if leads_to is None:
        return False
    await _arrive(work, membership, leads_to, cause, because, ended_on)
    return True


async def made_good(work: Unit, membership: Membership, cause: Cause, *, because: tuple[Any, ...] = ()) -> bool:
    """Move a locked membership for money or an instruction that came -> whether it moved.

    A suspension is lifted once nothing holds it any more: what still does becomes its reason.
    """
    suspended_for = _suspended_for(membership)
    if suspended_for is None or lifecycle.move(membership.status, cause, suspended_for) is None:
        return await move(work, membership, cause, because=because)
    holds = await _holds(membership)
    if holds is None:
        return await move(work, membership, cause, because=because)
    if holds is not suspended_for and {holds, suspended_for} != set(OWING):
        membership.reason = holds.value
        await membership.save(update_fields=["reason"])
        work.audit(
            STILL_HELD, membership, before={"reason": suspended_for}, after={"reason": holds}, because=[cause, *because]
        )
    return False


async def _holds(membership: Membership) -> Cause | None:
    """What would suspend a membership now: something missed, or an instruction that is no more (R12, R40)."""
    if await owed.owes(membership):
        return Cause.PAYMENT_FAILED
    mandate = await Mandate.one(id=membership.mandate_id) if membership.mandate_id else None
    dead = mandate is not None and mandate.status in DEAD
    return Cause.MANDATE_CANCELLED if dead and await needs_instruction(membership) else None


async def follow_instruction(work: Unit, membership: Membership, *, because: tuple[Any, ...] = ()) -> None:
    """Suspend a locked membership that has still to be paid by an instruction which is no more (R12)."""
    mandate = await Mandate.one(id=membership.mandate_id) if membership.mandate_id else None
    if mandate is not None and mandate.status in DEAD and await needs_instruction(membership):
        await move(work, membership, Cause.MANDATE_CANCELLED, because=because)


async def needs_instruction(membership: Membership) -> bool:
    """Whether an instruction has still to pay a membership: a price paid once needs none once it was asked for."""
    kind = await MembershipType.known(id=membership.membership_type_id)
    once = FREQUENCY[kind.kind] is Frequency.FIXED
    return bool(membership.amount) and (not once or membership.next_fee_on is not None)


def _suspended_for(membership: Membership) -> Cause | None:
    return Cause(membership.reason) if membership.status is Status.SUSPENDED and membership.reason else None


async def _arrive(
    work: Unit,
    membership: Membership,
    status: Status,
    cause: Cause,
    because: tuple[Any, ...] = (),
    ended_on: date | None = None,
) -> None:
    before = membership.status
    if status is Status.ACTIVE and membership.starts_on > work.at.date():
        status = Status.FUTURE  # whatever makes it good opens no door before the first day
        if before is Status.PENDING:
            cause, because = Cause.STARTS_LATER, (cause, *because)
    membership.status, membership.reason, membership.version = status, cause.value, membership.version + 1
    if status in lifecycle.TERMINAL:
        last = ended_on or work.at.date()
        membership.ends_on = max(min(last, membership.ends_on or last), membership.starts_on)
        membership.next_fee_on = None
    await membership.save(update_fields=["status", "reason", "version", "ends_on", "next_fee_on"])
    work.audit(MOVED, membership, before={"status": before}, after={"status": status}, because=[cause, *because])
    if STANDING[before].enters and not STANDING[status].enters:
        await access.revoke(work, membership)
    elif STANDING[status].enters and not STANDING[before].enters:
        await access.issue(work, membership)
    if status in lifecycle.TERMINAL:
        await packages.ended(work, membership.id)
        await endings.stop(work, membership)
    elif before is Status.PENDING:
        await links.bought(work, membership)
        await _tell_cart(work, membership)
    work.emit(MembershipStatusChanged(membership_id=membership.id, user_id=membership.user_id, status=status))


async def _tell_cart(work: Unit, membership: Membership) -> None:
    """What was bought is told once, and before the first status: both wait in one line (R52, R69)."""
    kind = await MembershipType.known(id=membership.membership_type_id)
    if kind.integration is Integration.COURSEPRO_COURSE:
        work.job(
            "courses.push_cart",
            payload={"membership_id": membership.id},
            key=f"courses.push_cart:{membership.id}",
            subject=f"courses.push_membership:{membership.id}",
            user_id=membership.user_id,
        )


async def push_again(membership_id: UUID, *, acting: str, at: datetime) -> Membership:
    """Tell the course system a membership's standing once more. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        membership = await locked(membership_id)
        work.audit("push_again", membership, after={"status": membership.status})
        work.job(
            "courses.push_membership",
            payload={"membership_id": membership.id},
            subject=f"courses.push_membership:{membership.id}",
            user_id=membership.user_id,
        )
    return membership


@repeated
async def by_staff(membership_id: UUID, cause: Cause, *, acting: str, at: datetime) -> Membership:
    """Move a membership because a person asks, e.g. to cancel it. Raises Refusal NOT_FOUND, ILLEGAL_MOVE."""
    async with unit(acting=acting, at=at) as work:
        membership = await locked_to_end(membership_id)
        leads_to = lifecycle.move_or_refuse(membership.status, cause, _suspended_for(membership))
        await _arrive(work, membership, leads_to, cause)
    return membership


async def locked(membership_id: UUID) -> Membership:
    """A membership held until the transaction ends. Raises Refusal NOT_FOUND."""
    membership = await Membership.one(id=membership_id, lock=True)
    if membership is None:
        raise Refusal(Code.NOT_FOUND, field=("membershipId",))
    return membership


async def heir(membership: Membership) -> Membership:
    """The membership that stands for it now, locked: itself, or what took over when its course was moved."""
    successor = await Membership.one(moved_from_id=membership.id, lock=True)
    return await heir(successor) if successor else membership


async def locked_to_end(membership_id: UUID) -> Membership:
    """A membership that may be about to end, held with what it still owes. Raises Refusal NOT_FOUND."""
    await endings.lock_payments(membership_id)
    return await locked(membership_id)


async def due_to_move(today: date, limit: int = 500) -> list[tuple[UUID, Cause]]:
    """Memberships whose first day has come, or whose term is over (R6), or the course they are for (R47)."""
    not_over = Q(ends_on__isnull=True) | Q(ends_on__gt=today)
    begun = await Membership.filter(not_over, status=Status.FUTURE, starts_on__lte=today).limit(limit)
    over = await Membership.filter(ends_on__lte=today).exclude(status__in=lifecycle.TERMINAL).limit(limit)
    taken_over = {row.moved_from_id for row in await Membership.filter(moved_from_id__in=[row.id for row in over])}
    announced = await endings.announced([row.id for row in over])
    why = announced | dict.fromkeys(taken_over & {row.id for row in over}, Cause.COURSE_MOVED)
    return [(row.id, Cause.STARTED) for row in begun] + [(row.id, why.get(row.id, Cause.TERM_ENDED)) for row in over]


@repeated
async def due(membership_id: UUID, cause: Cause, *, acting: str, at: datetime) -> None:
    """Move a membership because its day has come."""
    async with unit(acting=acting, at=at) as work:
        await move(work, await locked_to_end(membership_id), cause)
