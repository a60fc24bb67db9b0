"""The GoCardless sandbox through the vendor's own client: mandates, payments, the Bacs calendar, webhooks, errors."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import gocardless_pro
import httpx
import pytest
from gocardless_pro import errors, webhooks

from local.sandbox.gocardless import bacs

HOOK = "/webhooks/gocardless"
Refusal = pytest.ExceptionInfo[Any]


def mandate_of(sandbox: Any, **said: Any) -> str:
    """-> id of an active mandate."""
    made: str = sandbox.do("gocardless", "create_mandate", **said)["mandate"]
    return made


def charge(debits: Any, mandate: str, key: str | None = None, **said: Any) -> Any:
    params = {"amount": 2500, "currency": "GBP", "links": {"mandate": mandate}, "metadata": {"bill": "b1"}} | said
    return debits.payments.create(params=params, headers={"Idempotency-Key": key} if key else None)


def to(sandbox: Any, moment: datetime) -> list[str]:
    """Move the clock to an instant -> names of what happened."""
    fired: list[str] = sandbox.post("/clock", now=moment.isoformat())["fired"]
    return fired


def to_a_monday_morning(sandbox: Any) -> date:
    """Move the clock to ten o'clock of the Monday of a week without holidays -> that day."""
    day = sandbox.now().date()
    while not (day > sandbox.now().date() and day.weekday() == 0 and all(bacs.is_working(one) for one in week(day))):
        day += timedelta(1)
    to(sandbox, datetime(day.year, day.month, day.day, 10, tzinfo=UTC))
    found: date = day
    return found


def week(monday: date) -> list[date]:
    return [monday + timedelta(days) for days in (0, 1, 2, 3, 4, 7, 8)]


def events_of(sandbox: Any, resource: str, id_: str) -> list[tuple[str, str, str]]:
    """-> (action, origin, cause) of the events about one resource, oldest first."""
    return [
        (event["action"], event["details"]["origin"], event["details"]["cause"])
        for event in sandbox.state_of("gocardless.events")
        if event["links"].get(resource) == id_
    ]


def reason(refused: Any) -> str:
    found: str = refused.value.errors[0]["reason"]
    return found


def test_a_billing_request_becomes_a_mandate(sandbox: Any, debits: Any) -> None:
    request = debits.billing_requests.create(
        params={"mandate_request": {"scheme": "bacs", "currency": "GBP", "metadata": {"membership": "m1"}}}
    )
    flow = debits.billing_request_flows.create(
        params={
            "redirect_uri": "http://127.0.0.1/back",
            "prefilled_customer": {"given_name": "Ada", "family_name": "Byron", "email": "ada@example.com"},
            "links": {"billing_request": request.id},
        }
    )
    shown = httpx.get(flow.authorisation_url, trust_env=False)
    assert (shown.status_code, "Byron" in shown.text) == (200, True)
    done = sandbox.do("gocardless", "fulfil_billing_request", billing_request=request.id)
    fulfilled = debits.billing_requests.get(request.id)
    assert (fulfilled.status, fulfilled.attributes["links"]["mandate_request_mandate"]) == (
        "fulfilled",
        done["mandate"],
    )
    mandate = debits.mandates.get(done["mandate"])
    assert (mandate.status, mandate.scheme, mandate.metadata) == ("pending_submission", "bacs", {"membership": "m1"})
    customer = debits.customers.get(done["customer"])
    assert (customer.given_name, customer.email) == ("Ada", "ada@example.com")
    told = [event["action"] for event in sandbox.state_of("gocardless.events") if event["links"].get("billing_request")]
    assert (told[:2], told[-1]) == (["created", "flow_created"], "fulfilled")
    assert debits.mandates.list(params={"customer": done["customer"]}).records[0].id == mandate.id


