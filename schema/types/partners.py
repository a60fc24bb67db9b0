"""What partners are told: their endpoints, and the messages sent there."""

from datetime import datetime

from models.rules.partners import DeliveryState, WebhookTopic
from resolvers.reads.declare import Node, column, entity, many, one
from schema.scalars import URL


@entity("webhook_endpoint", "An address of a partner's that is told what happens.")
class WebhookEndpoint(Node):
    """An endpoint."""

    url: URL = column("Where it is.")
    description: str = column("What it is for.")
    topics: list[WebhookTopic] = column(
        "What it is told about.", "ARRAY(SELECT jsonb_array_elements_text({row}.topics))"
    )
    secret_hint: str = column("The last letters of its present secret.", "{row}.hint")
    enabled: bool = column("Whether it is sent anything.")
    disabled_because: str | None = column("Why it is not.")
    failing_since: datetime | None = column("Since when every attempt failed; null while they succeed.")
    created_at: datetime = column("When it was set up.")
    updated_at: datetime = column("When it last changed.")
    messages = many("WebhookMessage", "What it was sent, a month back.", on="endpoint_id")


@entity("webhook_message", "One event for one endpoint.")
class WebhookMessage(Node):
    """A message."""

    endpoint = one("WebhookEndpoint", "To whom.", on="endpoint_id")
    message_id: str = column("Its `webhook-id`: the same for every attempt.", "{row}.id::text")
    event_id: str = column("The event it tells of.")
    topic: str = column("What it is about: a topic, or TEST.")
    kind: str = column("What happened.", "{row}.name")
    body: str = column("What is sent, as JSON.", "{row}.body::text")
    state: DeliveryState = column("Where it stands.")
    attempts: int = column("How often it was sent.")
    last_status: int | None = column("What the endpoint answered last; null where it did not.")
    last_error: str | None = column("Why the last attempt failed.")
    created_at: datetime = column("When it was written.")
    delivered_at: datetime | None = column("When the endpoint took it.")
