"""Stripe's webhooks: is it signed, and what does it mean by the latest state of its object.

Snapshot events and thin ones are reduced to the same four things; both are acted on by fetching the object, so that
their order, their version and their age do not matter.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
import stripe
import structlog

from integrations.stripe import facts, invoices
from integrations.stripe.client import MOST_ON_A_PAGE, StripeAccount
from integrations.stripe.reading import WITHDRAWN
from models.ports import BadSignature, Clock, EventPage, ReceivedEvent, Refused
from models.rules.facts import Fact, InvoiceGone, Mirrored

TOLERANCE_SECONDS = 300
HEADER = "stripe-signature"
Json = dict[str, Any]

_log = structlog.get_logger(__name__)


class StripeWebhooks:
    """WebhookSource and EventLog of one Stripe account."""

    def __init__(self, account: StripeAccount, secrets: Sequence[str], clock: Clock) -> None:
        """The account, its endpoint's signing secrets (the present one and, while it is rolled, the one before)."""
        self._account, self._clock = account, clock
        self._secrets = [secret for secret in secrets if secret.strip()]

    def verify(self, body: bytes, headers: Mapping[str, str]) -> list[ReceivedEvent]:
        """Raw body and headers -> the one event inside. Raises BadSignature."""
        header = {name.lower(): value for name, value in headers.items()}.get(HEADER)
        if not any(_signed(body, header, secret) for secret in self._secrets):
            raise BadSignature("The webhook is not signed with a secret of ours, or too old.")
        try:
            event = orjson.loads(body)
        except ValueError as error:
            raise BadSignature("The webhook is signed, but its body is not JSON.") from error
        return [_reduced(event)]

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """A stored event -> what it means here. Raises Refused, Unavailable."""
        translate = _translator(event.event_type)
        if translate is None or event.object_id is None:
            return []
        if event.body.get("livemode") not in (None, self._account.live):
            _log.warning("event of the other mode ignored", event_id=event.event_id, event_type=event.event_type)
            return []
        return await self._found(translate(self, event.object_id, _occurred_at(event)))

    async def missed(self, since: datetime, after: str | None) -> AsyncIterator[EventPage]:
        """The list of events from an instant on, newest first: those somebody cares for; Stripe keeps thirty days.

        Raises Refused, Unavailable.
        """
        wanted: Any = {"created": {"gte": int(since.timestamp())}, "limit": MOST_ON_A_PAGE}
        wanted |= {"starting_after": after} if after else {}
        async for page in self._account.pages(lambda options: self._account.v1.events.list_async(wanted, options)):
            received = [_reduced(event) for event in page if _translator(event["type"])]
            yield EventPage(received, page[-1]["id"] if page else None)

    # -- one object each ---------------------------------------------------------------------------------------------

    async def payment(self, object_id: str, occurred_at: datetime) -> Sequence[Fact | None]:
        """Payment intent -> what became of our payment, and what Stripe kept of it."""
        retrieve = self._account.v1.payment_intents.retrieve_async
        intent = await self._account.fetch(retrieve, object_id, expand=["latest_charge.balance_transaction"])
        disputed = await self._account.taken_back(intent)  # which the intent itself does not show
        news = facts.dispute(disputed, intent, occurred_at) if disputed else facts.payment(intent, occurred_at)
        return [news, facts.fees(intent, occurred_at)]

    async def dispute(self, object_id: str, occurred_at: datetime) -> Sequence[Fact | None]:
        """Dispute whose money was withdrawn or given back -> what that makes of our payment (R12), and its invoices."""
        disputed = await self._account.fetch(self._account.v1.disputes.retrieve_async, object_id)
        intent = facts.reference(disputed.get("payment_intent"))
        if intent is None:
            return []
        fact = facts.dispute(disputed, await self._account.intent(intent), occurred_at)
        return [fact, *await self._invoices_of(disputed)]

    async def checkout(self, object_id: str, occurred_at: datetime) -> Sequence[Fact | None]:
        """Checkout session -> the finished checkout, and that it sold a subscription."""
        v1 = self._account.v1
        session = await self._account.fetch(v1.checkout.sessions.retrieve_async, object_id)
        sold = facts.reference(session.get("subscription"))
        return [facts.checkout(session, occurred_at), facts.touched(Mirrored.SUBSCRIPTION, sold)]

    async def subscription(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """Subscription -> how it stands, and whose it is as far as it or the checkout that sold it says."""
        v1, seen_at = self._account.v1, self._clock.now()
        sub = await self._account.fetch(v1.subscriptions.retrieve_async, object_id, expand=["customer"])
        items = sub["items"]["data"]
        if sub["items"].get("has_more"):
            items = [
                item
                async for item in self._account.listed(
                    lambda options: v1.subscription_items.list_async(
                        {"subscription": object_id, "limit": MOST_ON_A_PAGE}, options
                    )
                )
            ]
        return [facts.subscription(sub, items, seen_at, await self._sold_to(sub))]

    async def invoice(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """Invoice -> how it stands, with all its lines and what was paid back of it."""
        v1, seen_at = self._account.v1, self._clock.now()
        whole = await self._account.fetch(v1.invoices.retrieve_async, object_id)
        lines = whole["lines"]["data"]
        if whole["lines"]["has_more"]:
            lines = [
                line
                async for line in self._account.listed(
                    lambda options: v1.invoices.line_items.list_async(object_id, {"limit": MOST_ON_A_PAGE}, options)
                )
            ]
        notes = await self._notes(object_id) if any(map(whole.get, invoices.NOTED)) else []
        refunded = await self._given_back(object_id) if whole["amount_paid"] else 0
        refunded += sum(map(invoices.out_of_band, notes))
        return [invoices.invoice(whole, lines, refunded, seen_at, noted=sum(map(invoices.to_balance, notes)))]

    async def invoice_deleted(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """A draft that was thrown away -> that it is gone; there is nothing left to fetch."""
        return [InvoiceGone(provider=facts.WHO, external_id=object_id)]

    async def invoice_payment(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """Payment of an invoice -> the invoice."""
        made = await self._account.fetch(self._account.v1.invoice_payments.retrieve_async, object_id)
        return [facts.touched(Mirrored.INVOICE, facts.reference(made["invoice"]))]

    async def credit_note(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """Credit note -> the invoice it is about."""
        note = await self._account.fetch(self._account.v1.credit_notes.retrieve_async, object_id)
        return [facts.touched(Mirrored.INVOICE, facts.reference(note["invoice"]))]

    async def refund(self, object_id: str, occurred_at: datetime) -> Sequence[Fact | None]:
        """Refund -> how it stands where it is of a payment of ours, and the invoices it was paid back of."""
        v1 = self._account.v1
        refund = await self._account.fetch(v1.refunds.retrieve_async, object_id, expand=["payment_intent"])
        return [facts.refund(refund, occurred_at), *await self._invoices_of(refund)]

    async def charge(self, object_id: str, _occurred_at: datetime) -> Sequence[Fact | None]:
        """Charge -> the invoices it paid."""
        charge = await self._account.fetch(self._account.v1.charges.retrieve_async, object_id)
        return await self._invoices_of(charge)

    async def read(self, kind: Mirrored, external_id: str) -> list[Fact]:
        """One mirrored object as it is now; gone where there is none. Raises Refused, Unavailable."""
        translate = {Mirrored.INVOICE: self.invoice, Mirrored.SUBSCRIPTION: self.subscription}.get(kind)
        return await self._found(translate(external_id, self._clock.now())) if translate else []

    async def _found(self, translated: Awaitable[Sequence[Fact | None]]) -> list[Fact]:
        try:
            return [fact for fact in await translated if fact is not None]
        except Refused as refused:
            if refused.code != "resource_missing":
                raise
            return []  # deleted since: a draft invoice, for one

    # -- reads several of them need ----------------------------------------------------------------------------------

    async def _sold_to(self, sub: Json) -> str | None:
        """A subscription that does not say itself whose it is -> the reference of the checkout that sold it."""
        if (sub.get("metadata") or {}).get("user_id"):
            return None
        of: Any = {"subscription": sub["id"], "limit": 1}
        v1 = self._account.v1
        sessions = self._account.listed(lambda options: v1.checkout.sessions.list_async(of, options))
        async for session in sessions:
            found: str | None = session.get("client_reference_id")
            return found
        return None

    async def _given_back(self, invoice: str) -> int:
        """Invoice -> what was paid back, or taken back by a bank, of its payments; never more than each paid here.

        A refund is counted by itself, whatever else tells of it: its charge, a credit note.
        """
        v1, total = self._account.v1, 0
        made = self._account.listed(
            lambda options: v1.invoice_payments.list_async(
                {"invoice": invoice, "status": "paid", "limit": MOST_ON_A_PAGE}, options
            )
        )
        async for one in made:
            kind = one["payment"]["type"]
            if kind not in ("payment_intent", "charge"):
                continue  # paid outside of Stripe: so would be its refund
            paid_by: Any = {kind: facts.reference(one["payment"][kind]), "limit": MOST_ON_A_PAGE}
            refunds = self._account.listed(lambda options, of=paid_by: v1.refunds.list_async(of, options))
            back = [refund["amount"] async for refund in refunds if refund["status"] == "succeeded"]
            disputes = self._account.listed(lambda options, of=paid_by: v1.disputes.list_async(of, options))
            back += [dispute["amount"] async for dispute in disputes if dispute["status"] in WITHDRAWN]
            total += min(sum(back), one["amount_paid"] or 0)
        return total

    async def _notes(self, invoice: str) -> list[Json]:
        v1 = self._account.v1
        of: Any = {"invoice": invoice, "limit": MOST_ON_A_PAGE}
        return [note async for note in self._account.listed(lambda options: v1.credit_notes.list_async(of, options))]

    async def _invoices_of(self, paid: Json) -> list[Fact | None]:
        """Refund, charge or dispute -> its invoices, by way of the payment intent: none names an invoice itself."""
        intent = facts.reference(paid.get("payment_intent"))
        if intent is None:
            return []
        of: Any = {"payment": {"type": "payment_intent", "payment_intent": intent}, "limit": MOST_ON_A_PAGE}
        links = self._account.listed(lambda options: self._account.v1.invoice_payments.list_async(of, options))
        invoices = dict.fromkeys([facts.reference(link["invoice"]) async for link in links])
        return [facts.touched(Mirrored.INVOICE, invoice) for invoice in invoices]


Translate = Callable[[StripeWebhooks, str, datetime], Awaitable[Sequence[Fact | None]]]

# Exact event type, else its beginning -> who translates it; nobody cares about the others.
EXACTLY: dict[str, Translate | None] = {
    "checkout.session.completed": StripeWebhooks.checkout,
    "checkout.session.async_payment_succeeded": StripeWebhooks.checkout,
    "charge.refunded": StripeWebhooks.charge,
    "charge.dispute.funds_withdrawn": StripeWebhooks.dispute,  # an inquiry alone moves no money
    "charge.dispute.funds_reinstated": StripeWebhooks.dispute,
    "invoice.upcoming": None,  # a forecast, without an object
    "invoice.deleted": StripeWebhooks.invoice_deleted,
}
BEGINNING: dict[str, Translate] = {
    "payment_intent.": StripeWebhooks.payment,
    "customer.subscription.": StripeWebhooks.subscription,
    "invoice.": StripeWebhooks.invoice,
    "invoice_payment.": StripeWebhooks.invoice_payment,
    "credit_note.": StripeWebhooks.credit_note,
    "refund.": StripeWebhooks.refund,
}


def _translator(event_type: str) -> Translate | None:
    if event_type in EXACTLY:
        return EXACTLY[event_type]
    return next((translate for start, translate in BEGINNING.items() if event_type.startswith(start)), None)


def _signed(body: bytes, header: str | None, secret: str) -> bool:
    """Whether the library takes the signature, and its time is not ahead of ours, which the library would allow."""
    try:
        stripe.WebhookSignature.verify_header(body, header, secret, TOLERANCE_SECONDS)
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        return False  # the last two: a body that is not UTF-8, a signature that is not ASCII
    stamp = next(part[2:] for part in (header or "").split(",") if part.startswith("t="))
    return int(stamp) <= time.time() + TOLERANCE_SECONDS


def _reduced(event: Any) -> ReceivedEvent:
    """A snapshot or thin event -> what is stored of it; where both are switched on, both have the snapshot's id."""
    if not isinstance(event, dict) or not isinstance(event.get("id"), str) or not isinstance(event.get("type"), str):
        raise BadSignature("The webhook is signed, but it is no event.")
    if event.get("object") == "v2.core.event":
        subject, twin = event.get("related_object"), event.get("snapshot_event")
    else:
        data = event.get("data")
        subject, twin = data.get("object") if isinstance(data, dict) else None, None
    object_id = subject.get("id") if isinstance(subject, dict) else None
    return ReceivedEvent(
        event_id=twin if isinstance(twin, str) else event["id"],
        event_type=event["type"].removeprefix("v1."),
        object_id=object_id if isinstance(object_id, str) else None,
        body=event,
    )


def _occurred_at(event: ReceivedEvent) -> datetime:
    """An event's `created`: seconds in a snapshot, ISO text in a thin one."""
    created = event.body["created"]
    if isinstance(created, int):
        return datetime.fromtimestamp(created, UTC)
    return datetime.fromisoformat(created).astimezone(UTC)
