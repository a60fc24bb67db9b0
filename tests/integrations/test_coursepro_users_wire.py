"""People over real HTTP, both ways: CoursePro's stand-in calls our API, and our workers call CoursePro's stand-in."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette

from integrations.bus import RedisBus
from integrations.coursepro.client import CoursePro
from integrations.coursepro_calls import routes
from integrations.registry import COURSE_CALLS, Registry
from local.sandbox.coursepro.inbox import signature
from local.state import held_ports
from models.actions import claims, inbound, jobs, links, user_fields, user_sync, users
from models.actions.keys import create_api_key
from models.actions.settings import configure_provider
from models.actions.vault import Vault
from models.ports import Refused, UserPush
from models.rules.refusals import Refusal
from models.rules.states import JobState, KeyPurpose, Provider, Role, UserState
from models.tables.job import Job
from models.tables.notification import Notification
from models.tables.row import new_id
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User, UserField
from tests.build import BY, NOW, a_mandate, a_user, happening, sql, tied
from tests.integrations.conftest import StoppedClock
from tests.integrations.test_clocks_and_mail import MailServer, server
from tests.sandbox.conftest import CREDENTIALS, Receiver, Sandbox, start, stop
from workers.jobs import people
from workers.kinds import HANDLERS
from workers.runner import Runner
from workers.work import Outside, Work

__all__ = ["server"]
CARD = "4242 4242 4242 4242"
SENDS = ("courses.push_user", "courses.push_fields", "courses.sync_users")


@dataclass
class Site:
    """Our API and a worker on one database, CoursePro's stand-in on the other side."""

    sandbox: Sandbox
    key: str
    url: str
    outside: Outside

    async def there(self, action: str, **arguments: Any) -> Any:
        """Something happens in CoursePro, which then calls us."""
        return await asyncio.to_thread(self.sandbox.do, "coursepro", action, api_key=self.key, **arguments)

    async def call(self, body: Any, method: str = "POST", path: str = "users") -> tuple[int, Any]:
        """A call made by hand, signed -> status and answer."""
        content = json.dumps(body).encode() if body else b""
        signed = signature(CREDENTIALS["coursepro"]["secret_token"], content)
        headers = {"authorization": f"Bearer {self.key}", "x-signature": signed}
        headers |= {"x-event-id": body["event_id"]} if body else {}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.request(method, f"{self.url}/coursepro/v1/{path}", content=content, headers=headers)
        return answer.status_code, answer.json()

    async def held(self, kind: str) -> list[Any]:
        """What CoursePro holds."""
        return await asyncio.to_thread(self.sandbox.state_of, f"coursepro.{kind}")

    async def heard_of(self, user_id: UUID) -> list[dict[str, Any]]:
        """The changes of a user that CoursePro took, without what tells the event by."""
        events = [each["content"] for each in await self.held("event") if each["content"]["event"] == "user.updated"]
        return [event["user"] for event in events if event["user"]["user_id"] == str(user_id)]

    async def work(self) -> None:
        """Run what waits to be sent, in order, until nothing is left."""
        runner = Runner(HANDLERS, {}, self.outside, _quiet)
        while job := await Job.filter(kind__in=SENDS, state=JobState.READY).order_by("id").first():
            await Job.filter(id=job.id).update(run_at=None)
            await runner.run(job.id)


async def _quiet(_wakes: Any) -> None:
    """Nobody has to be woken: `work` looks itself."""


