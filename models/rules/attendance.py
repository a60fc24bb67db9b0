"""What the desk may write about a person's place in a class of ours."""

from datetime import datetime

from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.rules.states import AttendanceSource, Owner

OWNED_ELSEWHERE: dict[AttendanceSource, Code] = {
    AttendanceSource.COURSEPRO: Code.OWNED_BY_COURSEPRO,
    AttendanceSource.NOOKAL: Code.OWNED_BY_NOOKAL,
}


def check_ours(told_by: AttendanceSource, class_of: AttendanceSource, course_of: Owner | None) -> None:
    """Refuse a place in a class that another system owns (OWNED_BY_COURSEPRO, OWNED_BY_NOOKAL)."""
    for source in (class_of, told_by, AttendanceSource(course_of or Owner.DUEFLOW)):
        if source in OWNED_ELSEWHERE:
            raise Refusal(OWNED_ELSEWHERE[source], field=("attendanceId",))


def check_mark(was: Mark, mark: Mark, starts_at: datetime, deleted: bool, at: datetime) -> None:
    """(mark now, mark wanted, the class's UTC start, whether it was deleted, UTC instant) -> raises INVALID_INPUT.

    A cancelled place has no mark to give and none is cancelled by a mark; who came is known once the class has begun.
    """
    if was is Mark.CANCELLED:
        raise Refusal(Code.INVALID_INPUT, "The place was cancelled.", field=("attendanceId",))
    if deleted:
        raise Refusal(Code.INVALID_INPUT, "The class was deleted.", field=("attendanceId",))
    if mark is Mark.CANCELLED:
        raise Refusal(Code.INVALID_INPUT, "A place is given up by cancelling its booking.", field=("mark",))
    if mark is not Mark.BOOKED and at < starts_at:
        raise Refusal(Code.INVALID_INPUT, "The class has not begun.", field=("mark",))
