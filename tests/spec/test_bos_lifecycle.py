"""The membership lifecycle as the document tells it, from the payment link to the practice's invoice.

Stripe and Nookal are the sandbox's, behind the real clients; the jobs are those a worker runs.
"""

import json
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from integrations.nookal.client import Nookal
from integrations.registry import Registry
from integrations.stripe.client import StripeAccount
from integrations.stripe.webhook import StripeWebhooks
from models.actions import catalogue, inbound, invoices, subscriptions
from models.actions.vault import Vault
from models.ports import PracticeSystem, SubscriptionSeller, WebhookSource
from models.rules.invoicing import Kind
from models.rules.lifecycle import Status
from models.rules.pricing import Integration, MembershipKind
from models.rules.states import JobState, Provider
from models.tables.centre import Centre
from models.tables.course import Attendance
from models.tables.invoice import Invoice
from models.tables.job import Job
from models.tables.membership import ClassType, Membership, MembershipType, Subscription
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User
from tests.build import BY, a_centre, a_name, a_user, versions
from tests.spec.conftest import Sandbox
from workers.kinds import HANDLERS, RECURRING
from workers.runner import Runner, Wakes
from workers.work import Outside

pytestmark = [
    pytest.mark.usefixtures("database"),
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]
SECRET = "whsec_sandbox"
DAY = timedelta(days=1)


class Silent:
    """Nobody listens to what happens."""

    async def publish(self, events: Sequence[Any]) -> None:
        """Tell nobody."""


@dataclass
class SandboxClock:
    """The sandbox's time."""

    sandbox: Sandbox

    def now(self) -> datetime:
        """What it is there."""
        return self.sandbox.now()


class Outer(Registry):
    """Stripe and Nookal, and nobody else."""

    def __init__(self, account: StripeAccount, webhooks: StripeWebhooks, nookal: Nookal, vault: Vault) -> None:
        super().__init__(vault, None)
        self._account, self._webhooks, self._nookal = account, webhooks, nookal

    async def webhooks(self, provider: Provider) -> WebhookSource:
        return self._webhooks

    async def subscriptions(self) -> SubscriptionSeller:
        return self._account

    async def practice(self) -> PracticeSystem:
        return self._nookal


async def silent(wakes: Wakes) -> None:
    """Nobody rings."""


@dataclass
class Clinic:
    """A clinic in Melbourne that sells cycling at 50.00 a week, a client of it, and the worker."""

    sandbox: Sandbox
    webhooks: StripeWebhooks
    runner: Runner
    centre: Centre
    kind: MembershipType
    cycling: str
    user: User
    told: set[str] = field(default_factory=set)

    @property
    def now(self) -> datetime:
        """The time in the sandbox."""
        return self.sandbox.now()

    def do(self, action: str, **arguments: Any) -> Any:
        """Something happens at the practice."""
        return self.sandbox.do("nookal", action, **arguments)

    def patient(self, user: User, **details: str) -> str:
        """A patient of the practice, by default of the user's name and e-mail address."""
        known = {"first_name": user.first_name, "last_name": user.last_name, "email": user.email}
        found: str = self.do("add_patient", **{**known, **details})["ID"]
        return found

    def held(self, starts_at: datetime, *patients: str) -> str:
        """A cycling class with these in it."""
        held: str = self.do("add_class", class_type=self.cycling, starts_at=starts_at.isoformat())["ID"]
        for patient in patients:
            self.do("add_participant", class_id=held, patient_id=patient)
        return held

    async def sign_up(self, user: User, beneficiary: User | None = None) -> dict[str, str]:
        """A customer is sent to the payment link and enters a card."""
        at, attends = self.now, beneficiary.id if beneficiary else None
        await subscriptions.create_payment_link(self.kind.id, user_id=user.id, beneficiary_id=attends, acting=BY, at=at)
        job = await Job.filter(kind="subscriptions.payment_link").order_by("-id").first()
        assert job is not None
        await self.runner.run(job.id)
        url = (await Job.get(id=job.id)).result_url
        bought: dict[str, str] = self.sandbox.do(
            "stripe", "complete_payment_link", payment_link=url, email=user.email, name="Whoever Paid"
        )
        return bought

    async def hear(self, order: Callable[[list[Any]], list[Any]] = list) -> None:
        """All that Stripe told since it was last heard, in some order; and the work that makes."""
        events = [one for one in self.sandbox.state_of("stripe.event") if one["id"] not in self.told]
        self.told |= {one["id"] for one in events}
        for event in order(events):
            body = json.dumps(event)
            header = stripe.WebhookSignature.generate_signature_header(body, SECRET, int(time.time()))
            reduced = self.webhooks.verify(body.encode(), {"Stripe-Signature": header})
            await inbound.receive(Provider.STRIPE, reduced)
            await self.work()
        await self.work()

    async def work(self) -> None:
        """Run what waits until nothing does."""
        for _ in range(50):
            waiting = await Job.filter(state=JobState.READY).exclude(kind__in=[*RECURRING, *LATER]).order_by("id")
            if not waiting:
                return
            for job in waiting:
                await Job.filter(id=job.id).update(run_at=None)
                await self.runner.run(job.id)
        pytest.fail("the work does not end")

    async def look(self, kind: str = "practice.poll") -> None:
        """A recurring job comes by, and what it makes is done."""
        job, _ = await Job.get_or_create(key=f"{kind}", defaults={"kind": kind})
        await Job.filter(id=job.id).update(run_at=None)
        await self.runner.run(job.id)
        assert (await Job.get(id=job.id)).error is None
        await self.work()

    async def invoice(self, number: int = 0) -> Invoice:
        """The n-th invoice of the client, by its period."""
        made = Invoice.filter(subscription__membership__membership_type_id=self.kind.id).order_by("period_start")
        return (await made)[number]

    async def shares(self, number: int = 0) -> list[int]:
        """What each class carries of the n-th invoice now."""
        return (await versions(await self.invoice(number)))[-1][4]


