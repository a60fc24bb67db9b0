"""The three flows while the worker is killed and Redis is emptied at the worst points: the same end, once."""

from collections.abc import Callable

import pytest

from local.journeys import allocation, booking, debit
from local.journeys.stage import Stage

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("disturbance", ["the worker is killed", "Redis is emptied"]),
]
Staged = Callable[[str], Stage]


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


async def test_a_failed_debit_shuts_and_opens_the_door_once(staged: Staged, disturbance: str) -> None:
    """One move down, one notice, one move up, one payment."""
    stage = staged(disturbance)
    seen = await debit.fail_and_make_good(stage, await debit.sign_up(stage))
    assert (seen["suspended"]["status"], seen["active"]["status"]) == ("SUSPENDED", "ACTIVE")
    assert seen["active"]["version"] == seen["suspended"]["version"] + 1
    assert [note["kind"] for note in seen["notifications"]] == ["PAYMENT_FAILED"]
    assert [payment["status"] for payment in seen["active"]["payments"]["nodes"]] == ["CONFIRMED"]


async def test_both_invoices_are_shipped_once(staged: Staged, disturbance: str) -> None:
    """One over the class that is left, one AdHoc, each once in the practice system and once in the books."""
    stage = staged(disturbance)
    subscribed = await allocation.subscribe(stage)
    await allocation.change_classes(stage, subscribed)
    ended = await allocation.end_periods(stage, subscribed)
    assert (ended["first"]["allocation"]["kind"], ended["second"]["allocation"]["kind"]) == ("CLASSES", "AD_HOC")
    assert len(ended["nookal"]) == len(ended["xero"]) == 2
