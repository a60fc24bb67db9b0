"""Nookal behind PracticeSystem, against the sandbox process."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from integrations.nookal.client import Nookal
from integrations.nookal.wire import next_page, rows
from integrations.pace import Allowance, Pace
from local.state import held_ports
from models.ports import (
    OutcomeUnknown,
    OutgoingInvoice,
    Patient,
    Place,
    ProviderError,
    RateLimited,
    Refused,
    ShippedItem,
    Unavailable,
)
from models.rules.diary import AttendanceSeen
from models.rules.invoicing import Mark
from tests.integrations.conftest import Sandbox, StoppedClock


@pytest.fixture
async def nookal(sandbox: Sandbox, clock: StoppedClock) -> AsyncIterator[Nookal]:
    client = Nookal(
        sandbox.credentials["nookal"]["api_key"],
        clock,
        api_base=sandbox.urls["nookal"],
        location_id="1",
        answer_seconds=0.7,
    )
    yield client
    await client.close()


class Clinic:
    """A clinic in Melbourne: one class type, patients and classes as a test needs them."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.class_type = self.do("add_class_type", name="Pilates", price="40.00", duration=60)["ID"]

    def do(self, action: str, **arguments: Any) -> Any:
        return self.sandbox.do("nookal", action, **arguments)

    def patient(self, name: str = "Ada") -> str:
        found: str = self.do("add_patient", first_name=name, last_name="Byron", email="ada@example.org")["ID"]
        return found

    def held(self, starts_at: str, *patients: str) -> str:
        held: str = self.do("add_class", class_type=self.class_type, starts_at=starts_at)["ID"]
        for patient in patients:
            self.do("add_participant", class_id=held, patient_id=patient)
        return held


@pytest.fixture
def clinic(sandbox: Sandbox) -> Clinic:
    return Clinic(sandbox)


async def read(nookal: Nookal, place: Place | None = None) -> tuple[list[list[Any]], Place]:
    """The classes that changed after a place, each as its attendances -> (those, the place after them)."""
    pages = [page async for page in nookal.changes(place or {})]
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    return [list(roster.attendances) for page in pages for roster in page.rosters], pages[-1].place


async def seen(nookal: Nookal) -> list[list[Any]]:
    return (await read(nookal))[0]


# -- the diary ---------------------------------------------------------------------------------------------------------


async def test_a_class_and_who_is_in_it(nookal: Nookal, clinic: Clinic, clock: StoppedClock) -> None:
    patient = clinic.patient()
    held = clinic.held("2026-02-10T09:30:00", patient)  # Melbourne summer time, +11:00
    starts_at = datetime(2026, 2, 9, 22, 30, tzinfo=UTC)
    assert await seen(nookal) == [
        [
            AttendanceSeen(
                provider="NOOKAL",
                external_id=f"{held}:{patient}",
                patient_id=patient,
                session_id=held,
                class_type_id=clinic.class_type,
                class_name="Pilates",
                location_id="1",
                starts_at=starts_at,
                ends_at=starts_at + timedelta(hours=1),
                mark=Mark.BOOKED,
                seen_at=clock.at,
            ),
        ]
    ]


@pytest.mark.parametrize(
    ("flags", "mark"),
    [
        ({}, Mark.BOOKED),
        ({"arrived": True}, Mark.ATTENDED),
        ({"DNA": True}, Mark.DNA),
        ({"cancelled": True}, Mark.CANCELLED),
        ({"arrived": True, "cancelled": True}, Mark.CANCELLED),
    ],
)
async def test_how_an_attendance_is_marked(nookal: Nookal, clinic: Clinic, flags: dict[str, bool], mark: Mark) -> None:
    patient = clinic.patient()
    held = clinic.held("2026-02-10T09:30:00", patient)
    clinic.do("set_participant", class_id=held, patient_id=patient, **flags)
    ((attendance,),) = await seen(nookal)
    assert (attendance.mark, attendance.invoiced, attendance.invoice_id) == (mark, False, None)


async def test_an_attendance_invoiced_by_hand(nookal: Nookal, clinic: Clinic) -> None:
    patient = clinic.patient()
    held = clinic.held("2026-02-10T09:30:00", patient)
    clinic.do("set_participant", class_id=held, patient_id=patient, invoiceGenerated=True)
    ((attendance,),) = await seen(nookal)
    assert (attendance.mark, attendance.invoiced) == (Mark.BOOKED, True)


async def test_a_class_called_off_is_called_off_for_everybody(nookal: Nookal, clinic: Clinic) -> None:
    held = clinic.held("2026-02-10T09:30:00", clinic.patient(), clinic.patient("Bo"))
    clinic.do("cancel_class", class_id=held)
    (attendances,) = await seen(nookal)
    assert [one.mark for one in attendances] == [Mark.CANCELLED, Mark.CANCELLED]


