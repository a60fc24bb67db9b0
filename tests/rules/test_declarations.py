"""The tables of refusals, events and facts are complete and speak plainly."""

import dataclasses
import pickle
import re
from datetime import UTC, datetime
from typing import get_args
from uuid import UUID

import pytest

from models.rules import events, facts
from models.rules.lifecycle import Status
from models.rules.refusals import REFUSALS, Code, Refusal
from models.rules.states import (
    RECEIVED,
    REFUND_SETTLEMENTS,
    SETTLEMENTS,
    PaymentOutcome,
    PaymentStatus,
    RefundOutcome,
    RefundStatus,
    refund_settled,
    refundable,
    settled,
)


@pytest.mark.parametrize("code", Code)
def test_every_refusal_has_a_sentence_and_a_source(code: Code) -> None:
    sentence, source = REFUSALS[code]
    assert code.value == code.name
    assert re.fullmatch(r"[A-Z].*\.", sentence)
    assert source
    assert Refusal(code).message == sentence
    assert Refusal(code).because == source


def test_a_refusal_tells_what_was_found_before_what_to_do() -> None:
    refusal = Refusal(Code.NOT_FOUND, "No course has this id.", field=("input", "courseId"), because="R16")
    assert refusal.message == "No course has this id. Nothing you may see has this id: check it."
    assert (refusal.code, refusal.because, refusal.field) == (Code.NOT_FOUND, "R16", ("input", "courseId"))
    assert str(refusal) == f"NOT_FOUND: {refusal.message} (R16)"


def test_a_refusal_survives_the_way_to_another_process() -> None:
    refusal = Refusal(Code.COURSE_FULL, "8 of 8 places are taken.", field=("courseId",))
    # the bytes are our own, made one line above
    again = pickle.loads(pickle.dumps(refusal))
    assert (again.code, again.message, again.because, again.field) == (
        refusal.code,
        refusal.message,
        refusal.because,
        refusal.field,
    )


def test_events_carry_ids_and_words_only() -> None:
    for event in get_args(events.Event):
        fields = {field.name: field.type for field in dataclasses.fields(event)}
        assert all(kind in {UUID, UUID | None, Status} for kind in fields.values()), event
        assert event.__dataclass_params__.frozen


def test_topics_and_reactions_belong_to_events() -> None:
    known = set(get_args(events.Event))
    assert events.TOPIC.keys() <= known
    assert events.REACTIONS.keys() <= known
    assert set(events.TOPIC.values()) == {"membership", "invoice", "payment", "booking", "waiting_list"}
    assert all(re.fullmatch(r"[a-z]+\.[a-z_]+", job) for jobs in events.REACTIONS.values() for job in jobs)


def test_each_fact_about_a_payment_names_its_outcome() -> None:
    kinds = [kind for kind in get_args(facts.Fact) if issubclass(kind, facts.PaymentFact)]
    assert {kind.outcome for kind in kinds} == set(PaymentOutcome)
    failed = facts.PaymentFailed(
        payment_reference=None, provider="GOCARDLESS", external_id="PM1", occurred_at=datetime(2025, 6, 2, tzinfo=UTC)
    )
    assert failed.outcome is PaymentOutcome.FAILED
    assert not failed.will_attempt_retry


@pytest.mark.parametrize("outcome", PaymentOutcome)
@pytest.mark.parametrize("status", PaymentStatus)
def test_an_outcome_told_twice_settles_a_payment_once(status: PaymentStatus, outcome: PaymentOutcome) -> None:
    once = settled(status, outcome)
    assert (once is not None) == (status in SETTLEMENTS[outcome][0])
    if once is not None:
        assert once is not status
        assert settled(once, outcome) is None


def test_confirmed_money_can_fall_again() -> None:
    assert settled(PaymentStatus.PAID_OUT, PaymentOutcome.FAILED) is PaymentStatus.FAILED
    assert settled(PaymentStatus.PAID_OUT, PaymentOutcome.CHARGED_BACK) is PaymentStatus.CHARGED_BACK


def test_a_cancelled_payment_is_over_unless_the_money_came_all_the_same() -> None:
    news = {outcome: settled(PaymentStatus.CANCELLED, outcome) for outcome in PaymentOutcome}
    assert {outcome for outcome in news if news[outcome]} == {PaymentOutcome.CONFIRMED, PaymentOutcome.PAID_OUT}


@pytest.mark.parametrize("outcome", RefundOutcome)
@pytest.mark.parametrize("status", RefundStatus)
def test_an_outcome_told_twice_settles_a_refund_once(status: RefundStatus, outcome: RefundOutcome) -> None:
    once = refund_settled(status, outcome)
    assert (once is not None) == (status in REFUND_SETTLEMENTS[outcome][0])
    if once is not None:
        assert once is not status
        assert refund_settled(once, outcome) is None


def test_a_refund_that_arrived_may_be_sent_back_and_then_is_over() -> None:
    assert refund_settled(RefundStatus.SUCCEEDED, RefundOutcome.FAILED) is RefundStatus.FAILED
    assert refund_settled(RefundStatus.FAILED, RefundOutcome.SUCCEEDED) is None


@pytest.mark.parametrize(
    ("status", "refunds", "left"),
    [
        (PaymentStatus.CONFIRMED, [], 35_00),
        (PaymentStatus.PAID_OUT, [(RefundStatus.SUCCEEDED, 10_00), (RefundStatus.DUE, 5_00)], 20_00),
        (PaymentStatus.CONFIRMED, [(RefundStatus.UNKNOWN, 10_00), (RefundStatus.SUBMITTED, 25_00)], 0),
        (PaymentStatus.CONFIRMED, [(RefundStatus.FAILED, 35_00)], 35_00),
        (PaymentStatus.CONFIRMED, [(RefundStatus.SUCCEEDED, 35_00), (RefundStatus.DUE, 1)], 0),
        *((status, [], 0) for status in PaymentStatus if status not in RECEIVED),
    ],
)
def test_what_was_received_and_not_given_back_is_refundable(
    status: PaymentStatus, refunds: list[tuple[RefundStatus, int]], left: int
) -> None:
    assert refundable(status, 35_00, refunds) == left
