"""Arrears a person settles: asked for by card, given up, or put on top of the next fee."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from models.actions import dunning, ledger, memberships, owed
from models.actions.charges import raise_payment
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.actions.users import linked
from models.rules.arrears import MISSED, SettleBy, too_small
from models.rules.events import PaymentUpdated
from models.rules.lifecycle import TERMINAL, Cause
from models.rules.money import Money
from models.rules.refusals import Code, Refusal
from models.rules.states import PaymentPurpose, PaymentStatus, Provider
from models.tables.membership import Membership
from models.tables.payment import Payment

LONGEST_REASON = 200


@repeated
async def settle_arrears(membership_id: UUID, *, by: SettleBy, reason: str, acting: str, at: datetime) -> Membership:
    """Settle all that a membership owes and nobody is asked for -> the membership that stands for it now.

    CARD makes one payment of the sum by the card on file; VOID writes it off; DEFER puts it on top of the next fee.
    What the bank is asked for again already is left to it, but for VOID: it would be taken twice. What is settled holds
    the membership no longer, by card once it is paid. Raises Refusal NOT_FOUND, NO_ARREARS, NO_CARD_ON_FILE,
    SETTLEMENT_NOT_POSSIBLE, INVALID_INPUT.        Source: R39, R49
    """
    if len(reason) > LONGEST_REASON:
        found = f"A reason has at most {LONGEST_REASON} characters."
        raise Refusal(Code.INVALID_INPUT, found, field=("reason",))
    async with unit(acting=acting, at=at) as work:
        stands_for_it = await owed.heir_id(membership_id)
        held = await owed.hold_arrears(await owed.line_of(stands_for_it))
        membership = await memberships.locked(stands_for_it)
        arrears = [each for each in held if by is not SettleBy.DEFER or each.status in MISSED]
        if not arrears:
            raise Refusal(Code.NO_ARREARS, field=("membershipId",))
        if by is not SettleBy.VOID:
            arrears = [each for each in arrears if not await dunning.asked_for(each)]
            if not arrears:
                raise Refusal(Code.SETTLEMENT_NOT_POSSIBLE, "The bank is asked for it again already.", field=("by",))
        after = {"by": by, "amount": sum(each.amount for each in arrears), "payments": [each.id for each in arrears]}
        work.audit("settle_arrears", membership, after=after, because=[reason])
        if by is SettleBy.CARD:
            await _by_card(work, membership, arrears)
        elif by is SettleBy.DEFER:
            if membership.next_fee_on is None or membership.status in TERMINAL:
                found = "No fee follows that could carry it."
                raise Refusal(Code.SETTLEMENT_NOT_POSSIBLE, found, field=("by",))
            await owed.carry(work, arrears, None)
        else:
            await _write_off(work, arrears)
        if by is not SettleBy.CARD:
            await memberships.made_good(work, membership, Cause.PAYMENT_MADE_GOOD, because=(by, reason))
    return membership


async def _by_card(work: Unit, membership: Membership, arrears: Sequence[Payment]) -> None:
    total = Money(sum(each.amount for each in arrears), membership.currency)
    if await linked(membership.user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE, field=("by",))
    if too_small(Provider.STRIPE, total):
        raise Refusal(Code.SETTLEMENT_NOT_POSSIBLE, f"No card takes {total}.", field=("by",))
    payment = await raise_payment(
        work,
        user_id=membership.user_id,
        purpose=PaymentPurpose.MEMBERSHIP_FEE,
        membership_id=membership.id,
        price=total,
        due_on=work.at.date(),
        mandate=None,
    )
    await owed.carry(work, arrears, payment)


async def _write_off(work: Unit, arrears: Sequence[Payment]) -> None:
    for payment in arrears:
        before, payment.status = payment.status, PaymentStatus.WRITTEN_OFF
        payment.carried_by_id, payment.retry_on = None, None
        await payment.save(update_fields=["status", "carried_by_id", "retry_on"])
        await ledger.moved(work, payment, before)
        work.audit("write_off", payment, before={"status": before}, after={"status": payment.status})
        work.emit(PaymentUpdated(payment_id=payment.id, user_id=payment.user_id))
