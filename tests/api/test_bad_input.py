"""Whatever is wrong with a request: a clear typed no, nothing changed, and no secret in the log."""

import asyncio
import hashlib
import hmac
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from graphql import GraphQLNonNull, get_named_type

from local.state import held_ports
from models.actions.vault import Vault
from models.rules.booking import Method
from models.rules.lifecycle import Status
from models.rules.states import BookingStatus, Provider, Role
from models.tables.booking import Booking
from models.tables.centre import Centre
from models.tables.membership import Membership
from models.tables.package import Package
from models.tables.user import ExternalLink
from resolvers.may import MAY
from resolvers.reads.ids import encode
from schema.inputs import ID_OF
from schema.mutations import Mutation
from tests.api.test_mutations import (
    EXAMPLES,
    MUTATIONS,
    ROOT,
    TODAY,
    Words,
    World,
    a_world,
    document,
    stored,
    uuid_of,
)

SECONDS = 30
PROVIDER_SECRETS = {
    "STRIPE": {"api_key": "sk_test_4eC39HqLyjWDarjtT1zd", "webhook_secret": "whsec_b7dC41kkQ09mZpA2"},
    "GOCARDLESS": {"access_token": "sandbox_q8RfTT21LmX0aVbe", "webhook_secret": "gcwh_77aaF0cZx91LpQ4"},
    "COURSEPRO": {"secret_token": "cpst_55Ke0ZpQ11xXv8Rt"},
}
COURSEPRO = {
    "client_id": "club",
    "cart_complete_url": "https://coursepro.example.org/c",
    "user_sync_url": "https://coursepro.example.org/u",
}
CARD = "pm_1NcFt4CardOfSomebody"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all that the API says is written."""
    return tmp_path_factory.mktemp("log") / "api.log"


@pytest.fixture(scope="module")
def served(database_url: str, redis_url: str, secret_key: str, log: Path) -> Iterator[str]:
    """The API's address; it runs as in production, its log kept."""
    (port,) = held_ports(1)
    settings = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DUEFLOW_SECRET_KEY": secret_key}
    argv = [sys.executable, "-m", "uvicorn", "app:app", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as kept:
        process = subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **settings}, stdout=kept, stderr=kept)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + SECONDS
    while b"startup complete" not in log.read_bytes():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    yield url
    process.terminate()
    process.wait(10)


@pytest_asyncio.fixture(scope="module")
async def world(api: Any, secret_key: str) -> AsyncIterator[World]:
    """The rows of the mutations' examples, three providers set up, and a key for CoursePro's calls."""
    world = await a_world(api.member, Vault(secret_key))
    api.once = api.client(None)
    world.put("stranger", api.stranger)
    for provider, secrets in PROVIDER_SECRETS.items():
        given = {
            "provider": provider,
            "settings": _named(COURSEPRO if provider == "COURSEPRO" else {}),
            "secrets": _named(secrets),
        }
        assert await no(api, "configureProvider", given) is None
    made = await api.ask(
        document("createApiKey"), input={"name": "coursepro", "role": "PARTNER", "purpose": "COURSEPRO"}
    )
    api.keys["COURSEPRO"] = made["data"]["it"]["token"]
    yield world
    await api.once.aclose()