LATER = ("live.publish", "practice.ship_invoice", "accounting.ship_invoice", "courses.push_membership")


@pytest.fixture
async def clinic(sandbox: Sandbox, secret_key: str) -> AsyncIterator[Clinic]:
    clock = SandboxClock(sandbox)
    account = StripeAccount(sandbox.credentials["stripe"]["api_key"], api_base=sandbox.urls["stripe"])
    webhooks = StripeWebhooks(account, [SECRET], clock)
    nookal = Nookal(sandbox.credentials["nookal"]["api_key"], clock, api_base=sandbox.urls["nookal"])
    bus: Any = Silent()
    outside = Outside(Outer(account, webhooks, nookal, Vault(secret_key)), clock, bus)
    runner = Runner(HANDLERS, RECURRING, outside, silent)
    await Job.filter(state=JobState.READY).delete()
    await ProviderSetting.get_or_create(provider=Provider.NOOKAL, defaults={"secrets": "sealed"})
    await Centre.all().update(practice_location=None)
    centre = await a_centre("AUD", practice_location="1")
    cycling = sandbox.do("nookal", "add_class_type", name="Cycling", price="40.00")["ID"]
    await ClassType.all().update(practice_id=None)  # each test's sandbox counts from the beginning
    covered = await catalogue.create_class_type(name="Cycling", practice_id=cycling, acting=BY, at=clock.now())
    sold = {"name": "Cycling weekly", "amount": 50_00, "currency": "aud", "interval": "week"}
    kind = await catalogue.create_membership_type(
        name=a_name("Cycling weekly"),
        integration=Integration.NOOKAL,
        kind=MembershipKind.ONGOING,
        product=sandbox.do("stripe", "create_product", **sold)["product"],
        centre_id=centre.id,
        class_type_ids=[covered.id],
        acting=BY,
        at=clock.now() - 30 * DAY,
    )
    yield Clinic(sandbox, webhooks, runner, centre, kind, cycling, await a_user())
    await account.close()
    await nookal.close()


def shuffled_twice(events: list[Any]) -> list[Any]:
    """Each event twice, in any order."""
    twice = [*events, *events]
    random.Random(7).shuffle(twice)  # the same each time
    return twice


