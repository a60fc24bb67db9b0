"""Stripe's API for one account: one-off card payments and subscriptions sold by payment links."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import stripe

from integrations.http import ANSWER_SECONDS, CONNECT_SECONDS, Effect
from integrations.stripe.errors import answered, decline_code, failed_intent
from models.ports import Collected, Collection, Refunded, RefundOrder, Refused
from models.rules.states import PaymentOutcome, RefundOutcome

API_BASE = "https://api.stripe.com"
READ_RETRIES = 2
MOST_ON_A_PAGE = 100
Json = dict[str, Any]

# Status of a payment intent -> what it means for a payment nobody sits in front of; None while it is not certain.
OUTCOMES: dict[str, PaymentOutcome | None] = {
    "succeeded": PaymentOutcome.CONFIRMED,
    "processing": None,
    "requires_capture": None,
    "requires_confirmation": None,
    "requires_action": PaymentOutcome.FAILED,  # the payer would have to be present
    "requires_payment_method": PaymentOutcome.FAILED,
    "canceled": PaymentOutcome.CANCELLED,
}
# Status of a refund -> what it means.
REFUNDS: dict[str, RefundOutcome] = {
    "pending": RefundOutcome.SUBMITTED,
    "requires_action": RefundOutcome.SUBMITTED,  # the payer has to say where to
    "succeeded": RefundOutcome.SUCCEEDED,
    "failed": RefundOutcome.FAILED,
    "canceled": RefundOutcome.FAILED,
}
# Of several intents for one payment the one nearest to money counts.
NEAREST = ("succeeded", "processing", "requires_capture", "requires_action", "requires_confirmation")

# It would write an id of this machine to a file from inside the event loop.
stripe.enable_telemetry = False


class StripeAccount:
    """PaymentGateway and SubscriptionSeller of one Stripe account; it belongs to the event loop it was made in."""

    def __init__(self, api_key: str, *, api_base: str = API_BASE, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Secret key, address of the API, seconds to wait for an answer."""
        self.live = "_live_" in api_key
        self._http = stripe.HTTPXClient(timeout=httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS))
        self._client = stripe.StripeClient(
            api_key,
            http_client=self._http,
            base_addresses={"api": api_base},
            max_network_retries=0,  # a write is sent once: its job looks before it asks again
        )

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close_async()  # type: ignore[no-untyped-call]  # the library leaves this one untyped

    # -- PaymentGateway ----------------------------------------------------------------------------------------------

    async def collect(self, order: Collection) -> Collected:
        """Charge the card at once, without the payer. Raises Refused, Unavailable, OutcomeUnknown."""
        if order.customer is None or order.payment_method is None:
            raise Refused("There is no card to charge.", code="NO_PAYMENT_METHOD")
        params: stripe.params.PaymentIntentCreateParams = {
            "amount": order.amount,
            "currency": order.currency.lower(),
            "customer": order.customer,
            "payment_method": order.payment_method,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
            "description": order.description,
            "metadata": {**order.metadata, "payment_id": str(order.payment_id)},
            "confirm": True,
            "off_session": True,
        }
        return await self._charged(self._client.v1.payment_intents.create_async(params, {"idempotency_key": order.key}))

    async def look_up(self, order: Collection) -> Collected | None:
        """The customer's payment intent with our payment's id. Raises Refused, Unavailable."""
        if order.customer is None:
            return None  # `collect` refuses it, so nothing was ever sent
        made = [
            intent
            async for intent in self.listed(
                lambda options: self._client.v1.payment_intents.list_async(
                    {"customer": order.customer or "", "limit": MOST_ON_A_PAGE}, options
                )
            )
            if (intent.get("metadata") or {}).get("payment_id") == str(order.payment_id)
        ]
        return collected(min(made, key=_distance)) if made else None

    async def status(self, reference: str) -> Collected:
        """What became of a payment intent. Raises Refused, Unavailable."""
        return collected(await self.intent(reference))

    async def retry(self, reference: str, key: str) -> Collected:
        """Confirm the same intent again, with the card that is the customer's default by now, else the one declined.

        An intent that is no longer waiting for a card is only reported. Raises Refused, Unavailable, OutcomeUnknown.
        """
        intent = await self.intent(reference)
        if intent["status"] != "requires_payment_method":
            return collected(intent)
        card = await self._default_card(intent.get("customer")) or _declined_card(intent)
        if card is None:
            raise Refused("There is no card to charge.", code="NO_PAYMENT_METHOD")
        confirm = self._client.v1.payment_intents.confirm_async(
            reference, {"payment_method": card, "off_session": True}, {"idempotency_key": key}
        )
        return await self._charged(confirm)

    async def cancel(self, reference: str, key: str) -> Collected:
        """Cancel an intent that took nothing yet.

        Raises Refused (code payment_intent_unexpected_state) for any other, Unavailable, OutcomeUnknown.
        """
        made = self._client.v1.payment_intents.cancel_async(reference, {}, {"idempotency_key": key})
        return collected(plain(await answered(made, Effect.WRITE)))

    async def refund(self, order: RefundOrder) -> Refunded:
        """Give money back to the card it came from. Raises Refused, Unavailable, OutcomeUnknown."""
        params: stripe.params.RefundCreateParams = {
            "payment_intent": order.payment_reference,
            "amount": order.amount,
            "metadata": {**order.metadata, "refund_id": str(order.refund_id)},
        }
        made = self._client.v1.refunds.create_async(params, {"idempotency_key": order.key})
        return refunded(plain(await answered(made, Effect.WRITE)))

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        """The payment intent's refund with our refund's id. Raises Refused, Unavailable."""
        of: stripe.params.RefundListParams = {"payment_intent": order.payment_reference, "limit": MOST_ON_A_PAGE}
        async for one in self.listed(lambda options: self._client.v1.refunds.list_async(of, options)):
            if (one.get("metadata") or {}).get("refund_id") == str(order.refund_id):
                return refunded(one)
        return None

    async def refund_status(self, reference: str) -> Refunded:
        """What became of a refund. Raises Refused, Unavailable."""
        return refunded(await self.fetch(self._client.v1.refunds.retrieve_async, reference))

    # -- SubscriptionSeller ------------------------------------------------------------------------------------------

    async def payment_link(
        self, *, product: str, metadata: Mapping[str, str], reference: str | None, email: str | None, key: str
    ) -> str:
        """The link that sells the product's recurring price, made once and shared; the address names who signs up.

        Raises Refused (code NO_RECURRING_PRICE), Unavailable, OutcomeUnknown.
        """
        price = await self._recurring_price(product)
        known = self.listed(
            lambda options: self._client.v1.payment_links.list_async({"active": True, "limit": MOST_ON_A_PAGE}, options)
        )
        url: str | None = None
        async for link in known:
            if (link.get("metadata") or {}).get("price") == price:
                url = link["url"]
                break
        if url is None:
            url = await self._new_link({**metadata, "product": product, "price": price}, key)
        told = {"client_reference_id": reference, "prefilled_email": email}
        query = urlencode({name: value for name, value in told.items() if value})
        return f"{url}?{query}" if query else url

    async def _recurring_price(self, product: str) -> str:
        """Product -> its default price where that recurs, else the newest active one that does."""
        default = (await self.fetch(self._client.v1.products.retrieve_async, product)).get("default_price")
        prices = [
            price
            async for price in self.listed(
                lambda options: self._client.v1.prices.list_async(
                    {"product": product, "active": True, "type": "recurring", "limit": MOST_ON_A_PAGE}, options
                )
            )
        ]
        if not prices:
            raise Refused(f"The product {product} has no recurring price.", code="NO_RECURRING_PRICE")
        prices.sort(key=lambda price: (price["id"] != default, -price["created"]))
        return str(prices[0]["id"])

    async def _new_link(self, ours: dict[str, str], key: str) -> str:
        params: stripe.params.PaymentLinkCreateParams = {
            "line_items": [{"price": ours["price"], "quantity": 1}],
            "metadata": ours,
            "subscription_data": {"metadata": ours},
        }
        made = self._client.v1.payment_links.create_async(params, {"idempotency_key": key})
        return (await answered(made, Effect.WRITE)).url

    # -- what both sides and the webhooks ask ------------------------------------------------------------------------

    async def intent(self, reference: str) -> Json:
        """Id -> the payment intent as it is now."""
        return await self.fetch(self._client.v1.payment_intents.retrieve_async, reference)

    async def fetch(self, retrieve: Any, reference: str, **params: Any) -> Json:
        """(a `retrieve_async`, id) -> the object as plain JSON, in the version this library is pinned to."""
        call = retrieve(reference, params, {"max_network_retries": READ_RETRIES})
        return plain(await answered(call, Effect.READ))

    async def listed(self, first_page: Any) -> AsyncIterator[Json]:
        """(options -> a `list_async` call) -> every object of every page."""
        page = await answered(first_page({"max_network_retries": READ_RETRIES}), Effect.READ)
        while True:
            for one in page.data:
                yield plain(one)
            if not page.has_more:
                return
            page = await answered(page.next_page_async(), Effect.READ)

    @property
    def v1(self) -> stripe.V1Services:
        """The library's own services, for reads through `fetch` and `listed`."""
        return self._client.v1

    async def _default_card(self, customer: str | None) -> str | None:
        if customer is None:
            return None
        found = await self.fetch(self._client.v1.customers.retrieve_async, customer)
        default: str | None = (found.get("invoice_settings") or {}).get("default_payment_method")
        return default

    async def _charged(self, call: Any) -> Collected:
        """A call that confirms an intent -> what came of it; a declined card is an outcome."""
        try:
            return collected(plain(await answered(call, Effect.WRITE)))
        except stripe.CardError as declined:
            intent = failed_intent(declined) or {}
            return Collected(str(intent["id"]), PaymentOutcome.FAILED, decline_code(declined))


