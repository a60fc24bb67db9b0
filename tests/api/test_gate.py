"""Who may enter: what a gate is told over HTTP, and staff by GraphQL, for one person at one centre at one moment."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from models.actions import memberships, rosters
from models.actions.keys import create_api_key, revoke_api_key
from models.rules.facts import Attendee, AttendeesPosted
from models.rules.invoicing import Mark
from models.rules.lifecycle import Cause
from models.rules.states import KeyPurpose, Role
from models.tables.course import ClassSession
from models.tables.membership import Membership
from models.tables.row import new_id
from resolvers.reads.ids import encode
from tests.api.conftest import Api
from tests.build import BY, DAY, HOUR, NOW, a_centre, a_membership

START = NOW + DAY
MINUTE = timedelta(minutes=1)
SHUT = {"may_enter": False, "until": None}
NOBODY = {**SHUT, "reason": "NO_TOKEN", "session": None}


@dataclass
class Gate:
    """A gate with its key, and somebody who has a class of an hour tomorrow."""

    client: httpx.AsyncClient
    membership: Membership
    session: str = ""

    async def asked(self, at: datetime | str = START, **changed: Any) -> tuple[int, Any]:
        moment = at if isinstance(at, str) else at.isoformat()
        query = {"user": self.membership.user_id, "centre": self.membership.centre_id, "at": moment, **changed}
        given = {name: str(value) for name, value in query.items() if value is not None}
        answer = await self.client.get("/gate/v1/may-enter", params=given)
        assert answer.headers["cache-control"] == "no-store"
        return answer.status_code, answer.json()

    async def reason(self, at: datetime = START, **changed: Any) -> str | None:
        status, told = await self.asked(at, **changed)
        assert status == 200
        assert told["may_enter"] is (told["reason"] is None)
        why: str | None = told["reason"]
        return why


async def posted(membership: Membership, starts_at: datetime = START, mark: Mark = Mark.BOOKED) -> str:
    """The course system tells of a place in a class -> the class."""
    name = f"{membership.id}:{starts_at:%d%H}"
    fact = AttendeesPosted(
        provider="COURSEPRO",
        course_id="SWIM-1",
        session_id=name,
        starts_at=starts_at,
        ends_at=starts_at + HOUR,
        attendees=(Attendee(external_id=name, membership_id=membership.id, mark=mark),),
        occurred_at=NOW,
        event_id=name,
    )
    await rosters.attendees_posted(fact, acting="webhook:COURSEPRO", at=NOW)
    return str((await ClassSession.get(external_ref=name)).id)


async def a_gate_key(purpose: KeyPurpose = KeyPurpose.GATE) -> tuple[UUID, str]:
    now = datetime.now(UTC)
    key, token = await create_api_key(name="gate", role=Role.PARTNER, purpose=purpose, acting=BY, at=now)
    return key.id, token


@pytest_asyncio.fixture
async def gate(api: Api) -> AsyncIterator[Gate]:
    membership = await a_membership()
    _, token = await a_gate_key()
    async with httpx.AsyncClient(base_url=api.url, headers={"authorization": f"Bearer {token}"}) as client:
        yield Gate(client, membership, await posted(membership))


async def test_the_gate_opens_around_the_class_and_says_until_when(gate: Gate) -> None:
    until = START + HOUR + 30 * MINUTE
    opens = {"may_enter": True, "reason": None, "until": until.isoformat(), "session": gate.session}
    assert await gate.asked() == (200, opens)
    for at, reason in (
        (START - 30 * MINUTE, None),
        (START - 31 * MINUTE, "TOO_EARLY"),
        (until - MINUTE, None),
        (until, "TOO_LATE"),
        (START - DAY, "NO_TOKEN"),
        (START + DAY, "NO_TOKEN"),
    ):
        assert await gate.reason(at) == reason
    assert await gate.asked(START - HOUR) == (200, {**SHUT, "reason": "TOO_EARLY", "session": gate.session})


async def test_a_person_or_a_centre_nobody_knows_is_as_one_on_no_roster(gate: Gate) -> None:
    other_centre, stranger = await a_centre(), await a_membership()
    user, centre = gate.membership.user_id, gate.membership.centre_id
    for changed in (
        {"user": stranger.user_id},
        {"centre": other_centre.id},
        {"user": new_id()},
        {"centre": new_id()},
        {"user": encode("Centre", user)},
        {"centre": encode("User", centre)},
    ):
        assert await gate.asked(**changed) == (200, NOBODY)
    assert await gate.reason(user=encode("User", user), centre=encode("Centre", centre)) is None
    assert await gate.reason(at=datetime.now(UTC)) == "NO_TOKEN"
    assert await gate.asked("") == (200, NOBODY), "now, as left out"


async def test_a_suspension_shuts_it_in_the_same_moment_and_it_opens_again(gate: Gate) -> None:
    """R42, R43, R46."""
    membership = gate.membership
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    assert await gate.asked() == (200, {**SHUT, "reason": "MEMBERSHIP_NOT_ACTIVE", "session": gate.session})
    await memberships.by_staff(membership.id, Cause.RESOLVED_BY_STAFF, acting=BY, at=NOW)
    assert await gate.reason() is None
    await posted(membership, mark=Mark.CANCELLED)
    assert await gate.reason() == "TOKEN_REVOKED"


async def test_a_place_told_while_suspended_has_no_token_and_says_why(gate: Gate) -> None:
    membership = await a_membership()
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    session = await posted(membership)
    asked = await gate.asked(user=membership.user_id, centre=membership.centre_id)
    assert asked == (200, {**SHUT, "reason": "MEMBERSHIP_NOT_ACTIVE", "session": session})


async def test_of_two_classes_the_one_that_opens_counts_and_else_the_nearest(gate: Gate) -> None:
    later = await posted(gate.membership, START + 4 * HOUR)
    assert (await gate.asked(START + 4 * HOUR))[1]["session"] == later
    assert await gate.reason(START + 2 * HOUR) == "TOO_LATE"
    assert await gate.reason(START + 3 * HOUR) == "TOO_EARLY"


@pytest.mark.parametrize(
    "changed",
    [{"user": "x"}, {"user": None}, {"centre": ""}, {"at": "yesterday"}, {"at": "2026-03-03T10:00:00"}],
    ids=repr,
)
async def test_a_question_that_cannot_be_read_is_told_so(gate: Gate, changed: dict[str, Any]) -> None:
    status, told = await gate.asked(**changed)
    assert (status, list(told)) == (400, ["message"])


async def test_only_a_key_made_for_gates_may_ask_and_it_may_ask_nothing_else(gate: Gate, api: Api) -> None:
    key_id, token = await a_gate_key()
    await revoke_api_key(key_id, acting=BY, at=NOW)
    _, of_coursepro = await a_gate_key(KeyPurpose.COURSEPRO)
    for given in ("", "Bearer", "Basic x", *(f"Bearer {each}" for each in (token, of_coursepro, api.keys["ADMIN"]))):
        answer = await gate.client.get("/gate/v1/may-enter", headers={"authorization": given})
        assert (answer.status_code, answer.json()) == (401, {"message": "An API key of purpose GATE is needed."})
    answer = await gate.client.post("/graphql", json={"query": "{ viewer { name } }"})
    assert answer.status_code == 401
    assert (await gate.client.post("/gate/v1/may-enter")).status_code == 405


ASK = """
query ($user: ID!, $centre: ID!, $at: DateTime) {
  mayEnter(userId: $user, centreId: $centre, at: $at) { mayEnter reason until sessionId }
}
"""


async def test_staff_are_told_the_same(gate: Gate, api: Api) -> None:
    member = await a_membership(api.member)
    await posted(member)
    ids = {"user": encode("User", member.user_id), "centre": encode("Centre", member.centre_id)}

    async def told(role: str, at: datetime = START, **changed: str) -> Any:
        answer = await api.ask(ASK, role, **{**ids, "at": at.isoformat(), **changed})
        return answer["data"]["mayEnter"]

    opens = await told("FRONT_DESK")
    by_gate = (await gate.asked(user=member.user_id, centre=member.centre_id))[1]
    session = encode("ClassSession", UUID(by_gate["session"]))
    assert (opens["mayEnter"], opens["reason"], opens["sessionId"]) == (True, None, session)
    assert datetime.fromisoformat(opens["until"]) == START + HOUR + 30 * MINUTE
    assert (await told("FINANCE", START - HOUR))["reason"] == "TOO_EARLY"
    assert (await told("MEMBER"))["mayEnter"] is True, "one may ask for oneself"
    somebody = encode("User", gate.membership.user_id)
    assert await told("MEMBER", user=somebody) is None
    assert await told("ADMIN", user=encode("User", new_id())) is None
    assert await told("ADMIN", centre=encode("Centre", new_id())) is None
    assert await told("ADMIN", user=ids["centre"]) is None