# -- high level overview -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "order", [list, lambda events: events[::-1], shuffled_twice], ids=["as told", "backwards", "shuffled, twice"]
)
async def test_a_sign_up_is_linked_with_the_classes_it_covers(clinic: Clinic, order: Any) -> None:
    """Points 1, 2 and 4: a link, a card, the first invoice, and its money on the two classes booked, at 25.00 each."""
    patient = clinic.patient(clinic.user)
    for days in (1, 2):
        clinic.held(clinic.now + days * DAY, patient)
    bought = await clinic.sign_up(clinic.user)
    await clinic.hear(order)
    await clinic.look()

    (membership,) = await Membership.filter(user_id=clinic.user.id)
    assert (membership.status, membership.membership_type_id) == (Status.ACTIVE, clinic.kind.id)
    row = await Subscription.get(external_id=bought["subscription"])
    assert (row.user_id, row.membership_id, row.customer) == (clinic.user.id, membership.id, bought["customer"])
    links = {link.kind: link for link in await ExternalLink.filter(user_id=clinic.user.id)}
    assert links["customer"].external_id == bought["customer"]
    assert (links["patient"].external_id, links["patient"].evidence) == (
        patient,
        {"email": True, "first_name": True, "last_name": True, "date_of_birth": None},
    )
    invoice = await clinic.invoice()
    assert (invoice.external_id, invoice.hold, invoice.user_id) == (bought["invoice"], None, clinic.user.id)
    assert (invoice.total, invoice.amount_paid, invoice.period_end - invoice.period_start) == (50_00, 50_00, 7 * DAY)
    assert await clinic.shares() == [25_00, 25_00]


async def test_the_cycle_goes_on_and_changes_reallocate_until_the_period_ends(clinic: Clinic) -> None:
    """Points 3, 5 and 6, and the figures of 100.00 over three; the bill of each period goes to Nookal at its end."""
    patient = clinic.patient(clinic.user)
    first, second = (clinic.held(clinic.now + days * DAY, patient) for days in (1, 2))
    bought = await clinic.sign_up(clinic.user)
    await clinic.hear()
    await clinic.look()
    third = clinic.held(clinic.now + 3 * DAY, patient)
    await clinic.look()
    assert await clinic.shares() == [16_66, 16_67, 16_67], "joining an extra class"

    # cancelled, did not attend, and billed by somebody else in the middle of the period
    clinic.do("cancel_class", class_id=first)
    await clinic.look()
    assert await clinic.shares() == [25_00, 25_00]
    clinic.do("set_participant", class_id=second, patient_id=patient, invoiceGenerated=True)
    await clinic.look()
    assert await clinic.shares() == [50_00], "invoiced manually, and not by us"
    clinic.do("restore_class", class_id=first)
    clinic.do("set_participant", class_id=second, patient_id=patient, invoiceGenerated=False)
    await clinic.look()
    assert await clinic.shares() == [16_66, 16_67, 16_67], "all taken back"
    clinic.do("move_class", class_id=third, starts_at=(clinic.now + 9 * DAY).strftime("%Y-%m-%dT%H:%M:%S"))
    await clinic.look()
    assert await clinic.shares() == [25_00, 25_00], "moved into the next period"

    # the period ends: the renewal's own period lies behind, its line's ahead
    clinic.sandbox.advance(days=7, hours=3)
    await clinic.hear()
    raw = clinic.sandbox.state_of("stripe.invoice")[-1]
    renewal = await clinic.invoice(1)
    assert datetime.fromtimestamp(raw["period_end"], UTC) == renewal.period_start == (await clinic.invoice()).period_end
    assert await clinic.shares(1) == [50_00]
    for invoice_id in await invoices.due_to_bill_off(clinic.now):
        await invoices.bill_off(invoice_id, acting=BY, at=clinic.now)
    for job in await Job.filter(kind="practice.ship_invoice", state=JobState.READY):
        await clinic.runner.run(job.id)
    (shipped,) = clinic.sandbox.state_of("nookal.invoice")
    lines = [(one["total"], one["link"]["appt_id"]) for one in shipped["entries"]]
    assert (shipped["patientID"], lines) == (patient, [("25.00", first), ("25.00", second)])
    await clinic.look()
    assert not await Attendance.filter(user_id=clinic.user.id, invoiced_elsewhere=True).exists(), "our own is known"

    # until the subscription is cancelled
    clinic.sandbox.do("stripe", "cancel_subscription", subscription=bought["subscription"])
    await clinic.hear()
    assert (await Membership.get(user_id=clinic.user.id)).status is Status.CANCELLED
    assert (await clinic.invoice(1)).amount_paid == 50_00, "what is paid for is still to be attended"


# -- definitions -------------------------------------------------------------------------------------------------------


