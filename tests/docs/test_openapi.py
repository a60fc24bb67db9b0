"""docs/coursepro.openapi.json: whole, true to what is served, and what is really sent fits it."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry as Schemas
from referencing.jsonschema import DRAFT202012

from integrations import coursepro_calls, registry
from integrations.clock import SystemClock
from integrations.coursepro import served
from integrations.coursepro.client import CoursePro
from integrations.guard import Reach
from integrations.pace import Free
from integrations.ready import Opening
from models.ports import CartPush, FieldsPush, MembershipPush, UserPush
from models.rules.lifecycle import Status
from models.rules.people import Field
from models.rules.states import Provider
from tests.sandbox.conftest import Receiver, Sandbox

ROOT = Path(__file__).resolve().parents[2]
DESCRIPTION: dict[str, Any] = json.loads((ROOT / "docs" / "coursepro.openapi.json").read_text())
HERE = "https://dueflow.example.org/openapi"
SCHEMAS: Any = Schemas().with_resource(HERE, DRAFT202012.create_resource(DESCRIPTION))
PREFIX = "/coursepro/v1"
VERBS = ("get", "put", "post", "delete", "patch")
OPERATIONS = [
    (where, path, verb)
    for where in ("paths", "webhooks")
    for path, item in DESCRIPTION[where].items()
    for verb in VERBS
    if verb in item
]

TEXT = {"type": "string", "minLength": 1}
REF = {"type": "object", "required": ["$ref"], "properties": {"$ref": {"pattern": "^#/components/"}}}
BODY = {
    "type": "object",
    "required": ["application/json"],
    "additionalProperties": {"type": "object", "required": ["schema"], "properties": {"schema": {"type": "object"}}},
}
OPERATION: dict[str, Any] = {
    "type": "object",
    "required": ["operationId", "summary", "responses"],
    "additionalProperties": False,
    "properties": {
        "operationId": TEXT,
        "summary": TEXT,
        "security": {"type": "array"},
        "parameters": {"type": "array", "items": {"anyOf": [REF, {"required": ["name", "in", "schema"]}]}},
        "requestBody": {"required": ["content"], "properties": {"content": BODY, "required": {"type": "boolean"}}},
        "responses": {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^([1-5][0-9][0-9]|default)$"},
            "additionalProperties": {
                "anyOf": [REF, {"required": ["description"], "properties": {"description": TEXT, "content": BODY}}]
            },
        },
    },
}
ITEM = {"type": "object", "additionalProperties": False, "properties": dict.fromkeys(VERBS, OPERATION)}
# As much of OpenAPI 3.1 as this description uses.
OPENAPI = {
    "type": "object",
    "required": ["openapi", "info", "servers", "security", "paths", "webhooks", "components"],
    "additionalProperties": False,
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "servers": {"type": "array", "items": {"required": ["url"]}},
        "security": {"type": "array", "minItems": 1},
        "paths": {"type": "object", "propertyNames": {"pattern": "^/"}, "additionalProperties": ITEM},
        "webhooks": {"type": "object", "additionalProperties": ITEM},
        "components": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "schemas": {"type": "object", "propertyNames": {"pattern": "^[A-Za-z0-9._-]+$"}},
                "responses": {"additionalProperties": {"required": ["description"]}},
                "parameters": {"additionalProperties": {"required": ["name", "in", "schema", "required"]}},
                "securitySchemes": {"additionalProperties": {"required": ["type", "scheme"]}},
            },
        },
    },
}


def validator(schema: Any) -> Draft202012Validator:
    """A schema of the description -> what checks against it, its references resolved there."""
    text = json.dumps(schema).replace('"#/components/', f'"{HERE}#/components/')
    return Draft202012Validator(json.loads(text), registry=SCHEMAS, format_checker=FormatChecker())


def wrong(schema: Any, value: Any) -> list[str]:
    """What does not fit."""
    return [f"{error.json_path}: {error.message}" for error in validator(schema).iter_errors(value)]


def operation(where: str, path: str, verb: str) -> dict[str, Any]:
    found: dict[str, Any] = DESCRIPTION[where][path][verb]
    return found


def asked(where: str, path: str, verb: str = "post") -> Any:
    """The schema of an operation's body."""
    return operation(where, path, verb)["requestBody"]["content"]["application/json"]["schema"]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = DESCRIPTION
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    made: dict[str, Any] = found
    return made


