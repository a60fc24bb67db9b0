"""Whatever happens to invoices, in any order: what is shipped sums to what was paid, and no class is paid twice."""

import asyncio
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.actions import attendances, corrections, invoices, shipments
from models.ports import Outgoing, OutgoingCredit, OutgoingInvoice, OutgoingVoid
from models.rules.corrections import CorrectionState
from models.rules.facts import InvoiceLineSeen
from models.rules.invoicing import Mark, Period, net_paid
from models.rules.refusals import Refusal
from models.rules.states import InvoiceStatus, Provider
from models.tables.course import Attendance
from models.tables.invoice import Correction, Invoice, InvoiceItem, Shipment
from models.tables.setting import ProviderSetting
from tests.build import BY, DAY, NOW, WEEK, Clinic, a_clinic, a_name, a_subscriber, attend, sql, tell

pytestmark = pytest.mark.usefixtures("database")
END = NOW + 4 * WEEK
SYSTEMS = (Provider.NOOKAL, Provider.XERO)

_TWICE = """
SELECT sh.attendance_id FROM allocation_share sh JOIN allocation al ON al.id = sh.allocation_id AND al.current
JOIN invoice i ON i.id = al.invoice_id WHERE i.user_id = $1 GROUP BY 1 HAVING count(*) > 1
"""
_SPREAD = """
SELECT i.amount_paid - i.amount_refunded AS net, al.amount,
    (SELECT sum(sh.amount) FROM allocation_share sh WHERE sh.allocation_id = al.id) AS shares
FROM invoice i JOIN allocation al ON al.invoice_id = i.id AND al.current WHERE i.user_id = $1
"""


@dataclass
class Desk:
    """One person's overlapping memberships, what each was paid, and what stands in the two systems."""

    clinics: list[Clinic]
    paid: list[int]
    refunded: list[int]
    there: dict[tuple[UUID, Provider], dict[str, Outgoing]] = field(default_factory=dict)

    def fact(self, pick: int, status: InvoiceStatus = InvoiceStatus.PAID) -> Any:
        """An invoice as its provider has it: two lines that sum to what was paid."""
        clinic, paid = self.clinics[pick], self.paid[pick]
        end = NOW + (1, 4)[pick] * WEEK
        parts = (("il_1", "Weekly", paid + 7), ("il_2", "Credit", -7))
        lines = tuple(
            InvoiceLineSeen(external_id=i, description=d, amount=a, period=Period(NOW, end), product_id=clinic.product)
            for i, d, a in parts
        )
        taken = paid if status is InvoiceStatus.PAID else 0
        back = self.refunded[pick] if taken else 0
        return clinic.invoiced(taken, end=end, lines=lines, status=status, total=paid, amount_refunded=back)

    async def do(self, deed: str, pick: int, much: int) -> None:
        """One thing that may happen; a refusal is an answer."""
        mine = pick % 2
        clinic, at = self.clinics[0], END
        by: dict[str, Any] = {"acting": BY, "at": at}
        seats = await Attendance.filter(user_id=clinic.user.id).order_by("id")
        invoice = await self.clinics[mine].invoice()
        try:
            if deed == "attend":
                mark = (Mark.BOOKED, Mark.ATTENDED, Mark.DNA, Mark.CANCELLED)[much % 4]
                number = pick % 9 + 1
                await attend(clinic.seat(number, NOW + number * DAY, mark, invoiced=much % 7 == 0), at=at)
            elif deed == "refund":
                self.refunded[mine] = min(self.paid[mine], much)
                await tell(self.fact(mine), at=at)
            elif deed == "lose":
                await tell(self.fact(mine, InvoiceStatus.OPEN), at=at)
            elif deed == "choose" and seats:
                await attendances.choose_invoice(seats[pick % len(seats)].id, invoice.id, **by)
            elif deed == "bill":
                await invoices.bill_off(invoice.id, **by)
            elif deed == "correct":
                for each in await Correction.filter(invoice_id=invoice.id, state=CorrectionState.OPEN):
                    await corrections.apply_correction(each.id, **by)
            elif deed == "ship":
                await self.ship(invoice)
        except Refusal:
            return

    async def ship(self, invoice: Invoice) -> None:
        """Everything that waits arrives, in its order."""
        for system in SYSTEMS:
            held = self.there.setdefault((invoice.id, system), {})
            while out := await shipments.begin_shipment(invoice.id, system, acting=BY, at=END):
                number = a_name(system)
                if isinstance(out, OutgoingVoid):
                    assert held.keys() == {out.external_id, *out.credit_notes}, "all of it is voided, nothing else"
                    held.clear()
                else:
                    held[number] = out
                await shipments.shipped(invoice.id, system, external_id=number, acting=BY, at=END)

    async def check(self) -> None:
        """The sums."""
        user_id = self.clinics[0].user.id
        assert await sql(_TWICE, user_id) == []
        for row in await sql(_SPREAD, user_id):
            assert row["amount"] == row["net"] == (row["net"] if row["shares"] is None else row["shares"])
        for clinic in self.clinics:
            await self.check_standing(await clinic.invoice())

    async def check_standing(self, invoice: Invoice) -> None:
        if not await Shipment.exists(invoice_id=invoice.id) or await shipments.awaited(invoice.id, Provider.NOOKAL):
            return
        if await shipments.awaited(invoice.id, Provider.XERO):
            return
        practice, books = (list(self.there[invoice.id, system].values()) for system in SYSTEMS)
        if invoice.status is not InvoiceStatus.PAID:
            assert practice == books == []
            return
        (itemised,) = practice
        assert isinstance(itemised, OutgoingInvoice)
        assert sum(item.amount for item in itemised.items) == net_paid(invoice.amount_paid, invoice.amount_refunded)
        (plain,) = (each for each in books if isinstance(each, OutgoingInvoice))
        lines = await InvoiceItem.filter(invoice_id=invoice.id).order_by("position")
        assert [item.amount for item in plain.items] == [row.amount for row in lines]
        notes = [each.credit.items[0].amount for each in books if isinstance(each, OutgoingCredit)]
        assert len(notes) == len(books) - 1
        assert all(amount > 0 for amount in notes)
        stayed = sum(item.amount for item in plain.items) - sum(notes)
        assert stayed == sum(item.amount for item in itemised.items), "the books and the practice come to the same"


DEEDS = ("attend", "attend", "attend", "refund", "lose", "choose", "bill", "correct", "ship")


@given(
    st.lists(st.tuples(st.sampled_from(DEEDS), st.integers(0, 17), st.integers(0, 90_00)), min_size=4, max_size=24),
    st.integers(0, 200_00),
    st.integers(0, 200_00),
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_shipped_sums_to_what_was_paid(
    loop: asyncio.AbstractEventLoop, story: list[tuple[str, int, int]], first: int, second: int
) -> None:
    async def tell_it() -> None:
        await ProviderSetting.get_or_create(provider=Provider.XERO, defaults={"secrets": "sealed"})
        weekly = await a_subscriber()
        monthly = await a_clinic(beside=weekly)
        await tell(monthly.subscribed())
        desk = Desk([weekly, monthly], [first, second], [0, 0])
        await tell(desk.fact(0), desk.fact(1))
        for deed, pick, much in story:
            await desk.do(deed, pick, much)
            await desk.check()
        for deed in ("bill", "ship", "correct", "ship"):
            for pick in (0, 1):
                await desk.do(deed, pick, 0)
        await desk.check()

    loop.run_until_complete(tell_it())
