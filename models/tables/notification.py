"""Messages to people."""

from uuid import UUID

from tortoise import fields

from models.tables.row import Row, belongs_to, unique


class Notification(Row):
    """A message to a person, once per cause (R44)."""

    user_id: UUID
    user = belongs_to("User", "notifications")
    kind = fields.CharField(max_length=40)
    cause = fields.CharField(max_length=120)
    text = fields.TextField()
    sent_at = fields.DatetimeField(null=True)

    class Meta:
        table = "notification"
        constraints = (unique("notification_once_per_cause", "kind", "cause"),)
        indexes = (("user_id", "id"),)
