"""Questions left to a person, and their answers (R48, R53)."""

from datetime import datetime
from uuid import UUID

from models.actions import arrivals, asking, ledger, links, patients, subscriptions, unknowns, user_fields
from models.actions.transaction import alone, repeated
from models.actions.unit import Unit, unit
from models.rules.people import checked
from models.rules.refusals import Code, Refusal
from models.rules.states import ReviewKind, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.membership import Subscription
from models.tables.payment import Payment

LONGEST_ANSWER = 255


@repeated
async def settle_review(
    review_item_id: UUID, *, acting: str, at: datetime, user_id: UUID | None = None, answer: str | None = None
) -> ReviewItem:
    """Answer a question.

    Whose record it is: the candidate's with `user_id`, somebody new's without; whose subscription: that of `user_id`.
    Which patient: the one whose id is the `answer`, or NONE. What becomes of money: in words, by `answer`. What became
    of a call whose answer was lost: the words of `unknowns.decided`.

    Raises Refusal NOT_FOUND (also for a user who is no candidate), ILLEGAL_MOVE (it is answered), INVALID_INPUT (no
    answer, none of its words, or the user has another record), for somebody new what `arrivals.user_arrived` does.
    """
    if answer is not None and len(answer) > LONGEST_ANSWER:
        raise Refusal(Code.INVALID_INPUT, f"An answer has at most {LONGEST_ANSWER} characters.", field=("answer",))
    async with unit(acting=acting, at=at) as work:
        asked, payment = await _held(review_item_id)
        if asked.state is not ReviewState.OPEN:
            raise Refusal(Code.ILLEGAL_MOVE, f"It is {asked.state} already.", field=("reviewItemId",))
        match asked.kind:
            case ReviewKind.USER_MATCH:
                asked.user_id = await _whose(work, asked, user_id)
                answer = answer or str(asked.user_id)
            case ReviewKind.SUBSCRIPTION_MATCH:
                answer = await _sold_to(work, asked, user_id)
                asked.user_id = user_id
            case ReviewKind.PATIENT_MATCH:
                await patients.decided(work, asked, answer)
        if not answer:
            raise Refusal(Code.INVALID_INPUT, "Say what was decided.", field=("answer",))
        asked.state, asked.answer = ReviewState.SETTLED, answer
        await asked.save(update_fields=["state", "answer", "user_id"])
        if payment is not None:
            await ledger.respread(work, payment)  # what was decided to be kept pays for something again
        after = {"state": asked.state, "user_id": asked.user_id}
        if asked.kind is ReviewKind.OUTCOME_UNKNOWN:
            await unknowns.decided(work, asked, answer)
        work.audit("settle_review", asked, before={"state": ReviewState.OPEN}, after=after, because=[answer])
    return asked


async def _held(review_item_id: UUID) -> tuple[ReviewItem, Payment | None]:
    """A question, locked, and the payment whose money it is about."""
    asked = await ReviewItem.one(id=review_item_id)
    if asked is None:
        raise Refusal(Code.NOT_FOUND, field=("reviewItemId",))
    await alone(f"coursepro:{asked.subject}")  # before the row, as an arrival does
    about_money = asked.kind is ReviewKind.REFUND_REVIEW
    payment = await asking.known(Payment, asked.provider, ours=asked.subject, theirs="") if about_money else None
    payment = await asking.locked(payment.id) if payment else None
    return await ReviewItem.known(id=review_item_id, lock=True), payment


async def _sold_to(work: Unit, asked: ReviewItem, user_id: UUID | None) -> str:
    sold = await Subscription.one(provider=asked.provider, external_id=asked.subject)
    if user_id is None or sold is None:
        raise Refusal(Code.INVALID_INPUT, "Say whose subscription it is.", field=("userId",))
    await subscriptions.link_subscription(sold.id, user_id=user_id, acting=work.acting, at=work.at)
    return str(user_id)


async def _whose(work: Unit, asked: ReviewItem, user_id: UUID | None) -> UUID:
    coursepro_id, given = asked.subject, asked.evidence["given"]
    if await links.of_record(coursepro_id) is not None:
        raise Refusal(Code.ILLEGAL_MOVE, "The record is tied to a user meanwhile.", field=("reviewItemId",))
    decided = {**asked.evidence["compared"], "decided_by": work.acting, "review": str(asked.id)}
    if user_id is None:
        known = await user_fields.configured()
        kept = {name: value for name, value in given.items() if name in known.names}
        values = checked(kept, known.configured, today=work.at.date(), whole=False)
        return await arrivals.newcomer(work, coursepro_id, given, values, evidence=decided)
    if str(user_id) not in asked.evidence["candidates"]:
        raise Refusal(Code.NOT_FOUND, "That user is none of the candidates.", field=("userId",))
    if not await links.has_no_other_record(user_id):
        raise Refusal(Code.INVALID_INPUT, "That user has another record in CoursePro: unlink it.", field=("userId",))
    await links.tie(work, user_id, coursepro_id, evidence=decided, holds=given)
    return user_id
