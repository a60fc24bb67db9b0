"""What partners are told and given: their webhooks, the messages sent to them, and files of exported rows."""

from uuid import UUID

from tortoise import fields

from models.rules.partners import DeliveryState, ExportFormat, ExportKind
from models.tables.row import Row, belongs_to, check, choice, document, one_of, unique


class WebhookEndpoint(Row):
    """An address of a partner's that is told of events of some topics; `api_key` is whose it is, None for the office's.

    `secrets` is one encrypted JSON list, the present secret first. One that failed since `failing_since` without a
    break is switched off at last, and says why.
    """

    api_key_id: UUID | None
    api_key = belongs_to("ApiKey", "webhook_endpoints", null=True)
    url = fields.CharField(max_length=500)
    description = fields.CharField(max_length=200, default="")
    topics = document(default=list)
    secrets = fields.TextField()
    hint = fields.CharField(max_length=8)
    enabled = fields.BooleanField(default=True)
    disabled_because = fields.CharField(max_length=200, null=True)
    failing_since = fields.DatetimeField(null=True)

    class Meta:
        table = "webhook_endpoint"
        constraints = (check("webhook_endpoint_off_says_why", "enabled OR disabled_because IS NOT NULL"),)
        indexes = (("api_key_id", "id"),)


class WebhookMessage(Row):
    """One event for one endpoint, delivered at least once and in order for each `subject`."""

    endpoint_id: UUID
    endpoint = belongs_to("WebhookEndpoint", "messages")
    event_id = fields.CharField(max_length=64)
    topic = fields.CharField(max_length=40)
    name = fields.CharField(max_length=60)
    subject = fields.CharField(max_length=80)
    body = document(default=dict)
    state: DeliveryState = choice(DeliveryState, default=DeliveryState.PENDING)
    attempts = fields.IntField(default=0)
    last_status = fields.IntField(null=True)
    last_error = fields.CharField(max_length=200, null=True)
    delivered_at = fields.DatetimeField(null=True)

    class Meta:
        table = "webhook_message"
        constraints = (
            one_of("webhook_message", "state", DeliveryState),
            check("webhook_message_delivered_when", "(state = 'DELIVERED') = (delivered_at IS NOT NULL)"),
            unique("webhook_message_once", "endpoint_id", "event_id"),
        )
        indexes = (("endpoint_id", "state", "id"), ("created_at", "id"), ("state", "id"), ("topic", "id"))


class ExportFile(Row):
    """Rows of one kind written out for whoever asked, until it expires; `asked_for` is the filter of its rows."""

    job_id: UUID
    job = belongs_to("Job", "export_file", single=True)
    api_key_id: UUID | None
    api_key = belongs_to("ApiKey", "export_files", null=True)
    kind: ExportKind = choice(ExportKind)
    format: ExportFormat = choice(ExportFormat)
    asked_for = document(default=dict)
    done_until = fields.UUIDField(null=True)
    finished_at = fields.DatetimeField(null=True)
    expires_at = fields.DatetimeField()

    class Meta:
        table = "export_file"
        constraints = (
            one_of("export_file", "kind", ExportKind),
            one_of("export_file", "format", ExportFormat),
        )
        indexes = (("expires_at",),)


class ExportChunk(Row):
    """A part of an exported file, in its order."""

    file_id: UUID
    file = belongs_to("ExportFile", "chunks")
    number = fields.IntField()
    content = fields.TextField()

    class Meta:
        table = "export_chunk"
        constraints = (unique("export_chunk_once", "file_id", "number"),)
