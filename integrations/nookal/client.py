"""Nookal: what changed in the clinic's diary, and the invoices itemised by class.

Nookal sends no webhooks and knows no idempotency: changes are polled, and our reference in an invoice's notes is how a
shipped one is found again.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS, Effect
from integrations.nookal.wire import API_BASE, Wire, results, rows
from integrations.pace import Free
from models.ports import Clock, OutgoingInvoice, OutgoingVoid, Refused, ShippedItem, StandingInvoice
from models.rules.facts import AttendanceSeen, Fact
from models.rules.invoicing import Mark
from models.rules.money import decimal_text, from_decimal
from models.rules.states import Provider

WHO = Provider.NOOKAL.value
UNKNOWN = "L005"
Json = dict[str, Any]

# Flag of a participant, the first that is set -> how the attendance stands.
MARKS = {"cancelled": Mark.CANCELLED, "DNA": Mark.DNA, "arrived": Mark.ATTENDED}


class Nookal:
    """PracticeSystem of one clinic; it belongs to the event loop it was made in."""

    def __init__(
        self,
        api_key: str,
        clock: Clock,
        *,
        api_base: str = API_BASE,
        location_id: str | None = None,
        timezone: str | None = None,
        answer_seconds: float = ANSWER_SECONDS,
        reach: Reach | None = None,
        pace: Free | None = None,
    ) -> None:
        """Key, clock, address of the API; the location of invoices that name none; the zone of locations without."""
        self._clock, self._location_id, self._timezone = clock, location_id, timezone
        self._wire = Wire(api_key, api_base=api_base, answer_seconds=answer_seconds, reach=reach, pace=pace)

    async def close(self) -> None:
        """Give the connections back."""
        await self._wire.close()

    # -- the diary ---------------------------------------------------------------------------------------------------

    async def changes(self, since: datetime | None) -> AsyncIterator[Sequence[Fact]]:
        """Classes changed since an instant and everybody in them, a class with its attendances at a time.

        A change of a participant changes its class too. Raises Refused, Unavailable.
        """
        zones = await self._zones()
        changed = {} if since is None else {"last_modified": since.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")}
        async for page in self._wire.pages("getClasses", "classes", **changed):
            for held in page:
                seen_at = self._clock.now()
                in_it: list[Fact] = []
                async for participants in self._wire.pages("getClassParticipants", "participants", appt_id=held["ID"]):
                    in_it += [_attendance(held, one, self._zone(zones, held), seen_at) for one in participants]
                yield in_it

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

    # -- invoices ----------------------------------------------------------------------------------------------------

    async def find_invoice(self, invoice: OutgoingInvoice) -> str | None:
        """The id of the patient's standing invoice with our reference in its notes. Raises Refused, Unavailable."""
        patient = _patient(invoice)
        async for page in self._wire.pages("getInvoices", "invoices", patient_id=patient, expanded="1", void="0"):
            for row in page:
                if invoice.reference in str(row.get("invoiceNotes") or "").split():
                    return str(row["ID"])
        return None

    async def ship(self, invoice: OutgoingInvoice) -> str:
        """Add the invoice -> its id. Sent once: sent twice it would be two.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        location = invoice.location_ref or self._location_id
        if location is None:
            raise Refused("The invoice names no location, and none is set up.", code="LOCATION_UNKNOWN")
        form = {
            "location_id": location,
            "patient_id": _patient(invoice),
            "date": invoice.issued_on.isoformat(),
            "invoice_notes": invoice.reference,
        }
        for number, item in enumerate(invoice.items):
            fields = await self._item(item, invoice.currency)
            form |= {f"items[{number}][{name}]": value for name, value in fields.items()}
        added = (await self._wire.write("addInvoice", form)).get("invoice")
        if not isinstance(added, dict) or not added.get("ID"):
            raise Effect.WRITE.lost("Nookal did not say which invoice it added.")
        return str(added["ID"])

    async def void(self, document: OutgoingVoid) -> None:
        """Delete the invoice, which Nookal keeps as void; one that is void already stays so.

        Raises Refused, Unavailable, OutcomeUnknown.
        """
        stands = await self.standing(document.external_id, "")
        if stands is None or not stands.voided:
            await self._wire.write("deleteInvoice", {"invoice_id": document.external_id})

    async def standing(self, external_id: str, currency: str) -> StandingInvoice | None:
        """An invoice as it stands there, None where there is none. Raises Refused, Unavailable."""
        try:
            row = results(await self._wire.read("getInvoice", invoice_id=external_id)).get("invoice")
        except Refused as refused:
            if refused.code != UNKNOWN:
                raise
            return None
        if not isinstance(row, dict):
            return None
        total = from_decimal(str(row["totalDebits"]), currency) if currency else 0
        return StandingInvoice(str(row["ID"]), currency, total, _set(row, "void"))

    async def _item(self, item: ShippedItem, currency: str) -> dict[str, str]:
        fields = {"name": item.description, "qty": "1", "amount": decimal_text(item.amount, currency)}
        if item.session_ref is None:
            return {"type": "AdHoc", **fields}
        found = rows(await self._wire.read("getClasses", class_id=item.session_ref), "classes")
        if not found:
            raise Refused(f"Nookal knows no class {item.session_ref}.", code="CLASS_UNKNOWN")
        kind = str(found[0]["appointmentTypeID"])
        return {"type": "Class", "item_id": kind, "appt_id": item.session_ref, **fields}


def _patient(invoice: OutgoingInvoice) -> str:
    if invoice.customer_ref is None:
        raise Refused(f"{invoice.customer_name} is linked to no patient.", code="PATIENT_UNLINKED")
    return invoice.customer_ref


def _attendance(held: Json, participant: Json, zone: ZoneInfo, seen_at: datetime) -> AttendanceSeen:
    """A participant has no id of its own: class and patient name it. In a cancelled class everybody is cancelled."""
    starts_at, ends_at = _times(held, zone)
    mark = next((mark for flag, mark in MARKS.items() if _set(participant, flag)), Mark.BOOKED)
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
        mark=Mark.CANCELLED if _set(held, "cancelled") else mark,
        seen_at=seen_at,
        invoiced=_set(participant, "invoiceGenerated"),
    )


def _times(held: Json, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """A class's day and times in its location's zone -> two UTC instants; a class may run past midnight."""
    at: Callable[[str], datetime] = partial(_local, held["appointmentDate"])
    starts, ends = at(held["appointmentStartTime"]), at(held["appointmentEndTime"])
    if ends <= starts:
        ends += timedelta(days=1)
    return starts.replace(tzinfo=zone).astimezone(UTC), ends.replace(tzinfo=zone).astimezone(UTC)


def _local(day: str, time_of_day: str) -> datetime:
    return datetime.fromisoformat(f"{day} {time_of_day}")


def _set(row: Json, flag: str) -> bool:
    return str(row.get(flag)) == "1"