def test_a_payer_can_fill_in_the_page_and_only_once(sandbox: Any, debits: Any) -> None:
    request = debits.billing_requests.create(params={"mandate_request": {"scheme": "bacs"}})
    flow = debits.billing_request_flows.create(
        params={"redirect_uri": "http://127.0.0.1/back", "links": {"billing_request": request.id}}
    )
    typed = {"given_name": "Eve", "family_name": "Holt", "email": "eve@example.com"}
    first, second = (httpx.post(flow.authorisation_url, data=typed, trust_env=False) for _ in range(2))
    assert (first.status_code, first.headers["location"]) == (303, "http://127.0.0.1/back")
    assert second.status_code == 422
    assert len(sandbox.state_of("gocardless.mandates")) == 1


def test_the_bacs_days_of_a_new_mandate(sandbox: Any, debits: Any) -> None:
    monday = to_a_monday_morning(sandbox)
    request = debits.billing_requests.create(params={"mandate_request": {"scheme": "bacs"}})
    made = sandbox.do("gocardless", "fulfil_billing_request", billing_request=request.id)["mandate"]
    assert debits.mandates.get(made).next_possible_charge_date == (monday + timedelta(4)).isoformat()
    payment = charge(debits, made)
    assert payment.charge_date == (monday + timedelta(4)).isoformat()
    expected = [
        (0, bacs.CUT_OFF, f"gocardless submitted {made}", "pending_submission"),
        (2, bacs.OPENING, f"gocardless active {made}", "pending_submission"),
        (2, bacs.CUT_OFF, f"gocardless submitted {payment.id}", "submitted"),
        (7, bacs.NOON, f"gocardless confirmed {payment.id}", "confirmed"),
        (8, bacs.OPENING, f"gocardless paid_out {payment.id}", "paid_out"),
    ]
    for days, hour, name, status in expected:
        assert to(sandbox, bacs.at(monday + timedelta(days), hour) + timedelta(seconds=2)) == [name]
        assert debits.payments.get(payment.id).status == status
    assert events_of(sandbox, "payment", payment.id) == [
        ("created", "api", "payment_created"),
        ("submitted", "gocardless", "payment_submitted"),
        ("confirmed", "gocardless", "payment_confirmed"),
        ("paid_out", "gocardless", "payment_paid_out"),
    ]


def test_the_charge_date_of_an_active_mandate(sandbox: Any, debits: Any) -> None:
    monday = to_a_monday_morning(sandbox)
    mandate = mandate_of(sandbox)
    soonest = (monday + timedelta(3)).isoformat()
    assert debits.mandates.get(mandate).next_possible_charge_date == soonest
    assert charge(debits, mandate).charge_date == soonest
    saturday = (monday + timedelta(5)).isoformat()
    assert charge(debits, mandate, charge_date=saturday).charge_date == (monday + timedelta(7)).isoformat()
    with pytest.raises(errors.ValidationFailedError) as early:
        charge(debits, mandate, charge_date=(monday + timedelta(2)).isoformat())
    assert early.value.errors[0]["field"] == "charge_date"
    assert early.value.errors[0]["request_pointer"] == "/payments/charge_date"
    to(sandbox, bacs.at(monday, bacs.CUT_OFF) + timedelta(seconds=1))
    assert debits.mandates.get(mandate).next_possible_charge_date == (monday + timedelta(4)).isoformat()


