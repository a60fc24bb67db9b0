"""What happens at the clinic's front desk: locations, classes, bookings and marks made by its staff."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from local.sandbox.nookal import patients
from local.sandbox.nookal.clinic import (
    CLASS,
    CLASS_TYPE,
    LOCATION,
    PARTICIPANT,
    book,
    participant,
    remove_participant,
    store_participant,
)
from local.sandbox.nookal.wire import STAMPS, Failure, cents, flag, new_id, shown, stamp
from local.sandbox.world import Json, ScenarioError, World

BARE = ("nookal.switch", "bare_singletons")
FIRST_LOCATION = "1"
MARKS = {"cancelled", "DNA", "arrived", "invoiceGenerated"}


def seed(world: World) -> None:
    """Give an empty world its first location."""
    if not world.all(LOCATION):
        _store_location(world, FIRST_LOCATION, "Main clinic", "Australia/Melbourne")


def _store_location(world: World, number: str, name: str, timezone: str) -> Json:
    ZoneInfo(timezone)  # a zone nobody knows must not be stored
    address = {"AddressLine1": "", "AddressLine2": None, "AddressLine3": None, "City": "", "State": None}
    row = {"ID": number, "Name": name, **address, "Country": "", "Postcode": "", "Timezone": timezone}
    world.put(LOCATION, number, row)
    return row


async def add_location(world: World, _config: Json, name: str, timezone: str) -> Json:
    """Name and IANA zone -> the location."""
    return _store_location(world, new_id(world), name, timezone)


async def add_patient(
    world: World, _config: Json, first_name: str, last_name: str, email: str = "", date_of_birth: str = "", **more: str
) -> Json:
    """Names and further parameters of addPatient -> the patient."""
    given = {"first_name": first_name, "last_name": last_name, "email": email, "date_of_birth": date_of_birth}
    return patients.create(world, given | more)


async def add_class_type(
    world: World, _config: Json, name: str, price: str = "0.00", duration: int = 60, location_id: str = FIRST_LOCATION
) -> Json:
    """Name, normal price, minutes -> the class type."""
    number = new_id(world)
    row = {
        "ID": number,
        "Name": name,
        "Description": "",
        "Duration": str(duration),
        "Price": shown(cents(price, "price")),
        "hasTax": flag(False),
        "Locations": [location_id],
    }
    world.put(CLASS_TYPE, number, row)
    return row


async def add_class(
    world: World,
    _config: Json,
    class_type: str,
    starts_at: str,
    location_id: str = FIRST_LOCATION,
    practitioner_id: str = "1",
) -> Json:
    """Class type and ISO start (with an offset an instant, without one the location's time) -> the class."""
    kind, location = _known(world, CLASS_TYPE, class_type), _known(world, LOCATION, location_id)
    zone = ZoneInfo(location["Timezone"])
    given = datetime.fromisoformat(starts_at)
    start = given.astimezone(zone) if given.tzinfo else given.replace(tzinfo=zone)
    # Added in UTC: a class that runs over a change of the clock still lasts its minutes.
    end = (start.astimezone(UTC) + timedelta(minutes=int(kind["Duration"]))).astimezone(zone)
    at, number = stamp(world), new_id(world)
    row = {
        "ID": number,
        "appointmentDate": start.date().isoformat(),
        "appointmentStartTime": start.strftime("%H:%M:%S"),
        "appointmentEndTime": end.strftime("%H:%M:%S"),
        "locationID": location_id,
        "appointmentType": kind["Name"],
        "appointmentTypeID": class_type,
        "practitionerID": practitioner_id,
        "emailReminderSent": flag(False),
        "arrived": flag(False),
        "DNA": flag(False),
        "cancelled": flag(False),
        "cancellationDate": None,
        "invoiceGenerated": flag(False),
        "Notes": "",
        "lastModified": at,
        "dateCreated": at,
    }
    world.put(CLASS, number, row)
    return row


async def add_participant(world: World, _config: Json, class_id: str, patient_id: str) -> Json:
    """Book the patient into the class -> the participant; a standing booking is refused."""
    held = _known(world, CLASS, class_id)
    _known(world, patients.PATIENT, patient_id)
    try:
        book(world, held, patient_id)
    except Failure as refused:
        raise ScenarioError(str(refused.message)) from refused
    return participant(world, class_id, patient_id) or {}


async def set_participant(world: World, _config: Json, class_id: str, patient_id: str, **marks: bool) -> Json:
    """Set or clear cancelled, DNA, arrived, invoiceGenerated -> the participant."""
    if unknown := marks.keys() - MARKS:
        raise ValueError(f"Unknown marks: {', '.join(sorted(unknown))}; known: {', '.join(sorted(MARKS))}")
    row = participant(world, class_id, patient_id)
    if row is None:
        raise ScenarioError(f"Patient {patient_id} does not take part in class {class_id}.")
    row |= {name: flag(on) for name, on in marks.items()}
    if "cancelled" in marks:
        row["cancellationDate"] = stamp(world) if marks["cancelled"] else None
    store_participant(world, row)
    return participant(world, class_id, patient_id) or {}


async def cancel_class(world: World, _config: Json, class_id: str) -> Json:
    """The clinic calls a class off -> the class; its participants' marks stay as they are."""
    at = stamp(world)
    row = {**_known(world, CLASS, class_id), "cancelled": flag(True), "cancellationDate": at, "lastModified": at}
    world.put(CLASS, class_id, row)
    return row


async def restore_class(world: World, _config: Json, class_id: str) -> Json:
    """A class that was called off takes place after all -> the class."""
    row = {**_known(world, CLASS, class_id), "cancelled": flag(False), "cancellationDate": None}
    world.put(CLASS, class_id, {**row, "lastModified": stamp(world)})
    return row


async def move_class(world: World, _config: Json, class_id: str, starts_at: str) -> Json:
    """The class begins at another time of the clinic's, an hour long -> the class; its participants stay."""
    start = datetime.fromisoformat(starts_at)
    row = {
        **_known(world, CLASS, class_id),
        "appointmentDate": start.date().isoformat(),
        "appointmentStartTime": start.strftime("%H:%M:%S"),
        "appointmentEndTime": (start + timedelta(hours=1)).strftime("%H:%M:%S"),
        "lastModified": stamp(world),
    }
    world.put(CLASS, class_id, row)
    return row


async def delete_class(world: World, _config: Json, class_id: str) -> Json:
    """The class is deleted for good: no list shows it any more -> the class as it was."""
    held = _known(world, CLASS, class_id)
    for row in world.all(PARTICIPANT):
        if row["classID"] == class_id:
            world.delete(PARTICIPANT, f"{class_id}/{row['patientID']}")
    world.delete(CLASS, class_id)
    return held


async def take_out_participant(world: World, _config: Json, class_id: str, patient_id: str) -> Json:
    """The booking is removed instead of cancelled: the class does not show it any more -> the participant."""
    row = participant(world, class_id, patient_id)
    if row is None:
        raise ScenarioError(f"Patient {patient_id} does not take part in class {class_id}.")
    remove_participant(world, row)
    return row


async def edit_patient(world: World, _config: Json, patient_id: str, **fields: str) -> Json:
    """Change fields of a patient, by Nookal's names -> the patient."""
    row = {**_known(world, patients.PATIENT, patient_id), **fields, "DateModified": stamp(world)}
    world.put(patients.PATIENT, patient_id, row)
    return row


async def stamps_in(world: World, _config: Json, zone: str) -> Json:
    """Write and compare instants in this IANA zone instead of UTC: nothing public says which it is."""
    ZoneInfo(zone)
    world.put(*STAMPS, {"zone": zone})
    return {"zone": zone}


async def bare_singletons(world: World, _config: Json, on: bool = True) -> Json:
    """Send lists of one as the bare object, or stop doing so."""
    if on:
        world.put(*BARE, {"on": True})
    else:
        world.delete(*BARE)
    return {"on": on}


def _known(world: World, kind: str, number: str) -> Json:
    found = world.get(kind, number)
    if found is None:
        raise KeyError(f"No {kind} {number}")
    return found


ACTIONS: dict[str, Callable[..., Awaitable[Any]]] = {
    "add_location": add_location,
    "add_patient": add_patient,
    "add_class_type": add_class_type,
    "add_class": add_class,
    "add_participant": add_participant,
    "set_participant": set_participant,
    "cancel_class": cancel_class,
    "bare_singletons": bare_singletons,
    "delete_class": delete_class,
    "edit_patient": edit_patient,
    "move_class": move_class,
    "restore_class": restore_class,
    "stamps_in": stamps_in,
    "take_out_participant": take_out_participant,
}
