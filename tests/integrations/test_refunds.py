"""Money given back through both clients, and what their webhooks tell of it, against the sandbox process."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from models.ports import (
    OutcomeUnknown,
    PaymentGateway,
    ProviderError,
    RateLimited,
    ReceivedEvent,
    Refunded,
    RefundOrder,
    Refused,
    Unavailable,
    WebhookSource,
)
from models.rules.facts import RefundFact
from models.rules.states import Provider, RefundOutcome
from tests.integrations.conftest import Sandbox, StoppedClock, an_order
from tests.sandbox.conftest import Receiver

# The vendor's library hands httpx its form in a way httpx is giving up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
Out = RefundOutcome
CREATE = "/refunds$"


@dataclass
class Desk:
    """One provider: its client, its webhooks, and a payment of 25.00 of ours that was taken there."""

    provider: Provider
    gateway: PaymentGateway
    webhooks: WebhookSource
    sandbox: Sandbox
    receiver: Receiver
    payment_id: UUID
    payment: str

    @property
    def name(self) -> str:
        return self.provider.value.lower()

    def order(self, **fields: Any) -> RefundOrder:
        """A refund of 10.00, the first one."""
        refund_id = uuid4()
        given: dict[str, Any] = {
            "refund_id": refund_id,
            "payment_reference": self.payment,
            "key": f"refund:{refund_id}:1",
            "amount": 1000,
            "currency": "GBP",
        }
        return RefundOrder(**given | fields)

    def there(self) -> list[Any]:
        """The refunds at the provider."""
        kind = "stripe.refund" if self.provider is Provider.STRIPE else "gocardless.refunds"
        return self.sandbox.state_of(kind)

    def by_hand(self, amount: int) -> str:
        """Somebody gives money back in the provider's dashboard."""
        of = {"payment_intent" if self.provider is Provider.STRIPE else "payment": self.payment}
        made: str = self.sandbox.do(self.name, "refund_payment", amount=amount, **of)["refund"]
        return made

    def arrives(self, reference: str) -> None:
        """The refund reaches the customer."""
        action = "complete_refund" if self.provider is Provider.STRIPE else "pay_refund"
        self.sandbox.do(self.name, action, refund=reference)

    def fault(self, kind: str, times: int = 1, path: str = CREATE) -> None:
        self.sandbox.post("/faults", provider=self.name, path=path, kind=kind, times=times, seconds=1.5)

    def received(self, event_type: str) -> ReceivedEvent:
        """Wait for an event of the type -> the newest one, verified as it arrived."""
        hook = f"/webhooks/{self.name}"

        def those() -> list[ReceivedEvent]:
            arrived = [self.webhooks.verify(one.body, one.headers) for one in self.receiver.at(hook)]
            return [event for events in arrived for event in events if event.event_type == event_type]

        self.receiver.wait(hook, lambda _requests: bool(those()))
        return those()[-1]

    async def told(self, event_type: str) -> RefundFact:
        """The fact an event makes."""
        (fact,) = await self.webhooks.facts(self.received(event_type))
        assert isinstance(fact, RefundFact)
        return fact


@pytest.fixture(params=[Provider.STRIPE, Provider.GOCARDLESS])
async def desk(request: Any, sandbox: Sandbox, receiver: Receiver, clock: StoppedClock) -> AsyncIterator[Desk]:
    provider: Provider = request.param
    credentials, url = sandbox.credentials[provider.lower()], sandbox.urls[provider.lower()]
    gateway: StripeAccount | DirectDebits
    webhooks: WebhookSource
    if provider is Provider.STRIPE:
        gateway = StripeAccount(credentials["api_key"], api_base=url, answer_seconds=0.7)
        webhooks = StripeWebhooks(gateway, [credentials["webhook_secret"]], clock)
        card = sandbox.do("stripe", "create_customer_with_card", email="a@b.c", name="A", card="pm_card_pendingRefund")
        order = an_order(**card)
    else:
        gateway = DirectDebits(credentials["access_token"], api_base=url, answer_seconds=0.7)
        webhooks = DirectDebitWebhooks(gateway, [credentials["webhook_secret"]])
        order = an_order(mandate=sandbox.do("gocardless", "create_mandate")["mandate"])
    reference = (await gateway.collect(order)).reference
    if provider is Provider.GOCARDLESS:
        sandbox.do("gocardless", "confirm_payment", payment=reference)
    yield Desk(provider, gateway, webhooks, sandbox, receiver, order.payment_id, reference)
    await gateway.close()


