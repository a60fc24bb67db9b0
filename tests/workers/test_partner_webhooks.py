"""Partners are told by webhooks, over real HTTP: signed, in order, again after failures, and only what they may see."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest

from app import ReadsForJobs
from integrations.guard import Reach
from integrations.hooks import AT_ONCE, Hooks
from integrations.registry import Registry
from models.actions import keys, memberships, payments, webhook_endpoints, webhook_messages
from models.actions.jobs import AWAY_SINCE
from models.actions.unit import PUBLISH, unit
from models.actions.vault import Vault
from models.ports import WebhookSender
from models.rules.events import MembershipStatusChanged
from models.rules.lifecycle import Cause, Status
from models.rules.partners import DeliveryState, WebhookTopic
from models.rules.refusals import Code
from models.rules.states import JobState, Role
from models.tables.audit import AuditEntry
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.partner import WebhookEndpoint, WebhookMessage
from models.tables.setting import ApiKey
from resolvers.reads.ids import encode
from tests.build import BY, DAY, HOUR, NOW, a_fee, a_membership, a_name, refused
from tests.sandbox.conftest import Received, Receiver
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
PENDING, DELIVERED, FAILED = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.FAILED
TOLERANCE_SECONDS = 300
_paths = count(1)


@dataclass
class At:
    """A clock that is moved by hand."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


class Impatient(Registry):
    """Providers whose webhooks wait half a second for an answer."""

    def __init__(self, vault: Vault, reach: Reach) -> None:
        super().__init__(vault, None)
        self.sender = Hooks(vault, reach, answer_seconds=0.5)

    async def hooks(self) -> WebhookSender:
        return self.sender


async def silent(wakes: Wakes) -> None:
    """The tests run what is written themselves."""


@dataclass
class World:
    """A worker, its clock, and the vault of the deployment."""

    clock: At
    vault: Vault
    runner: Runner
    sender: Hooks
    secrets: dict[UUID, str] = field(default_factory=dict)

    async def endpoint(
        self, url: str, *topics: WebhookTopic, owner: UUID | None = None, local: bool = True
    ) -> WebhookEndpoint:
        """An endpoint, its secret kept."""
        row, secret = await webhook_endpoints.create_webhook_endpoint(
            url=url,
            topics=topics or list(WebhookTopic),
            owner=owner,
            vault=self.vault,
            local=local,
            acting=BY,
            at=self.clock.at,
        )
        self.secrets[row.id] = secret
        return row

    async def turn(self, *, newest_first: bool = False) -> int:
        """Run what a worker would now, one after the other, whoever was to wait -> how many jobs."""
        jobs = Job.filter(kind__in=[PUBLISH, "webhooks.deliver"], state=JobState.READY)
        rows = await jobs.order_by("-id" if newest_first else "id")
        await Job.filter(id__in=[row.id for row in rows]).update(run_at=None)
        for row in rows:
            await self.runner.run(row.id)
        return len(rows)

    async def settle(self) -> None:
        """Until nothing is left to do."""
        deadline = time.monotonic() + 8
        while await self.turn():
            assert time.monotonic() < deadline, [(job.kind, job.error) async for job in Job.filter(state="READY")]


@pytest.fixture
async def world(outside: Outside, database_url: str, secret_key: str) -> AsyncIterator[World]:
    await Job.all().delete()
    await WebhookMessage.all().delete()
    await WebhookEndpoint.all().delete()
    clock, vault, reads = At(), Vault(secret_key), ReadsForJobs(database_url, secret_key)
    registry = Impatient(vault, Reach(local=True))
    runner = Runner(HANDLERS, {}, Outside(registry, clock, outside.bus, reads), silent)
    yield World(clock, vault, runner, registry.sender)
    await registry.sender.close()
    await registry.close()
    await reads.close()


def somewhere(receiver: Receiver) -> str:
    """An address at the receiver nobody was called at before."""
    return f"/hooks/{next(_paths)}"


async def moved(membership: Membership, times: int = 1, at: datetime = NOW) -> None:
    """Tell of a membership, each time in a transaction of its own."""
    for _ in range(times):
        async with unit(acting=BY, at=at) as work:
            work.emit(MembershipStatusChanged(membership.id, membership.user_id, Status.ACTIVE))
    await Job.exclude(kind__in=[PUBLISH, "webhooks.deliver"]).delete()


async def quiet_membership() -> Membership:
    """A membership whose own events were never told."""
    membership = await a_membership()
    await Job.all().delete()
    return membership


