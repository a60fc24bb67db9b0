"""What a membership is asked for: the fee of a period, or the one price that is paid once."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from models.actions.billing_policy import policy
from models.actions.charges import raise_payment
from models.actions.owed import carry
from models.actions.unit import Unit
from models.actions.users import linked
from models.rules.arrears import too_small
from models.rules.calendar import Days, day_at
from models.rules.fees import AHEAD, NEVER, Terms, bills_now
from models.rules.lifecycle import TERMINAL
from models.rules.money import Money
from models.rules.pricing import MembershipKind
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, PaymentOutcome, PaymentPurpose, PaymentStatus, Provider
from models.rules.working_days import rolled
from models.tables.centre import Centre
from models.tables.membership import Mandate, Membership, MembershipType
from models.tables.payment import Payment

ON_PURPOSE = ("payment_cancelled",)  # the provider's word for a cancellation that somebody asked for


def terms_of(membership: Membership, kind: MembershipKind) -> Terms:
    """What decides when a membership is asked for money."""
    return Terms(kind, membership.starts_on, membership.ends_on, membership.fees_from, membership.billing_day)


async def begun(terms: Terms, amount: int) -> dict[str, Any]:
    """The columns a new membership begins its fees with: its day of the month, by the policy of now, and its first."""
    day = None if terms.once else terms.billing_day or (await policy()).billing_day
    return {"billing_day": day, "next_fee_on": terms.first if amount else None}


async def today_of(membership: Membership, work: Unit) -> date:
    """The day it is at a membership's centre."""
    return day_at(work.at, ZoneInfo((await Centre.known(id=membership.centre_id)).zone))


async def today_everywhere(at: datetime) -> dict[str, date]:
    """Each zone with a centre -> the day it is there."""
    zones: list[str] = await Centre.all().distinct().order_by("zone").values_list("zone", flat=True)  # type: ignore[assignment]  # flat
    return {zone: day_at(at, ZoneInfo(zone)) for zone in zones}


async def ask_fee(
    work: Unit,
    membership: Membership,
    period_start: date,
    *,
    deferred: Sequence[Payment] = (),
    until: date | None = None,
    accrues: bool = False,
) -> Payment:
    """Ask for the fee of the period that begins on a day, of a locked membership, and for what rides on it.

    What is too little to be collected, or `accrues` during a suspension, is written down and rides on the next fee.
    `until` is the last day such a period may begin on. Raises as `payments.collect_fee`.
    """
    kind = await MembershipType.known(id=membership.membership_type_id)
    terms, rules, today = terms_of(membership, kind.kind), await policy(), await today_of(membership, work)
    if not (accrues or bills_now(membership.status, once=terms.once)) or not membership.amount:
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, f"The membership is {membership.status}.")
    period = terms.begins(period_start)
    if period is None or (not terms.once and period_start > (until or today + AHEAD)):
        found = f"No period of this membership that may be asked for begins on {period_start}."
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, found, field=("periodStart",))
    mandate = await (_of(membership) if accrues else _debited(membership, card=terms.once))
    if await has_fee(membership, period):
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, f"The fee of {period_start} exists.", field=("periodStart",))
    price = Money(terms.price(period, membership.amount, rules.first_period), membership.currency)
    if not price:
        raise Refusal(Code.PAYMENT_NOT_COLLECTABLE, "This period costs nothing.", field=("periodStart",))
    whole = Money(price.minor_units + sum(each.amount for each in deferred), price.currency)
    small = too_small(Provider.GOCARDLESS if mandate else Provider.STRIPE, whole)
    rides = accrues or (small and not terms.once)  # no fee follows a price that is paid once
    payment = await raise_payment(
        work,
        user_id=membership.user_id,
        purpose=PaymentPurpose.MEMBERSHIP_FEE,
        membership_id=membership.id,
        price=price if rides else whole,
        due_on=_due_on(max(period_start, today), mandate, price.currency),
        period_start=period_start,
        mandate=mandate,
        status=PaymentStatus.CARRIED if rides else PaymentStatus.DUE,
    )
    after: dict[str, Any] = {"amount": payment.amount, "period_start": period_start}
    if rides:
        after["status"] = payment.status
    elif deferred:
        after["carries"] = [each.id for each in deferred]
    work.audit("collect_fee", payment, after=after)
    if not rides:
        await carry(work, deferred, payment)
    await asked(membership, terms, period)
    return payment


async def has_fee(membership: Membership, period: Days) -> bool:
    """Whether a period was asked for already."""
    of_period = Payment.filter(membership_id=membership.id, period_start=period.start)
    return await of_period.exclude(status=PaymentStatus.CANCELLED).exists()


async def asked(membership: Membership, terms: Terms, period: Days) -> None:
    """A period of a locked membership needs no asking any more: where it was the next one, go on to the one after."""
    if terms.once or membership.next_fee_on == period.start:
        membership.next_fee_on = None if terms.once else period.end
        await membership.save(update_fields=["next_fee_on"])


async def ask_anew(work: Unit, membership: Membership, payment: Payment) -> None:
    """A fee of a locked membership was cancelled with its instruction: its period is to be asked for once more.

    What somebody cancelled on purpose at the provider stays cancelled.
    """
    period, lost = payment.period_start, payment.failure not in (None, *ON_PURPOSE)
    before, ended = membership.next_fee_on, membership.status in TERMINAL
    asked_on = NEVER if before is None else before  # a price that is paid once has no next one
    if period is None or not lost or ended or asked_on <= period:
        return
    membership.next_fee_on = period
    await membership.save(update_fields=["next_fee_on"])
    work.audit("plan_fees", membership, before={"next_fee_on": before}, after={"next_fee_on": period})


async def became(payment: Payment, outcome: PaymentOutcome, failure: str | None) -> PaymentOutcome:
    """(a payment, what its provider says, why) -> what that is here.

    A fee that was cancelled with its instruction is missed where another membership took over and lives on it: no
    calendar asks for its period anew.
    """
    lost = outcome is PaymentOutcome.CANCELLED and failure not in (None, *ON_PURPOSE)
    if not lost or payment.period_start is None or payment.membership_id is None:
        return outcome
    taken_over = await Membership.has(moved_from_id=payment.membership_id)
    return PaymentOutcome.FAILED if taken_over else outcome


def _due_on(day: date, mandate: Mandate | None, currency: str) -> date:
    """The banks collect on working days; other countries' holidays are left to the provider, which rolls them on."""
    return rolled(day) if mandate and currency == "GBP" else day


async def _of(membership: Membership) -> Mandate | None:
    return await Mandate.one(id=membership.mandate_id) if membership.mandate_id else None


async def _debited(membership: Membership, *, card: bool) -> Mandate | None:
    """The direct debit that pays a membership; None for the card on file, where that may pay it."""
    mandate = await _of(membership)
    if mandate is not None and mandate.status is MandateStatus.ACTIVE:
        return mandate
    if mandate is not None or not card:
        raise Refusal(Code.NO_MANDATE)
    if await linked(membership.user_id, Provider.STRIPE, "payment_method") is None:
        raise Refusal(Code.NO_CARD_ON_FILE)
    return None
