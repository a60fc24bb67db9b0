"""The clinic's diary and its patients: read as they change, and on their own where somebody asks for them."""

from collections.abc import AsyncIterator
from datetime import date
from zoneinfo import ZoneInfo

import structlog

from integrations.nookal import reading
from integrations.nookal.since import Since
from integrations.nookal.wire import Json, Wire, rows
from models.ports import Clock, DiaryPage, Patient, PatientsPage, Place, Refused
from models.rules.diary import AttendanceSeen, RosterSeen

log = structlog.get_logger(__name__)


class Diary:
    """What is read of one clinic."""

    def __init__(self, wire: Wire, clock: Clock, timezone: str | None) -> None:
        """The wire, the clock, the zone of locations that name none."""
        self._wire, self._clock, self._timezone = wire, clock, timezone

    async def changes(self, place: Place) -> AsyncIterator[DiaryPage]:
        """Classes changed since a place, each with everybody in it; the last page only says where to go on.

        A change of a participant changes its class too. Raises Refused, Unavailable.
        """
        zones = await self._zones()
        since = Since(self._wire, self._clock, "getClasses", "classes", "lastModified", place)
        async for page in since.pages():
            for held in page:
                roster = await self._roster(held, self._zone(zones, held))
                yield DiaryPage([roster] if roster else [], since.after(str(held["ID"])))
        yield DiaryPage([], since.end(), last=True)

    async def _roster(self, held: Json, zone: ZoneInfo) -> RosterSeen | None:
        seen_at, class_id = self._clock.now(), str(held["ID"])
        in_it: list[AttendanceSeen] = []
        try:
            async for participants in self._wire.pages("getClassParticipants", "participants", appt_id=class_id):
                in_it += [reading.attendance(held, one, zone, seen_at) for one in participants]
        except Refused as refused:  # deleted since it was listed; one such class must not end the reading of the others
            log.warning("class not readable", session=class_id, code=refused.code)
            return None
        return RosterSeen(provider=reading.WHO, session_id=class_id, attendances=tuple(in_it))

    async def classes_held(self, first: date, last: date) -> AsyncIterator[list[str]]:
        """The ids of all classes on the clinic's days from `first` to `last`. Raises Refused, Unavailable."""
        days = {"date_from": first.isoformat(), "date_to": last.isoformat()}
        async for page in self._wire.pages("getClasses", "classes", **days):
            yield [str(held["ID"]) for held in page]

    async def attendances_of(self, patient_id: str, since: date) -> list[AttendanceSeen]:
        """A patient's places in classes from a day on. Raises Refused, Unavailable.

        A booking carries the patient's own marks; whether the whole class was called off only the class tells.
        """
        zones, seen_at, found = await self._zones(), self._clock.now(), []
        asked = {"patient_id": patient_id, "date_from": since.isoformat()}
        async for page in self._wire.pages("getAppointments", "appointments", **asked):
            for booking in page:
                classes = rows(await self._wire.read("getClasses", class_id=str(booking["ID"])), "classes")
                found += [
                    reading.attendance(held, {**booking, "patientID": patient_id}, self._zone(zones, held), seen_at)
                    for held in classes
                    if str(held["ID"]) == str(booking["ID"])
                ]  # an appointment with nobody else is no class
        return found

    async def patients(self, place: Place) -> AsyncIterator[PatientsPage]:
        """Patients new or changed since a place, in pages; the last one only says where to go on.

        Raises Refused, Unavailable.
        """
        since = Since(self._wire, self._clock, "getPatients", "patients", "DateModified", place)
        async for page in since.pages():
            if page:
                yield PatientsPage([reading.patient(row) for row in page], since.after(str(page[-1]["ID"])))
        yield PatientsPage([], since.end(), last=True)

    async def find_patients(self, *, email: str, last_name: str) -> list[Patient]:
        """The patients with this e-mail address or this family name, each once. Raises Refused, Unavailable."""
        found: dict[str, Patient] = {}
        for asked in ({"email": email}, {"last_name": last_name}):
            async for page in self._wire.pages("searchPatients", "patients", **asked):
                found |= {str(row["ID"]): reading.patient(row) for row in page}
        return list(found.values())

    async def _zones(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        async for page in self._wire.pages("getLocations", "locations"):
            found |= {str(location["ID"]): location.get("Timezone") for location in page}
        return found

    def _zone(self, zones: dict[str, str | None], held: Json) -> ZoneInfo:
        name = zones.get(str(held["locationID"])) or self._timezone
        if name is None:
            raise Refused(f"The zone of Nookal's location {held['locationID']} is not set up.", code="ZONE_UNKNOWN")
        return ZoneInfo(name)
