"""Which patient a member is, and what becomes of classes that move, empty or disappear over there."""

from datetime import date
from typing import Any

import pytest

from models.actions import attendances, patients, reviews
from models.ports import Patient
from models.rules.diary import RosterSeen
from models.rules.invoicing import Mark
from models.rules.refusals import Code
from models.rules.states import LinkState, Provider, ReviewKind, ReviewState
from models.tables.course import Attendance, ClassSession
from models.tables.coursepro import ReviewItem
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User
from tests.build import (
    BY,
    DAY,
    NOW,
    WEEK,
    Clinic,
    a_clinic,
    a_name,
    a_subscriber,
    a_user,
    happening,
    nothing_written,
    refused,
    spread,
    tell,
    tied,
)

pytestmark = pytest.mark.usefixtures("database")


def a_patient(user: User, **details: Any) -> Patient:
    known = {"first_name": user.first_name, "last_name": user.last_name, "email": user.email}
    return Patient(**{"external_id": a_name("patient"), **known, **details})


async def found(user: User, *records: Patient) -> None:
    await patients.patients_found(user.id, records, acting="job:practice.find_patient", at=NOW)


async def link_of(user: User) -> ExternalLink | None:
    return await ExternalLink.get_or_none(user_id=user.id, kind="patient", state=LinkState.LINKED)


async def question(user: User) -> ReviewItem:
    return await ReviewItem.get(kind=ReviewKind.PATIENT_MATCH, subject=str(user.id), state=ReviewState.OPEN)


async def test_the_one_that_fits_by_name_and_address_is_linked() -> None:
    """Whatever its case; beside half fits, others' records and people who left; with the evidence kept."""
    user, other = await a_user("Zoë"), await a_user()
    theirs = await tied(other, Provider.NOOKAL, "patient")
    whole = a_patient(user, first_name="ZOE", email=user.email.upper(), date_of_birth=date(1990, 1, 1))
    half = a_patient(user, first_name="Kid")
    gone, taken = a_patient(user, active=False), a_patient(user, external_id=theirs)
    async with happening() as seen:
        await found(user, half, gone, taken, whole)
    link = await link_of(user)
    assert link is not None
    evidence = {"email": True, "first_name": True, "last_name": True, "date_of_birth": None}
    assert (link.external_id, link.evidence) == (whole.external_id, evidence)
    assert [(job.kind, job.payload) for job in seen.jobs] == [
        ("invoices.respread", {"user_id": str(user.id)}),
        ("practice.read_patient", {"user_id": str(user.id), "patient_id": whole.external_id}),
    ]
    async with nothing_written():
        await found(user, whole, a_patient(user))


async def test_several_or_a_half_fit_is_left_to_a_person() -> None:
    """A short name or another address is a second client over there; what was ruled out stays so."""
    user = await a_user("Lloyd")
    short = a_patient(user, first_name="L", last_name="S")
    moved = a_patient(user, email="other@example.test", date_of_birth=date(1990, 5, 1))
    namesake = a_patient(user, first_name="Ada", email="ada@example.test")
    async with happening() as seen:
        await found(user, short, moved, namesake)
    assert seen.verbs == ["ask_which_patient"]
    asked = await question(user)
    assert (asked.provider, asked.user_id, sorted(asked.evidence["patients"])) == (
        Provider.NOOKAL,
        user.id,
        sorted([short.external_id, moved.external_id]),
    )
    assert asked.evidence["patients"][moved.external_id] == {
        "name": f"Lloyd {user.last_name}",
        "email": "other@example.test",
        "date_of_birth": "1990-05-01",
        "compared": {"email": False, "first_name": True, "last_name": True, "date_of_birth": None},
    }
    async with nothing_written():
        await found(user, short, moved)
    for wrong in ("999", None):
        async with refused(Code.INVALID_INPUT, "answer"):
            await reviews.settle_review(asked.id, answer=wrong, acting=BY, at=NOW)
    settled = await reviews.settle_review(asked.id, answer=moved.external_id, acting="key:desk", at=NOW)
    link = await link_of(user)
    assert link is not None
    assert (settled.state, settled.answer, link.external_id) == (
        ReviewState.SETTLED,
        moved.external_id,
        moved.external_id,
    )
    assert (link.evidence["decided_by"], link.evidence["review"]) == ("key:desk", str(asked.id))

    twin = await a_user()
    twins = [a_patient(twin) for _ in range(2)]
    await found(twin, *twins)
    await reviews.settle_review((await question(twin)).id, answer="NONE", acting=BY, at=NOW)
    async with nothing_written():
        await found(twin, *twins)
    right = a_patient(twin)
    await found(twin, *twins, right)
    link = await link_of(twin)
    assert link is not None
    assert link.external_id == right.external_id