def plain(obj: Any) -> Json:
    """One of the library's objects -> plain JSON values."""
    found: Json = obj.to_dict(for_json=True)
    return found


def collected(intent: Json) -> Collected:
    """A payment intent -> what the port tells of it."""
    outcome = OUTCOMES.get(intent["status"])
    failed = outcome is PaymentOutcome.FAILED
    return Collected(intent["id"], outcome, failure(intent) if failed else None)


def refunded(refund: Json) -> Refunded:
    """A refund -> what the port tells of it."""
    outcome = REFUNDS.get(refund["status"])
    failed = outcome is RefundOutcome.FAILED
    return Refunded(refund["id"], outcome, (refund.get("failure_reason") or refund["status"]) if failed else None)


def failure(intent: Json) -> str | None:
    """A payment intent -> why its last attempt failed: the issuer's word, else Stripe's."""
    error = intent.get("last_payment_error") or {}
    needs_payer = "authentication_required" if intent["status"] == "requires_action" else None
    said: str | None = error.get("decline_code") or error.get("code") or needs_payer
    return said


def _declined_card(intent: Json) -> str | None:
    method = (intent.get("last_payment_error") or {}).get("payment_method") or intent.get("payment_method")
    return method["id"] if isinstance(method, dict) else method


def _distance(intent: Json) -> int:
    """How far from money an intent is; the list is newest first, so the newest of equals wins."""
    status = intent["status"]
    return NEAREST.index(status) if status in NEAREST else len(NEAREST)
