"""GoCardless's API for one creditor: mandates by a hosted page, one-off payments on them, and their refunds."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from uuid import UUID, uuid4

from integrations.gocardless.calls import Calls, Json, keyed
from integrations.gocardless.errors import Conflict
from integrations.gocardless.words import MANDATE_OVER, OUTCOMES, OVER, REFUNDS, REQUEST_OVER, SCHEMES, TELLING
from integrations.http import ANSWER_SECONDS
from integrations.pace import Free
from models.ports import CONFLICT, Collected, Collection, MandateRequest, Refunded, RefundOrder, Refused
from models.rules.states import PaymentOutcome, RefundOutcome

API_BASE = "https://api.gocardless.com"
MOST_METADATA = 3
LONGEST_DESCRIPTION = 100


class DirectDebits(Calls):
    """PaymentGateway and MandateGateway of one GoCardless creditor."""

    def __init__(
        self,
        access_token: str,
        *,
        api_base: str = API_BASE,
        redirect_uri: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        pace: Free | None = None,
    ) -> None:
        """Access token, address of the API (no path), where a payer returns to, seconds to wait, the gate."""
        super().__init__(access_token, api_base=api_base, answer_seconds=answer_seconds, pace=pace)
        self._redirect_uri = redirect_uri

    async def close(self) -> None:
        """Nothing is kept open: the library connects anew for every call."""

    async def kept_of(self, payout: str) -> tuple[str, dict[str, int]]:
        """Payout -> its currency, and what was kept of each payment: minor units, below zero where it was given back.

        Items are told to half a penny, and for six months only. Raises Refused, Unavailable.
        """
        currency = (await self._fetch(self._api.payouts.get, payout))["currency"]
        kept: dict[str, Decimal] = {}
        for item in await self._all(self._api.payout_items, {"payout": payout}):
            payment = (item.get("links") or {}).get("payment")
            if item["type"] == "gocardless_fee" and payment:
                kept[payment] = kept.get(payment, Decimal()) - Decimal(item["amount"])
        return currency, {payment: int(fee.quantize(Decimal(1), ROUND_HALF_UP)) for payment, fee in kept.items()}

    # -- PaymentGateway ----------------------------------------------------------------------------------------------

    async def collect(self, order: Collection) -> Collected:
        """Ask for a payment on the wanted day, or the first day the bank allows.

        Raises Refused (CONFLICT where the key stands for another payment), Unavailable, OutcomeUnknown.
        """
        if order.mandate is None:
            raise Refused("There is no mandate to collect on.", code="NO_MANDATE")
        first = (await self.mandate(order.mandate)).get("next_possible_charge_date")
        params = {
            "amount": order.amount,
            "currency": order.currency,
            "description": order.description[:LONGEST_DESCRIPTION],
            "metadata": _metadata("payment_id", order.payment_id, order.metadata),
            "links": {"mandate": order.mandate},
        }
        # the first day is not named: it may have passed when the call arrives, and a day too early is refused
        if first is None or order.charge_on > date.fromisoformat(first):
            params["charge_date"] = order.charge_on.isoformat()
        made = await self._create(self._api.payments.create, self.payment, params, order.key)
        return await self._told(_ordered(order, made))

    async def look_up(self, order: Collection) -> Collected | None:
        """The mandate's payment with our payment's id. Raises Refused (CONFLICT where it is another), Unavailable."""
        if order.mandate is None:
            return None  # `collect` refuses it, so nothing was ever sent
        listed = await self._all(self._api.payments, {"mandate": order.mandate})
        made = [one for one in listed if (one.get("metadata") or {}).get("payment_id") == str(order.payment_id)]
        return await self._told(_ordered(order, min(made, key=lambda one: one["status"] in OVER))) if made else None

    async def status(self, reference: str) -> Collected:
        """What became of a payment; where it failed, why and whether it is tried again. Raises Refused, Unavailable."""
        return await self._told(await self.payment(reference))

    async def retry(self, reference: str, key: str) -> Collected:
        """Submit a failed payment again, at most three times; one that is not failed is only reported.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        payment = await self.payment(reference)
        if payment["status"] != "failed":
            return await self._told(payment)
        again = await self._write(self._api.payments.retry, reference, headers=keyed(key))
        return await self._told(again.attributes)

    async def cancel(self, reference: str, key: str) -> Collected:
        """Take back a payment that was not submitted to the banks yet.

        Raises Refused (code cancellation_failed) for any other, Unavailable, OutcomeUnknown.
        """
        taken_back = await self._write(self._api.payments.cancel, reference, headers=keyed(key))
        return await self._told(taken_back.attributes)

    async def refund(self, order: RefundOrder) -> Refunded:
        """Give money back; GoCardless refuses where it counts other refunds of the payment than we do.

        Raises Refused (CONFLICT where the key stands for another refund), Unavailable, OutcomeUnknown.
        """
        params = {
            "amount": order.amount,
            "total_amount_confirmation": order.refunded_so_far + order.amount,
            "links": {"payment": order.payment_reference},
            "metadata": _metadata("refund_id", order.refund_id, order.metadata),
        }
        made = await self._create(self._api.refunds.create, self.refund_now, params, order.key)
        return refunded(_ordered_back(order, made))

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        """The payment's refund with our refund's id. Raises Refused (CONFLICT where it is another one), Unavailable."""
        listed = await self._all(self._api.refunds, {"payment": order.payment_reference})
        made = [one for one in listed if (one.get("metadata") or {}).get("refund_id") == str(order.refund_id)]
        return refunded(_ordered_back(order, made[0])) if made else None

    async def refund_status(self, reference: str) -> Refunded:
        """What became of a refund. Raises Refused, Unavailable."""
        return refunded(await self.refund_now(reference))

    # -- MandateGateway ----------------------------------------------------------------------------------------------

    async def start(
        self, *, user_id: UUID, mandate_id: UUID, currency: str, prefilled: Mapping[str, str], key: str
    ) -> MandateRequest:
        """Open a signing page; asked again with the same key, a new page of the same request.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        if currency not in SCHEMES:
            raise Refused(f"No direct debit in {currency}.", code="CURRENCY_NOT_SUPPORTED")
        ours = {"user_id": str(user_id), "mandate_id": str(mandate_id)}
        wanted = {"currency": currency, "scheme": SCHEMES[currency], "metadata": ours}
        request = await self._create(
            self._api.billing_requests.create,
            self.billing_request,
            {"mandate_request": wanted, "metadata": ours},
            f"{key}:request",
        )
        if (request.get("metadata") or {}).get("mandate_id") != str(mandate_id):
            raise Refused(f"The key {key}:request stands for another request.", code=CONFLICT)
        page: Json = {"links": {"billing_request": request["id"]}, "prefilled_customer": dict(prefilled)}
        if self._redirect_uri:
            page |= {"redirect_uri": self._redirect_uri, "exit_uri": self._redirect_uri}
        flow = await self._flow(page, f"{key}:flow")
        return MandateRequest(request["id"], flow["authorisation_url"])

    async def withdraw(self, *, mandate: str | None, request: str | None, key: str) -> None:
        """Cancel a mandate, or the request nobody fulfilled; where it is over already, that is what was wanted.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        if mandate is None:
            if request is not None and (await self.billing_request(request))["status"] not in REQUEST_OVER:
                await self._write(self._api.billing_requests.cancel, request, headers=keyed(key))
            return
        if (await self.mandate(mandate))["status"] not in MANDATE_OVER:
            await self._write(self._api.mandates.cancel, mandate, headers=keyed(key))

    async def next_charge_date(self, mandate: str) -> date:
        """The first day a payment may be charged on. Raises Refused (code mandate_is_inactive), Unavailable."""
        found = await self.mandate(mandate)
        if not found.get("next_possible_charge_date"):
            raise Refused(f"Nothing can be charged on a mandate that is {found['status']}.", code="mandate_is_inactive")
        return date.fromisoformat(found["next_possible_charge_date"])

    async def _flow(self, page: Json, key: str) -> Json:
        """A flow can be neither read nor found again, and costs nothing: where the key was used, make another."""
        create = self._api.billing_request_flows.create
        try:
            made = await self._write(create, params=page, headers=keyed(key))
        except Conflict:
            made = await self._write(create, params=page, headers=keyed(f"{key}:{uuid4()}"))
        found: Json = made.attributes
        return found

    # -- what both sides and the webhooks read -----------------------------------------------------------------------

    async def payment(self, reference: str) -> Json:
        """Id -> the payment as it is now."""
        return await self._fetch(self._api.payments.get, reference)

    async def refund_now(self, reference: str) -> Json:
        """Id -> the refund as it is now."""
        return await self._fetch(self._api.refunds.get, reference)

    async def mandate(self, reference: str) -> Json:
        """Id -> the mandate as it is now."""
        return await self._fetch(self._api.mandates.get, reference)

    async def billing_request(self, reference: str) -> Json:
        """Id -> the billing request as it is now."""
        return await self._fetch(self._api.billing_requests.get, reference)

    def events(self, since: datetime, after: str | None) -> AsyncIterator[list[Json]]:
        """Every event from an instant on, newest first, page by page; behind the event `after` where one is given."""
        wanted = {"created_at[gte]": since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
        return self._pages(self._api.events, wanted, after)

    async def _told(self, payment: Json) -> Collected:
        """A payment -> what the port tells of it."""
        outcome = OUTCOMES.get(payment["status"])
        details = await self.last_details(payment["id"], outcome)
        return Collected(
            payment["id"],
            outcome,
            details.get("cause"),
            will_retry=details.get("will_attempt_retry") is True,
            amount=payment["amount"],
            currency=payment["currency"],
        )

    async def last_details(self, payment: str, outcome: PaymentOutcome | None) -> Json:
        """(payment, outcome) -> the details of the newest event that tells why; empty where none has to."""
        if outcome not in TELLING:
            return {}
        told = await self._all(self._api.events, {"payment": payment})
        found: Json = next((one.get("details") or {} for one in told if one["action"] in TELLING[outcome]), {})
        return found


def refunded(refund: Json) -> Refunded:
    """A refund -> what the port tells of it; where it failed, its status says how."""
    outcome = REFUNDS.get(refund["status"])
    why = refund["status"] if outcome is RefundOutcome.FAILED else None
    return Refunded(refund["id"], outcome, why, refund["amount"], refund["currency"])


def _ordered(order: Collection, payment: Json) -> Json:
    """A payment found under our key or our id, where it is what was ordered. Raises Refused.

    Its day may be another: it was asked for earlier.
    """
    links, told = payment.get("links") or {}, payment.get("metadata") or {}
    found = (payment["amount"], payment["currency"], links.get("mandate"), told.get("payment_id"))
    if found != (order.amount, order.currency, order.mandate, str(order.payment_id)):
        raise Refused(f"{payment['id']}, under the key {order.key}, is another payment.", code=CONFLICT)
    return payment


def _ordered_back(order: RefundOrder, refund: Json) -> Json:
    links, told = refund.get("links") or {}, refund.get("metadata") or {}
    found = (refund["amount"], refund["currency"], links.get("payment"), told.get("refund_id"))
    if found != (order.amount, order.currency, order.payment_reference, str(order.refund_id)):
        raise Refused(f"{refund['id']}, under the key {order.key}, is another refund.", code=CONFLICT)
    return refund


def _metadata(name: str, our_id: UUID, more: Mapping[str, str]) -> dict[str, str]:
    """Our id first: GoCardless keeps three entries."""
    others = [entry for entry in more.items() if entry[0] != name]
    return {name: str(our_id), **dict(others[: MOST_METADATA - 1])}
