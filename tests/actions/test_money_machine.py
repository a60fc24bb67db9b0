"""Members, fees, failures, refunds and news in any order, at any time: money is taken once, kept once, told once."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from models.actions import endings, ledger, payments
from models.actions.unit import Unit
from models.rules.states import PaymentOutcome
from models.tables.payment import Payment
from tests.bank import Fault
from tests.money import POLICIES, Shop, World
from tests.truths import Truths
from workers.work import Work

pytestmark = [pytest.mark.usefixtures("database"), pytest.mark.timeout(900)]
PICK = st.integers(0, 11)
FEW = st.integers(0, 5)
DAYS = st.sampled_from([-35, -3, 0, 0, 0, 5, 20])
HOURS = st.sampled_from([1, 26, 24 * 3, 24 * 8, 24 * 16, 24 * 33])
TIMES = st.integers(0, 3)
FAULTS = st.sampled_from([Fault.NONE, Fault.NONE, *Fault])


class Machine(RuleBasedStateMachine):
    """Whatever happens, in any order."""

    loop: ClassVar[asyncio.AbstractEventLoop]
    shop: ClassVar[Shop]
    world: World

    def do(self, deed: str, **given: Any) -> None:
        self.loop.run_until_complete(self.world.do(deed, **given))

    @initialize(policy=st.integers(0, len(POLICIES) - 1), kind=FEW, days=DAYS)
    def begins(self, policy: int, kind: int, days: int) -> None:
        self.world = begun(self.shop)
        self.loop.run_until_complete(self.world.begin(policy))
        self.do("joins", card=True, debit=True, kind=kind, days=days)

    @rule(card=st.booleans(), debit=st.booleans(), kind=FEW, days=DAYS)
    def joins(self, **given: Any) -> None:
        self.do("joins", **given)

    @rule(pick=PICK, kind=FEW, days=DAYS)
    def buys_more(self, **given: Any) -> None:
        self.do("buys_more", **given)

    @rule(debit=st.booleans())
    def buys_package(self, **given: Any) -> None:
        self.do("buys_package", **given)

    @rule(hours=HOURS)
    def later(self, **given: Any) -> None:
        self.do("later", **given)

    @rule(hours=HOURS)
    def later_and_works(self, hours: int) -> None:
        self.do("later", hours=hours)
        self.do("works_on")

    @rule(pick=PICK, fault=FAULTS, uncommitted=st.booleans())
    def works(self, **given: Any) -> None:
        self.do("works", **given)

    @rule()
    def works_on(self) -> None:
        self.do("works_on")

    @rule(pick=PICK, which=FEW, times=TIMES)
    def happens(self, **given: Any) -> None:
        self.do("happens", **given)

    @rule(pick=PICK, first=FEW, second=FEW)
    def happens_on(self, pick: int, first: int, second: int) -> None:
        self.do("happens", pick=pick, which=first, times=1)
        self.do("happens", pick=pick, which=second, times=1)

    @rule(pick=st.integers(0, 99))
    def told_again(self, **given: Any) -> None:
        self.do("told_again", **given)

    @rule(pick=PICK)
    def lands(self, **given: Any) -> None:
        self.do("lands", **given)

    @rule(pick=PICK, by=FEW)
    def settles(self, **given: Any) -> None:
        self.do("settles", **given)

    @rule(pick=PICK, retry=st.booleans())
    def by_hand(self, **given: Any) -> None:
        self.do("by_hand", **given)

    @rule(pick=PICK, part=FEW)
    def refunds(self, **given: Any) -> None:
        self.do("refunds", **given)

    @rule(pick=PICK, which=FEW, times=TIMES)
    def refund_happens(self, **given: Any) -> None:
        self.do("refund_happens", **given)

    @rule(pick=PICK, keep=st.booleans())
    def answers(self, **given: Any) -> None:
        self.do("answers", **given)

    @rule(pick=PICK, cause=FEW)
    def staff(self, **given: Any) -> None:
        self.do("staff", **given)

    @rule(pick=PICK, end=FEW, days=DAYS)
    def course_ends(self, **given: Any) -> None:
        self.do("course_ends", **given)

    @rule(pick=PICK, to=FEW, days=DAYS, same=st.booleans())
    def moves(self, **given: Any) -> None:
        self.do("moves", **given)

    @rule(pick=PICK, what=FEW)
    def instruction(self, **given: Any) -> None:
        self.do("instruction", **given)

    @rule(pick=PICK)
    def signs(self, **given: Any) -> None:
        self.do("signs", **given)

    @rule(compare=st.booleans())
    def janitor(self, **given: Any) -> None:
        self.do("janitor", **given)

    @invariant()
    def holds(self) -> None:
        if hasattr(self, "world"):
            self.loop.run_until_complete(Truths(self.world).hold())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.loop.run_until_complete(self.world.settled())
            self.loop.run_until_complete(Truths(self.world).hold())
            self.loop.run_until_complete(Truths(self.world).agree())


worlds: list[World] = []
Handler = Callable[[Work], Any]
naive: dict[str, Handler] = {}


def begun(shop: Shop) -> World:
    """A world the exits know of."""
    worlds[:] = [World(shop)]
    worlds[0].handlers.update(naive)
    return worlds[0]


@pytest.fixture(autouse=True)
def _exits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker may die between its writes and their commit."""
    write = Unit.write

    async def written(work: Unit) -> None:
        await write(work)
        if worlds:
            worlds[-1].die_before_commit(work)

    monkeypatch.setattr(Unit, "write", written)
    with structlog.testing.capture_logs():
        yield
    worlds.clear()


