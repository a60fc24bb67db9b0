"""One action is one transaction: its change, its audit rows and its jobs together, or nothing of them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from tortoise.exceptions import BaseORMException, OperationalError

from models.actions.transaction import lost_race, repeated, transaction
from models.actions.unit import Fenced, Lease, Wanted, hang, lease, unit, written
from models.rules.events import BookingMade, PaymentDue, UserLinked
from models.tables.centre import SettingGroup
from models.tables.job import Job
from models.tables.row import new_id
from tests.build import BY, NOW, a_name, a_user, happening, nothing_written

pytestmark = pytest.mark.usefixtures("database")


class Heard:
    """A bell that remembers for whom it was rung, and whether their rows were there to be seen by others."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.rings: list[list[tuple[UUID, int]]] = []
        self.visible: list[int] = []

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            ids = [job_id for job_id, _ in wakes]
            self.visible.append(await connection.fetchval("SELECT count(*) FROM job WHERE id = ANY($1)", ids))
        finally:
            await connection.close()
        self.rings.append(list(wakes))


class Silent:
    """Nobody listens."""

    async def ring(self, wakes: Sequence[tuple[UUID, int]]) -> None:
        """Ring nothing."""


@pytest.fixture
async def bell(database_url: str) -> AsyncIterator[Heard]:
    heard = Heard(database_url)
    hang(heard)
    yield heard
    hang(Silent())


async def test_a_change_its_audit_and_its_jobs_are_written_together(bell: Heard) -> None:
    user = await a_user()
    payment_id = new_id()
    async with happening() as seen, unit(acting="key:front desk", at=NOW) as work:
        group = await SettingGroup.create(name=a_name("group"))
        work.audit("create_setting_group", group, before={"at": NOW}, after={"id": user.id}, because=["R25"])
        work.emit(BookingMade(booking_id=payment_id, user_id=user.id))
        work.emit(PaymentDue(payment_id=payment_id, user_id=user.id))
        work.emit(UserLinked(user_id=user.id))  # told on no topic
        assert await Job.filter(payload__contains={"payment_id": str(payment_id)}).count() == 0
    assert [
        (
            entry.actor,
            entry.verb,
            entry.subject_type,
            entry.subject_id,
            entry.before,
            entry.after,
            entry.because,
            entry.at,
        )
        for entry in seen.audit
    ] == [
        (
            "key:front desk",
            "create_setting_group",
            "SettingGroup",
            group.id,
            {"at": "2026-03-02T10:00:00+00:00"},
            {"id": str(user.id)},
            ["R25"],
            NOW,
        )
    ]
    ids = {"payment_id": str(payment_id), "user_id": str(user.id)}
    assert [(job.kind, job.subject, job.user_id) for job in seen.jobs] == [
        ("payments.collect", f"payments.collect:{payment_id}", user.id),
        ("invoices.respread", f"invoices.respread:{user.id}", user.id),
        ("live.publish", None, None),
    ]
    assert seen.jobs[0].payload == ids
    assert [(told["topic"], told["name"], told["ids"], told["occurred_at"]) for told in seen.told] == [
        ("booking", "BookingMade", {"booking_id": str(payment_id), "user_id": str(user.id)}, NOW.isoformat()),
        ("payment", "PaymentDue", ids, NOW.isoformat()),
    ]
    assert bell.rings == [[(job.id, 0) for job in seen.jobs]]
    assert bell.visible == [3], "rung after the commit"


@pytest.mark.parametrize("error", [ZeroDivisionError, asyncio.CancelledError])
async def test_what_raises_leaves_nothing(bell: Heard, error: type[BaseException]) -> None:
    async def fails() -> None:
        async with unit(acting=BY, at=NOW) as work:
            group = await SettingGroup.create(name=a_name("group"))
            work.audit("create_setting_group", group)
            work.job("live.publish", payload={"events": []})
            raise error

    async with nothing_written():
        with pytest.raises(error):
            await fails()
    assert bell.rings == []


async def test_an_audit_row_that_cannot_be_written_takes_the_change_back() -> None:
    async with nothing_written():
        with pytest.raises(BaseORMException):
            async with unit(acting="x" * 500, at=NOW) as work:
                work.audit("create_setting_group", await SettingGroup.create(name=a_name("group")))


async def test_a_key_names_an_obligation_once() -> None:
    key = a_name("charge")
    for payload in ({"first": 1}, {"second": 2}):
        async with unit(acting=BY, at=NOW) as work:
            work.job("payments.collect", payload=payload, key=key)
    assert [job.payload for job in await Job.filter(key=key)] == [{"first": 1}]