def test_cancel_only_before_submission(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    first, second = charge(debits, mandate), charge(debits, mandate)
    cancelled = debits.payments.cancel(first.id, params={"metadata": {"by": "us"}})
    assert cancelled.status == "cancelled"
    debits.scenario_simulators.run("payment_submitted", params={"links": {"resource": second.id}})
    for payment in (first, second):
        with pytest.raises(errors.InvalidStateError) as refused:
            debits.payments.cancel(payment.id)
        assert reason(refused) == "cancellation_failed"
    told = [event for event in sandbox.state_of("gocardless.events") if event["action"] == "cancelled"]
    assert [(one["links"], one["metadata"], one["resource_metadata"]) for one in told] == [
        ({"payment": first.id}, {"by": "us"}, {"bill": "b1"})
    ]


def test_a_failed_payment_is_retried_three_times_at_most(sandbox: Any, debits: Any) -> None:
    payment = charge(debits, mandate_of(sandbox))
    with pytest.raises(errors.InvalidStateError):
        debits.payments.retry(payment.id)
    for _ in range(3):
        sandbox.do("gocardless", "fail_payment", payment=payment.id)
        assert debits.payments.retry(payment.id).status == "pending_submission"
    sandbox.do("gocardless", "fail_payment", payment=payment.id, cause="bank_account_closed")
    with pytest.raises(errors.InvalidStateError) as refused:
        debits.payments.retry(payment.id)
    assert reason(refused) == "retry_failed"
    told = events_of(sandbox, "payment", payment.id)
    assert told[1:4] == [
        ("submitted", "gocardless", "payment_submitted"),
        ("failed", "bank", "insufficient_funds"),
        ("resubmission_requested", "api", "payment_retried"),
    ]
    last = sandbox.state_of("gocardless.events")[-1]["details"]
    assert (last["cause"], last["scheme"], last["reason_code"], last["will_attempt_retry"]) == (
        "bank_account_closed",
        "bacs",
        "ARUDD-B",
        False,
    )


def test_an_announced_retry_comes_by_itself(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    plain, retried = charge(debits, mandate), charge(debits, mandate, retry_if_possible=True)
    refused = sandbox.admin.post("/do/gocardless/fail_payment", json={"payment": plain.id, "will_attempt_retry": True})
    assert refused.status_code == 409
    sandbox.do("gocardless", "fail_payment", payment=retried.id, will_attempt_retry=True)
    assert sandbox.state_of("gocardless.events")[-1]["details"]["will_attempt_retry"] is True
    sandbox.advance(days=7, hours=1)
    assert ("resubmission_requested", "gocardless", "payment_autoretried") in events_of(sandbox, "payment", retried.id)
    sandbox.advance(days=21)
    assert debits.payments.get(retried.id).status == "paid_out"


def test_money_can_go_back_after_it_was_confirmed_and_paid_out(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    late, back = charge(debits, mandate), charge(debits, mandate)
    sandbox.do("gocardless", "confirm_payment", payment=late.id)
    sandbox.do("gocardless", "fail_payment", payment=late.id, cause="refer_to_payer")
    sandbox.do("gocardless", "pay_out", payment=back.id)
    assert debits.payments.get(back.id).attributes["links"]["payout"].startswith("PO")
    sandbox.do("gocardless", "charge_back", payment=back.id)
    assert [step[0] for step in events_of(sandbox, "payment", late.id)] == [
        "created",
        "submitted",
        "confirmed",
        "failed",
    ]
    assert events_of(sandbox, "payment", back.id)[-1] == ("charged_back", "bank", "authorisation_disputed")
    assert debits.payments.get(back.id).status == "charged_back"


def test_a_cancelled_instruction_cancels_what_is_pending(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox, metadata={"membership": "m1"})
    pending, submitted = charge(debits, mandate), charge(debits, mandate)
    debits.scenario_simulators.run("payment_submitted", params={"links": {"resource": submitted.id}})
    sandbox.do("gocardless", "cancel_mandate", mandate=mandate)
    assert debits.mandates.get(mandate).status == "cancelled"
    assert debits.mandates.get(mandate).next_possible_charge_date is None
    assert events_of(sandbox, "payment", pending.id)[-1] == ("cancelled", "bank", "mandate_cancelled")
    assert debits.payments.get(submitted.id).status == "submitted"
    with pytest.raises(errors.InvalidStateError) as inactive:
        charge(debits, mandate)
    assert reason(inactive) == "mandate_is_inactive"
    with pytest.raises(errors.InvalidStateError) as again:
        debits.mandates.cancel(mandate)
    assert reason(again) == "cancellation_failed"
    sandbox.advance(days=14)
    assert events_of(sandbox, "payment", submitted.id)[-1] == ("failed", "bank", "mandate_cancelled")


def test_our_own_cancellation_says_so_and_a_mandate_can_be_reinstated(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    with pytest.raises(errors.InvalidStateError) as active:
        debits.mandates.reinstate(mandate)
    assert reason(active) == "mandate_not_inactive"
    assert debits.mandates.cancel(mandate).status == "cancelled"
    assert events_of(sandbox, "mandate", mandate)[-1] == ("cancelled", "api", "mandate_cancelled")
    assert debits.mandates.reinstate(mandate).status == "pending_submission"
    sandbox.advance(days=10)
    assert debits.mandates.get(mandate).status == "active"
    assert events_of(sandbox, "mandate", mandate)[-1] == ("reinstated", "gocardless", "mandate_reinstated")


def test_an_instruction_is_transferred_replaced_blocked_and_reinstated(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    waiting = charge(debits, mandate)
    bank = debits.mandates.get(mandate).attributes["links"]["customer_bank_account"]
    sandbox.do("gocardless", "transfer_mandate", mandate=mandate)
    moved = debits.mandates.get(mandate)
    assert (moved.status, moved.attributes["links"]["customer_bank_account"] == bank) == ("active", False)
    new = sandbox.do("gocardless", "replace_mandate", mandate=mandate)["mandate"]
    (told,) = (event for event in sandbox.state_of("gocardless.events") if event["action"] == "replaced")
    assert told["links"] == {"mandate": mandate, "new_mandate": new}
    assert [debits.mandates.get(each).status for each in (mandate, new)] == ["cancelled", "active"]
    assert debits.payments.get(waiting.id).attributes["links"]["mandate"] == new
    sandbox.do("gocardless", "end_mandate", mandate=new, status="blocked")
    with pytest.raises(errors.InvalidStateError):
        charge(debits, new)
    sandbox.do("gocardless", "reinstate_mandate", mandate=new)
    assert [action for action, *_ in events_of(sandbox, "mandate", new)][-2:] == ["blocked", "reinstated"]
    payment = charge(debits, new)
    sandbox.do("gocardless", "charge_back", payment=payment.id)
    assert sandbox.do("gocardless", "cancel_chargeback", payment=payment.id)["status"] == "confirmed"
    assert events_of(sandbox, "payment", payment.id)[-1] == ("chargeback_cancelled", "bank", "payment_confirmed")


def test_the_same_key_is_a_conflict_naming_what_was_made(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    first = charge(debits, mandate, key="bill-1")
    with pytest.raises(errors.IdempotentCreationConflictError) as conflict:
        charge(debits, mandate, key="bill-1", amount=9999)
    assert (conflict.value.code, conflict.value.conflicting_resource_id) == (409, first.id)
    quiet = gocardless_pro.Client(
        access_token=sandbox.credentials["gocardless"]["access_token"], base_url=sandbox.urls["gocardless"]
    )
    assert charge(quiet, mandate, key="bill-1").id == first.id
    assert len(sandbox.state_of("gocardless.payments")) == 1


def test_a_dropped_answer_is_found_by_its_key(sandbox: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    sandbox.post("/faults", provider="gocardless", kind="drop_answer", path="^/payments$")
    with pytest.raises(errors.IdempotentCreationConflictError) as conflict:  # of the client's own second attempt
        charge(debits, mandate, key="bill-1")
    (made,) = sandbox.state_of("gocardless.payments")
    assert conflict.value.conflicting_resource_id == made["id"]


def test_errors_are_the_clients_classes(sandbox: Any, debits: Any) -> None:
    with pytest.raises(errors.InvalidApiUsageError) as unknown:
        debits.payments.get("PM404")
    assert unknown.value.code == 404
    with pytest.raises(errors.ValidationFailedError) as wrong:
        charge(debits, mandate_of(sandbox), amount=-1)
    assert wrong.value.errors[0]["field"] == "amount"
    with pytest.raises(errors.ValidationFailedError):
        charge(debits, mandate_of(sandbox), metadata={"a": "1", "b": "2", "c": "3", "d": "4"})
    other = gocardless_pro.Client(access_token="wrong", base_url=sandbox.urls["gocardless"])
    with pytest.raises(errors.AuthenticationError):
        other.payments.list()
    for kind, error in (
        ("500_before", errors.GoCardlessInternalError),
        ("429", errors.RateLimitError),
    ):
        sandbox.post("/faults", provider="gocardless", kind=kind)
        with pytest.raises(error):
            debits.payments.list()
    sandbox.post("/faults", provider="gocardless", kind="html_502", times=1)
    assert debits.payments.list().records == []  # the client tries again by itself


def test_the_version_header_must_be_there_and_known(sandbox: Any) -> None:
    headers = {"authorization": f"Bearer {sandbox.credentials['gocardless']['access_token']}"}
    url = sandbox.urls["gocardless"] + "/payments"
    without = httpx.get(url, headers=headers, trust_env=False)
    wrong = httpx.get(url, headers=headers | {"gocardless-version": "2014-01-01"}, trust_env=False)
    assert [one.json()["error"]["errors"][0]["reason"] for one in (without, wrong)] == [
        "missing_version_header",
        "version_not_found",
    ]
    assert (without.status_code, wrong.status_code) == (400, 400)


def test_lists_page_by_cursor_and_filter(sandbox: Any, debits: Any) -> None:
    one, two = mandate_of(sandbox), mandate_of(sandbox)
    ids = [charge(debits, one).id for _ in range(5)]
    charge(debits, two)
    newest_first = ids[::-1]
    page = debits.payments.list(params={"mandate": one, "limit": 2})
    assert ([payment.id for payment in page.records], page.after, page.before) == (
        newest_first[:2],
        newest_first[1],
        None,
    )
    assert [payment.id for payment in debits.payments.all(params={"mandate": one, "limit": 2})] == newest_first
    newer = debits.payments.list(params={"mandate": one, "limit": 2, "before": newest_first[4]})
    assert [payment.id for payment in newer.records] == newest_first[2:4]
    customer = debits.mandates.get(two).attributes["links"]["customer"]
    assert len(debits.payments.list(params={"customer": customer}).records) == 1
    assert debits.payments.list(params={"status": "failed,cancelled"}).records == []
    with pytest.raises(errors.InvalidApiUsageError):
        debits.payments.list(params={"created_at": {"gte": "2026-01-01T00:00:00Z"}})  # becomes created_at=gte


def test_events_are_listed_since_an_instant(sandbox: Any, debits: Any) -> None:
    payment = charge(debits, mandate_of(sandbox))
    sandbox.advance(hours=1)
    since = sandbox.now().isoformat()
    sandbox.do("gocardless", "confirm_payment", payment=payment.id)
    late = debits.events.list(params={"created_at[gte]": since, "resource_type": "payments"})
    assert [event.action for event in late.records] == ["confirmed", "submitted"]
    assert [event.attributes["resource_metadata"] for event in late.records] == [{"bill": "b1"}] * 2


def test_the_rate_limit_is_told_and_kept(sandbox: Any, debits: Any) -> None:
    debits.customers.list()
    told = debits.rate_limit
    assert (told["ratelimit-limit"], told["ratelimit-remaining"], told["ratelimit-reset"][-3:]) == (1000, 999, "GMT")
    token = sandbox.credentials["gocardless"]["access_token"]
    headers = {"authorization": f"Bearer {token}", "gocardless-version": "2015-07-06"}
    with httpx.Client(base_url=sandbox.urls["gocardless"], headers=headers, trust_env=False) as http:
        statuses = [http.get("/customers/CU1").status_code for _ in range(1000)]
        if 429 not in statuses:  # a new minute had begun
            statuses += [http.get("/customers/CU1").status_code for _ in range(1000)]
    assert 429 in statuses
    sandbox.post("/reset")


def test_webhooks_are_signed_and_hold_at_most_250_events(sandbox: Any, receiver: Any, debits: Any) -> None:
    mandate = mandate_of(sandbox)
    payments = {charge(debits, mandate).id for _ in range(260)}
    made = len(sandbox.state_of("gocardless.events"))
    receiver.wait(HOOK, lambda got: sum(len(one.json["events"]) for one in got) == made)
    receiver.clear()
    sandbox.do("gocardless", "cancel_mandate", mandate=mandate)
    hooks = receiver.wait(HOOK, lambda got: sum(len(one.json["events"]) for one in got) == 261)
    assert [len(one.json["events"]) for one in hooks] == [250, 11]
    secret = sandbox.credentials["gocardless"]["webhook_secret"]
    parsed = [webhooks.parse_with_meta(one.body.decode(), secret, one.headers["webhook-signature"]) for one in hooks]
    told = [event for hook in parsed for event in hook.events]
    assert {event.attributes["links"].get("payment") for event in told} == payments | {None}
    assert len({event.id for event in told}) == 261
    assert len({hook.webhook_id for hook in parsed}) == 2


def test_refunds_need_the_right_confirmation(sandbox: Any, debits: Any, receiver: Any) -> None:
    payment = charge(debits, mandate_of(sandbox))

    def refund(amount: int, confirmation: int) -> Any:
        params = {"amount": amount, "total_amount_confirmation": confirmation, "links": {"payment": payment.id}}
        return debits.refunds.create(params=params)

    with pytest.raises(errors.InvalidStateError):
        refund(1000, 1000)
    sandbox.do("gocardless", "confirm_payment", payment=payment.id)
    made = refund(1000, 1000)
    with pytest.raises(errors.InvalidStateError) as wrong:
        refund(500, 500)
    assert reason(wrong) == "total_amount_confirmation_invalid"
    with pytest.raises(errors.ValidationFailedError):
        refund(1501, 2501)
    assert debits.payments.get(payment.id).amount_refunded == 1000
    sandbox.advance(days=10)
    assert debits.refunds.get(made.id).status == "paid"
    assert [step[0] for step in events_of(sandbox, "refund", made.id)] == ["created", "paid"]
    assert sandbox.do("gocardless", "fail_refund", refund=made.id)["status"] == "bounced"
    assert debits.payments.get(payment.id).amount_refunded == 0
    debits.scenario_simulators.run("refund_returned", params={"links": {"resource": made.id}})
    steps = [(action, cause) for action, _origin, cause in events_of(sandbox, "refund", made.id)]
    assert steps[2:] == [("failed", "refund_failed"), ("funds_returned", "refund_funds_returned")]
    assert sandbox.admin.post("/do/gocardless/pay_refund", json={"refund": made.id}).status_code == 409


def test_a_refund_is_made_once_a_key_and_by_hand(sandbox: Any, debits: Any) -> None:
    payment = charge(debits, mandate_of(sandbox))
    sandbox.do("gocardless", "confirm_payment", payment=payment.id)
    params = {"amount": 1000, "total_amount_confirmation": 1000, "links": {"payment": payment.id}}
    headers = {"Idempotency-Key": "refund:1"}
    made = debits.refunds.create(params=params | {"metadata": {"refund_id": "1"}}, headers=headers)
    with pytest.raises(errors.IdempotentCreationConflictError) as conflict:
        debits.refunds.create(params=params, headers=headers)
    assert conflict.value.conflicting_resource_id == made.id
    assert (made.status, made.metadata) == ("submitted", {"refund_id": "1"})
    by_hand = sandbox.do("gocardless", "refund_payment", payment=payment.id, amount=500)["refund"]
    assert sandbox.do("gocardless", "pay_refund", refund=by_hand)["status"] == "paid"
    assert debits.payments.get(payment.id).amount_refunded == 1500


@pytest.mark.parametrize(
    ("simulator", "status", "actions"),
    [
        ("payment_confirmed", "confirmed", ["created", "submitted", "confirmed"]),
        ("payment_paid_out", "paid_out", ["created", "submitted", "confirmed", "paid_out"]),
        ("payment_failed", "failed", ["created", "submitted", "failed"]),
        ("payment_late_failure", "failed", ["created", "submitted", "confirmed", "failed"]),
        ("payment_charged_back", "charged_back", ["created", "submitted", "confirmed", "charged_back"]),
    ],
)
def test_payment_simulators(sandbox: Any, debits: Any, simulator: str, status: str, actions: list[str]) -> None:
    payment = charge(debits, mandate_of(sandbox))
    debits.scenario_simulators.run(simulator, params={"links": {"resource": payment.id}})
    assert debits.payments.get(payment.id).status == status
    assert [step[0] for step in events_of(sandbox, "payment", payment.id)] == actions
    with pytest.raises(errors.InvalidStateError):
        debits.scenario_simulators.run(simulator, params={"links": {"resource": payment.id}})


@pytest.mark.parametrize(
    ("simulator", "status"),
    [("mandate_activated", "active"), ("mandate_failed", "failed"), ("mandate_cancelled", "cancelled")],
)
def test_mandate_simulators(sandbox: Any, debits: Any, simulator: str, status: str) -> None:
    request = debits.billing_requests.create(params={"mandate_request": {"scheme": "bacs"}})
    debits.scenario_simulators.run("billing_request_fulfilled", params={"links": {"resource": request.id}})
    mandate = debits.billing_requests.get(request.id).attributes["links"]["mandate_request_mandate"]
    debits.scenario_simulators.run(simulator, params={"links": {"resource": mandate}})
    assert debits.mandates.get(mandate).status == status


@pytest.mark.parametrize(
    ("given_name", "ends"),
    [("Penniless", "failed"), ("Late", "failed"), ("Fickle", "charged_back"), ("Ada", "paid_out")],
)
def test_given_names_that_go_wrong(sandbox: Any, debits: Any, given_name: str, ends: str) -> None:
    payment = charge(debits, mandate_of(sandbox, given_name=given_name))
    sandbox.advance(days=21)
    assert debits.payments.get(payment.id).status == ends


def test_customers_and_bank_accounts_by_hand(sandbox: Any, debits: Any) -> None:
    customer = debits.customers.create(
        params={"given_name": "Ada", "family_name": "Byron", "email": "a@example.com", "country_code": "GB"}
    )
    bank = debits.customer_bank_accounts.create(
        params={
            "account_number": "55779911",
            "branch_code": "200000",
            "country_code": "GB",
            "account_holder_name": "Ada Byron",
            "links": {"customer": customer.id},
        }
    )
    mandate = debits.mandates.create(params={"scheme": "bacs", "links": {"customer_bank_account": bank.id}})
    assert (bank.account_number_ending, bank.enabled, mandate.status) == ("11", True, "pending_submission")
    assert debits.customers.update(customer.id, params={"metadata": {"user": "7"}}).metadata == {"user": "7"}
    assert debits.customer_bank_accounts.disable(bank.id).enabled is False
    assert debits.mandates.get(mandate.id).status == "cancelled"


@pytest.mark.parametrize(
    ("day", "working"),
    [
        ("2026-11-20", True),
        ("2026-11-22", False),
        ("2026-12-25", False),
        ("2026-12-28", False),  # Boxing Day is a Saturday
        ("2026-12-29", True),
        ("2027-03-26", False),  # Good Friday
        ("2027-03-29", False),  # Easter Monday
        ("2027-05-03", False),
        ("2027-05-31", False),
        ("2027-08-30", False),
        ("2028-01-03", False),  # New Year's Day is a Saturday
        ("2021-12-27", False),
        ("2021-12-28", False),
        ("2022-06-02", False),
        ("2022-05-30", True),
    ],
)
def test_working_days_of_england(day: str, working: bool) -> None:
    assert bacs.is_working(date.fromisoformat(day)) is working
