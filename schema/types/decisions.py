"""Why things are as they are: decisions with the rules and figures that led to them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import strawberry

from models.actions.quotes import Asked
from models.actions.unpaid import Answer
from models.rules.booking import Method
from models.rules.invoicing import LeftOutReason
from models.rules.refusals import Code, Refusal
from models.rules.spreading import OverlapRule
from models.tables.audit import AuditEntry
from resolvers.context import Info
from resolvers.decisions import asked_for, explained, why_not_paid
from resolvers.decisions import why_not as answered
from resolvers.reads.declare import loaded
from resolvers.reads.ids import BadInput, encode, known
from schema.payloads import UserError, user_error
from schema.types.quotes import told_step
from schema.types.shared import NamedValue, Step


@strawberry.type(description="Something decided, with the rules and figures that led to it.")
class Decision:
    """A decision."""

    at: datetime = strawberry.field(description="When it was decided.")
    decided: str = strawberry.field(description="What, in a word: `book_course`, `charge_booking`, `refuse_quote`.")
    subject_id: strawberry.ID = strawberry.field(description="The id of what it is about.")
    code: Code | None = strawberry.field(description="Why the answer was no, where it was.")
    outcome: list[NamedValue] = strawberry.field(description="What it came to.")
    steps: list[Step] = strawberry.field(description="The rules applied, in their order.")


@strawberry.type(description="An invoice that was looked at for an attendance.")
class InvoiceCandidate:
    """An invoice that could pay, or was asked about."""

    invoice = loaded("Invoice", "The invoice.")
    reason: LeftOutReason | None = strawberry.field(description="Why it does not pay; null where it does or will.")
    steps: list[Step] = strawberry.field(description="Its walk to its classes, as far as this one is concerned.")
    invoice_id: strawberry.Private[UUID]


@strawberry.type(description="Which invoice pays for an attendance.")
class AttendancePayment:
    """Who pays, and who does not."""

    paid_by = loaded("Invoice", "The invoice that pays; null where none does.")
    decided_by: OverlapRule | None = strawberry.field(description="What decided that it is this one.")
    candidates: list[InvoiceCandidate] = strawberry.field(description="The person's invoices of that time.")
    paid_by_id: strawberry.Private[UUID | None]


@strawberry.type(description="Whether a booking can be made now, and when it could not; or who pays for an attendance.")
class WhyNot:
    """An answer to `whyNot`."""

    payment: AttendancePayment | None = strawberry.field(
        description="What pays for the attendance; null where a booking was asked about."
    )
    refusal: UserError | None = strawberry.field(description="Why it cannot be now; null where it can.")
    steps: list[Step] = strawberry.field(description="The rules that say so, in their order.")
    earlier: list[Decision] = strawberry.field(description="The last times it was refused, the newest first.")


def _told(entry: AuditEntry) -> Decision:
    outcome: dict[str, Any] = entry.after or {}
    return Decision(
        at=entry.at,
        decided=entry.verb,
        subject_id=strawberry.ID(encode(entry.subject_type, entry.subject_id)),
        code=Code(outcome["code"]) if "code" in outcome else None,
        outcome=[NamedValue(name=name, value=_text(value)) for name, value in outcome.items()],
        steps=[_step(each) for each in entry.because],
    )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _step(stored: Any) -> Step:
    """A stored rule step, or a word that was stored instead of one."""
    if not isinstance(stored, dict):
        return Step(rule=None, text=str(stored), figures=[])
    figures = [NamedValue(name=name, value=_text(value)) for name, value in (stored.get("figures") or {}).items()]
    return Step(rule=stored.get("rule"), text=stored.get("text", ""), figures=figures)


def _asks(description: str) -> Any:
    return strawberry.argument(description=description)


async def explain(
    info: Info,
    id: Annotated[strawberry.ID, _asks("Of a booking, payment, package, quote, anything.")],  # noqa: A002  # API's word
) -> list[Decision] | None:
    """The id of a thing -> every decision about it, the oldest first; None where unknown. Raises BadInput."""
    found = await explained(info.context, id)
    return None if found is None else [_told(entry) for entry in found]


async def why_not(
    info: Info,
    course_id: Annotated[strawberry.ID | None, _asks("The id of the course.")] = None,
    user_id: Annotated[strawberry.ID | None, _asks("The id of the student.")] = None,
    method: Annotated[Method | None, _asks("The way of paying.")] = None,
    package_id: Annotated[strawberry.ID | None, _asks("The package to draw from; any, if left out.")] = None,
    attendance_id: Annotated[strawberry.ID | None, _asks("An attendance, instead of all of these.")] = None,
    invoice_id: Annotated[strawberry.ID | None, _asks("An invoice to look at beside those of its time.")] = None,
) -> WhyNot | None:
    """(course, student, way of paying) -> why it cannot be booked; (attendance) -> why it is not paid for.

    None where anything named is unknown. Raises BadInput.
    """
    if attendance_id is not None:
        answer = await why_not_paid(info.context, attendance_id, invoice_id)
        return None if answer is None else _paid(answer)
    if course_id is None or user_id is None or method is None:
        raise BadInput("Name an attendance, or a course, a student and a way of paying.")
    return await _why_not_booked(info, course_id, user_id, method, package_id)


def _paid(answer: Answer) -> WhyNot:
    candidates = [
        InvoiceCandidate(invoice_id=each.invoice_id, reason=each.reason, steps=[told_step(one) for one in each.steps])
        for each in answer.candidates
    ]
    payment = AttendancePayment(paid_by_id=answer.paid_by, decided_by=answer.by, candidates=candidates)
    return WhyNot(payment=payment, refusal=None, steps=[told_step(step) for step in answer.steps], earlier=[])


async def _why_not_booked(
    info: Info, course_id: str, user_id: str, method: Method, package_id: str | None
) -> WhyNot | None:
    keys = asked_for(course_id, user_id)
    package = known("Package")(package_id) if package_id is not None else None
    if keys is None or (package_id is not None and package is None):
        return None
    found = await answered(info.context, Asked(*keys, method, package))
    if found is None:
        return None
    answer, earlier = found
    refusal = answer if isinstance(answer, Refusal) else None
    return WhyNot(
        payment=None,
        refusal=user_error(refusal) if refusal else None,
        steps=[told_step(step) for step in (answer.steps if isinstance(answer, Refusal) else answer.because)],
        earlier=[_told(entry) for entry in earlier],
    )