async def test_a_unit_inside_a_unit_is_a_savepoint() -> None:
    kept, undone = a_name("kept"), a_name("undone")
    async with happening() as seen, unit(acting=BY, at=NOW) as work:
        work.audit("outer", await SettingGroup.create(name=kept))
        with suppress(ZeroDivisionError):
            async with unit(acting=BY, at=NOW) as inner:
                inner.audit("inner", await SettingGroup.create(name=undone))
                inner.job("live.publish", payload={"events": []})
                raise ZeroDivisionError
    assert seen.verbs == ["outer"]
    assert seen.jobs == []
    assert await SettingGroup.exists(name=kept)
    assert not await SettingGroup.exists(name=undone)

    async def fails_afterwards() -> None:
        async with unit(acting=BY, at=NOW):
            async with unit(acting=BY, at=NOW) as inner:
                inner.audit("inner", await SettingGroup.create(name=undone))
            raise ZeroDivisionError

    async with nothing_written():
        with pytest.raises(ZeroDivisionError):
            await fails_afterwards()


async def test_the_bell_of_an_inner_unit_is_rung_after_the_outer_commit(bell: Heard) -> None:
    jobs: list[Wanted] = []
    token = written.set(jobs)
    async with unit(acting=BY, at=NOW) as outer:
        async with unit(acting=BY, at=NOW) as inner:
            inner.job("live.publish", payload={"events": []})
        outer.job("live.publish", payload={"events": []})
    with suppress(ZeroDivisionError):
        async with unit(acting=BY, at=NOW):
            async with unit(acting=BY, at=NOW) as inner:
                inner.job("live.publish", payload={"events": []})
            raise ZeroDivisionError
    written.reset(token)
    assert sum(len(ring) for ring in bell.rings) == 2
    assert sum(bell.visible) == 2, "a worker that looks must find the row"
    assert len(jobs) == 2, "what was rolled back was not asked for"


async def test_a_worker_that_lost_its_job_writes_nothing() -> None:
    job = await Job.create(kind="live.publish", key=a_name("job"))
    until = NOW + timedelta(days=3650)
    await Job.filter(id=job.id).update(state="LEASED", token=2, lease_until=until)
    async with nothing_written():
        holding = lease.set(Lease(job.id, 1))
        with pytest.raises(Fenced):
            async with unit(acting="job:x", at=NOW) as work:
                work.audit("create", await SettingGroup.create(name=a_name("group")))
        lease.reset(holding)
    holding = lease.set(Lease(job.id, 2))
    async with unit(acting="job:x", at=NOW):
        await SettingGroup.create(name=a_name("group"))
    lease.reset(holding)
    await Job.filter(id=job.id).update(state="DONE", lease_until=None)


# -- lost races -------------------------------------------------------------------------------------------------------


async def test_a_lost_race_is_run_anew_and_nothing_of_the_lost_run_remains() -> None:
    """Two transactions lock the same two rows in opposite orders: PostgreSQL ends one, which then runs again."""
    first, second = await SettingGroup.create(name=a_name("a")), await SettingGroup.create(name=a_name("b"))
    both_hold = asyncio.Barrier(2)
    runs: list[str] = []

    @repeated
    async def rename(name: str, order: list[SettingGroup]) -> None:
        runs.append(name)
        async with unit(acting=name, at=NOW) as work:
            work.audit("rename", await SettingGroup.filter(id=order[0].id).select_for_update().get())
            if len(runs) <= 2:
                await both_hold.wait()
            work.audit("rename", await SettingGroup.filter(id=order[1].id).select_for_update().get())

    async with happening() as seen:
        await asyncio.gather(rename("one", [first, second]), rename("two", [second, first]))
    assert sorted(runs[:2]) == ["one", "two"]
    assert len(runs) == 3
    assert sorted(entry.actor for entry in seen.audit) == ["one", "one", "two", "two"]


async def test_a_serialization_failure_is_a_lost_race() -> None:
    @repeated
    async def failing() -> None:
        runs.append(1)
        async with transaction() as connection:
            await connection.execute_query("DO $$ BEGIN RAISE EXCEPTION 'in the way' USING ERRCODE = '40001'; END $$")

    runs: list[int] = []
    with pytest.raises((asyncpg.SerializationError, OperationalError)):
        await failing()
    assert len(runs) == 4


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (asyncpg.SerializationError(), True),
        (asyncpg.DeadlockDetectedError(), True),
        (asyncpg.LockNotAvailableError(), True),
        (OperationalError(asyncpg.DeadlockDetectedError()), True),
        (asyncpg.UniqueViolationError(), False),
        (OperationalError("no such table"), False),
        (ValueError(), False),
    ],
    ids=lambda value: repr(value),
)
def test_which_errors_are_lost_races(error: Exception, lost: bool) -> None:
    assert lost_race(error) is lost