@pytest.fixture(scope="module")
async def running(
    database: None, redis_url: str, secret_key: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """Both sides, running."""
    vault, clock, (port,) = Vault(secret_key), StoppedClock(NOW), held_ports(1)
    registry, bus = Registry(vault, "http://127.0.0.1:9", clock=clock), RedisBus(redis_url)

    async def store(provider: Provider, events: Any) -> int:
        return await inbound.receive(provider, events)

    app = Starlette(routes=routes(registry, store, clock, COURSE_CALLS))
    config = uvicorn.Config(app, host="127.0.0.1", port=port, lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    url = f"http://127.0.0.1:{port}"
    sandbox = await asyncio.to_thread(start, tmp_path_factory.mktemp("sandbox"), url)
    settings = {
        "client_id": CREDENTIALS["coursepro"]["client_id"],
        "cart_complete_url": f"{sandbox.urls['coursepro']}/cart-complete",
        "user_sync_url": f"{sandbox.urls['coursepro']}/user-sync",
        "answer_seconds": 5,
    }
    secrets = {"secret_token": CREDENTIALS["coursepro"]["secret_token"]}
    await configure_provider(
        Provider.COURSEPRO, settings=settings, secrets=secrets, enabled=True, vault=vault, local=True, acting=BY, at=NOW
    )
    _, key = await create_api_key(name="coursepro", role=Role.PARTNER, purpose=KeyPurpose.COURSEPRO, acting=BY, at=NOW)
    yield Site(sandbox, key, url, Outside(registry, clock, bus))
    server.should_exit = True
    await serving
    await asyncio.to_thread(stop, sandbox)
    await registry.close()
    await bus.stop()


@pytest.fixture
async def site(running: Site) -> AsyncIterator[Site]:
    """Both sides, CoursePro's empty, nothing waiting to be sent, the switch on."""
    await asyncio.to_thread(running.sandbox.post, "/reset")
    await Job.filter(state=JobState.READY).update(state=JobState.CANCELLED)
    await switch(on=True)
    yield running
    await UserField.all().delete()


async def switch(*, on: bool) -> None:
    """Set the switch, as a change of the setting does."""
    row = await ProviderSetting.get(provider=Provider.COURSEPRO)
    row.settings = {**row.settings, "user_sync_enabled": on}
    row.version += 1
    await row.save()


def details(number: int = 1) -> dict[str, str]:
    """Somebody CoursePro may tell of, nobody else's address."""
    mail = f"ann{number}.{new_id().hex[-12:]}@example.com"
    return {"first_name": "Ann", "last_name": "O'Brien", "email": mail, "date_of_birth": "2016-05-04"}


async def a_buyer(site: Site, fields: dict[str, str]) -> UUID:
    """Somebody born in CoursePro whose cart came from here."""
    said = await site.there("create_user", fields=fields)
    user_id = UUID(said["answer"]["user_id"])
    assert await links.linked_by_purchase(user_id, said["coursepro_id"], acting=BY, at=NOW)
    return user_id


async def test_somebody_new_arrives_once_whatever_is_repeated(site: Site) -> None:
    await user_fields.set_user_field(name="gender", label="Gender", required=True, acting=BY, at=NOW)
    fields = {**details(), "gender": "f", "shoe": "9"}
    said = await site.there("create_user", fields=fields, coursepro_id="cp_1", event_id="cpe-1")
    user = await User.get(email=fields["email"])
    first = {"user_id": str(user.id), "review": False, "dropped": ["shoe"]}
    assert (said["status"], said["answer"]) == (200, first)
    assert user.fields_ == {"gender": "f"}
    async with happening() as seen:
        assert await site.call(said["sent"]) == (200, first)  # the very same call: its first answer
    assert (seen.verbs, seen.kinds) == ([], [])
    other = await site.there("create_user", fields=fields, coursepro_id="cp_1", event_id="cpe-2")
    assert other["answer"] == first
    assert await User.filter(email=fields["email"]).count() == 1

    status, told = await site.call(None, "GET", "user-fields")
    assert status == 200
    assert told["version"] == (await user_fields.configured()).version
    assert told["fields"] == [
        {"name": "first_name", "label": "First name", "required": True},
        {"name": "last_name", "label": "Last name", "required": True},
        {"name": "email", "label": "E-mail address", "required": True},
        {"name": "phone", "label": "Telephone number", "required": False},
        {"name": "date_of_birth", "label": "Date of birth", "required": False},
        {"name": "gender", "label": "Gender", "required": True},
    ]
    await site.work()
    (held,) = await site.held("fields")
    assert held == told


async def test_what_is_missing_bad_or_of_billing_is_refused_by_its_name_and_not_kept(site: Site) -> None:
    good = details()
    for fields, code, field in (
        ({**good, "email": "nobody"}, "INVALID_INPUT", "fields.email"),
        ({name: good[name] for name in good if name != "last_name"}, "INVALID_INPUT", "fields.last_name"),
        ({**good, "notes": f"pay by {CARD}"}, "BILLING_DETAILS_REFUSED", "fields.notes"),
        ({**good, "sort_code": "20-00-00"}, "BILLING_DETAILS_REFUSED", "fields.sort_code"),
        ("Ann", "INVALID_INPUT", "fields"),
    ):
        said = await site.there("create_user", fields=fields, coursepro_id="cp_bad")
        assert (said["status"], said["answer"]["code"], said["answer"]["field"]) == (422, code, field)
        assert "4242" not in json.dumps(said["answer"])
    tables = [row["name"] for row in await sql("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")]
    for table in tables:
        rows = await sql(f"SELECT 1 FROM \"{table}\" t WHERE t::text ~ '4242|20-00-00|{good['email']}'")
        assert rows == [], table


async def test_a_change_goes_round_once_and_its_echo_ends_there(site: Site) -> None:
    fields = details()
    user_id = await a_buyer(site, fields)
    await site.work()
    assert await site.heard_of(user_id) == []  # CoursePro holds just this
    await users.update_user(user_id, phone="020 7946 0000", last_name="Reed", acting=BY, at=NOW)
    await site.work()
    version = (await User.get(id=user_id)).version
    change = {"user_id": str(user_id), "version": version, "last_name": "Reed", "phone": "020 7946 0000"}
    assert await site.heard_of(user_id) == [change]
    (there,) = await site.held("user")
    echo = {name: there[name] for name in ("first_name", "last_name", "email", "date_of_birth", "phone")}
    async with happening() as seen:
        said = await site.there("create_user", fields=echo, coursepro_id=there["coursepro_id"])
    assert said["answer"] == {"user_id": str(user_id), "review": False, "dropped": []}
    assert (seen.verbs, seen.kinds) == ([], [])
    assert (await User.get(id=user_id)).version == version
    await site.work()
    assert await site.heard_of(user_id) == [change]


async def test_nothing_but_the_whitelist_is_in_the_bytes_that_leave(site: Site, receiver: Receiver) -> None:
    await user_fields.set_user_field(name="gender", label="Gender", required=False, acting=BY, at=NOW)
    user = await a_user()
    await tied(user, Provider.COURSEPRO, "user")
    await tied(user, Provider.STRIPE, "customer")
    await tied(user, Provider.STRIPE, "payment_method")
    await tied(user, Provider.NOOKAL, "patient")
    await a_mandate(user)
    await Notification.create(user_id=user.id, kind="PAYMENT_FAILED", cause=str(uuid4()), text="You owe 35.00")
    await User.filter(id=user.id).update(
        fields_={"gender": "f", "iban": "GB82WEST12345698765432", "note": "hush"}, date_of_birth=date(1990, 2, 28)
    )
    push = await user_sync.to_push(user.id, at=NOW)
    assert push
    receiver.answer = {"applied": True}
    client = CoursePro(
        cart_complete_url=f"{receiver.url}/cart",
        user_sync_url=f"{receiver.url}/user-sync",
        client_id="club",
        secret_token="s3cret",
    )
    await client.push_user(push)
    await client.close()
    (sent,) = receiver.at("/user-sync")
    assert json.loads(sent.body) == {
        "event_id": push.event_id,
        "event": "user.updated",
        "occurred_at": "2026-03-02T10:00:00+00:00",
        "user": {
            "user_id": str(user.id),
            "version": 1,
            "first_name": "Ada",
            "last_name": "Reader",
            "email": user.email,
            "date_of_birth": "1990-02-28",
            "gender": "f",
        },
    }
    secrets = [link.external_id for link in await ExternalLink.filter(user_id=user.id)]
    assert [secret for secret in [*secrets, "GB82", "hush", "35.00", "MD"] if secret.encode() in sent.body] == []


async def test_swapped_changes_leave_what_is_newest(site: Site) -> None:
    user_id = await a_buyer(site, details())
    pushes: list[UserPush] = []
    for phone in ("020 7946 0001", "020 7946 0002"):
        await users.update_user(user_id, phone=phone, acting=BY, at=NOW)
        push = await user_sync.to_push(user_id, at=NOW)
        assert push
        pushes.append(push)
    system = await site.outside.providers.courses()
    for push in reversed(pushes):
        await system.push_user(push)
        await user_sync.told(push, acting=BY, at=NOW)
    (there,) = await site.held("user")
    assert there["phone"] == "020 7946 0002"
    assert await user_sync.to_push(user_id, at=NOW) is None


async def test_a_detail_that_is_gone_is_gone_there_and_an_unknown_user_stays_untold(site: Site) -> None:
    await user_fields.set_user_field(name="gender", label="Gender", required=False, acting=BY, at=NOW)
    user_id = await a_buyer(site, {**details(), "gender": "f"})
    await users.update_user(user_id, fields={"gender": ""}, acting=BY, at=NOW)
    stranger = await a_user()
    await tied(stranger, Provider.COURSEPRO, "user")
    await user_sync.sync_users(provider=Provider.COURSEPRO, acting=BY, at=NOW)
    await site.work()
    (there,) = await site.held("user")
    assert "gender" not in there
    assert await user_sync.to_push(stranger.id, at=NOW) is not None
    done = await Job.filter(kind="courses.sync_users").order_by("-id").first()
    assert done
    assert done.state is JobState.DONE  # one who is unknown there stops nobody else
    push = await user_sync.to_push(stranger.id, at=NOW)
    assert push
    with pytest.raises(Refused) as unknown:
        await (await site.outside.providers.courses()).push_user(push)
    assert unknown.value.code == "UNKNOWN_USER"


async def test_off_and_on_again_tells_each_change_once_though_workers_die(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ExternalLink.all().delete()  # those of the tests above
    everybody = [await a_buyer(site, details(number)) for number in range(5)]
    await switch(on=False)
    for user_id in everybody:
        for phone in ("020 7946 0001", "020 7946 0002"):
            await users.update_user(user_id, phone=phone, acting=BY, at=NOW)
    await site.work()
    assert [await site.heard_of(user_id) for user_id in everybody] == [[]] * 5
    assert await user_sync.dirty_count() == 5

    await switch(on=True)
    job = await user_sync.backfill(acting=BY, at=NOW)
    assert (await user_sync.backfill(acting=BY, at=NOW)).id == job.id
    runner = Runner(HANDLERS, {}, site.outside, _quiet)

    async def progress() -> tuple[int, int | None, JobState]:
        row = await Job.get(id=job.id)
        return row.done_count, row.total_count, row.state

    with monkeypatch.context() as patch:  # one user a turn
        patch.setattr(people, "TURN_SECONDS", 0.0)
        await runner.run(job.id)
    assert await progress() == (1, 5, JobState.READY)
    await asyncio.to_thread(site.sandbox.post, "/faults", provider="coursepro", kind="500_after")
    await runner.run(job.id)  # the second was told, and the answer lost
    assert await progress() == (1, 5, JobState.READY)

    await Job.filter(id=job.id).update(run_at=None)
    held = await jobs.claim(job.id, 0.01)
    assert held
    await asyncio.to_thread(site.sandbox.post, "/faults", provider="coursepro", kind="timeout", seconds=3)
    calls = "/calls?provider=coursepro"
    before = len(await asyncio.to_thread(site.sandbox.get, calls))
    dying = asyncio.create_task(people.sync_users(Work(held, site.outside)))
    await asyncio.to_thread(site.sandbox.wait, calls, lambda found: len(found) > before)
    dying.cancel()  # killed: its row stays with a lease that ends
    await asyncio.gather(dying, return_exceptions=True)
    assert (await progress())[2] is JobState.LEASED
    await runner.run(job.id)
    assert await progress() == (5, 5, JobState.DONE)

    taken = Counter([user_id for user_id in everybody for _ in await site.heard_of(user_id)])
    assert taken == Counter(everybody)
    for user_id in everybody:
        (change,) = await site.heard_of(user_id)
        assert change == {"user_id": str(user_id), "version": change["version"], "phone": "020 7946 0002"}
    assert await user_sync.dirty_count() == 0


async def test_a_known_person_gets_the_link_by_mail_and_then_it_stands_nowhere_here(
    site: Site, server: MailServer, secret_key: str
) -> None:
    fields = details()
    user_id = UUID((await site.there("create_user", fields=fields))["answer"]["user_id"])
    newcomer: dict[str, Any] = {**fields, "date_of_birth": date(2016, 5, 4)}
    with pytest.raises(Refusal, match="RECORD_ALREADY_EXISTS"):
        await claims.sign_up(**newcomer, claim_url="https://club.example/claim#", acting=BY, at=NOW)
    job = await Job.get(kind="notifications.claim_record", state=JobState.READY)
    mail = f"smtp://127.0.0.1:{server.port}?from=office@example.org"
    outside = Outside(Registry(Vault(secret_key), None, smtp_url=mail), site.outside.clock, site.outside.bus)
    server.says = {"DATA": "451 later"}
    for _ in range(3):  # refused for now, then taken, then nothing is left to send
        await Runner(HANDLERS, {}, outside, _quiet).run(job.id)
        await Job.filter(id=job.id).update(run_at=None, state=JobState.READY)
        server.says = {}
    (sent,) = server.taken
    found = re.search(r"https://club\.example/claim#([\w-]{43})", sent.replace("=\r\n", "").replace("\r\n", " "))
    assert found
    assert f"To: {fields['email']}" in sent
    tables = [row["name"] for row in await sql("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")]
    for table in tables:
        assert await sql(f'SELECT 1 FROM "{table}" t WHERE t::text LIKE $1', f"%{found[1]}%") == [], table
    claimed = await claims.claim_record(found[1], acting=BY, at=NOW)
    assert (claimed.id, claimed.state) == (user_id, UserState.ACTIVE)
