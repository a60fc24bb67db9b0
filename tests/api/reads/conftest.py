"""A small leisure centre in a database of the module's own, and two ways to ask about it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from inspect import isawaitable
from types import SimpleNamespace
from typing import Any, ClassVar
from uuid import UUID

import asyncpg
import orjson
import pytest
import strawberry
from cryptography.fernet import Fernet
from graphql import GraphQLError, execute, parse, validate
from tortoise import Tortoise

from models.actions.billing_policy import POLICY_ID
from models.actions.vault import Vault
from models.rules import booking, corrections, invoicing, lifecycle, pricing
from models.rules import states as words
from models.rules.ledger import MOVEMENTS, Movement
from models.rules.timetable import ClassState
from models.tables.audit import AuditEntry
from models.tables.booking import Booking, BookingLine, WaitingPlace
from models.tables.centre import Centre, SettingGroup
from models.tables.config import tortoise_config
from models.tables.connections import Connections
from models.tables.course import AccessToken, Attendance, ClassSession, Course
from models.tables.coursepro import CourseMapping, Drift, ProbeRun, ReviewItem, UserSync
from models.tables.inbox import InboxEvent
from models.tables.invoice import Allocation, AllocationShare, Correction, Invoice, InvoiceItem, Shipment
from models.tables.job import Job
from models.tables.membership import (
    ClassType,
    Coverage,
    Mandate,
    Membership,
    MembershipType,
    PaymentOption,
    Subscription,
)
from models.tables.notification import Notification
from models.tables.package import CreditEntry, Package, PackageOffer
from models.tables.partner import WebhookEndpoint, WebhookMessage
from models.tables.payment import Payment, Refund
from models.tables.pricing import PriceOverride, PricingOption
from models.tables.setting import ApiKey, BillingPolicy, ProviderSetting
from models.tables.user import ExternalLink, User, UserField
from resolvers.reads.run import Reader
from resolvers.viewer import Viewer
from schema.root import schema as whole_schema

VAULT = Vault(Fernet.generate_key().decode())
NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
ANN, BEN = UUID(int=1), UUID(int=2)


def at(day: int, hour: int = 18) -> datetime:
    """An hour of a day in January 2026."""
    return datetime(2026, 1, day, hour, tzinfo=UTC)


def a(role: words.Role, user_id: UUID | None = None, *scopes: str) -> Viewer:
    """A caller."""
    return Viewer(role, user_id, UUID(int=9000), role.value.lower(), frozenset(scopes))


VIEWERS = {
    "admin": a(words.Role.ADMIN),
    "finance": a(words.Role.FINANCE),
    "desk": a(words.Role.FRONT_DESK),
    "partner": a(words.Role.PARTNER),
    "partner_money": a(words.Role.PARTNER, None, "money:read"),
    "member": a(words.Role.MEMBER, ANN),
    "other member": a(words.Role.MEMBER, BEN),
}


class Counting(asyncpg.Connection):  # type: ignore[misc]  # asyncpg is untyped
    """A connection that remembers what was asked of it."""

    sent: ClassVar[list[str]] = []

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """As usual."""
        self.sent.append(query)
        return await super().fetchval(query, *args, **options)


@dataclass
class Asker:
    """Asks by plans (`answer`) and by graphql-core's walk over trees (`walk`), as one of the viewers."""

    reader: Reader
    schema: strawberry.Schema

    async def answer(self, query: str, viewer: str = "admin", **variables: Any) -> str | None:
        """The finished body, None where graphql-core has to answer."""
        body = await self.reader.answer(query, variables, None, VIEWERS[viewer])
        return None if body is None else body.decode()

    async def data(self, query: str, viewer: str = "admin", **variables: Any) -> Any:
        """The data of the finished body."""
        body = await self.answer(query, viewer, **variables)
        assert body is not None, f"not covered by plans: {query}"
        return orjson.loads(body)["data"]

    async def walk(self, query: str, viewer: str = "admin", **variables: Any) -> str:
        """The same body made by graphql-core. Raises the first error."""
        data, errors = await self.result(query, viewer, **variables)
        for error in errors:
            raise error
        return orjson.dumps({"data": data}).decode()

    async def result(self, query: str, viewer: str = "admin", **variables: Any) -> tuple[Any, list[GraphQLError]]:
        """What graphql-core answers, errors and all."""
        document = parse(query)
        assert not (wrong := validate(self.schema._schema, document)), wrong
        clock = SimpleNamespace(now=lambda: NOON)
        context = SimpleNamespace(viewer=VIEWERS[viewer], reader=self.reader, clock=clock, vault=VAULT)
        result = execute(self.schema._schema, document, variable_values=variables, context_value=context)
        done = await result if isawaitable(result) else result
        return done.data, list(done.errors or ())


