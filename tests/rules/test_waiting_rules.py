"""Whose a free place is, and until when; and which marks the desk may give."""

from datetime import timedelta
from uuid import UUID

import pytest

from models.rules.attendance import check_mark, check_ours
from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.rules.states import AttendanceSource, Owner, WaitingState
from models.rules.timetable import Session, timetable
from models.rules.waiting import InLine, kept_from, offer_ends
from tests.build import HOUR, NOW, WEEK

WAITING, OFFERED = WaitingState.WAITING, WaitingState.OFFERED
ANN, BEN, CLEO, STRANGER = (UUID(int=number) for number in range(4))
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("who", "kept"),
    [(ANN, 0), (BEN, 1), (CLEO, 2), (STRANGER, 3)],
    ids=["was offered one", "next in line", "behind the next", "not in line"],
)
def test_a_place_is_kept_from_who_comes_later(who: UUID, kept: int) -> None:
    line = [InLine(ANN, OFFERED, NOW + SECOND), InLine(BEN, WAITING), InLine(CLEO, WAITING)]
    assert kept_from(line, who, NOW) == kept


def test_an_offer_that_ended_keeps_nothing_and_gives_nothing() -> None:
    line = [InLine(ANN, OFFERED, NOW), InLine(BEN, WAITING)]
    assert [kept_from(line, who, NOW) for who in (ANN, BEN, STRANGER)] == [1, 0, 1]
    assert kept_from([], STRANGER, NOW) == 0


def test_an_offer_ends_with_its_hours_or_with_the_last_class() -> None:
    classes = timetable([Session(UUID(int=n), NOW + n * WEEK + HOUR, deleted=n == 2) for n in range(3)], NOW)
    assert offer_ends(NOW, 24, classes) == NOW + 24 * HOUR
    assert offer_ends(NOW, 24 * 30, classes) == NOW + WEEK + HOUR
    over = timetable([Session(ANN, NOW)], NOW)
    assert offer_ends(NOW, 24, over) is None


@pytest.mark.parametrize(
    ("was", "mark", "starts_in", "deleted", "field"),
    [
        (Mark.BOOKED, Mark.ATTENDED, timedelta(0), False, None),
        (Mark.ATTENDED, Mark.DNA, -WEEK, False, None),
        (Mark.DNA, Mark.BOOKED, HOUR, False, None),
        (Mark.BOOKED, Mark.ATTENDED, SECOND, False, "mark"),
        (Mark.BOOKED, Mark.DNA, SECOND, False, "mark"),
        (Mark.BOOKED, Mark.CANCELLED, -HOUR, False, "mark"),
        (Mark.CANCELLED, Mark.ATTENDED, -HOUR, False, "attendanceId"),
        (Mark.CANCELLED, Mark.CANCELLED, -HOUR, False, "attendanceId"),
        (Mark.BOOKED, Mark.ATTENDED, -HOUR, True, "attendanceId"),
    ],
)
def test_what_the_desk_may_mark(was: Mark, mark: Mark, starts_in: timedelta, deleted: bool, field: str | None) -> None:
    if field is None:
        check_mark(was, mark, NOW + starts_in, deleted, NOW)
        return
    with pytest.raises(Refusal) as caught:
        check_mark(was, mark, NOW + starts_in, deleted, NOW)
    assert (caught.value.code, caught.value.field) == (Code.INVALID_INPUT, (field,))


@pytest.mark.parametrize(
    ("told_by", "class_of", "course_of", "code"),
    [
        (AttendanceSource.DUEFLOW, AttendanceSource.DUEFLOW, Owner.DUEFLOW, None),
        (AttendanceSource.DUEFLOW, AttendanceSource.DUEFLOW, None, None),
        (AttendanceSource.NOOKAL, AttendanceSource.NOOKAL, None, Code.OWNED_BY_NOOKAL),
        (AttendanceSource.COURSEPRO, AttendanceSource.COURSEPRO, None, Code.OWNED_BY_COURSEPRO),
        (AttendanceSource.COURSEPRO, AttendanceSource.DUEFLOW, Owner.DUEFLOW, Code.OWNED_BY_COURSEPRO),
        (AttendanceSource.DUEFLOW, AttendanceSource.DUEFLOW, Owner.COURSEPRO, Code.OWNED_BY_COURSEPRO),
    ],
)
def test_whose_class_it_is(
    told_by: AttendanceSource, class_of: AttendanceSource, course_of: Owner | None, code: Code | None
) -> None:
    if code is None:
        check_ours(told_by, class_of, course_of)
        return
    with pytest.raises(Refusal) as caught:
        check_ours(told_by, class_of, course_of)
    assert (caught.value.code, caught.value.field) == (code, ("attendanceId",))