def verified(received: Received, secret: str) -> dict[str, Any]:
    """What the convention's reference does, written anew: headers, time, signature over the raw bytes -> the body."""
    head = received.headers
    assert abs(time.time() - int(head["webhook-timestamp"])) < TOLERANCE_SECONDS
    signed = b".".join([head["webhook-id"].encode(), head["webhook-timestamp"].encode(), received.body])
    digest = hmac.new(base64.b64decode(secret[len("whsec_") :]), signed, hashlib.sha256).digest()
    offered = [each.split(",") for each in head["webhook-signature"].split(" ")]
    assert ["v1", base64.b64encode(digest).decode()] in offered
    told: dict[str, Any] = json.loads(received.body)
    return told


async def states(endpoint: WebhookEndpoint) -> list[DeliveryState]:
    return [row.state for row in await WebhookMessage.filter(endpoint_id=endpoint.id).order_by("id")]


async def test_what_happens_is_told_signed_and_thin(world: World, receiver: Receiver) -> None:
    path = somewhere(receiver)
    endpoint = await world.endpoint(receiver.url + path, WebhookTopic.MEMBERSHIP)
    membership = await quiet_membership()
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    await world.settle()
    told = [verified(each, world.secrets[endpoint.id]) for each in receiver.at(path)]
    assert [each["type"] for each in told] == ["membership.MembershipStatusChanged"]
    gids = {"membershipId": encode("Membership", membership.id), "userId": encode("User", membership.user_id)}
    assert all(each == {"type": each["type"], "timestamp": NOW.isoformat(), "data": gids} for each in told)
    assert {each.headers["content-type"] for each in receiver.at(path)} == {"application/json"}
    rows = await WebhookMessage.filter(endpoint_id=endpoint.id).order_by("id")
    assert [(row.state, row.attempts, row.last_status, row.delivered_at) for row in rows] == [(DELIVERED, 1, 200, NOW)]
    assert [str(row.id) for row in rows] == [each.headers["webhook-id"] for each in receiver.at(path)]
    stored = (await WebhookEndpoint.get(id=endpoint.id)).secrets
    assert world.secrets[endpoint.id] not in stored


async def test_one_objects_events_keep_their_order_through_failures_and_workers_that_overtake(
    world: World, receiver: Receiver
) -> None:
    path = somewhere(receiver)
    endpoint = await world.endpoint(receiver.url + path)
    first, second = await quiet_membership(), await quiet_membership()
    for membership in (first, second) * 4:
        await moved(membership)
    events = [job.payload["events"][0]["id"] for job in await Job.filter(kind=PUBLISH).order_by("id")]
    receiver.told_at, receiver.statuses = path, [500, 200, 429, 200, 404, 302, 200, 503]
    await world.turn(newest_first=True)
    await world.settle()
    assert await states(endpoint) == [DELIVERED] * 8
    messages = {str(row.id): row async for row in WebhookMessage.filter(endpoint_id=endpoint.id)}
    tries = [messages[each.headers["webhook-id"]] for each in receiver.at(path)]
    for membership in (first, second):
        own = [row.event_id for row in tries if row.subject == f"membership:{membership.id}"]
        assert list(dict.fromkeys(own)) == [event for event in events if event in own], "in the order it happened"
        assert own == sorted(own, key=events.index), "no later one was sent before an earlier one was taken"
    assert len(tries) == 8 + 5
    assert (await WebhookEndpoint.get(id=endpoint.id)).failing_since is None


async def test_an_endpoint_that_hangs_holds_up_nobody_else(world: World, receiver: Receiver) -> None:
    hanging: set[asyncio.StreamWriter] = set()
    most = 0

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        hanging.add(writer)
        most = max(most, len(hanging))
        await reader.read(-1)
        hanging.discard(writer)
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    port, path = server.sockets[0].getsockname()[1], somewhere(receiver)
    slow = await world.endpoint(f"http://127.0.0.1:{port}/")
    quick = await world.endpoint(receiver.url + path)
    for membership in [await quiet_membership() for _ in range(8)]:
        await moved(membership)
    async for job in Job.filter(kind=PUBLISH):
        await world.runner.run(job.id)
    jobs = await Job.filter(kind="webhooks.deliver")
    began = time.monotonic()
    await asyncio.gather(*(world.runner.run(job.id) for job in jobs))
    assert time.monotonic() - began < 5, "one wait of half a second, and no queue for it"
    own = [row.id async for row in WebhookMessage.filter(endpoint_id=quick.id)]
    for job in jobs:  # those that found it called four times at once
        if UUID(job.payload["message_id"]) in own:
            await Job.filter(id=job.id).update(run_at=None)
            await world.runner.run(job.id)
    assert (await states(quick), most) == ([DELIVERED] * 8, AT_ONCE)
    assert await states(slow) == [PENDING] * 8
    rows = await WebhookMessage.filter(endpoint_id=slow.id)
    assert sorted(row.attempts for row in rows) == [0] * (8 - AT_ONCE) + [1] * AT_ONCE
    assert {row.last_error for row in rows} == {None, "It did not answer within 0.5 seconds."}
    assert await Job.filter(kind="webhooks.deliver", state=JobState.READY, error_code="RATE_LIMITED").count() == 4
    server.close()