# -- asked for --------------------------------------------------------------------------------------------------------


async def test_a_refund_carries_our_id_and_our_key(desk: Desk) -> None:
    order = desk.order(metadata={"why": "rain"})
    made = await desk.gateway.refund(order)
    (there,) = desk.there()
    assert made == Refunded(there["id"], Out.SUBMITTED)
    assert (there["amount"], there["currency"].upper()) == (1000, "GBP")
    assert there["metadata"] == {"refund_id": str(order.refund_id), "why": "rain"}
    calls = [one for one in desk.sandbox.get(f"/calls?provider={desk.name}") if one["path"].endswith("/refunds")]
    assert [one["idempotency_key"] for one in calls] == [order.key]


async def test_the_same_order_twice_is_one_refund(desk: Desk) -> None:
    order = desk.order()
    assert await desk.gateway.refund(order) == await desk.gateway.refund(order)
    assert len(desk.there()) == 1


async def test_a_refund_under_our_id_that_is_not_what_was_ordered_is_never_ours(desk: Desk) -> None:
    order = desk.order()
    await desk.gateway.refund(order)
    with pytest.raises(Refused) as refused:
        await desk.gateway.find_refund(replace(order, amount=order.amount - 1))
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    with pytest.raises(Refused) as refused:
        await desk.gateway.refund(replace(order, amount=order.amount - 1))
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    assert len(desk.there()) == 1


async def test_a_key_used_for_another_refund_is_refused(desk: Desk) -> None:
    order = desk.order()
    await desk.gateway.refund(order)
    with pytest.raises(Refused) as refused:
        await desk.gateway.refund(desk.order(key=order.key))
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    assert len(desk.there()) == 1


async def test_parts_add_up(desk: Desk) -> None:
    await desk.gateway.refund(desk.order())
    await desk.gateway.refund(desk.order(amount=1500, refunded_so_far=1000))
    assert [one["amount"] for one in desk.there()] == [1000, 1500]


async def test_more_than_was_taken_is_refused(desk: Desk) -> None:
    with pytest.raises(Refused) as refused:
        await desk.gateway.refund(desk.order(amount=2501))
    assert refused.value.code in ("HTTP_400", "amount")
    assert desk.there() == []


async def test_what_each_refuses(desk: Desk) -> None:
    with pytest.raises(Refused) as unknown:
        await desk.gateway.refund(desk.order(payment_reference="XX404"))
    assert unknown.value.code in ("resource_missing", "resource_not_found")
    desk.by_hand(2500)
    with pytest.raises(Refused) as over:
        await desk.gateway.refund(desk.order(refunded_so_far=2500))
    assert over.value.code in ("charge_already_refunded", "amount")


async def test_gocardless_counts_what_was_given_back_by_hand(desk: Desk) -> None:
    if desk.provider is not Provider.GOCARDLESS:
        pytest.skip("Stripe takes no confirmation")
    desk.by_hand(500)
    with pytest.raises(Refused) as refused:
        await desk.gateway.refund(desk.order())
    assert refused.value.code == "total_amount_confirmation_invalid"
    assert (await desk.gateway.refund(desk.order(refunded_so_far=500))).outcome is Out.SUBMITTED


@pytest.mark.parametrize(
    ("kind", "raised", "made"),
    [
        ("500_before", OutcomeUnknown, 0),
        ("500_after", OutcomeUnknown, 1),
        ("html_502", OutcomeUnknown, 0),
        ("timeout", OutcomeUnknown, 0),
        ("drop_answer", OutcomeUnknown, 1),
        ("429", RateLimited, 0),
    ],
)
async def test_a_lost_answer_is_found_or_was_never_there(
    desk: Desk, kind: str, raised: type[ProviderError], made: int
) -> None:
    # GoCardless's library repeats a create itself
    lasting = desk.provider is Provider.GOCARDLESS and kind in ("html_502", "timeout", "drop_answer")
    desk.fault(kind, times=3 if lasting else 1)
    order = desk.order()
    with pytest.raises(ProviderError) as failed:
        await desk.gateway.refund(order)
    assert type(failed.value) is raised
    found = await desk.gateway.find_refund(order)
    assert (found is not None, len(desk.there())) == (bool(made), made)
    if found:
        assert found == Refunded(desk.there()[0]["id"], Out.SUBMITTED)


