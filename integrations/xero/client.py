"""Xero: sales invoices under our own numbers.

A number is unique for sales invoices, so a second PUT of the same one is refused (a POST would overwrite in silence):
that, and not the idempotency key, which Xero keeps for six minutes, is what keeps an invoice from being there twice.
"""

from decimal import Decimal
from typing import Any
from urllib.parse import quote

import orjson

from integrations.xero.session import Session
from models.ports import OutgoingInvoice, Refused, ShippedItem
from models.rules.money import decimal_text

DELETED = "DELETED"
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
        wanted = {
            "Type": "ACCREC",
            "Status": "AUTHORISED",
            "InvoiceNumber": invoice.reference,
            "Contact": {"ContactID": await self._contact(invoice)},
            "Date": invoice.issued_on.isoformat(),
            "DueDate": invoice.issued_on.isoformat(),
            "CurrencyCode": invoice.currency,
            "LineAmountTypes": self._line_amount_types,
            "LineItems": [self._line(item, invoice.currency) for item in invoice.items],
        }
        try:
            (created,) = await self._session.put("Invoices", [wanted], invoice.reference)
        except Refused:
            known = await self._named(invoice.reference)
            if known is None or not self._same(known, invoice):
                raise
            return str(known["InvoiceID"])
        return str(created["InvoiceID"])

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
        summed = known["SubTotal" if self._line_amount_types == "Exclusive" else "Total"]
        ours = Decimal(decimal_text(lines, invoice.currency))
        return bool(known["CurrencyCode"] == invoice.currency and Decimal(summed) == ours)

    async def _named(self, number: str) -> Json | None:
        found = (await self._session.read("/Invoices", InvoiceNumbers=number)).get("Invoices") or []
        return next((one for one in found if one["InvoiceNumber"] == number and one["Status"] != DELETED), None)

    # -- contacts ----------------------------------------------------------------------------------------------------

    async def _contact(self, invoice: OutgoingInvoice) -> str:
        """Our customer -> the ContactID: by our number, else by name and e-mail, else a new contact.

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


def _fold(text: str | None) -> str:
    return (text or "").strip().casefold()
