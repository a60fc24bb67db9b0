"""Nookal: what changed in the clinic's diary, and the invoices itemised by class.

Nookal sends no webhooks and knows no idempotency: changes are polled, and our reference in an invoice's notes is how a
shipped one is found again.
"""

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS, Effect
from integrations.nookal.diary import Diary
from integrations.nookal.reading import is_set
from integrations.nookal.wire import API_BASE, Wire, results
from integrations.pace import Free
from models.ports import Clock, OutgoingInvoice, OutgoingVoid, Refused, ShippedItem, StandingInvoice
from models.rules.money import decimal_text, from_decimal

UNKNOWN = "L005"


class Nookal(Diary):
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
        self._location_id = location_id
        wire = Wire(api_key, api_base=api_base, answer_seconds=answer_seconds, reach=reach, pace=pace)
        super().__init__(wire, clock, timezone)

    async def close(self) -> None:
        """Give the connections back."""
        await self._wire.close()

    # -- invoices ----------------------------------------------------------------------------------------------------

    async def find_invoice(self, invoice: OutgoingInvoice) -> str | None:
        """The id of the patient's standing invoice with our reference in its notes. Raises Refused, Unavailable."""
        for patient in dict.fromkeys((_patient(invoice), *invoice.known_as)):
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
            fields = _item(item, invoice.currency)
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
        return StandingInvoice(str(row["ID"]), currency, total, is_set(row, "void"))


def _patient(invoice: OutgoingInvoice) -> str:
    if invoice.customer_ref is None:
        raise Refused(f"{invoice.customer_name} is linked to no patient.", code="PATIENT_UNLINKED")
    return invoice.customer_ref


def _item(item: ShippedItem, currency: str) -> dict[str, str]:
    fields = {"name": item.description, "qty": "1", "amount": decimal_text(item.amount, currency)}
    if item.session_ref is None:
        return {"type": "AdHoc", **fields}
    if item.class_type_ref is None:
        raise Refused(f"Of which type class {item.session_ref} is, is not known.", code="CLASS_UNKNOWN")
    return {"type": "Class", "item_id": item.class_type_ref, "appt_id": item.session_ref, **fields}
