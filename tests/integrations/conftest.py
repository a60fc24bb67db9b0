"""The provider sandbox for the clients under test, the vendors' samples, and what every payment test orders."""

import itertools
import json
import os
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from models.ports import Collection
from tests.sandbox.conftest import Sandbox, receiver, receiver_process, sandbox, sandbox_process

__all__ = ["Sandbox", "receiver", "receiver_process", "sandbox", "sandbox_process"]

ROOT = Path(__file__).parents[2]
_NUMBERS = itertools.count(1)


class StoppedClock:
    """A clock that stands still."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        """The one instant."""
        return self.at


@pytest.fixture
def clock() -> StoppedClock:
    """2026-03-01 12:00 UTC."""
    return StoppedClock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
def sample() -> Callable[[str], Any]:
    """A function: path of a vendor's sample -> its JSON; skips where the samples are not at hand."""
    folder = ROOT / os.environ.get("DUEFLOW_SAMPLES", "../shared/samples")

    def read(path: str) -> Any:
        if not folder.is_dir():
            pytest.skip(f"the vendors' samples are not at {folder} (set DUEFLOW_SAMPLES)")
        return json.loads((folder / path).read_text())

    return read


def an_order(**fields: Any) -> Collection:
    """A collection of 25.00 GBP due on the first of March 2026, under a key of its own."""
    number = next(_NUMBERS)
    given: dict[str, Any] = {
        "payment_id": uuid4(),
        "key": f"payment:{number}:{uuid4()}",
        "amount": 2500,
        "currency": "GBP",
        "description": "Swimming, March",
        "charge_on": date(2026, 3, 1),
    }
    return Collection(**given | fields)
