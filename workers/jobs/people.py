"""Telling the course system of people, and of what is collected of them."""

import asyncio
from uuid import UUID

import structlog

from models.actions import jobs, user_fields, user_sync
from models.ports import Refused
from workers.work import Unfinished, Work

TURN_SECONDS = 60.0  # a job may take two minutes
# What the course system has against one person; anything else it says no to concerns all of them.
OF_ONE = frozenset({"UNKNOWN_USER", "HTTP_422"})
log = structlog.get_logger("dueflow.people")


async def push_user(work: Work) -> None:
    """Tell what changed of a user, if anything is still to be told (R57)."""
    await _tell(work, UUID(work.job.payload["user_id"]))


async def push_fields(work: Work) -> None:
    """Tell which fields are collected (R56)."""
    if await user_sync.course_system_is_set_up():
        push = await user_fields.to_push(event_id=str(work.job.id), at=work.now)
        await (await work.providers.courses()).push_fields(push)


async def sync_users(work: Work) -> None:
    """Tell of every user that changed, one after the other; a run that was cut short goes on where it was (R74)."""
    if not await user_sync.switched_on():
        return
    done = await user_sync.done_so_far(work.job)
    total = done + await user_sync.dirty_count()
    after = work.job.payload.get("after")
    ends = asyncio.get_running_loop().time() + TURN_SECONDS
    await jobs.progress(work.job.lease, done, total)
    while page := await user_sync.dirty(UUID(after) if after else None):
        for user_id in page:
            await _tell_or_pass_over(work, user_id)
            done, after = done + 1, str(user_id)
            await jobs.progress(work.job.lease, done, max(done, total))
            if asyncio.get_running_loop().time() > ends:
                await jobs.remember(work.job, {"after": after})
                raise Unfinished


async def _tell_or_pass_over(work: Work, user_id: UUID) -> None:
    try:
        await _tell(work, user_id)
    except Refused as refused:
        if refused.code not in OF_ONE:
            raise
        log.warning("user not told", user=str(user_id), code=refused.code)


async def _tell(work: Work, user_id: UUID) -> None:
    push = await user_sync.to_push(user_id, at=work.now)
    if push is not None:
        await (await work.providers.courses()).push_user(push)
        await user_sync.told(push, acting=work.acting, at=work.now)
