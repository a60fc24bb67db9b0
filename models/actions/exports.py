"""Files of rows for whoever may read them: asked for, written page by page, fetched by a link, removed. Decision 65."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from tortoise.expressions import F

from models.actions.callers import caller_of
from models.actions.unit import Wanted, unit
from models.ports import Caller, ExportPage
from models.rules.partners import ExportFormat, ExportKind, csv_lines
from models.rules.refusals import Code, Refusal
from models.rules.states import Role
from models.tables.job import Job
from models.tables.partner import ExportChunk, ExportFile
from models.tables.setting import ApiKey

FILES_AT_ONCE = 3  # of one caller


async def export(
    kind: ExportKind,
    *,
    format: ExportFormat,  # noqa: A002  # the API's word
    narrowed: Mapping[str, Any],
    caller: Caller,
    hours: int,
    base: str,
    acting: str,
    at: datetime,
) -> Wanted:
    """Have the rows a caller may read written to a file -> the job that does it, whose result is a link.

    `narrowed` is the filter of the API's list, `base` what the link begins with, good for `hours` from its making.
    Raises Refusal TOO_MANY_EXPORTS while three files of the caller are being written.
    """
    async with unit(acting=acting, at=at) as work:
        key = await ApiKey.one(id=caller.key_id, lock=True)
        if key is not None and await _under_way(key.id) >= FILES_AT_ONCE:
            raise Refusal(Code.TOO_MANY_EXPORTS)
        job = work.job("exports.write", payload={})
        # ahead of the unit's other jobs: the file refers to it
        await Job.create(id=job.id, kind=job.kind, key=job.key, payload=job.payload)
        file = await ExportFile.create(
            job_id=job.id,
            api_key_id=key.id if key else None,
            kind=kind,
            format=format,
            asked_for={
                "filter": narrowed,
                "role": caller.role,
                "user_id": caller.user_id and str(caller.user_id),
                "scopes": sorted(caller.scopes),
                "hours": hours,
                "base": base,
            },
            expires_at=at + timedelta(hours=hours),
        )
        work.audit("export", file, after={"kind": kind, "format": format, "filter": narrowed})
    return job


async def _under_way(key_id: UUID) -> int:
    return await ExportFile.filter(api_key_id=key_id, finished_at=None, job__state__in=["READY", "LEASED"]).count()


async def of_job(job_id: UUID) -> ExportFile:
    """The file a job writes."""
    return await ExportFile.known(job_id=job_id)


async def reader_of(file: ExportFile, *, at: datetime) -> Caller:
    """With whose eyes a file is written: its key's, as they are now. Raises Refusal FORBIDDEN where the key ended."""
    if file.api_key_id is None:  # asked for with a token of somebody else's making, which has no row here
        told = file.asked_for
        user_id = told["user_id"] and UUID(told["user_id"])
        return Caller(Role(told["role"]), user_id, None, frozenset(told["scopes"]))
    caller = await caller_of(file.api_key_id, at=at)
    if caller is None:
        raise Refusal(Code.FORBIDDEN, "The key that asked for this file has ended.")
    return caller


async def keep(
    file: ExportFile, page: ExportPage, columns: Sequence[str], *, total: int, acting: str, at: datetime
) -> None:
    """Write a page behind what is written, and how far the job has come; who lost the job writes nothing."""
    async with unit(acting=acting, at=at):
        number = await ExportChunk.filter(file_id=file.id).count()
        if file.format is ExportFormat.NDJSON:
            content = "".join(f"{line}\n" for line in page.lines)
        else:
            content = csv_lines(columns, None) if number == 0 else ""
            content += csv_lines(columns, map(orjson.loads, page.lines))
        await ExportChunk.create(file_id=file.id, number=number, content=content)
        file.done_until = page.last or file.done_until
        await file.save(update_fields=["done_until", "updated_at"])
        await Job.filter(id=file.job_id).update(done_count=F("done_count") + len(page.lines), total_count=total)


async def finish(file: ExportFile, *, acting: str, at: datetime) -> ExportFile:
    """The file is whole; the time to fetch it begins."""
    async with unit(acting=acting, at=at):
        file.finished_at, file.expires_at = at, at + timedelta(hours=file.asked_for["hours"])
        await file.save(update_fields=["finished_at", "expires_at", "updated_at"])
        await Job.filter(id=file.job_id).update(total_count=F("done_count"))  # rows may have come meanwhile
    return file


async def to_fetch(file_id: UUID, *, at: datetime) -> ExportFile | None:
    """A whole file that has not expired."""
    return await ExportFile.get_or_none(id=file_id, finished_at__isnull=False, expires_at__gt=at)


async def part(file: ExportFile, number: int) -> str | None:
    """The content of one part of a file, None behind the last."""
    chunk = await ExportChunk.one(file_id=file.id, number=number)
    return chunk.content if chunk else None


async def remove_expired(*, acting: str, at: datetime) -> int:
    """Remove the files that may not be fetched any more, with what their jobs say of them -> how many."""
    gone = await ExportFile.filter(expires_at__lte=at, job__state__not_in=["READY", "LEASED"]).limit(100)
    for file in gone:
        async with unit(acting=acting, at=at):
            await ExportChunk.filter(file_id=file.id).delete()
            await ExportFile.filter(id=file.id).delete()
            await Job.filter(id=file.job_id).update(result_url=None)
    return len(gone)
