"""Telling the course system what changed of its people: each change once, whatever becomes of an answer (R57, R74)."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from models.actions import jobs, user_fields, users
from models.actions.unit import unit
from models.ports import UserPush
from models.rules.people import COURSE_RECORD, TOLD, differing
from models.rules.refusals import Code, Refusal
from models.rules.states import JobState, LinkState, Provider
from models.tables import sql
from models.tables.coursepro import UserSync
from models.tables.job import Job
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User

SWITCH = "user_sync_enabled"
SYNC = "courses.sync_users"
YES = frozenset({"true", "yes", "1"})
PAGE = 100

# Over a row of user_account: whether its record in the course system is sure, and whether anything is still to be told.
LINKED_SQL = (
    "EXISTS (SELECT 1 FROM external_link sl WHERE sl.user_id = {row}.id AND sl.provider = 'COURSEPRO'"
    " AND sl.kind = 'user' AND sl.state = 'LINKED')"
)
_FIXED = ", ".join(f"('{name}', {{row}}.{name}::text)" for name in sorted(TOLD))
DIRTY_SQL = (
    f"EXISTS (SELECT 1 FROM (VALUES {_FIXED} UNION ALL SELECT uf.name::text, {{row}}.fields ->> uf.name"  # noqa: S608
    " FROM user_field uf) AS now(name, value) LEFT JOIN user_sync us ON us.user_id = {row}.id"
    " WHERE nullif(now.value, '') IS DISTINCT FROM nullif(us.told ->> now.name, ''))"
)


async def switched_on() -> bool:
    """Whether changes of users are told at all (R67); everything else is told regardless."""
    row = await ProviderSetting.one(provider=Provider.COURSEPRO)
    return row is not None and row.enabled and is_on(row.settings)


async def course_system_is_set_up() -> bool:
    """Whether there is a course system to tell anything."""
    return await ProviderSetting.filter(provider=Provider.COURSEPRO, enabled=True).exists()


def is_on(settings: Mapping[str, Any]) -> bool:
    """What the settings of the course system say of the switch; off where they say nothing."""
    return str(settings.get(SWITCH, "")).strip().lower() in YES


async def to_push(user_id: UUID, *, at: datetime) -> UserPush | None:
    """What the course system has still to be told of a user; None where that is nothing, or not its business.

    The event id follows from the words: a repeat after a lost answer has the one it had.
    """
    sure = ExternalLink.filter(user_id=user_id, provider=Provider.COURSEPRO, kind=COURSE_RECORD, state=LinkState.LINKED)
    if not await switched_on() or not await sure.exists():
        return None
    known, user = await user_fields.configured(), await User.known(id=user_id)
    sync = await UserSync.one(user_id=user_id)
    details = differing(sync.told if sync else {}, users.may_be_told(user, known))
    if not details:
        return None
    words = orjson.dumps([user.version, details], option=orjson.OPT_SORT_KEYS)
    event_id = f"user:{user_id}:{user.version}:{hashlib.sha256(words).hexdigest()[:16]}"
    return UserPush(event_id=event_id, user_id=user_id, version=user.version, details=details, occurred_at=at)


async def told(push: UserPush, *, acting: str, at: datetime) -> None:
    """The course system knows: remember it, unless it was told of a later version meanwhile."""
    async with unit(acting=acting, at=at) as work:
        sync = await UserSync.one(user_id=push.user_id, lock=True)
        if sync is None:
            sync, _ = await UserSync.get_or_create(user_id=push.user_id)
        if push.version < sync.told_version:
            return
        sync.told = {name: value for name, value in {**sync.told, **push.details}.items() if value is not None}
        sync.told_version, sync.told_at = push.version, at
        await sync.save(update_fields=["told", "told_version", "told_at"])
        after = {"version": push.version, "details": sorted(push.details)}
        work.audit("tell_user", ("User", push.user_id), after=after)


# -- all of them ------------------------------------------------------------------------------------------------------


async def backfill(*, acting: str, at: datetime) -> Job:
    """The switch was set to on: write the one job that tells what changed while it was off (R74).

    For the unit in which the setting is changed: there is one job for each version of the setting.
    """
    setting = await ProviderSetting.one(provider=Provider.COURSEPRO)
    if setting is None:
        raise Refusal(Code.PROVIDER_NOT_CONFIGURED)
    return await _sync_all(f"{SYNC}:{setting.version}", acting=acting, at=at)


async def sync_users(*, provider: Provider, acting: str, at: datetime) -> Job:
    """Tell the course system of all users that changed, now. Raises Refusal INVALID_INPUT for another system."""
    if provider is not Provider.COURSEPRO:
        raise Refusal(Code.INVALID_INPUT, f"{provider} is not told of users.", field=("provider",))
    waiting = await Job.filter(kind=SYNC, state=JobState.READY, attempts=0).order_by("-id").first()
    return waiting or await _sync_all(None, acting=acting, at=at)


async def _sync_all(key: str | None, *, acting: str, at: datetime) -> Job:
    async with unit(acting=acting, at=at) as work:
        job = work.job("courses.sync_users", key=key, payload={}, subject=SYNC)
        work.audit("sync_users", ("Job", job.id), after={"provider": Provider.COURSEPRO})
    return await Job.known(key=job.key)


async def dirty(after: UUID | None = None) -> list[UUID]:
    """The next users behind `after` the course system has still to be told something of."""
    rows = await sql.rows(
        f"SELECT u.id FROM user_account u WHERE {_over_u(LINKED_SQL)} AND {_over_u(DIRTY_SQL)}"  # noqa: S608  ours
        " AND ($1::uuid IS NULL OR u.id > $1) ORDER BY u.id LIMIT $2",
        after,
        PAGE,
    )
    return [UUID(str(row["id"])) for row in rows]


async def dirty_count() -> int:
    """How many users the course system has still to be told something of."""
    rows = await sql.rows(
        f"SELECT count(*) AS n FROM user_account u WHERE {_over_u(LINKED_SQL)} AND {_over_u(DIRTY_SQL)}"  # noqa: S608
    )
    return int(rows[0]["n"])


def _over_u(condition: str) -> str:
    return condition.replace("{row}", "u")


async def done_so_far(held: jobs.Held) -> int:
    """How many users a job that was interrupted has told already."""
    return (await Job.known(id=held.id)).done_count
