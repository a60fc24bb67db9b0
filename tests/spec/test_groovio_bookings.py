"""Course bookings, as their document reads: its summary table in its own order, then its sentences and its gaps."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from models.rules.booking import (
    Basis,
    ClassState,
    Method,
    Pricing,
    Session,
    SettledBy,
    quote,
    shares,
    timetable,
)
from models.rules.credits import Lot
from models.rules.money import Money
from models.rules.refusals import Code, Refusal

FULL_RATE, PRORATED = Pricing
SCHEDULED, NOT_DELETED = Basis
PAYMENT, MEMBERSHIP, PACKAGE, PACKAGE_AND_CHARGE = Method
DELETED, ELAPSED, FUTURE = ClassState

NOW = datetime(2025, 3, 31, 18, 0, tzinfo=UTC)
PRICE = Money(80_00, "USD")


def lots(held: int, *, good_until: datetime | None = None) -> list[Lot]:
    """So many credits of one package."""
    return [Lot(UUID(int=1), held, good_until, good_until)]


Taken = tuple[int, int]  # credits, minor units
LATE_MEMBERSHIP = Code.MEMBERSHIP_FULL_RATE_STARTED
LATE_PACKAGE = Code.PACKAGE_CANNOT_COVER_ELAPSED


def charged(amount: int) -> Taken:
    return (0, amount)


def credits(number: int, *, charged: int = 0) -> Taken:  # noqa: A001  the field's word
    return (number, charged)


def short(number: int) -> str:
    return f"{number} short"


def a_course(*, elapsed: int = 0, deleted: int = 0, future: int = 0) -> list[Session]:
    """Weekly classes around NOW: those that passed, then the deleted ones, then those to come."""
    states = [ELAPSED] * elapsed + [DELETED] * deleted + [FUTURE] * future
    first = NOW - timedelta(weeks=elapsed) + timedelta(hours=1)
    return [
        Session(UUID(int=n), first + timedelta(weeks=n), deleted=state is DELETED) for n, state in enumerate(states)
    ]


def outcome(
    method: Method,
    pricing: Pricing,
    course: Sequence[Session],
    *,
    held: int,
    basis: Basis = SCHEDULED,
    price: Money = PRICE,
) -> Taken | str:
    """What booking takes, or how many credits it is short of, or the code it is refused with."""
    try:
        answer = quote(price, pricing, course, NOW, method, lots(held), basis)
    except Refusal as refusal:
        short_of_credits = refusal.code is Code.INSUFFICIENT_CREDITS
        return refusal.message.split(":")[0] if short_of_credits else refusal.code
    return answer.credits, answer.charge.minor_units


SUMMARY_WITH_TEN_CREDITS = [
    # pricing, elapsed, deleted, future | payments | memberships | package + charge | package (not in the table)
    (FULL_RATE, 0, 0, 8, charged(80_00), credits(8), credits(8), credits(8)),
    (FULL_RATE, 0, 2, 6, charged(80_00), credits(6), credits(6), credits(6)),
    (FULL_RATE, 2, 0, 6, charged(80_00), LATE_MEMBERSHIP, credits(6, charged=20_00), LATE_PACKAGE),
    (FULL_RATE, 2, 2, 4, charged(80_00), LATE_MEMBERSHIP, credits(4, charged=20_00), LATE_PACKAGE),
    (PRORATED, 2, 0, 6, charged(60_00), credits(6), credits(6), credits(6)),
    (PRORATED, 2, 2, 4, charged(40_00), credits(4), credits(4), credits(4)),
]
SUMMARY_WITH_THREE_CREDITS = [
    (FULL_RATE, 0, 0, 8, charged(80_00), short(5), credits(3, charged=50_00), short(5)),
    (FULL_RATE, 0, 2, 6, charged(80_00), short(3), credits(3, charged=30_00), short(3)),
    (FULL_RATE, 2, 0, 6, charged(80_00), LATE_MEMBERSHIP, credits(3, charged=50_00), LATE_PACKAGE),
    (FULL_RATE, 2, 2, 4, charged(80_00), LATE_MEMBERSHIP, credits(3, charged=30_00), LATE_PACKAGE),
    (PRORATED, 2, 0, 6, charged(60_00), short(3), credits(3, charged=30_00), short(3)),
    (PRORATED, 2, 2, 4, charged(40_00), short(1), credits(3, charged=10_00), short(1)),
]
ROWS = [
    "not started",
    "not started, some deleted",
    "full rate",
    "full rate, some deleted",
    "prorated",
    "prorated, some",
]
COLUMNS = ("pricing", "elapsed", "deleted", "future", "payment", "membership", "package_and_charge", "package")


@pytest.mark.parametrize(COLUMNS, SUMMARY_WITH_TEN_CREDITS, ids=ROWS)
def test_class_booking_workflow_summary_with_ten_credits(
    pricing: Pricing,
    elapsed: int,
    deleted: int,
    future: int,
    payment: Taken,
    membership: Taken | str,
    package_and_charge: Taken | str,
    package: Taken | str,
) -> None:
    course = a_course(elapsed=elapsed, deleted=deleted, future=future)
    assert outcome(PAYMENT, pricing, course, held=10) == payment
    assert outcome(MEMBERSHIP, pricing, course, held=10) == membership
    assert outcome(PACKAGE_AND_CHARGE, pricing, course, held=10) == package_and_charge
    assert outcome(PACKAGE, pricing, course, held=10) == package


@pytest.mark.parametrize(COLUMNS, SUMMARY_WITH_THREE_CREDITS, ids=ROWS)
def test_class_booking_workflow_summary_with_three_credits(
    pricing: Pricing,
    elapsed: int,
    deleted: int,
    future: int,
    payment: Taken,
    membership: Taken | str,
    package_and_charge: Taken | str,
    package: Taken | str,
) -> None:
    course = a_course(elapsed=elapsed, deleted=deleted, future=future)
    assert outcome(PAYMENT, pricing, course, held=3) == payment
    assert outcome(MEMBERSHIP, pricing, course, held=3) == membership
    assert outcome(PACKAGE_AND_CHARGE, pricing, course, held=3) == package_and_charge
    assert outcome(PACKAGE, pricing, course, held=3) == package


# The same six rows, where the price is shared over the classes not deleted: 80.00 over 6 is 13.33 x 4 and 13.34 x 2.
SUMMARY_OVER_CLASSES_NOT_DELETED = [
    (FULL_RATE, 0, 0, 8, charged(80_00), credits(3, charged=50_00), credits(8)),
    (FULL_RATE, 0, 2, 6, charged(80_00), credits(3, charged=40_01), credits(6)),
    (FULL_RATE, 2, 0, 6, charged(80_00), credits(3, charged=50_00), credits(6, charged=20_00)),
    (FULL_RATE, 2, 2, 4, charged(80_00), credits(3, charged=40_00), credits(4, charged=26_66)),
    (PRORATED, 2, 0, 6, charged(60_00), credits(3, charged=30_00), credits(6)),
    (PRORATED, 2, 2, 4, charged(53_34), credits(3, charged=13_34), credits(4)),
]


@pytest.mark.parametrize(
    ("pricing", "elapsed", "deleted", "future", "payment", "with_three", "with_ten"),
    SUMMARY_OVER_CLASSES_NOT_DELETED,
    ids=ROWS,
)
def test_the_summary_where_a_share_is_taken_over_the_classes_not_deleted(
    pricing: Pricing, elapsed: int, deleted: int, future: int, payment: Taken, with_three: Taken, with_ten: Taken
) -> None:
    course = a_course(elapsed=elapsed, deleted=deleted, future=future)
    assert outcome(PAYMENT, pricing, course, held=0, basis=NOT_DELETED) == payment
    assert outcome(PACKAGE_AND_CHARGE, pricing, course, held=3, basis=NOT_DELETED) == with_three
    assert outcome(PACKAGE_AND_CHARGE, pricing, course, held=10, basis=NOT_DELETED) == with_ten


# Scenario 1: not started


def test_a_prorated_course_with_deletions_costs_its_future_classes_even_before_it_begins() -> None:
    assert outcome(PAYMENT, PRORATED, a_course(deleted=2, future=6), held=0) == charged(60_00)


def test_a_prorated_course_without_deletions_costs_its_full_price_before_it_begins() -> None:
    assert outcome(PAYMENT, PRORATED, a_course(future=8), held=0) == charged(80_00)


def test_credits_cover_the_earliest_classes_and_the_charge_the_latest() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(future=8), NOW, PACKAGE_AND_CHARGE, lots(3))
    assert [line.settled_by for line in answer.lines] == [SettledBy.CREDIT] * 3 + [SettledBy.CHARGE] * 5
    assert [line.session_id.int for line in answer.lines] == list(range(8))


def test_a_package_that_covers_exactly_the_classes_to_come_is_enough() -> None:
    assert outcome(PACKAGE, FULL_RATE, a_course(future=8), held=8) == credits(8)
    assert outcome(PACKAGE, FULL_RATE, a_course(future=8), held=7) == short(1)


# Scenario 2: full-rate courses under way


def test_a_membership_joins_a_full_rate_course_until_its_first_class_starts() -> None:
    first = NOW + timedelta(microseconds=1)
    course = [Session(UUID(int=n), first + timedelta(weeks=n)) for n in range(8)]
    assert quote(PRICE, FULL_RATE, course, NOW, MEMBERSHIP, lots(8)).credits == 8
    with pytest.raises(Refusal) as refused:
        quote(PRICE, FULL_RATE, course, first, MEMBERSHIP, lots(8))
    assert refused.value.code is Code.MEMBERSHIP_FULL_RATE_STARTED
    assert refused.value.message == (
        "1 of 8 classes have passed. "
        "A membership joins a full-rate course only before it begins: choose another way to pay."
    )
    assert refused.value.because == "Groovio, scenario 2; R122"


def test_completed_and_uncovered_classes_stand_on_lines_of_their_own() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(elapsed=2, deleted=2, future=4), NOW, PACKAGE_AND_CHARGE, lots(3))
    assert [(line.state, line.share, line.settled_by, line.because[:4]) for line in answer.lines] == [
        (ELAPSED, 10_00, SettledBy.CHARGE, "R126"),
        (ELAPSED, 10_00, SettledBy.CHARGE, "R126"),
        (DELETED, 10_00, SettledBy.DELETED, "R130"),
        (DELETED, 10_00, SettledBy.DELETED, "R130"),
        (FUTURE, 10_00, SettledBy.CREDIT, "R117"),
        (FUTURE, 10_00, SettledBy.CREDIT, "R117"),
        (FUTURE, 10_00, SettledBy.CREDIT, "R117"),
        (FUTURE, 10_00, SettledBy.CHARGE, "R117"),
    ]


def test_the_full_amount_includes_the_deleted_classes() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(elapsed=2, deleted=2, future=4), NOW, PAYMENT, lots(0))
    assert {line.settled_by for line in answer.lines} == {SettledBy.CHARGE}
    assert answer.charge == PRICE


def test_a_package_alone_may_join_late_where_the_operator_says_so() -> None:
    course = a_course(elapsed=2, future=6)
    answer = quote(PRICE, FULL_RATE, course, NOW, PACKAGE, lots(10), package_joins_late=True)
    assert (answer.credits, answer.charge) == (6, Money(0, "USD"))
    assert [line.settled_by for line in answer.lines[:2]] == [SettledBy.FREE] * 2
    with pytest.raises(Refusal) as refused:
        quote(PRICE, FULL_RATE, course, NOW, MEMBERSHIP, lots(10), package_joins_late=True)
    assert refused.value.code is Code.MEMBERSHIP_FULL_RATE_STARTED


def test_a_package_alone_is_told_to_charge_as_well() -> None:
    with pytest.raises(Refusal) as refused:
        quote(PRICE, FULL_RATE, a_course(elapsed=2, future=6), NOW, PACKAGE, lots(10))
    assert "choose package and charge" in refused.value.message


# Scenario 3 and key considerations


def test_the_past_of_a_prorated_course_is_free() -> None:
    answer = quote(PRICE, PRORATED, a_course(elapsed=2, deleted=2, future=4), NOW, PAYMENT, lots(0))
    assert [line.settled_by for line in answer.lines] == (
        [SettledBy.FREE] * 2 + [SettledBy.DELETED] * 2 + [SettledBy.CHARGE] * 4
    )


def test_package_and_charge_without_credits_charges_each_class() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(deleted=2, future=6), NOW, PACKAGE_AND_CHARGE, lots(0))
    assert (answer.credits, answer.charge) == (0, Money(60_00, "USD"))
    assert [step.rule for step in answer.because] == ["D6", "D4", "R140", "R130", "R117"]


def test_shares_are_summed_not_scaled() -> None:
    # 79.99 over 8: the first class 9.99, the others 10.00; price x 6 / 8 would say 59.99
    course = a_course(elapsed=2, future=6)
    assert outcome(PAYMENT, PRORATED, course, held=0, price=Money(79_99, "USD")) == charged(60_00)
    assert shares(79_99, timetable(course, NOW)) == [9_99] + [10_00] * 7


# What the document leaves open


def test_a_class_that_starts_exactly_now_has_elapsed() -> None:
    course = timetable([Session(UUID(int=1), NOW), Session(UUID(int=2), NOW + timedelta(days=7))], NOW)
    assert (course.elapsed, course.future, course.started) == (1, 1, True)


def test_a_deleted_class_whose_day_has_passed_does_not_start_the_course() -> None:
    gone = Session(UUID(int=1), NOW - timedelta(days=7), deleted=True)
    course = timetable([Session(UUID(int=2), NOW + timedelta(days=7)), gone], NOW)
    assert [state for _, state in course.classes] == [DELETED, FUTURE]
    assert not course.started
    assert outcome(MEMBERSHIP, FULL_RATE, [session for session, _ in course.classes], held=1) == credits(1)


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("pricing", Pricing)
@pytest.mark.parametrize("basis", Basis)
@pytest.mark.parametrize("course", [[], a_course(deleted=8), a_course(elapsed=8), a_course(elapsed=4, deleted=4)])
def test_a_course_without_a_class_to_come_cannot_be_booked(
    method: Method, pricing: Pricing, basis: Basis, course: list[Session]
) -> None:
    assert outcome(method, pricing, course, held=10, basis=basis) == Code.NO_FUTURE_CLASSES


def test_a_course_all_deleted_has_no_shares_over_the_classes_not_deleted() -> None:
    assert shares(80_00, timetable(a_course(deleted=2), NOW), NOT_DELETED) == [0, 0]
    assert shares(80_00, timetable([], NOW)) == []


def test_a_deleted_class_without_a_share_is_paid_by_nobody() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(deleted=2, future=6), NOW, PAYMENT, lots(0), NOT_DELETED)
    assert [(line.share, line.settled_by) for line in answer.lines[:2]] == [(0, SettledBy.DELETED)] * 2
    assert answer.charge == PRICE


def test_a_free_course_still_draws_a_credit_for_each_class() -> None:
    assert outcome(PAYMENT, FULL_RATE, a_course(future=8), held=0, price=Money(0, "USD")) == charged(0)
    assert outcome(PACKAGE, FULL_RATE, a_course(future=8), held=8, price=Money(0, "USD")) == credits(8)


def test_a_price_below_zero_is_refused_and_so_are_credits_below_zero() -> None:
    assert outcome(PAYMENT, FULL_RATE, a_course(future=8), held=0, price=Money(-1, "USD")) == Code.NEGATIVE_AMOUNT
    with pytest.raises(ValueError, match="-1 credits held"):
        quote(PRICE, FULL_RATE, a_course(future=8), NOW, PACKAGE, lots(-1))


@pytest.mark.parametrize(
    ("method", "code"), [(MEMBERSHIP, Code.MEMBERSHIP_NOT_VALID), (PACKAGE, Code.PACKAGE_NOT_VALID)]
)
def test_a_credit_pays_for_classes_that_start_while_it_is_good(method: Method, code: Code) -> None:
    course, last = a_course(elapsed=2, future=6), NOW + timedelta(weeks=5, hours=1)
    held = lots(6, good_until=last + timedelta(microseconds=1))
    assert quote(PRICE, PRORATED, course, NOW, method, held).credits == 6
    with pytest.raises(Refusal) as refused:
        quote(PRICE, PRORATED, course, NOW, method, lots(6, good_until=last))
    assert refused.value.code is code
    assert refused.value.message.startswith("They end before the last class starts.")


def test_package_and_charge_charges_the_classes_that_start_after_the_credits_end() -> None:
    course, last = a_course(elapsed=2, future=6), NOW + timedelta(weeks=5, hours=1)
    answer = quote(PRICE, FULL_RATE, course, NOW, PACKAGE_AND_CHARGE, lots(10, good_until=last))
    assert (answer.credits, answer.charge) == (5, Money(30_00, "USD"))
    assert [line.settled_by for line in answer.lines[2:]] == [SettledBy.CREDIT] * 5 + [SettledBy.CHARGE]


def test_credits_that_end_first_are_drawn_first() -> None:
    soon, later, never = (UUID(int=n) for n in (3, 2, 1))
    held = [
        Lot(never, 9),
        Lot(later, 2, NOW + timedelta(weeks=9), NOW + timedelta(weeks=9)),
        Lot(soon, 9, NOW + timedelta(weeks=2), NOW + timedelta(weeks=2)),
    ]
    answer = quote(PRICE, FULL_RATE, a_course(future=6), NOW, PACKAGE, held)
    assert [line.package_id for line in answer.lines] == [soon] * 2 + [later] * 2 + [never] * 2
    assert [dict(step.figures) for step in answer.because if step.rule == "0035"] == [
        {"package": str(soon), "credits": 2},
        {"package": str(later), "credits": 2},
        {"package": str(never), "credits": 2},
    ]


# Every answer explains itself


def test_a_quote_tells_the_rules_and_figures_it_used() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(elapsed=2, deleted=2, future=4), NOW, PACKAGE_AND_CHARGE, lots(3))
    assert [(step.rule, dict(step.figures)) for step in answer.because] == [
        ("D6", {"price": 80_00, "classes": 8, "basis": "SCHEDULED"}),
        ("D4", {"elapsed": 2, "deleted": 2, "future": 4}),
        ("R126", {"settled_by": "CHARGE", "classes": 2, "amount": 20_00}),
        ("R130", {"settled_by": "DELETED", "classes": 2, "amount": 20_00}),
        ("R117", {"settled_by": "CREDIT", "classes": 3, "amount": 30_00}),
        ("R117", {"settled_by": "CHARGE", "classes": 1, "amount": 10_00}),
        ("0035", {"package": str(UUID(int=1)), "credits": 3}),
    ]
    assert answer.because[0].as_dict() == {
        "rule": "D6",
        "text": "the price is shared over the classes",
        "figures": {"price": 80_00, "classes": 8, "basis": "SCHEDULED"},
    }


def test_a_quote_tells_the_basis_its_shares_are_taken_over() -> None:
    answer = quote(PRICE, FULL_RATE, a_course(elapsed=2, deleted=2, future=4), NOW, PAYMENT, lots(0), NOT_DELETED)
    assert dict(answer.because[0].figures) == {"price": 80_00, "classes": 6, "basis": "NOT_DELETED"}