@pytest.fixture
def machine(loop: asyncio.AbstractEventLoop) -> type[Machine]:
    """The machine, on this module's database."""
    Machine.loop, Machine.shop = loop, loop.run_until_complete(Shop.opened())
    return Machine


def run(machine: type[Machine], examples: int, **options: Any) -> None:
    given: dict[str, Any] = {
        "max_examples": examples,
        "stateful_step_count": 30,
        "deadline": None,
        "suppress_health_check": list(HealthCheck),
        "database": None,
    }
    run_state_machine_as_test(machine, settings=settings(**{**given, **options}))


SAMPLE: dict[str, Any] = {"derandomize": True, "phases": [Phase.generate], "report_multiple_bugs": False}


def test_whatever_happens_money_is_taken_once_and_told_truly(machine: type[Machine]) -> None:
    run(machine, 10, **SAMPLE)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_thousands_of_times(machine: type[Machine]) -> None:
    run(machine, 3000)


# -- stories that were told wrong once --------------------------------------------------------------------------------

Story = tuple[int, tuple[tuple[str, dict[str, Any]], ...]]  # the policy, and what happens
STORIES: dict[str, Story] = {
    "a course that is to end before a membership of it begins": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 1, "days": 20}),
            ("course_ends", {"pick": 0, "end": 0, "days": 5}),
            ("later", {"hours": 24 * 33}),
        ),
    ),
    "the instruction dies that paid a term": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 2, "days": -35}),
            ("later", {"hours": 1}),
            ("works_on", {}),
            ("instruction", {"pick": 0, "what": 5}),
            ("told_again", {"pick": 1}),
        ),
    ),
    "the price of a term accrues during a suspension": (
        2,
        (
            ("joins", {"card": True, "debit": True, "kind": 2, "days": -35}),
            ("instruction", {"pick": 0, "what": 2}),
            ("told_again", {"pick": 0}),
            ("later", {"hours": 24 * 16}),
            ("signs", {"pick": 0}),
        ),
    ),
    "a move to come before the month was asked for": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 1, "days": 0}),
            ("moves", {"pick": 0, "to": 4, "days": 5, "same": False}),
            ("later", {"hours": 24 * 8}),
        ),
    ),
    "a fee for days after an announced end fails": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 0, "days": 0}),
            ("later", {"hours": 24 * 20}),
            ("works_on", {}),
            ("course_ends", {"pick": 0, "end": 1, "days": 5}),
            ("happens", {"pick": 1, "which": 2, "times": 2}),
            ("later", {"hours": 24 * 8}),
        ),
    ),
    "what carried a trifle is stopped at the bank after the end": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 4, "days": 0}),
            ("by_hand", {"pick": 0, "retry": False}),
            ("by_hand", {"pick": 0, "retry": False}),
            ("works_on", {}),
            ("course_ends", {"pick": 0, "end": 1, "days": -35}),
            ("works_on", {}),
        ),
    ),
    "an error is kept under the key of the wish to stop": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 0, "days": 0}),
            ("later", {"hours": 1}),
            ("works_on", {}),
            ("course_ends", {"pick": 0, "end": 1, "days": -35}),
            ("works", {"pick": 0, "fault": Fault.ERROR, "uncommitted": False}),
        ),
    ),
    "an error is kept under the key of a retry": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 0, "days": 0}),
            ("later", {"hours": 1}),
            ("works_on", {}),
            ("happens", {"pick": 0, "which": 2, "times": 1}),
            ("by_hand", {"pick": 0, "retry": True}),
            ("works", {"pick": 0, "fault": Fault.ERROR, "uncommitted": False}),
        ),
    ),
    "a call arrives behind one that was refused": (
        0,
        (
            ("buys_package", {"debit": False}),
            ("works", {"pick": 0, "fault": Fault.LATE, "uncommitted": False}),
            ("works", {"pick": 0, "fault": Fault.REFUSED, "uncommitted": False}),
            ("lands", {"pick": 0}),
        ),
    ),
    "the bank tries again by itself and gives up, and nobody hears of the trying": (
        0,
        (
            ("joins", {"card": True, "debit": True, "kind": 0, "days": 0}),
            ("later", {"hours": 1}),
            ("works_on", {}),
            ("happens", {"pick": 0, "which": 0, "times": 1}),
            ("happens", {"pick": 0, "which": 2, "times": 1}),
            ("happens", {"pick": 0, "which": 0, "times": 0}),
            ("happens", {"pick": 0, "which": 1, "times": 1}),
            ("later", {"hours": 24 * 8}),
        ),
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
async def test_stories_that_were_told_wrong(story: Story, database: None) -> None:
    policy, deeds = story
    world = begun(await Shop.opened())
    await world.begin(policy)
    for deed, given in deeds:
        await world.do(deed, **given)
        await Truths(world).hold()
    await world.settled()
    await Truths(world).hold()
    await Truths(world).agree()


# -- the negative control: what finds nothing wrong with these proves nothing -----------------------------------------

_keys = count(1)


async def _collects_naively(work: Work) -> None:
    """As it is often written: a fresh key each try, nothing is looked up."""
    payment = await Payment.get(id=UUID(work.job.payload["payment_id"]))
    order = replace(await payments.order_of(payment), key=f"naive:{next(_keys)}")
    collected = await (await work.providers.payments(payment.provider)).collect(order)
    await payments.settle(
        payment.id, PaymentOutcome.SUBMITTED, reference=collected.reference, acting=work.acting, at=work.now
    )


async def _nothing(*_args: Any, **_options: Any) -> None:
    """Left out."""


def test_a_naive_worker_is_found_out(machine: type[Machine], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(naive, "payments.collect", _collects_naively)
    with pytest.raises(AssertionError, match="is collected 2 times"):
        run(machine, 100, **SAMPLE)


@pytest.mark.parametrize(
    ("module", "name", "instead"),
    [(ledger, "moved", _nothing), (endings, "stop", _nothing)],
    ids=["a movement is not booked", "an end stops nothing"],
)
def test_a_fault_in_our_own_code_is_found_out(
    machine: type[Machine], monkeypatch: pytest.MonkeyPatch, module: Any, name: str, instead: Any
) -> None:
    monkeypatch.setattr(module, name, instead)
    with pytest.raises(AssertionError):
        run(machine, 100, **SAMPLE)