@pytest.fixture(scope="module")
async def ask(database_url: str) -> AsyncIterator[Asker]:
    """The asker, over a database with the rows below."""
    await Tortoise.init(config=tortoise_config(database_url), _enable_global_fallback=True)
    await people()
    await catalogue()
    await memberships()
    await courses()
    await invoices()
    await operations()
    connection = await asyncpg.connect(database_url)
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE column_name = 'updated_at'"
    )
    for (table,) in tables:
        await connection.execute(f"UPDATE {table} SET created_at = $1, updated_at = $1", NOON)
    await entries(connection)
    await connection.close()
    reader = await Reader.open(database_url, whole_schema, "a key for cursors")
    yield Asker(reader, whole_schema)
    await reader.close()
    await Tortoise.close_connections()


@pytest.fixture
async def counted(ask: Asker, database_url: str) -> AsyncIterator[Asker]:
    """An asker whose statements are remembered."""
    pool = Connections(database_url, 1, connection_class=Counting)
    Counting.sent.clear()
    yield Asker(Reader(whole_schema, pool, b"a key for cursors"), whole_schema)
    await pool.close()


@pytest.fixture
def sent(counted: Asker) -> list[str]:
    """The statements of the counted asker."""
    return Counting.sent


@pytest.fixture(scope="module")
def viewers() -> dict[str, Viewer]:
    """One caller of each kind; the member is Ann."""
    return VIEWERS


async def people() -> None:
    """Ann and Ben."""
    for number, first, last in ((1, "Ann", 'O"Neil'), (2, "Ben", "Ågren")):
        email = f"{first}@Example.org"
        await User.create(
            id=UUID(int=number), first_name=first, last_name=last, email=email, email_key=email.lower(),
            date_of_birth=date(2001, 2, 3) if first == "Ann" else None, fields_={"allergy": "nuts"},
        )  # fmt: skip
        await ExternalLink.create(
            id=UUID(int=10 + number), user_id=UUID(int=number), provider=words.Provider.STRIPE, kind="customer",
            external_id=f"cus_{number}", evidence={"email": "same"},
        )  # fmt: skip
        await Notification.create(
            id=UUID(int=20 + number),
            user_id=UUID(int=number),
            kind="PAYMENT_FAILED",
            cause=f"payment {number}",
            text="…",
        )
        await UserSync.create(
            id=UUID(int=33 + number), user_id=UUID(int=number), told={"first_name": first} if first == "Ann" else {}
        )
    record: dict[str, Any] = {"provider": words.Provider.COURSEPRO, "kind": "user"}
    await ExternalLink.create(id=UUID(int=13), user_id=BEN, external_id="cp_2", **record)
    asked: dict[str, Any] = {"kind": words.ReviewKind.USER_MATCH, "provider": words.Provider.COURSEPRO}
    found = {"candidates": [str(ANN), str(BEN)], "given": {"first_name": "A"}, "compared": {}}
    await ReviewItem.create(id=UUID(int=36), subject="cp_9", evidence=found, **asked)
    await UserField.create(id=UUID(int=30), name="allergy", label="Allergies")


