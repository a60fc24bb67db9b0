"""GoCardless behind PaymentGateway and MandateGateway, against the sandbox process."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from integrations.gocardless.client import DirectDebits
from local.state import held_ports
from models.ports import Collected, Collection, OutcomeUnknown, ProviderError, RateLimited, Refused, Unavailable
from models.rules.states import PaymentOutcome
from tests.integrations.conftest import Sandbox, an_order

CREATE = "/payments$"


@pytest.fixture
async def debits(sandbox: Sandbox) -> AsyncIterator[DirectDebits]:
    client = DirectDebits(
        sandbox.credentials["gocardless"]["access_token"],
        api_base=sandbox.urls["gocardless"],
        redirect_uri="http://127.0.0.1:9/done",
        answer_seconds=0.7,
    )
    yield client
    await client.close()


@pytest.fixture
def mandate(sandbox: Sandbox) -> str:
    made: str = sandbox.do("gocardless", "create_mandate", metadata={"user_id": "u1"})["mandate"]
    return made


@pytest.fixture
def order(mandate: str, sandbox: Sandbox) -> Collection:
    return an_order(mandate=mandate, charge_on=sandbox.now().date())


def payments(sandbox: Sandbox, order: Collection) -> list[str]:
    """Ids of the payments there are for an order."""
    ours = str(order.payment_id)
    return [one["id"] for one in sandbox.state_of("gocardless.payments") if one["metadata"].get("payment_id") == ours]


def fault(sandbox: Sandbox, kind: str, times: int, path: str = CREATE) -> None:
    sandbox.post("/faults", provider="gocardless", path=path, kind=kind, times=times, seconds=1.5)


async def test_a_payment_is_asked_for_on_the_first_possible_day(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, mandate: str
) -> None:
    first = await debits.next_charge_date(mandate)
    collected = await debits.collect(order)

    (payment,) = sandbox.state_of("gocardless.payments")
    assert collected == Collected(payment["id"], None)
    assert (payment["amount"], payment["currency"], payment["links"]["mandate"]) == (2500, "GBP", mandate)
    assert (payment["charge_date"], payment["metadata"]) == (first.isoformat(), {"payment_id": str(order.payment_id)})
    (call,) = [call for call in sandbox.get("/calls?provider=gocardless") if call["method"] == "POST"]
    assert (call["idempotency_key"], call["status"]) == (order.key, 201)


async def test_a_first_day_that_passes_before_the_call_arrives_is_not_refused(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, mandate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = debits.mandate

    async def looked_up_before_midnight(reference: str) -> Any:
        found = await really(reference)
        sandbox.advance(hours=25)
        return found

    before = await debits.next_charge_date(mandate)
    monkeypatch.setattr(debits, "mandate", looked_up_before_midnight)
    await debits.collect(order)
    (payment,) = sandbox.state_of("gocardless.payments")
    assert date.fromisoformat(payment["charge_date"]) > before


async def test_a_later_day_is_kept(debits: DirectDebits, sandbox: Sandbox, mandate: str) -> None:
    monday = sandbox.now().date() + timedelta(days=28)
    monday -= timedelta(days=monday.weekday())
    await debits.collect(an_order(mandate=mandate, charge_on=monday))
    (payment,) = sandbox.state_of("gocardless.payments")
    assert date.fromisoformat(payment["charge_date"]) >= monday


async def test_metadata_keeps_three_entries_ours_first(debits: DirectDebits, sandbox: Sandbox, mandate: str) -> None:
    order = an_order(
        mandate=mandate, description="x" * 200, metadata={"a": "1", "payment_id": "no", "b": "2", "c": "3"}
    )
    await debits.collect(order)
    (payment,) = sandbox.state_of("gocardless.payments")
    assert payment["metadata"] == {"payment_id": str(order.payment_id), "a": "1", "b": "2"}
    assert payment["description"] == "x" * 100


async def test_the_same_order_twice_is_one_payment(debits: DirectDebits, sandbox: Sandbox, order: Collection) -> None:
    first, second = await debits.collect(order), await debits.collect(order)
    assert first == second
    assert payments(sandbox, order) == [first.reference]


async def test_the_same_order_at_once_is_one_payment(debits: DirectDebits, sandbox: Sandbox, order: Collection) -> None:
    every = await asyncio.gather(*(debits.collect(order) for _ in range(5)))
    assert {one.reference for one in every} == set(payments(sandbox, order))
    assert len(payments(sandbox, order)) == 1


@pytest.mark.parametrize("change", [{"amount": 9900}, {"payment_id": uuid4()}])
async def test_a_key_used_for_another_payment_is_refused(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, change: dict[str, object]
) -> None:
    await debits.collect(order)
    same = {"payment_id": order.payment_id, "mandate": order.mandate, "charge_on": order.charge_on}
    with pytest.raises(Refused) as refused:
        await debits.collect(an_order(**same | {"key": order.key} | change))
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    if "amount" in change:
        with pytest.raises(Refused) as refused:
            await debits.look_up(an_order(**same | change))
        assert refused.value.code == "IDEMPOTENCY_CONFLICT"
    assert len(sandbox.state_of("gocardless.payments")) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mandate": None}, "NO_MANDATE"),
        ({"mandate": "MD404"}, "resource_not_found"),
        ({"amount": 0}, "amount"),
        ({"currency": "XXX"}, "currency"),
    ],
)
async def test_what_gocardless_refuses(
    debits: DirectDebits, sandbox: Sandbox, mandate: str, fields: dict[str, object], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await debits.collect(an_order(**{"mandate": mandate} | fields))
    assert refused.value.code == code
    assert sandbox.state_of("gocardless.payments") == []


async def test_a_cancelled_mandate_takes_no_payment(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, mandate: str
) -> None:
    sandbox.do("gocardless", "cancel_mandate", mandate=mandate)
    for ask in (debits.collect(order), debits.next_charge_date(mandate)):
        with pytest.raises(Refused) as refused:
            await ask
        assert refused.value.code == "mandate_is_inactive"


@pytest.mark.parametrize(
    ("kind", "times", "raised", "made"),
    [
        ("500_before", 1, OutcomeUnknown, 0),
        ("500_after", 1, OutcomeUnknown, 1),
        ("html_502", 3, OutcomeUnknown, 0),
        ("timeout", 3, OutcomeUnknown, 0),
        ("drop_answer", 3, OutcomeUnknown, 1),
        ("429", 1, RateLimited, 0),
    ],
)
async def test_a_lost_answer_never_asks_twice(
    debits: DirectDebits,
    sandbox: Sandbox,
    order: Collection,
    kind: str,
    times: int,
    raised: type[ProviderError],
    made: int,
) -> None:
    fault(sandbox, kind, times)
    with pytest.raises(ProviderError) as failed:
        await debits.collect(order)
    assert type(failed.value) is raised
    assert len(payments(sandbox, order)) == made
    if isinstance(failed.value, RateLimited):
        assert 0 < failed.value.retry_after <= 60

    found = await debits.look_up(order)
    assert (found is not None) == bool(made)
    settled = found or await debits.collect(order)
    assert settled == Collected(payments(sandbox, order)[0], None)
    assert len(payments(sandbox, order)) == 1


@pytest.mark.parametrize("kind", ["html_502", "drop_answer"])
async def test_one_lost_answer_is_made_good_under_the_same_key(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, kind: str
) -> None:
    fault(sandbox, kind, 1)
    collected = await debits.collect(order)
    assert payments(sandbox, order) == [collected.reference]


@pytest.mark.parametrize("kind", ["500_before", "html_502", "drop_answer"])
async def test_a_read_that_stays_unanswered_is_unavailable(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, kind: str
) -> None:
    fault(sandbox, kind, 1 if kind == "500_before" else 3, path="")
    with pytest.raises(Unavailable):
        await debits.look_up(order)
    assert await debits.look_up(order) is None


async def test_nobody_listens(order: Collection) -> None:
    dead = DirectDebits("token", api_base=f"http://127.0.0.1:{held_ports(1)[0]}")
    with pytest.raises(Unavailable):
        await dead.collect(order)


async def test_a_wrong_token_is_ours_to_mend_and_no_payers_failure(sandbox: Sandbox) -> None:
    stranger = DirectDebits("wrong", api_base=sandbox.urls["gocardless"])
    with pytest.raises(Unavailable) as refused:
        await stranger.payment("PM1")
    assert refused.value.code == "CREDENTIALS"


async def test_the_event_loop_is_not_held_up(debits: DirectDebits, sandbox: Sandbox, order: Collection) -> None:
    fault(sandbox, "timeout", 1, path="")
    looking, beats, began = asyncio.create_task(debits.look_up(order)), 0, time.monotonic()
    while not looking.done():
        beats += 1
        await asyncio.sleep(0.01)
    assert beats > 20 * (time.monotonic() - began)


async def test_looking_up_reads_every_page(
    debits: DirectDebits, sandbox: Sandbox, order: Collection, mandate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.gocardless.calls.MOST_ON_A_PAGE", 2)
    oldest = await debits.collect(order)
    for _ in range(5):
        await debits.collect(an_order(mandate=mandate))
    assert await debits.look_up(order) == oldest
    assert await debits.look_up(an_order(mandate=mandate)) is None


@pytest.mark.parametrize(
    ("action", "outcome", "failure"),
    [
        ("confirm_payment", PaymentOutcome.CONFIRMED, None),
        ("pay_out", PaymentOutcome.PAID_OUT, None),
        ("fail_payment", PaymentOutcome.FAILED, "insufficient_funds"),
        ("charge_back", PaymentOutcome.CHARGED_BACK, "authorisation_disputed"),
    ],
)
async def test_what_became_of_a_payment(
    debits: DirectDebits,
    sandbox: Sandbox,
    order: Collection,
    action: str,
    outcome: PaymentOutcome,
    failure: str | None,
) -> None:
    reference = (await debits.collect(order)).reference
    assert await debits.status(reference) == Collected(reference, None)
    sandbox.do("gocardless", action, payment=reference)
    assert await debits.status(reference) == Collected(reference, outcome, failure)


async def test_whether_the_bank_tries_again_by_itself_is_told_however_it_is_asked(
    debits: DirectDebits, sandbox: Sandbox, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    debits._api.payments.update(reference, params={"retry_if_possible": "true"})
    sandbox.do("gocardless", "fail_payment", payment=reference, will_attempt_retry=True)
    failed = Collected(reference, PaymentOutcome.FAILED, "insufficient_funds", will_retry=True)
    assert await debits.status(reference) == await debits.look_up(order) == failed


async def test_a_failed_payment_is_submitted_again_under_its_id(
    debits: DirectDebits, sandbox: Sandbox, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", "fail_payment", payment=reference)
    again = await debits.retry(reference, f"{order.key}:2")
    assert again == Collected(reference, None)
    assert await debits.retry(reference, f"{order.key}:2") == again
    retries = [one for one in sandbox.get("/calls?provider=gocardless") if one["path"].endswith("/actions/retry")]
    assert [one["idempotency_key"] for one in retries] == [f"{order.key}:2"]


async def test_a_retry_whose_answer_was_lost_is_not_repeated(
    debits: DirectDebits, sandbox: Sandbox, order: Collection
) -> None:
    reference = (await debits.collect(order)).reference
    sandbox.do("gocardless", "fail_payment", payment=reference)
    fault(sandbox, "drop_answer", 1, path="/actions/retry$")
    with pytest.raises(OutcomeUnknown):
        await debits.retry(reference, f"{order.key}:2")
    assert await debits.retry(reference, f"{order.key}:2") == Collected(reference, None)


async def test_the_fourth_retry_is_refused(debits: DirectDebits, sandbox: Sandbox, order: Collection) -> None:
    reference = (await debits.collect(order)).reference
    for number in range(3):
        sandbox.do("gocardless", "fail_payment", payment=reference)
        await debits.retry(reference, f"{order.key}:{number}")
    sandbox.do("gocardless", "fail_payment", payment=reference)
    with pytest.raises(Refused) as refused:
        await debits.retry(reference, f"{order.key}:4")
    assert refused.value.code == "retry_failed"


# -- mandates ----------------------------------------------------------------------------------------------------------

USER, MANDATE = UUID(int=1), UUID(int=2)
PAYER = {"given_name": "Ada", "family_name": "Byron", "email": "ada@example.org"}


async def test_a_signing_page_knows_the_payer_and_carries_our_ids(debits: DirectDebits, sandbox: Sandbox) -> None:
    page = await debits.start(user_id=USER, mandate_id=MANDATE, currency="GBP", prefilled=PAYER, key="mandate:2")
    (request,) = sandbox.state_of("gocardless.billing_requests")
    (flow,) = sandbox.state_of("gocardless.billing_request_flows")
    assert (page.request_id, page.authorisation_url) == (request["id"], flow["authorisation_url"])
    assert request["metadata"] == {"user_id": str(USER), "mandate_id": str(MANDATE)}
    assert flow["redirect_uri"] == "http://127.0.0.1:9/done"
    assert {name: flow["prefilled_customer"][name] for name in PAYER} == PAYER
    keys = [one["idempotency_key"] for one in sandbox.get("/calls?provider=gocardless") if one["method"] == "POST"]
    assert keys == ["mandate:2:request", "mandate:2:flow"]


async def test_asked_twice_it_is_the_same_request(debits: DirectDebits, sandbox: Sandbox) -> None:
    fault(sandbox, "500_after", 1, path="/billing_requests$")
    with pytest.raises(OutcomeUnknown):
        await debits.start(user_id=USER, mandate_id=MANDATE, currency="GBP", prefilled=PAYER, key="mandate:2")
    first = await debits.start(user_id=USER, mandate_id=MANDATE, currency="GBP", prefilled=PAYER, key="mandate:2")
    second = await debits.start(user_id=USER, mandate_id=MANDATE, currency="GBP", prefilled=PAYER, key="mandate:2")
    assert first.request_id == second.request_id
    assert len(sandbox.state_of("gocardless.billing_requests")) == 1
    with pytest.raises(Refused) as refused:
        await debits.start(user_id=USER, mandate_id=USER, currency="GBP", prefilled=PAYER, key="mandate:2")
    assert refused.value.code == "IDEMPOTENCY_CONFLICT"


async def test_a_currency_without_direct_debit(debits: DirectDebits) -> None:
    with pytest.raises(Refused) as refused:
        await debits.start(user_id=USER, mandate_id=MANDATE, currency="JPY", prefilled=PAYER, key="mandate:3")
    assert refused.value.code == "CURRENCY_NOT_SUPPORTED"
