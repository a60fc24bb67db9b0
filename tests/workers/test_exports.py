"""Exports: just the rows the caller may see, in pages, whole after any interruption, fetched by a link that ends."""

import csv
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from app import ReadsForJobs
from models.actions import exports, jobs, keys
from models.actions.unit import Wanted
from models.ports import Caller, ExportPage
from models.rules.partners import ExportFormat, ExportKind
from models.rules.refusals import Code
from models.rules.states import JobState, Role, UserState
from models.tables.job import Job
from models.tables.partner import ExportChunk, ExportFile
from models.tables.user import User
from resolvers.exports import Exports, signed_path
from resolvers.partners import ROWS_A_PAGE, Reads
from resolvers.reads.ids import encode
from tests.build import BY, DAY, NOW, a_fee, a_membership, a_name, a_subscriber, a_user, refused, tell
from workers.jobs import partners
from workers.kinds import HANDLERS
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = pytest.mark.usefixtures("database")
USERS = 2 * ROWS_A_PAGE + 345
FORMULA = "=HYPERLINK(1)"


@dataclass
class At:
    """A clock that is moved by hand."""

    at: datetime = NOW

    def now(self) -> datetime:
        return self.at


async def silent(wakes: Wakes) -> None:
    """The tests run what is written themselves."""


@dataclass
class World:
    """A worker with its clock, and the place files are fetched at."""

    clock: At
    outside: Outside
    runner: Runner
    client: httpx.AsyncClient

    async def ask(
        self,
        kind: ExportKind,
        caller: Caller,
        format: ExportFormat = ExportFormat.NDJSON,  # noqa: A002
        **narrowed: Any,
    ) -> Wanted:
        options: dict[str, Any] = {"hours": 24, "base": "", "acting": BY, "at": self.clock.at}
        return await exports.export(kind, format=format, narrowed=narrowed, caller=caller, **options)

    async def run(self, job: Wanted) -> Job:
        await Job.filter(id=job.id).update(run_at=None)
        await self.runner.run(job.id)
        return await Job.get(id=job.id)

    async def lines(self, kind: ExportKind, caller: Caller, **narrowed: Any) -> list[dict[str, Any]]:
        """Ask, write, fetch -> the rows."""
        job = await self.run(await self.ask(kind, caller, **narrowed))
        assert job.state is JobState.DONE, job.error
        answer = await self.client.get(job.result_url or "")
        assert answer.status_code == 200
        rows = [json.loads(line) for line in answer.text.splitlines()]
        assert (job.done_count, job.total_count) == (len(rows), len(rows))
        return rows


@pytest.fixture(scope="module")
async def people(database: None) -> list[UUID]:
    """More users than two pages hold, in the order of their ids."""
    rows = [
        User(first_name=FORMULA if each == 7 else "Ann", last_name=f'O"Neil, {each}', email=f"{each}@a.test",
             email_key=f"{each}@a.test", state=UserState.PROVISIONAL if each % 5 == 0 else UserState.ACTIVE)
        for each in range(USERS)
    ]  # fmt: skip
    await User.bulk_create(rows, batch_size=1000)
    return sorted(row.id for row in rows)


