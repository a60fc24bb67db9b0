"""What the course system has still to be told of a user: the whitelist, one memory, one switch (R57, R63, R67, R74)."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from models.actions import user_fields, user_sync, users
from models.actions.unit import unit
from models.ports import UserPush
from models.rules.people import TOLD, as_text, differing, whitelist
from models.rules.refusals import Code
from models.rules.states import JobState, LinkState, Provider
from models.tables.coursepro import UserSync
from models.tables.job import Job
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User, UserField
from tests.build import BY, NOW, a_user, happening, refused, tied

pytestmark = pytest.mark.usefixtures("database", "on")


@pytest.fixture
async def on() -> AsyncIterator[ProviderSetting]:
    """The switch, on."""
    row = await ProviderSetting.create(
        provider=Provider.COURSEPRO, settings={"user_sync_enabled": True}, secrets="sealed"
    )
    yield row
    await ProviderSetting.all().delete()
    await UserField.all().delete()


async def a_linked_user(**told: str) -> User:
    """A person with a sure record in CoursePro, which was told these details."""
    user = await a_user()
    await tied(user, Provider.COURSEPRO, "user")
    if told:
        await UserSync.create(user_id=user.id, told=told)
    return user


async def push_of(user: User) -> UserPush | None:
    return await user_sync.to_push(user.id, at=NOW)


async def told(push: UserPush) -> None:
    await user_sync.told(push, acting=BY, at=NOW)


async def test_only_what_differs_is_told_and_once() -> None:
    user = await a_linked_user(first_name="Ada", last_name="Reader", phone="1")
    push = await push_of(user)
    assert push
    assert push.details == {"email": user.email, "phone": None}
    assert (push.version, push.user_id) == (1, user.id)
    again = await push_of(user)
    assert again
    assert again.event_id == push.event_id  # the same words are the same event
    async with happening() as seen:
        await told(push)
    assert (seen.verbs, seen.kinds) == (["tell_user"], [])
    assert await push_of(user) is None
    sync = await UserSync.get(user_id=user.id)
    assert sync.told == {"first_name": "Ada", "last_name": "Reader", "email": user.email}
    assert (sync.told_version, sync.told_at) == (1, NOW)

    await users.update_user(user.id, phone="2", date_of_birth=date(2016, 5, 4), acting=BY, at=NOW)
    later = await push_of(user)
    assert later
    assert (later.version, later.details) == (2, {"phone": "2", "date_of_birth": "2016-05-04"})
    assert later.event_id != push.event_id


async def test_to_and_fro_is_told_each_time_under_an_id_of_its_own() -> None:
    user = await a_linked_user()
    ids = set()
    for phone in ("1", "2", "1", "2"):
        await users.update_user(user.id, phone=phone, acting=BY, at=NOW)
        push = await push_of(user)
        assert push
        assert push.details["phone"] == phone
        await told(push)
        ids.add(push.event_id)
    assert len(ids) == 4


async def test_what_was_told_late_is_not_remembered_over_what_is_newer() -> None:
    user = await a_linked_user(first_name="Ada", last_name="Reader", email=(await a_user()).email)
    await users.update_user(user.id, phone="1", acting=BY, at=NOW)
    early = await push_of(user)
    await users.update_user(user.id, phone="2", acting=BY, at=NOW)
    late = await push_of(user)
    assert early
    assert late
    assert late.details.keys() >= early.details.keys()  # so nothing is lost where the early one comes last
    await told(late)
    await told(early)
    assert (await UserSync.get(user_id=user.id)).told["phone"] == "2"
    assert await push_of(user) is None


async def test_nothing_is_told_of_who_has_no_sure_record_or_while_the_switch_is_off(on: ProviderSetting) -> None:
    stranger, user = await a_user(), await a_linked_user()
    assert await push_of(stranger) is None
    assert await push_of(user) is not None
    for settings, enabled in (({}, True), ({"user_sync_enabled": False}, True), ({"user_sync_enabled": "yes"}, False)):
        await ProviderSetting.filter(id=on.id).update(settings=settings, enabled=enabled)
        assert await push_of(user) is None
    await ProviderSetting.filter(id=on.id).update(settings={"user_sync_enabled": "true"}, enabled=True)
    assert await push_of(user) is not None
    await ExternalLink.filter(user_id=user.id).update(state=LinkState.PROVISIONAL)
    assert await push_of(user) is None


async def test_a_field_is_told_while_it_is_collected_and_only_then() -> None:
    await user_fields.set_user_field(name="gender", label="Gender", required=False, acting=BY, at=NOW)
    user = await a_linked_user()
    await users.update_user(user.id, fields={"gender": "f"}, acting=BY, at=NOW)
    push = await push_of(user)
    assert push
    assert push.details["gender"] == "f"
    await told(push)
    await user_fields.remove_user_field("gender", acting=BY, at=NOW)
    assert await push_of(user) is None
    assert (await User.get(id=user.id)).fields_ == {"gender": "f"}


def test_the_whitelist_is_what_it_is() -> None:
    assert {"first_name", "last_name", "email", "phone", "date_of_birth"} == TOLD
    assert whitelist(["gender"]) == TOLD | {"gender"}
    assert differing({"phone": "1", "iban": "x"}, {"phone": None, "email": "a@b"}) == {"phone": None, "email": "a@b"}


async def test_sql_and_rule_agree_on_who_is_dirty() -> None:
    await UserField.create(name="gender", label="Gender")
    full = {"first_name": "Ada", "last_name": "Reader"}
    people = [await a_linked_user(**told) for told in ({}, {"first_name": "Ida"}, full, full, full, full, full)]
    for user in people[2:]:
        await UserSync.filter(user_id=user.id).update(told={**full, "email": user.email})
    await User.filter(id=people[3].id).update(fields_={"gender": "f"})
    await User.filter(id=people[4].id).update(fields_={"gender": "", "shoe": "9"})
    await User.filter(id=people[5].id).update(date_of_birth=date(2016, 5, 4))
    await UserSync.filter(user_id=people[6].id).update(told={**full, "email": people[6].email, "gone": "x"})
    found: list[UUID] = []
    after = None
    while page := await user_sync.dirty(after):
        found, after = [*found, *page], page[-1]
    expected = [user.id for user in people if await push_of(user) is not None]
    assert expected == [people[number].id for number in (0, 1, 3, 5)]
    assert [each for each in found if each in {user.id for user in people}] == expected
    assert await user_sync.dirty_count() == len(found)


async def test_switching_on_asks_for_one_walk_for_each_version_of_the_setting(on: ProviderSetting) -> None:
    first = await user_sync.backfill(acting=BY, at=NOW)
    async with happening() as seen, unit(acting=BY, at=NOW):  # as the unit that changes the setting has it
        assert (await user_sync.backfill(acting=BY, at=NOW)).id == first.id
    assert seen.jobs == []
    assert (first.key, first.kind, first.subject) == (f"{user_sync.SYNC}:1", user_sync.SYNC, user_sync.SYNC)
    await ProviderSetting.filter(id=on.id).update(version=2)
    second = await user_sync.backfill(acting=BY, at=NOW)
    assert second.id != first.id
    waiting = await user_sync.sync_users(provider=Provider.COURSEPRO, acting=BY, at=NOW)
    assert waiting.id == second.id  # it has not begun, so it will see everything
    await Job.filter(kind="courses.sync_users").update(state=JobState.DONE)
    asked = await user_sync.sync_users(provider=Provider.COURSEPRO, acting=BY, at=NOW)
    assert asked.id not in (first.id, second.id)
    async with refused(Code.INVALID_INPUT, "provider"):
        await user_sync.sync_users(provider=Provider.XERO, acting=BY, at=NOW)


@pytest.mark.parametrize(("value", "text"), [(None, None), ("", None), (date(2016, 5, 4), "2016-05-04"), ("x", "x")])
def test_how_details_are_written(value: Any, text: str | None) -> None:
    assert as_text(value) == text


async def test_an_id_is_all_a_job_is_given() -> None:
    user = await a_linked_user()
    async with happening() as seen:
        await users.update_user(user.id, phone="020", acting=BY, at=NOW)
    (job,) = seen.jobs
    assert (job.payload, UUID(job.payload["user_id"])) == ({"user_id": str(user.id)}, user.id)
