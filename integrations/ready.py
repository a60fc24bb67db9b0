"""The ports of one provider as it is set up, and what they are opened with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS
from integrations.pace import Free
from models.ports import (
    AccountingSystem,
    Clock,
    CourseSystem,
    EventLog,
    MandateGateway,
    PaymentGateway,
    PracticeSystem,
    SubscriptionSeller,
    WebhookSource,
)

Settings = Mapping[str, Any]
Secrets = Mapping[str, str]


class Closable(Protocol):
    """What holds connections."""

    async def close(self) -> None:
        """Give the connections back."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """The ports of one provider as it is set up: what is absent it does not do."""

    client: Closable
    payments: PaymentGateway | None = None
    mandates: MandateGateway | None = None
    subscriptions: SubscriptionSeller | None = None
    courses: CourseSystem | None = None
    practice: PracticeSystem | None = None
    accounting: AccountingSystem | None = None
    webhooks: WebhookSource | None = None
    event_log: EventLog | None = None


@dataclass(slots=True)
class Known:
    """What was last read of a provider's row, and the ports made of that version."""

    version: int
    ready: Ready
    read_at: float


@dataclass(frozen=True, slots=True)
class Opening:
    """What a provider is opened with: its row, the clock, how far addresses reach, and the gate of its account."""

    settings: Settings
    secrets: Secrets
    clock: Clock
    reach: Reach
    pace: Free

    def base(self, default: str) -> str:
        """The address of the API, without a slash at the end."""
        return str(self.settings.get("api_base") or default).rstrip("/")

    @property
    def answer_seconds(self) -> float:
        """How long to wait for an answer."""
        return float(self.settings.get("answer_seconds", ANSWER_SECONDS))

    @property
    def webhook_secrets(self) -> list[str]:
        """The endpoint's secret, and the one before while it is being rolled."""
        names = ("webhook_secret", "previous_webhook_secret")
        return [self.secrets[name] for name in names if name in self.secrets]
