"""Telling CoursePro, and hearing from it, by real jobs over real HTTP: away, twice, late, dead and revived."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from integrations.coursepro.client import CoursePro
from integrations.coursepro.webhook import CourseProCalls
from integrations.registry import Registry
from models.actions import course_feed, inbound, jobs, memberships, payments
from models.actions.jobs import AWAY_SECONDS, AWAY_SINCE, OUTAGE_CAP_SECONDS
from models.actions.vault import Vault
from models.ports import CourseSystem, ReceivedEvent, WebhookSource
from models.rules.lifecycle import Cause, Status
from models.rules.states import InboxState, JobState, PaymentOutcome, Provider
from models.tables.course import AccessToken
from models.tables.inbox import InboxEvent
from models.tables.job import Job
from models.tables.membership import Membership
from models.tables.notification import Notification
from tests.build import BY, DAY, HOUR, NOW, a_fee, a_membership, a_name, happening, sql
from tests.workers.conftest import Sandbox
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
PUSH = "courses.push_membership"
SECRET = "coursepro_secret"


class Only(Registry):
    """Providers of which only CoursePro is set up."""

    def __init__(self, client: CoursePro, vault: Vault) -> None:
        super().__init__(vault, None)
        self._client, self._calls = client, CourseProCalls([SECRET], "club")

    async def courses(self) -> CourseSystem:
        return self._client

    async def webhooks(self, provider: Provider) -> WebhookSource:
        assert provider is Provider.COURSEPRO
        return self._calls


class Stopped:
    """A clock that stands still."""

    def now(self) -> datetime:
        """The one instant."""
        return NOW


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Line:
    """Our worker and CoursePro at the other end."""

    sandbox: Sandbox
    runner: Runner
    client: CoursePro

    async def work(self, membership: Membership, *kinds: str) -> list[Job]:
        """Run the waiting jobs of these kinds about a membership, due or not, in their order -> their rows."""
        # the purchase was told before: it stands in one line with the statuses, ahead of them
        await Job.filter(key=f"courses.push_cart:{membership.id}").update(state=JobState.DONE)
        about = Job.filter(kind__in=kinds or (PUSH,), payload__contains={"user_id": str(membership.user_id)})
        rows = await about.filter(state=JobState.READY).order_by("id")
        for row in rows:
            await Job.filter(id=row.id).update(run_at=None)
            await self.runner.run(row.id)
        return await Job.filter(id__in=[row.id for row in rows]).order_by("id")

    def there(self, membership: Membership) -> tuple[str, int] | None:
        """(availability, version) of the customer's course at CoursePro."""
        known = [one for one in self.sandbox.state_of("coursepro.customers_course") if one["id"] == str(membership.id)]
        return (known[0]["availability"], known[0]["version"]) if known else None

    def calls(self) -> list[str]:
        """The event ids CoursePro was called with, in their order, whether it answered or not."""
        return [call["body"]["event_id"] for call in self.sandbox.get("/calls?provider=coursepro")]

    async def hears(self, body: dict[str, Any]) -> str:
        """CoursePro calls: verified, stored with its job, and applied -> what became of it."""
        raw = json.dumps({"event_id": a_name("cpe"), "occurred_at": NOW.isoformat(), **body}).encode()
        signature = hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
        (event,) = CourseProCalls([SECRET], "club").verify(raw, {"x-signature": signature})
        await self.applies(event)
        return (await InboxEvent.get(event_id=event.event_id)).state.value

    async def applies(self, event: ReceivedEvent) -> None:
        """Store an event and run its job."""
        await inbound.receive(Provider.COURSEPRO, [event])
        job = await Job.get(key=f"inbox.apply:COURSEPRO:{event.event_id}")
        await self.runner.run(job.id)


@pytest.fixture
async def line(outside: Outside, secret_key: str, sandbox: Sandbox) -> AsyncIterator[Line]:
    known = sandbox.credentials["coursepro"]
    client = CoursePro(
        cart_complete_url=f"{sandbox.urls['coursepro']}/cart-complete",
        user_sync_url=f"{sandbox.urls['coursepro']}/user-sync",
        client_id=known["client_id"],
        secret_token=known["secret_token"],
        answer_seconds=0.7,
    )
    world = Outside(Only(client, Vault(secret_key)), Stopped(), outside.bus)
    yield Line(sandbox, Runner(HANDLERS, {}, world, silent), client)
    await client.close()