async def test_a_changed_secret_and_the_one_before_sign_together_for_a_day(world: World, receiver: Receiver) -> None:
    path = somewhere(receiver)
    endpoint = await world.endpoint(receiver.url + path)
    _, fresh = await webhook_endpoints.rotate_webhook_secret(
        endpoint.id, owner=None, vault=world.vault, acting=BY, at=NOW
    )
    for later in (DAY - HOUR, DAY):
        world.clock.at = NOW + later
        await webhook_messages.send_test_webhook(endpoint.id, owner=None, acting=BY, at=world.clock.at)
        await world.settle()
    during, after = receiver.at(path)
    assert {verified(during, each)["type"] for each in (fresh, world.secrets[endpoint.id])} == {"test"}
    assert verified(after, fresh)["data"] == {}
    with pytest.raises(AssertionError):
        verified(after, world.secrets[endpoint.id])


async def test_one_that_fails_for_five_days_is_switched_off_and_can_be_asked_again(
    world: World, receiver: Receiver
) -> None:
    path = somewhere(receiver)
    endpoint = await world.endpoint(receiver.url + path)
    receiver.told_at, receiver.statuses = path, [500] * 3
    await moved(await quiet_membership())
    for later in (timedelta(0), DAY, 5 * DAY - HOUR):
        world.clock.at = NOW + later
        await world.turn()
        await world.turn() if not later else None
        row = await WebhookEndpoint.get(id=endpoint.id)
        assert (row.enabled, row.failing_since) == (True, NOW)
    receiver.statuses = [500]
    world.clock.at = NOW + 5 * DAY
    await world.turn()
    row = await WebhookEndpoint.get(id=endpoint.id)
    assert (row.enabled, row.disabled_because) == (False, "It failed since 2026-03-02 10:00 UTC.")
    assert await states(endpoint) == [FAILED]
    assert await AuditEntry.filter(verb="disable_webhook_endpoint", subject_id=endpoint.id).count() == 1
    await moved(await quiet_membership())
    await world.settle()
    assert (await states(endpoint), len(receiver.at(path))) == ([FAILED], 4), "nothing is written while it is off"
    (message,) = await WebhookMessage.filter(endpoint_id=endpoint.id)
    asked: dict[str, Any] = {"owner": None, "acting": BY, "at": world.clock.at}
    async with refused(Code.ILLEGAL_MOVE, "webhookMessageId"):
        await webhook_messages.redeliver_webhook(message.id, **asked)
    await webhook_endpoints.enable_webhook_endpoint(endpoint.id, **asked)
    await webhook_messages.redeliver_webhooks(endpoint.id, since=message.created_at, **asked)
    await world.settle()
    assert await states(endpoint) == [DELIVERED]
    await webhook_messages.redeliver_webhook(message.id, **asked)
    await world.settle()
    assert {each.headers["webhook-id"] for each in receiver.at(path)} == {str(message.id)}
    assert len(receiver.at(path)) == 6, "four that failed, one after each of two requests"


async def test_one_that_is_gone_is_switched_off_at_once(world: World, receiver: Receiver) -> None:
    path = somewhere(receiver)
    endpoint = await world.endpoint(receiver.url + path)
    receiver.told_at, receiver.statuses = path, [410]
    await moved(await quiet_membership(), times=3)
    await world.settle()
    row = await WebhookEndpoint.get(id=endpoint.id)
    assert (row.enabled, row.disabled_because) == (False, "It answered 410 Gone.")
    assert (await states(endpoint), len(receiver.at(path))) == ([FAILED] * 3, 1)


async def test_a_message_whose_job_is_given_up_has_failed(world: World) -> None:
    endpoint = await world.endpoint("http://127.0.0.1:1/")
    await moved(await quiet_membership())
    await world.turn()
    job = await Job.get(kind="webhooks.deliver")
    since = (datetime.now(NOW.tzinfo) - timedelta(days=3)).isoformat()
    await Job.filter(id=job.id).update(payload={**job.payload, AWAY_SINCE: since})
    await world.turn()
    assert (await Job.get(id=job.id)).state is JobState.DEAD
    (row,) = await WebhookMessage.filter(endpoint_id=endpoint.id)
    assert (row.state, row.last_status, row.last_error) == (FAILED, None, "It could not be reached (ConnectError).")