def walk(part: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    yield path, part
    inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    for name, each in inner:
        yield from walk(each, f"{path}.{name}")


# -- the description itself -------------------------------------------------------------------------------------------


def test_it_is_openapi_and_whole() -> None:
    assert [error.json_path for error in Draft202012Validator(OPENAPI).iter_errors(DESCRIPTION)] == []
    used = {part["$ref"] for _, part in walk(DESCRIPTION) if isinstance(part, dict) and "$ref" in part}
    for reference in used:
        assert resolved({"$ref": reference}), reference
    components = DESCRIPTION["components"]
    kept = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "parameters", "responses") for name in components[kind]
    }
    assert kept == used, "nothing is described that is not used"
    names = [operation(*each)["operationId"] for each in OPERATIONS]
    assert len(set(names)) == len(names)
    schemes = {name for _, part in walk(DESCRIPTION) if isinstance(part, dict) for each in part.get("security") or ()
               for name in each}  # fmt: skip
    assert schemes == components["securitySchemes"].keys()


def test_every_schema_is_one_and_every_example_fits_its_own() -> None:
    for path, part in walk(DESCRIPTION):
        if isinstance(part, dict) and "schema" in part:
            Draft202012Validator.check_schema(part["schema"])
            examples = [part["example"]] if "example" in part else []
            examples += [each["value"] for each in part.get("examples", {}).values()]
            assert [wrong(part["schema"], each) for each in examples] == [[] for _ in examples], path
            assert examples or path.endswith(tuple("0123456789")) or ".parameters." in path, f"{path} has no example"
    for schema in DESCRIPTION["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("where", "path", "verb"), OPERATIONS)
def test_each_call_tells_who_may_and_a_changing_one_is_signed(where: str, path: str, verb: str) -> None:
    told = operation(where, path, verb)
    headers = {resolved(each)["name"] for each in told.get("parameters", ()) if resolved(each)["in"] == "header"}
    assert headers == (set() if verb == "get" else {"X-Event-Id", "X-Client-Identifier", "X-Signature"})
    answers = told["responses"].keys()
    if where == "webhooks":
        assert answers == {"200", "401", "422", "default"}
    else:
        assert answers >= ({"401"} if verb == "get" else {"401", "413", "503"})


def test_its_words_are_those_of_the_rules() -> None:
    schemas = DESCRIPTION["components"]["schemas"]
    assert schemas["MembershipStatus"]["enum"] == [status.value for status in Status]
    in_words = (ROOT / "docs" / "coursepro.md").read_text()
    told = {(verb.upper(), path) for where, path, verb in OPERATIONS if where == "paths" and verb != "put"}
    assert [f"{verb} {path}" for verb, path in sorted(told) if f"`{verb} {path}`" not in in_words] == []


# -- what is served ---------------------------------------------------------------------------------------------------


def test_what_is_served_is_described_and_the_other_way_round() -> None:
    later = {("POST", path.removeprefix(PREFIX)) for path in coursepro_calls.CALLS}
    described = {(verb.upper(), path) for where, path, verb in OPERATIONS if where == "paths"}
    assert later | served.SERVED.keys() == described


PERSON, AN_ID = {"first_name": "Ada", "email": "ada@example.test"}, str(UUID(int=7))


@pytest.mark.parametrize(
    ("action", "given", "path"),
    [
        ("create_user", {"fields": {**PERSON, "last_name": "Marsh", "date_of_birth": "2016-05-04"}}, "/users"),
        (
            "cart",
            {
                "user": {"coursepro_id": "cp_1"},
                "items": [
                    {
                        "pricing_option_id": AN_ID, "course_ref": "S", "centre_id": AN_ID, "start_date": "2026-01-05",
                    }
                ],
            },
            "/carts",
        ),
        ("cancel_course", {"membership_id": AN_ID, "course_ref": "SWIM-3"}, "/courses/ended"),
        ("complete_course", {"membership_id": AN_ID, "actor": "staff"}, "/courses/ended"),
        (
            "post_attendees",
            {
                "attendees": [
                    {
                        "attendance_id": "a1", "membership_id": AN_ID, "course_ref": "S", "session_ref": "s1",
                        "centre_id": None, "starts_at": "2026-01-05T16:00:00Z", "ends_at": "2026-01-05T16:30:00Z",
                        "mark": mark,
                    }
                    for mark in (None, "attended")
                ]
            },
            "/attendees",
        ),
    ],
)  # fmt: skip
def test_the_calls_coursepro_makes_fit(
    action: str, given: dict[str, Any], path: str, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.do("coursepro", action, api_key="df_x", **given)
    (call,) = receiver.at(PREFIX + path)
    assert wrong(asked("paths", path), call.json) == []
    for parameter in map(resolved, operation("paths", path, "post")["parameters"]):
        assert wrong(parameter["schema"], call.headers[parameter["name"].lower()]) == []
    assert wrong(asked("paths", path), {**call.json, "event_id": ""}) != []


# -- what is sent -----------------------------------------------------------------------------------------------------

PUSH = MembershipPush(
    event_id="ev-1",
    membership_id=UUID(int=7),
    version=4,
    user_id=UUID(int=1),
    course_ref="SWIM-3",
    status="SUSPENDED",
    availability="Unavailable",
    reason="PAYMENT_FAILED",
    effective_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)
# method of the client: (what it is given, the webhook, our word for the event)
CART = CartPush(
    event_id="ev-2",
    occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    cart_id="cart-1",
    user_id=UUID(int=1),
    coursepro_id="cp_8",
    details={"first_name": "Ada", "last_name": "Marsh", "email": "ada@example.test"},
    membership_id=UUID(int=7),
    pricing_option_id=UUID(int=8),
    frequency="recurring",
    course_ref="SWIM-3",
    centre_id=UUID(int=9),
    price=3200,
    currency="GBP",
    starts_on=date(2026, 1, 5),
    ends_on=None,
    payment="direct_debit",
    instruction="active",
)
USER = UserPush(
    event_id="ev-3", user_id=UUID(int=1), version=2, details={"phone": None, "email": "ada@example.test"},
    occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)  # fmt: skip
FIELDS = FieldsPush(
    event_id="ev-4", version=3, fields=(Field("first_name", "First name", required=True),),
    occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
)  # fmt: skip
SENT: dict[str, tuple[Any, str, str]] = {
    "push_cart": (CART, "cartComplete", "cart.complete"),
    "push_membership": (PUSH, "userSync", "membership.status_changed"),
    "push_user": (USER, "userSync", "user.updated"),
    "push_fields": (FIELDS, "userSync", "fields.changed"),
}


def test_everything_the_client_sends_has_its_case() -> None:
    methods = {name for name in vars(CoursePro) if name.startswith("push_")}
    assert methods == SENT.keys()


@pytest.mark.parametrize("method", SENT)
async def test_what_the_client_really_sends_fits(method: str, receiver: Receiver) -> None:
    given, webhook, word = SENT[method]
    receiver.answer = {"applied": True}
    settings = {
        "client_id": "club-7",
        "cart_complete_url": f"{receiver.url}/cartComplete",
        "user_sync_url": f"{receiver.url}/userSync",
    }
    secrets = {"secret_token": "cpst_1"}
    opening = Opening(settings, secrets, SystemClock(), Reach(local=True), Free())
    ready = registry.OPEN[Provider.COURSEPRO](opening)
    await getattr(ready.courses, method)(given)
    await ready.client.close()
    (call,) = receiver.at(f"/{webhook}")
    assert call.json["event"] == word
    assert wrong(asked("webhooks", webhook), call.json) == []
    for parameter in map(resolved, operation("webhooks", webhook, "post")["parameters"]):
        assert wrong(parameter["schema"], call.headers[parameter["name"].lower()]) == []
    assert call.headers["authorization"] == "Bearer cpst_1"


def test_billing_details_do_not_fit_anywhere() -> None:
    for name in ("bank_name", "sort_code", "account_number", "iban", "card_last4", "mandate_id"):
        for webhook, event in (("cartComplete", "cart.complete"), ("userSync", "user.updated")):
            examples = operation("webhooks", webhook, "post")["requestBody"]["content"]["application/json"]["examples"]
            told = examples[event]["value"]
            assert wrong(asked("webhooks", webhook), {**told, "user": {**told["user"], name: "1"}}) != [], name
        signed_up = operation("paths", "/users", "post")["requestBody"]["content"]["application/json"]["example"]
        assert wrong(asked("paths", "/users"), {**signed_up, "fields": {**signed_up["fields"], name: "1"}}) != []
