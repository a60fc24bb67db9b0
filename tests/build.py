"""What tests start from, made by the actions themselves, and what they look at afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from tortoise.connection import get_connections

from models.actions import catalogue, courses, mandates, memberships, offers, packages, payments, users
from models.actions.attendances import attendances_seen
from models.actions.inbound import apply
from models.actions.unit import PUBLISH
from models.rules.booking import Basis, Pricing
from models.rules.diary import AttendanceSeen
from models.rules.facts import Fact, InvoiceLineSeen, InvoiceSeen, MandateChanged, SubscriptionSeen
from models.rules.invoicing import Kind, Mark, Period
from models.rules.pricing import Frequency, Integration, MembershipKind, OptionType
from models.rules.refusals import Code, Refusal
from models.rules.states import InvoiceStatus, MandateStatus, Provider, SubscriptionStatus
from models.tables.audit import AuditEntry
from models.tables.centre import Centre
from models.tables.course import ClassSession, Course
from models.tables.invoice import Allocation, AllocationShare, Invoice
from models.tables.job import Job
from models.tables.membership import Mandate, Membership, MembershipType, Subscription
from models.tables.package import Package, PackageOffer
from models.tables.payment import Payment
from models.tables.pricing import PricingOption
from models.tables.user import User

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
BY = "test"
_numbers = count(1)


def a_name(kind: str) -> str:
    """A name nobody has yet."""
    return f"{kind} {next(_numbers)}"


async def sql(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of a statement, as dicts."""
    rows: list[dict[str, Any]] = await get_connections().get("default").execute_query_dict(statement, list(values))
    return rows


async def everything() -> dict[str, tuple[int, str]]:
    """Each table -> (how many rows, a digest of all they hold)."""
    tables = [row["name"] for row in await sql("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")]
    parts = [
        f"SELECT '{name}' AS name, count(*) AS rows,"
        f" coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') AS sum FROM \"{name}\" t"
        for name in tables
    ]
    return {row["name"]: (row["rows"], row["sum"]) for row in await sql(" UNION ALL ".join(parts))}


@asynccontextmanager
async def nothing_written() -> AsyncIterator[None]:
    """Fails where any row of any table was written, changed or removed meanwhile: business, jobs and audit alike."""
    before = await everything()
    yield
    assert await everything() == before


@asynccontextmanager
async def refused(code: Code, *field_path: str) -> AsyncIterator[None]:
    """Fails unless the block is refused with this code, for this field, and left nothing behind."""
    async with nothing_written():
        with pytest.raises(Refusal) as caught:
            yield
        assert (caught.value.code, caught.value.field) == (code, field_path)


@dataclass(slots=True)
class Happened:
    """What an action wrote beside its own rows, in the order it was written."""

    events: list[str] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    audit: list[AuditEntry] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """The kinds of the jobs."""
        return [job.kind for job in self.jobs]

    @property
    def verbs(self) -> list[str]:
        """What the audit says was done."""
        return [entry.verb for entry in self.audit]


@asynccontextmanager
async def happening() -> AsyncIterator[Happened]:
    """What is written inside the block, filled in at its end."""
    jobs: Any = await Job.all().values_list("id", flat=True)
    audit: Any = await AuditEntry.all().values_list("id", flat=True)
    seen = Happened()
    yield seen
    seen.jobs = await Job.exclude(id__in=list(jobs)).order_by("id")
    seen.audit = await AuditEntry.exclude(id__in=list(audit)).order_by("id")
    seen.told = [event for job in seen.jobs if job.kind == PUBLISH for event in job.payload["events"]]
    seen.events = [event["name"] for event in seen.told]


async def a_user(first_name: str = "Ada") -> User:
    """A person."""
    email = f"user{next(_numbers)}@example.test"
    return await users.create_user(first_name=first_name, last_name="Reader", email=email, acting=BY, at=NOW)


async def tied(user: User, provider: Provider, kind: str) -> str:
    """Tie a user to a fresh record of another system -> its id there."""
    external_id = f"{kind}_{next(_numbers)}"
    await users.link_external(user_id=user.id, provider=provider, kind=kind, external_id=external_id, acting=BY, at=NOW)
    return external_id


async def a_member_with_card() -> User:
    """A person the card provider knows, with a card stored there."""
    user = await a_user()
    for kind in ("customer", "payment_method"):
        await tied(user, Provider.STRIPE, kind)
    return user


async def a_centre(currency: str = "GBP", **options: Any) -> Centre:
    """A centre in London."""
    return await catalogue.create_centre(
        name=a_name("Centre"), zone="Europe/London", currency=currency, acting=BY, at=NOW, **options
    )


async def an_option(
    amount: int = 80_00,
    *,
    frequency: Frequency = Frequency.FIXED,
    option_type: OptionType = OptionType.COURSEPRO_COURSE,
    currency: str = "GBP",
) -> PricingOption:
    """A pricing option."""
    return await catalogue.create_pricing_option(
        name=a_name("Price"),
        option_type=option_type,
        frequency=frequency,
        amount=amount,
        currency=currency,
        acting=BY,
        at=NOW,
    )