async def catalogue() -> None:
    """A centre in a group, a price with an override, a membership type and a class type."""
    await SettingGroup.create(id=UUID(int=40), name="Shire")
    await Centre.create(
        id=UUID(int=41), name="North", zone="Europe/London", currency="GBP", setting_group_id=UUID(int=40)
    )
    await Centre.create(id=UUID(int=42), name="East", zone="Asia/Tokyo", currency="JPY")
    await PricingOption.create(
        id=UUID(int=50), name="Swimming", option_type=pricing.OptionType.STANDARD,
        frequency=pricing.Frequency.RECURRING, amount=2000, currency="GBP",
    )  # fmt: skip
    await PriceOverride.create(
        id=UUID(int=51), pricing_option_id=UUID(int=50), setting_group_id=UUID(int=40), amount=1850,
        effective_from=date(2026, 1, 1),
    )  # fmt: skip
    await ClassType.create(id=UUID(int=52), name="Lane swimming", practice_id="ct_1")
    await MembershipType.create(
        id=UUID(int=53), name="Gold", integration=pricing.Integration.NONE, kind=pricing.MembershipKind.ONGOING
    )
    await PaymentOption.create(id=UUID(int=54), membership_type_id=UUID(int=53), pricing_option_id=UUID(int=50))
    await CourseMapping.create(
        id=UUID(int=56), course_ref="SWIM-1", pricing_option_id=UUID(int=50), membership_type_id=UUID(int=53),
        centre_id=UUID(int=41), verified_at=NOON,
    )  # fmt: skip
    await Drift.create(
        id=UUID(int=57), provider=words.Provider.COURSEPRO, subject_type="Membership", subject_id=UUID(int=61),
        field="price", ours="2061", theirs="1", cause="cart:1:0", at=NOON,
    )  # fmt: skip
    await Coverage.create(
        id=UUID(int=55), membership_type_id=UUID(int=53), class_type_id=UUID(int=52), covered_from=at(1)
    )


async def memberships() -> None:
    """Ann's three memberships with a mandate and a failed payment, Ben's one with a card subscription."""
    await Mandate.create(
        id=UUID(int=60), user_id=ANN, provider=words.Provider.GOCARDLESS, external_id="MD1",
        authorisation_url="https://pay.example/1", status=words.MandateStatus.ACTIVE,
    )  # fmt: skip
    for number, user, status in (
        (61, ANN, "ACTIVE"),
        (62, ANN, "SUSPENDED"),
        (63, ANN, "PENDING"),
        (64, BEN, "ACTIVE"),
    ):
        await Membership.create(
            id=UUID(int=number), user_id=user, membership_type_id=UUID(int=53), centre_id=UUID(int=41),
            pricing_option_id=UUID(int=50), mandate_id=UUID(int=60) if user == ANN else None, amount=2000 + number,
            currency="GBP", status=lifecycle.Status(status), starts_on=date(2026, 1, number - 60),
        )  # fmt: skip
    await Payment.create(
        id=UUID(int=70), user_id=ANN, purpose=words.PaymentPurpose.MEMBERSHIP_FEE, membership_id=UUID(int=62),
        mandate_id=UUID(int=60), provider=words.Provider.GOCARDLESS, amount=2062, currency="GBP",
        status=words.PaymentStatus.FAILED, due_on=date(2026, 1, 2), key="payment:70:1", failure="insufficient_funds",
    )  # fmt: skip
    await Refund.create(
        id=UUID(int=71), payment_id=UUID(int=70), user_id=ANN, provider=words.Provider.GOCARDLESS, amount=562,
        currency="GBP", status=words.RefundStatus.SUCCEEDED, reason="Pool shut", key="refund:71:1", reference="RF1",
    )  # fmt: skip
    await Refund.create(
        id=UUID(int=72), payment_id=UUID(int=70), user_id=ANN, provider=words.Provider.GOCARDLESS, amount=1000,
        currency="GBP", status=words.RefundStatus.FAILED, reason="Pool shut", key="refund:72:1", failure="bounced",
    )  # fmt: skip
    await Subscription.create(
        id=UUID(int=75), provider=words.Provider.STRIPE, external_id="sub_1", customer="cus_2", product="prod_1",
        status=words.SubscriptionStatus.ACTIVE, user_id=BEN, membership_id=UUID(int=64),
    )  # fmt: skip


