"""People and the outside records they are tied to."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from models.actions import user_fields
from models.actions.unit import Unit, unit
from models.actions.user_fields import FieldSet
from models.rules.events import UserChanged, UserLinked
from models.rules.matching import normalised_email
from models.rules.people import TOLD, Values, as_text, checked
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, Provider, ReviewKind, ReviewState, UserState
from models.tables.coursepro import ReviewItem, UserSync
from models.tables.user import ExternalLink, User


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
    """Write down a person.

    Raises Refusal INVALID_INPUT (a name or address is empty, a field is unknown or missing), BILLING_DETAILS_REFUSED.
    """
    given = {"first_name": first_name, "last_name": last_name, "email": email, "phone": phone}
    async with unit(acting=acting, at=at) as work:
        values = await as_given({**given, "date_of_birth": date_of_birth}, fields or {}, today=at.date(), whole=True)
        return await write_down(work, values)


async def as_given(fixed: Mapping[str, Any], configured: Mapping[str, Any], *, today: date, whole: bool) -> Values:
    """What a caller says of a person, fixed details and configured fields apart -> all by name, as `people.checked`.

    Raises Refusal INVALID_INPUT (also for a field nobody configured), BILLING_DETAILS_REFUSED.
    """
    known = await user_fields.configured()
    for name in configured.keys() - {field.name for field in known.configured}:
        raise Refusal(Code.INVALID_INPUT, f"No field is called {name!r}.", field=("fields", name))
    return checked({**fixed, **configured}, known.configured, today=today, whole=whole)


async def write_down(
    work: Unit, values: Values, *, state: UserState = UserState.ACTIVE, verb: str = "create_user"
) -> User:
    """A new person with checked details, inside the caller's unit."""
    extra = {name: value for name, value in values.items() if name not in TOLD and value is not None}
    fixed: dict[str, Any] = {name: values.get(name) for name in TOLD}
    user = await User.create(**fixed, email_key=normalised_email(fixed["email"]), state=state, fields_=extra)
    work.audit(verb, user, after={"fields": sorted(extra)})
    return user


async def update_user(
    user_id: UUID, *, acting: str, at: datetime, fields: Mapping[str, Any] | None = None, **fixed: Any
) -> User:
    """Change what is known of a person; what is left out stays, and what is equal already is no change (R57).

    `fixed` are details by the names of `people.TOLD`. Raises Refusal NOT_FOUND, INVALID_INPUT, BILLING_DETAILS_REFUSED.
    """
    async with unit(acting=acting, at=at) as work:
        user = await locked(user_id)
        values = await as_given(fixed, fields or {}, today=at.date(), whole=False)
        before = known_of(user, values)
        changed = {name: value for name, value in values.items() if as_text(value) != before[name]}
        if not changed:
            return user
        for name in TOLD & changed.keys():
            setattr(user, name, changed[name])
        user.email_key = normalised_email(user.email)
        extra = {**user.fields_, **{name: value for name, value in changed.items() if name not in TOLD}}
        user.fields_ = {name: value for name, value in extra.items() if value is not None}
        user.version += 1
        await user.save()
        # which details, not what they hold: that is nobody's business in an audit
        after = {"fields": sorted(changed), "version": user.version}
        work.audit("update_user", user, before={"version": user.version - 1}, after=after)
        work.emit(UserChanged(user_id=user.id))
    return user


async def locked(user_id: UUID) -> User:
    """A user held until the transaction ends. Raises Refusal NOT_FOUND."""
    user = await User.one(id=user_id, lock=True)
    if user is None:
        raise Refusal(Code.NOT_FOUND, field=("userId",))
    return user


def known_of(user: User, names: Mapping[str, Any] | frozenset[str]) -> dict[str, str | None]:
    """What is known of a user under these names, as text; None for what is not known."""
    return {name: as_text(getattr(user, name) if name in TOLD else user.fields_.get(name)) for name in names}


def may_be_told(user: User, known: FieldSet) -> dict[str, str | None]:
    """All that the course system may be told of a user, by the whitelist and nothing else (R57, R63)."""
    return known_of(user, known.names)


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
        if not await User.has(id=user_id):
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
            # what the practice told of this patient before we knew whose it is was left out, and has to be read
            work.job("practice.read_patient", payload={"patient_id": external_id, "user_id": user_id}, user_id=user_id)
            await _drop_question(work, user_id)
        if (provider, kind) == (Provider.STRIPE, "customer"):
            work.job("subscriptions.adopt", payload={"customer": external_id}, user_id=user_id)
        if provider is Provider.COURSEPRO:
            # what another record was told says nothing of what this one holds
            await UserSync.filter(user_id=user_id).delete()
            work.emit(UserChanged(user_id=user_id))
        work.audit("link_external", link, after={"user_id": user_id, "provider": provider, "kind": kind})
    return link


async def _drop_question(work: Unit, user_id: UUID) -> None:
    """Which patient a user is need not be asked any more."""
    asked = ReviewItem.filter(kind=ReviewKind.PATIENT_MATCH, subject=str(user_id), state=ReviewState.OPEN)
    for item in await asked.select_for_update():
        item.state = ReviewState.DROPPED
        await item.save(update_fields=["state"])
        work.audit("drop_review", item, after={"state": item.state})


async def linked(user_id: UUID, provider: Provider, kind: str) -> str | None:
    """The user's id of that kind at a provider, if the two are tied."""
    link = await ExternalLink.one(user_id=user_id, provider=provider, kind=kind, state=LinkState.LINKED)
    return link.external_id if link else None


async def user_of(provider: Provider, kind: str, external_id: str) -> UUID | None:
    """Whose record that is here, if anybody's."""
    link = await ExternalLink.one(provider=provider, kind=kind, external_id=external_id, state=LinkState.LINKED)
    return link.user_id if link else None
