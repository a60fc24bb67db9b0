"""Nookal's stand-in: envelopes, polling, and invoices that know no idempotency."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

if TYPE_CHECKING:
    from tests.sandbox.conftest import Sandbox

Json = dict[str, Any]


class Nookal:
    """Calls functions by name with the api key, by POST form unless told otherwise."""

    def __init__(self, sandbox: "Sandbox") -> None:
        self.key = sandbox.credentials["nookal"]["api_key"]
        self.http = httpx.Client(base_url=f"{sandbox.urls['nookal']}/production/v2", trust_env=False)

    def call(self, function: str, **given: str) -> Json:
        answer = self.http.post(f"/{function}", data={"api_key": self.key, **given})
        assert answer.status_code == 200
        said: Json = answer.json()
        return said

    def rows(self, function: str, key: str, **given: str) -> list[Json]:
        said = self.call(function, **given)
        assert said["status"] == "success", said
        found: list[Json] = said["data"]["results"][key]
        return found

    def refused(self, function: str, **given: str) -> Json:
        said = self.call(function, **given)
        assert said["status"] == "failure", said
        details: Json = said["details"]
        return details


@dataclass
class Clinic:
    """A patient booked into two pilates classes of 25.00."""

    patient: str
    kind: str
    first: str
    second: str


@pytest.fixture
def nookal(sandbox: "Sandbox") -> Iterator[Nookal]:
    client = Nookal(sandbox)
    yield client
    client.http.close()


@pytest.fixture
def clinic(sandbox: "Sandbox") -> Clinic:
    patient = sandbox.do("nookal", "add_patient", first_name="Ada", last_name="Byron", email="ada@example.org")["ID"]
    kind = sandbox.do("nookal", "add_class_type", name="Pilates", price="25.00", duration=45)["ID"]
    starts = ("2026-01-05T09:00:00", "2026-01-07T09:00:00")
    first, second = (sandbox.do("nookal", "add_class", class_type=kind, starts_at=at)["ID"] for at in starts)
    for class_id in (first, second):
        sandbox.do("nookal", "add_participant", class_id=class_id, patient_id=patient)
    return Clinic(patient, kind, first, second)


def test_no_key_a_wrong_key_and_a_good_key(nookal: Nookal) -> None:
    assert nookal.call("verify", api_key="") == {
        "status": "failure",
        "details": {"errorCode": "L000_1", "alerts": ["Missing variable: api_key"]},
    }
    wrong = nookal.call("verify", api_key="nope")
    assert (wrong["status"], wrong["details"]["errorCode"]) == ("failure", "L003")
    assert nookal.call("verify")["status"] == "success"
    by_get = nookal.http.get("/verify", params={"api_key": nookal.key})
    assert (by_get.status_code, by_get.json()["data"]["api_call"]) == (200, "verify")


def test_an_unknown_function_is_a_themed_page(nookal: Nookal) -> None:
    answer = nookal.http.post("/getServices", data={"api_key": nookal.key})
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")


def test_the_first_location_has_a_time_zone(nookal: Nookal, sandbox: "Sandbox") -> None:
    perth = sandbox.do("nookal", "add_location", name="West", timezone="Australia/Perth")
    rows = nookal.rows("getLocations", "locations")
    zones = [(row["ID"], row["Name"], row["Timezone"]) for row in rows]
    assert zones == [("1", "Main clinic", "Australia/Melbourne"), (perth["ID"], "West", "Australia/Perth")]


def test_class_times_are_the_locations_own(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    made = sandbox.do("nookal", "add_class", class_type=clinic.kind, starts_at="2026-01-08T22:30:00+00:00")
    (row,) = nookal.rows("getClasses", "classes", date_from="2026-01-09", date_to="2026-01-09")
    assert row == {
        "ID": made["ID"],
        "appointmentDate": "2026-01-09",
        "appointmentStartTime": "09:30:00",
        "appointmentEndTime": "10:15:00",
        "locationID": "1",
        "appointmentType": "Pilates",
        "appointmentTypeID": clinic.kind,
        "practitionerID": "1",
        "emailReminderSent": "0",
        "arrived": "0",
        "DNA": "0",
        "cancelled": "0",
        "cancellationDate": None,
        "invoiceGenerated": "0",
        "Notes": "",
        "lastModified": row["lastModified"],
        "dateCreated": row["dateCreated"],
    }
    assert [one["ID"] for one in nookal.rows("getClasses", "classes")] == [clinic.first, clinic.second, made["ID"]]


def test_pages_are_counted_in_strings_and_end_with_null(nookal: Nookal, sandbox: "Sandbox") -> None:
    for number in range(3):
        sandbox.do("nookal", "add_patient", first_name=f"P{number}", last_name="Q")
    first = nookal.call("getPatients", page="1", page_length="2")
    assert [row["FirstName"] for row in first["data"]["results"]["patients"]] == ["P0", "P1"]
    assert first["details"] == {"totalItems": "3", "currentItems": "2"}
    assert first["settings"] == {"currentPage": "1", "nextPage": "2", "pageLength": "2"}
    last = nookal.call("getPatients", page="2", page_length="2")
    assert last["settings"] == {"currentPage": "2", "nextPage": None, "pageLength": "2"}
    assert nookal.call("getPatients", page_length="5000")["settings"]["pageLength"] == "200"


def test_a_list_of_one_may_come_bare(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    sandbox.do("nookal", "bare_singletons")
    assert nookal.call("getPatients")["data"]["results"]["patients"]["ID"] == clinic.patient
    assert len(nookal.rows("getClasses", "classes")) == 2
    sandbox.do("nookal", "bare_singletons", on=False)
    assert nookal.rows("getPatients", "patients")[0]["ID"] == clinic.patient


def test_patients_are_added_twice_and_found_by_search(nookal: Nookal) -> None:
    assert nookal.refused("addPatient", first_name="Ada")["alerts"] == ["Missing variable: last_name"]
    person = {"first_name": "Ada", "last_name": "Byron", "email": "Ada@Example.org", "date_of_birth": "1990-12-10"}
    ids = [nookal.call("addPatient", **person)["data"]["results"]["patient_id"] for _ in range(2)]
    assert len(set(ids)) == 2
    found = nookal.rows("searchPatients", "patients", last_name="byron", email="ada@example.org")
    assert [row["ID"] for row in found] == ids
    assert nookal.rows("searchPatients", "patients", last_name="Byr") == []
    assert len(nookal.rows("searchPatients", "patients", last_name="Byr", fuzzy_search="1")) == 2


def test_a_mark_is_found_by_polling_classes(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    sandbox.advance(hours=1)
    since = sandbox.now().strftime("%Y-%m-%d %H:%M:%S")
    assert nookal.rows("getClasses", "classes", last_modified=since) == []
    sandbox.do("nookal", "set_participant", class_id=clinic.second, patient_id=clinic.patient, DNA=True)
    (touched,) = nookal.rows("getClasses", "classes", last_modified=since)
    assert touched["ID"] == clinic.second
    (row,) = nookal.rows("getClassParticipants", "participants", appt_id=clinic.second, last_modified=since)
    assert row["lastModified"] >= since
    assert row == {
        "patientID": clinic.patient,
        "arrived": "0",
        "DNA": "1",
        "cancelled": "0",
        "cancellationDate": None,
        "lastModified": touched["lastModified"],
        "invoiceGenerated": "0",
        "caseID": None,
    }
    assert nookal.rows("getClassParticipants", "participants", class_id=clinic.second) == [row]
    (booking,) = nookal.rows("getAppointments", "appointments", last_modified=since)
    assert (booking["ID"], booking["patientID"], booking["DNA"]) == (clinic.second, clinic.patient, "1")


def test_appointments_of_a_patient_by_status(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    sandbox.do("nookal", "set_participant", class_id=clinic.first, patient_id=clinic.patient, cancelled=True)
    said = nookal.call("getAppointments", patient_id=clinic.patient, appt_status="Cancelled")
    assert said["data"]["api_call"] == "getPatientAppointments"
    assert [row["ID"] for row in said["data"]["results"]["appointments"]] == [clinic.first]
    pending = nookal.rows("getAppointments", "appointments", patient_id=clinic.patient, appt_status="Pending")
    assert [row["ID"] for row in pending] == [clinic.second]


def test_participants_need_a_class(nookal: Nookal) -> None:
    assert nookal.refused("getClassParticipants")["alerts"] == ["Missing variable: appt_id"]
    assert nookal.refused("getClassParticipants", appt_id="9")["errorMessage"] == "Class 9 was not found"


def test_a_class_is_booked_by_place_and_time(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    other = sandbox.do("nookal", "add_patient", first_name="Bo", last_name="Day")["ID"]
    wanted = {
        "location_id": "1",
        "appointment_date": "2026-01-05",
        "start_time": "09:00:00",
        "patient_id": other,
        "practitioner_id": "1",
        "appointment_type_id": clinic.kind,
    }
    assert nookal.call("addClassBooking", **wanted)["data"]["results"] == {"appointment_id": clinic.first}
    rows = nookal.rows("getClassParticipants", "participants", appt_id=clinic.first)
    assert [row["patientID"] for row in rows] == [clinic.patient, other]
    assert nookal.refused("addClassBooking", **wanted)["errorCode"] == "L006"
    late = nookal.refused("addClassBooking", **wanted | {"start_time": "10:00:00"})
    assert late["errorMessage"] == "No class was found at this time"


def invoice_of(clinic: Clinic, **more: str) -> dict[str, str]:
    """100.00 over two classes, paid by card."""
    return {
        "location_id": "1",
        "patient_id": clinic.patient,
        "date": "2026-01-31",
        "invoice_notes": "Stripe in_1",
        "items[0][item_id]": clinic.kind,
        "items[0][type]": "Class",
        "items[0][amount]": "33.33",
        "items[0][appt_id]": clinic.first,
        "items[1][item_id]": clinic.kind,
        "items[1][type]": "Class",
        "items[1][amount]": "66.67",
        "items[1][appt_id]": clinic.second,
        "payments[0][method]": "Credit Card",
        "payments[0][amount]": "100.00",
        **more,
    }


def test_an_invoice_over_two_classes(nookal: Nookal, clinic: Clinic) -> None:
    made = nookal.call("addInvoice", **invoice_of(clinic))["data"]["results"]["invoice"]
    assert made["invoiceNumber"] == made["ID"]
    assert (made["totalDebits"], made["totalPayments"], made["totalBalance"]) == ("100.00", "100.00", "0.00")
    entries, payments = made["details"]["entries"], made["details"]["payments"]
    assert {entry.pop("entry_id").isdigit() for entry in entries} == {True}
    shared = {"void": "0", "name": "Pilates", "description": "", "qty": "1", "tax": "0.00"}
    assert entries == [
        {**shared, "date": "2026-01-05", "subtotal": "33.33", "total": "33.33"},
        {**shared, "date": "2026-01-07", "subtotal": "66.67", "total": "66.67"},
    ]
    assert payments[0].pop("payment_id").isdigit()
    paid = {"void": "0", "date": "2026-01-31", "amount": "100.00", "group": "Other", "method": "Credit Card"}
    assert payments == [paid]
    for class_id in (clinic.first, clinic.second):
        (row,) = nookal.rows("getClassParticipants", "participants", appt_id=class_id)
        assert row["invoiceGenerated"] == "1"


def test_a_lost_answer_is_found_again_by_its_note(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    sandbox.admin.post("/faults", json={"provider": "nookal", "path": "addInvoice", "kind": "drop_answer", "times": 1})
    with pytest.raises(httpx.RemoteProtocolError):
        nookal.call("addInvoice", **invoice_of(clinic))
    (found,) = nookal.rows("getInvoices", "invoices", patient_id=clinic.patient, expanded="1")
    assert (found["invoiceNotes"], len(found["details"]["entries"])) == ("Stripe in_1", 2)


def test_the_same_invoice_twice_is_two_invoices(nookal: Nookal, clinic: Clinic) -> None:
    for _ in range(2):
        nookal.call("addInvoice", **invoice_of(clinic))
    rows = nookal.rows("getInvoices", "invoices", patient_id=clinic.patient)
    assert [row["invoiceNotes"] for row in rows] == ["Stripe in_1", "Stripe in_1"]
    assert "details" not in rows[0]


def test_an_adhoc_invoice_links_no_class(nookal: Nookal, clinic: Clinic) -> None:
    made = nookal.call(
        "addInvoice",
        location_id="1",
        patient_id=clinic.patient,
        **{
            "items[0][type]": "AdHoc",
            "items[0][name]": "Membership",
            "items[0][amount]": "50.00",
            "items[0][qty]": "2",
        },
    )["data"]["results"]["invoice"]
    (entry,) = made["details"]["entries"]
    assert (entry["name"], entry["qty"], entry["total"], made["totalBalance"]) == (
        "Membership",
        "2",
        "100.00",
        "100.00",
    )


def test_the_class_types_price_counts_when_none_is_given(nookal: Nookal, clinic: Clinic) -> None:
    given = {"items[0][type]": "Class", "items[0][item_id]": clinic.kind}
    said = nookal.call("addInvoice", location_id="1", patient_id=clinic.patient, **given)
    assert said["data"]["results"]["invoice"]["totalDebits"] == "25.00"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"location_id": ""}, {"errorCode": "L000_1", "alerts": ["Missing variable: location_id"]}),
        ({"patient_id": "7"}, {"errorMessage": "Patient 7 was not found", "errorCode": "L005", "alerts": []}),
        ({"items[1][appt_id]": "7"}, {"errorMessage": "Class 7 was not found", "errorCode": "L005", "alerts": []}),
        ({"items[1][amount]": "x"}, {"errorMessage": "Invalid variable: amount", "errorCode": "L005", "alerts": []}),
        ({"payments[0][method]": ""}, {"errorCode": "L000_1", "alerts": ["Missing variable: method"]}),
    ],
)
def test_a_refused_invoice_leaves_nothing(nookal: Nookal, clinic: Clinic, change: dict[str, str], said: Json) -> None:
    assert nookal.refused("addInvoice", **invoice_of(clinic) | change) == said
    assert nookal.rows("getInvoices", "invoices", patient_id=clinic.patient) == []
    (row,) = nookal.rows("getClassParticipants", "participants", appt_id=clinic.first)
    assert row["invoiceGenerated"] == "0"


def test_payments_may_exceed_the_balance(nookal: Nookal, clinic: Clinic) -> None:
    number = nookal.call("addInvoice", **invoice_of(clinic))["data"]["results"]["invoice"]["ID"]
    nookal.call("addPaymentToInvoice", invoice_id=number, method="Cash", amount="5", date="2026-02-01")
    invoice = nookal.call("getInvoice", invoice_id=number)["data"]["results"]["invoice"]
    assert (invoice["totalPayments"], invoice["totalBalance"]) == ("105.00", "-5.00")


def test_a_void_invoice_frees_its_classes(nookal: Nookal, clinic: Clinic) -> None:
    number = nookal.call("addInvoice", **invoice_of(clinic))["data"]["results"]["invoice"]["ID"]
    one_class = {"items[0][type]": "Class", "items[0][item_id]": clinic.kind, "items[0][appt_id]": clinic.second}
    nookal.call("addInvoice", location_id="1", patient_id=clinic.patient, **one_class)
    assert nookal.call("deleteInvoice", invoice_id=number)["status"] == "success"
    (gone,) = nookal.rows("getInvoices", "invoices", patient_id=clinic.patient, void="1", expanded="1")
    assert (gone["ID"], gone["totalDebits"], gone["details"]["entries"][0]["void"]) == (number, "0.00", "1")
    marks = [
        nookal.rows("getClassParticipants", "participants", appt_id=class_id)[0]["invoiceGenerated"]
        for class_id in (clinic.first, clinic.second)
    ]
    assert marks == ["0", "1"], "the second class stands on another invoice"
    assert nookal.refused("deleteInvoice", invoice_id=number)["errorMessage"] == f"Invoice {number} is void"


def test_invoices_are_read_by_patient_or_case(nookal: Nookal) -> None:
    assert nookal.refused("getInvoices")["errorMessage"] == "One of Patient ID | Case ID is missing"


def test_a_bad_gateway_is_a_page_and_changes_nothing(nookal: Nookal, sandbox: "Sandbox", clinic: Clinic) -> None:
    sandbox.post("/faults", provider="nookal", kind="html_502", times=1)
    answer = nookal.http.post("/addInvoice", data={"api_key": nookal.key, **invoice_of(clinic)})
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html")
    assert nookal.rows("getInvoices", "invoices", patient_id=clinic.patient) == []