async def courses() -> None:
    """A course of three classes, one deleted; Ann's booking by package, with a token for a class."""
    await Course.create(
        id=UUID(int=80), name="Beginners", centre_id=UUID(int=41), class_type_id=UUID(int=52),
        pricing_option_id=UUID(int=50), pricing=booking.Pricing.FULL_RATE, capacity=8,
    )  # fmt: skip
    for number in (81, 82, 83):
        await ClassSession.create(
            id=UUID(int=number), course_id=UUID(int=80), class_type_id=UUID(int=52), centre_id=UUID(int=41),
            starts_at=at(number - 70), ends_at=at(number - 70, 19), deleted_at=NOON if number == 82 else None,
        )  # fmt: skip
    await PackageOffer.create(id=UUID(int=79), name="Ten classes", pricing_option_id=UUID(int=50), credits=10)
    await Package.create(id=UUID(int=85), user_id=ANN, name="Ten classes", offer_id=UUID(int=79), valid_from=at(1))
    await Booking.create(
        id=UUID(int=86), course_id=UUID(int=80), user_id=ANN, method=booking.Method.PACKAGE,
        status=words.BookingStatus.CONFIRMED, credits=2, charge=0, currency="GBP",
        because=[{"rule": "R116", "text": "a credit each", "figures": {"classes": 2}}],
    )  # fmt: skip
    await CreditEntry.create(id=UUID(int=87), package_id=UUID(int=85), delta=10, reason="GRANT")
    await CreditEntry.create(
        id=UUID(int=88), package_id=UUID(int=85), booking_id=UUID(int=86), delta=-2, reason="BOOKING"
    )
    await BookingLine.create(
        id=UUID(int=84), booking_id=UUID(int=86), class_session_id=UUID(int=81), state=ClassState.FUTURE, share=1000,
        settled_by=booking.SettledBy.CREDIT, because="R116: a credit each",
    )  # fmt: skip
    for number, user, state in ((96, BEN, "OFFERED"), (97, ANN, "WAITING")):
        await WaitingPlace.create(
            id=UUID(int=number), course_id=UUID(int=80), user_id=user,
            state=words.WaitingState(state), offered_until=at(6) if state == "OFFERED" else None,
        )  # fmt: skip
    for number, user in ((90, ANN), (91, BEN)):
        await Attendance.create(
            id=UUID(int=number), class_session_id=UUID(int=81), user_id=user, mark=invoicing.Mark.ATTENDED,
            source=words.AttendanceSource.DUEFLOW, booking_id=UUID(int=86) if user == ANN else None,
        )  # fmt: skip
    await AccessToken.create(
        id=UUID(int=95), user_id=ANN, membership_id=UUID(int=61), class_session_id=UUID(int=83), centre_id=UUID(int=41),
        valid_from=at(13, 17), valid_until=at(13, 20),
    )  # fmt: skip


async def invoices() -> None:
    """Ben's invoice, allocated twice and shipped once."""
    await Invoice.create(
        id=UUID(int=100), provider=words.Provider.STRIPE, external_id="in_1", number="A-1",
        subscription_id=UUID(int=75), membership_id=UUID(int=64), user_id=BEN, attendee_id=BEN,
        status=words.InvoiceStatus.PAID, currency="GBP", amount_paid=10000,
        period_start=at(1, 0), period_end=at(31, 0),
    )  # fmt: skip
    await InvoiceItem.create(
        id=UUID(int=101), invoice_id=UUID(int=100), external_id="il_1", position=1, description="Gold", amount=10000
    )
    for number, current in ((102, False), (103, True)):
        await Allocation.create(
            id=UUID(int=number), invoice_id=UUID(int=100), version=number - 101, kind=invoicing.Kind.CLASSES,
            amount=10000, currency="GBP", current=current,
        )  # fmt: skip
    await AllocationShare.create(
        id=UUID(int=104), allocation_id=UUID(int=103), attendance_id=UUID(int=91), position=0, amount=10000
    )
    await Shipment.create(id=UUID(int=105), invoice_id=UUID(int=100), system=words.Provider.XERO, reference="DF-100")
    await Correction.create(
        id=UUID(int=106), invoice_id=UUID(int=100), cause=corrections.CorrectionCause.REFUNDED, amount=1000,
        proposal=corrections.Proposal.CREDIT_NOTE,
        change={"was": {"amount_refunded": 0}, "now": {"amount_refunded": 1000}},
    )  # fmt: skip


