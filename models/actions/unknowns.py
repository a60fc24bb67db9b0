"""What a person found out about money whose outcome nobody could tell us (decision 52)."""

from uuid import UUID

from models.actions import payments, refunds
from models.actions.unit import Unit
from models.rules.refusals import Code, Refusal
from models.rules.states import PaymentOutcome, RefundOutcome
from models.tables.coursepro import ReviewItem
from models.tables.payment import Payment, Refund

ASK_AGAIN, NOT_MADE, MADE = "ASK_AGAIN", "NOT_MADE", "MADE"


async def decided(work: Unit, item: ReviewItem, answer: str) -> None:
    """Take a person's answer over: NOT_MADE, MADE with the provider's reference behind it, or ASK_AGAIN.

    Raises Refusal INVALID_INPUT for other words.
    """
    row_id, word, reference = UUID(item.subject), *_read(answer)
    is_payment = item.evidence["of"] == Payment.__name__
    if word == ASK_AGAIN:
        table: type[Payment | Refund] = Payment if is_payment else Refund
        await table.filter(id=row_id).update(asks=0)
        return
    failure = NOT_MADE if word == NOT_MADE else None
    if is_payment:
        outcome = PaymentOutcome.FAILED if failure else PaymentOutcome.SUBMITTED
        await payments.settle(
            row_id,
            outcome,
            reference=reference,
            failure=failure,
            only_from=payments.COLLECTABLE,
            acting=work.acting,
            at=work.at,
        )
        return
    became = RefundOutcome.FAILED if failure else RefundOutcome.SUBMITTED
    await refunds.settle(row_id, became, reference=reference, failure=failure, acting=work.acting, at=work.at)


def _read(answer: str) -> tuple[str, str | None]:
    word, _, reference = answer.strip().partition(" ")
    if word in (ASK_AGAIN, NOT_MADE) and not reference:
        return word, None
    if word == MADE and reference.strip():
        return word, reference.strip()
    found = f"Answer {NOT_MADE}, {ASK_AGAIN}, or {MADE} and the reference the provider has it under."
    raise Refusal(Code.INVALID_INPUT, found, field=("answer",))
