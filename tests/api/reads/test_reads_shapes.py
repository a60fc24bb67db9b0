"""What a query is answered with, byte by byte; compiled, and walked by graphql-core."""

from typing import Any
from uuid import UUID

import pytest

from models.rules import pricing
from models.rules.fees import NEVER
from models.rules.states import Provider
from models.tables.membership import Membership, MembershipType, PaymentOption, Subscription
from models.tables.pricing import PricingOption
from models.tables.user import ExternalLink
from resolvers.reads.ids import encode


def gid(type_name: str, number: int) -> str:
    return encode(type_name, UUID(int=number))


SHAPES: dict[str, tuple[str, dict[str, Any], str]] = {
    "scalars, in the order asked for": (
        "query($id: ID!) { membership(id: $id) { startsOn status createdAt version endsOn } }",
        {"id": gid("Membership", 61)},
        '{"membership":{"startsOn":"2026-01-01","status":"ACTIVE","createdAt":"2026-01-05T12:00:00Z","version":1,'
        '"endsOn":null}}',
    ),
    "money": (
        "{ payments { nodes { amount { currency minorUnits amount } } } }",
        {},
        '{"payments":{"nodes":[{"amount":{"currency":"GBP","minorUnits":"2062","amount":"20.62"}}]}}',
    ),
    "what was given back of a payment, less what failed to be": (
        "query($id: ID!) { payment(by: {id: $id}) { refunded { amount currency }"
        " refunds { amount { amount } status reason failure payment { purpose } user { firstName } } } }",
        {"id": gid("Payment", 70)},
        '{"payment":{"refunded":{"amount":"5.62","currency":"GBP"},"refunds":[{"amount":{"amount":"5.62"},'
        '"status":"SUCCEEDED","reason":"Pool shut","failure":null,"payment":{"purpose":"MEMBERSHIP_FEE"},'
        '"user":{"firstName":"Ann"}},{"amount":{"amount":"10.00"},"status":"FAILED","reason":"Pool shut",'
        '"failure":"bounced","payment":{"purpose":"MEMBERSHIP_FEE"},"user":{"firstName":"Ann"}}]}}',
    ),
    "text that JSON must escape": (
        '{ user(by: {email: " ANN@example.ORG"}) { lastName } ben: user(by: {email: "ben@example.org"}) { lastName } }',
        {},
        '{"user":{"lastName":"O\\"Neil"},"ben":{"lastName":"Ågren"}}',
    ),
    "to-one, to-many, list and small objects": (
        "query($id: ID!) { invoice(by: {id: $id}) { period { start end } user { firstName } items { description }"
        " allocation { version shares { amount { amount } attendance { mark classSession { startsAt } } } }"
        " allocations { version current } shipments { system } } }",
        {"id": gid("Invoice", 100)},
        '{"invoice":{"period":{"start":"2026-01-01T00:00:00Z","end":"2026-01-31T00:00:00Z"},"user":{"firstName":"Ben"},'
        '"items":[{"description":"Gold"}],"allocation":{"version":2,"shares":[{"amount":{"amount":"100.00"},'
        '"attendance":{"mark":"ATTENDED","classSession":{"startsAt":"2026-01-11T18:00:00Z"}}}]},'
        '"allocations":[{"version":1,"current":false},{"version":2,"current":true}],"shipments":[{"system":"XERO"}]}}',
    ),
    "aliases, fragments, directives and variables' defaults": (
        'query($on: Boolean = true, $n: Int = 1) { who: user(by: {email: "ann@example.org"})'
        " { ...Name @include(if: $on) some: memberships(first: $n) { nodes { s: status @skip(if: $on) id } }"
        " ... on User { a: firstName"
        " ... on Node { __typename } } } __typename } fragment Name on User { lastName a: firstName }",
        {},
        f'{{"who":{{"lastName":"O\\"Neil","a":"Ann","some":{{"nodes":[{{"id":"{gid("Membership", 61)}"}}]}},'
        '"__typename":"User"},"__typename":"Query"}',
    ),
    "selections of one field are merged": (
        "{ centres(first: 1) { nodes { name } } centres(first: 1) { nodes { settingGroup { name } } } }",
        {},
        '{"centres":{"nodes":[{"name":"North","settingGroup":{"name":"Shire"}}]}}',
    ),
    "a page and its edges": (
        "{ centres(orderBy: {field: NAME, direction: ASC}) { edges { node { name } } totalCount"
        " pageInfo { hasNextPage hasPreviousPage } } }",
        {},
        '{"centres":{"edges":[{"node":{"name":"East"}},{"node":{"name":"North"}}],"totalCount":2,'
        '"pageInfo":{"hasNextPage":false,"hasPreviousPage":false}}}',
    ),
    "an empty page": (
        "{ users(filter: {ids: []}) { nodes { id } edges { cursor } totalCount pageInfo { startCursor endCursor } } }",
        {},
        '{"users":{"nodes":[],"edges":[],"totalCount":0,"pageInfo":{"startCursor":null,"endCursor":null}}}',
    ),
    "anything by its id, in the order of the ids": (
        "query($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Centre { name } ... on User { firstName } } }",
        {"ids": [gid("Centre", 41), gid("User", 99), gid("User", 2), gid("Centre", 41)]},
        f'{{"nodes":[{{"__typename":"Centre","id":"{gid("Centre", 41)}","name":"North"}},null,'
        f'{{"__typename":"User","id":"{gid("User", 2)}","firstName":"Ben"}},'
        f'{{"__typename":"Centre","id":"{gid("Centre", 41)}","name":"North"}}]}}',
    ),
    "explanations and named values": (
        "{ bookings { nodes { because { rule text figures { name value } } user { fields { name value } } } } }",
        {},
        '{"bookings":{"nodes":[{"because":[{"rule":"R116","text":"a credit each","figures":[{"name":"classes",'
        '"value":"2"}]}],"user":{"fields":[{"name":"allergy","value":"nuts"}]}}]}}',
    ),
    "a reason in words alone": (
        "query($id: ID!) { auditTrail(subjectId: $id) { nodes { subjectId because { rule text figures { name } }"
        " before { name value } } } }",
        {"id": gid("CardSubscription", 75)},
        f'{{"auditTrail":{{"nodes":[{{"subjectId":"{gid("CardSubscription", 75)}","because":[{{"rule":null,'
        '"text":"a person said so","figures":[]}],"before":[{"name":"user","value":null}]}]}}',
    ),
    "what is computed from other rows": (
        "{ packages { nodes { balance } } courses { nodes { placesTaken startsAt } } }",
        {},
        '{"packages":{"nodes":[{"balance":8}]},"courses":{"nodes":[{"placesTaken":1,"startsAt":"2026-01-11T18:00:00Z"}]}}',
    ),
    "the caller": (
        "{ viewer { role name user { id } } }",
        {},
        '{"viewer":{"role":"ADMIN","name":"admin","user":null}}',
    ),
    "filters in variables": (
        "query($f: MembershipFilter, $s: [MembershipStatus!]) { memberships(filter: $f) { nodes { startsOn } }"
        ' other: memberships(filter: {status: $s, startsOn: {gte: "2026-01-02"}}) { nodes { startsOn } } }',
        {"f": {"status": ["ACTIVE"], "userId": gid("User", 1)}, "s": ["ACTIVE", "PENDING"]},
        '{"memberships":{"nodes":[{"startsOn":"2026-01-01"}]},'
        '"other":{"nodes":[{"startsOn":"2026-01-03"},{"startsOn":"2026-01-04"}]}}',
    ),
    "an id of another type is the id of nothing": (
        "query($id: ID!) { membership(id: $id) { id } memberships(filter: {userId: $id}) { totalCount } }",
        {"id": gid("Centre", 41)},
        '{"membership":null,"memberships":{"totalCount":0}}',
    ),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_the_answer_byte_by_byte(name: str, ask: Any) -> None:
    query, variables, data = SHAPES[name]
    assert await ask.answer(query, **variables) == f'{{"data":{data}}}'
    assert await ask.walk(query, **variables) == f'{{"data":{data}}}'


async def test_a_key_longer_than_a_column_name_is_not_cut(ask: Any) -> None:
    long = "k" * 80
    query = f"{{ centres(first: 1) {{ nodes {{ {long}: name {long}x: settingGroup {{ name }} zone }} }} }}"
    node = f'{{"{long}":"North","{long}x":{{"name":"Shire"}},"zone":"Europe/London"}}'
    body = f'{{"data":{{"centres":{{"nodes":[{node}]}}}}}}'
    assert await ask.answer(query) == body
    assert await ask.walk(query) == body


async def test_amounts_have_the_digits_of_their_currency(ask: Any) -> None:
    for number, currency in ((500, "JPY"), (501, "KWD"), (502, "GBP")):
        await PricingOption.create(
            id=UUID(int=number), name="x", option_type="STANDARD", frequency="FIXED", amount=1205, currency=currency
        )
    ids = [gid("PricingOption", number) for number in (500, 501, 502)]
    query = "query($ids: [ID!]) { pricingOptions(filter: {ids: $ids}) { nodes { amount { amount currency } } } }"
    found = await ask.data(query, ids=ids)
    amounts = [node["amount"] for node in found["pricingOptions"]["nodes"]]
    assert amounts == [
        {"amount": "1205", "currency": "JPY"},
        {"amount": "1.205", "currency": "KWD"},
        {"amount": "12.05", "currency": "GBP"},
    ]


async def test_a_card_subscription_tells_who_pays_and_who_attends_apart(ask: Any) -> None:
    query = "{ cardSubscriptions { nodes { user { firstName } beneficiary { firstName } } } }"
    told = {"user": {"firstName": "Ben"}, "beneficiary": None}
    assert await ask.data(query) == {"cardSubscriptions": {"nodes": [told]}}
    await Subscription.filter(id=UUID(int=75)).update(beneficiary_id=UUID(int=1))
    told["beneficiary"] = {"firstName": "Ann"}
    assert await ask.data(query) == {"cardSubscriptions": {"nodes": [told]}}


async def test_the_last_day_there_is_is_told_as_a_day(ask: Any) -> None:
    await Membership.filter(id=UUID(int=63)).update(fees_from=NEVER, ends_on=NEVER)
    query = "query($id: ID!) { membership(id: $id) { feesFrom endsOn startsOn } }"
    assert await ask.data(query, id=gid("Membership", 63)) == {
        "membership": {"feesFrom": "9999-12-31", "endsOn": "9999-12-31", "startsOn": "2026-01-03"}
    }


async def test_one_known_to_the_course_system_is_found_whatever_else_has_that_number_there(ask: Any) -> None:
    await ExternalLink.create(
        id=UUID(int=19), user_id=UUID(int=1), provider=Provider.COURSEPRO, kind="parent", external_id="cp_2"
    )
    assert await ask.data('{ user(by: {courseproId: "cp_2"}) { firstName } }') == {"user": {"firstName": "Ben"}}


async def test_one_statement_for_a_whole_operation_and_for_each_root_that_is_walked(
    counted: Any, sent: list[str]
) -> None:
    query = (
        "{ users { nodes { memberships { nodes { payments { nodes { id } } } totalCount } bookings { edges { cursor"
        " node { course { sessions { nodes { attendances { nodes { user { id } } } } } } } } } } }"
        " courses { nodes { name } } }"
    )
    assert await counted.answer(query) is not None
    assert len(sent) == 1
    await counted.walk(query)
    assert len(sent) == 3


async def test_a_plan_serves_all_variables_that_lead_to_its_statement(counted: Any, sent: list[str]) -> None:
    query = "query($f: MembershipFilter, $n: Int) { memberships(filter: $f, first: $n) { nodes { startsOn } } }"
    for number, status, days in ((9, "ACTIVE", ["2026-01-01", "2026-01-04"]), (8, "SUSPENDED", ["2026-01-02"])):
        data = await counted.data(query, f={"status": [status]}, n=number)
        assert [each["startsOn"] for each in data["memberships"]["nodes"]] == days
    await counted.data(query, f={"userId": gid("User", 1)}, n=1)
    await counted.data(query)
    assert [len(set(sent[:at])) for at in range(1, 5)] == [1, 1, 2, 3]
    assert not any("ACTIVE" in statement for statement in sent)


@pytest.mark.parametrize(
    "query",
    [
        "mutation { __typename }",
        "subscription { __typename }",
        "{ __schema { queryType { name } } }",
        "{ users { nodes { id } ",
        "{ nothingOfTheKind }",
        '{ priceAt(pricingOptionId: "x", centreId: "x", on: "2026-01-01") { level } users { totalCount } }',
    ],
)
async def test_what_plans_do_not_cover_is_left_to_graphql_core(query: str, ask: Any) -> None:
    assert await ask.answer(query) is None


@pytest.mark.parametrize(
    ("query", "variables", "code"),
    [
        ("{ users(first: 101) { totalCount } }", {}, "BAD_USER_INPUT"),
        ("query($n: Int) { users(first: $n) { totalCount } }", {"n": 0}, "BAD_USER_INPUT"),
        ("{ users(last: -1) { totalCount } }", {}, "BAD_USER_INPUT"),
        ("{ users(first: 1, last: 1) { totalCount } }", {}, "BAD_USER_INPUT"),
        ('{ node(id: "bm9uc2Vuc2U") { id } }', {}, "BAD_USER_INPUT"),
        ('{ membership(id: "!") { id } }', {}, "BAD_USER_INPUT"),
        ("query($i: [ID!]!) { nodes(ids: $i) { id } }", {"i": [gid("User", 1)] * 101}, "BAD_USER_INPUT"),
        ('{ users(after: "abc") { nodes { id } } }', {}, "INVALID_CURSOR"),
        ('{ users(after: "!") { nodes { id } } }', {}, "INVALID_CURSOR"),
    ],
)
async def test_malformed_input_is_told(query: str, variables: dict[str, Any], code: str, ask: Any) -> None:
    assert await ask.answer(query, **variables) is None
    _, (error,) = await ask.result(query, **variables)
    assert error.extensions is not None
    assert error.extensions["code"] == code


async def test_price_at_says_where_it_was_found(ask: Any) -> None:
    query = (
        "query($o: ID!, $c: ID!, $d: Date!) { priceAt(pricingOptionId: $o, centreId: $c, on: $d)"
        " { price { amount } level } }"
    )
    option, north = gid("PricingOption", 50), gid("Centre", 41)
    asked = {"o": option, "c": north, "d": "2026-01-01"}
    assert await ask.walk(query, **asked) == '{"data":{"priceAt":{"price":{"amount":"18.50"},"level":"SETTING_GROUP"}}}'
    asked["d"] = "2025-12-31"
    assert await ask.walk(query, **asked) == '{"data":{"priceAt":{"price":{"amount":"20.00"},"level":"BASE"}}}'
    asked["c"] = gid("Centre", 999)
    assert await ask.walk(query, **asked) == '{"data":{"priceAt":null}}'


async def test_the_mapping_sheet_is_for_those_who_map(ask: Any) -> None:
    """R31; no cell of the CSV begins a formula."""
    given: dict[str, Any] = {
        "integration": pricing.Integration.COURSEPRO_COURSE,
        "kind": pricing.MembershipKind.ONGOING,
    }
    lessons = await MembershipType.create(id=UUID(int=58), name='=HYPERLINK("x", 1)', **given)
    offered = await PaymentOption.create(
        id=UUID(int=59), membership_type_id=lessons.id, pricing_option_id=UUID(int=50), coursepro=True
    )
    query = (
        "query($t: ID) { mappingSheet(membershipTypeId: $t) { membershipType pricingOptionRef pricingOption frequency"
        " prices { centre level price { amount } } } mappingSheetCsv(membershipTypeId: $t) }"
    )
    first = "membership_type_id,membership_type,kind,pricing_option_id,pricing_option,frequency,"
    first += "centre_id,centre,price,currency,level\r\n"
    try:
        for viewer in ("desk", "partner"):
            data, errors = await ask.result(query, viewer)
            assert errors == []
            assert data["mappingSheet"] == [
                {
                    "membershipType": '=HYPERLINK("x", 1)',
                    "pricingOptionRef": str(UUID(int=50)),
                    "pricingOption": "Swimming",
                    "frequency": "RECURRING",
                    "prices": [{"centre": "North", "level": "SETTING_GROUP", "price": {"amount": "18.50"}}],
                }
            ]
            assert data["mappingSheetCsv"] == first + (
                f'{UUID(int=58)},"\'=HYPERLINK(""x"", 1)",ONGOING,{UUID(int=50)},Swimming,RECURRING,'
                f"{UUID(int=41)},North,18.50,GBP,SETTING_GROUP\r\n"
            )
        for viewer, only in (("member", None), ("desk", gid("MembershipType", 53)), ("desk", gid("Centre", 41))):
            data, errors = await ask.result(query, viewer, t=only)
            assert (data, errors) == ({"mappingSheet": [], "mappingSheetCsv": first}, [])
    finally:
        await offered.delete()
        await lessons.delete()


async def test_booking_quotes_tell_every_way_of_paying(ask: Any) -> None:
    query = (
        "query($c: ID!, $u: ID!, $p: ID) { bookingQuotes(courseId: $c, userId: $u, packageId: $p) { method"
        " terms { credits charge { amount } lines { settledBy share { amount } } } refusal { code } } }"
    )
    asked = {"c": gid("Course", 80), "u": gid("User", 1), "p": gid("Package", 85)}
    data, errors = await ask.result(query, **asked)
    assert errors == []
    charged = [{"settledBy": "CHARGE", "share": {"amount": share}} for share in ("6.16", "6.17", "6.17")]
    assert data["bookingQuotes"][0] == {
        "method": "PAYMENT",
        "terms": {"credits": 0, "charge": {"amount": "18.50"}, "lines": charged},
        "refusal": None,
    }
    assert [
        (quote["method"], quote["refusal"] and quote["refusal"]["code"]) for quote in data["bookingQuotes"][1:]
    ] == [
        ("MEMBERSHIP", "MEMBERSHIP_REQUIRED"),
        ("PACKAGE", None),
        ("PACKAGE_AND_CHARGE", None),
    ]
    assert await ask.walk(query, "member", **{**asked, "u": gid("User", 2)}) == '{"data":{"bookingQuotes":null}}'
