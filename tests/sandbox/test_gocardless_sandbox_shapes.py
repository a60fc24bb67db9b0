"""What the GoCardless sandbox answers, held against the vendor's own samples."""

import json
import os
from pathlib import Path
from typing import Any

import httpx
import pytest

SAMPLES = Path(os.environ.get("DUEFLOW_SAMPLES", Path(__file__).parents[2] / "../shared/samples"))
FIXTURES = SAMPLES / "gocardless_official"
RESOURCES = (
    "billing_request_flows",
    "billing_requests",
    "customer_bank_accounts",
    "customers",
    "events",
    "mandates",
    "payments",
    "payouts",
    "refunds",
)
# The samples fill in every link and detail there can be; these depend on what happened.
OPEN = {"links", "details", "resources", "metadata", "prefilled_customer", "prefilled_bank_account"}


@pytest.fixture(scope="module")
def everything(sandbox_process: Any) -> dict[str, list[Any]]:
    """A story that makes every kind of resource in several states -> {resource: as answered over HTTP}."""
    box = sandbox_process
    box.post("/reset")
    token = box.credentials["gocardless"]["access_token"]
    headers = {"authorization": f"Bearer {token}", "gocardless-version": "2015-07-06"}
    with httpx.Client(base_url=box.urls["gocardless"], headers=headers, trust_env=False) as http:

        def make(resource: str, **fields: Any) -> Any:
            answer = http.post(f"/{resource}", json={resource: fields})
            assert answer.status_code == 201, answer.text
            return answer.json()[resource]

        request = make("billing_requests", mandate_request={"scheme": "bacs"}, metadata={"m": "1"})
        flow = make("billing_request_flows", links={"billing_request": request["id"]}, redirect_uri="http://127.0.0.1/")
        mandate = box.do("gocardless", "fulfil_billing_request", billing_request=request["id"])["mandate"]
        payments = [make("payments", amount=900, currency="GBP", links={"mandate": mandate}) for _ in range(4)]
        for action, payment in zip(("pay_out", "fail_payment", "charge_back"), payments, strict=False):
            box.do("gocardless", action, payment=payment["id"])
        make("refunds", amount=100, total_amount_confirmation=100, links={"payment": payments[0]["id"]})
        box.do("gocardless", "cancel_mandate", mandate=mandate)
        found = {name: http.get(f"/{name}").json()[name] for name in RESOURCES if name != "billing_request_flows"}
    return found | {"billing_request_flows": [flow]}


def kind_of(value: Any) -> str:
    names = {bool: "boolean", int: "number", str: "string", dict: "object", list: "array"}
    return "null" if value is None else names[type(value)]


def differences(ours: Any, sample: Any, path: str) -> list[str]:
    """Every key of the sample must be there, of the sample's JSON type, or null."""
    if ours is None:
        return []
    if kind_of(ours) != kind_of(sample):
        return [f"{path} is {kind_of(ours)}, the sample's {kind_of(sample)}"]
    if not isinstance(ours, dict) or path.rsplit(".", 1)[-1] in OPEN:
        return []
    missing = [f"{path}.{name} is missing" for name in sample if name not in ours]
    return missing + [
        wrong for name in sample if name in ours for wrong in differences(ours[name], sample[name], f"{path}.{name}")
    ]


def sample_of(resource: str) -> Any:
    path = FIXTURES / f"{resource}.json"
    if not path.exists():
        pytest.skip(f"no vendor sample at {path}")
    stored = json.loads(path.read_text(encoding="utf-8"))
    return (stored.get("get") or stored["create"])["body"][resource]


@pytest.mark.parametrize("resource", RESOURCES)
def test_the_vendors_sample_fields_are_all_there(everything: dict[str, list[Any]], resource: str) -> None:
    sample = sample_of(resource)
    assert everything[resource], f"the story made no {resource}"
    assert [wrong for one in everything[resource] for wrong in differences(one, sample, resource)] == []


@pytest.mark.parametrize("resource", RESOURCES)
def test_no_field_is_ours_alone(everything: dict[str, list[Any]], resource: str) -> None:
    assert {field for one in everything[resource] for field in one} - set(sample_of(resource)) == set()


@pytest.mark.parametrize("part", ["links", "details"])
def test_links_and_details_of_events_are_the_vendors(everything: dict[str, list[Any]], part: str) -> None:
    known = set(sample_of("events")[part])
    assert {name for event in everything["events"] for name in event[part]} - known == set()


def test_every_action_cause_and_origin_of_payments_and_mandates_is_catalogued(everything: dict[str, list[Any]]) -> None:
    path = SAMPLES / "derived" / "gocardless_actions_causes_origins.json"
    if not path.exists():
        pytest.skip(f"no catalogue of events at {path}")
    catalogue = json.loads(path.read_text(encoding="utf-8"))
    unknown = []
    for event in everything["events"]:
        resource, details = event["resource_type"].removesuffix("s"), event["details"]
        if resource in ("payment", "mandate"):
            causes = catalogue[resource].get(event["action"], {})
            if details["origin"] not in causes.get(details["cause"], []):
                unknown.append((resource, event["action"], details["cause"], details["origin"]))
    assert unknown == []


@pytest.mark.parametrize("name", ["gocardless_error", "idempotent_creation_conflict_error", "invalid_state_error"])
def test_error_bodies_have_the_vendors_keys(sandbox: Any, name: str) -> None:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no vendor sample at {path}")
    expected = set(json.loads(path.read_text(encoding="utf-8"))["error"])
    headers = {
        "authorization": f"Bearer {sandbox.credentials['gocardless']['access_token']}",
        "gocardless-version": "2015-07-06",
        "idempotency-key": "once",
    }
    body = {"customers": {"company_name": "A", "email": "a@example.com"}}
    with httpx.Client(base_url=sandbox.urls["gocardless"], headers=headers, trust_env=False) as http:
        http.post("/customers", json=body)
        if name == "gocardless_error":
            sandbox.post("/faults", provider="gocardless", kind="500_before")
        if name == "invalid_state_error":
            mandate = sandbox.do("gocardless", "create_mandate")["mandate"]
            answer = http.post(f"/mandates/{mandate}/actions/reinstate", content=b"null")
        else:
            answer = http.post("/customers", json=body)
    assert expected <= set(answer.json()["error"])
