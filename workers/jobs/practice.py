"""Reading the practice system: its classes as they change, and which of its patients our members are."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from models.actions import attendances, jobs, patients
from models.ports import DiaryPage, PatientsPage, Place
from workers.work import Unfinished, Work

TURN_SECONDS = 60.0  # a job may take two minutes
AT_ONCE = 100  # classes, or pages of patients, that are taken in together
BACK, AHEAD = timedelta(days=9), timedelta(days=61)  # classes that are still looked for when they are gone
Page = TypeVar("Page", DiaryPage, PatientsPage)
EDGE = timedelta(days=1)  # the clinic's days and those of UTC do not begin together


async def read_classes(work: Work) -> None:
    """Take in the classes that changed since they were last read; the invoices they touch are spread in one pass."""
    practice = await work.providers.practice()

    async def take_in(pages: Sequence[DiaryPage]) -> None:
        rosters = [roster for page in pages for roster in page.rosters]
        await attendances.rosters_seen(rosters, acting=work.acting, at=work.now)

    await _in_turns(work, practice.changes(_place(work)), take_in)


async def read_patients(work: Work) -> None:
    """Take in patients that are new or changed since they were last read."""
    practice = await work.providers.practice()

    async def take_in(pages: Sequence[PatientsPage]) -> None:
        found = [patient for page in pages for patient in page.patients]
        await patients.patients_seen(found, acting=work.acting, at=work.now)

    await _in_turns(work, practice.patients(_place(work)), take_in)


def _place(work: Work) -> Place:
    return work.job.payload.get("place") or {}


async def _in_turns(
    work: Work, pages: AsyncIterator[Page], take_in: Callable[[Sequence[Page]], Awaitable[None]]
) -> None:
    """Take in pages, many at once, and remember how far; what one turn does not do the next goes on with.

    Where the reading breaks off, what was read counts, and the next one begins where this one began.
    """
    ends = asyncio.get_running_loop().time() + TURN_SECONDS
    read: list[Page] = []
    try:
        async for page in pages:
            read.append(page)
            over = asyncio.get_running_loop().time() > ends
            if page.last or over or len(read) == AT_ONCE:
                together, read = read, []
                await take_in(together)
            if page.last or over:
                await jobs.remember(work.job, {"place": dict(page.place)})
            if over and not page.last:
                raise Unfinished
    finally:
        if read:
            await take_in(read)


async def find_patient(work: Work) -> None:
    """Look for the record of a member whose classes are paid by a membership."""
    user = await patients.wanted(UUID(work.job.payload["user_id"]))
    if user is None:
        return
    practice = await work.providers.practice()
    found = await practice.find_patients(email=user.email, last_name=user.last_name)
    await patients.patients_found(user.id, found, acting=work.acting, at=work.now)


async def read_patient(work: Work) -> None:
    """Take in the classes of a patient who was just linked: they were left out while nobody knew whose they are."""
    since = await patients.classes_from(UUID(work.job.payload["user_id"]), work.now)
    practice = await work.providers.practice()
    seen = await practice.attendances_of(work.job.payload["patient_id"], since)
    await attendances.attendances_seen(seen, acting=work.acting, at=work.now)


async def check_classes(work: Work) -> None:
    """Find the classes that were deleted over there: no list of changes names them."""
    practice = await work.providers.practice()
    start, end = work.now - BACK, work.now + AHEAD
    held: set[str] = set()
    async for page in practice.classes_held((start - EDGE).date(), (end + EDGE).date()):
        held.update(page)
    await attendances.classes_listed(held, start, end, acting=work.acting, at=work.now)
