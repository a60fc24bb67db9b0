"""People who sign up by themselves: somebody new, or somebody known, who is told by mail alone (R54)."""

import hashlib
import secrets
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from models.actions import arrivals, links, notifications, users
from models.actions.notifications import Message
from models.actions.transaction import alone
from models.actions.unit import Unit, unit
from models.rules.refusals import Code, Refusal
from models.rules.states import UserState
from models.tables.audit import AuditEntry
from models.tables.coursepro import RecordClaim
from models.tables.notification import Notification
from models.tables.user import User

KIND = "CLAIM_RECORD"
VALID, HOUR = timedelta(hours=24), timedelta(hours=1)
MAILS_AN_HOUR = 3  # to one user
MET_AN_HOUR = 20  # known people one caller may meet
TOKEN_BYTES = 32
MET = "sign_up_met_known"
LINK = " by this link"
TEXT = (
    f"somebody signed up with your details. If it was you, claim your record{LINK}, which works once and until"
    " {until} UTC: {link} (if it was not you, nothing has happened)"
)


async def sign_up(
    *,
    first_name: str,
    last_name: str,
    email: str,
    claim_url: str,
    acting: str,
    at: datetime,
    phone: str | None = None,
    date_of_birth: date | None = None,
    fields: Mapping[str, Any] | None = None,
) -> User:
    """Write down somebody new. Somebody known is refused, and a link is sent to the address on record.

    `claim_url` is what a link begins with. Whether one person or several are known by these details makes no difference
    to what the caller sees, and whoever met 20 known people within the hour may sign up nobody for a while, so that
    trying addresses tells nothing. Raises Refusal RECORD_ALREADY_EXISTS (that is written down), TOO_MANY_ATTEMPTS,
    INVALID_INPUT, BILLING_DETAILS_REFUSED.
    """
    fixed = {"first_name": first_name, "last_name": last_name, "email": email, "phone": phone}
    async with unit(acting=acting, at=at) as work:
        values = await users.as_given(
            {**fixed, "date_of_birth": date_of_birth}, fields or {}, today=at.date(), whole=True
        )
        if await _met(work) >= MET_AN_HOUR:
            raise Refusal(Code.TOO_MANY_ATTEMPTS)
        found = await arrivals.matching(values)
        if not found.user_ids:
            return await users.write_down(work, values, verb="sign_up")
        await alone(f"met:{acting}")
        if await _met(work) >= MET_AN_HOUR:
            raise Refusal(Code.TOO_MANY_ATTEMPTS)
        work.audit(MET, _caller(work))
        # one job, whoever and however many they are: the caller is answered alike, and as fast
        work.job("notifications.claim_record", payload={"user_ids": found.user_ids, "claim_url": claim_url})
    raise Refusal(Code.RECORD_ALREADY_EXISTS)  # behind the commit: the links must reach their people


def _caller(work: Unit) -> tuple[str, UUID]:
    return "Caller", uuid5(NAMESPACE_URL, work.acting)


async def _met(work: Unit) -> int:
    """How many known people the caller met within the hour."""
    _, caller = _caller(work)
    return await AuditEntry.filter(subject_id=caller, verb=MET, at__gt=work.at - HOUR).count()


async def offer_claim(user_id: UUID, *, claim_url: str, cause: str, acting: str, at: datetime) -> Message | None:
    """A message to a known person with a link by which the record is theirs -> it and its reader.

    Once per cause; None where it was sent already, or where the person got three within the hour.
    """
    async with unit(acting=acting, at=at) as work:
        await alone(f"claims:{user_id}")
        before = await Notification.filter(kind=KIND, cause=cause).prefetch_related("user").first()
        if before is not None:
            return None if before.sent_at else (before, before.user)
        # a claim ends a day after it was made, so these were made within the hour
        if await RecordClaim.filter(user_id=user_id, expires_at__gt=at + VALID - HOUR).count() >= MAILS_AN_HOUR:
            return None
        token, until = secrets.token_urlsafe(TOKEN_BYTES), at + VALID
        claim = await RecordClaim.create(user_id=user_id, token_hash=_hash(token), expires_at=until)
        work.audit("offer_claim", claim, after={"user_id": user_id, "expires_at": until})
        text = TEXT.format(until=f"{until:%Y-%m-%d %H:%M}", link=f"{claim_url}{token}")
        return await notifications.write(user_id, kind=KIND, cause=cause, text=text)


async def link_sent(message: Notification, *, at: datetime) -> None:
    """The link left: from now on it stands nowhere here."""
    text, _, _ = message.text.partition(LINK)
    await Notification.filter(id=message.id).update(sent_at=at, text=f"{text} by the link that was sent.")


def _hash(token: str) -> str:
    # 256 random bits need no slow hash
    return hashlib.sha256(token.encode()).hexdigest()


async def claim_record(token: str, *, acting: str, at: datetime) -> User:
    """A person opened the link -> their user, one like any other from now on; it and its like are used up (R54).

    Raises Refusal NOT_FOUND, alike for a token that is unknown, used or over.
    """
    async with unit(acting=acting, at=at) as work:
        claims = RecordClaim.filter(token_hash=_hash(token), used_at=None, expires_at__gt=at)
        claim = await claims.select_for_update().first()
        if claim is None:
            raise Refusal(Code.NOT_FOUND, "No record is to be claimed by this.", field=("token",))
        await RecordClaim.filter(user_id=claim.user_id, used_at=None).update(used_at=at)
        user = await users.locked(claim.user_id)
        work.audit("claim_record", user, because=[f"claim {claim.id}"])
        if user.state is UserState.PROVISIONAL:
            await links.made_active(work, user, because="the person claimed the record")
    return user
