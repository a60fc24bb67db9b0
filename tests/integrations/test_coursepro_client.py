"""CoursePro behind CourseSystem, against the sandbox process."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest

from integrations.coursepro.client import CoursePro
from local.state import held_ports
from models.ports import CartPush, MembershipPush, OutcomeUnknown, ProviderError, RateLimited, Refused, Unavailable
from tests.integrations.conftest import Sandbox

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
CART = CartPush(
    event_id="ev-cart",
    occurred_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    cart_id="cart-1",
    user_id=UUID(int=1),
    coursepro_id=None,
    details={"first_name": "Mia", "allergy": "nuts"},
    membership_id=UUID(int=7),
    pricing_option_id=UUID(int=5),
    frequency="recurring",
    course_ref="SWIM-3",
    centre_id=UUID(int=3),
    price=3200,
    currency="GBP",
    starts_on=date(2026, 3, 1),
    ends_on=None,
    payment="direct_debit",
    instruction="active",
)


def client(sandbox: Sandbox, **changed: str) -> CoursePro:
    credentials: dict[str, Any] = sandbox.credentials["coursepro"] | changed
    base = sandbox.urls["coursepro"]
    return CoursePro(
        cart_complete_url=f"{base}/cart-complete",
        user_sync_url=f"{base}/user-sync",
        answer_seconds=0.7,
        **credentials,
    )


@pytest.fixture
async def coursepro(sandbox: Sandbox) -> AsyncIterator[CoursePro]:
    made = client(sandbox)
    yield made
    await made.close()


def courses(sandbox: Sandbox) -> list[Any]:
    return sandbox.state_of("coursepro.customers_course")


async def test_a_status_arrives_with_its_version(coursepro: CoursePro, sandbox: Sandbox) -> None:
    await coursepro.push_membership(PUSH)
    (course,) = courses(sandbox)
    assert {name: course[name] for name in ("id", "user_id", "course_ref", "status", "availability")} == {
        "id": str(UUID(int=7)),
        "user_id": str(UUID(int=1)),
        "course_ref": "SWIM-3",
        "status": "SUSPENDED",
        "availability": "unavailable",
    }
    assert (course["reason"], course["version"]) == ("PAYMENT_FAILED", 4)
    assert course["effective_at"] == "2026-03-01T12:00:00+00:00"


async def test_a_purchase_arrives_with_its_price_and_gives_the_course(coursepro: CoursePro, sandbox: Sandbox) -> None:
    await coursepro.push_cart(CART)
    await coursepro.push_cart(CART)
    (course,) = courses(sandbox)
    assert course == {
        "id": str(UUID(int=7)),
        "pricing_option_id": str(UUID(int=5)),
        "membership_type": "recurring",
        "course_ref": "SWIM-3",
        "centre_id": str(UUID(int=3)),
        "price_minor": 3200,
        "currency": "GBP",
        "start_date": "2026-03-01",
        "end_date": None,
        "user_id": str(UUID(int=1)),
        "cart_id": "cart-1",
        "availability": "active",
        "reason": None,
        "effective_at": "2026-03-01T12:00:00+00:00",
        "version": 0,
        "ended_here": None,
    }
    (user,) = sandbox.state_of("coursepro.user")
    assert (user["user_id"], user["first_name"], user["allergy"]) == (str(UUID(int=1)), "Mia", "nuts")
    await coursepro.push_membership(PUSH)
    assert [(one["availability"], one["price_minor"]) for one in courses(sandbox)] == [("unavailable", 3200)]


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("Active", "active"),
        ("active", "active"),
        ("Unavailable", "unavailable"),
        ("Cancelled", "cancelled"),
        ("Completed", "cancelled"),
    ],
)
async def test_the_words_of_the_contract(coursepro: CoursePro, sandbox: Sandbox, ours: str, theirs: str) -> None:
    await coursepro.push_membership(replace(PUSH, availability=ours))
    assert courses(sandbox)[0]["availability"] == theirs


async def test_a_word_outside_the_contract_is_not_sent(coursepro: CoursePro, sandbox: Sandbox) -> None:
    with pytest.raises(Refused) as refused:
        await coursepro.push_membership(replace(PUSH, availability="Asleep"))
    assert refused.value.code == "UNKNOWN_AVAILABILITY"
    assert sandbox.get("/calls?provider=coursepro") == []


async def test_repeats_and_late_news_change_nothing(coursepro: CoursePro, sandbox: Sandbox) -> None:
    await coursepro.push_membership(PUSH)
    await coursepro.push_membership(PUSH)
    await coursepro.push_membership(replace(PUSH, event_id="ev-0", version=3, availability="Active"))
    assert [(one["version"], one["availability"]) for one in courses(sandbox)] == [(4, "unavailable")]


@pytest.mark.parametrize("changed", [{"secret_token": "wrong"}, {"client_id": "somebody"}])
async def test_wrong_credentials_are_refused(sandbox: Sandbox, changed: dict[str, str]) -> None:
    stranger = client(sandbox, **changed)
    with pytest.raises(Refused) as refused:
        await stranger.push_membership(PUSH)
    assert refused.value.code == "HTTP_401"
    assert courses(sandbox) == []
    await stranger.close()


@pytest.mark.parametrize(
    ("kind", "raised", "arrived"),
    [
        ("500_before", OutcomeUnknown, False),
        ("500_after", OutcomeUnknown, True),
        ("html_502", OutcomeUnknown, False),
        ("timeout", OutcomeUnknown, False),
        ("drop_answer", OutcomeUnknown, True),
        ("429", RateLimited, False),
    ],
)
async def test_after_a_lost_answer_the_repeat_is_harmless(
    coursepro: CoursePro, sandbox: Sandbox, kind: str, raised: type[ProviderError], arrived: bool
) -> None:
    sandbox.post("/faults", provider="coursepro", kind=kind, seconds=1.5)
    with pytest.raises(ProviderError) as failed:
        await coursepro.push_membership(PUSH)
    assert type(failed.value) is raised
    assert bool(courses(sandbox)) is arrived
    await coursepro.push_membership(PUSH)
    assert [one["version"] for one in courses(sandbox)] == [4]


async def test_while_it_is_down_the_news_waits(coursepro: CoursePro, sandbox: Sandbox) -> None:
    sandbox.do("coursepro", "down", times=1)
    with pytest.raises(OutcomeUnknown):
        await coursepro.push_membership(PUSH)
    await coursepro.push_membership(PUSH)
    assert len(courses(sandbox)) == 1


async def test_nobody_listens() -> None:
    nowhere = f"http://127.0.0.1:{held_ports(1)[0]}"
    dead = CoursePro(
        cart_complete_url=f"{nowhere}/cart-complete",
        user_sync_url=f"{nowhere}/user-sync",
        client_id="coursepro",
        secret_token="x",
    )
    with pytest.raises(Unavailable):
        await dead.push_membership(PUSH)
    await dead.close()
