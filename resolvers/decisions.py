"""What was decided and why, for who may see what it was about."""

from uuid import UUID

from models.actions import bookings, decisions, unpaid
from models.actions.quotes import Asked
from models.actions.unpaid import Answer
from models.rules.booking import Quote
from models.rules.refusals import Refusal
from models.tables.audit import AuditEntry
from resolvers.context import Context
from resolvers.quotes import sees_both
from resolvers.reads.ids import known, split
from resolvers.reads.meaning import ENTITIES


async def explained(context: Context, given: str) -> list[AuditEntry] | None:
    """The id of a thing or of a quote -> every decision about it, the oldest first; None where there is none to see.

    Raises BadInput for a malformed id.
    """
    type_name, subject_id = split(given)
    if type_name == "Quote":
        quote = await decisions.of_quote(subject_id)
        seen = quote is not None and await context.reader.sees("User", UUID(quote.after["user_id"]), context.viewer)
        return [quote] if quote is not None and seen else None
    if type_name not in ENTITIES or not await context.reader.sees(type_name, subject_id, context.viewer):
        return None
    return await decisions.about(type_name, subject_id)


async def why_not(context: Context, asked: Asked) -> tuple[Quote | Refusal, list[AuditEntry]] | None:
    """A booking asked for -> what it would take or why it cannot be, and the times it was refused, the newest first.

    None where the viewer may not see the course or the student.
    """
    if not await sees_both(context, asked.course_id, asked.user_id):
        return None
    earlier = await decisions.refusals(asked.course_id, asked.user_id, asked.method)
    answer: Quote | Refusal
    try:
        answer = await bookings.rehearse(
            user_id=asked.user_id,
            course_id=asked.course_id,
            method=asked.method,
            package_id=asked.package_id,
            at=context.clock.now(),
        )
    except Refusal as refusal:
        answer = refusal
    return answer, earlier


async def why_not_paid(context: Context, given: str, invoice: str | None) -> Answer | None:
    """Ids of an attendance and of an invoice to look at too -> who pays for it, and why others do not.

    None where the viewer may not see either. Raises BadInput.
    """
    attendance_id, invoice_id = known("Attendance")(given), known("Invoice")(invoice) if invoice else None
    reader, viewer = context.reader, context.viewer
    if attendance_id is None or not await reader.sees("Attendance", attendance_id, viewer):
        return None
    if invoice and (invoice_id is None or not await reader.sees("Invoice", invoice_id, viewer)):
        return None
    return await unpaid.why_not(attendance_id, invoice_id)


def asked_for(course_id: str, user_id: str) -> tuple[UUID, UUID] | None:
    """Global ids of a course and a student -> their keys, None where one is of something else. Raises BadInput."""
    course, user = known("Course")(course_id), known("User")(user_id)
    return (course, user) if course and user else None
