"""People and the outside records they are tied to."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.actions.unit import unit
from models.rules.events import UserLinked
from models.rules.matching import normalised_email
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, Provider
from models.tables.job import Job
from models.tables.user import ExternalLink, User, UserField


async def create_user(
    *,
    first_name: str,
    last_name: str,
    email: str,
    acting: str,
    at: datetime,
    phone: str | None = None,
    date_of_birth: date | None = None,
    fields: Mapping[str, Any] | None = None,
) -> User:
    """Write down a person. Raises Refusal INVALID_INPUT (a name or address is empty, a field is unknown or missing)."""
    given = dict(fields or {})
    for name, value in (("firstName", first_name), ("lastName", last_name)):
        if not value.strip():
            raise Refusal(Code.INVALID_INPUT, "A name is not empty.", field=(name,))
    if email.count("@") != 1 or not all(email.split("@")) or any(mark.isspace() for mark in email.strip()):
        raise Refusal(Code.INVALID_INPUT, f"{email!r} is no e-mail address.", field=("email",))
    async with unit(acting=acting, at=at) as work:
        configured = {field.name: field.required for field in await UserField.all()}
        for name in given.keys() - configured.keys():
            raise Refusal(Code.INVALID_INPUT, f"No field is called {name!r}.", field=("fields", name))
        for name, required in configured.items():
            if required and given.get(name) in (None, ""):
                raise Refusal(Code.INVALID_INPUT, f"The field {name!r} is required.", field=("fields", name))
        user = await User.create(
            first_name=first_name.strip(),
            last_name=last_name.strip(),
            email=email.strip(),
            email_key=normalised_email(email),
            phone=phone,
            date_of_birth=date_of_birth,
            fields_=given,
        )
        work.audit("create_user", user, after={"fields": sorted(given)})
    return user


async def link_external(
    *,
    user_id: UUID,
    provider: Provider,
    kind: str,
    external_id: str,
    acting: str,
    at: datetime,
    evidence: Mapping[str, Any] | None = None,
) -> ExternalLink:
    """Tie a user to a record of another system; the same tie again changes nothing.

    Raises Refusal NOT_FOUND, INVALID_INPUT (the record, or the user's place there, is tied otherwise).
    """
    async with unit(acting=acting, at=at) as work:
        if not await User.exists(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        live = ExternalLink.filter(provider=provider, kind=kind).exclude(state=LinkState.UNLINKED)
        same = await live.filter(external_id=external_id).first()
        if same is not None and same.user_id == user_id:
            return same
        if same is not None or await live.filter(user_id=user_id).exists():
            raise Refusal(Code.INVALID_INPUT, f"Another {provider} {kind} is linked already.", field=("externalId",))
        link = await ExternalLink.create(
            user_id=user_id, provider=provider, kind=kind, external_id=external_id, evidence=dict(evidence or {})
        )
        work.emit(UserLinked(user_id=user_id))
        if provider is Provider.NOOKAL:
            # what the practice told of this patient before we knew whose it is has to be read again, also where a
            # reading that does not know of the link is under way: it only remembers where nothing changed meanwhile
            await Job.filter(key="practice.poll").update(payload={"anew_for": external_id})
        work.audit("link_external", link, after={"user_id": user_id, "provider": provider, "kind": kind})
    return link


async def linked(user_id: UUID, provider: Provider, kind: str) -> str | None:
    """The user's id of that kind at a provider, if the two are tied."""
    link = await ExternalLink.filter(user_id=user_id, provider=provider, kind=kind, state=LinkState.LINKED).first()
    return link.external_id if link else None


async def user_of(provider: Provider, kind: str, external_id: str) -> UUID | None:
    """Whose record that is here, if anybody's."""
    link = await ExternalLink.filter(
        provider=provider, kind=kind, external_id=external_id, state=LinkState.LINKED
    ).first()
    return link.user_id if link else None