async def test_somebody_elses_refund_is_not_ours(desk: Desk) -> None:
    await desk.gateway.refund(desk.order())
    assert await desk.gateway.find_refund(desk.order()) is None


async def test_while_the_provider_is_down_nobody_knows(desk: Desk) -> None:
    desk.fault("500_before", times=3, path="")
    with pytest.raises(Unavailable):
        await desk.gateway.find_refund(desk.order())


async def test_what_became_of_a_refund(desk: Desk) -> None:
    reference = (await desk.gateway.refund(desk.order())).reference
    assert await desk.gateway.refund_status(reference) == Refunded(reference, Out.SUBMITTED)
    desk.arrives(reference)
    assert await desk.gateway.refund_status(reference) == Refunded(reference, Out.SUCCEEDED)
    desk.sandbox.do(desk.name, "fail_refund", refund=reference)
    why = "expired_or_canceled_card" if desk.provider is Provider.STRIPE else "bounced"
    assert await desk.gateway.refund_status(reference) == Refunded(reference, Out.FAILED, why)


# -- webhooks ---------------------------------------------------------------------------------------------------------

EVENTS = {
    Provider.STRIPE: ("refund.created", "refund.updated", "refund.failed"),
    Provider.GOCARDLESS: ("refunds.created", "refunds.paid", "refunds.failed"),
}


async def test_each_step_of_a_refund_is_told(desk: Desk) -> None:
    order = desk.order()
    reference = (await desk.gateway.refund(order)).reference
    created, arrived, failed = EVENTS[desk.provider]
    told = await desk.told(created)
    assert told == RefundFact(
        outcome=Out.SUBMITTED,
        refund_reference=str(order.refund_id),
        payment_reference=str(desk.payment_id),
        provider=desk.provider.value,
        external_id=reference,
        payment_external_id=desk.payment,
        amount=1000,
        currency="GBP",
        occurred_at=told.occurred_at,
    )
    desk.arrives(reference)
    assert (await desk.told(arrived)).outcome is Out.SUCCEEDED
    desk.sandbox.do(desk.name, "fail_refund", refund=reference)
    late = await desk.told(failed)
    why = "expired_or_canceled_card" if desk.provider is Provider.STRIPE else "bounced"
    assert (late.outcome, late.cause) == (Out.FAILED, why)
    assert (await desk.told(created)).outcome is Out.FAILED, "an event that comes late tells the latest state"


async def test_a_refund_made_by_hand_names_our_payment(desk: Desk) -> None:
    reference = desk.by_hand(700)
    told = await desk.told(EVENTS[desk.provider][0])
    assert (told.refund_reference, told.payment_reference) == (None, str(desk.payment_id))
    assert (told.external_id, told.amount, told.outcome) == (reference, 700, Out.SUBMITTED)


async def test_a_refund_of_somebody_elses_payment_is_left_alone(desk: Desk, sandbox: Sandbox) -> None:
    if desk.provider is Provider.STRIPE:
        sold = sandbox.do("stripe", "create_product", name="Pilates", amount=10000, currency="gbp", interval="month")
        sandbox.do("stripe", "complete_payment_link", price=sold["price"], email="a@example.org", name="A")
        (bought,) = sandbox.state_of("stripe.invoice_payment")
        of = {"payment_intent": bought["payment"]["payment_intent"]}
    else:
        gateway = desk.gateway
        assert isinstance(gateway, DirectDebits)
        (mandate,) = sandbox.state_of("gocardless.mandates")
        params = {"amount": 2500, "currency": "GBP", "links": {"mandate": mandate["id"]}}
        theirs = gateway._api.payments.create(params=params).id
        sandbox.do("gocardless", "confirm_payment", payment=theirs)
        of = {"payment": theirs}
    sandbox.do(desk.name, "refund_payment", amount=100, **of)
    found = await desk.webhooks.facts(desk.received(EVENTS[desk.provider][0]))
    assert [fact for fact in found if isinstance(fact, RefundFact)] == []