async def test_a_subscription_is_an_individual_customers_or_pays_for_another(clinic: Clinic) -> None:
    """A parent pays; the classes are the child's, and so is the patient (R92)."""
    child = await a_user("Kim")
    theirs, own = clinic.patient(child), clinic.patient(clinic.user)
    clinic.held(clinic.now + DAY, theirs, own)
    bought = await clinic.sign_up(clinic.user, child)
    await clinic.hear()
    await clinic.look()
    row = await Subscription.get(external_id=bought["subscription"])
    assert (row.user_id, row.beneficiary_id) == (clinic.user.id, child.id)
    invoice = await clinic.invoice()
    assert (invoice.user_id, (await Membership.get(id=row.membership_id)).user_id) == (clinic.user.id, child.id)
    assert await clinic.shares() == [50_00]
    assert [link.kind for link in await ExternalLink.filter(user_id=clinic.user.id)] == ["customer"]
    assert [link.external_id for link in await ExternalLink.filter(user_id=child.id)] == [theirs]


async def test_the_bos_is_told_of_all_subscriptions_and_bills_those_it_manages(clinic: Clinic) -> None:
    """An unmanaged product's are kept, flagged by their hold, and not billed off; managed later, they are taken in."""
    patient = clinic.patient(clinic.user)
    clinic.held(clinic.now + 2 * DAY, patient)
    sold = {"name": "Yoga", "amount": 30_00, "currency": "aud", "interval": "week"}
    yoga = clinic.sandbox.do("stripe", "create_product", **sold)
    who = {"email": clinic.user.email, "name": "W", "client_reference_id": str(clinic.user.id)}
    bought = clinic.sandbox.do("stripe", "complete_payment_link", price=yoga["price"], **who)
    await clinic.hear()
    row = await Subscription.get(external_id=bought["subscription"])
    assert (row.user_id, row.membership_id, row.product) == (clinic.user.id, None, yoga["product"])
    invoice = await Invoice.get(external_id=bought["invoice"])
    assert (invoice.hold, invoice.amount_paid) == ("UNMANAGED_PRODUCT", 30_00)
    assert invoice.id not in await invoices.due_to_bill_off(clinic.now + 30 * DAY)

    kind = await catalogue.create_membership_type(
        name=a_name("Yoga"),
        integration=Integration.NOOKAL,
        kind=MembershipKind.ONGOING,
        product=yoga["product"],
        centre_id=clinic.centre.id,
        class_type_ids=[],
        acting=BY,
        at=clinic.now,
    )
    await clinic.work()
    assert (await Membership.get(user_id=clinic.user.id)).membership_type_id == kind.id
    invoice = await Invoice.get(id=invoice.id)
    assert (invoice.hold, await versions(invoice)) == (None, [(1, Kind.AD_HOC, 30_00, True, [])])


# -- the practice's side -----------------------------------------------------------------------------------------------


async def test_classes_are_mirrored_as_they_change_and_disappear(clinic: Clinic) -> None:
    """A participant taken out, a class deleted; a patient who is written down late, and the classes of before."""
    await clinic.sign_up(clinic.user)
    await clinic.hear()
    await clinic.look()
    await clinic.look("practice.poll_patients")
    assert (await clinic.invoice()).hold == "PATIENT_UNLINKED", "no patient is ever made"
    patient = clinic.patient(clinic.user, first_name="Nobody")
    classes = [clinic.held(clinic.now + days * DAY, patient) for days in (1, 2, 3)]
    await clinic.look()
    clinic.do("edit_patient", patient_id=patient, FirstName=clinic.user.first_name)
    clinic.sandbox.advance(minutes=30)
    await clinic.look()
    await clinic.look("practice.poll_patients")
    assert await clinic.shares() == [16_66, 16_67, 16_67], "linked, and read anew"
    clinic.do("take_out_participant", class_id=classes[0], patient_id=patient)
    await clinic.look()
    assert await clinic.shares() == [25_00, 25_00]
    clinic.do("delete_class", class_id=classes[1])
    await clinic.look()
    assert await clinic.shares() == [25_00, 25_00]
    await clinic.look("practice.check_classes")
    assert await clinic.shares() == [50_00]
    known = len(await versions(await clinic.invoice()))
    for days in (4, 5, 6):
        clinic.held(clinic.now + days * DAY, patient)
    await clinic.look()
    assert await clinic.shares() == [12_50] * 4
    assert len(await versions(await clinic.invoice())) == known + 1, "what is read together is spread once"
    job = await Job.get(key="practice.poll")
    assert job.payload["place"].keys() == {"since", "latest", "seen_at"}