def an_attendee(membership: Membership, starts_at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "attendance_id": "A1",
        "membership_id": str(membership.id),
        "course_ref": "SWIM-1",
        "session_ref": f"S-{membership.id.hex[:20]}",
        "starts_at": starts_at.isoformat(),
        "ends_at": (starts_at + HOUR).isoformat(),
        "mark": None,
        **more,
    }


async def open_tokens(membership: Membership) -> int:
    return await AccessToken.filter(membership_id=membership.id, revoked_at=None).count()


async def test_the_first_journey_a_fee_fails_and_is_made_good(line: Line) -> None:
    """CoursePro, D, payment failure: each step in its order, with all that is told at it."""
    membership = await a_membership()
    await line.hears({"attendees": [an_attendee(membership, NOW + DAY)]})
    await line.work(membership)
    assert (line.there(membership), await open_tokens(membership)) == (("active", 2), 1)

    fee = await a_fee(membership)
    await payments.settle(fee.id, PaymentOutcome.SUBMITTED, reference=a_name("PM"), acting=BY, at=NOW)
    async with happening() as seen:
        await payments.settle(fee.id, PaymentOutcome.FAILED, acting=BY, at=NOW)
        await payments.settle(fee.id, PaymentOutcome.FAILED, acting=BY, at=NOW)
    assert seen.events == ["PaymentUpdated", "PaymentMissed", "AccessRevoked", "MembershipStatusChanged"]
    assert await open_tokens(membership) == 0
    await line.work(membership, PUSH, "notifications.payment_failed")
    assert line.there(membership) == ("unavailable", 3)
    assert await Notification.filter(user_id=membership.user_id).count() == 1

    # its provider tries again by itself, and fails again: another attempt, another message, the same standing
    for outcome in (PaymentOutcome.SUBMITTED, PaymentOutcome.FAILED):
        await payments.settle(fee.id, outcome, acting=BY, at=NOW)
    await line.work(membership, PUSH, "notifications.payment_failed")
    assert await Notification.filter(user_id=membership.user_id).count() == 2
    assert line.there(membership) == ("unavailable", 3)

    claim = {"membership_id": str(membership.id), "course_ref": "SWIM-1", "outcome": "active", "actor": "staff"}
    assert await line.hears(claim) == "APPLIED"
    assert (await Membership.get(id=membership.id)).status is Status.SUSPENDED, "only we resolve it (R45)"

    async with happening() as seen:
        await payments.settle(fee.id, PaymentOutcome.CONFIRMED, acting=BY, at=NOW)
    assert seen.events == ["PaymentUpdated", "AccessGranted", "MembershipStatusChanged"]
    await line.work(membership)
    assert (line.there(membership), await open_tokens(membership)) == (("active", 4), 1)


async def test_the_second_journey_a_course_is_cancelled_over_there(line: Line) -> None:
    """CoursePro, D, cancelling a course: told twice, then out of order; no way into the building, no further fee."""
    membership = await a_membership()
    fee = await a_fee(membership)
    await line.hears({"attendees": [an_attendee(membership, NOW + DAY)]})
    ended = {
        "event_id": a_name("cpe"),
        "membership_id": str(membership.id),
        "course_ref": "SWIM-1",
        "outcome": "cancelled",
        "actor": "customer",
        "effective_at": NOW.isoformat(),
    }
    async with happening() as seen:
        for _ in range(2):
            assert await line.hears(ended) == "APPLIED"
    assert seen.events == ["AccessRevoked", "PaymentUpdated", "MembershipStatusChanged"]
    assert seen.audit[0].because == ["COURSE_CANCELLED", "by customer"]
    assert [fee.status.value, await open_tokens(membership)] == ["DUE", 0]
    await fee.refresh_from_db()
    assert fee.status.value == "CANCELLED"
    await line.work(membership)
    assert line.there(membership) == ("cancelled", 3)
    late = an_attendee(membership, NOW + DAY, attendance_id="A2", session_ref=a_name("late"))
    assert await line.hears({"attendees": [late]}) == "APPLIED"
    assert await open_tokens(membership) == 0
    broken = {"membership_id": str(membership.id), "outcome": "asleep", "effective_at": NOW.isoformat()}
    assert await line.hears(broken) == "DEAD"


