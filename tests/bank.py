"""A bank in this process: it keeps what it was asked for, and that is the truth outside.

It fulfils PaymentGateway, MandateGateway, WebhookSource and EventLog, loses answers, keeps 500s under their keys,
refuses, does late what was thought lost, and tells events that somebody has to deliver.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from itertools import count
from typing import Any, cast
from uuid import UUID

from models.actions.asking import ANSWERED_ERROR
from models.ports import (
    CONFLICT,
    Collected,
    Collection,
    LiveBus,
    MandateRequest,
    OutcomeUnknown,
    Providers,
    ReceivedEvent,
    Refunded,
    RefundOrder,
    Refused,
    Unavailable,
)
from models.rules import facts
from models.rules.facts import Fact, MandateChanged, Mirrored, PaymentFact, RefundFact
from models.rules.states import MandateStatus, PaymentOutcome, Provider, RefundOutcome

_numbers = count(1)
TAKEN = frozenset({"confirmed", "paid_out"})
OVER = frozenset({"cancelled", "failed"})
MOST_RETRIES = 3
OUTCOMES: dict[str, PaymentOutcome | None] = {
    "pending": None,
    "submitted": PaymentOutcome.SUBMITTED,
    "confirmed": PaymentOutcome.CONFIRMED,
    "paid_out": PaymentOutcome.PAID_OUT,
    "cancelled": PaymentOutcome.CANCELLED,
    "failed": PaymentOutcome.FAILED,
    "charged_back": PaymentOutcome.CHARGED_BACK,
}
TELLS: dict[PaymentOutcome, type[PaymentFact]] = {
    each.outcome: each
    for each in (
        facts.PaymentSubmitted,
        facts.PaymentSucceeded,
        facts.PaymentPaidOut,
        facts.PaymentFailed,
        facts.PaymentCancelled,
        facts.PaymentChargedBack,
    )
}
# What may become of a collection by itself: where it stands -> where to, and whether the bank tries it again.
HAPPENS: dict[str, tuple[tuple[str, bool], ...]] = {
    "pending": (("submitted", False), ("confirmed", False), ("failed", False)),
    "submitted": (("confirmed", False), ("failed", False), ("failed", True)),
    "confirmed": (("paid_out", False), ("charged_back", False), ("failed", False)),
    "paid_out": (("charged_back", False), ("failed", False)),
    "failed": (),
    "cancelled": (),
    "charged_back": (("paid_out", False),),
}
REFUND_HAPPENS = {"pending": ("paid", "failed"), "paid": ("failed",), "failed": ()}
REFUNDS = {"pending": RefundOutcome.SUBMITTED, "paid": RefundOutcome.SUCCEEDED, "failed": RefundOutcome.FAILED}


class Died(BaseException):
    """The process of the worker ended here."""


class Fault(StrEnum):
    """What goes wrong with the next call that writes."""

    NONE = "none"
    AWAY = "nothing happened"
    LOST = "the call was lost"
    UNANSWERED = "the answer was lost"
    LATE = "the call arrives later"
    ERROR = "an error is kept under its key"
    REFUSED = "refused"
    DECLINED = "made, and failed at once"
    DIES_BEFORE = "the worker dies before the call"
    DIES_AFTER = "the worker dies after the effect"
    FREEZES = "the worker freezes after the effect, and another takes its job"


@dataclass
class Taking:
    """A collection as the bank has it."""

    id: str
    payment_id: UUID
    amount: int
    currency: str
    mandate: str | None
    status: str = "pending"
    tries: int = 0
    will_retry: bool = False
    cause: str | None = None
    came: bool = False

    @property
    def told(self) -> Collected:
        """What the port tells of it."""
        return Collected(self.id, OUTCOMES[self.status], self.cause, self.will_retry, self.amount, self.currency)


@dataclass
class Returned:
    """A refund as the bank has it."""

    id: str
    refund_id: UUID
    of: Taking
    amount: int
    currency: str
    status: str = "pending"

    @property
    def told(self) -> Refunded:
        """What the port tells of it."""
        return Refunded(self.id, REFUNDS[self.status], self.cause, self.amount, self.currency)

    @property
    def cause(self) -> str | None:
        """How it failed."""
        return self.status if self.status == "failed" else None


Effect = Callable[[], Taking | Returned]


@dataclass
class Bank:
    """One provider: the card acquirer, or the one of direct debits."""

    provider: Provider
    now: Callable[[], datetime]
    meanwhile: Callable[[], Awaitable[None]]
    takings: list[Taking] = field(default_factory=list)
    returned: list[Returned] = field(default_factory=list)
    mandates: dict[str, MandateStatus] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    events: list[ReceivedEvent] = field(default_factory=list)
    kept: dict[str, Taking | Returned] = field(default_factory=dict)
    errors: set[str] = field(default_factory=set)
    late: list[tuple[str, Effect]] = field(default_factory=list)
    fault: Fault = Fault.NONE

    # -- PaymentGateway ----------------------------------------------------------------------------------------------

    async def collect(self, order: Collection) -> Collected:
        """Take money, once for each key."""

        def effect() -> Taking:
            self._usable(order.mandate)
            taking = Taking(f"PM{next(_numbers)}", order.payment_id, order.amount, order.currency, order.mandate)
            self.takings.append(taking)
            self._event("payments.created", taking.id)
            return taking

        def wanted(known: Taking | Returned) -> bool:
            return isinstance(known, Taking) and _asked(known) == (order.payment_id, order.amount, order.mandate)

        made = cast("Taking", await self._write(order.key, effect, wanted))
        return made.told

    async def look_up(self, order: Collection) -> Collected | None:
        """The collection of a payment of ours."""
        if self.provider is Provider.GOCARDLESS and order.mandate is None:
            return None
        made = [each for each in self.takings if (each.payment_id, each.mandate) == (order.payment_id, order.mandate)]
        if not made:
            return None
        found = min(made, key=lambda each: each.status in OVER)
        if found.amount != order.amount:
            raise Refused("another amount", code=CONFLICT)
        return found.told

    async def status(self, reference: str) -> Collected:
        """A collection as it stands."""
        return self.taking(reference).told

    async def retry(self, reference: str, key: str) -> Collected:
        """Try a failed one again, three times at most."""
        taking = self.taking(reference)
        if taking.status != "failed":
            return taking.told

        def effect() -> Taking:
            self._usable(taking.mandate)
            if taking.tries >= MOST_RETRIES or taking.status != "failed":
                raise Refused("too often", code="retry_failed")
            taking.tries += 1
            self.becomes(taking, "pending", action="resubmission_requested")
            return taking

        await self._write(key, effect, lambda _: True)
        return taking.told

    async def cancel(self, reference: str, key: str) -> Collected:
        """Take one back that was not submitted yet."""
        taking = self.taking(reference)

        def effect() -> Taking:
            if taking.status != "pending":
                raise Refused("too late", code="cancellation_failed")
            self.becomes(taking, "cancelled", cause="payment_cancelled")
            return taking

        await self._write(key, effect, lambda _: True)
        return taking.told

    async def refund(self, order: RefundOrder) -> Refunded:
        """Give money back that is there."""

        def effect() -> Returned:
            taking = self.taking(order.payment_reference)
            before = sum(each.amount for each in self.returned if each.of is taking and each.status != "failed")
            if taking.status not in TAKEN or before + order.amount > taking.amount:
                raise Refused("nothing to give back", code="refund_not_possible")
            if self.provider is Provider.GOCARDLESS and before != order.refunded_so_far:
                raise Refused("counted otherwise", code="total_amount_confirmation_invalid")
            made = Returned(f"RF{next(_numbers)}", order.refund_id, taking, order.amount, order.currency)
            self.returned.append(made)
            return made

        made = cast("Returned", await self._write(order.key, effect, lambda known: isinstance(known, Returned)))
        return made.told

    async def find_refund(self, order: RefundOrder) -> Refunded | None:
        """The refund of ours."""
        return next((each.told for each in self.returned if each.refund_id == order.refund_id), None)

    async def refund_status(self, reference: str) -> Refunded:
        """A refund as it stands."""
        return next(each.told for each in self.returned if each.id == reference)

    # -- MandateGateway ----------------------------------------------------------------------------------------------

    async def start(
        self, *, user_id: UUID, mandate_id: UUID, currency: str, prefilled: Mapping[str, str], key: str
    ) -> MandateRequest:
        """Open a page to sign at."""
        del user_id, currency, prefilled, key
        request = self.requests.setdefault(str(mandate_id), f"BRQ{next(_numbers)}")
        return MandateRequest(request, "http://127.0.0.1/sign")

    async def withdraw(self, *, mandate: str | None, request: str | None, key: str) -> None:
        """Cancel an instruction, and with it what waits to be sent."""
        del request, key
        if mandate is not None and self.mandates[mandate] is MandateStatus.ACTIVE:
            self.mandate_becomes(mandate, MandateStatus.CANCELLED)

    async def next_charge_date(self, mandate: str) -> date:
        """Any day will do."""
        self._usable(mandate)
        return self.now().date()

    # -- WebhookSource and EventLog ----------------------------------------------------------------------------------

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """An event -> what it means, from the object as it is now."""
        kind = event.event_type.partition(".")[0]
        assert event.object_id is not None
        if kind == "mandates":
            return await self.read(Mirrored.MANDATE, event.object_id)
        if kind == "refunds":
            return [self._refund_fact(next(each for each in self.returned if each.id == event.object_id))]
        taking = self.taking(event.object_id)
        outcome = OUTCOMES[taking.status] or PaymentOutcome.SUBMITTED
        told: Any = TELLS[outcome](
            payment_reference=str(taking.payment_id),
            provider=self.provider.value,
            external_id=taking.id,
            occurred_at=self.now(),
            cause=taking.cause,
            will_attempt_retry=taking.will_retry,
        )
        return [told]

    async def read(self, kind: Mirrored, reference: str) -> list[Fact]:
        """An instruction as it stands, and the one that took its place."""
        assert kind is Mirrored.MANDATE
        known = (reference, self.replaced.get(reference))
        return [
            MandateChanged(
                provider=self.provider.value,
                external_id=each,
                customer_id=None,
                user_reference=None,
                status=self.mandates[each],
                occurred_at=self.now(),
                origin="bank",
                cause="told",
                replaced_by=self.replaced.get(each),
            )
            for each in known
            if each is not None
        ]

    def _refund_fact(self, made: Returned) -> RefundFact:
        return RefundFact(
            outcome=REFUNDS[made.status],
            refund_reference=str(made.refund_id),
            payment_reference=str(made.of.payment_id),
            provider=self.provider.value,
            external_id=made.id,
            payment_external_id=made.of.id,
            amount=made.amount,
            currency=made.currency,
            occurred_at=self.now(),
            cause=made.cause,
        )

    # -- what happens there ------------------------------------------------------------------------------------------

    def taking(self, reference: str) -> Taking:
        """A collection by its id."""
        return next(each for each in self.takings if each.id == reference)

    def becomes(
        self, taking: Taking, status: str, *, cause: str | None = None, again: bool = False, action: str | None = None
    ) -> None:
        """A collection changes, and an event is there to be told."""
        taking.status, taking.will_retry, taking.cause = status, again, cause
        taking.came = taking.came or status in TAKEN
        self._event(f"payments.{action or status}", taking.id)

    def happens(self, taking: Taking, pick: int) -> bool:
        """Something that may become of a collection does -> whether anything may."""
        ways = (("submitted", False),) if taking.will_retry else HAPPENS[taking.status]
        if not ways:
            return False
        status, again = ways[pick % len(ways)]
        self.becomes(taking, status, cause="insufficient_funds" if status == "failed" else None, again=again)
        return True

    def refund_happens(self, made: Returned, pick: int) -> bool:
        """The same of a refund."""
        ways = REFUND_HAPPENS[made.status]
        if not ways:
            return False
        made.status = ways[pick % len(ways)]
        self._event(f"refunds.{made.status}", made.id)
        return True

    def signed(self) -> str:
        """A new instruction that can be used."""
        mandate = f"MD{next(_numbers)}"
        self.mandates[mandate] = MandateStatus.ACTIVE
        return mandate

    def mandate_becomes(self, mandate: str, status: MandateStatus) -> None:
        """An instruction changes; what waits to be sent on it goes with it."""
        self.mandates[mandate] = status
        self._event(f"mandates.{status.value.lower()}", mandate)
        if status is not MandateStatus.ACTIVE:
            for taking in self.takings:
                if taking.mandate == mandate and taking.status == "pending":
                    self.becomes(taking, "cancelled", cause="mandate_cancelled")

    def replace(self, mandate: str) -> None:
        """Another instruction takes the place of one; what was asked for goes on by it."""
        self.mandates[mandate], new = MandateStatus.CANCELLED, self.signed()
        self.replaced[mandate] = new
        self._event("mandates.replaced", mandate)

    def land(self, pick: int) -> bool:
        """A call that was thought lost arrives."""
        if not self.late:
            return False
        key, effect = self.late.pop(pick % len(self.late))
        if key not in self.kept and key not in self.errors:
            try:
                self.kept[key] = effect()
            except Refused:
                return False
        return True

    def _event(self, kind: str, object_id: str) -> None:
        event_id = f"EV{next(_numbers)}"
        self.events.append(ReceivedEvent(event_id, kind, object_id, {"id": event_id}))

    def _usable(self, mandate: str | None) -> None:
        if self.provider is Provider.GOCARDLESS and self.mandates.get(mandate or "") is not MandateStatus.ACTIVE:
            raise Refused("no instruction", code="mandate_is_inactive")

    async def _write(self, key: str, effect: Effect, wanted: Callable[[Taking | Returned], bool]) -> Taking | Returned:
        fault, self.fault = self.fault, Fault.NONE
        self._before(fault, key, effect)
        if key not in self.kept:
            self.kept[key] = made = effect()
            if fault is Fault.DECLINED and isinstance(made, Taking) and made.status == "pending":
                self.becomes(made, "failed", cause="card_declined")
        if not wanted(self.kept[key]):
            raise Refused("the key stands for something else", code=CONFLICT)
        if fault is Fault.DIES_AFTER:
            raise Died
        if fault is Fault.FREEZES:
            await self.meanwhile()
        if fault is Fault.UNANSWERED:
            raise OutcomeUnknown("no answer", code="NO_ANSWER")
        return self.kept[key]

    def _before(self, fault: Fault, key: str, effect: Effect) -> None:
        """What goes wrong before anything is done."""
        if fault is Fault.DIES_BEFORE:
            raise Died
        if fault is Fault.AWAY:
            raise Unavailable("away")
        if key in self.errors or (fault is Fault.ERROR and key not in self.kept):
            self.errors.add(key)
            raise OutcomeUnknown("500", code=ANSWERED_ERROR)
        if fault is Fault.LATE:
            self.late.append((key, effect))
        if fault in (Fault.LATE, Fault.LOST):
            raise OutcomeUnknown("no answer", code="NO_ANSWER")
        if fault is Fault.REFUSED and key not in self.kept:
            raise Refused("no", code="refused")


def _asked(taking: Taking) -> tuple[UUID, int, str | None]:
    return taking.payment_id, taking.amount, taking.mandate


@dataclass
class Banks:
    """The outside of a worker: two banks, nobody else, and nobody who listens."""

    of: dict[Provider, Bank]

    async def payments(self, provider: Provider) -> Bank:
        """Who takes money."""
        return self.of[provider]

    webhooks = event_log = payments

    async def mandates(self) -> Bank:
        """Who keeps instructions."""
        return self.of[Provider.GOCARDLESS]

    async def notifier(self) -> None:
        """Nobody."""

    async def publish(self, _events: Any) -> None:
        """Nobody hears."""

    @property
    def providers(self) -> Providers:
        """As the jobs take it."""
        return cast("Providers", self)

    @property
    def bus(self) -> LiveBus:
        """The same."""
        return cast("LiveBus", self)