def pass_time(sandbox: Sandbox, clock: StoppedClock, **by: float) -> None:
    sandbox.advance(**by)
    clock.at += timedelta(**by)


@pytest.mark.parametrize("zone", ["UTC", "Australia/Melbourne", "America/New_York"])
async def test_only_what_changed_since(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, clock: StoppedClock, zone: str
) -> None:
    """Whichever zone Nookal's stamps are in, and whatever our clock says beside the sandbox's."""
    clock.at = sandbox.now() + timedelta(hours=1)
    clinic.do("stamps_in", zone=zone)
    patient = clinic.patient()
    clinic.held("2026-02-10T09:30:00", patient)
    later = clinic.held("2026-02-11T09:30:00", patient)
    first, place = await read(nookal)
    assert len(first) == 2
    pass_time(sandbox, clock, minutes=3)
    place = (await read(nookal, place))[1]  # the stamps of a while ago are looked at once more
    pass_time(sandbox, clock, minutes=3)
    assert (await read(nookal, place))[0] == []
    clinic.do("set_participant", class_id=later, patient_id=patient, DNA=True)
    ((attendance,),), _ = await read(nookal, place)
    assert (attendance.session_id, attendance.mark) == (later, Mark.DNA)


async def test_a_list_of_one_may_come_bare(nookal: Nookal, clinic: Clinic) -> None:
    clinic.held("2026-02-10T09:30:00", clinic.patient())
    clinic.do("bare_singletons")
    ((attendance,),) = await seen(nookal)
    assert attendance.mark is Mark.BOOKED


