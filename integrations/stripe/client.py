"""Stripe's API for one account: one-off card payments and subscriptions sold by payment links."""

from collections.abc import AsyncIterator, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlencode

import httpx
import stripe

from integrations.http import ANSWER_SECONDS, CONNECT_SECONDS, Effect
from integrations.pace import Free
from integrations.stripe.errors import answered, decline_code, failed_intent
from integrations.stripe.reading import (
    WITHDRAWN,
    collected,
    declined_card,
    distance,
    ordered,
    ordered_back,
    plain,
    refunded,
)
from models.ports import CONFLICT, Collected, Collection, Refunded, RefundOrder, Refused
from models.rules.states import PaymentOutcome

API_BASE = "https://api.stripe.com"
READ_RETRIES = 2
MOST_ON_A_PAGE = 100
Json = dict[str, Any]
T = TypeVar("T")

# It would write an id of this machine to a file from inside the event loop.
stripe.enable_telemetry = False


class StripeAccount:
    """PaymentGateway and SubscriptionSeller of one Stripe account; it belongs to the event loop it was made in."""

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str = API_BASE,
        answer_seconds: float = ANSWER_SECONDS,
        pace: Free | None = None,
    ) -> None:
        """Secret key, address of the API, seconds to wait for an answer, the gate of each call."""
        self._pace = pace or Free()
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
        call = self._client.v1.payment_intents.create_async(params, {"idempotency_key": order.key})
        return await _under_our_key(self._charged(call), self.look_up(order))

    async def look_up(self, order: Collection) -> Collected | None:
        """The customer's payment intent with our payment's id.

        Raises Refused (CONFLICT where it is for another amount or customer), Unavailable.
        """
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
        return await self.status(ordered(order, min(made, key=distance))["id"]) if made else None

    async def status(self, reference: str) -> Collected:
        """What became of a payment intent, also where a bank took its money back. Raises Refused, Unavailable."""
        intent = await self.intent(reference)
        found, disputed = collected(intent), await self.taken_back(intent)
        if disputed is None:
            return found
        return replace(found, outcome=PaymentOutcome.CHARGED_BACK, failure=disputed.get("reason"))

    async def retry(self, reference: str, key: str) -> Collected:
        """Confirm the same intent again, with the card that is the customer's default by now, else the one declined.

        An intent that is no longer waiting for a card is only reported. Raises Refused, Unavailable, OutcomeUnknown.
        """
        intent = await self.intent(reference)
        if intent["status"] != "requires_payment_method":
            return collected(intent)
        card = await self._default_card(intent.get("customer")) or declined_card(intent)
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
        return collected(plain(await self._asked(made, Effect.WRITE)))

    async def refund(self, order: RefundOrder) -> Refunded:
        """Give money back to the card it came from. Raises Refused, Unavailable, OutcomeUnknown."""
        params: stripe.params.RefundCreateParams = {
            "payment_intent": order.payment_reference,
            "amount": order.amount,
            "metadata": {**order.metadata, "refund_id": str(order.refund_id)},
        }
        call = self._client.v1.refunds.create_async(params, {"idempotency_key": order.key})

        async def given_back() -> Refunded:
            return refunded(plain(await self._asked(call, Effect.WRITE)))

        return await _under_our_key(given_back(), self.find_refund(order))

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        """The payment intent's refund with our refund's id. Raises Refused (CONFLICT as `look_up`), Unavailable."""
        of: stripe.params.RefundListParams = {"payment_intent": order.payment_reference, "limit": MOST_ON_A_PAGE}
        async for one in self.listed(lambda options: self._client.v1.refunds.list_async(of, options)):
            if (one.get("metadata") or {}).get("refund_id") == str(order.refund_id):
                return refunded(ordered_back(order, one))
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
        return (await self._asked(made, Effect.WRITE)).url

    # -- what both sides and the webhooks ask ------------------------------------------------------------------------

    async def intent(self, reference: str) -> Json:
        """Id -> the payment intent as it is now, with its charge."""
        return await self.fetch(self._client.v1.payment_intents.retrieve_async, reference, expand=["latest_charge"])

    async def taken_back(self, intent: Json) -> Json | None:
        """A payment intent with its charge -> the dispute by which a bank has all its money, None where it is ours."""
        charge = intent.get("latest_charge")
        if not isinstance(charge, dict) or not charge.get("disputed"):
            return None
        of: stripe.params.DisputeListParams = {"payment_intent": intent["id"], "limit": MOST_ON_A_PAGE}
        disputes = self.listed(lambda options: self._client.v1.disputes.list_async(of, options))
        whole = (one async for one in disputes if one["status"] in WITHDRAWN and one["amount"] >= intent["amount"])
        return await anext(whole, None)

    async def fetch(self, retrieve: Any, reference: str, **params: Any) -> Json:
        """(a `retrieve_async`, id) -> the object as plain JSON, in the version this library is pinned to."""
        call = retrieve(reference, params, {"max_network_retries": READ_RETRIES})
        return plain(await self._asked(call, Effect.READ))

    async def listed(self, first_page: Any) -> AsyncIterator[Json]:
        """(options -> a `list_async` call) -> every object of every page."""
        async for page in self.pages(first_page):
            for one in page:
                yield one

    async def pages(self, first_page: Any) -> AsyncIterator[list[Json]]:
        """(options -> a `list_async` call) -> the objects page by page."""
        page = await self._asked(first_page({"max_network_retries": READ_RETRIES}), Effect.READ)
        while True:
            yield [plain(one) for one in page.data]
            if not page.has_more:
                return
            page = await self._asked(page.next_page_async(), Effect.READ)

    async def _asked(self, call: Coroutine[Any, Any, T], effect: Effect) -> T:
        """One call of the library, in its turn -> its result. Raises as `answered` does."""
        try:
            return await self._pace(lambda: answered(call, effect))
        finally:
            call.close()  # it was never begun where the gate stayed shut

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
            return collected(plain(await self._asked(call, Effect.WRITE)))
        except stripe.CardError as declined:
            intent = failed_intent(declined) or {}
            return Collected(str(intent["id"]), PaymentOutcome.FAILED, decline_code(declined))


async def _under_our_key(made: Coroutine[Any, Any, T], found: Coroutine[Any, Any, T | None]) -> T:
    """Make something -> it, or where our key was used with other words, what was made then if that is what is ordered.

    The words may differ in what does not matter, as in a card changed meanwhile. Raises Refused CONFLICT.
    """
    try:
        return await made
    except Refused as refused:
        known = await found if refused.code == CONFLICT else None
        if known is None:
            raise
        return known
    finally:
        found.close()
