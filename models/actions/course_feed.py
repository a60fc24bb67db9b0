"""Memberships in the words of the course system: one it is told of, and pages of what changed."""

from datetime import datetime
from uuid import UUID

from tortoise.expressions import Q

from models.actions.memberships import MOVED
from models.ports import MembershipPush
from models.rules.lifecycle import STANDING
from models.rules.pricing import Integration
from models.tables.audit import AuditEntry
from models.tables.membership import Membership

PAGE = 200
TOLD = tuple(status for status, standing in STANDING.items() if standing.coursepro)


async def changed_memberships(
    since: datetime, after: UUID | None = None, *, limit: int = PAGE
) -> tuple[list[MembershipPush], tuple[datetime, UUID] | None]:
    """Memberships of the course system that changed at an instant or later, the longest unchanged first.

    `after` is the last one already read among those that changed just then -> (a page, where to read on or None).
    """
    later = Q(updated_at__gt=since) | Q(updated_at=since, id__gt=after or UUID(int=0))
    ours = Membership.filter(later, membership_type__integration=Integration.COURSEPRO_COURSE, status__in=TOLD)
    rows = await ours.order_by("updated_at", "id").limit(limit)
    pushes = [as_told(row, event_id="", at=row.updated_at) for row in rows]
    following = (rows[-1].updated_at, rows[-1].id) if len(rows) == limit else None
    return [push for push in pushes if push is not None], following


async def to_push(membership_id: UUID, *, event_id: str, at: datetime) -> MembershipPush | None:
    """What the course system should know of a membership now, or None where it is not its business (R41, R46, R58).

    `effective_at` is when the membership moved to where it stands, however late that is told.
    """
    membership = await Membership.get(id=membership_id).prefetch_related("membership_type")
    if membership.membership_type.integration is not Integration.COURSEPRO_COURSE:
        return None
    since = await AuditEntry.filter(subject_id=membership.id, verb=MOVED).order_by("-id").first()
    return as_told(membership, event_id=event_id, at=since.at if since else at)


def as_told(membership: Membership, *, event_id: str, at: datetime) -> MembershipPush | None:
    """A membership in the words of the course system, or None where it has no word for its standing yet."""
    word = STANDING[membership.status].coursepro
    if word is None:
        return None
    return MembershipPush(
        event_id=event_id,
        membership_id=membership.id,
        version=membership.version,
        user_id=membership.user_id,
        course_ref=membership.course_ref,
        status=membership.status.value,
        availability=word.lower(),
        reason=membership.reason,
        effective_at=at,
    )
