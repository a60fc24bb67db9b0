"""Nookal's rows in our words: numbers and flags are text, times the location's, a day that is none is empty."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from models.ports import Patient
from models.rules.diary import AttendanceSeen
from models.rules.invoicing import Mark
from models.rules.states import Provider

WHO = Provider.NOOKAL.value
Json = dict[str, Any]

# Flag of a participant, the first that is set -> how the attendance stands.
MARKS = {"cancelled": Mark.CANCELLED, "DNA": Mark.DNA, "arrived": Mark.ATTENDED}


def attendance(held: Json, participant: Json, zone: ZoneInfo, seen_at: datetime) -> AttendanceSeen:
    """A participant has no id of its own: class and patient name it. In a cancelled class everybody is cancelled."""
    starts_at, ends_at = _times(held, zone)
    mark = next((mark for flag, mark in MARKS.items() if is_set(participant, flag)), Mark.BOOKED)
    return AttendanceSeen(
        provider=WHO,
        external_id=f"{held['ID']}:{participant['patientID']}",
        patient_id=str(participant["patientID"]),
        session_id=str(held["ID"]),
        class_type_id=str(held["appointmentTypeID"]),
        class_name=held["appointmentType"],
        location_id=str(held["locationID"]),
        starts_at=starts_at,
        ends_at=ends_at,
        mark=Mark.CANCELLED if is_set(held, "cancelled") else mark,
        seen_at=seen_at,
        invoiced=is_set(participant, "invoiceGenerated"),
    )


def patient(row: Json) -> Patient:
    """A patient; one who left or died is not active."""
    return Patient(
        external_id=str(row["ID"]),
        first_name=_text(row, "FirstName"),
        last_name=_text(row, "LastName"),
        email=_text(row, "Email"),
        date_of_birth=_day(_text(row, "DOB")),
        active=str(row.get("active", "1")) != "0" and not is_set(row, "deceased"),
    )


def is_set(row: Json, flag: str) -> bool:
    """Whether a flag is set: "1", or the number."""
    return str(row.get(flag)) == "1"


def _text(row: Json, name: str) -> str:
    return str(row.get(name) or "").strip()


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None  # "0000-00-00" among them


def _times(held: Json, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A class's day and times in its location's zone -> two UTC instants; a class may run past midnight."""
    at: Callable[[str], datetime] = partial(_local, held["appointmentDate"])
    starts, ends = at(held["appointmentStartTime"]), at(held["appointmentEndTime"])
    if ends <= starts:
        ends += timedelta(days=1)
    return starts.replace(tzinfo=zone).astimezone(UTC), ends.replace(tzinfo=zone).astimezone(UTC)


def _local(day: str, time_of_day: str) -> datetime:
    return datetime.fromisoformat(f"{day} {time_of_day}")