async def test_a_partner_is_told_only_what_its_key_may_see_when_it_is_told(world: World, receiver: Receiver) -> None:
    async def partner(*scopes: str) -> ApiKey:
        key, _ = await keys.create_api_key(name=a_name("p"), role=Role.PARTNER, scopes=scopes, acting=BY, at=NOW)
        return key

    money, plain = await partner("money:read"), await partner()
    paths = {key.id: somewhere(receiver) for key in (money, plain)}
    rows = {key.id: await world.endpoint(receiver.url + paths[key.id], owner=key.id) for key in (money, plain)}
    membership = await quiet_membership()
    await payments.collect_fee(membership.id, period_start=NOW.date(), acting=BY, at=NOW)
    await moved(membership)
    await Job.exclude(kind=PUBLISH).delete()
    await world.settle()
    types = {key: [each.json["type"] for each in receiver.at(path)] for key, path in paths.items()}
    assert types == {
        money.id: ["payment.PaymentDue", "membership.MembershipStatusChanged"],
        plain.id: ["membership.MembershipStatusChanged"],
    }
    # between the writing of a message and its sending the rights are taken away
    receiver.clear()
    await a_fee(await quiet_membership())
    for job in await Job.filter(kind=PUBLISH):
        await world.runner.run(job.id)
    assert await states(rows[money.id]) == [DELIVERED, DELIVERED, PENDING]
    await ApiKey.filter(id=money.id).update(scopes=[])
    await world.settle()
    assert (await states(rows[money.id]))[-1] is FAILED
    await moved(membership)
    await keys.revoke_api_key(plain.id, acting=BY, at=NOW)
    await world.settle()
    assert [each.json["type"] for each in receiver.at(paths[money.id])] == ["membership.MembershipStatusChanged"]
    assert receiver.at(paths[plain.id]) == []
    async with refused(Code.NOT_FOUND, "webhookEndpointId"):
        await webhook_endpoints.rotate_webhook_secret(
            rows[money.id].id, owner=plain.id, vault=world.vault, acting=BY, at=NOW
        )
    (message, *_) = await WebhookMessage.filter(endpoint_id=rows[money.id].id)
    async with refused(Code.NOT_FOUND, "webhookMessageId"):
        await webhook_messages.redeliver_webhook(message.id, owner=plain.id, acting=BY, at=NOW)


async def test_an_address_inside_is_refused_when_entered_and_when_called(
    world: World, receiver: Receiver, secret_key: str
) -> None:
    async with refused(Code.ADDRESS_NOT_ALLOWED, "url"):
        await world.endpoint(receiver.url, local=False)

    async def inside(host: str, port: int) -> list[str]:
        return ["10.0.0.7"]

    world.sender._client = Hooks(world.vault, Reach(local=False, resolve=inside))._client
    endpoint = await world.endpoint("https://partner.example.com/hooks", local=False)
    await webhook_messages.send_test_webhook(endpoint.id, owner=None, acting=BY, at=NOW)
    await world.turn()
    (row,) = await WebhookMessage.filter(endpoint_id=endpoint.id)
    assert (row.state, row.attempts) == (PENDING, 1)
    assert "not on the internet" in (row.last_error or "")


async def test_without_an_endpoint_nothing_is_written_and_an_event_is_written_once(
    world: World, receiver: Receiver
) -> None:
    membership = await quiet_membership()
    await moved(membership)
    await world.settle()
    assert await WebhookMessage.all().count() == 0
    endpoint = await world.endpoint(receiver.url + somewhere(receiver), WebhookTopic.BOOKING, WebhookTopic.MEMBERSHIP)
    await moved(membership)
    job = await Job.filter(kind=PUBLISH).order_by("-id").first()
    assert job is not None
    for _ in range(3):
        await Job.filter(id=job.id).update(state=JobState.READY)
        await world.runner.run(job.id)
    assert await states(endpoint) == [PENDING]
    await webhook_messages.forget(at=datetime.now(NOW.tzinfo) + 31 * DAY)
    assert await states(endpoint) == [PENDING], "what waits is kept"
    await WebhookMessage.filter(endpoint_id=endpoint.id).update(state=FAILED)
    await webhook_messages.forget(at=datetime.now(NOW.tzinfo) + 29 * DAY)
    assert await states(endpoint) == [FAILED]
    await webhook_messages.forget(at=datetime.now(NOW.tzinfo) + 31 * DAY)
    assert await states(endpoint) == []
    assert await WebhookMessage.get_or_none(id=uuid4()) is None
