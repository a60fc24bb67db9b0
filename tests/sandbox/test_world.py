"""The sandbox's core: clock, faults, webhooks, call log, state that survives a kill, over real HTTP."""

import hashlib
import hmac
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

GOCARDLESS_HOOK = "/webhooks/gocardless"


def make_customer(sandbox: Any, **headers: str) -> httpx.Response:
    """One plain GoCardless call, without any client's retries."""
    token = sandbox.credentials["gocardless"]["access_token"]
    headers = {"authorization": f"Bearer {token}", "gocardless-version": "2015-07-06"} | headers
    body = {"customers": {"given_name": "Frank", "family_name": "Osborne", "email": "f@example.com"}}
    return httpx.post(sandbox.urls["gocardless"] + "/customers", json=body, headers=headers, trust_env=False, timeout=5)


def hooks_of(receiver: Any, count: int) -> list[Any]:
    received: list[Any] = receiver.wait(GOCARDLESS_HOOK, lambda got: len(got) >= count)
    return received


def event_ids(hook: Any) -> list[str]:
    return [event["id"] for event in hook.json["events"]]


def test_the_clock_starts_at_real_time_and_only_moves_forward(sandbox: Any) -> None:
    began = sandbox.now()
    assert abs(began.timestamp() - time.time()) < 5
    sandbox.advance(days=40)
    assert timedelta(days=40) <= sandbox.now() - began < timedelta(days=40, seconds=10)
    refused = sandbox.admin.post("/clock", json={"now": began.isoformat()})
    assert (refused.status_code, "only moves forward" in refused.json()["error"]) == (409, True)


def test_a_500_before_changes_nothing_and_a_500_after_has_happened(sandbox: Any) -> None:
    sandbox.post("/faults", provider="gocardless", kind="500_before", path="^/customers$", times=1)
    sandbox.post("/faults", provider="gocardless", kind="500_after", times=1)
    assert make_customer(sandbox).status_code == 500
    assert sandbox.state_of("gocardless.customers") == []
    second = make_customer(sandbox)
    assert (second.status_code, second.json()["error"]["type"]) == (500, "gocardless")
    assert len(sandbox.state_of("gocardless.customers")) == 1
    assert make_customer(sandbox).status_code == 201
    assert sandbox.get("/faults") == []


def test_a_fault_waits_for_its_path_and_can_be_switched_off(sandbox: Any) -> None:
    sandbox.post("/faults", provider="gocardless", kind="429", path="^/payments", times=5)
    assert make_customer(sandbox).status_code == 201
    sandbox.admin.delete("/faults")
    assert sandbox.get("/faults") == []


def test_429_and_an_html_502(sandbox: Any) -> None:
    sandbox.post("/faults", provider="gocardless", kind="429")
    sandbox.post("/faults", provider="gocardless", kind="html_502")
    limited, broken = make_customer(sandbox), make_customer(sandbox)
    assert (limited.status_code, limited.json()["error"]["errors"][0]["reason"]) == (429, "rate_limit_exceeded")
    assert (broken.status_code, broken.headers["content-type"]) == (502, "text/html")
    assert sandbox.state_of("gocardless.customers") == []


def test_a_dropped_answer_has_happened_and_a_timeout_has_not(sandbox: Any) -> None:
    sandbox.post("/faults", provider="gocardless", kind="drop_answer")
    with pytest.raises(httpx.RemoteProtocolError):
        make_customer(sandbox)
    assert len(sandbox.state_of("gocardless.customers")) == 1
    sandbox.post("/faults", provider="gocardless", kind="timeout", seconds=0.2)
    with pytest.raises(httpx.RemoteProtocolError):
        make_customer(sandbox)
    assert len(sandbox.state_of("gocardless.customers")) == 1


def test_an_unknown_fault_is_refused(sandbox: Any) -> None:
    refused = sandbox.admin.post("/faults", json={"provider": "stripe", "kind": "fire"})
    assert (refused.status_code, "Unknown fault" in refused.json()["error"]) == (400, True)


