"""The three documents' main flows over real processes: every figure, every live event."""

from collections.abc import Callable

import pytest

from local.journeys import allocation, booking, debit
from local.journeys.stage import Stage

pytestmark = pytest.mark.timeout(240)
Staged = Callable[[str], Stage]

INVOICE_UPDATED = "subscription { invoiceUpdated { kind cursor invoice { id } } }"


@pytest.mark.parametrize(
    ("credits_held", "drawn", "charged", "left"), [(10, 6, "20.00", 4), (3, 3, "50.00", 0)], ids=["ten", "three"]
)
async def test_package_and_charge_on_a_course_under_way(
    staged: Staged, credits_held: int, drawn: int, charged: str, left: int
) -> None:
    """Groovio, scenario 2: completed classes and shortfalls are charged, the rest is drawn; the webhook confirms."""
    seen = await booking.book_with_credits(staged("calm"), credits_held)
    answered, final = seen["payload"]["booking"], seen["booking"]
    assert (answered["status"], answered["credits"], answered["charge"]) == (
        "AWAITING_PAYMENT",
        drawn,
        {"amount": charged, "currency": "GBP"},
    )
    assert (final["status"], final["credits"], final["creditEntries"]["nodes"][0]["package"]["balance"]) == (
        "CONFIRMED",
        drawn,
        left,
    )
    assert final["payment"]["status"] == "CONFIRMED"
    assert [(each["amount"], each["status"]) for each in seen["intents"]] == [
        (int(charged.replace(".", "")), "succeeded")
    ]
    assert seen["events"] == ["BookingMade", "BookingConfirmed"]


async def test_a_failed_debit_suspends_and_the_money_made_good_lifts_it(staged: Staged) -> None:
    """CoursePro, D: suspended here, Unavailable there, no token open, told once; then all of it back."""
    stage = staged("calm")
    seen = await debit.fail_and_make_good(stage, await debit.sign_up(stage))
    suspended, active = seen["suspended"], seen["active"]
    assert (suspended["status"], suspended["reason"]) == ("SUSPENDED", "PAYMENT_FAILED")
    assert [note["kind"] for note in seen["notifications"]] == ["PAYMENT_FAILED"]
    again = seen["again"]
    assert again == suspended | {"user": again["user"]}, "the same webhook, come again, changed something"
    assert len(again["user"]["notifications"]["nodes"]) == 1
    assert (active["status"], active["reason"], active["availability"]) == ("ACTIVE", "PAYMENT_MADE_GOOD", "ACTIVE")
    assert active["version"] == suspended["version"] + 1
    assert [payment["status"] for payment in active["payments"]["nodes"]] == ["CONFIRMED"]
    assert seen["events"].count("MembershipStatusChanged") == 2


async def test_an_invoice_follows_its_classes_and_is_shipped_once(staged: Staged) -> None:
    """BOS: 25.00 each at once, the cents on the last, all on the one left; shipped once; AdHoc when none is."""
    stage = staged("calm")
    async with stage.caller.watching(INVOICE_UPDATED) as watch:
        subscribed = await allocation.subscribe(stage)
        three, one = await allocation.change_classes(stage, subscribed)
        ended = await allocation.end_periods(stage, subscribed)
        told = await stage.heard(watch, "invoice", ended["first"]["id"], "InvoiceBilledOff", *["InvoiceShipped"] * 2)
    assert subscribed["invoice"]["membership"] == {"status": "ACTIVE", "amount": None}, "Stripe keeps the price"
    versions = [
        subscribed["invoice"]["allocation"]["version"],
        three["allocation"]["version"],
        one["allocation"]["version"],
    ]
    assert versions == sorted(set(versions))
    assert [each["version"] for each in one["allocations"]] == list(range(1, versions[-1] + 1)), "every version is kept"
    assert (ended["first"]["allocation"]["kind"], ended["second"]["allocation"]["kind"]) == ("CLASSES", "AD_HOC")
    assert [shipment["system"] for shipment in ended["first"]["shipments"]] == ["NOOKAL", "XERO"]
    assert len(ended["nookal"]) == len(ended["xero"]) == 2, "each invoice exactly once in each system"
    assert [ended["events"].count(kind) for kind in ("InvoiceBilledOff", "InvoiceShipped")] == [1, 2]
    assert (told[0], told[-3:]) == ("InvoiceOpened", ["InvoiceBilledOff", "InvoiceShipped", "InvoiceShipped"])
    assert set(told[1:-3]) == {"InvoiceReallocated"}, "live from its arrival until it stands in both systems"


# -- the same end, once, while the worker is killed and Redis is emptied at the worst points ------------------

KILLED, EMPTIED = "the worker is killed", "Redis is emptied"


def disturbed(here: str, elsewhere: str) -> pytest.MarkDecorator:
    """Every flow bears both; of the two one is seen each time, the other where there is time for all."""
    return pytest.mark.parametrize("disturbance", [here, pytest.param(elsewhere, marks=pytest.mark.soak)])


@disturbed(KILLED, EMPTIED)
async def test_a_booking_is_charged_and_confirmed_once(staged: Staged, disturbance: str) -> None:
    """Six credits drawn, 20.00 taken once."""
    seen = await booking.book_with_credits(staged(disturbance), 10)
    final = seen["booking"]
    assert (final["status"], final["credits"], final["creditEntries"]["nodes"][0]["package"]["balance"]) == (
        "CONFIRMED",
        6,
        4,
    )
    assert [(each["amount"], each["status"]) for each in seen["intents"]] == [(2000, "succeeded")]


@disturbed(KILLED, EMPTIED)
async def test_a_failed_debit_shuts_and_opens_the_door_once(staged: Staged, disturbance: str) -> None:
    """One move down, one notice, one move up, one payment."""
    stage = staged(disturbance)
    seen = await debit.fail_and_make_good(stage, await debit.sign_up(stage))
    assert (seen["suspended"]["status"], seen["active"]["status"]) == ("SUSPENDED", "ACTIVE")
    assert seen["active"]["version"] == seen["suspended"]["version"] + 1
    assert [note["kind"] for note in seen["notifications"]] == ["PAYMENT_FAILED"]
    assert [payment["status"] for payment in seen["active"]["payments"]["nodes"]] == ["CONFIRMED"]


@disturbed(EMPTIED, KILLED)
async def test_both_invoices_are_shipped_once(staged: Staged, disturbance: str) -> None:
    """One over the class that is left, one AdHoc, each once in the practice system and once in the books."""
    stage = staged(disturbance)
    subscribed = await allocation.subscribe(stage)
    await allocation.change_classes(stage, subscribed)
    ended = await allocation.end_periods(stage, subscribed)
    assert (ended["first"]["allocation"]["kind"], ended["second"]["allocation"]["kind"]) == ("CLASSES", "AD_HOC")
    assert len(ended["nookal"]) == len(ended["xero"]) == 2
