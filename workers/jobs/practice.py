"""Reading the practice system: its classes as they change, and which of its patients our members are."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from models.actions import attendances, jobs, patients
from models.ports import DiaryPage, PatientsPage, Place
from workers.work import Unfinished, Work

TURN_SECONDS = 60.0  # a job may take two minutes
BACK, AHEAD = timedelta(days=9), timedelta(days=61)  # classes that are still looked for when they are gone
Page = TypeVar("Page", DiaryPage, PatientsPage)
EDGE = timedelta(days=1)  # the clinic's days and those of UTC do not begin together


async def read_classes(work: Work) -> None:
    """Take in the classes that changed since they were last read."""
    practice = await work.providers.practice()
    async for page in _in_turns(work, practice.changes(_place(work))):
        await attendances.rosters_seen(page.rosters, acting=work.acting, at=work.now)


async def read_patients(work: Work) -> None:
    """Take in patients that are new or changed since they were last read."""
    practice = await work.providers.practice()
    async for page in _in_turns(work, practice.patients(_place(work))):
        await patients.patients_seen(page.patients, acting=work.acting, at=work.now)


def _place(work: Work) -> Place:
    return work.job.payload.get("place") or {}


async def _in_turns(work: Work, pages: AsyncIterator[Page]) -> AsyncIterator[Page]:
    """Pages, and how far they were taken in remembered; what one turn does not do the next goes on with."""
    ends = asyncio.get_running_loop().time() + TURN_SECONDS
    async for page in pages:
        yield page
        over = asyncio.get_running_loop().time() > ends
        if page.last or over:
            await jobs.remember(work.job, {"place": dict(page.place)})
        if over and not page.last:
            raise Unfinished


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
