"""GoCardless's webhooks: are they signed, and what do their events mean by the latest state of their resource.

An event carries no resource, only links and why; up to 250 come in one webhook, in no promised order. The resource is
fetched and its status decides; the event's details explain it where they are about that status.
"""

import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

from integrations.gocardless.client import DirectDebits, refunded
from integrations.gocardless.words import OUTCOMES, TELLING
from models.ports import BadSignature, EventPage, ReceivedEvent
from models.rules.facts import (
    Fact,
    FeesTaken,
    MandateChanged,
    Mirrored,
    PaymentCancelled,
    PaymentChargedBack,
    PaymentFailed,
    PaymentPaidOut,
    PaymentSubmitted,
    PaymentSucceeded,
    RefundFact,
)
from models.rules.states import MandateStatus, PaymentOutcome, Provider

HEADER = "webhook-signature"
WHO = Provider.GOCARDLESS.value
Json = dict[str, Any]
PaymentNews = (
    PaymentSubmitted | PaymentSucceeded | PaymentPaidOut | PaymentFailed | PaymentCancelled | PaymentChargedBack
)

PAYMENTS: dict[PaymentOutcome, type[PaymentNews]] = {
    PaymentOutcome.SUBMITTED: PaymentSubmitted,
    PaymentOutcome.CONFIRMED: PaymentSucceeded,
    PaymentOutcome.PAID_OUT: PaymentPaidOut,
    PaymentOutcome.FAILED: PaymentFailed,
    PaymentOutcome.CANCELLED: PaymentCancelled,
    PaymentOutcome.CHARGED_BACK: PaymentChargedBack,
}
MANDATES: dict[str, MandateStatus] = {
    "pending_customer_approval": MandateStatus.PENDING,
    "pending_submission": MandateStatus.PENDING,
    "submitted": MandateStatus.PENDING,
    "active": MandateStatus.ACTIVE,
    "suspended_by_payer": MandateStatus.BLOCKED,
    "blocked": MandateStatus.BLOCKED,
    "failed": MandateStatus.FAILED,
    "cancelled": MandateStatus.CANCELLED,
    "expired": MandateStatus.EXPIRED,
    "consumed": MandateStatus.EXPIRED,
}
# Status of a mandate -> the actions of the events that tell of it.
ABOUT: dict[str, frozenset[str]] = {status: frozenset({status}) for status in MANDATES}
ABOUT["active"] |= {"reinstated", "transferred"}
ABOUT["cancelled"] |= {"replaced"}

_log = structlog.get_logger(__name__)


