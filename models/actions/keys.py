"""API keys: made, found, changed, revoked. The secret part is shown once and stored as a hash."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from models.actions.unit import unit
from models.rules.refusals import Code, Refusal
from models.rules.scopes import SCOPES, unknown
from models.rules.states import KeyPurpose, Role
from models.tables.setting import ApiKey
from models.tables.user import User

PREFIX = "df"
PUBLIC_BYTES = 6
LONGEST_OVERLAP_HOURS = 7 * 24
_TOKEN = re.compile(rf"{PREFIX}_([0-9a-f]{{{2 * PUBLIC_BYTES}}})_([!-~]+)")


class Found(NamedTuple):
    """A live key, and the instant its token is good no more, None for never."""

    key: ApiKey
    until: datetime | None


def _hash(secret: str) -> str:
    # 256 random bits need no slow hash
    return hashlib.sha256(secret.encode()).hexdigest()


async def create_api_key(
    *,
    name: str,
    role: Role,
    acting: str,
    at: datetime,
    purpose: KeyPurpose = KeyPurpose.API,
    user_id: UUID | None = None,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key -> (its row, the token to hand over, never shown again). Raises Refusal INVALID_INPUT, NOT_FOUND."""
    if role is Role.MEMBER and user_id is None:
        raise Refusal(Code.INVALID_INPUT, "A member's key belongs to a user.", field=("userId",))
    if expires_at is not None and expires_at <= at:
        raise Refusal(Code.INVALID_INPUT, "A key expires in the future.", field=("expiresAt",))
    if words := unknown(scopes):
        there_are = f"{words[0][:40]!r} is no scope; there are: {', '.join(SCOPES)}."
        raise Refusal(Code.INVALID_INPUT, there_are, field=("scopes",))
    public_part, secret = secrets.token_hex(PUBLIC_BYTES), secrets.token_urlsafe(32)
    async with unit(acting=acting, at=at) as work:
        if user_id is not None and not await User.has(id=user_id):
            raise Refusal(Code.NOT_FOUND, field=("userId",))
        key = await ApiKey.create(
            name=name,
            public_part=public_part,
            secret_hash=_hash(secret),
            role=role,
            purpose=purpose,
            scopes=list(scopes),
            user_id=user_id,
            expires_at=expires_at,
        )
        work.audit(
            "create_api_key",
            key,
            after={"name": name, "role": role, "purpose": purpose, "scopes": key.scopes, "expires_at": expires_at},
        )
    return key, f"{PREFIX}_{public_part}_{secret}"


async def revoke_api_key(key_id: UUID, *, acting: str, at: datetime) -> ApiKey:
    """End a key at once; revoking twice changes nothing. Raises Refusal NOT_FOUND."""
    async with unit(acting=acting, at=at) as work:
        key = await ApiKey.one(id=key_id, lock=True)
        if key is None:
            raise Refusal(Code.NOT_FOUND, field=("keyId",))
        if key.revoked_at is None:
            key.revoked_at = at
            await key.save(update_fields=["revoked_at"])
            work.audit("revoke_api_key", key, before={"revoked_at": None}, after={"revoked_at": at})
    return key


async def rotate_api_key(key_id: UUID, *, acting: str, at: datetime, overlap_hours: int = 24) -> tuple[ApiKey, str]:
    """Give a key another secret -> (its row, the new token, never shown again).

    The token before is good for `overlap_hours` more, 0 to 168; one that was still good from an earlier change ends.
    Raises Refusal INVALID_INPUT (hours out of range, a key that has ended), NOT_FOUND.
    """
    if not 0 <= overlap_hours <= LONGEST_OVERLAP_HOURS:
        words = f"Between 0 and {LONGEST_OVERLAP_HOURS} hours."
        raise Refusal(Code.INVALID_INPUT, words, field=("overlapHours",))
    secret = secrets.token_urlsafe(32)
    async with unit(acting=acting, at=at) as work:
        key = await ApiKey.one(id=key_id, lock=True)
        if key is None:
            raise Refusal(Code.NOT_FOUND, field=("keyId",))
        if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= at):
            raise Refusal(Code.INVALID_INPUT, "This key has ended: make a new one.", field=("keyId",))
        before = {"previous_until": key.previous_until}
        if overlap_hours:
            key.previous_hash, key.previous_until = key.secret_hash, at + timedelta(hours=overlap_hours)
        else:
            key.previous_hash = key.previous_until = None
        key.secret_hash = _hash(secret)
        await key.save(update_fields=["secret_hash", "previous_hash", "previous_until"])
        work.audit("rotate_api_key", key, before=before, after={"previous_until": key.previous_until})
    return key, f"{PREFIX}_{key.public_part}_{secret}"


async def find_api_key(token: str, *, at: datetime) -> ApiKey | None:
    """The live key of a token, or None for an unknown, revoked, expired or malformed one."""
    found = await live_key(token, at=at)
    return found and found.key


async def live_key(token: str, *, at: datetime) -> Found | None:
    """As `find_api_key`, with how long the token is good: a secret that was changed ends before its key does."""
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        return None
    key = await ApiKey.one(public_part=parts[1])
    if key is None or key.revoked_at is not None:
        return None
    shown, until = _hash(parts[2]), key.expires_at
    if not hmac.compare_digest(key.secret_hash, shown):
        if key.previous_hash is None or not hmac.compare_digest(key.previous_hash, shown):
            return None
        until = min(end for end in (key.previous_until, until) if end is not None)
    return None if until is not None and until <= at else Found(key, until)
