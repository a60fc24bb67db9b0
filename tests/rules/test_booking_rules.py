"""Quotes over every timetable, not only the document's six rows."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from models.rules.booking import (
    Basis,
    ClassState,
    Line,
    Method,
    Pricing,
    Quote,
    Session,
    SettledBy,
    quote,
    shares,
    timetable,
)
from models.rules.credits import Lot
from models.rules.money import Money
from models.rules.refusals import Code, Refusal

NOW = datetime(2025, 3, 31, 18, 0, tzinfo=UTC)
LATE = {Method.MEMBERSHIP: Code.MEMBERSHIP_FULL_RATE_STARTED, Method.PACKAGE: Code.PACKAGE_CANNOT_COVER_ELAPSED}

sessions = st.builds(
    Session,
    id=st.uuids(version=4),
    starts_at=st.integers(-20, 20).map(lambda hours: NOW + timedelta(hours=hours)),
    deleted=st.booleans(),
)
courses = st.lists(sessions, max_size=24, unique_by=lambda session: session.id)
prices = st.integers(0, 10**7)
held = st.integers(0, 30)


def lots(holding: int) -> list[Lot]:
    return [Lot(UUID(int=1), holding)]


def charge_of(lines: tuple[Line, ...]) -> int:
    return sum(line.share for line in lines if line.settled_by is SettledBy.CHARGE)


def asked(price: int, pricing: Pricing, course: list[Session], method: Method, holding: int, basis: Basis) -> Quote:
    try:
        return quote(Money(price, "GBP"), pricing, course, NOW, method, lots(holding), basis)
    except Refusal:
        assume(False)
        raise


@given(prices, courses, st.sampled_from(Basis))
def test_elapsed_deleted_and_remaining_shares_equal_the_price(price: int, course: list[Session], basis: Basis) -> None:
    classes = timetable(course, NOW)
    parts = shares(price, classes, basis)
    counted = len(course) if basis is Basis.SCHEDULED else classes.elapsed + classes.future
    assert len(parts) == len(course)
    assert sum(parts) == (price if counted else 0)
    by_state = dict.fromkeys(ClassState, 0)
    for (_, state), part in zip(classes.classes, parts, strict=True):
        by_state[state] += part
    if basis is Basis.NOT_DELETED:
        assert by_state[ClassState.DELETED] == 0
        assert by_state[ClassState.ELAPSED] + by_state[ClassState.FUTURE] == (price if counted else 0)


@given(
    prices,
    courses,
    held,
    st.sampled_from(Pricing),
    st.sampled_from(Method),
    st.sampled_from(Basis),
    st.randoms(use_true_random=False),
)
def test_a_quote_adds_up_and_does_not_depend_on_the_order_it_is_told(
    price: int, course: list[Session], holding: int, pricing: Pricing, method: Method, basis: Basis, random: Random
) -> None:
    answer = asked(price, pricing, course, method, holding, basis)
    assert answer.charge == Money(charge_of(answer.lines), "GBP")
    assert answer.credits == sum(line.settled_by is SettledBy.CREDIT for line in answer.lines) <= holding
    assert 0 <= answer.charge.minor_units <= price
    assert sorted(line.session_id for line in answer.lines) == sorted(session.id for session in course)
    assert all(line.state is ClassState.FUTURE for line in answer.lines if line.settled_by is SettledBy.CREDIT)
    shuffled = list(course)
    random.shuffle(shuffled)
    assert quote(Money(price, "GBP"), pricing, shuffled, NOW, method, lots(holding), basis) == answer


@given(prices, courses, held, st.sampled_from(Pricing), st.sampled_from(Basis))
def test_what_payment_takes(price: int, course: list[Session], holding: int, pricing: Pricing, basis: Basis) -> None:
    answer = asked(price, pricing, course, Method.PAYMENT, holding, basis)
    assert answer.credits == 0
    if pricing is Pricing.FULL_RATE:
        assert answer.charge.minor_units == price
    else:
        assert {line.state for line in answer.lines if line.settled_by is SettledBy.CHARGE} == {ClassState.FUTURE}


@given(prices, courses, held, st.sampled_from(Pricing), st.sampled_from(Basis))
def test_package_and_charge_is_never_refused_and_never_dearer_with_a_credit_more(
    price: int, course: list[Session], holding: int, pricing: Pricing, basis: Basis
) -> None:
    classes = timetable(course, NOW)
    assume(classes.future)
    fewer, more = (
        quote(Money(price, "GBP"), pricing, course, NOW, Method.PACKAGE_AND_CHARGE, lots(number), basis)
        for number in (holding, holding + 1)
    )
    assert fewer.credits == min(holding, classes.future)
    assert more.charge <= fewer.charge


@given(courses, held, st.sampled_from(Pricing), st.sampled_from(list(LATE)))
def test_credits_alone_take_one_for_each_class_to_come_or_are_refused(
    course: list[Session], holding: int, pricing: Pricing, method: Method
) -> None:
    classes = timetable(course, NOW)
    late = pricing is Pricing.FULL_RATE and classes.started
    if classes.future and not late and holding >= classes.future:
        answer = quote(Money(80_00, "GBP"), pricing, course, NOW, method, lots(holding))
        assert (answer.credits, answer.charge) == (classes.future, Money(0, "GBP"))
        return
    with pytest.raises(Refusal) as refused:
        quote(Money(80_00, "GBP"), pricing, course, NOW, method, lots(holding))
    if classes.future == 0:
        assert refused.value.code is Code.NO_FUTURE_CLASSES
    elif late:
        assert refused.value.code is LATE[method]
    else:
        assert refused.value.code is Code.INSUFFICIENT_CREDITS


def test_classes_at_one_instant_keep_one_order() -> None:
    twins = [Session(UUID(int=n), NOW + timedelta(hours=1)) for n in (3, 1, 2)]
    assert [session.id.int for session, _ in timetable(twins, NOW).classes] == [1, 2, 3]
