"""Paging: forwards and backwards, in any order, nothing lost and nothing doubled, and cursors that cannot be bent."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest

from models.rules.lifecycle import Status
from models.tables.membership import Membership
from resolvers.reads.ids import encode, split

ANN = UUID(int=1)
ORDERS = {
    "as made": "",
    "newest first": "[{field: CREATED_AT, direction: DESC}]",
    "one column, with ties": "[{field: STARTS_ON, direction: ASC}]",
    "one column, falling": "{field: STARTS_ON, direction: DESC}",
    "two directions": "[{field: STARTS_ON, direction: DESC}, {field: CREATED_AT, direction: ASC}]",
    "nothing after the id counts": "[{field: CREATED_AT, direction: ASC}, {field: STARTS_ON, direction: DESC}]",
}


@pytest.fixture(scope="module")
async def many(ask: Any) -> Any:
    """Twenty-three more memberships of Ann's that begin on five days."""
    for number in range(1000, 1023):
        await Membership.create(
            id=UUID(int=number), user_id=ANN, membership_type_id=UUID(int=53), centre_id=UUID(int=41), amount=1,
            currency="GBP", status=Status.EXPIRED, starts_on=date(2025, 1, 1 + number % 5),
        )  # fmt: skip
    return ask


def page(order: str, arguments: str) -> str:
    ordered = f", orderBy: {order}" if order else ""
    return (
        f"query($cursor: String) {{ memberships({arguments}, filter: {{status: EXPIRED}}{ordered}) {{ edges {{ cursor"
        " node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } totalCount } }"
    )


async def ids_of(ask: Any, order: str) -> list[str]:
    data = await ask.data(page(order, "first: 100, after: $cursor"))
    return [edge["node"]["id"] for edge in data["memberships"]["edges"]]


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
async def test_pages_forward_and_backward_are_the_list(order: str, many: Any) -> None:
    whole = await ids_of(many, order)
    assert len(set(whole)) == 23
    for sides in (("first", "after", "hasNextPage", "endCursor"), ("last", "before", "hasPreviousPage", "startCursor")):
        size, bound, more, end = sides
        pages: list[list[str]] = []
        cursor, going = None, True
        while going:
            asked = page(order, f"{size}: 5, {bound}: $cursor")
            found = (await many.data(asked, cursor=cursor))["memberships"]
            assert found["totalCount"] == 23
            pages.append([edge["node"]["id"] for edge in found["edges"]])
            assert found["pageInfo"]["startCursor"] == found["edges"][0]["cursor"]
            assert found["pageInfo"]["endCursor"] == found["edges"][-1]["cursor"]
            back = "hasPreviousPage" if size == "first" else "hasNextPage"
            assert found["pageInfo"][back] is (cursor is not None)
            cursor, going = found["pageInfo"][end], found["pageInfo"][more]
        assert [len(each) for each in pages] == [5, 5, 5, 5, 3]
        assert [each for one in (pages if size == "first" else reversed(pages)) for each in one] == whole


async def test_both_bounds_leave_what_lies_between(many: Any) -> None:
    query = (
        "query($a: String, $b: String) { memberships(first: 100, after: $a, before: $b, filter: {status: EXPIRED})"
        " { edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage } } }"
    )
    edges = (await many.data(query))["memberships"]["edges"]
    found = (await many.data(query, a=edges[4]["cursor"], b=edges[9]["cursor"]))["memberships"]
    assert found["edges"] == edges[5:9]
    assert found["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": True}


async def test_rows_that_come_and_go_neither_hide_nor_double_others(many: Any) -> None:
    order = "[{field: STARTS_ON, direction: ASC}]"
    whole = await ids_of(many, order)
    first = (await many.data(page(order, "first: 5, after: $cursor")))["memberships"]
    await Membership.create(
        id=UUID(int=999), user_id=ANN, membership_type_id=UUID(int=53), centre_id=UUID(int=41), amount=1,
        currency="GBP", status=Status.EXPIRED, starts_on=date(2024, 1, 1),
    )  # fmt: skip
    await Membership.filter(id=UUID(int=1000)).delete()
    gone = encode("Membership", UUID(int=1000))
    cursor = first["pageInfo"]["endCursor"]
    second = (await many.data(page(order, "first: 100, after: $cursor"), cursor=cursor))["memberships"]
    assert [edge["node"]["id"] for edge in second["edges"]] == [each for each in whole[5:] if each != gone]


async def test_a_cursor_fits_its_own_list_order_and_filter_alone(many: Any) -> None:
    query = page("", "first: 1, after: $cursor")
    cursor = (await many.data(query))["memberships"]["edges"][0]["cursor"]
    assert await many.answer(query, cursor=cursor) is not None
    raw = bytearray.fromhex(cursor)
    raw[-3] ^= 1
    bent = raw.hex()
    for asked, given in (
        (query, bent),
        (query, cursor[:-4]),
        (query, f" {cursor}\n"),
        (query, cursor.upper()),
        (query.replace("EXPIRED", "ACTIVE"), cursor),
        ("query($cursor: String) { memberships(after: $cursor) { totalCount } }", cursor),
        (page("[{field: STARTS_ON, direction: ASC}]", "first: 1, after: $cursor"), cursor),
        ("query($cursor: String) { users(after: $cursor) { nodes { id } } }", cursor),
    ):
        assert await many.answer(asked, cursor=given) is None
        _, (error,) = await many.result(asked, cursor=given)
        assert error.extensions == {"code": "INVALID_CURSOR", "classification": "BAD_USER_INPUT"}


