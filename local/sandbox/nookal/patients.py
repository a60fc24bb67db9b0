"""Patients: reading, searching, adding."""

from collections.abc import Callable

from local.sandbox.nookal.wire import Failure, Rows, changed_since, flag, need, new_id, stamp
from local.sandbox.world import Json, World

PATIENT = "nookal.patient"
FIELDS = {  # parameter of addPatient -> field of a patient
    "title": "Title",
    "first_name": "FirstName",
    "middle_name": "MiddleName",
    "nickname": "Nickname",
    "last_name": "LastName",
    "date_of_birth": "DOB",
    "gender": "Gender",
    "notes": "Notes",
    "alerts": "Alerts",
    "email": "Email",
    "mobile": "Mobile",
    "home": "Home",
    "work": "Work",
    "fax": "Fax",
    "address": "Addr1",
    "suburb": "City",
    "state": "State",
    "country": "Country",
    "postcode": "Postcode",
    "location_id": "LocationID",
}
POSTAL = ("Addr1", "Addr2", "Addr3", "City", "State", "Country", "Postcode")
SEARCHES = {  # parameter of searchPatients -> field of a patient
    "first_name": "FirstName",
    "last_name": "LastName",
    "date_of_birth": "DOB",
    "email": "Email",
    "patient_id": "ID",
    "online_code": "onlineQuickCode",
}


def create(world: World, given: Json) -> Json:
    """Parameters of addPatient -> the stored patient; the same person twice is two patients."""
    number, at = new_id(world), stamp(world)
    patient = {
        "ID": number,
        **{field: given.get(name, "") for name, field in FIELDS.items()},
        "Addr2": "",
        "Addr3": "",
        **{f"Postal_{name}": "" for name in POSTAL},
        "category": "",
        "allowOnlineBookings": flag(True),
        "consent": flag(False),
        "active": flag(True),
        "deceased": flag(False),
        "DateCreated": at,
        "DateModified": at,
        "onlineQuickCode": f"Q{number}",
        "extras": [],
    }
    world.put(PATIENT, number, patient)
    return patient


def _patients(world: World, given: Json) -> Rows:
    return Rows("patients", changed_since(world.all(PATIENT), given, "DateModified"))


def _search(world: World, given: Json) -> Rows:
    wanted = {field: given[name].casefold() for name, field in SEARCHES.items() if given.get(name)}
    if not wanted:
        raise Failure("L000_1", None, ["Missing variable: first_name"])
    fuzzy = given.get("fuzzy_search") not in (None, "", "0")

    def fits(patient: Json) -> bool:
        held = {field: patient[field].casefold() for field in wanted}
        return all(value in held[field] if fuzzy else value == held[field] for field, value in wanted.items())

    return Rows("patients", [patient for patient in world.all(PATIENT) if fits(patient)])


def _add(world: World, given: Json) -> Json:
    need(given, "first_name", "last_name")
    return {"patient_id": create(world, given)["ID"]}


FUNCTIONS: dict[str, Callable[[World, Json], Rows | Json]] = {
    "getPatients": _patients,
    "searchPatients": _search,
    "addPatient": _add,
}