def test_the_call_log_names_key_status_and_body_of_every_call(sandbox: Any) -> None:
    make_customer(sandbox, **{"idempotency-key": "key-1"})
    make_customer(sandbox, **{"idempotency-key": "key-1"})
    calls = sandbox.get("/calls?provider=gocardless")
    assert [(call["method"], call["path"], call["idempotency_key"], call["status"]) for call in calls] == [
        ("POST", "/customers", "key-1", 201),
        ("POST", "/customers", "key-1", 409),
    ]
    assert calls[0]["body"]["customers"]["given_name"] == "Frank"
    assert sandbox.get("/calls?provider=stripe") == []
    sandbox.admin.delete("/calls")
    assert sandbox.get("/calls") == []


def test_a_webhook_is_signed_and_retried_until_it_is_taken(sandbox: Any, receiver: Any) -> None:
    receiver.statuses = [500, 503]
    make_customer(sandbox)
    hooks = hooks_of(receiver, 3)
    assert len({hook.body for hook in hooks}) == 1
    secret = sandbox.credentials["gocardless"]["webhook_secret"].encode()
    assert hooks[0].headers["webhook-signature"] == hmac.new(secret, hooks[0].body, hashlib.sha256).hexdigest()
    (entry,) = sandbox.wait("/webhooks", lambda log: log[0]["status"] == "delivered")
    assert (entry["status"], entry["code"], entry["attempts"], entry["type"]) == (
        "delivered",
        200,
        3,
        "customers.created",
    )


def test_webhooks_can_be_doubled(sandbox: Any, receiver: Any) -> None:
    sandbox.post("/webhooks", provider="gocardless", duplicate=True)
    make_customer(sandbox)
    first, second = hooks_of(receiver, 2)
    assert first.body == second.body


def test_webhooks_can_be_held_and_are_sent_when_flushed_newest_first(sandbox: Any, receiver: Any) -> None:
    sandbox.post("/webhooks", provider="gocardless", hold=True, reorder=True)
    for count in (1, 2):
        make_customer(sandbox)
        sandbox.wait("/webhooks", lambda log, count=count: len(log) == count)
    assert [entry["status"] for entry in sandbox.get("/webhooks")] == ["pending", "pending"]
    assert receiver.received == []
    assert sandbox.post("/webhooks/flush", provider="gocardless") == {"sent": 2}
    hooks = hooks_of(receiver, 2)
    made = [event["id"] for event in sandbox.state_of("gocardless.events")]
    assert [event_ids(hook) for hook in hooks] == [[made[1]], [made[0]]]


def test_moving_the_clock_makes_waiting_retries_due(sandbox: Any, receiver: Any) -> None:
    receiver.statuses = [500] * 4
    make_customer(sandbox)
    hooks_of(receiver, 4)  # the next retry would wait four seconds
    began = time.monotonic()
    sandbox.advance(hours=1)
    hooks_of(receiver, 5)
    assert time.monotonic() - began < 3


def test_an_action_with_a_wrong_argument_or_name_is_refused(sandbox: Any) -> None:
    unknown = sandbox.admin.post("/do/stripe/rob_bank", json={})
    wrong = sandbox.admin.post("/do/stripe/decline_card", json={"card": "x"})
    missing = sandbox.admin.post("/do/stripe/decline_card", json={"payment_method": "pm_none"})
    assert (unknown.status_code, wrong.status_code, missing.status_code) == (404, 400, 409)


def test_state_clock_and_waiting_webhooks_survive_a_kill(
    another_sandbox: Callable[..., Any], receiver: Any, tmp_path: Path
) -> None:
    first = another_sandbox(tmp_path)
    first.advance(days=10)
    first.post("/webhooks", provider="gocardless", hold=True)
    make_customer(first)
    first.wait("/webhooks", bool)
    before, at = first.state_of("gocardless.customers"), first.now()
    ports = {name: int(url.rsplit(":", 1)[1]) for name, url in first.urls.items()}
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(5)
    second = another_sandbox(tmp_path, ports)
    assert second.state_of("gocardless.customers") == before
    assert timedelta() <= second.now() - at < timedelta(seconds=30)
    assert event_ids(hooks_of(receiver, 1)[0]) == [event["id"] for event in second.state_of("gocardless.events")]
    again = make_customer(second).json()["customers"]["id"]
    assert again != before[0]["id"]


def test_sigterm_ends_it_within_two_seconds(another_sandbox: Callable[..., Any], tmp_path: Path) -> None:
    running = another_sandbox(tmp_path)
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(5) == 0
    assert time.monotonic() - began < 2
