"""Xero: sales invoices under our own numbers.

A number is unique for sales invoices, so a second PUT of the same one is refused (a POST would overwrite in silence):
that, and not the idempotency key, which Xero keeps for six minutes, is what keeps an invoice from being there twice.
"""

from collections.abc import Sequence
from decimal import Decimal
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import orjson

from integrations.xero.session import Session, refusal_of
from models.ports import OutgoingCredit, OutgoingInvoice, OutgoingVoid, Refused, ShippedItem, StandingInvoice
from models.rules.money import decimal_text, from_decimal

DELETED = "DELETED"
GONE = ("VOIDED", DELETED)
LONGEST_CONTACT_NUMBER = 50
Json = dict[str, Any]


class Xero:
    """AccountingSystem: one organisation's ledger."""

    def __init__(
        self,
        session: Session,
        *,
        account_code: str,
        tax_type: str | None = None,
        line_amount_types: str = "Inclusive",
    ) -> None:
        """The session; the revenue account of each line; its tax type, else the account's; whether amounts hold tax."""
        self._session, self._account_code = session, account_code
        self._tax_type, self._line_amount_types = tax_type, line_amount_types
        self._contacts: dict[tuple[str, str, str], str] = {}

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()

    async def find_invoice(self, invoice: OutgoingInvoice) -> str | None:
        """The id of the invoice with our number; one voided since counts, a deleted one gave its number free.

        Raises Refused, Unavailable.
        """
        known = await self._named(invoice.reference)
        return known["InvoiceID"] if known else None

    async def ship(self, invoice: OutgoingInvoice) -> str:
        """Create the invoice, approved -> its id; the id of the one there already where it is the same.

        Raises Refused (Xero's own sentences), Unavailable, RateLimited, OutcomeUnknown.
        """
        (shipped,) = await self.ship_all([invoice])
        if isinstance(shipped, Refused):
            raise shipped
        return shipped

    async def ship_all(self, invoices: Sequence[OutgoingInvoice]) -> list[str | Refused]:
        """Create the invoices in one call -> for each its id, or why it was refused, which is nothing to the others.

        Raises Unavailable, RateLimited, OutcomeUnknown, and Refused where Xero refused the whole call.
        """
        answers: dict[str, str | Refused] = {}
        wanted: list[Json] = []
        for invoice in invoices:
            try:
                wanted.append(self._wanted(invoice, await self._contact(invoice)))
            except Refused as refused:
                answers[invoice.reference] = refused
        sent = [invoice for invoice in invoices if invoice.reference not in answers]
        if sent:
            written = await self._session.put_each("Invoices", wanted, _key(sent))
            for invoice, one in zip(sent, written, strict=True):
                answers[invoice.reference] = await self._answer(invoice, one)
        return [answers[invoice.reference] for invoice in invoices]

    async def _answer(self, invoice: OutgoingInvoice, one: Json) -> str | Refused:
        refused = refusal_of(one)
        if refused is None:
            return str(one["InvoiceID"])
        self._contacts.pop(_who(invoice), None)  # it may have been archived since
        known = await self._named(invoice.reference)
        return refused if known is None or not self._same(known, invoice) else str(known["InvoiceID"])

    def _wanted(self, invoice: OutgoingInvoice, contact_id: str) -> Json:
        return {
            "Type": "ACCREC",
            "Status": "AUTHORISED",
            "InvoiceNumber": invoice.reference,
            "Contact": {"ContactID": contact_id},
            "Date": invoice.issued_on.isoformat(),
            "DueDate": invoice.issued_on.isoformat(),
            "CurrencyCode": invoice.currency,
            "LineAmountTypes": self._line_amount_types,
            "LineItems": [self._line(item, invoice.currency) for item in invoice.items],
        }

    # -- putting right -----------------------------------------------------------------------------------------------

    async def void(self, document: OutgoingVoid) -> None:
        """Void the credit notes, then the invoice; what is void already stays so.

        Raises Refused (one that is paid is not voided: the payment goes first), Unavailable, OutcomeUnknown.
        """
        for note in document.credit_notes:
            await self._void("CreditNotes", "CreditNoteID", note, document.reference)
        await self._void("Invoices", "InvoiceID", document.external_id, document.reference)

    async def _void(self, plural: str, name: str, object_id: str, reference: str) -> None:
        found = (await self._session.read(f"/{plural}/{object_id}")).get(plural) or [{}]
        if found[0].get("Status") not in GONE:
            await self._session.post(
                plural, object_id, {name: object_id, "Status": "VOIDED"}, f"{reference}:{object_id}"
            )

    async def credit(self, note: OutgoingCredit) -> str:
        """Create the credit note, approved, under our number -> its id; one that is there already is not doubled.

        It is set against no invoice: whether its money went back or is still owed there, the bookkeeper sees.
        Raises Refused, Unavailable, OutcomeUnknown.
        """
        given = note.credit
        query = f'CreditNoteNumber=="{given.reference}"'
        for known in (await self._session.read("/CreditNotes", where=query)).get("CreditNotes") or ():
            if known["Status"] not in GONE:
                return str(known["CreditNoteID"])
        wanted = self._wanted(given, await self._contact(given))
        named = {"Type": "ACCRECCREDIT", "CreditNoteNumber": wanted.pop("InvoiceNumber"), "Reference": note.against}
        del wanted["DueDate"]
        (made,) = await self._session.put("CreditNotes", [wanted | named], given.reference)
        return str(made["CreditNoteID"])

    async def standing(self, external_id: str, currency: str) -> StandingInvoice | None:
        """An invoice as it stands there, None where there is none. Raises Refused, Unavailable."""
        found = (await self._session.read(f"/Invoices/{external_id}")).get("Invoices") or []
        if not found:
            return None
        (known,) = found
        total = from_decimal(f"{Decimal(self._summed(known)):f}", known["CurrencyCode"])
        return StandingInvoice(external_id, known["CurrencyCode"], total, known["Status"] in GONE)

    def _summed(self, known: Json) -> Any:
        return known["SubTotal" if self._line_amount_types == "Exclusive" else "Total"]

    def _line(self, item: ShippedItem, currency: str) -> Json:
        line = {
            "Description": item.description,
            "Quantity": 1,
            "UnitAmount": orjson.Fragment(decimal_text(item.amount, currency).encode()),
            "AccountCode": self._account_code,
        }
        return line if self._tax_type is None else line | {"TaxType": self._tax_type}

    def _same(self, known: Json, invoice: OutgoingInvoice) -> bool:
        """Whether the invoice under our number is the one to be shipped: the same currency and the same sum."""
        lines = sum(item.amount for item in invoice.items)
        ours = Decimal(decimal_text(lines, invoice.currency))
        return bool(known["CurrencyCode"] == invoice.currency and Decimal(self._summed(known)) == ours)

    async def _named(self, number: str) -> Json | None:
        found = (await self._session.read("/Invoices", InvoiceNumbers=number)).get("Invoices") or []
        return next((one for one in found if one["InvoiceNumber"] == number and one["Status"] != DELETED), None)

    # -- contacts ----------------------------------------------------------------------------------------------------

    async def _contact(self, invoice: OutgoingInvoice) -> str:
        """Our customer -> the ContactID, looked for once: a batch cut short by a limit goes on where it was."""
        who = _who(invoice)
        if who not in self._contacts:
            self._contacts[who] = await self._found_contact(invoice)
        return self._contacts[who]

    async def _found_contact(self, invoice: OutgoingInvoice) -> str:
        """By our number, else by name and e-mail, else a new contact.

        A name belongs to one active contact, so the second person of a name carries the e-mail in it.
        """
        number = (invoice.customer_ref or "")[:LONGEST_CONTACT_NUMBER]
        name, email = invoice.customer_name, invoice.customer_email
        with_email = f"{name} ({email})"
        if number and (known := (await self._session.read(f"/Contacts/{quote(number, safe='')}")).get("Contacts")):
            return str(known[0]["ContactID"])
        alike = await self._session.read("/Contacts", searchTerm=email or name, page="1", pageSize="100")
        for one in alike.get("Contacts") or ():
            if _fold(one.get("EmailAddress")) == _fold(email) and _fold(one["Name"]) in (
                _fold(name),
                _fold(with_email),
            ):
                return str(one["ContactID"])
        taken = await self._session.read("/Contacts", searchTerm=name, page="1", pageSize="100")
        free = all(_fold(one["Name"]) != _fold(name) for one in taken.get("Contacts") or ())
        wanted = {"Name": name if free else with_email, "EmailAddress": email}
        key = f"{invoice.reference}:contact"
        (made,) = await self._session.put("Contacts", [wanted | ({"ContactNumber": number} if number else {})], key)
        return str(made["ContactID"])


def _who(invoice: OutgoingInvoice) -> tuple[str, str, str]:
    return invoice.customer_ref or "", _fold(invoice.customer_name), _fold(invoice.customer_email)


def _key(invoices: Sequence[OutgoingInvoice]) -> str:
    """One invoice goes by its number; several by what they are, for the key is bound to the whole of a call."""
    references = "\n".join(invoice.reference for invoice in invoices)
    return references if len(invoices) == 1 else f"batch:{sha256(references.encode()).hexdigest()}"


def _fold(text: str | None) -> str:
    return (text or "").strip().casefold()
