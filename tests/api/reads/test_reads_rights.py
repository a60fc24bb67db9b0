"""Who sees what: the same rows however they are reached."""

from typing import Any
from uuid import UUID

import pytest

from resolvers.permissions import FIELDS, ROWS, Audience
from resolvers.reads.ids import encode
from resolvers.reads.meaning import ENTITIES
from resolvers.viewer import Viewer

ROLES = ("admin", "finance", "desk", "partner", "partner_money", "member")

# list: how many rows each of the roles above counts; Ann is the member
COUNTS: dict[str, tuple[int, int, int, int, int, int]] = {
    "users": (2, 2, 2, 2, 2, 1),
    "reviewItems": (1, 1, 1, 0, 0, 0),
    "memberships": (4, 4, 4, 4, 4, 3),
    "membershipTypes": (1, 1, 1, 1, 1, 1),
    "pricingOptions": (1, 1, 1, 1, 1, 1),
    "centres": (2, 2, 2, 2, 2, 2),
    "courseMappings": (1, 1, 1, 1, 1, 0),
    "drifts": (1, 1, 1, 0, 0, 0),
    "courses": (1, 1, 1, 1, 1, 1),
    "bookings": (1, 1, 1, 1, 1, 1),
    "packages": (1, 1, 1, 1, 1, 1),
    "packageOffers": (1, 1, 1, 1, 1, 1),
    "accessTokens": (1, 1, 1, 1, 1, 1),
    "mandates": (1, 1, 1, 0, 1, 1),
    "payments": (1, 1, 1, 0, 1, 1),
    "invoices": (1, 1, 1, 0, 1, 0),
    "corrections": (1, 1, 1, 0, 1, 0),
    "ledgerEntries": (3, 3, 0, 0, 0, 0),
    "cardSubscriptions": (1, 1, 1, 0, 1, 0),
    "jobs": (2, 1, 1, 1, 1, 1),
    "webhookEvents": (1, 0, 0, 0, 0, 0),
    "apiKeys": (1, 0, 0, 0, 0, 0),
    "probeRuns": (1, 0, 1, 0, 0, 0),
}

