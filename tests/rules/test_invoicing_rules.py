"""Allocation over every set of attendances: it sums to what was paid, and does not depend on order."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from models.rules.invoicing import Attendance, Kind, Mark, Period, allocate, matching_classes

MONDAY = datetime(2025, 6, 2, tzinfo=UTC)
WEEK = Period(MONDAY, MONDAY + timedelta(days=7))
TYPES = [UUID(int=n) for n in range(3)]

attendances = st.lists(
    st.builds(
        Attendance,
        id=st.uuids(version=4),
        session_id=st.uuids(version=4),
        class_type_id=st.sampled_from(TYPES),
        starts_at=st.integers(-30, 200).map(lambda hours: MONDAY + timedelta(hours=hours)),
        mark=st.sampled_from(Mark),
        invoiced_by_hand=st.booleans(),
        billed_by_other_invoice=st.booleans(),
    ),
    max_size=30,
    unique_by=lambda attendance: attendance.id,
)
coverages = st.frozensets(st.sampled_from(TYPES))
randoms = st.randoms(use_true_random=False)


@given(st.integers(0, 10**9), attendances, coverages, randoms)
def test_an_allocation_sums_to_what_was_paid_whatever_order_it_is_told_in(
    amount: int, told: list[Attendance], covered: frozenset[UUID], random: Random
) -> None:
    kept = matching_classes(told, covered, WEEK).kept
    allocation = allocate(amount, kept)
    amounts = [share.amount for share in allocation.shares]
    assert sum(amounts) == amount
    assert max(amounts) - min(amounts) <= 1
    assert amounts == sorted(amounts)
    assert allocation.kind is (Kind.CLASSES if kept else Kind.AD_HOC)
    shuffled = list(told)
    random.shuffle(shuffled)
    assert allocate(amount, matching_classes(shuffled, covered, WEEK).kept) == allocation
    assert allocate(amount, sorted(kept, key=lambda each: each.id)) == allocation


@given(attendances, coverages)
def test_each_attendance_is_either_kept_or_left_out_for_a_reason(
    told: list[Attendance], covered: frozenset[UUID]
) -> None:
    kept, left_out = matching_classes(told, covered, WEEK)
    assert sorted([each.id for each in kept] + [each.attendance_id for each in left_out]) == sorted(
        each.id for each in told
    )
    for each in kept:
        assert each.mark in {Mark.BOOKED, Mark.ATTENDED}
        assert each.class_type_id in covered
        assert WEEK.start <= each.starts_at < WEEK.end
        assert not each.invoiced_by_hand
        assert not each.billed_by_other_invoice