async def test_down_for_an_hour_then_up_and_nobody_lifts_a_finger(line: Line) -> None:
    """R41: the same event id each time; a later change waits behind, and the present standing is what arrives."""
    membership = await a_membership()
    await line.work(membership)
    moved_at = NOW + HOUR
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=moved_at)
    line.sandbox.do("coursepro", "down", times=10_000)
    before, waited = len(line.calls()), 0.0
    while waited < 3600:
        (job,) = await line.work(membership)
        assert (job.state, job.error_code) == (JobState.READY, "NO_ANSWER")
        (due,) = await sql("SELECT extract(epoch FROM run_at - now())::float8 AS s FROM job WHERE id = $1", job.id)
        assert due["s"] <= OUTAGE_CAP_SECONDS
        waited += due["s"]
        since = (datetime.now(UTC) - timedelta(seconds=waited)).isoformat()
        await Job.filter(id=job.id).update(payload={**job.payload, AWAY_SINCE: since})
    tried = line.calls()[before:]
    assert set(tried) == {str(job.id)}, "one event, however often it is told"
    assert (job.attempts, len(tried) < 25) == (0, True)
    assert line.there(membership) == ("active", 2)

    await memberships.by_staff(membership.id, Cause.CANCELLED_BY_STAFF, acting=BY, at=moved_at + HOUR)
    line.sandbox.do("coursepro", "down", times=0)
    done = await line.work(membership)
    assert [row.state for row in done] == [JobState.DONE] * 2
    assert line.there(membership) == ("cancelled", 4)
    (course,) = [one for one in line.sandbox.state_of("coursepro.customers_course") if one["id"] == str(membership.id)]
    assert datetime.fromisoformat(course["effective_at"]) == moved_at + HOUR, "when it happened, not when it was told"


async def test_lost_answers_repeats_and_the_older_of_two_change_nothing(line: Line) -> None:
    membership = await a_membership()
    line.sandbox.post("/faults", provider="coursepro", kind="drop_answer", times=1)
    (job,) = await line.work(membership)
    assert (job.state, line.there(membership)) == (JobState.READY, ("active", 2)), "it arrived, its answer did not"
    (job,) = await line.work(membership)
    assert job.state is JobState.DONE
    first = await course_feed.to_push(membership.id, event_id=a_name("first"), at=NOW)
    await memberships.by_staff(membership.id, Cause.SUSPENDED_BY_STAFF, acting=BY, at=NOW)
    second = await course_feed.to_push(membership.id, event_id=a_name("second"), at=NOW)
    assert first is not None
    assert second is not None
    for push in (second, first, second):
        await line.client.push_membership(push)
    assert line.there(membership) == ("unavailable", 3)


async def test_what_died_is_seen_and_told_again_by_a_person(line: Line) -> None:
    membership = await a_membership()
    line.sandbox.do("coursepro", "down", times=10_000)
    (job,) = await line.work(membership)
    since = datetime.now(UTC) - timedelta(seconds=AWAY_SECONDS)
    await Job.filter(id=job.id).update(payload={**job.payload, AWAY_SINCE: since.isoformat()})
    (job,) = await line.work(membership)
    assert (job.state, job.attempts, job.error_code) == (JobState.DEAD, 1, "NO_ANSWER")
    line.sandbox.do("coursepro", "down", times=0)
    revived = await jobs.retry(job.id, acting="key:office", at=NOW)
    (job,) = await line.work(membership)
    assert (job.id, job.state, line.there(membership)) == (revived.id, JobState.DONE, ("active", 2))

    await memberships.push_again(membership.id, acting="key:office", at=NOW)
    again = await Job.filter(kind=PUSH, user_id=membership.user_id, state=JobState.READY).get()
    await line.runner.run(again.id)
    assert (await Job.get(id=again.id)).state is JobState.DONE
    assert line.there(membership) == ("active", 2), "telling it once more is harmless"


async def test_a_call_that_came_before_its_membership_is_dead_until_it_is_replayed(line: Line) -> None:
    ended = {"membership_id": "018f0000-0000-7000-8000-000000000000", "outcome": "completed", "event_id": a_name("cpe")}
    assert await line.hears(ended) == "DEAD"
    row = await InboxEvent.get(event_id=ended["event_id"])
    await inbound.replay(row.id, acting="key:office", at=NOW)
    assert (await InboxEvent.get(id=row.id)).state is InboxState.RECEIVED