async def test_a_filter_in_a_variable_has_the_same_cursors_as_one_in_the_document(many: Any) -> None:
    cursor = (await many.data(page("", "first: 1, after: $cursor")))["memberships"]["edges"][0]["cursor"]
    query = (
        "query($f: MembershipFilter, $n: Int, $c: String) { memberships(filter: $f, first: $n, after: $c)"
        " { edges { cursor } } }"
    )
    data = await many.data(query, f={"status": ["EXPIRED"]}, n=1)
    assert data["memberships"]["edges"] == [{"cursor": cursor}]
    assert await many.answer(query, f={"status": ["EXPIRED"]}, c=cursor) is not None
    assert await many.answer(query, f={"status": ["ACTIVE"]}, c=cursor) is None


async def test_a_nested_list_pages_by_its_own_cursors(many: Any) -> None:
    query = (
        'query($c: String) { user(by: {email: "ann@example.org"}) { memberships(first: 2, after: $c)'
        " { edges { cursor node { id } } pageInfo { hasPreviousPage } } } }"
    )
    first = (await many.data(query))["user"]["memberships"]["edges"]
    second = (await many.data(query, c=first[1]["cursor"]))["user"]["memberships"]
    assert second["pageInfo"] == {"hasPreviousPage": True}
    assert not {edge["node"]["id"] for edge in first} & {edge["node"]["id"] for edge in second["edges"]}


@pytest.mark.parametrize("size", ["first: 4", "last: 4"])
@pytest.mark.parametrize("more", ["", "hasNextPage", "hasPreviousPage"])
async def test_the_ends_of_a_page_are_those_of_its_edges_whatever_else_is_asked(
    size: str, more: str, many: Any
) -> None:
    query = (
        f"{{ memberships({size}) {{ pageInfo {{ startCursor endCursor {more} }} edges {{ cursor }} nodes {{ id }} }} }}"
    )
    found = (await many.data(query))["memberships"]
    cursors = [edge["cursor"] for edge in found["edges"]]
    assert (found["pageInfo"]["startCursor"], found["pageInfo"]["endCursor"]) == (cursors[0], cursors[-1])
    alone = await many.data(f"{{ memberships({size}) {{ pageInfo {{ endCursor startCursor }} }} }}")
    assert alone["memberships"]["pageInfo"] == {"startCursor": cursors[0], "endCursor": cursors[-1]}


async def test_an_empty_page_has_no_ends_and_goes_on_nowhere(many: Any) -> None:
    asked = (
        "{ edges { cursor } nodes { id } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor } }"
    )
    ends = {"startCursor": None, "endCursor": None}
    for size in ("first: 2", "last: 2"):
        found = (await many.data(f"{{ memberships({size}, filter: {{status: []}}) {asked} }}"))["memberships"]
        assert found == {
            "edges": [], "nodes": [], "totalCount": 0,
            "pageInfo": {"hasNextPage": False, "hasPreviousPage": False, **ends},
        }  # fmt: skip
    whole = await many.data("{ memberships(first: 100) { pageInfo { endCursor } totalCount } }")
    cursor, total = whole["memberships"]["pageInfo"]["endCursor"], whole["memberships"]["totalCount"]
    query = f"query($c: String) {{ memberships(first: 2, after: $c) {asked} }}"
    found = (await many.data(query, c=cursor))["memberships"]
    assert found == {
        "edges": [], "nodes": [], "totalCount": total,
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": True, **ends},
    }  # fmt: skip


async def test_the_place_of_a_row_that_is_gone_is_still_a_place(many: Any) -> None:
    order = "[{field: STARTS_ON, direction: DESC}]"
    whole = (await many.data(page(order, "first: 100, after: $cursor")))["memberships"]["edges"]
    gone = whole[7]
    await Membership.filter(id=split(gone["node"]["id"])[1]).delete()
    for size, bound, rest in (("first", "after", whole[8:10]), ("last", "before", whole[5:7])):
        found = await many.data(page(order, f"{size}: 2, {bound}: $cursor"), cursor=gone["cursor"])
        assert found["memberships"]["edges"] == rest
        assert found["memberships"]["totalCount"] == len(whole) - 1


async def test_the_same_filter_spelled_otherwise_is_the_same_list(many: Any) -> None:
    one, other = "createdAt: {gte: null, lt: $t}", 'startsOn: {gte: "2020-01-01"}'
    pages = []
    for filter_ in (f"{one}, {other}", f"{other}, userId: null, {one}, ids: null"):
        query = (
            f"query($t: DateTime, $c: String) {{ memberships(first: 3, after: $c, filter: {{{filter_}}})"
            " { edges { cursor node { startsOn } } } }"
        )
        pages.append((await many.data(query, t="2027-01-01T01:00:00+01:00"))["memberships"]["edges"])
        behind = await many.answer(query, t="2027-01-01T00:00:00Z", c=pages[0][0]["cursor"])
        assert behind is not None
        assert pages[0][1]["cursor"] in behind
    assert pages[0] == pages[1]
    assert [edge["node"]["startsOn"] for edge in pages[0]] == sorted(edge["node"]["startsOn"] for edge in pages[0])
    bare = "query($c: String%s) { memberships(first: 1, after: $c%s) { edges { cursor } } }"
    cursor = (await many.data(bare % ("", "")))["memberships"]["edges"][0]["cursor"]
    for told, given in (("", ", filter: null"), ("", ", filter: {}"), (", $f: MembershipFilter", ", filter: $f")):
        assert await many.answer(bare % (told, given), c=cursor) is not None
