"""Who changed what."""

from tortoise import fields

from models.tables.row import Row, document


class AuditEntry(Row):
    """Who changed what, from what to what, and why; written in the same transaction as the change."""

    actor = fields.CharField(max_length=120)
    verb = fields.CharField(max_length=60)
    subject_type = fields.CharField(max_length=40)
    subject_id = fields.UUIDField()
    before = document(null=True)
    after = document(null=True)
    because = document(default=list)
    at = fields.DatetimeField()

    class Meta:
        table = "audit_entry"
        indexes = (("subject_id", "id"),)
