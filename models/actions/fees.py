"""What a membership is asked for: the fee of a period, or the one price that is paid once."""

from datetime import date

from models.actions.charges import raise_payment
from models.actions.unit import Unit
from models.actions.users import linked
from models.rules.fees import fees_owed
from models.rules.lifecycle import STANDING, Status
from models.rules.money import Money
from models.rules.pricing import FREQUENCY, Frequency
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, PaymentPurpose, PaymentStatus, Provider
from models.tables.membership import Mandate, Membership, MembershipType
from models.tables.payment import Payment


async def ask_fee(work: Unit, membership: Membership, period_start: date) -> Payment:
    """Ask for the fee of the period that begins on a day, of a locked membership. Raises as `payments.collect_fee`."""
    kind = await MembershipType.get(id=membership.membership_type_id)
    once = FREQUENCY[kind.kind] is Frequency.FIXED
    before = once and membership.status in (Status.PENDING, Status.FUTURE)
    if not (STANDING[membership.status].bills or before) or not membership.amount:
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, f"The membership is {membership.status}.")
    days = membership.starts_on, membership.ends_on, work.at.date(), membership.fees_from
    if period_start not in fees_owed(kind.kind, *days):
        found = f"No period of this membership that may be asked for begins on {period_start}."
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, found, field=("periodStart",))
    mandate = await _debited(membership, card=once)
    of_period = Payment.filter(membership_id=membership.id, period_start=period_start)
    if await of_period.exclude(status=PaymentStatus.CANCELLED).exists():
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, f"The fee of {period_start} exists.", field=("periodStart",))
    payment = await raise_payment(
        work,
        user_id=membership.user_id,
        purpose=PaymentPurpose.MEMBERSHIP_FEE,
        membership_id=membership.id,
        price=Money(membership.amount, membership.currency),
        due_on=max(period_start, work.at.date()),
        period_start=period_start,
        mandate=mandate,
    )
    work.audit("collect_fee", payment, after={"amount": payment.amount, "period_start": period_start})
    return payment


async def _debited(membership: Membership, *, card: bool) -> Mandate | None:
    """The direct debit that pays a membership; None for the card on file, where that may pay it."""
    mandate = await Mandate.get_or_none(id=membership.mandate_id) if membership.mandate_id else None
    if mandate is not None and mandate.status is MandateStatus.ACTIVE:
        return mandate
    if mandate is not None or not card:
        raise Refusal(Code.NO_MANDATE)
    if await linked(membership.user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE)
    return None
