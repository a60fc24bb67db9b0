"""Subscriptions: the present first, then what happens, resumed by cursor, and only what the viewer may see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
import pytest
from redis.asyncio import Redis

from integrations.bus import RedisBus
from models.ports import LiveEvent
from models.rules.booking import Pricing
from models.rules.lifecycle import Status
from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from models.rules.states import WaitingState
from models.tables.booking import WaitingPlace
from models.tables.centre import Centre
from models.tables.course import Course
from models.tables.job import Job
from models.tables.membership import Membership, MembershipType
from models.tables.pricing import PricingOption
from models.tables.user import User
from resolvers.reads.ids import encode

AT = datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
WATCH = """subscription ($id: ID, $after: String) { membershipStatusChanged(membershipId: $id, after: $after) {
    kind cursor occurredAt membership { id status } } }"""
EVENTS = """subscription ($after: String) { events(topics: [MEMBERSHIP, JOB], after: $after) {
    __typename kind cursor ... on MembershipEvent { membership { id } } ... on JobEvent { job { id status } } } }"""


@pytest.fixture
async def bus(redis_url: str) -> AsyncIterator[RedisBus]:
    bus = RedisBus(redis_url)
    yield bus
    await bus.stop()


@pytest.fixture(scope="module")
async def kinds(api: Any) -> tuple[Centre, MembershipType]:
    centre = await Centre.create(name="Baths", zone="Europe/London", currency="GBP")
    kind = await MembershipType.create(name="Swim", integration=Integration.NONE, kind=MembershipKind.ONGOING)
    return centre, kind


async def membership_of(user: User, kinds: tuple[Centre, MembershipType]) -> Membership:
    centre, kind = kinds
    return await Membership.create(
        user=user,
        membership_type=kind,
        centre=centre,
        amount=3000,
        currency="GBP",
        status=Status.ACTIVE,
        starts_on=date(2026, 1, 1),
    )


def moved(membership: Membership) -> LiveEvent:
    ids = {"membership_id": str(membership.id), "user_id": str(membership.user_id), "status": "SUSPENDED"}
    return LiveEvent(str(uuid4()), "membership", "MembershipStatusChanged", ids, AT)


def gid(kind: str, key: UUID) -> str:
    return encode(kind, key)


async def heard(wire: Any, id: str = "1") -> Any:  # noqa: A002  # the protocol's word
    told = await wire.hear()
    assert (told["type"], told["id"], list(told["payload"])) == ("next", id, ["data"])
    (event,) = told["payload"]["data"].values()
    return event


async def test_the_present_comes_first_and_then_what_happens(
    api: Any, bus: RedisBus, kinds: tuple[Centre, MembershipType]
) -> None:
    membership = await membership_of(api.member, kinds)
    other = await membership_of(api.member, kinds)
    its_id = gid("Membership", membership.id)
    async with api.socket("MEMBER") as wire:
        await wire.say(type="subscribe", id="1", payload={"query": WATCH, "variables": {"id": its_id}})
        first = await heard(wire)
        assert (first["kind"], first["membership"]) == ("SNAPSHOT", {"id": its_id, "status": "ACTIVE"})
        membership.status = Status.SUSPENDED
        await membership.save(update_fields=["status"])
        await bus.publish([moved(other), moved(membership)])
        second = await heard(wire)
        assert second["kind"] == "MembershipStatusChanged"
        assert second["occurredAt"] == "2026-01-05T09:30:00Z"
        assert second["membership"] == {"id": its_id, "status": "SUSPENDED"}
        assert second["cursor"] != first["cursor"]


async def test_after_a_cursor_nothing_is_missing_and_nothing_twice(
    api: Any, bus: RedisBus, kinds: tuple[Centre, MembershipType]
) -> None:
    membership = await membership_of(api.member, kinds)
    its_id = gid("Membership", membership.id)
    cursors: list[str] = []
    async with api.socket() as wire:
        await wire.say(type="subscribe", id="1", payload={"query": WATCH, "variables": {"id": its_id}})
        cursors.append((await heard(wire))["cursor"])
        await bus.publish([moved(membership)])
        cursors.append((await heard(wire))["cursor"])
    await bus.publish([moved(membership) for _ in range(5)])
    async with api.socket() as wire:
        await wire.say(
            type="subscribe", id="1", payload={"query": WATCH, "variables": {"id": its_id, "after": cursors[1]}}
        )
        for _ in range(5):
            told = await heard(wire)
            assert told["kind"] == "MembershipStatusChanged"
            cursors.append(told["cursor"])
        await bus.publish([moved(membership)])
        cursors.append((await heard(wire))["cursor"])
    assert len(set(cursors)) == 8


async def test_a_member_hears_of_the_own_things_only(
    api: Any, bus: RedisBus, kinds: tuple[Centre, MembershipType]
) -> None:
    own, foreign = await membership_of(api.member, kinds), await membership_of(api.stranger, kinds)
    async with api.socket("MEMBER") as wire, api.socket("FRONT_DESK") as desk:
        for each in (wire, desk):
            await each.say(type="subscribe", id="1", payload={"query": EVENTS})
            await each.say(type="ping")
            assert (await each.hear())["type"] == "pong"
        await asyncio.sleep(0.2)  # both have begun to listen once the process came round to it
        await bus.publish([moved(foreign), moved(own)])
        assert (await heard(wire))["membership"] == {"id": gid("Membership", own.id)}
        assert (await heard(desk))["membership"] == {"id": gid("Membership", foreign.id)}
        assert (await heard(desk))["membership"] == {"id": gid("Membership", own.id)}
        for thing in (gid("Membership", foreign.id), gid("Membership", uuid4()), gid("User", api.member.id)):
            await wire.say(type="subscribe", id="x", payload={"query": WATCH, "variables": {"id": thing}})
            told = await wire.hear()
            assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "NOT_FOUND")


async def test_a_member_follows_the_own_place_in_line(
    api: Any, bus: RedisBus, kinds: tuple[Centre, MembershipType]
) -> None:
    price: dict[str, Any] = {"option_type": OptionType.STANDARD, "frequency": Frequency.FIXED}
    option = await PricingOption.create(name="Term", amount=0, currency="GBP", **price)
    course = await Course.create(
        name="Full", centre=kinds[0], pricing_option=option, pricing=Pricing.PRORATED, capacity=1
    )
    theirs, own = [await WaitingPlace.create(course=course, user=user) for user in (api.stranger, api.member)]
    its_id = gid("WaitingPlace", own.id)
    query = """subscription ($id: ID) { waitingPlaceUpdated(waitingPlaceId: $id) {
        kind waitingPlace { id state position } } }"""
    told = [
        LiveEvent(str(uuid4()), "waiting_list", "PlaceOffered", {"waiting_place_id": str(place.id)}, AT)
        for place in (theirs, own)
    ]
    async with api.socket("MEMBER") as wire:
        await wire.say(type="subscribe", id="1", payload={"query": query, "variables": {"id": its_id}})
        shown = {"id": its_id, "state": "WAITING", "position": 2}
        assert await heard(wire) == {"kind": "SNAPSHOT", "waitingPlace": shown}
        await WaitingPlace.filter(id=own.id).update(state=WaitingState.OFFERED, offered_until=AT)
        await bus.publish(told)
        shown = {"id": its_id, "state": "OFFERED", "position": None}
        assert await heard(wire) == {"kind": "PlaceOffered", "waitingPlace": shown}
        foreign = {"id": gid("WaitingPlace", theirs.id)}
        await wire.say(type="subscribe", id="x", payload={"query": query, "variables": foreign})
        answer = await wire.hear()
        assert (answer["type"], answer["payload"][0]["extensions"]["code"]) == ("error", "NOT_FOUND")


async def test_a_job_is_followed_to_its_end(api: Any, bus: RedisBus) -> None:
    job = await Job.create(kind="test.nothing", key=f"test:{uuid4()}", user=api.member)
    async with api.socket() as wire:
        query = "subscription ($id: ID!) { jobUpdated(id: $id) { kind job { status } } }"
        await wire.say(type="subscribe", id="1", payload={"query": query, "variables": {"id": gid("Job", job.id)}})
        assert await heard(wire) == {"kind": "SNAPSHOT", "job": {"status": "READY"}}
        await Job.filter(id=job.id).update(state="DONE")
        await bus.publish([LiveEvent(str(uuid4()), "job", "JobDone", {"job_id": str(job.id)}, AT)])
        assert await heard(wire) == {"kind": "JobDone", "job": {"status": "DONE"}}


async def test_a_cursor_that_is_no_longer_kept_ends_its_operation(api: Any, redis_url: str) -> None:
    async with api.socket() as wire:
        for after in ("1-1", "nonsense"):
            await wire.say(type="subscribe", id="1", payload={"query": EVENTS, "variables": {"after": after}})
            told = await wire.hear()
            assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "CURSOR_EXPIRED")
            assert told["payload"][0]["path"] == ["events"]


@asynccontextmanager
async def frames(api: Any, query: str, variables: Any, **headers: str) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """The parsed frames of a stream of server-sent events."""

    async def parsed(answer: Any) -> AsyncIterator[dict[str, Any]]:
        frame: dict[str, Any] = {}
        async for line in answer.aiter_lines():
            if not line:
                if frame:
                    yield frame
                frame = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                frame[name] = orjson.loads(value) if name == "data" and value else value.strip()

    asked = {"query": query, "variables": variables}
    accept = {"accept": "text/event-stream", **headers}
    async with api.client() as client, client.stream("POST", "/graphql", json=asked, headers=accept) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        yield parsed(answer)


async def test_the_same_goes_over_server_sent_events(
    api: Any, bus: RedisBus, kinds: tuple[Centre, MembershipType]
) -> None:
    membership = await membership_of(api.member, kinds)
    its_id = gid("Membership", membership.id)
    async with frames(api, WATCH, {"id": its_id}) as told:
        first = await anext(told)
        assert first["event"] == "next"
        assert first["data"]["data"]["membershipStatusChanged"]["kind"] == "SNAPSHOT"
        assert first["id"] == first["data"]["data"]["membershipStatusChanged"]["cursor"]
    await bus.publish([moved(membership), moved(membership)])
    async with frames(api, WATCH, {"id": its_id}, **{"last-event-id": first["id"]}) as told:
        again = [await anext(told), await anext(told)]
    assert [frame["data"]["data"]["membershipStatusChanged"]["kind"] for frame in again] == [
        "MembershipStatusChanged"
    ] * 2
    assert len({first["id"], *(frame["id"] for frame in again)}) == 3


async def test_a_stream_that_cannot_go_on_says_why_and_completes(api: Any) -> None:
    async with frames(api, EVENTS, {"after": "1-1"}) as told:
        frame = await anext(told)
        assert frame["data"]["errors"][0]["extensions"]["code"] == "CURSOR_EXPIRED"
        assert await anext(told) == {"event": "complete", "data": ""}


async def test_redis_losing_everything_is_told_to_who_listens(api: Any, bus: RedisBus, redis_url: str) -> None:
    async with api.socket() as wire, Redis.from_url(redis_url) as redis:
        await wire.say(type="subscribe", id="1", payload={"query": EVENTS})
        await asyncio.sleep(0.2)
        await redis.flushall()
        told = await wire.hear(15)
        assert (told["type"], told["payload"][0]["extensions"]["code"]) == ("error", "CURSOR_EXPIRED")
        await wire.say(type="subscribe", id="1", payload={"query": EVENTS})
        await wire.say(type="ping")
        assert (await wire.hear())["type"] == "pong"