async def entries(connection: asyncpg.Connection) -> None:
    """Ann's fee charged and given back, and Ben's invoice; nobody can change when they were written."""
    statement = (
        "INSERT INTO ledger_entry (id, created_at, updated_at, key, movement, debit, credit, amount, currency, at,"
        " user_id, payment_id, refund_id, invoice_id)"
        " VALUES ($1, $2, $2, $3, $4, $5, $6, $7, 'GBP', $2, $8, $9, $10, $11)"
    )
    fee, refund, invoice = UUID(int=70), UUID(int=72), UUID(int=100)
    for number, movement, amount, about in (
        (106, Movement.CHARGED, 3500, (ANN, fee, None, None)),
        (107, Movement.REFUNDED, 1000, (ANN, fee, refund, None)),
        (108, Movement.RECEIVED, 10000, (BEN, None, None, invoice)),
    ):
        accounts = MOVEMENTS[movement]
        await connection.execute(
            statement, UUID(int=number), NOON, f"entry {number}", movement, *accounts, amount, *about
        )


async def operations() -> None:
    """Ann's job and the machine's own, a webhook, an audit entry, a key and a provider's set-up."""
    await Job.create(
        id=UUID(int=110), kind="payments.collect", key="collect:70", user_id=ANN, state=words.JobState.DEAD,
        attempts=12, error_code="REFUSED", error="no funds", done_count=1, total_count=2,
    )  # fmt: skip
    await Job.create(id=UUID(int=111), kind="nookal.poll", key="poll:1")
    await InboxEvent.create(
        id=UUID(int=115),
        provider=words.Provider.STRIPE,
        event_id="evt_1",
        event_type="invoice.paid",
        body={"id": "evt_1"},
    )
    await AuditEntry.create(
        id=UUID(int=116), actor="key:desk", verb="link", subject_type="Subscription", subject_id=UUID(int=75),
        before={"user": None}, after={"user": "2"}, because=["a person said so"], at=NOON,
    )  # fmt: skip
    await WebhookEndpoint.create(
        id=UUID(int=113), url="https://hooks.example/1", topics=["INVOICE", "PAYMENT"], secrets="sealed", hint="…abcd",
    )  # fmt: skip
    await WebhookMessage.create(
        id=UUID(int=114), endpoint_id=UUID(int=113), event_id="e1", topic="INVOICE", name="InvoiceOpened",
        subject=f"invoice:{UUID(int=100)}", body={"type": "invoice.InvoiceOpened"},
    )  # fmt: skip
    await ApiKey.create(
        id=UUID(int=117),
        name="desk",
        public_part="abc",
        secret_hash="0" * 64,
        role=words.Role.FRONT_DESK,
        scopes=["a", "b"],
    )
    await ProbeRun.create(
        id=UUID(int=112), probe=words.Probe.BORN_HERE, passed=True, evidence={"membership_id": "64"}, at=NOON
    )
    await BillingPolicy.create(id=POLICY_ID, retry_after_days=[2, 4], ahead_days=5, billing_day=31)
    await ProviderSetting.create(
        id=UUID(int=118),
        provider=words.Provider.XERO,
        settings={"tenant_id": "t"},
        secrets="sealed",
        hints={"key": "…1234"},
    )