@pytest_asyncio.fixture(scope="module")
async def watching(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Looks at the tables from outside."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest_asyncio.fixture
async def unchanged(world: World, watching: asyncpg.Connection) -> AsyncIterator[None]:
    """Fails the test unless every table is afterwards as it was before."""
    before = await stored(watching)
    yield
    after = await stored(watching)
    assert {name for name in after if after[name] != before[name]} == set()


def _named(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


async def no(api: Any, mutation: str, given: Words, role: str = "ADMIN") -> tuple[str, str | None] | None:
    """Ask for a mutation -> (code, path of the field) of why not, "!" before codes of the request itself; or None."""
    asked = {"query": document(mutation), "variables": {"input": given}}
    told = (await api.once.post("/graphql", json=asked, headers=api.bearer(role))).json()
    if "errors" in told:
        (error,) = told["errors"]
        return f"!{error['extensions']['code']}", None
    payload = told["data"]["it"]
    if not payload["userErrors"]:
        return None
    (error,) = payload["userErrors"]
    assert error["message"]
    assert error["because"]
    assert {value for name, value in payload.items() if name != "userErrors"} == {None}
    return error["code"], ".".join(error["field"]) if error["field"] else None


def example(mutation: str, world: World, **otherwise: Any) -> Words:
    """The mutation's good input, some of it otherwise; None leaves a field out."""
    given = {**EXAMPLES[mutation][0](world.ids), **otherwise}
    return {name: value for name, value in given.items() if value is not None}


# -- ids ---------------------------------------------------------------------------------------------------------------


def _id_fields() -> Iterator[tuple[str, str]]:
    for mutation, field in MUTATIONS.items():
        takes = get_named_type(field.args["input"].type)
        for name, each in takes.fields.items():
            if ID_OF in each.extensions["strawberry-definition"].metadata:
                yield mutation, name


# What is said instead of NOT_FOUND where the document has its own word for it; what is not there cannot be used.
OWN_WORDS = {
    "pricingOptionId": "UNKNOWN_PRICING_OPTION",
    "pricingOptionIds": "UNKNOWN_PRICING_OPTION",
    "mandateId": "NO_MANDATE",
    "packageId": "PACKAGE_NOT_VALID",
}
ABOUT_IT = {"cancelMandate"}  # a mutation of the thing itself knows no other word
# What else has to be given so that the id is looked at.
BESIDE: dict[tuple[str, str], Words] = {
    ("setPriceOverride", "settingGroupId"): {"centreId": None},
    ("bookCourse", "packageId"): {"method": "PACKAGE"},
    ("moveBooking", "packageId"): {"method": "PACKAGE"},
    ("createPackageOffer", "classTypeId"): {"courseId": None},
    ("grantPackage", "courseId"): {"classTypeId": None},
}


@pytest.mark.parametrize(("mutation", "field"), list(_id_fields()))
async def test_an_id_of_nothing_of_something_else_and_of_no_kind(
    mutation: str, field: str, api: Any, world: World, unchanged: None
) -> None:
    takes = get_named_type(MUTATIONS[mutation].args["input"].type)
    target = takes.fields[field].extensions["strawberry-definition"].metadata[ID_OF]
    other = world.ids["centre" if target != "Centre" else "member"]
    for given, expected in (
        (encode(target, uuid4()), "NOT_FOUND" if mutation in ABOUT_IT else OWN_WORDS.get(field, "NOT_FOUND")),
        (other, "NOT_FOUND"),
        ("not an id", "INVALID_INPUT"),
        (f"{other}=", "INVALID_INPUT"),
        (str(uuid4()), "INVALID_INPUT"),
    ):
        value = [given] if field.endswith("Ids") else given
        told = await no(api, mutation, example(mutation, world, **BESIDE.get((mutation, field), {}), **{field: value}))
        assert told is not None
        assert told[0] == expected, given
        assert told[1] in (field, None, "id")


# -- amounts, words, days ----------------------------------------------------------------------------------------------


def price(amount: Any, currency: str = "GBP") -> Words:
    return {"price": {"amount": amount, "currency": currency}}


TYPED = "!BAD_USER_INPUT"
LONG, NUL = "x" * 5_000, "a\0b"
PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat()
INSIDE = {"settings": [{"name": "api_base", "value": "https://stripe.internal"}]}
BACKWARDS = {"startsAt": "2026-03-02T10:00:00Z", "endsAt": "2026-03-02T10:00:00Z"}

# (mutation, what is otherwise than in its example, code, path)
REFUSED: list[tuple[str, Words, str, str | None]] = [
    ("createPricingOption", price("-0.01"), "NEGATIVE_AMOUNT", "amount"),
    ("createPricingOption", price("20.001"), "INVALID_INPUT", "price.amount"),
    ("createPricingOption", price("20.5", "JPY"), "INVALID_INPUT", "price.amount"),
    ("createPricingOption", price("20.0001", "BHD"), "INVALID_INPUT", "price.amount"),
    ("createPricingOption", price("1234567890123456"), TYPED, None),
    ("createPricingOption", price("20.0000001"), TYPED, None),
    ("createPricingOption", price(20.5), TYPED, None),
    ("createPricingOption", price(20), TYPED, None),
    ("createPricingOption", price("1e3"), TYPED, None),
    ("createPricingOption", price("1,000.00"), TYPED, None),
    ("createPricingOption", price("NaN"), TYPED, None),
    ("createPricingOption", price("١٢"), TYPED, None),
    ("createPricingOption", price(""), TYPED, None),
    ("createPricingOption", price("20.00", "XXX"), TYPED, None),
    ("createPricingOption", price("20.00", "gbp"), TYPED, None),
    ("createPricingOption", {"price": "20.00"}, TYPED, None),
    ("createPricingOption", {"type": "FREE"}, TYPED, None),
    ("createPricingOption", {"type": "standard"}, TYPED, None),
    ("createPricingOption", {"frequency": 1}, TYPED, None),
    ("createPricingOption", {"colour": "red"}, TYPED, None),
    ("setPriceOverride", {"amount": -1}, "NEGATIVE_AMOUNT", "amount"),
    ("setPriceOverride", {"amount": 2**31}, TYPED, None),
    ("setPriceOverride", {"amount": "1850"}, TYPED, None),
    ("setPriceOverride", {"amount": 18.5}, TYPED, None),
    ("setPriceOverride", {"centreId": None}, "INVALID_INPUT", "centreId"),
    (
        "setPriceOverride", {"effectiveFrom": "2026-02-01", "effectiveUntil": "2026-02-01"},
        "INVALID_INPUT", "effectiveUntil",
    ),
    ("setPriceOverride", {"effectiveFrom": "2026-02-30"}, TYPED, None),
    ("setPriceOverride", {"effectiveFrom": "2026-2-1"}, TYPED, None),
    ("setPriceOverride", {"effectiveFrom": "2026-02-01T00:00:00Z"}, TYPED, None),
    ("createUser", {"firstName": " "}, "INVALID_INPUT", "firstName"),
    ("createUser", {"firstName": LONG}, "INVALID_INPUT", "firstName"),
    ("createUser", {"lastName": NUL}, "!BAD_REQUEST", None),
    ("createUser", {"email": "nobody"}, "INVALID_INPUT", "email"),
    ("createUser", {"email": "two@at@signs.test"}, "INVALID_INPUT", "email"),
    ("createUser", {"email": f"{LONG}@a.test"}, "INVALID_INPUT", "email"),
    ("createUser", {"phone": "0" * 26}, "INVALID_INPUT", "phone"),
    ("createUser", {"fields": [{"name": "shoe size", "value": "9"}]}, "INVALID_INPUT", "fields.shoe size"),
    ("createUser", {"fields": [{"name": "a", "value": NUL}]}, "!BAD_REQUEST", None),
    ("signUp", {"email": "nobody"}, "INVALID_INPUT", "email"),
    ("signUp", {"lastName": "4242 4242 4242 4242"}, "BILLING_DETAILS_REFUSED", "lastName"),
    ("signUp", {"fields": [{"name": "shoe size", "value": "9"}]}, "INVALID_INPUT", "fields.shoe size"),
    ("claimRecord", {"token": LONG}, "NOT_FOUND", "token"),
    ("updateUser", {"email": "two@at@signs.test"}, "INVALID_INPUT", "email"),
    ("updateUser", {"phone": " "}, "INVALID_INPUT", "phone"),
    ("updateUser", {"dateOfBirth": "2999-01-01"}, "INVALID_INPUT", "dateOfBirth"),
    ("setUserField", {"name": "Shoe size"}, "INVALID_INPUT", "name"),
    ("setUserField", {"name": "bank_name"}, "BILLING_DETAILS_REFUSED", "name"),
    ("setUserField", {"label": LONG}, "INVALID_INPUT", "label"),
    ("removeUserField", {"name": "shoe_size"}, "NOT_FOUND", "name"),
    ("unlinkUser", {"reason": " "}, "INVALID_INPUT", "reason"),
    ("settleReview", {"answer": LONG}, "INVALID_INPUT", "answer"),
    ("syncUsers", {"provider": "STRIPE"}, "INVALID_INPUT", "provider"),
    ("linkUser", {"provider": "PAYPAL"}, TYPED, None),
    ("linkUser", {"kind": LONG}, "INVALID_INPUT", "kind"),
    ("linkUser", {"externalId": ""}, "INVALID_INPUT", "externalId"),
    ("linkUser", {"externalId": "patient_1"}, "INVALID_INPUT", "externalId"),
    ("createSettingGroup", {"name": ""}, "INVALID_INPUT", "name"),
    ("createSettingGroup", {"name": LONG}, "INVALID_INPUT", "name"),
    ("createSettingGroup", {"name": "Shire"}, "INVALID_INPUT", "name"),
    ("createCentre", {"name": "North"}, "INVALID_INPUT", "name"),
    ("createCentre", {"zone": "Europe/Nowhere"}, "INVALID_INPUT", "zone"),
    ("createCentre", {"zone": "../etc/passwd"}, "INVALID_INPUT", "zone"),
    ("createCentre", {"currency": "UGX"}, TYPED, None),
    ("createCentre", {"minutesBefore": -1}, "INVALID_INPUT", "minutesBefore"),
    ("updateCentre", {"minutesAfter": 1441}, "INVALID_INPUT", "minutesAfter"),
    ("createCentre", {"practiceLocation": "taken"}, "INVALID_INPUT", "practiceLocation"),
    ("createMembershipType", {"name": LONG}, "INVALID_INPUT", "name"),
    ("createMembershipType", {"termMonths": 3}, "INVALID_INPUT", "termMonths"),
    ("createMembershipType", {"sessions": -1, "kind": "SESSIONS"}, "INVALID_INPUT", "sessions"),
    ("createMembershipType", {"product": "prod_2"}, "INVALID_INPUT", "centreId"),
    ("createMembershipType", {"integration": "COURSEPRO_COURSE"}, "PRICING_OPTION_NOT_COURSEPRO", "pricingOptionId"),
    ("updatePricingOption", {"amount": -1}, "NEGATIVE_AMOUNT", "amount"),
    ("updatePricingOption", {"type": "STANDARD"}, "PRICING_OPTION_IN_USE", "type"),
    ("updatePricingOption", {"name": LONG}, "INVALID_INPUT", "name"),
    ("updateMembershipType", {"integration": "NONE"}, "INTEGRATION_FIXED", "integration"),
    ("cloneMembershipTypeForFrequency", {"kind": "ONGOING"}, "INVALID_INPUT", "kind"),
    ("cloneMembershipTypeForFrequency", {"kind": "FIXED_TERM"}, "INVALID_INPUT", "sessions"),
    ("mapCourse", {"courseRef": LONG}, "INVALID_INPUT", "courseRef"),
    ("startMembership", {"startsOn": "tomorrow"}, TYPED, None),
    ("startMembership", {"mandateId": None}, "NO_MANDATE", "mandateId"),
    ("createCourse", {"capacity": 0}, "INVALID_INPUT", "capacity"),
    ("createCourse", {"sessions": []}, "INVALID_INPUT", "sessions"),
    ("createCourse", {"sessions": [BACKWARDS]}, "INVALID_INPUT", "sessions.0"),
    ("createCourse", {"sessions": [{**BACKWARDS, "endsAt": "2026-03-02T11:00:00"}]}, TYPED, None),
    ("createCourse", {"sessions": [{**BACKWARDS, "endsAt": "2026-03-02 11:00:00Z"}]}, TYPED, None),
    ("updateCourse", {"offerHours": 2**31 - 1}, "INVALID_INPUT", "offerHours"),
    ("markAttendance", {"mark": "CANCELLED"}, "INVALID_INPUT", "mark"),
    ("bookCourse", {"method": "CASH"}, TYPED, None),
    ("bookCourse", {"quoteToken": "made up"}, "INVALID_INPUT", "quoteToken"),
    ("bookCourse", {"method": "MEMBERSHIP"}, "MEMBERSHIP_REQUIRED", None),
    ("grantPackage", {"credits": 0}, "INVALID_INPUT", "credits"),
    ("grantPackage", {"credits": -5}, "INVALID_INPUT", "credits"),
    ("grantPackage", {"validUntil": PAST}, "INVALID_INPUT", "validUntil"),
    ("createPackageOffer", {"validDays": 2**31 - 1}, "INVALID_INPUT", "validDays"),
    ("startDirectDebit", {"currency": "pounds"}, TYPED, None),
    ("configureBilling", {"aheadDays": 61}, "INVALID_INPUT", "aheadDays"),
    ("configureBilling", {"billingDay": -1}, "INVALID_INPUT", "billingDay"),
    ("configureBilling", {"retryAfterDays": [0]}, "INVALID_INPUT", "retryAfterDays"),
    ("configureBilling", {"retryAfterDays": ["1"]}, TYPED, None),
    ("settleArrears", {"reason": LONG}, "INVALID_INPUT", "reason"),
    ("settleArrears", {"by": "CASH"}, TYPED, None),
    ("cancelMandate", {"reason": " "}, "INVALID_INPUT", "reason"),
    ("configureProvider", {"provider": "XERO", "secrets": []}, "INVALID_INPUT", "settings.account_code"),
    ("configureProvider", {"provider": "NOOKAL", "secrets": []}, "SECRET_REQUIRED", "secrets.api_key"),
    ("configureProvider", {"secrets": [{"name": "api_key", "value": " "}]}, "SECRET_REQUIRED", "secrets.api_key"),
    ("configureProvider", INSIDE, "ADDRESS_NOT_ALLOWED", "settings.api_base"),
    ("configureCoursePro", {"userSyncUrl": "http://127.0.0.1:9/u"}, "ADDRESS_NOT_ALLOWED", "userSyncUrl"),
    ("configureCoursePro", {"cartCompleteUrl": "https://10.0.0.5/"}, "ADDRESS_NOT_ALLOWED", "cartCompleteUrl"),
    ("configureCoursePro", {"secretToken": " "}, "INVALID_INPUT", "secretToken"),
    ("runIntegrationProbe", {"probe": "BORN_NOWHERE"}, TYPED, None),
    ("createApiKey", {"userId": None}, "INVALID_INPUT", "userId"),
    ("createApiKey", {"role": "ROOT"}, TYPED, None),
    ("createApiKey", {"expiresAt": PAST}, "INVALID_INPUT", "expiresAt"),
    ("createApiKey", {"scopes": [NUL]}, "!BAD_REQUEST", None),
    ("createApiKey", {"scopes": ["money:write"]}, "INVALID_INPUT", "scopes"),
    ("rotateApiKey", {"overlapHours": 169}, "INVALID_INPUT", "overlapHours"),
    ("rotateApiKey", {"overlapHours": -1}, "INVALID_INPUT", "overlapHours"),
    ("advanceClock", {}, "SANDBOX_ONLY", None),
]  # fmt: skip


@pytest.mark.parametrize(("mutation", "otherwise", "code", "path"), REFUSED, ids=range(len(REFUSED)))
async def test_a_value_that_cannot_be_meant_is_refused_by_code_and_field(
    mutation: str, otherwise: Words, code: str, path: str | None, api: Any, world: World, unchanged: None
) -> None:
    assert await no(api, mutation, example(mutation, world, **otherwise)) == (code, path)


@pytest_asyncio.fixture(scope="module", autouse=True)
async def taken(world: World) -> None:
    """A location of the practice that a centre has already, and what is somebody else's."""
    clinic = await Centre.create(name="Clinic", zone="Europe/London", currency="GBP", practice_location="taken")
    stranger, now = uuid_of(world, "stranger"), datetime.now(UTC)
    theirs = await Membership.create(
        user_id=stranger, membership_type_id=uuid_of(world, "plan"), centre_id=clinic.id, currency="GBP",
        status=Status.ACTIVE, starts_on=TODAY,
    )  # fmt: skip
    world.put("their membership", theirs)
    world.put("their package", await Package.create(user_id=stranger, name="Theirs", valid_from=now))
    booked: Words = {"method": Method.PAYMENT, "status": BookingStatus.CONFIRMED, "credits": 0, "charge": 0}
    course = uuid_of(world, "third course")
    theirs_too = await Booking.create(course_id=course, user_id=stranger, currency="GBP", **booked)
    world.put("their booking", theirs_too)
    link = await ExternalLink.create(user_id=stranger, provider=Provider.STRIPE, kind="customer", external_id="cus_9")
    world.put("their link", link)


NOTHING_IS_REQUIRED = {"configureBilling"}  # what is left out stays as it is


@pytest.mark.parametrize("mutation", [each for each in MUTATIONS if each not in NOTHING_IS_REQUIRED])
async def test_what_is_required_cannot_be_left_out_nor_null(
    mutation: str, api: Any, world: World, unchanged: None
) -> None:
    takes = get_named_type(MUTATIONS[mutation].args["input"].type)
    required = [name for name, each in takes.fields.items() if isinstance(each.type, GraphQLNonNull)]
    for name in required:
        if takes.fields[name].default_value is None:
            assert await no(api, mutation, {**example(mutation, world), name: None}) == (TYPED, None)
    left_out = example(mutation, world)
    del left_out[required[0]]
    assert await no(api, mutation, left_out) == (TYPED, None)
    written = await api.ask(f"mutation {{ {mutation}(input: {{}}) {{ userErrors {{ code }} }} }}")
    assert {error["extensions"]["code"] for error in written["errors"]} == {"GRAPHQL_VALIDATION_FAILED"}


async def test_of_many_at_once_the_database_lets_one_through_and_the_others_are_told(api: Any, world: World) -> None:
    told = await asyncio.gather(*(no(api, "createSettingGroup", {"name": "One of many"}) for _ in range(8)))
    assert told.count(None) == 1
    assert {each[0] for each in told if each} == {"INVALID_INPUT"}


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_the_examples_are_of_all_mutations_in_the_table_of_rights() -> None:
    fields = Mutation.__strawberry_definition__.fields  # type: ignore[attr-defined]  # strawberry puts it there
    assert {verb(mutation) for mutation in MUTATIONS} == {field.python_name for field in fields} == MAY.keys()


def verb(mutation: str) -> str:
    return re.sub("(?=[A-Z])", "_", mutation).lower()


@pytest.mark.parametrize("mutation", MUTATIONS)
async def test_a_role_that_may_not_is_told_so(mutation: str, api: Any, world: World, unchanged: None) -> None:
    for role in Role:
        if role not in MAY[verb(mutation)]:
            told = await no(api, mutation, example(mutation, world), role.value)
            assert told == ("ROLE_NOT_ALLOWED", None), role


@pytest.mark.parametrize(("mutation", "field"), [row for row in _id_fields() if row[1] != "mandateId"])
async def test_a_role_that_may_is_told_what_else_is_wrong(
    mutation: str, field: str, api: Any, world: World, unchanged: None
) -> None:
    wrong = world.ids["plan" if field != "membershipTypeId" else "course"]
    given = {field: [wrong] if field.endswith("Ids") else wrong, **BESIDE.get((mutation, field), {})}
    for role in MAY[verb(mutation)]:
        told = await no(api, mutation, example(mutation, world, **given), role.value)
        assert told == ("NOT_FOUND", field), role


@pytest.mark.parametrize(
    ("mutation", "given", "expected"),
    [
        ("updateUser", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("bookCourse", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("bookCourse", {"packageId": "their package", "method": "PACKAGE"}, ("PACKAGE_NOT_VALID", "packageId")),
        ("cancelBooking", {"bookingId": "their booking"}, ("NOT_FOUND", "bookingId")),
        ("moveBooking", {"bookingId": "their booking"}, ("NOT_FOUND", "bookingId")),
        ("buyPackage", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("createPaymentLink", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("createPaymentLink", {"userId": None}, ("NOT_FOUND", "userId")),
        ("startDirectDebit", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("joinWaitingList", {"userId": "stranger"}, ("NOT_FOUND", "userId")),
        ("leaveWaitingList", {"waitingPlaceId": "newcomer's place"}, ("NOT_FOUND", "waitingPlaceId")),
    ],
)
async def test_a_member_does_nothing_with_what_is_somebody_elses(
    mutation: str, given: Words, expected: tuple[str, str], api: Any, world: World, unchanged: None
) -> None:
    named = {name: world.ids.get(word, word) for name, word in given.items()}
    assert await no(api, mutation, example(mutation, world, **named), "MEMBER") == expected


async def test_a_member_sees_nothing_of_what_is_somebody_elses(api: Any, world: World, unchanged: None) -> None:
    theirs = [world.ids[word] for word in ("stranger", "their membership", "their package", "their link")]
    query = "query Q($ids: [ID!]!) { nodes(ids: $ids) { id } }"
    assert (await api.ask(query, "ADMIN", ids=theirs))["data"]["nodes"] == [{"id": each} for each in theirs]
    assert (await api.ask(query, "MEMBER", ids=theirs))["data"]["nodes"] == [None] * 4
    one = "query Q($id: ID!) { membership(id: $id) { id } package(id: $id) { id } node(id: $id) { id } }"
    told = await api.ask(one, "MEMBER", id=world.ids["their membership"])
    assert told["data"] == {"membership": None, "package": None, "node": None}


async def test_a_member_cannot_read_office_papers(api: Any, world: World, unchanged: None) -> None:
    lists = ("webhookEvents", "apiKeys", "jobs")
    asked = " ".join(f"{name} {{ nodes {{ id }} }}" for name in lists)
    told = await api.ask(f"{{ {asked} providerSettings {{ provider }} }}", "MEMBER")
    assert told["data"] == {**{name: {"nodes": []} for name in lists}, "providerSettings": []}


# -- what is not even a request ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b" " * 10_000_000, 413, "PAYLOAD_TOO_LARGE"),
        (b'{"query": "{ __typename }"', 400, "BAD_REQUEST"),
        (b"query=%7B__typename%7D", 400, "BAD_REQUEST"),
        (b'[{"query": "mutation { x }"}]', 400, "BAD_REQUEST"),
    ],
    ids=["10 MB", "half", "a form", "a batch"],
)
async def test_a_body_that_is_no_request(
    content: bytes, status: int, code: str, api: Any, world: World, unchanged: None
) -> None:
    answer = await api.once.post("/graphql", content=content, headers={**JSON, **api.bearer()})
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["extensions"]["code"]) == (status, code)


@pytest.mark.parametrize("key", ["df_0123456789ab_nobody", "df__", "df", "COURSEPRO"])
async def test_a_key_that_is_not_for_this_door(key: str, api: Any, world: World, unchanged: None) -> None:
    asked = {"query": document("createSettingGroup"), "variables": {"input": {"name": "In"}}}
    headers = {"authorization": f"Bearer {api.keys.get(key, key)}"}
    answer = await api.once.post("/graphql", json=asked, headers=headers)
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED")


# -- webhooks ----------------------------------------------------------------------------------------------------------


def signature(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def stripe(body: bytes, secret: str = PROVIDER_SECRETS["STRIPE"]["webhook_secret"], age: int = 0) -> dict[str, str]:
    at = int(time.time()) - age
    return {"stripe-signature": f"t={at},v1={signature(secret, b'%d.' % at + body)}"}


def gocardless(body: bytes, secret: str = PROVIDER_SECRETS["GOCARDLESS"]["webhook_secret"]) -> dict[str, str]:
    return {"webhook-signature": signature(secret, body)}


def coursepro(body: bytes, secret: str = PROVIDER_SECRETS["COURSEPRO"]["secret_token"]) -> dict[str, str]:
    return {"x-signature": signature(secret, body)}


EVENT = json.dumps({"id": "evt_9", "object": "event", "type": "a.b", "data": {"object": {"id": CARD}}}).encode()
EVENTS = json.dumps({"events": [{"id": "EV9", "resource_type": "payments", "action": "paid_out"}]}).encode()
CALL = json.dumps({"event_id": "cp9", "outcome": "cancelled", "membership_id": str(uuid4())}).encode()
HUGE = b" " * (2 << 20)

# (address, key, body, its headers, status)
UNSIGNED: list[tuple[str, str | None, bytes, dict[str, str], int]] = [
    ("/webhooks/stripe", None, EVENT, {}, 400),
    ("/webhooks/stripe", None, EVENT, {"stripe-signature": "t=1,v1="}, 400),
    ("/webhooks/stripe", None, EVENT, {"stripe-signature": "nonsense"}, 400),
    ("/webhooks/stripe", None, EVENT, stripe(EVENT, "whsec_of_somebody_else"), 400),
    ("/webhooks/stripe", None, EVENT, stripe(EVENT, ""), 400),
    ("/webhooks/stripe", None, EVENT, stripe(EVENT, age=3600), 400),
    ("/webhooks/stripe", None, EVENT + b" ", stripe(EVENT), 400),
    ("/webhooks/stripe", None, b"[]", stripe(b"[]"), 400),
    ("/webhooks/stripe", None, b"{", stripe(b"{"), 400),
    ("/webhooks/stripe", None, EVENT, gocardless(EVENT), 400),
    ("/webhooks/stripe", None, HUGE, stripe(HUGE), 413),
    ("/webhooks/gocardless", None, EVENTS, {}, 498),
    ("/webhooks/gocardless", None, EVENTS, gocardless(EVENTS, "of somebody else"), 498),
    ("/webhooks/gocardless", None, EVENTS, gocardless(EVENTS, ""), 498),
    ("/webhooks/gocardless", None, EVENTS + b" ", gocardless(EVENTS), 498),
    ("/webhooks/gocardless", None, b"[]", gocardless(b"[]"), 498),
    ("/webhooks/gocardless", None, HUGE, gocardless(HUGE), 413),
    ("/coursepro/v1/courses/ended", None, CALL, coursepro(CALL), 401),
    ("/coursepro/v1/courses/ended", "ADMIN", CALL, coursepro(CALL), 401),
    ("/coursepro/v1/courses/ended", "PARTNER", CALL, coursepro(CALL), 401),
    ("/coursepro/v1/courses/ended", "COURSEPRO", CALL, {}, 401),
    ("/coursepro/v1/courses/ended", "COURSEPRO", CALL, coursepro(CALL, "of somebody else"), 401),
    ("/coursepro/v1/attendees", "COURSEPRO", CALL + b" ", coursepro(CALL), 401),
    ("/coursepro/v1/attendees", "COURSEPRO", b"7", coursepro(b"7"), 401),
    ("/coursepro/v1/attendees", "COURSEPRO", HUGE, coursepro(HUGE), 413),
    ("/webhooks/nookal", None, EVENT, stripe(EVENT), 404),
    ("/webhooks/xero", "ADMIN", b"{}", {}, 404),
    ("/webhooks/", None, b"{}", {}, 404),
    ("/webhooks/stripe/../gocardless2", None, b"{}", {}, 404),
]


@pytest.mark.parametrize(("address", "key", "body", "headers", "status"), UNSIGNED, ids=range(len(UNSIGNED)))
async def test_a_webhook_of_an_unknown_hand_is_not_stored(
    address: str,
    key: str | None,
    body: bytes,
    headers: dict[str, str],
    status: int,
    api: Any,
    world: World,
    unchanged: None,
) -> None:
    bearer = api.bearer(key) if key else {}
    answer = await api.once.post(address, content=body, headers={**JSON, **headers, **bearer})
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    ("address", "body", "signed", "status"),
    [
        ("/webhooks/stripe", EVENT, stripe, 200),
        ("/webhooks/gocardless", EVENTS, gocardless, 200),
        ("/coursepro/v1/courses/ended", CALL, coursepro, 202),
    ],
    ids=["stripe", "gocardless", "coursepro"],
)
async def test_one_of_a_known_hand_is_stored_once_and_nothing_else_is_done(
    address: str, body: bytes, signed: Any, status: int, api: Any, world: World, watching: asyncpg.Connection
) -> None:
    before = await stored(watching)
    for new in (1, 0):
        headers = {**JSON, **signed(body), **api.bearer("COURSEPRO")}
        answer = await api.once.post(address, content=body, headers=headers)
        assert (answer.status_code, int(answer.json()["new"])) == (status, new)
    after = await stored(watching)
    grown = {name: after[name][0] - before[name][0] for name in after if after[name] != before[name]}
    assert grown == {"inbox_event": 1, "job": 1}


# -- the log -----------------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def written(api: Any, world: World, log: Path) -> str:
    """The log, after a card was refused and a webhook was."""
    taken_card = {"userId": world.ids["newcomer"], "provider": "STRIPE", "kind": "payment_method", "externalId": CARD}
    await ExternalLink.create(user_id=api.stranger.id, provider="STRIPE", kind="payment_method", external_id=CARD)
    assert await no(api, "linkUser", taken_card) == ("INVALID_INPUT", "externalId")
    await api.once.post("/webhooks/stripe", content=EVENT, headers=stripe(EVENT, "whsec_guess_of_somebody"))
    by_address = {"query": f'{{ user(by: {{email: "{api.member.email}"}}) {{ id }} }}'}
    assert (await api.once.get("/graphql", params=by_address, headers=api.bearer())).status_code == 200
    assert (await api.once.get(f"/exports/{uuid4()}", params={"signature": CARD})).status_code == 403
    return await asyncio.to_thread(log.read_text)


def test_the_log_tells_of_all_this_and_of_no_secret(api: Any, written: str, secret_key: str) -> None:
    assert "webhook refused" in written
    assert '"GET /graphql HTTP/1.1" 200' in written, "the server's own lines are there, without what stood behind the ?"
    assert "INTERNAL_SERVER_ERROR" not in written
    assert '"fault"' not in written
    secrets = [secret for given in PROVIDER_SECRETS.values() for secret in given.values()]
    secrets += [key.split("_", 2)[2] for key in api.keys.values()]
    secrets += [CARD, secret_key, "whsec_guess_of_somebody", api.member.email, "Bearer df_"]
    assert [secret for secret in secrets if secret in written] == []
