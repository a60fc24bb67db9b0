"""Ties between people and their records in the course system: made, made sure by a purchase, undone (R51-R55)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import drift, user_fields
from models.actions.transaction import alone
from models.actions.unit import Unit, unit
from models.rules.events import UserChanged, UserUnlinked
from models.rules.lifecycle import TERMINAL, Status
from models.rules.people import COURSE_RECORD
from models.rules.pricing import Integration
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, Provider, UserState
from models.tables.coursepro import UserSync
from models.tables.membership import Membership, MembershipType
from models.tables.user import ExternalLink, User

_RECORDS: dict[str, Any] = {"provider": Provider.COURSEPRO, "kind": COURSE_RECORD}
NO_PURCHASE = (Status.PENDING, *TERMINAL)


async def of_record(coursepro_id: str) -> ExternalLink | None:
    """The tie of a record of the course system, sure or not, if there is one."""
    found = ExternalLink.filter(**_RECORDS, external_id=coursepro_id).exclude(state=LinkState.UNLINKED)
    return await found.first()


async def of_user(user_id: UUID) -> ExternalLink | None:
    """The tie of a user to a record of the course system, sure or not, if there is one."""
    return await ExternalLink.filter(**_RECORDS, user_id=user_id).exclude(state=LinkState.UNLINKED).first()


async def user_of_record(coursepro_id: str) -> UUID | None:
    """Whose record of the course system that is, also where no purchase has made it sure yet."""
    link = await of_record(coursepro_id)
    return link.user_id if link else None


async def free_to_tie(user_id: UUID, coursepro_id: str) -> bool:
    """Whether nothing speaks against tying the two: another record of the user, or a person who undid that tie."""
    undone = ExternalLink.filter(**_RECORDS, user_id=user_id, external_id=coursepro_id, state=LinkState.UNLINKED)
    return await has_no_other_record(user_id) and not await undone.exists()


async def has_no_other_record(user_id: UUID) -> bool:
    """Whether a user is tied to no record of the course system that is known by its id."""
    link = await of_user(user_id)
    return link is None or _id_unknown(link)


def _id_unknown(link: ExternalLink) -> bool:
    """Whether the record is known by our own id only: a cart made it, and nobody has told how it is called there."""
    return link.external_id == str(link.user_id)


async def tie(
    work: Unit, user_id: UUID, coursepro_id: str, *, evidence: Mapping[str, Any], holds: Mapping[str, str | None]
) -> ExternalLink:
    """Tie a user to a record inside the caller's unit: provisional, or sure where the user has bought already.

    `holds` is what the record is known to hold of what may be told. A tie by our own id learns that of the record.
    """
    link = await of_user(user_id)
    if link is not None and _id_unknown(link):
        link.external_id, link.evidence = coursepro_id, {**link.evidence, **evidence}
        await link.save(update_fields=["external_id", "evidence"])
        work.audit("learn_record_id", link, after={"external_id": coursepro_id}, because=sorted(evidence))
        return link
    link = await ExternalLink.create(
        **_RECORDS, user_id=user_id, external_id=coursepro_id, state=LinkState.PROVISIONAL, evidence=dict(evidence)
    )
    await _now_holds(user_id, holds)
    work.audit("link_record", link, after={"user_id": user_id, "external_id": coursepro_id}, because=sorted(evidence))
    if await _has_bought(user_id):
        await _make_sure(work, user_id)
    return link


async def _now_holds(user_id: UUID, holds: Mapping[str, str | None]) -> None:
    await UserSync.filter(user_id=user_id).delete()
    await UserSync.create(user_id=user_id, told={name: value for name, value in holds.items() if value is not None})


async def _has_bought(user_id: UUID) -> bool:
    held = Membership.filter(user_id=user_id, membership_type__integration=Integration.COURSEPRO_COURSE)
    return await held.exclude(status__in=NO_PURCHASE).exists()


async def bought(work: Unit, membership: Membership) -> None:
    """A membership left PENDING: where it is one of the course system's, its user is a buyer, the tie sure (R51, R55).

    Inside the caller's unit.
    """
    kinds = MembershipType.filter(id=membership.membership_type_id, integration=Integration.COURSEPRO_COURSE)
    if await kinds.exists():
        await _make_sure(work, membership.user_id)


async def _make_sure(work: Unit, user_id: UUID) -> None:
    user = await User.known(id=user_id, lock=True)
    if user.state is UserState.PROVISIONAL:
        await made_active(work, user, because="a membership of the course system was bought")
    link = await ExternalLink.filter(**_RECORDS, user_id=user_id, state=LinkState.PROVISIONAL).first()
    if link is None:
        return
    link.state = LinkState.LINKED
    await link.save(update_fields=["state"])
    work.audit("link_made_sure", link, before={"state": LinkState.PROVISIONAL}, after={"state": LinkState.LINKED})
    work.emit(UserChanged(user_id=user_id))


async def made_active(work: Unit, user: User, *, because: str) -> None:
    """A locked provisional user is one like any other from now on."""
    user.state, user.version = UserState.ACTIVE, user.version + 1
    await user.save(update_fields=["state", "version"])
    change = {"before": {"state": UserState.PROVISIONAL}, "after": {"state": UserState.ACTIVE}}
    work.audit("user_made_active", user, **change, because=[because])


async def linked_by_purchase(
    user_id: UUID,
    coursepro_id: str | None = None,
    *,
    told: Mapping[str, str | None] | None = None,
    acting: str,
    at: datetime,
) -> ExternalLink | None:
    """The course system made, or found, the record of a user who bought here -> the tie, sure (R52, R55).

    `coursepro_id` is the record's where the answer told it; without it the tie is by our own id, which is known there
    too, until a call tells the other. `told` are the details the cart carried, by their names and as text. The same
    again changes nothing. A record or a user tied otherwise stays so, and what was said is kept as drift: then None.
    """
    async with unit(acting=acting, at=at) as work:
        ours = await of_user(user_id)
        coursepro_id = coursepro_id or (ours.external_id if ours else str(user_id))
        await alone(f"coursepro:{coursepro_id}")
        theirs, ours = await of_record(coursepro_id), await of_user(user_id)
        names = (await user_fields.configured()).names
        holds = {name: value for name, value in (told or {}).items() if name in names}
        if theirs is None and (ours is None or _id_unknown(ours)):
            await tie(work, user_id, coursepro_id, evidence={"told by": "cart.complete"}, holds=holds)
        elif theirs is None or ours is None or theirs.id != ours.id:
            await _tied_otherwise(work, user_id, coursepro_id, ours.external_id if ours else None)
            return None
        else:
            sync, _ = await UserSync.get_or_create(user_id=user_id)
            sync.told = {**sync.told, **holds}
            await sync.save(update_fields=["told"])
        await _make_sure(work, user_id)
        return await of_user(user_id)


async def _tied_otherwise(work: Unit, user_id: UUID, coursepro_id: str, ours: str | None) -> None:
    cause = f"cart.complete {coursepro_id}"
    about = "User", user_id
    await drift.note(work, Provider.COURSEPRO, about, "coursepro_id", ours=ours, theirs=coursepro_id, cause=cause)


async def unlink_user(external_link_id: UUID, *, reason: str, acting: str, at: datetime) -> ExternalLink:
    """Undo a tie; it stays, with evidence and reason. Undone twice, nothing changes. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        link = await ExternalLink.one(id=external_link_id, lock=True)
        if link is None:
            raise Refusal(Code.NOT_FOUND, field=("externalLinkId",))
        if link.state is LinkState.UNLINKED:
            return link
        before, link.state = link.state, LinkState.UNLINKED
        link.evidence = {**link.evidence, "undone": reason, "undone_by": acting, "undone_at": at.isoformat()}
        await link.save(update_fields=["state", "evidence"])
        if link.provider is Provider.COURSEPRO:
            await UserSync.filter(user_id=link.user_id).delete()
        work.audit("unlink_user", link, before={"state": before}, after={"state": link.state}, because=[reason])
        work.emit(UserUnlinked(user_id=link.user_id))
    return link
