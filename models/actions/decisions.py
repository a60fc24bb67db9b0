"""What was decided and why, read back from the audit trail (D8)."""

from uuid import UUID

from models.rules.booking import Method
from models.tables import sql
from models.tables.audit import AuditEntry

EARLIER = 20

# type: the rows whose decisions belong to one of its things ($1), itself left out
BELONGING: dict[str, str] = {
    "Booking": (
        "SELECT p.id FROM payment p WHERE p.booking_id = $1"
        " UNION SELECT r.id FROM refund r JOIN payment p ON p.id = r.payment_id WHERE p.booking_id = $1"
    ),
    "Package": "SELECT p.id FROM payment p WHERE p.package_id = $1",
    "Payment": "SELECT r.id FROM refund r WHERE r.payment_id = $1",
    "CreditEntry": "SELECT coalesce(e.booking_id, e.package_id) FROM credit_entry e WHERE e.id = $1",
    "Membership": "SELECT p.id FROM payment p WHERE p.membership_id = $1",
    "Invoice": "SELECT a.id FROM allocation a WHERE a.invoice_id = $1 UNION"
    " SELECT s.id FROM shipment s WHERE s.invoice_id = $1 UNION"
    " SELECT c.id FROM correction c WHERE c.invoice_id = $1",
}


async def about(type_name: str, subject_id: UUID) -> list[AuditEntry]:
    """A thing -> every decision about it and what belongs to it, in the order they were made."""
    belonging = BELONGING.get(type_name)
    rows = await sql.rows(belonging, subject_id) if belonging else []
    ids = [subject_id, *(next(iter(row.values())) for row in rows)]
    return await AuditEntry.filter(subject_id__in=ids).order_by("at", "id")


async def refusals(course_id: UUID, user_id: UUID, method: Method) -> list[AuditEntry]:
    """(course, student, way of paying) -> the times it was refused, the newest first."""
    asked = {"user_id": str(user_id), "method": method.value}
    refused = AuditEntry.filter(subject_id=course_id, verb__startswith="refuse_", after__contains=asked)
    return await refused.order_by("-id").limit(EARLIER)


async def of_quote(quote_id: UUID) -> AuditEntry | None:
    """What was quoted under an id."""
    return await AuditEntry.one(subject_type="Quote", subject_id=quote_id)