# type and number of a row: who may see it
ROWS_SEEN: dict[tuple[str, int], set[str]] = {
    ("User", 1): set(ROLES),
    ("User", 2): set(ROLES) - {"member"},
    ("Membership", 64): set(ROLES) - {"member"},
    ("ExternalLink", 11): set(ROLES),
    ("ExternalLink", 12): set(ROLES) - {"member"},
    ("ReviewItem", 36): {"admin", "finance", "desk"},
    ("Notification", 21): {"admin", "finance", "desk", "member"},
    ("Notification", 22): {"admin", "finance", "desk"},
    ("CourseMapping", 56): set(ROLES) - {"member"},
    ("Drift", 57): {"admin", "finance", "desk"},
    ("Attendance", 90): set(ROLES),
    ("Attendance", 91): set(ROLES) - {"member"},
    ("PackageOffer", 79): set(ROLES),
    ("CreditEntry", 87): set(ROLES),
    ("Payment", 70): set(ROLES) - {"partner"},
    ("Refund", 71): set(ROLES) - {"partner"},
    ("CardSubscription", 75): {"admin", "finance", "desk", "partner_money"},
    ("Invoice", 100): {"admin", "finance", "desk", "partner_money"},
    ("InvoiceItem", 101): {"admin", "finance", "desk", "partner_money"},
    ("Allocation", 103): {"admin", "finance", "desk", "partner_money"},
    ("AllocationShare", 104): {"admin", "finance", "desk", "partner_money"},
    ("LedgerEntry", 106): {"admin", "finance"},
    ("Shipment", 105): {"admin", "finance", "partner_money"},
    ("Correction", 106): {"admin", "finance", "desk", "partner_money"},
    ("Job", 110): set(ROLES),
    ("Job", 111): {"admin"},
    ("AuditEntry", 116): {"admin", "finance"},
    ("WebhookEvent", 115): {"admin"},
    ("ApiKey", 117): {"admin"},
    ("ProviderSetting", 118): {"admin"},
    ("UserField", 30): set(ROLES),
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("root", COUNTS)
async def test_a_list_holds_what_its_reader_may_see(root: str, role: str, ask: Any) -> None:
    data = await ask.data(f"{{ {root} {{ totalCount nodes {{ id }} edges {{ node {{ id }} }} }} }}", role)
    expected = COUNTS[root][ROLES.index(role)]
    assert (data[root]["totalCount"], len(data[root]["nodes"]), len(data[root]["edges"])) == (expected,) * 3


@pytest.mark.parametrize("role", ROLES)
async def test_node_tells_the_unseen_from_the_unknown_to_nobody(role: str, ask: Any) -> None:
    ids = [encode(type_name, UUID(int=number)) for type_name, number in ROWS_SEEN]
    expected = [{"id": each} if role in who else None for each, who in zip(ids, ROWS_SEEN.values(), strict=True)]
    data = await ask.data("query($ids: [ID!]!) { nodes(ids: $ids) { id } }", role, ids=ids)
    assert data["nodes"] == expected
    for each, seen in zip(ids, expected, strict=True):
        assert await ask.data("query($id: ID!) { node(id: $id) { id } }", role, id=each) == {"node": seen}


async def test_nested_fields_hide_what_node_hides(ask: Any) -> None:
    query = (
        "{ courses { nodes { sessions(first: 1) { nodes { attendances { totalCount nodes { user { firstName } } } } }"
        " bookings { nodes { user { firstName } payment { id } } } } } memberships { nodes { user { firstName }"
        " subscription { id invoices { totalCount } } invoices { nodes { id } } } } }"
    )
    member = await ask.data(query, "member")
    (session,) = member["courses"]["nodes"][0]["sessions"]["nodes"]
    assert session == {"attendances": {"totalCount": 1, "nodes": [{"user": {"firstName": "Ann"}}]}}
    assert {each["user"]["firstName"] for each in member["memberships"]["nodes"]} == {"Ann"}
    partner = await ask.data(query, "partner")
    assert [each["subscription"] for each in partner["memberships"]["nodes"]] == [None] * 4
    assert [each["invoices"]["nodes"] for each in partner["memberships"]["nodes"]] == [[]] * 4
    money = await ask.data(query, "partner_money")
    assert money["memberships"]["nodes"][3]["subscription"]["invoices"] == {"totalCount": 1}


async def test_a_member_who_knows_another_address_learns_nothing(ask: Any) -> None:
    query = "query($e: String!) { user(by: {email: $e}) { id } users(filter: {email: $e}) { totalCount } }"
    known = await ask.answer(query, "member", e="ben@example.org")
    assert known == await ask.answer(query, "member", e="nobody@example.org")
    assert known == '{"data":{"user":null,"users":{"totalCount":0}}}'


async def test_fields_only_some_may_see_are_null_for_others(ask: Any) -> None:
    query = (
        "{ jobs(first: 1) { nodes { kind key error { code message } } } users(first: 1) { nodes { links { evidence"
        " { value } } mandates { nodes { authorisationUrl } } payments { nodes { key } } } } }"
    )

    async def seen(role: str) -> tuple[Any, ...]:
        data = await ask.data(query, role)
        job, user = data["jobs"]["nodes"][0], data["users"]["nodes"][0]
        mandates = [each["authorisationUrl"] for each in user["mandates"]["nodes"]]
        payments = [each["key"] for each in user["payments"]["nodes"]]
        return job["key"], job["error"], user["links"][0]["evidence"], mandates, payments

    error, evidence, page = {"code": "REFUSED", "message": "no funds"}, [{"value": "same"}], "https://pay.example/1"
    assert await seen("admin") == ("collect:70", error, evidence, [page], ["payment:70:1"])
    assert await seen("desk") == (None, error, evidence, [page], [None])
    assert await seen("member") == (None, None, None, [page], [None])
    assert await seen("partner_money") == (None, None, None, [None], [None])
    assert await seen("partner") == (None, None, None, [], [])


async def test_the_audit_trail_is_for_finance_and_administrators(ask: Any) -> None:
    query = "query($id: ID!) { auditTrail(subjectId: $id) { nodes { actor verb after { name value } } } }"
    subject = encode("CardSubscription", UUID(int=75))
    entry = {"actor": "key:desk", "verb": "link", "after": [{"name": "user", "value": "2"}]}
    for role in ROLES:
        data = await ask.data(query, role, id=subject)
        assert data["auditTrail"]["nodes"] == ([entry] if role in ("admin", "finance") else [])


async def test_sees_answers_as_node_does(ask: Any, viewers: dict[str, Viewer]) -> None:
    for (type_name, number), who in ROWS_SEEN.items():
        seen = {role for role in ROLES if await ask.reader.sees(type_name, UUID(int=number), viewers[role])}
        assert seen == who, type_name


def test_every_type_has_a_rule_for_everybody() -> None:
    assert ROWS.keys() == ENTITIES.keys()
    assert all(rules.keys() == set(Audience) for rules in ROWS.values())


def test_hidden_fields_exist_and_may_be_null(ask: Any) -> None:
    for type_name, name in FIELDS:
        declared = ask.schema._schema.type_map[type_name].fields[name]
        assert not str(declared.type).endswith("!"), f"{type_name}.{name} cannot be null"


async def test_how_far_the_integration_is_set_up_is_told_to_who_sets_it_up(ask: Any) -> None:
    query = "{ integrationReadiness { maySyncUsers items { step title state because evidence { name value } } } }"
    ids = [{"name": "membership_id", "value": "64"}]
    runs = "{ probeRuns(filter: {probe: [BORN_HERE]}) { nodes { passed evidence { name value } } } }"
    for viewer in ("finance", "partner", "member"):
        assert (await ask.result(query, viewer)) == ({"integrationReadiness": None}, [])
        assert (await ask.data(runs, viewer))["probeRuns"]["nodes"] == []
    for viewer in ("admin", "desk"):
        data, errors = await ask.result(query, viewer)
        assert errors == []
        told = data["integrationReadiness"]
        assert (told["maySyncUsers"], len(told["items"])) == (False, 7)
        assert told["items"][4] == {
            "step": "BOUGHT_HERE",
            "title": "A new person buys a course here, and CoursePro is told",
            "state": "DONE",
            "because": "R80",
            "evidence": [{"name": "at", "value": "2026-01-05T12:00:00+00:00"}, *ids],
        }
        kept = {"passed": True, "evidence": ids}
        assert (await ask.data(runs, viewer))["probeRuns"]["nodes"] == [kept]


async def test_the_books_are_proved_to_who_may_see_the_money(ask: Any) -> None:
    query = "query($id: ID) { moneyProof(about: $id) { holds equation sums { charged { amount } } breaks { check } } }"
    invoice, ann, fee = (
        encode(*each) for each in (("Invoice", UUID(int=100)), ("User", UUID(int=1)), ("Payment", UUID(int=70)))
    )
    seen: dict[str | None, set[str]] = {
        None: {"admin", "finance"},
        invoice: {"admin", "finance"},
        ann: {"admin", "finance", "member"},
        fee: {"admin", "finance", "member"},
        encode("Course", UUID(int=80)): set(),
        encode("User", UUID(int=404)): set(),
    }
    for about, who in seen.items():
        for role in ROLES:
            data, errors = await ask.result(query, role, id=about)
            assert (errors, data["moneyProof"] is not None) == ([], role in who), (about, role)
    data, _ = await ask.result(query, "finance", id=invoice)
    assert data["moneyProof"] == {
        "holds": False,
        "equation": "100.00 = 0.00 + 0.00 + 0.00 + 100.00 GBP",
        "sums": [{"charged": {"amount": "100.00"}}],
        "breaks": [{"check": "ALLOCATED"}],
    }
