"""Access tokens: made for places on a roster while the membership stands, revoked with it (R14, R43)."""

from datetime import datetime

from models.actions.unit import Unit, unit
from models.rules.access import earns_token, token_window
from models.rules.events import AccessGranted, AccessRevoked
from models.rules.facts import AttendeesPosted
from models.rules.invoicing import Mark
from models.rules.states import AttendanceSource
from models.tables.course import AccessToken, Attendance, ClassSession
from models.tables.membership import Membership


async def revoke(work: Unit, membership: Membership) -> int:
    """Shut the door of one membership at once; the user's other memberships keep theirs -> how many tokens ended."""
    revoked = await AccessToken.filter(
        membership_id=membership.id, revoked_at__isnull=True, valid_until__gt=work.at
    ).update(revoked_at=work.at)
    if revoked:
        work.emit(AccessRevoked(membership_id=membership.id, user_id=membership.user_id))
    return revoked


async def issue(work: Unit, membership: Membership) -> int:
    """Make the tokens of a membership's places on rosters still to come -> how many."""
    held = await AccessToken.filter(membership_id=membership.id, revoked_at__isnull=True).values_list(
        "class_session_id", flat=True
    )
    places = (
        await Attendance.filter(membership_id=membership.id, mark=Mark.BOOKED, class_session__ends_at__gt=work.at)
        .exclude(class_session_id__in=list(held))
        .prefetch_related("class_session")
        .order_by("id")
    )
    tokens = []
    for place in places:
        session = place.class_session
        window = token_window(session.starts_at, session.ends_at)
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


async def attendees_posted(fact: AttendeesPosted, *, acting: str, at: datetime) -> None:
    """The course system says who is to attend one class: those who may enter get tokens (R14, R60)."""
    async with unit(acting=acting, at=at) as work:
        ids = [attendee.membership_id for attendee in fact.attendees]
        memberships = {row.id: row for row in await Membership.filter(id__in=ids).select_for_update().order_by("id")}
        for attendee in fact.attendees:
            membership = memberships.get(attendee.membership_id)
            if membership is None:
                continue
            session, _ = await ClassSession.update_or_create(
                source=AttendanceSource.COURSEPRO,
                external_ref=fact.session_id,
                defaults={"starts_at": fact.starts_at, "ends_at": fact.ends_at, "centre_id": membership.centre_id},
            )
            window = token_window(session.starts_at, session.ends_at)
            await AccessToken.filter(class_session_id=session.id, revoked_at__isnull=True).update(
                valid_from=window.valid_from, valid_until=window.valid_until
            )
            await Attendance.update_or_create(
                class_session_id=session.id,
                user_id=membership.user_id,
                defaults={
                    "source": AttendanceSource.COURSEPRO,
                    "membership_id": membership.id,
                    "mark": Mark.CANCELLED if attendee.removed else Mark.BOOKED,
                },
            )
            if attendee.removed:
                await AccessToken.filter(
                    membership_id=membership.id, class_session_id=session.id, revoked_at__isnull=True
                ).update(revoked_at=at)
            elif earns_token(membership.status):
                await issue(work, membership)