async def test_what_a_person_undid_or_did_is_not_done_over() -> None:
    user, known = await a_user(), await a_user()
    record = a_patient(user)
    await found(user, record)
    await ExternalLink.filter(user_id=user.id).update(state=LinkState.UNLINKED)
    async with nothing_written():
        await found(user, record)
    await found(known, a_patient(known, first_name="K"))
    asked = await question(known)
    await tied(known, Provider.NOOKAL, "patient")
    assert (await ReviewItem.get(id=asked.id)).state is ReviewState.DROPPED


async def test_members_are_looked_for_when_the_membership_starts_and_when_patients_change() -> None:
    clinic = await a_clinic(linked=False)
    async with happening() as seen:
        await tell(clinic.subscribed())
    looks = ("practice.find_patient", {"user_id": str(clinic.user.id)})
    assert looks in [(job.kind, job.payload) for job in seen.jobs]
    assert await patients.wanted(clinic.user.id) is None, "there is no practice system to look in"
    await ProviderSetting.create(provider=Provider.NOOKAL, secrets="sealed")
    assert await patients.wanted(clinic.user.id) is not None

    nobody = await a_user()
    async with happening() as seen:
        await patients.patients_seen(
            [a_patient(clinic.user), a_patient(nobody), a_patient(clinic.user)], acting=BY, at=NOW
        )
    assert [(job.kind, job.payload) for job in seen.jobs] == [looks], "who has no membership is left alone"
    await tied(clinic.user, Provider.NOOKAL, "patient")
    assert await patients.wanted(clinic.user.id) is None
    async with nothing_written():
        await patients.patients_seen([a_patient(clinic.user)], acting=BY, at=NOW)


async def test_the_classes_read_again_begin_with_what_is_not_billed_off() -> None:
    clinic = await a_subscriber()
    await tell(clinic.invoiced(), clinic.invoiced(name="2", start=NOW + WEEK, end=NOW + 2 * WEEK))
    assert await patients.classes_from(clinic.user.id, NOW + WEEK) == date(2026, 3, 1)
    assert await patients.classes_from((await a_user()).id, NOW) == date(2026, 3, 1)


# -- rosters -----------------------------------------------------------------------------------------------------------


def roster(clinic: Clinic, number: int, *seats: Any) -> RosterSeen:
    return RosterSeen(provider="NOOKAL", session_id=f"{clinic.location}:{number}", attendances=seats)


async def look(*rosters: RosterSeen) -> int:
    return await attendances.rosters_seen(rosters, acting=BY, at=NOW)


async def test_who_is_not_named_any_more_has_left_the_class() -> None:
    clinic = await a_subscriber()
    first, second = (roster(clinic, number, clinic.seat(number, NOW + number * DAY)) for number in (1, 2))
    await tell(clinic.invoiced())
    assert await look(first, second) == 2
    invoice = await clinic.invoice()
    assert await spread(invoice) == [25_00, 25_00]
    async with happening() as seen:
        assert await look(roster(clinic, 2)) == 1
    assert (seen.verbs, seen.events) == (["attendance_gone", "allocate_invoice"], ["InvoiceReallocated"])
    assert await spread(invoice) == [50_00]
    async with nothing_written():
        assert await look(first, roster(clinic, 2), roster(clinic, 9)) == 0
    assert await look(second) == 1
    assert await spread(invoice) == [25_00, 25_00], "and is back"


async def test_a_class_that_was_deleted_over_there_pays_for_nothing() -> None:
    """No list of changes names it: only that the list of all classes does not. A list of none is not believed."""
    clinic = await a_subscriber()
    await tell(clinic.invoiced())
    both = [roster(clinic, number, clinic.seat(number, NOW + number * DAY)) for number in (1, 2)]
    await look(*both)
    ids = {one.session_id for one in both}
    span: dict[str, Any] = {"start": NOW, "end": NOW + WEEK, "acting": BY, "at": NOW}

    async def listed(held: set[str]) -> int:
        others = {row.external_ref or "" for row in await ClassSession.all()} - ids
        return await attendances.classes_listed(held | others if held else held, **span)

    assert await listed(set()) == 0
    assert await listed({both[0].session_id}) == 1
    invoice = await clinic.invoice()
    assert await spread(invoice) == [50_00]
    seat = await Attendance.get(user_id=clinic.user.id, class_session__external_ref=both[1].session_id)
    assert seat.mark is Mark.BOOKED, "the mark stays as it was"
    assert await listed(ids) == 1
    assert await spread(invoice) == [25_00, 25_00]
    assert await listed({both[0].session_id}) == 1
    await look(both[1])
    assert (await ClassSession.get(external_ref=both[1].session_id)).deleted_at is None, "it was only moved out of view"
