"""People the course system tells of: one we know, somebody new, or a question for a person (R50, R51, R53)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions import drift, links, user_fields, users
from models.actions.transaction import alone
from models.actions.unit import Unit, unit
from models.rules.matching import Identity, Known, Match, match, normalised_email
from models.rules.people import Values, as_text, billing_detail, checked
from models.rules.refusals import Code, Refusal
from models.rules.states import Provider, ReviewKind, ReviewState, UserState
from models.tables.coursepro import Drift, ReviewItem, UserSync
from models.tables.user import ExternalLink, User

LONGEST_ID = 255
IN_FIELDS = ("fields",)  # where the call has the details


@dataclass(frozen=True, slots=True)
class Arrival:
    """Who it is, None while a person decides; and the names of what was sent that nobody here collects."""

    user_id: UUID | None
    dropped: tuple[str, ...] = ()


async def user_arrived(
    *, coursepro_id: str, fields: Mapping[str, Any], acting: str, at: datetime, event_id: str = ""
) -> Arrival:
    """The course system has a person with these details -> who that is here.

    A record that is tied stays with its user, and details that differ are kept as drift, for ours are the right ones
    (R3). Otherwise the one user it matches is tied to it, several are left to a person, and somebody new is written
    down. Raises Refusal INVALID_INPUT, BILLING_DETAILS_REFUSED naming the field.
    """
    if not coursepro_id.strip() or len(coursepro_id) > LONGEST_ID:
        raise Refusal(Code.INVALID_INPUT, f"An id has 1 to {LONGEST_ID} characters.", field=("coursepro_id",))
    if (named := billing_detail(fields, IN_FIELDS)) is not None:
        raise Refusal(Code.BILLING_DETAILS_REFUSED, field=named)
    async with unit(acting=acting, at=at) as work:
        known = await user_fields.configured()
        kept = {name: value for name, value in fields.items() if name in known.names}
        dropped = tuple(sorted(fields.keys() - kept.keys()))
        await alone(f"coursepro:{coursepro_id}")
        link = await links.of_record(coursepro_id)
        values = checked(kept, known.configured, today=at.date(), whole=link is None, within=IN_FIELDS)
        if link is not None:
            await _compare(work, link, values, event_id)
            return Arrival(link.user_id, dropped)
        return Arrival(await _met(work, coursepro_id, values), dropped)


async def matching(values: Values) -> Match:
    """(a newcomer's details) -> who of the users on record it may be; others with that address wait meanwhile."""
    email = str(values["email"])
    await alone(f"email:{normalised_email(email)}")
    on_record = await User.every(email_key=normalised_email(email), order=("id",))
    return match(
        Identity(email, str(values["last_name"]), as_text(values["first_name"]), _born(values)),
        [Known(row.id, Identity(row.email, row.last_name, row.first_name, row.date_of_birth)) for row in on_record],
    )


def _born(values: Values) -> Any:
    return values.get("date_of_birth")


async def _met(work: Unit, coursepro_id: str, values: Values) -> UUID | None:
    """Somebody whose record is tied to nobody -> who it is now, None where a person has to decide."""
    question: dict[str, Any] = {"kind": ReviewKind.USER_MATCH, "provider": Provider.COURSEPRO, "subject": coursepro_id}
    found = await matching(values)
    holds = {name: as_text(value) for name, value in values.items()}
    asked = await ReviewItem.one(**question, state=ReviewState.OPEN, lock=True)
    if asked is None and not found.user_ids:
        return await newcomer(work, coursepro_id, holds, values, evidence={"matched": "nobody"})
    if asked is None and found.user_id is not None and await links.free_to_tie(found.user_id, coursepro_id):
        compared = {each.detail: each.agrees for each in found.evidence if each.user_id == found.user_id}
        await links.tie(work, found.user_id, coursepro_id, evidence=compared, holds=holds)
        return found.user_id
    compared = {f"{each.user_id} {each.detail}": each.agrees for each in found.evidence}
    evidence = {"given": holds, "candidates": [str(user_id) for user_id in found.user_ids], "compared": compared}
    if asked is None:
        asked = await ReviewItem.create(**question, evidence=evidence)
        work.audit("ask_whose_record", asked, after={"candidates": evidence["candidates"]})
    else:
        asked.evidence = evidence
        await asked.save(update_fields=["evidence"])
    return None


async def newcomer(
    work: Unit, coursepro_id: str, holds: Mapping[str, str | None], values: Values, *, evidence: Mapping[str, Any]
) -> UUID:
    """Write down somebody born in the course system, provisional until the first purchase, and tie the record (R51)."""
    user = await users.write_down(work, values, state=UserState.PROVISIONAL, verb="user_arrived")
    await links.tie(work, user.id, coursepro_id, evidence=evidence, holds=holds)
    return user.id


async def _compare(work: Unit, link: ExternalLink, values: Values, event_id: str) -> None:
    """What differs from ours, and from what was told, is kept; it is never taken over (R3). An echo changes nothing."""
    user = await User.known(id=link.user_id)
    sync = await UserSync.one(user_id=link.user_id)
    ours, told = users.known_of(user, values), sync.told if sync else {}
    for name, value in values.items():
        theirs = as_text(value)
        if _same(name, theirs, ours[name]) or _same(name, theirs, told.get(name)):
            continue
        said: dict[str, Any] = {"provider": Provider.COURSEPRO, "subject_id": user.id, "field": name}
        if await Drift.filter(**said, ours=ours[name], theirs=theirs).exists():
            continue
        cause = f"users {event_id or work.at.isoformat()}"
        about = "User", user.id
        await drift.note(work, Provider.COURSEPRO, about, name, ours=ours[name], theirs=theirs, cause=cause)


def _same(name: str, one: str | None, other: str | None) -> bool:
    if name == "email" and one and other:
        return normalised_email(one) == normalised_email(other)
    return one == other