async def a_course(
    *,
    elapsed: int = 0,
    deleted: int = 0,
    future: int = 0,
    price: int = 80_00,
    pricing: Pricing = Pricing.FULL_RATE,
    basis: Basis = Basis.SCHEDULED,
    capacity: int = 10,
) -> Course:
    """Weekly classes around NOW: those that passed, then the deleted ones, then those to come."""
    first = NOW - elapsed * WEEK + HOUR
    starts = [first + number * WEEK for number in range(elapsed + deleted + future)]
    course = await courses.create_course(
        name=a_name("Course"),
        centre_id=(await a_centre()).id,
        pricing_option_id=(await an_option(price)).id,
        pricing=pricing,
        per_class_basis=basis,
        capacity=capacity,
        sessions=[(start, start + HOUR) for start in starts],
        acting=BY,
        at=NOW,
    )
    gone = starts[elapsed : elapsed + deleted]
    await ClassSession.filter(course_id=course.id, starts_at__in=gone).update(deleted_at=NOW - WEEK)
    return course


async def a_package(user: User, granted: int = 10, **options: Any) -> Package:
    """Credits of a user."""
    return await packages.grant_package(
        user_id=user.id, name=a_name("Package"), granted=granted, acting=BY, at=NOW, **options
    )


async def a_package_offer(price: int = 50_00, credits: int = 10, **options: Any) -> PackageOffer:  # noqa: A002
    """A pack of credits on sale."""
    return await offers.create_package_offer(
        name=a_name("Pack"),
        pricing_option_id=(await an_option(price)).id,
        credits=credits,
        acting=BY,
        at=NOW,
        **options,
    )


async def a_membership_type(
    *, price: int = 35_00, integration: Integration = Integration.COURSEPRO_COURSE, **options: Any
) -> tuple[MembershipType, PricingOption]:
    """A monthly membership with its price."""
    option = await an_option(price, frequency=Frequency.RECURRING)
    kind = await catalogue.create_membership_type(
        name=a_name("Membership"),
        integration=integration,
        kind=MembershipKind.ONGOING,
        pricing_option_ids=[option.id],
        acting=BY,
        at=NOW,
        **options,
    )
    return kind, option


async def a_mandate(user: User, status: MandateStatus = MandateStatus.ACTIVE) -> Mandate:
    """A direct debit of a user, as its provider says it stands."""
    mandate = await mandates.start_mandate(user_id=user.id, currency="GBP", acting=BY, at=NOW)
    request_id, external_id = f"BRQ{next(_numbers)}", f"MD{next(_numbers)}"
    await mandates.signing_page_opened(
        mandate.id, request_id=request_id, url="http://127.0.0.1/sign", acting=BY, at=NOW
    )
    fact = MandateChanged(
        provider="GOCARDLESS",
        external_id=external_id,
        customer_id=None,
        user_reference=None,
        status=status,
        occurred_at=NOW,
        billing_request_id=request_id,
    )
    await mandates.mandate_changed(fact, acting=BY, at=NOW)
    return await Mandate.get(id=mandate.id)


async def a_membership(user: User | None = None, *, starts_on: date | None = None, **options: Any) -> Membership:
    """An active membership paid by direct debit: 35.00 a month."""
    user = user or await a_user()
    kind, option = await a_membership_type(**options)
    return await memberships.start_membership(
        user_id=user.id,
        membership_type_id=kind.id,
        centre_id=(await a_centre()).id,
        pricing_option_id=option.id,
        mandate_id=(await a_mandate(user)).id,
        starts_on=starts_on or NOW.date(),
        acting=BY,
        at=NOW,
    )


async def a_fee(membership: Membership, period_start: date | None = None) -> Payment:
    """A fee of a membership, due and not yet asked for."""
    return await payments.collect_fee(membership.id, period_start=period_start or NOW.date(), acting=BY, at=NOW)


# -- subscriptions, their invoices, and the practice's diary ----------------------------------------------------------