class DirectDebitWebhooks:
    """WebhookSource and EventLog of one GoCardless creditor."""

    def __init__(self, debits: DirectDebits, secrets: Sequence[str]) -> None:
        """The client, the endpoint's secrets: the present one and, while it is changed, the one before."""
        self._debits = debits
        # The vendor's own check takes an empty secret, with which anybody can sign.
        self._secrets = [secret.encode() for secret in secrets if secret.strip()]

    def verify(self, body: bytes, headers: Mapping[str, str]) -> list[ReceivedEvent]:
        """Raw body and headers -> its events. Raises BadSignature."""
        given = {name.lower(): value for name, value in headers.items()}.get(HEADER) or ""
        signature = given.encode("utf-8", "surrogateescape")
        digests = [hmac.digest(secret, body, "sha256").hex().encode() for secret in self._secrets]
        if not any(hmac.compare_digest(digest, signature) for digest in digests):
            raise BadSignature("The webhook is not signed with a secret of ours.")
        try:
            events = orjson.loads(body)["events"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadSignature("The webhook is signed, but it holds no events.") from error
        if not isinstance(events, list):
            raise BadSignature("The webhook is signed, but its events are no list.")
        return [received for event in events if (received := _reduced(event)) is not None]

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """A stored event -> what it means here. Raises Refused, Unavailable."""
        translate = _translator(event.event_type)
        if translate is None or event.object_id is None:
            return []
        fact = await translate(self, event.body, event.event_type.partition(".")[2])
        if isinstance(fact, MandateChanged) and fact.replaced_by is not None:
            by = await self._mandate(fact.replaced_by, {**event.body, "details": {}})
            return [fact, by] if by is not None else [fact]
        return [] if fact is None else [fact]

    async def missed(self, since: datetime, after: str | None) -> AsyncIterator[EventPage]:
        """The events from an instant on, newest first: those somebody cares for. Raises Refused, Unavailable."""
        async for page in self._debits.events(since, after):
            received = [one for one in map(_reduced, page) if one is not None and _translator(one.event_type)]
            yield EventPage(received, page[-1]["id"] if page else None)

    async def read(self, kind: Mirrored, external_id: str) -> list[Fact]:
        """A mandate as it stands now; nothing else of GoCardless is mirrored. Raises Refused, Unavailable."""
        if kind is not Mirrored.MANDATE:
            return []
        fact = await self._mandate(external_id, {"created_at": datetime.now(UTC).isoformat(), "links": {}})
        return [] if fact is None else [fact]

    async def payment(self, event: Json, action: str) -> Fact | None:
        """An event of a payment -> what became of it; one that waits to be sent is with its provider."""
        payment = await self._debits.payment(event["links"]["payment"])
        if payment["status"] not in OUTCOMES:
            _log.warning("unknown state", provider=WHO, kind="payment", state=payment["status"])
            return None
        outcome = OUTCOMES[payment["status"]] or PaymentOutcome.SUBMITTED
        # This event may be old: why it failed, and whether it is tried again, stands in the newest one about that.
        own = event.get("details") or {} if action in TELLING.get(outcome, ()) else {}
        details = await self._debits.last_details(payment["id"], outcome) or own
        return PAYMENTS[outcome](
            payment_reference=(payment.get("metadata") or {}).get("payment_id"),
            provider=WHO,
            external_id=payment["id"],
            occurred_at=_occurred_at(event),
            cause=details.get("cause"),
            will_attempt_retry=details.get("will_attempt_retry") is True,
        )

    async def refund(self, event: Json, _action: str) -> Fact | None:
        """An event of a refund -> how it stands; None for one of others' payments, or of no payment."""
        refund = await self._debits.refund_now(event["links"]["refund"])
        of = (refund.get("links") or {}).get("payment")
        known = refunded(refund)
        if of is None or known.outcome is None:
            return None
        payment = await self._debits.payment(of)
        ours = (refund.get("metadata") or {}).get("refund_id")
        payment_id = (payment.get("metadata") or {}).get("payment_id")
        if ours is None and payment_id is None:
            return None
        return RefundFact(
            outcome=known.outcome,
            refund_reference=ours,
            payment_reference=payment_id,
            provider=WHO,
            external_id=refund["id"],
            payment_external_id=of,
            amount=refund["amount"],
            currency=refund["currency"],
            occurred_at=_occurred_at(event),
            cause=known.failure,
        )

    async def payout(self, event: Json, _action: str) -> Fact | None:
        """A payout that was sent -> what was kept of its payments; None where nothing was."""
        reference = event["links"]["payout"]
        currency, kept = await self._debits.kept_of(reference)
        if not kept:
            return None
        return FeesTaken(
            provider=WHO,
            reference=reference,
            currency=currency,
            fees=tuple(sorted(kept.items())),
            occurred_at=_occurred_at(event),
        )

    async def mandate(self, event: Json, _action: str) -> Fact | None:
        """An event of a mandate -> how it stands."""
        return await self._mandate(event["links"]["mandate"], event)

    async def fulfilled(self, event: Json, _action: str) -> Fact | None:
        """A signed billing request -> the mandate that came of it; None where it was for a payment only."""
        request = await self._debits.billing_request(event["links"]["billing_request"])
        mandate = (request.get("links") or {}).get("mandate_request_mandate")
        if mandate is None:
            return None
        user = (request.get("metadata") or {}).get("user_id")
        return await self._mandate(mandate, event, billing_request_id=request["id"], user_reference=user)

    async def _mandate(
        self, reference: str, event: Json, billing_request_id: str | None = None, user_reference: str | None = None
    ) -> Fact | None:
        mandate = await self._debits.mandate(reference)
        status = MANDATES.get(mandate["status"])
        if status is None:
            _log.warning("unknown state", provider=WHO, kind="mandate", state=mandate["status"])
            return None
        links = mandate.get("links") or {}
        # A late event about an earlier state must not lend its origin to this one.
        details = event.get("details") or {} if event.get("action") in ABOUT.get(mandate["status"], ()) else {}
        told = (mandate.get("metadata") or {}) | (event.get("resource_metadata") or {})
        return MandateChanged(
            provider=WHO,
            external_id=mandate["id"],
            customer_id=links.get("customer"),
            user_reference=user_reference or told.get("user_id"),
            status=status,
            occurred_at=_occurred_at(event),
            origin=details.get("origin"),
            cause=details.get("cause"),
            replaced_by=links.get("new_mandate") or event["links"].get("new_mandate"),
            billing_request_id=billing_request_id,
        )


Translate = Callable[[DirectDebitWebhooks, Json, str], Awaitable[Fact | None]]

# (resource type, action; * for any) -> who translates it; nobody cares about the others.
TRANSLATE: dict[tuple[str, str], Translate] = {
    ("payments", "*"): DirectDebitWebhooks.payment,
    ("refunds", "*"): DirectDebitWebhooks.refund,
    ("payouts", "paid"): DirectDebitWebhooks.payout,
    ("mandates", "*"): DirectDebitWebhooks.mandate,
    ("billing_requests", "fulfilled"): DirectDebitWebhooks.fulfilled,
}
# Resource type -> the name its id has among the links.
LINK = {"payments": "payment", "mandates": "mandate", "billing_requests": "billing_request", "refunds": "refund"}


def _translator(event_type: str) -> Translate | None:
    kind, _, action = event_type.partition(".")
    return TRANSLATE.get((kind, action)) or TRANSLATE.get((kind, "*"))


def _reduced(event: Any) -> ReceivedEvent | None:
    """One event -> what is stored of it; None for one that has no id, which must not hold up the others."""
    if not isinstance(event, dict) or not isinstance(event.get("id"), str):
        _log.error("event without an id dropped", provider=WHO)
        return None
    kind, links = str(event.get("resource_type")), event.get("links")
    object_id = links.get(LINK.get(kind, kind.removesuffix("s"))) if isinstance(links, dict) else None
    return ReceivedEvent(
        event_id=event["id"],
        event_type=f"{kind}.{event.get('action')}",
        object_id=object_id if isinstance(object_id, str) else None,
        body=event,
    )


def _occurred_at(event: Json) -> datetime:
    return datetime.fromisoformat(event["created_at"]).astimezone(UTC)
