"""Access tokens: made for places on a roster while the membership stands, revoked with it (R14, R43)."""

from datetime import datetime, timedelta
from uuid import UUID

from models.actions.unit import Unit, unit
from models.rules.access import token_window
from models.rules.events import AccessGranted, AccessRevoked
from models.rules.invoicing import Mark
from models.rules.refusals import Code, Refusal
from models.tables import sql
from models.tables.centre import Centre
from models.tables.course import AccessToken, Attendance
from models.tables.membership import Membership

LONGEST_MINUTES = 24 * 60
_REDATED = (
    "UPDATE access_token token SET centre_id = session.centre_id,"
    " valid_from = session.starts_at - make_interval(mins => centre.minutes_before),"
    " valid_until = session.ends_at + make_interval(mins => centre.minutes_after), updated_at = now()"
    " FROM class_session session JOIN centre ON centre.id = session.centre_id"
    " WHERE token.class_session_id = session.id AND token.revoked_at IS NULL"
)


async def revoke(work: Unit, membership: Membership, *, class_session_id: UUID | None = None) -> int:
    """Shut the door of one membership at once, or for one class; its holder's other memberships keep theirs.

    -> how many tokens ended
    """
    of_class = {"class_session_id": class_session_id} if class_session_id else {}
    still_open = AccessToken.filter(membership_id=membership.id, revoked_at__isnull=True, valid_until__gt=work.at)
    revoked = await still_open.filter(**of_class).update(revoked_at=work.at)
    if revoked:
        work.emit(AccessRevoked(membership_id=membership.id, user_id=membership.user_id))
    return revoked


async def issue(work: Unit, membership: Membership) -> int:
    """Make the tokens of a membership's places on rosters still to come -> how many."""
    held = await AccessToken.filter(membership_id=membership.id, revoked_at__isnull=True).values_list(
        "class_session_id", flat=True
    )
    to_come = {"class_session__ends_at__gt": work.at, "class_session__deleted_at": None}
    places = (
        await Attendance.filter(membership_id=membership.id, mark=Mark.BOOKED, **to_come)
        .exclude(class_session_id__in=list(held))
        .prefetch_related("class_session__centre")
        .order_by("id")
    )
    tokens = []
    for place in places:
        session = place.class_session
        before, after = (timedelta(minutes=each) for each in _around(session.centre))
        window = token_window(session.starts_at, session.ends_at, before, after)
        tokens.append(
            AccessToken(
                user_id=membership.user_id,
                membership_id=membership.id,
                class_session_id=session.id,
                centre_id=session.centre_id,
                valid_from=window.valid_from,
                valid_until=window.valid_until,
            )
        )
    if tokens:
        await AccessToken.bulk_create(tokens)
        work.emit(AccessGranted(membership_id=membership.id, user_id=membership.user_id))
    return len(tokens)


def _around(centre: Centre) -> tuple[int, int]:
    return centre.minutes_before, centre.minutes_after


async def session_moved(class_session_id: UUID) -> None:
    """Inside an open unit: a class is at another time or place, and its open tokens follow."""
    await sql.run(f"{_REDATED} AND session.id = $1", class_session_id)


async def update_centre(
    centre_id: UUID,
    *,
    acting: str,
    at: datetime,
    minutes_before: int | None = None,
    minutes_after: int | None = None,
) -> Centre:
    """Change how long a centre's gates open around a class, minutes; open tokens of classes to come follow (R14).

    Raises Refusal NOT_FOUND, INVALID_INPUT.
    """
    check_minutes(minutes_before, minutes_after)
    async with unit(acting=acting, at=at) as work:
        centre = await Centre.one(id=centre_id, lock=True)
        if centre is None:
            raise Refusal(Code.NOT_FOUND, field=("centreId",))
        before = _around(centre)
        centre.minutes_before = before[0] if minutes_before is None else minutes_before
        centre.minutes_after = before[1] if minutes_after is None else minutes_after
        if _around(centre) != before:
            await centre.save(update_fields=["minutes_before", "minutes_after"])
            await sql.run(f"{_REDATED} AND centre.id = $1 AND session.ends_at > $2", centre.id, at)
            work.audit("update_centre", centre, before={"minutes": before}, after={"minutes": _around(centre)})
    return centre


def check_minutes(before: int | None, after: int | None) -> None:
    """Refuse minutes around a class that are below none or above a day (INVALID_INPUT)."""
    for minutes, field in ((before, "minutesBefore"), (after, "minutesAfter")):
        if minutes is not None and not 0 <= minutes <= LONGEST_MINUTES:
            raise Refusal(Code.INVALID_INPUT, f"It is from 0 to {LONGEST_MINUTES} minutes.", field=(field,))
