"""Subscription invoices over the classes they pay for, as the document on the membership lifecycle reads."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from models.rules.invoicing import (
    Attendance,
    Claim,
    Coverage,
    Hold,
    Kind,
    LeftOut,
    LeftOutReason,
    Mark,
    Period,
    Share,
    allocate,
    billable,
    check_bill_off,
    hold_reason,
    matching_classes,
    net_paid,
)
from models.rules.refusals import Code, Refusal
from models.rules.spreading import Claimant, OverlapRule, Seat, taken_by

CYCLING, YOGA = UUID(int=1), UUID(int=2)
MONDAY = datetime(2025, 6, 2, tzinfo=UTC)
WEEK = Period(MONDAY, MONDAY + timedelta(days=7))
NO_GRACE = timedelta(0)


def attendance(
    n: int,
    *,
    starts_at: datetime | None = None,
    class_type_id: UUID = CYCLING,
    mark: Mark = Mark.BOOKED,
    invoiced_by_hand: bool = False,
    billed_by_other_invoice: bool = False,
) -> Attendance:
    """The n-th attendance of the week, a day after the one before."""
    starts_at = starts_at or MONDAY + timedelta(days=n, hours=9)
    return Attendance(
        UUID(int=n), UUID(int=100 + n), class_type_id, starts_at, mark, invoiced_by_hand, billed_by_other_invoice
    )


def matched(*attendances: Attendance) -> list[int]:
    return [each.id.int for each in matching_classes(attendances, frozenset({CYCLING}), WEEK).kept]


def shared(amount: int, *attendances: Attendance) -> list[int]:
    return [share.amount for share in allocate(amount, attendances).shares]


# The lifecycle


def test_fifty_dollars_are_mapped_to_the_two_cycling_classes_booked() -> None:
    assert shared(50_00, attendance(1), attendance(2)) == [25_00, 25_00]


def test_joining_an_extra_class_shares_the_same_money_anew() -> None:
    assert shared(50_00, attendance(1), attendance(2), attendance(3)) == [16_66, 16_67, 16_67]


def test_cancelling_one_bills_the_remaining_class_at_fifty_dollars() -> None:
    kept = matching_classes([attendance(1), attendance(2, mark=Mark.CANCELLED)], frozenset({CYCLING}), WEEK).kept
    assert shared(50_00, *kept) == [50_00]


def test_the_invoice_is_billed_off_when_its_period_ends_and_not_before() -> None:
    assert not billable(WEEK.end, NO_GRACE, WEEK.end - timedelta(microseconds=1))
    assert billable(WEEK.end, NO_GRACE, WEEK.end)


def test_late_marks_are_given_the_configured_grace() -> None:
    assert not billable(WEEK.end, timedelta(hours=12), WEEK.end + timedelta(hours=11, minutes=59))
    assert billable(WEEK.end, timedelta(hours=12), WEEK.end + timedelta(hours=12))


# Find matching classes


def test_booked_and_attended_classes_of_the_type_match() -> None:
    assert matched(attendance(1), attendance(2, mark=Mark.ATTENDED)) == [1, 2]


@pytest.mark.parametrize(
    ("left_out", "reason"),
    [
        (attendance(1, mark=Mark.CANCELLED), LeftOutReason.MARKED_CANCELLED),
        (attendance(1, mark=Mark.DNA), LeftOutReason.MARKED_DNA),
        (attendance(1, invoiced_by_hand=True), LeftOutReason.INVOICED_BY_HAND),
        (attendance(1, billed_by_other_invoice=True), LeftOutReason.BILLED_BY_OTHER_INVOICE),
        (attendance(1, class_type_id=YOGA), LeftOutReason.NOT_COVERED),
        (attendance(1, starts_at=WEEK.end), LeftOutReason.OUTSIDE_PERIOD),
        (attendance(1, starts_at=WEEK.start - timedelta(microseconds=1)), LeftOutReason.OUTSIDE_PERIOD),
    ],
    ids=lambda value: value if isinstance(value, LeftOutReason) else "",
)
def test_what_is_left_out_and_why(left_out: Attendance, reason: LeftOutReason) -> None:
    found = matching_classes([left_out, attendance(2)], frozenset({CYCLING}), WEEK)
    assert found.kept == (attendance(2),)
    assert found.left_out == (LeftOut(left_out.id, reason),)


def test_a_class_at_the_first_instant_of_the_period_belongs_to_it() -> None:
    assert matched(attendance(1, starts_at=WEEK.start)) == [1]


def test_a_class_at_the_end_of_a_daylight_saving_week_belongs_to_the_next_period() -> None:
    brisbane, london = ZoneInfo("Australia/Brisbane"), ZoneInfo("Europe/London")
    start = datetime(2025, 3, 27, 9, 0, tzinfo=london)  # the clocks go forward on the 30th
    end = datetime(2025, 4, 3, 9, 0, tzinfo=london)
    week = Period(start.astimezone(UTC), end.astimezone(UTC))
    assert week.end - week.start == timedelta(days=7, hours=-1)
    inside = attendance(1, starts_at=datetime(2025, 4, 3, 8, 59, tzinfo=london))
    boundary = attendance(2, starts_at=datetime(2025, 4, 3, 18, 0, tzinfo=brisbane))
    found = matching_classes([boundary, inside], frozenset({CYCLING}), week)
    assert found.kept == (inside,)
    assert found.left_out == (LeftOut(boundary.id, LeftOutReason.OUTSIDE_PERIOD),)


def test_coverage_counts_as_of_the_start_of_the_class() -> None:
    wednesday = MONDAY + timedelta(days=2)
    coverage = [Coverage(YOGA, until=wednesday), Coverage(CYCLING, since=wednesday)]
    attendances = [
        attendance(1, starts_at=wednesday - timedelta(hours=1), class_type_id=YOGA),
        attendance(2, starts_at=wednesday - timedelta(hours=1)),
        attendance(3, starts_at=wednesday, class_type_id=YOGA),
        attendance(4, starts_at=wednesday),
    ]
    found = matching_classes(attendances, coverage, WEEK)
    assert [each.id.int for each in found.kept] == [1, 4]
    assert {each.reason for each in found.left_out} == {LeftOutReason.NOT_COVERED}


def test_a_mark_taken_back_before_billing_off_counts_again() -> None:
    assert matched(attendance(1, mark=Mark.DNA)) == []
    assert matched(attendance(1, mark=Mark.ATTENDED)) == [1]


def test_a_type_that_covers_nothing_matches_nothing() -> None:
    assert matching_classes([attendance(1)], frozenset(), WEEK).kept == ()


def test_classes_are_ordered_by_their_start_then_by_attendance() -> None:
    same = MONDAY + timedelta(hours=9)
    assert matched(attendance(3, starts_at=same), attendance(2, starts_at=same), attendance(1)) == [2, 3, 1]


# To calculate the charges


@pytest.mark.parametrize(
    ("amount", "classes", "amounts"),
    [
        (100_00, 3, [33_33, 33_33, 33_34]),
        (200_00, 3, [66_66, 66_67, 66_67]),
        (100_00, 6, [16_66, 16_66, 16_67, 16_67, 16_67, 16_67]),
        (1, 3, [0, 0, 1]),
        (0, 2, [0, 0]),
        (50_00, 1, [50_00]),
    ],
)
def test_the_last_classes_carry_the_cents_left_over(amount: int, classes: int, amounts: list[int]) -> None:
    allocation = allocate(amount, [attendance(n) for n in range(1, classes + 1)])
    assert allocation.kind is Kind.CLASSES
    assert [share.amount for share in allocation.shares] == amounts
    assert [share.attendance_id for share in allocation.shares] == [UUID(int=n) for n in range(1, classes + 1)]
    assert [(step.rule, dict(step.figures)) for step in allocation.because] == [
        ("R109", {"amount": amount, "classes": classes}),
        ("R110", {"least": amounts[0], "most": amounts[-1]}),
    ]


def test_no_class_left_makes_an_ad_hoc_invoice_of_the_full_amount() -> None:
    allocation = allocate(100_00, [])
    assert allocation.kind is Kind.AD_HOC
    assert allocation.shares == (Share(None, 100_00),)
    assert [step.rule for step in allocation.because] == ["R107"]


def test_what_is_shared_is_what_was_paid_and_not_given_back() -> None:
    assert net_paid(100_00, 0) == 100_00
    assert net_paid(100_00, 40_00) == 60_00
    assert net_paid(100_00, 100_00) == 0
    with pytest.raises(ValueError, match="10001 refunded, 0 credited of 10000 paid"):
        net_paid(100_00, 100_01)
    with pytest.raises(ValueError, match="-1 refunded"):
        net_paid(100_00, -1)


def test_what_is_left_as_credit_is_shared_where_it_is_used() -> None:
    left, used = net_paid(100_00, 0, credited=20_00), net_paid(80_00, 0, credit_used=20_00)
    assert (left, used) == (80_00, 100_00)
    assert left + used == 100_00 + 80_00, "each cent once"


def test_an_amount_below_zero_is_never_shared() -> None:
    with pytest.raises(ValueError, match="cannot allocate -1"):
        allocate(-1, [attendance(1)])


# The walk from the invoice to its classes


@pytest.mark.parametrize(
    ("subscribed", "managed", "patient_linked", "paid", "hold", "code"),
    [
        (False, False, False, False, Hold.NO_SUBSCRIPTION, Code.NO_SUBSCRIPTION),
        (True, False, False, False, Hold.UNMANAGED_PRODUCT, Code.UNMANAGED_PRODUCT),
        (True, True, False, False, Hold.PATIENT_UNLINKED, Code.PATIENT_UNLINKED),
        (True, True, True, False, Hold.UNPAID, Code.INVOICE_NOT_PAID),
    ],
)
def test_an_invoice_waits_for_the_first_thing_missing(
    subscribed: bool, managed: bool, patient_linked: bool, paid: bool, hold: Hold, code: Code
) -> None:
    assert hold_reason(subscribed=subscribed, managed=managed, patient_linked=patient_linked, paid=paid) is hold
    with pytest.raises(Refusal) as refused:
        check_bill_off(billed=False, hold=hold, period_end=WEEK.end, grace=NO_GRACE, at=WEEK.end)
    assert refused.value.code is code


def test_an_invoice_with_nothing_missing_is_billed_off_once_when_it_is_over() -> None:
    assert hold_reason(subscribed=True, managed=True, patient_linked=True, paid=True) is None
    check_bill_off(billed=False, hold=None, period_end=WEEK.end, grace=NO_GRACE, at=WEEK.end)
    with pytest.raises(Refusal) as early:
        check_bill_off(billed=False, hold=None, period_end=WEEK.end, grace=NO_GRACE, at=WEEK.start)
    assert early.value.code is Code.INVOICE_NOT_DUE
    assert early.value.message.startswith("Its period ends 2025-06-09 00:00 UTC.")
    with pytest.raises(Refusal) as again:
        check_bill_off(billed=True, hold=None, period_end=WEEK.end, grace=NO_GRACE, at=WEEK.end)
    assert again.value.code is Code.INVOICE_ALREADY_BILLED


def test_an_attendance_two_memberships_cover_is_billed_once() -> None:
    ends_later = Claim(UUID(int=1), WEEK.end + timedelta(days=1), 1, MONDAY)
    broad = Claim(UUID(int=2), WEEK.end, 5, MONDAY)
    narrow_and_young = Claim(UUID(int=3), WEEK.end, 1, MONDAY)
    narrow_and_old = Claim(UUID(int=4), WEEK.end, 1, MONDAY - timedelta(days=1))
    cases = [
        ([ends_later], ends_later, OverlapRule.ONLY_CLAIM),
        ([ends_later, broad], broad, OverlapRule.EARLIER_PERIOD_END),
        ([broad, narrow_and_young], narrow_and_young, OverlapRule.NARROWER_TYPE),
        ([narrow_and_young, narrow_and_old, broad, ends_later], narrow_and_old, OverlapRule.OLDER_SUBSCRIPTION),
        ([narrow_and_old, replace(narrow_and_old, invoice_id=UUID(int=9))], narrow_and_old, OverlapRule.FIRST_KNOWN),
    ]
    for claims, pays, by in cases:
        assert taken_by(seat(), map(claimant, claims)) == (pays.invoice_id, by)
    chosen = seat(chosen=ends_later.invoice_id)
    assert taken_by(chosen, map(claimant, [broad, ends_later])) == (ends_later.invoice_id, OverlapRule.CHOSEN)
    assert taken_by(chosen, [claimant(broad), replace(claimant(ends_later), payable=False)]) == (
        broad.invoice_id,
        OverlapRule.ONLY_CLAIM,
    ), "a choice that cannot pay has no effect"
    billed = seat(billed_by=UUID(int=7))
    assert taken_by(billed, map(claimant, [broad])) == (UUID(int=7), OverlapRule.BILLED_OFF)


CLIENT = UUID(int=50)


def seat(chosen: UUID | None = None, billed_by: UUID | None = None) -> Seat:
    return Seat(attendance(1), chosen, billed_by, billed_by is not None)


def claimant(claim: Claim) -> Claimant:
    return Claimant(claim, CLIENT, Period(WEEK.start, claim.period_end), (Coverage(CYCLING),))


def test_a_period_ends_after_it_starts() -> None:
    assert MONDAY not in Period(MONDAY, MONDAY)
    with pytest.raises(ValueError, match="cannot end"):
        Period(WEEK.end, WEEK.start)