@pytest.fixture
async def world(outside: Outside, database_url: str, secret_key: str) -> AsyncIterator[World]:
    clock, reads = At(), ReadsForJobs(database_url, secret_key)
    here = Outside(outside.providers, clock, outside.bus, reads)
    endpoint = Exports(f"another-key, {secret_key}", clock)  # a key that is changed for another is believed still
    app = Starlette(routes=[Route("/exports/{file_id:uuid}", endpoint.fetch)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield World(clock, here, Runner(HANDLERS, {}, here, silent), client)
    await reads.close()


async def caller(role: Role = Role.ADMIN, *scopes: str) -> Caller:
    key, _ = await keys.create_api_key(name=a_name("key"), role=role, scopes=scopes, acting=BY, at=NOW)
    return Caller(role, None, key.id, frozenset(scopes))


async def test_every_row_once_in_order_of_ids(world: World, people: list[UUID]) -> None:
    rows = await world.lines(ExportKind.USERS, await caller())
    assert [row["id"] for row in rows] == [encode("User", each) for each in people]
    assert list(rows[0]) == [
        "id", "firstName", "lastName", "email", "phone", "dateOfBirth", "state", "version", "createdAt", "updatedAt",
    ]  # fmt: skip
    narrowed = await world.lines(ExportKind.USERS, await caller(Role.FRONT_DESK), state=["PROVISIONAL"])
    assert [row["id"] for row in narrowed] == [row["id"] for row in rows if row["state"] == "PROVISIONAL"]
    assert len(narrowed) == USERS // 5
    assert await world.lines(ExportKind.USERS, await caller(), email="nobody@a.test") == []


class Stopping:
    """Reads that end with the worker after some pages."""

    def __init__(self, reads: Any, pages: int) -> None:
        self._reads, self._left = reads, pages

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    async def page(self, *asked: Any) -> ExportPage:
        if self._left == 0:
            raise ConnectionError("the worker was killed here")
        self._left -= 1
        page: ExportPage = await self._reads.page(*asked)
        return page


@pytest.mark.parametrize("format_", ExportFormat)
async def test_a_worker_that_is_lost_between_pages_is_followed_by_one_that_goes_on(
    world: World, people: list[UUID], format_: ExportFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await world.ask(ExportKind.USERS, await caller(), format_)
    reads = await world.outside.reads()

    async def stopping() -> Any:
        return Stopping(reads, 1)

    cut = Outside(world.outside.providers, world.clock, world.outside.bus, stopping)
    for pages in (1, 2):
        await Job.filter(id=job.id).update(run_at=None)
        await Runner(HANDLERS, {}, cut, silent).run(job.id)
        row = await Job.get(id=job.id)
        assert (row.state, row.done_count) == (JobState.READY, pages * ROWS_A_PAGE)
        assert not row.result_url
        file = await exports.of_job(job.id)
        early = await world.client.get(signed_path("another-key", file.id, NOW + DAY))
        assert early.status_code == 404, "a file that is not whole is not to be had"
    monkeypatch.setattr(partners, "TURN_SECONDS", -1.0)  # what takes long makes room for others after each page
    monkeypatch.setattr("resolvers.partners.ROWS_A_PAGE", 100)
    for _ in range(3):
        assert (await world.run(job)).error_code == "UNFINISHED"
    monkeypatch.undo()
    done = await world.run(job)
    assert (done.state, done.done_count, done.total_count) == (JobState.DONE, USERS, USERS)
    answer = await world.client.get(done.result_url or "")
    if format_ is ExportFormat.NDJSON:
        assert answer.headers["content-type"] == "application/x-ndjson; charset=utf-8"
        ids = [json.loads(line)["id"] for line in answer.text.splitlines()]
    else:
        assert answer.headers["content-type"] == "text/csv; charset=utf-8; header=present"
        rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
        ids = [row["id"] for row in rows]
        (formula,) = [row for row in rows if row["lastName"] == 'O"Neil, 7']
        assert (formula["firstName"], formula["phone"]) == (f"'{FORMULA}", "")
    assert ids == [encode("User", each) for each in people]
    disposition = answer.headers["content-disposition"]
    assert disposition.startswith('attachment; filename="users-')
    assert disposition.endswith(f'.{format_.value.lower()}"')


async def test_each_sees_the_rows_of_the_api_and_no_others(world: World, people: list[UUID]) -> None:
    membership = await a_membership()
    await a_fee(membership)
    clinic = await a_subscriber()
    await tell(clinic.invoiced())
    invoice, money = await clinic.invoice(), await caller(Role.PARTNER, "money:read")
    assert await world.lines(ExportKind.INVOICES, await caller(Role.PARTNER)) == []
    (row,) = await world.lines(ExportKind.INVOICES, money)
    assert (row["id"], row["amountPaid"]) == (encode("Invoice", invoice.id), {"amount": "50.00", "currency": "GBP"})
    own = await world.lines(ExportKind.MEMBERSHIPS, money, userId=encode("User", membership.user_id))
    assert [(each["id"], each["amount"]["amount"]) for each in own] == [(encode("Membership", membership.id), "35.00")]
    job = await world.run(await world.ask(ExportKind.MEMBERSHIPS, money, ExportFormat.CSV, ids=[own[0]["id"]]))
    (line,) = csv.DictReader(io.StringIO((await world.client.get(job.result_url or "")).text))
    assert {"user.id", "type.name", "centre.name", "amount.amount", "amount.currency", "startsOn"} <= line.keys()
    assert (line["amount.amount"], line["startsOn"]) == ("35.00", "2026-03-02")


async def test_rights_that_end_while_a_file_is_written_end_the_file(world: World, people: list[UUID]) -> None:
    asked = await caller()
    assert asked.key_id
    job = await world.ask(ExportKind.USERS, asked)
    await keys.revoke_api_key(asked.key_id, acting=BY, at=NOW)
    dead = await world.run(job)
    assert (dead.state, dead.error_code) == (JobState.DEAD, "FORBIDDEN")
    assert not dead.result_url
    assert await ExportChunk.filter(file__job_id=job.id).count() == 0


async def test_three_files_at_once_are_enough_for_one_caller(world: World) -> None:
    asked = await caller()
    for _ in range(3):
        await world.ask(ExportKind.USERS, asked, email="nobody@a.test")
    async with refused(Code.TOO_MANY_EXPORTS):
        await world.ask(ExportKind.USERS, asked)
    await world.ask(ExportKind.USERS, await caller(), email="nobody@a.test")


def _changed(**what: str) -> Callable[[httpx.URL], httpx.URL]:
    return lambda link: link.copy_merge_params(what)


@pytest.mark.parametrize(
    ("other", "status"),
    [
        (lambda link: link, 200),
        (_changed(expires="99999999999"), 403),
        (_changed(signature="0" * 64), 403),
        (_changed(signature="é"), 403),
        (_changed(expires="-1"), 403),
        (lambda link: link.copy_with(query=b""), 403),
        (lambda link: link.copy_with(path=f"/exports/{uuid4()}"), 403),
        (lambda link: link.copy_with(path="/exports/1"), 404),
    ],
)
async def test_a_link_is_good_as_it_was_given(
    world: World, other: Callable[[httpx.URL], httpx.URL], status: int
) -> None:
    job = await world.run(await world.ask(ExportKind.USERS, await caller(), email="nobody@a.test"))
    answer = await world.client.get(other(httpx.URL(job.result_url or "")))
    assert answer.status_code == status
    if status == 200:
        assert (answer.headers["cache-control"], answer.headers["referrer-policy"]) == (
            "private, no-store",
            "no-referrer",
        )


async def test_what_has_expired_is_gone(world: World) -> None:
    asked = await caller()
    await a_user()
    job = await world.run(await world.ask(ExportKind.USERS, asked))
    unfinished = await world.ask(ExportKind.USERS, asked)
    world.clock.at = NOW + DAY - timedelta(seconds=1)
    assert (await world.client.get(job.result_url or "")).status_code == 200
    world.clock.at = NOW + DAY
    assert (await world.client.get(job.result_url or "")).status_code == 410
    await jobs.ensure_recurring({"partners.tidy": 3600.0})
    tidy = await Job.get(key="partners.tidy")
    await Runner(HANDLERS, {"partners.tidy": 3600.0}, world.outside, silent).run(tidy.id)
    assert (await Job.get(id=job.id)).result_url is None
    assert not await ExportFile.exists(job_id=job.id)
    assert await ExportFile.exists(job_id=unfinished.id), "one that is still to be written is not removed"
    assert (await world.run(unfinished)).state is JobState.DONE


async def test_a_filter_of_the_list_is_the_filter_of_the_file(world: World, people: list[UUID]) -> None:
    reads = await world.outside.reads()
    assert isinstance(reads, Reads)
    office = Caller(Role.ADMIN)
    three = [encode("User", each) for each in people[3:6]]
    for narrowed, rows in (
        ({"ids": three}, 3),
        ({"email": "12@A.TEST"}, 1),
        ({"createdAt": {"gte": "2020-01-01T00:00:00Z"}, "ids": three}, 3),
        ({"createdAt": {"lt": "2020-01-01T00:00:00Z"}}, 0),
        ({"state": ["PROVISIONAL"], "ids": three}, 1),
    ):
        page = await reads.page(ExportKind.USERS, narrowed, office, None)
        assert (len(page.lines), page.more) == (rows, False)
        assert await reads.total(ExportKind.USERS, narrowed, office) == rows
