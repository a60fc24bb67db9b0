"""Whether a newcomer is someone we know: silently one, none, or a question for a person. Source: CoursePro, E."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from uuid import UUID


class MatchKind(StrEnum):
    """ONE: link silently. NONE: someone new. SEVERAL: a person decides, nothing is guessed (R53)."""

    ONE = "ONE"
    NONE = "NONE"
    SEVERAL = "SEVERAL"


@dataclass(frozen=True, slots=True)
class Identity:
    """The details two records are compared by; what is not known is None."""

    email: str
    last_name: str
    first_name: str | None = None
    date_of_birth: date | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """A user on record and the details known of them."""

    user_id: UUID
    identity: Identity


@dataclass(frozen=True, slots=True)
class Evidence:
    """How one detail of one candidate compares; None where either side does not know it (D8)."""

    user_id: UUID
    detail: str
    agrees: bool | None


@dataclass(frozen=True, slots=True)
class Match:
    """The verdict, the users it names, and the evidence for every user with the same e-mail address."""

    kind: MatchKind
    user_ids: tuple[UUID, ...]
    evidence: tuple[Evidence, ...]

    @property
    def user_id(self) -> UUID | None:
        """The user to link to when there is exactly one."""
        return self.user_ids[0] if self.kind is MatchKind.ONE else None


class Fit(StrEnum):
    """How one record fits a person: by name and e-mail address, by one of them, or not (R103)."""

    WHOLE = "WHOLE"
    HALF = "HALF"
    NONE = "NONE"


def fit(user: Identity, patient: Identity) -> tuple[Fit, dict[str, bool | None]]:
    """(user, patient) -> how they fit, and each detail compared.

    WHOLE only with the same address and the same first and family name; a short name or another address is HALF, and so
    is another date of birth with both the same. Source: BOS; R103
    """
    same_email = bool(user.email) and normalised_email(user.email) == normalised_email(patient.email)
    compared = {**_compared(patient, user), "email": same_email}
    same_name = compared["last_name"] is True and compared["first_name"] is True
    if same_email and same_name:
        return (Fit.HALF if compared["date_of_birth"] is False else Fit.WHOLE), compared
    half = same_email or (same_name and compared["date_of_birth"] is not False)
    return (Fit.HALF if half else Fit.NONE), compared


def normalised_email(email: str) -> str:
    """E-mail address -> the form addresses are compared and stored unique in: trimmed, folded to one case. Source: R53.

    Dots and plus signs stay: at most providers they make another mailbox.
    """
    return unicodedata.normalize("NFKC", email).strip().casefold()


def normalised_name(name: str) -> str:
    """Name -> the letters it is compared by, without case, accents, spaces or punctuation. Source: R53."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", name).casefold() if letter.isalnum())


def match(newcomer: Identity, known: Iterable[Known]) -> Match:
    """(newcomer's details, users on record) -> Match(kind, user_ids, evidence).

    Same e-mail address and surname, and the same date of birth and first name where both sides know them: so twins who
    share a parent's address and a birthday are never merged. Source: CoursePro, E; R51, R53
    """
    evidence: list[Evidence] = []
    found: list[UUID] = []
    email = normalised_email(newcomer.email)
    for each in known:
        if normalised_email(each.identity.email) != email:
            continue
        compared = _compared(newcomer, each.identity)
        evidence += [Evidence(each.user_id, detail, agrees) for detail, agrees in compared.items()]
        if False not in compared.values():
            found.append(each.user_id)
    kinds = {0: MatchKind.NONE, 1: MatchKind.ONE}
    return Match(kinds.get(len(found), MatchKind.SEVERAL), tuple(found), tuple(evidence))


def _compared(newcomer: Identity, known: Identity) -> dict[str, bool | None]:
    births = (newcomer.date_of_birth, known.date_of_birth)
    firsts = (newcomer.first_name, known.first_name)
    return {
        "email": True,
        "last_name": normalised_name(newcomer.last_name) == normalised_name(known.last_name),
        "date_of_birth": None if None in births else births[0] == births[1],
        "first_name": normalised_name(firsts[0]) == normalised_name(firsts[1]) if firsts[0] and firsts[1] else None,
    }
