"""What providers told us, stored whole before anybody reads it."""

from tortoise import fields

from models.rules.states import InboxState, Provider
from models.tables.row import Row, choice, document, one_of, unique


class InboxEvent(Row):
    """One event received from a provider, kept whole, applied once."""

    provider: Provider = choice(Provider)
    event_id = fields.CharField(max_length=255)
    event_type = fields.CharField(max_length=120)
    object_id = fields.CharField(max_length=255, null=True)
    body = document()
    state: InboxState = choice(InboxState, default=InboxState.RECEIVED)
    applied_at = fields.DatetimeField(null=True)

    class Meta:
        table = "inbox_event"
        constraints = (
            one_of("inbox_event", "provider", Provider),
            one_of("inbox_event", "state", InboxState),
            unique("inbox_event_once", "provider", "event_id"),
        )
        indexes = (("provider", "id"), ("state", "id"), ("created_at", "id"))
