"""What GoCardless sends: which signatures count, and what its events mean by the latest state of their resources."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from integrations.gocardless.client import DirectDebits
from integrations.gocardless.webhook import DirectDebitWebhooks
from models.ports import BadSignature, Collection, ReceivedEvent, Unavailable
from models.rules.facts import (
    FeesTaken,
    MandateChanged,
    PaymentCancelled,
    PaymentChargedBack,
    PaymentFact,
    PaymentFailed,
    PaymentPaidOut,
    PaymentSubmitted,
    PaymentSucceeded,
)
from models.rules.states import MandateStatus
from tests.integrations.conftest import Sandbox, an_order
from tests.sandbox.conftest import Receiver

SECRET = "gc_webhook_secret"
OFFICIAL_KEY = "ED7D658C-D8EB-4941-948B-3973214F2D49"
EVENT: dict[str, Any] = {
    "id": "EV1",
    "created_at": "2026-03-01T10:00:00.000Z",
    "resource_type": "payments",
    "action": "failed",
    "links": {"payment": "PM1"},
    "details": {"origin": "bank", "cause": "insufficient_funds"},
}
BODY = json.dumps({"events": [EVENT], "meta": {"webhook_id": "WB1"}}).encode()


@pytest.fixture
async def debits(sandbox: Sandbox) -> AsyncIterator[DirectDebits]:
    client = DirectDebits(
        sandbox.credentials["gocardless"]["access_token"], api_base=sandbox.urls["gocardless"], answer_seconds=0.7
    )
    yield client
    await client.close()


@pytest.fixture
def webhooks(debits: DirectDebits) -> DirectDebitWebhooks:
    return DirectDebitWebhooks(debits, [SECRET])


def reader(*secrets: str) -> DirectDebitWebhooks:
    """A reader that has nobody to ask: for signatures alone."""
    return DirectDebitWebhooks(DirectDebits("token", api_base="http://127.0.0.1:1"), secrets)


def signed(body: bytes = BODY, secret: str = SECRET) -> dict[str, str]:
    return {"Webhook-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


# -- signatures --------------------------------------------------------------------------------------------------------


def test_each_event_is_stored_for_itself() -> None:
    assert reader(SECRET).verify(BODY, signed()) == [ReceivedEvent("EV1", "payments.failed", "PM1", EVENT)]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Webhook-Signature": ""},
        {"Webhook-Signature": "00"},
        {"Webhook-Signature": "Ã¼"},
        {"Webhook-Signature": signed()["Webhook-Signature"].upper()},
        signed(secret="other"),
        signed(b"{}"),
    ],
    ids=["none", "empty", "short", "latin-1", "upper case", "other secret", "other body"],
)
def test_what_is_no_signature_of_ours(headers: dict[str, str]) -> None:
    with pytest.raises(BadSignature):
        reader(SECRET).verify(BODY, headers)


@pytest.mark.parametrize("secrets", [(), ("",), ("  ",)])
def test_a_blank_secret_signs_nothing(secrets: tuple[str, ...]) -> None:
    with pytest.raises(BadSignature):
        reader(*secrets).verify(BODY, signed(secret=""))


def test_while_a_secret_is_changed_both_count() -> None:
    both = reader("new", "old")
    assert both.verify(BODY, signed(secret="new")) == both.verify(BODY, signed(secret="old"))


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"{}", b"null", b'{"events": {}}', b"\xff"])
def test_a_signed_body_without_events(body: bytes) -> None:
    with pytest.raises(BadSignature):
        reader(SECRET).verify(body, signed(body))


def test_one_bad_event_does_not_hold_up_the_other_249() -> None:
    events: list[Any] = [EVENT | {"id": f"EV{number}"} for number in range(250)]
    events[100] = {"resource_type": "payments"}
    body = json.dumps({"events": events}).encode()
    got = reader(SECRET).verify(body, signed(body))
    assert [one.event_id for one in got] == [f"EV{number}" for number in range(250) if number != 100]


def test_the_vendors_own_webhook(sample: Callable[[str], Any]) -> None:
    body = json.dumps(sample("gocardless_official/webhook_body.json"), separators=(",", ":")).encode()
    headers = {"webhook-signature": "2693754819d3e32d7e8fcb13c729631f316c6de8dc1cf634d6527f1c07276e7e"}
    assert [(one.event_id, one.event_type, one.object_id) for one in reader(OFFICIAL_KEY).verify(body, headers)] == [
        ("EV00BD05S5VM2T", "subscriptions.created", "SB0003JJQ2MR06"),
        ("EV00BD05TB8K63", "mandates.created", "MD000AMA19XGEC"),
    ]


# -- what events mean --------------------------------------------------------------------------------------------------


@pytest.fixture
def mandate(sandbox: Sandbox) -> dict[str, str]:
    made: dict[str, str] = sandbox.do("gocardless", "create_mandate", metadata={"user_id": "u1"})
    return made


@pytest.fixture
async def order(debits: DirectDebits, mandate: dict[str, str]) -> Collection:
    return an_order(mandate=mandate["mandate"])


def received(receiver: Receiver, webhooks: DirectDebitWebhooks, event_type: str) -> ReceivedEvent:
    """Wait for an event of the type -> the first one, verified as it arrived."""

    def those() -> list[ReceivedEvent]:
        arrived = [webhooks.verify(one.body, one.headers) for one in receiver.at("/webhooks/gocardless")]
        return [event for events in arrived for event in events if event.event_type == event_type]

    receiver.wait("/webhooks/gocardless", lambda _requests: bool(those()))
    return those()[0]


async def told(webhooks: DirectDebitWebhooks, event: ReceivedEvent) -> PaymentFact:
    (fact,) = await webhooks.facts(event)
    assert isinstance(fact, PaymentFact)
    return fact


@pytest.mark.parametrize(
    ("action", "event_type", "kind", "cause"),
    [
        ("confirm_payment", "payments.confirmed", PaymentSucceeded, None),
        ("pay_out", "payments.paid_out", PaymentPaidOut, None),
        ("fail_payment", "payments.failed", PaymentFailed, "insufficient_funds"),
        ("charge_back", "payments.charged_back", PaymentChargedBack, "authorisation_disputed"),
    ],
)
async def test_what_becomes_of_a_payment(
    debits: DirectDebits,
    webhooks: DirectDebitWebhooks,
    sandbox: Sandbox,
    receiver: Receiver,
    order: Collection,
    action: str,
    event_type: str,
    kind: type[PaymentFact],
    cause: str | None,
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", action, payment=reference)
    event = received(receiver, webhooks, event_type)
    assert await webhooks.facts(event) == [
        kind(
            payment_reference=str(order.payment_id),
            provider="GOCARDLESS",
            external_id=reference,
            occurred_at=datetime.fromisoformat(event.body["created_at"]),
            cause=cause,
        )
    ]


async def test_a_payout_tells_what_was_kept(
    debits: DirectDebits, webhooks: DirectDebitWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", "pay_out", payment=reference)
    event = received(receiver, webhooks, "payouts.paid")
    payout = await debits._fetch(debits._api.payouts.get, event.body["links"]["payout"])
    assert payout["deducted_fees"] > 0
    assert await webhooks.facts(event) == [
        FeesTaken(
            provider="GOCARDLESS",
            reference=payout["id"],
            currency="GBP",
            fees=((reference, payout["deducted_fees"]),),
            occurred_at=datetime.fromisoformat(event.body["created_at"]),
        )
    ]


async def test_a_payment_that_waits_to_be_sent_is_with_its_provider(
    debits: DirectDebits, webhooks: DirectDebitWebhooks, receiver: Receiver, order: Collection
) -> None:
    """So a call that arrived after all is known, whatever was answered to those behind it."""
    reference = (await debits.collect(order)).reference
    fact = await told(webhooks, received(receiver, webhooks, "payments.created"))
    assert (type(fact), fact.external_id) == (PaymentSubmitted, reference)


async def test_a_payment_may_fail_after_it_was_paid_out(
    debits: DirectDebits, webhooks: DirectDebitWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", "pay_out", payment=reference)
    assert isinstance(await told(webhooks, received(receiver, webhooks, "payments.paid_out")), PaymentPaidOut)
    sandbox.do("gocardless", "fail_payment", payment=reference, cause="refer_to_payer")
    late = await told(webhooks, received(receiver, webhooks, "payments.failed"))
    assert (type(late), late.cause, late.will_attempt_retry) == (PaymentFailed, "refer_to_payer", False)


async def test_an_event_that_comes_late_tells_the_latest_state_and_its_cause(
    debits: DirectDebits, webhooks: DirectDebitWebhooks, sandbox: Sandbox, receiver: Receiver, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", "fail_payment", payment=reference, cause="insufficient_funds")
    late = await told(webhooks, received(receiver, webhooks, "payments.submitted"))
    assert (type(late), late.cause) == (PaymentFailed, "insufficient_funds")

    again = await debits.retry(reference, f"{order.key}:2")
    assert again.outcome is None
    assert type(await told(webhooks, received(receiver, webhooks, "payments.failed"))) is PaymentSubmitted
    fact = await told(webhooks, received(receiver, webhooks, "payments.resubmission_requested"))
    assert type(fact) is PaymentSubmitted


async def test_whether_the_provider_tries_again_comes_with_the_failure(
    webhooks: DirectDebitWebhooks, sandbox: Sandbox, receiver: Receiver, debits: DirectDebits, order: Collection
) -> None:
    """Also where the first failure is told after the last one: the newest decides."""
    reference = (await debits.collect(order)).reference
    debits._api.payments.update(reference, params={"retry_if_possible": "true"})
    sandbox.do("gocardless", "fail_payment", payment=reference, will_attempt_retry=True)
    first = received(receiver, webhooks, "payments.failed")
    fact = await told(webhooks, first)
    assert (fact.cause, fact.will_attempt_retry) == ("insufficient_funds", True)
    await debits.retry(reference, f"{order.key}:2")
    sandbox.do("gocardless", "fail_payment", payment=reference, cause="refer_to_payer")
    fact = await told(webhooks, first)
    assert (fact.cause, fact.will_attempt_retry) == ("refer_to_payer", False)


async def test_a_mandate_cancelled_at_the_bank_takes_its_payments_along(
    debits: DirectDebits,
    webhooks: DirectDebitWebhooks,
    sandbox: Sandbox,
    receiver: Receiver,
    order: Collection,
    mandate: dict[str, str],
) -> None:
    await debits.collect(order)
    sandbox.do("gocardless", "cancel_mandate", mandate=mandate["mandate"])
    event = received(receiver, webhooks, "mandates.cancelled")
    cancelled = MandateChanged(
        provider="GOCARDLESS",
        external_id=mandate["mandate"],
        customer_id=mandate["customer"],
        user_reference="u1",
        status=MandateStatus.CANCELLED,
        occurred_at=datetime.fromisoformat(event.body["created_at"]),
        origin="bank",
        cause="mandate_cancelled",
    )
    assert await webhooks.facts(event) == [cancelled]
    payment = await told(webhooks, received(receiver, webhooks, "payments.cancelled"))
    assert (type(payment), payment.cause) == (PaymentCancelled, "mandate_cancelled")

    earlier = received(receiver, webhooks, "mandates.active")
    at = datetime.fromisoformat(earlier.body["created_at"])
    assert await webhooks.facts(earlier) == [replace(cancelled, origin=None, cause=None, occurred_at=at)]


async def test_a_signed_request_names_its_mandate_and_our_user(
    debits: DirectDebits, webhooks: DirectDebitWebhooks, sandbox: Sandbox, receiver: Receiver
) -> None:
    payer = {"given_name": "Ada", "family_name": "Byron", "email": "ada@example.org"}
    page = await debits.start(
        user_id=UUID(int=1), mandate_id=UUID(int=2), currency="GBP", prefilled=payer, key="mandate:2"
    )
    signed_by = sandbox.do("gocardless", "fulfil_billing_request", billing_request=page.request_id)
    event = received(receiver, webhooks, "billing_requests.fulfilled")
    assert event.object_id == page.request_id
    fact = MandateChanged(
        provider="GOCARDLESS",
        external_id=signed_by["mandate"],
        customer_id=signed_by["customer"],
        user_reference=str(UUID(int=1)),
        status=MandateStatus.PENDING,
        occurred_at=datetime.fromisoformat(event.body["created_at"]),
        billing_request_id=page.request_id,
    )
    assert await webhooks.facts(event) == [fact]

    sandbox.do("gocardless", "activate_mandate", mandate=signed_by["mandate"])
    (active,) = await webhooks.facts(received(receiver, webhooks, "mandates.active"))
    assert isinstance(active, MandateChanged)
    assert (active.status, active.user_reference) == (MandateStatus.ACTIVE, str(UUID(int=1)))


@pytest.mark.parametrize(
    "event_type", ["customers.created", "payouts.fx_rate_confirmed", "billing_requests.flow_created", "new.thing"]
)
async def test_events_nobody_cares_about(webhooks: DirectDebitWebhooks, sandbox: Sandbox, event_type: str) -> None:
    assert await webhooks.facts(ReceivedEvent("EV1", event_type, "X1", EVENT)) == []
    assert sandbox.get("/calls?provider=gocardless") == []


async def test_while_gocardless_is_down_the_event_waits(webhooks: DirectDebitWebhooks, sandbox: Sandbox) -> None:
    sandbox.post("/faults", provider="gocardless", kind="500_before")
    with pytest.raises(Unavailable):
        await webhooks.facts(ReceivedEvent("EV1", "payments.failed", "PM1", EVENT))
