"""The clinic's reads, locations, class types, classes and who takes part, and the booking of a class."""

from collections.abc import Callable
from datetime import date

from local.sandbox.nookal.wire import Failure, Rows, changed_since, flag, need, stamp
from local.sandbox.world import Json, World

LOCATION, CLASS_TYPE, CLASS, PARTICIPANT = "nookal.location", "nookal.class_type", "nookal.class", "nookal.participant"
PARTICIPANT_FIELDS = (
    "patientID",
    "arrived",
    "DNA",
    "cancelled",
    "cancellationDate",
    "lastModified",
    "invoiceGenerated",
    "caseID",
)
CLASS_FILTERS = {  # parameter -> column of a class row
    "location_id": "locationID",
    "practitioner_id": "practitionerID",
    "appointment_type_id": "appointmentTypeID",
    "service_id": "appointmentTypeID",
    "class_id": "ID",
}


def participant(world: World, class_id: str, patient_id: str) -> Json | None:
    """(class, patient) -> the participant; it has no id of its own."""
    return world.get(PARTICIPANT, f"{class_id}/{patient_id}")


def store_participant(world: World, row: Json) -> None:
    """Store a new or changed participant, touching it and its class."""
    at = stamp(world)
    world.put(PARTICIPANT, f"{row['classID']}/{row['patientID']}", {**row, "lastModified": at})
    held = world.get(CLASS, row["classID"])
    if held is None:
        raise Failure("L005", f"Class {row['classID']} was not found")
    world.put(CLASS, held["ID"], {**held, "lastModified": at})


def remove_participant(world: World, row: Json) -> None:
    """Take a participant out of a class, touching the class."""
    world.delete(PARTICIPANT, f"{row['classID']}/{row['patientID']}")
    held = world.get(CLASS, row["classID"])
    if held is not None:
        world.put(CLASS, held["ID"], {**held, "lastModified": stamp(world)})


def book(world: World, held: Json, patient_id: str) -> Json:
    """Class and patient -> a new participant; a cancelled one is taken back, a standing one refused."""
    known = participant(world, held["ID"], patient_id)
    if known and known["cancelled"] == "0":
        raise Failure("L006", "The patient is already booked into this class")
    marks = {name: flag(False) for name in ("arrived", "DNA", "cancelled", "invoiceGenerated")}
    row = {"classID": held["ID"], "patientID": patient_id, **marks, "cancellationDate": None, "caseID": None}
    store_participant(world, {**row, "dateCreated": known["dateCreated"] if known else stamp(world)})
    return row


def _verify(_world: World, _given: Json) -> Json:
    return {"message": "Api key verified"}


def _locations(world: World, _given: Json) -> Rows:
    return Rows("locations", world.all(LOCATION))


def _class_types(world: World, _given: Json) -> Rows:
    return Rows("classes", world.all(CLASS_TYPE))


def _classes(world: World, given: Json) -> Rows:
    rows = _within(_matching(world.all(CLASS), given), given)
    return Rows("classes", changed_since(rows, given, "lastModified"))


def _class_participants(world: World, given: Json) -> Rows:
    (class_id,) = need({**given, "appt_id": given.get("appt_id") or given.get("class_id")}, "appt_id")
    if world.get(CLASS, class_id) is None:
        raise Failure("L005", f"Class {class_id} was not found")
    rows = [row for row in world.all(PARTICIPANT) if row["classID"] == class_id]
    shown = [{name: row[name] for name in PARTICIPANT_FIELDS} for row in changed_since(rows, given, "lastModified")]
    return Rows("participants", shown)


def _appointments(world: World, given: Json) -> Rows:
    """Every booking of a class as an appointment: the class's row with the patient's marks."""
    classes = {row["ID"]: row for row in world.all(CLASS)}
    rows = [
        {
            **classes[row["classID"]],
            **{name: row[name] for name in PARTICIPANT_FIELDS},
            "dateCreated": row["dateCreated"],
        }
        for row in world.all(PARTICIPANT)
    ]
    rows = _within(_matching(rows, given), given)
    if patient := given.get("patient_id"):
        rows = [row for row in rows if row["patientID"] == patient]
    if status := given.get("appt_status"):
        rows = [row for row in rows if _status(row) == status]
    rows = changed_since(rows, given, "lastModified")
    return Rows("appointments", rows, "getPatientAppointments" if patient else None)


def _add_class_booking(world: World, given: Json) -> Json:
    location, day, start, patient, practitioner, kind = need(
        given, "location_id", "appointment_date", "start_time", "patient_id", "practitioner_id", "appointment_type_id"
    )
    if world.get("nookal.patient", patient) is None:
        raise Failure("L005", f"Patient {patient} was not found")
    wanted = {
        "locationID": location,
        "appointmentDate": day,
        "appointmentStartTime": start,
        "practitionerID": practitioner,
        "appointmentTypeID": kind,
    }
    held = next((row for row in world.all(CLASS) if wanted.items() <= row.items() and row["cancelled"] == "0"), None)
    if held is None:
        raise Failure("L005", "No class was found at this time")
    book(world, held, patient)
    return {"appointment_id": held["ID"]}


def _status(row: Json) -> str:
    marks = {"cancelled": "Cancelled", "DNA": "DNA", "arrived": "Completed"}
    return next((status for mark, status in marks.items() if row[mark] == "1"), "Pending")


def _matching(rows: list[Json], given: Json) -> list[Json]:
    for name, column in CLASS_FILTERS.items():
        if wanted := given.get(name):
            rows = [row for row in rows if row[column] == wanted]
    return rows


def _within(rows: list[Json], given: Json) -> list[Json]:
    """Rows from date_from to date_to, both included, and between the times of day; by start, then id."""
    for name in ("date_from", "date_to"):
        if name in given:
            _check_day(given[name], name)
    first, last = given.get("date_from", "0000-00-00"), given.get("date_to", "9999-99-99")
    early, late = given.get("time_from", "00:00:00"), given.get("time_to", "24:00:00")
    kept = [
        row for row in rows if first <= row["appointmentDate"] <= last and early <= row["appointmentStartTime"] <= late
    ]
    return sorted(kept, key=lambda row: (row["appointmentDate"], row["appointmentStartTime"], int(row["ID"])))


def _check_day(text: str, name: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise Failure("L005", f"Invalid variable: {name}") from None


FUNCTIONS: dict[str, Callable[[World, Json], Rows | Json]] = {
    "verify": _verify,
    "getLocations": _locations,
    "getClassTypes": _class_types,
    "getClasses": _classes,
    "getClassParticipants": _class_participants,
    "getAppointments": _appointments,
    "addClassBooking": _add_class_booking,
}