async def test_every_page_is_read(nookal: Nookal, clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("integrations.nookal.wire.PAGE_LENGTH", 2)
    patients = [clinic.patient(f"P{number}") for number in range(5)]
    classes = [clinic.held(f"2026-02-1{number}T09:30:00", *patients) for number in range(3)]
    pages = await seen(nookal)
    assert [page[0].session_id for page in pages] == classes
    assert [[one.patient_id for one in page] for page in pages] == [patients] * 3


async def test_a_reading_goes_on_where_it_was_broken_off(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a page, by another process; and what changed meanwhile is read the next time."""
    monkeypatch.setattr("integrations.nookal.since.PAGE_LENGTH", 2)
    clock.at = sandbox.now()
    patient = clinic.patient()
    classes = [clinic.held(f"2026-02-1{number}T09:30:00", patient) for number in range(5)]
    whole = [page async for page in nookal.changes({})]
    assert [roster.session_id for page in whole for roster in page.rosters] == classes
    for done, page in enumerate(whole[:-1], 1):
        rest, _ = await read(nookal, page.place)
        assert [one.session_id for (one,) in rest] == classes[done:]
    pass_time(sandbox, clock, minutes=5)
    clinic.do("set_participant", class_id=classes[0], patient_id=patient, DNA=True)
    _, place = await read(nookal, whole[2].place)
    pass_time(sandbox, clock, minutes=5)
    ((again,),) = [one for one in (await read(nookal, place))[0] if one[0].session_id == classes[0]]
    assert again.mark is Mark.DNA


async def test_one_class_that_cannot_be_read_does_not_stop_the_others(nookal: Nookal, clinic: Clinic) -> None:
    """It was deleted after it was listed."""
    first, gone, last = (clinic.held(f"2026-02-1{number}T09:30:00", clinic.patient()) for number in range(3))
    reading = nookal.changes({})
    before = await anext(reading)
    clinic.do("delete_class", class_id=gone)
    after = [[roster.session_id for roster in page.rosters] async for page in reading]
    assert ([roster.session_id for roster in before.rosters], after) == ([first], [[], [last], []])


@pytest.mark.parametrize("kind", ["html_502", "html_404", "html_200"])
async def test_a_page_of_html_ends_a_reading_and_not_the_next(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, kind: str
) -> None:
    clinic.held("2026-02-10T09:30:00", clinic.patient())
    sandbox.post("/faults", provider="nookal", path="/getClasses$", kind=kind, times=3)
    with pytest.raises(ProviderError):
        await seen(nookal)
    sandbox.admin.delete("/faults")
    assert len(await seen(nookal)) == 1


# -- patients ----------------------------------------------------------------------------------------------------------


async def test_patients_are_found_by_address_or_family_name(nookal: Nookal, clinic: Clinic) -> None:
    ada = clinic.patient()
    clinic.do("edit_patient", patient_id=ada, DOB="1990-05-01")
    other = clinic.do("add_patient", first_name="Kid", last_name="King", email="ADA@example.org")["ID"]
    gone = clinic.do("add_patient", first_name="Bo", last_name="byron", email="")["ID"]
    clinic.do("edit_patient", patient_id=gone, active="0", DOB="0000-00-00")
    clinic.do("add_patient", first_name="Eve", last_name="Else", email="eve@example.org")
    found = await nookal.find_patients(email="ada@example.org", last_name="Byron")
    assert sorted(found, key=lambda each: int(each.external_id)) == [
        Patient(ada, "Ada", "Byron", "ada@example.org", date(1990, 5, 1)),
        Patient(other, "Kid", "King", "ADA@example.org"),
        Patient(gone, "Bo", "byron", "", active=False),
    ]


async def test_patients_are_polled_as_they_change(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, clock: StoppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("integrations.nookal.since.PAGE_LENGTH", 2)
    clock.at = sandbox.now()
    numbers = [clinic.patient(f"P{number}") for number in range(5)]

    async def polled(place: Place) -> tuple[list[str], Place]:
        pages = [page async for page in nookal.patients(place)]
        return [each.external_id for page in pages for each in page.patients], pages[-1].place

    found, place = await polled({})
    assert found == numbers
    for _ in range(2):
        pass_time(sandbox, clock, minutes=3)
        _, place = await polled(place)
    clinic.do("edit_patient", patient_id=numbers[3], LastName="King")
    assert (await polled(place))[0] == [numbers[3]]


async def test_the_classes_of_one_patient_are_read_with_their_own_flags(nookal: Nookal, clinic: Clinic) -> None:
    """A booking does not tell that its class was called off: the class does."""
    patient, other = clinic.patient(), clinic.patient("Bo")
    early, stands, off = (clinic.held(f"2026-02-{day}T09:30:00", patient, other) for day in ("09", "10", "11"))
    clinic.do("cancel_class", class_id=off)
    clinic.do("set_participant", class_id=stands, patient_id=patient, arrived=True)
    found = await nookal.attendances_of(patient, date(2026, 2, 10))
    assert [(one.session_id, one.patient_id, one.mark) for one in found] == [
        (stands, patient, Mark.ATTENDED),
        (off, patient, Mark.CANCELLED),
    ]
    held = [one async for page in nookal.classes_held(date(2026, 2, 9), date(2026, 2, 10)) for one in page]
    assert held == [early, stands]


async def test_a_class_over_the_change_of_the_clock_lasts_its_hour(nookal: Nookal, clinic: Clinic) -> None:
    clinic.held("2026-10-04T01:30:00", clinic.patient())  # at 2:00 Melbourne's clocks go to 3:00
    ((held,),) = await seen(nookal)
    assert held.starts_at == datetime(2026, 10, 3, 15, 30, tzinfo=UTC)
    assert held.ends_at - held.starts_at == timedelta(hours=1)


async def test_a_class_past_midnight_ends_the_next_day(nookal: Nookal, clinic: Clinic) -> None:
    clinic.held("2026-02-10T23:30:00", clinic.patient())
    ((held,),) = await seen(nookal)
    assert held.ends_at - held.starts_at == timedelta(hours=1)


# -- invoices ----------------------------------------------------------------------------------------------------------


def an_invoice(patient: str | None, *items: ShippedItem) -> OutgoingInvoice:
    return OutgoingInvoice(
        reference="DUE-000042",
        customer_ref=patient,
        customer_name="Ada Byron",
        customer_email="ada@example.org",
        currency="AUD",
        issued_on=date(2026, 3, 1),
        items=items or (ShippedItem("Pilates membership", 10000),),
    )


async def test_a_share_for_each_class(nookal: Nookal, clinic: Clinic, sandbox: Sandbox) -> None:
    patient = clinic.patient()
    classes = [clinic.held(f"2026-02-1{number}T09:30:00", patient) for number in range(3)]
    shares = zip((3333, 3333, 3334), classes, strict=True)
    invoice = an_invoice(patient, *(ShippedItem("Pilates", amount, held, clinic.class_type) for amount, held in shares))
    assert await nookal.find_invoice(invoice) is None

    number = await nookal.ship(invoice)
    (added,) = sandbox.state_of("nookal.invoice")
    assert number == added["ID"] == await nookal.find_invoice(invoice)
    assert (added["patientID"], added["locationID"], added["date"]) == (patient, "1", "2026-03-01")
    assert added["invoiceNotes"] == "DUE-000042"
    assert [(one["total"], one["link"]["appt_id"], one["link"]["type"]) for one in added["entries"]] == [
        ("33.33", classes[0], "Class"),
        ("33.33", classes[1], "Class"),
        ("33.34", classes[2], "Class"),
    ]
    attendances = [page[0] for page in await seen(nookal)]
    assert [one.invoiced for one in attendances] == [True, True, True]


async def test_without_a_class_it_is_one_ad_hoc_line(nookal: Nookal, clinic: Clinic, sandbox: Sandbox) -> None:
    await nookal.ship(an_invoice(clinic.patient()))
    (added,) = sandbox.state_of("nookal.invoice")
    (entry,) = added["entries"]
    assert (entry["name"], entry["total"], entry["link"]["type"]) == ("Pilates membership", "100.00", "AdHoc")


async def test_a_reference_that_only_begins_alike_is_another(nookal: Nookal, clinic: Clinic) -> None:
    patient = clinic.patient()
    await nookal.ship(replace(an_invoice(patient), reference="DUE-0000421"))
    assert await nookal.find_invoice(an_invoice(patient)) is None


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"customer_ref": None}, "PATIENT_UNLINKED"),
        ({"customer_ref": "999999"}, "L005"),
        ({"items": (ShippedItem("Pilates", 100, "999999"),)}, "CLASS_UNKNOWN"),
        ({"items": (ShippedItem("Pilates", 100, "999999", "999999"),)}, "L005"),
    ],
)
async def test_what_is_refused(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, changed: dict[str, Any], code: str
) -> None:
    with pytest.raises(Refused) as refused:
        await nookal.ship(replace(an_invoice(clinic.patient()), **changed))
    assert refused.value.code == code
    assert sandbox.state_of("nookal.invoice") == []


@pytest.mark.parametrize(
    ("kind", "raised", "added"),
    [
        ("500_before", OutcomeUnknown, 0),
        ("500_after", OutcomeUnknown, 1),
        ("html_502", OutcomeUnknown, 0),
        ("timeout", OutcomeUnknown, 0),
        ("drop_answer", OutcomeUnknown, 1),
        ("429", RateLimited, 0),
    ],
)
async def test_a_lost_answer_is_looked_for_not_repeated(
    nookal: Nookal, clinic: Clinic, sandbox: Sandbox, kind: str, raised: type[ProviderError], added: int
) -> None:
    invoice = an_invoice(clinic.patient())
    sandbox.post("/faults", provider="nookal", path="/addInvoice$", kind=kind, seconds=1.5)
    with pytest.raises(ProviderError) as failed:
        await nookal.ship(invoice)
    assert type(failed.value) is raised
    calls = [one for one in sandbox.get("/calls?provider=nookal") if one["path"].endswith("/addInvoice")]
    assert (len(calls), len(sandbox.state_of("nookal.invoice"))) == (1, added)

    found = await nookal.find_invoice(invoice)
    assert (found is not None) == bool(added)
    assert (found or await nookal.ship(invoice)) == sandbox.state_of("nookal.invoice")[0]["ID"]
    assert len(sandbox.state_of("nookal.invoice")) == 1


@pytest.mark.parametrize("kind", ["500_before", "html_502", "timeout", "drop_answer"])
async def test_a_read_that_stays_unanswered_is_unavailable(nookal: Nookal, sandbox: Sandbox, kind: str) -> None:
    sandbox.post("/faults", provider="nookal", kind=kind, times=3, seconds=1.5)
    with pytest.raises(Unavailable):
        await seen(nookal)
    assert await seen(nookal) == []


async def test_a_wrong_key_is_refused(sandbox: Sandbox, clock: StoppedClock) -> None:
    stranger = Nookal("wrong", clock, api_base=sandbox.urls["nookal"])
    with pytest.raises(Refused) as refused:
        await seen(stranger)
    assert refused.value.code == "L003"
    await stranger.close()


async def test_nobody_listens(clock: StoppedClock) -> None:
    dead = Nookal("key", clock, api_base=f"http://127.0.0.1:{held_ports(1)[0]}", location_id="1")
    with pytest.raises(Unavailable):
        await dead.ship(an_invoice("1"))
    await dead.close()


async def test_it_does_not_ask_too_often(sandbox: Sandbox, clock: StoppedClock) -> None:
    pace = Pace("NOOKAL:1", Allowance(((5, 1),)))
    slow = Nookal("nookal_key", clock, api_base=sandbox.urls["nookal"], pace=pace)
    for _ in range(4):
        await seen(slow)
    instants = [datetime.fromisoformat(one["at"]) for one in sandbox.get("/calls?provider=nookal")]
    gaps = [later - earlier for earlier, later in pairwise(instants)]
    assert len(gaps) == 7
    assert min(gaps[5:]) > timedelta(seconds=0.15), "five at once, then one after the other"
    await slow.close()


def test_the_page_after_this_one_stands_in_either_place() -> None:
    assert next_page({"settings": {"currentPage": 1, "nextPage": 2}}) == "2"
    assert next_page({"details": {"currentPage": "1", "nextPage": "2"}, "settings": {"nextPage": None}}) == "2"
    assert next_page({"settings": {"nextPage": None}, "details": {}}) is None
    assert rows({"data": {"results": {"classes": None}}}, "classes") == []
