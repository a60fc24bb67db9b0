"""Which patient of the practice system a member is: linked where exactly one fits, else left to a person (R103)."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from models.actions import users
from models.actions.transaction import alone
from models.actions.unit import Unit, unit
from models.ports import Patient
from models.rules.events import PatientWanted
from models.rules.lifecycle import TERMINAL
from models.rules.matching import Fit, Identity, fit
from models.rules.refusals import Code, Refusal
from models.rules.states import LinkState, Provider, ReviewKind, ReviewState
from models.tables.coursepro import ReviewItem
from models.tables.invoice import Invoice
from models.tables.membership import Membership
from models.tables.setting import ProviderSetting
from models.tables.user import ExternalLink, User

NONE_OF_THEM = "NONE"
A_DAY = timedelta(days=1)  # the clinic's day may have begun before the one of UTC
_RECORDS: dict[str, Any] = {"provider": Provider.NOOKAL, "kind": "patient"}


async def wanted(user_id: UUID) -> User | None:
    """The user whose record is to be looked for; None where it is known, or there is no practice system to look in."""
    if not await ProviderSetting.has(provider=Provider.NOOKAL, enabled=True):
        return None
    if await users.linked(user_id, Provider.NOOKAL, "patient") is not None:
        return None
    return await User.one(id=user_id)


async def patients_seen(found: Sequence[Patient], *, acting: str, at: datetime) -> None:
    """Patients are new or changed: members whose record is not known, and who could be one of them, are looked for."""
    async with unit(acting=acting, at=at) as work:
        for user in await _unlinked_members():
            if any(fit(_of_user(user), _of_patient(each))[0] is not Fit.NONE for each in found):
                work.emit(PatientWanted(user_id=user.id))


async def _unlinked_members() -> list[User]:
    """Users whose classes a membership of a managed product pays for, or an invoice that waits for their record."""
    running: Any = (
        await Membership.filter(membership_type__product__not_isnull=True)
        .exclude(status__in=TERMINAL)
        .values_list("user_id", flat=True)
    )
    waiting: Any = await Invoice.filter(
        billed_off_at__isnull=True, membership_id__not_isnull=True, attendee_id__not_isnull=True
    ).values_list("attendee_id", flat=True)
    known: Any = (
        await ExternalLink.filter(**_RECORDS).exclude(state=LinkState.UNLINKED).values_list("user_id", flat=True)
    )
    return await User.filter(id__in=list({*running, *waiting} - set(known))).order_by("id")


async def patients_found(user_id: UUID, found: Sequence[Patient], *, acting: str, at: datetime) -> None:
    """All patients who could be a user: exactly one that fits by name and e-mail is linked, others are a question.

    What a person ruled out, or undid, is not taken again; who is another user's, or left, is no candidate.
    """
    async with unit(acting=acting, at=at) as work:
        await alone(f"patient:{user_id}")
        if await users.linked(user_id, Provider.NOOKAL, "patient") is not None:
            return
        user = await User.known(id=user_id)
        fits = {each.external_id: (each, *fit(_of_user(user), _of_patient(each))) for each in found if each.active}
        out = await _ruled_out(user_id, list(fits))
        candidates = {key: one for key, one in fits.items() if one[1] is not Fit.NONE and key not in out}
        whole = [key for key, (_, how, _) in candidates.items() if how is Fit.WHOLE]
        if len(whole) == 1:
            await users.link_external(
                user_id=user_id,
                **_RECORDS,
                external_id=whole[0],
                evidence=candidates[whole[0]][2],
                acting=acting,
                at=at,
            )
            return
        await _ask(work, user, {key: _shown(each, compared) for key, (each, _, compared) in candidates.items()})


async def _ruled_out(user_id: UUID, patient_ids: Sequence[str]) -> set[str]:
    taken: Any = await ExternalLink.filter(**_RECORDS, external_id__in=patient_ids).exclude(state=LinkState.UNLINKED)
    undone = await ExternalLink.filter(**_RECORDS, user_id=user_id, state=LinkState.UNLINKED)
    answered = await ReviewItem.every(
        kind=ReviewKind.PATIENT_MATCH, subject=str(user_id), state=ReviewState.SETTLED, answer=NONE_OF_THEM
    )
    refused = {patient_id for item in answered for patient_id in item.evidence["patients"]}
    return {link.external_id for link in [*taken, *undone]} | refused


async def _ask(work: Unit, user: User, candidates: Mapping[str, Any]) -> None:
    question: dict[str, Any] = {
        "kind": ReviewKind.PATIENT_MATCH,
        "provider": Provider.NOOKAL,
        "subject": str(user.id),
        "user_id": user.id,
    }
    asked = await ReviewItem.one(**question, state=ReviewState.OPEN, lock=True)
    evidence = {"patients": dict(candidates)}
    if asked is None and candidates:
        asked = await ReviewItem.create(**question, evidence=evidence)
        work.audit("ask_which_patient", asked, after={"patients": sorted(candidates)})
    elif asked is not None and asked.evidence != evidence:
        asked.state = ReviewState.OPEN if candidates else ReviewState.DROPPED
        asked.evidence = evidence
        await asked.save(update_fields=["state", "evidence"])


async def decided(work: Unit, asked: ReviewItem, answer: str | None) -> None:
    """A person chose one of the candidates, or none of them; inside the caller's unit. Raises Refusal INVALID_INPUT."""
    offered = asked.evidence["patients"]
    if answer == NONE_OF_THEM:
        return
    if answer is None or answer not in offered:
        raise Refusal(Code.INVALID_INPUT, f"Answer one of {', '.join(offered)} or NONE.", field=("answer",))
    evidence = {**offered[answer]["compared"], "decided_by": work.acting, "review": str(asked.id)}
    await users.link_external(
        user_id=UUID(asked.subject), **_RECORDS, external_id=answer, evidence=evidence, acting=work.acting, at=work.at
    )


async def classes_from(user_id: UUID, at: datetime) -> date:
    """The first day whose classes an unbilled invoice may pay the user for, by the clinic's calendar."""
    first = await Invoice.filter(attendee_id=user_id, billed_off_at__isnull=True).order_by("period_start").first()
    return (min(first.period_start, at) if first else at).date() - A_DAY


def _of_user(user: User) -> Identity:
    return Identity(user.email, user.last_name, user.first_name, user.date_of_birth)


def _of_patient(each: Patient) -> Identity:
    return Identity(each.email, each.last_name, each.first_name, each.date_of_birth)


def _shown(each: Patient, compared: Mapping[str, bool | None]) -> dict[str, Any]:
    born = each.date_of_birth.isoformat() if each.date_of_birth else None
    name = f"{each.first_name} {each.last_name}".strip()
    return {"name": name, "email": each.email, "date_of_birth": born, "compared": dict(compared)}
