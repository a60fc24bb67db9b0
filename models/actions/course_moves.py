"""A customer moves to another course in the course system: the fee stays, or another price takes over, never both."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from models.actions import carts, endings, fees, mappings, memberships
from models.actions.catalogue import price_at
from models.actions.drift import said_of_price
from models.actions.transaction import repeated
from models.actions.unit import Unit, unit
from models.rules.calendar import day_at, term_of
from models.rules.fees import Terms, paid_until
from models.rules.lifecycle import TERMINAL, Cause, Status
from models.rules.pricing import Frequency, Integration, MembershipKind
from models.rules.refusals import Code, Refusal
from models.rules.states import MandateStatus, PaymentStatus
from models.tables.centre import Centre
from models.tables.coursepro import CourseMapping
from models.tables.membership import Mandate, Membership, MembershipType
from models.tables.package import Package
from models.tables.payment import Payment

STANDS = (Status.ACTIVE, Status.FUTURE)
LOST = (PaymentStatus.CANCELLED, PaymentStatus.FAILED, PaymentStatus.CHARGED_BACK)


@repeated
async def move_course(
    *,
    membership_id: UUID,
    from_course_ref: str,
    to_course_ref: str,
    effective_at: datetime,
    acting: str,
    at: datetime,
    pricing_option_id: UUID | None = None,
    said: Mapping[str, Any] | None = None,
) -> Membership:
    """Move a customer to another course -> the membership that stands for it from then on; twice changes nothing.

    At the same pricing option, or without one, the fee stays. Another one ends this membership for a new one at our
    price of that day, which owes nothing for what was paid or asked for already; what was `said` of the price is kept
    as drift where it differs. Raises Refusal NOT_FOUND,
    INVALID_INPUT, UNKNOWN_PRICING_OPTION, COURSE_NOT_MAPPED, ILLEGAL_MOVE, CURRENCY_MISMATCH.        Source: R19, R59
    """
    async with unit(acting=acting, at=at) as work:
        payments = await Payment.every(membership_id=membership_id, lock=True, order=("id",))
        old = await memberships.locked(membership_id)
        kind = await MembershipType.known(id=old.membership_type_id)
        if kind.integration is not Integration.COURSEPRO_COURSE:
            raise Refusal(Code.NOT_FOUND, field=("membershipId",))
        heir = await memberships.heir(old)
        same_price = pricing_option_id in (None, heir.pricing_option_id)
        if heir.course_ref == to_course_ref and same_price:
            return heir
        if heir.id != old.id or old.status in TERMINAL:
            found = f"It is {old.status}; membership {heir.id} stands for the customer's course."
            raise Refusal(Code.ILLEGAL_MOVE, found, field=("membershipId",))
        if old.course_ref != from_course_ref:
            found = f"Its course is {old.course_ref!r}."
            raise Refusal(Code.INVALID_INPUT, found, field=("fromCourseRef",))
        mapping = await mappings.mapped(to_course_ref, pricing_option_id) if pricing_option_id else None
        if mapping is not None and not same_price:
            stands = await _reprice(work, old, kind, payments, mapping, effective_at)
        else:
            before, old.course_ref = old.course_ref, to_course_ref
            await old.save(update_fields=["course_ref"])
            work.audit("move_course", old, before={"course": before}, after={"course": to_course_ref})
            stands = old
        known: dict[str, Any] = {"amount": stands.amount or 0, "currency": stands.currency}
        cause = f"moved:{from_course_ref}:{to_course_ref}"
        await said_of_price(work, stands, said or {}, **known, centre_id=stands.centre_id, cause=cause)
    return stands


async def _reprice(
    work: Unit,
    old: Membership,
    was: MembershipType,
    payments: list[Payment],
    mapping: CourseMapping,
    effective_at: datetime,
) -> Membership:
    if old.status not in (*STANDS, Status.PENDING):
        found = f"A membership that is {old.status} is resolved here before it moves to another price."
        raise Refusal(Code.ILLEGAL_MOVE, found, field=("membershipId",))
    zone = ZoneInfo((await Centre.known(id=mapping.centre_id)).zone)
    today, day = day_at(work.at, zone), max(day_at(effective_at, zone), old.starts_on)
    option, amount, level = await price_at(mapping.pricing_option_id, centre_id=mapping.centre_id, on=day)
    if option.currency != old.currency:
        raise Refusal(Code.CURRENCY_MISMATCH, field=("pricingOptionId",))
    kind = await MembershipType.known(id=mapping.membership_type_id)
    now = day <= today or old.status is not Status.ACTIVE
    asked = await _asked_for(work, payments, date.min if now else day)
    if not now:  # what is still to be asked of the old one is not paid twice either
        old_terms, last = fees.terms_of(old, was.kind), day - timedelta(days=1)
        asked += [period.start for period in old_terms.owed(old.next_fee_on, last) if old.next_fee_on]
    paid = paid_until(was.kind, kind.kind, old.starts_on, old.ends_on, old.fees_from, asked, old.billing_day)
    fees_from = paid if paid and paid > day else None
    terms = Terms(kind.kind, day, _ends_on(was, kind, old, day, fees_from), fees_from, old.billing_day)
    new = await Membership.create(
        user_id=old.user_id,
        membership_type_id=kind.id,
        centre_id=mapping.centre_id,
        pricing_option_id=option.id,
        mandate_id=old.mandate_id,
        amount=amount,
        currency=option.currency,
        status=Status.PENDING,
        starts_on=day,
        ends_on=terms.ends_on,
        course_ref=mapping.course_ref,
        moved_from_id=old.id,
        fees_from=fees_from,
        **await _fees(terms, amount, anniversary=was.kind is MembershipKind.ONGOING and old.billing_day is None),
    )
    after = {"amount": amount, "price_level": level, "fees_from": fees_from, "course": mapping.course_ref}
    work.audit("move_course", new, before={"membership": old.id, "amount": old.amount}, after=after)
    await _take_over(work, old, new, option.frequency)
    if fees_from is None:
        await carts.ask_once(work, new, option)
    await _let_go(work, old, new, now)
    return new


async def _fees(terms: Terms, amount: int, *, anniversary: bool) -> dict[str, Any]:
    """The calendar the new one begins with: the day of the month stays, also where that is the anniversary."""
    begun = await fees.begun(terms, amount)
    return begun | {"billing_day": None} if anniversary else begun


async def _asked_for(work: Unit, payments: list[Payment], dropped_from: date) -> list[date]:
    """First days of the periods paid or asked for; what nobody was asked for yet, from a day on, is dropped."""
    asked = []
    for payment in payments:
        if payment.period_start is None or payment.status in LOST:
            continue
        if payment.status is PaymentStatus.DUE and payment.attempts == 0 and payment.period_start >= dropped_from:
            await endings.drop(work, payment)
        else:
            asked.append(payment.period_start)
    return asked


def _ends_on(
    was: MembershipType, kind: MembershipType, old: Membership, day: date, fees_from: date | None
) -> date | None:
    if kind.kind is not MembershipKind.FIXED_TERM:
        return None
    if was.kind is MembershipKind.FIXED_TERM and fees_from is not None:
        return old.ends_on  # the term that was paid for goes on, it does not begin anew
    return term_of(fees_from or day, kind.term_months or 3).end


async def _take_over(work: Unit, old: Membership, new: Membership, frequency: Frequency) -> None:
    """The new one stands where the old one stood, unless it costs money that nothing pays yet."""
    mandate = await Mandate.one(id=new.mandate_id) if new.mandate_id else None
    ready = mandate is not None and mandate.status is MandateStatus.ACTIVE
    if new.amount and frequency is Frequency.RECURRING and mandate is None:
        new.mandate_id = await carts.paid_by(work, new.user_id, await new.pricing_option)
        await new.save(update_fields=["mandate_id"])
        ready = await Mandate.has(id=new.mandate_id, status=MandateStatus.ACTIVE)
    if old.status in STANDS and (not new.amount or ready or new.fees_from):
        await memberships.move(work, new, Cause.TOOK_OVER, because=(f"from {old.id}",))
    elif not new.amount or ready:
        await memberships.move(work, new, Cause.MANDATE_READY if new.amount else Cause.FREE_OF_CHARGE)


async def _let_go(work: Unit, old: Membership, new: Membership, now: bool) -> None:
    """End the old one, now or on its last day; credits that were bought with it go along."""
    await Package.filter(membership_id=old.id).update(membership_id=new.id)
    if now:
        await memberships.move(work, old, Cause.COURSE_MOVED, because=(f"to {new.id}",))
        return
    before, old.ends_on = old.ends_on, new.starts_on
    await old.save(update_fields=["ends_on"])
    work.audit("move_course", old, before={"ends_on": before}, after={"ends_on": old.ends_on, "membership": new.id})