@dataclass(slots=True)
class Clinic:
    """A patient with a subscription: who, where, what it covers, and facts about it as the outside would tell them."""

    user: User
    patient: str
    customer: str
    centre: Centre
    location: str
    product: str
    covers: tuple[str, ...]
    subscription: str
    kind: MembershipType

    def subscribed(self, status: SubscriptionStatus = SubscriptionStatus.ACTIVE, **changes: Any) -> SubscriptionSeen:
        """The subscription as its provider has it."""
        values: dict[str, Any] = {
            "provider": "STRIPE",
            "external_id": self.subscription,
            "customer_id": self.customer,
            "product_ids": (self.product,),
            "status": status,
            "started_at": NOW,
            "seen_at": NOW,
        }
        return SubscriptionSeen(**{**values, **changes})

    def invoiced(
        self, paid: int = 50_00, *, name: str = "1", start: datetime = NOW, end: datetime = NOW + WEEK, **changes: Any
    ) -> InvoiceSeen:
        """An invoice of the subscription as its provider has it: one line over its whole period."""
        period = Period(start, end)
        line = InvoiceLineSeen(
            external_id=f"il_{name}", description="Weekly", amount=paid, period=period, product_id=self.product
        )
        values: dict[str, Any] = {
            "provider": "STRIPE",
            "external_id": f"in_{self.subscription}_{name}",
            "number": None,
            "customer_id": self.customer,
            "subscription_id": self.subscription,
            "status": InvoiceStatus.PAID,
            "currency": "gbp",
            "total": paid,
            "amount_paid": paid,
            "amount_refunded": 0,
            "period": period,
            "lines": (line,),
            "created_at": start,
            "seen_at": start,
        }
        return InvoiceSeen(**{**values, **changes})

    def seat(
        self,
        number: int,
        starts_at: datetime,
        mark: Mark = Mark.BOOKED,
        *,
        class_type: str | None = None,
        **changes: Any,
    ) -> AttendanceSeen:
        """The patient's place in a class, as the practice has it."""
        kind = class_type or self.covers[0]
        values: dict[str, Any] = {
            "provider": "NOOKAL",
            "external_id": f"{self.patient}:{number}",
            "patient_id": self.patient,
            "session_id": f"{self.location}:{number}",
            "class_type_id": kind,
            "class_name": f"Class {kind}",
            "location_id": self.location,
            "starts_at": starts_at,
            "ends_at": starts_at + HOUR,
            "mark": mark,
            "seen_at": NOW,
        }
        return AttendanceSeen(**{**values, **changes})

    async def row(self) -> Subscription:
        """The mirrored subscription."""
        return await Subscription.get(external_id=self.subscription)

    async def invoice(self, name: str = "1") -> Invoice:
        """A mirrored invoice."""
        return await Invoice.get(external_id=f"in_{self.subscription}_{name}")


async def a_clinic(
    *, user: User | None = None, beside: Clinic | None = None, covers: int = 1, linked: bool = True
) -> Clinic:
    """A patient and a membership type with a product; `beside` another one: the same patient, place and classes."""
    person = beside.user if beside else user or await a_user()
    if beside:
        patient, customer, location, centre = beside.patient, beside.customer, beside.location, beside.centre
    else:
        location = f"loc{next(_numbers)}"
        centre = await a_centre(practice_location=location)
        customer = await tied(person, Provider.STRIPE, "customer")
        patient = await tied(person, Provider.NOOKAL, "patient") if linked else f"patient_{next(_numbers)}"
    known = beside.covers[:covers] if beside else ()
    fresh = tuple(f"ct{next(_numbers)}" for _ in range(covers - len(known)))
    for practice_id in fresh:
        await catalogue.create_class_type(name=f"Class {practice_id}", practice_id=practice_id, acting=BY, at=NOW)
    class_types = await sql("SELECT id FROM class_type WHERE practice_id = ANY($1::text[])", list(known + fresh))
    product = f"prod_{next(_numbers)}"
    kind = await catalogue.create_membership_type(
        name=a_name("Weekly classes"),
        integration=Integration.NOOKAL,
        kind=MembershipKind.ONGOING,
        product=product,
        centre_id=centre.id,
        class_type_ids=[UUID(str(row["id"])) for row in class_types],
        acting=BY,
        at=NOW - WEEK,
    )
    return Clinic(person, patient, customer, centre, location, product, known + fresh, f"sub_{next(_numbers)}", kind)


async def tell(*facts: Fact, at: datetime = NOW) -> None:
    """Apply facts, one after the other."""
    for fact in facts:
        await apply(fact, acting="webhook", at=at)


async def attend(*facts: AttendanceSeen, at: datetime = NOW) -> int:
    """Mirror a page of the practice's diary -> how many places differed."""
    return await attendances_seen(facts, acting="job:practice.poll", at=at)


async def a_subscriber(**options: Any) -> Clinic:
    """A linked patient whose subscription is known."""
    clinic = await a_clinic(**options)
    await tell(clinic.subscribed())
    return clinic


async def versions(invoice: Invoice) -> list[tuple[int, Kind, int, bool, list[int]]]:
    """Each version: (number, kind, amount, current, what the classes carry in the order of their start)."""
    found = []
    for version in await Allocation.filter(invoice_id=invoice.id).order_by("version"):
        shares = await AllocationShare.filter(allocation_id=version.id).order_by("position")
        found.append(
            (version.version, version.kind, version.amount, version.current, [share.amount for share in shares])
        )
    return found


async def spread(invoice: Invoice) -> list[int]:
    """What the classes carry now."""
    return (await versions(invoice))[-1][4]
