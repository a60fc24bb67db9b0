"""Whether someone is known already, as the document on CoursePro reads in section E."""

from datetime import date
from uuid import UUID

import pytest

from models.rules.matching import Evidence, Identity, Known, MatchKind, match, normalised_email, normalised_name
from models.rules.people import billing_detail

BORN = date(2016, 5, 4)
ANN = Known(UUID(int=1), Identity("Parent@Example.com", "O'Brien", "Ann", BORN))
BEN = Known(UUID(int=2), Identity("parent@example.com", "O'Brien", "Ben", BORN))
ZOE = Known(UUID(int=3), Identity("zoe@example.com", "Müller", "Zoë"))


def test_the_same_credentials_are_matched_silently() -> None:
    found = match(Identity(" parent@example.COM ", "o’brien", "Ann", BORN), [ZOE, ANN])
    assert (found.kind, found.user_id) == (MatchKind.ONE, UUID(int=1))
    assert found.evidence == (
        Evidence(UUID(int=1), "email", True),
        Evidence(UUID(int=1), "last_name", True),
        Evidence(UUID(int=1), "date_of_birth", True),
        Evidence(UUID(int=1), "first_name", True),
    )


def test_details_one_side_does_not_know_decide_nothing() -> None:
    found = match(Identity("zoe@example.com", "MULLER", date_of_birth=BORN), [ANN, ZOE])
    assert (found.kind, found.user_id) == (MatchKind.ONE, UUID(int=3))
    assert {each.detail: each.agrees for each in found.evidence} == {
        "email": True,
        "last_name": True,
        "date_of_birth": None,
        "first_name": None,
    }


@pytest.mark.parametrize(
    "newcomer",
    [
        Identity("parent@example.com", "O'Brien", "Ben", BORN),
        Identity("parent@example.com", "O'Brien", "Ann", date(2018, 1, 1)),
        Identity("parent@example.com", "Smith", "Ann", BORN),
        Identity("someone@example.com", "O'Brien", "Ann", BORN),
    ],
    ids=["a twin", "another birthday", "another surname", "another address"],
)
def test_whoever_differs_in_one_detail_is_someone_new(newcomer: Identity) -> None:
    found = match(newcomer, [ANN])
    assert (found.kind, found.user_ids, found.user_id) == (MatchKind.NONE, (), None)


def test_twins_with_one_parents_address_are_told_apart_by_name_or_left_to_a_person() -> None:
    assert match(ANN.identity, [ANN, BEN]).user_id == UUID(int=1)
    nameless = match(Identity("parent@example.com", "O'Brien", None, BORN), [ANN, BEN])
    assert (nameless.kind, nameless.user_ids) == (MatchKind.SEVERAL, (UUID(int=1), UUID(int=2)))
    assert nameless.user_id is None


def test_what_addresses_and_names_are_compared_by() -> None:
    assert normalised_email("  First.Last+Swim@Example.COM\n") == "first.last+swim@example.com"
    assert normalised_email("ｆｕｌｌ@example.com") == "full@example.com"
    assert normalised_name("Van der Zoë-Müller Jr.") == "vanderzoemullerjr"


def test_where_ids_are_told_only_a_name_tells_a_billing_detail() -> None:
    """R62: an id may look like the number of a card."""
    told = {"items": [{"pricing_option_id": "4242424242424242"}], "user": {"user_id": "4242-4242-4242-4242"}}
    assert billing_detail(told) == ("items", "0", "pricing_option_id")
    assert billing_detail(told, numbers=False) is None
    assert billing_detail({"user": {"bank": {"account_number": "1"}}}, numbers=False) == ("user", "bank")
