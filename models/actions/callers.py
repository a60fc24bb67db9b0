"""Whose rights hold while nobody asks: those of the key something was set up or asked for with, as they are now."""

from datetime import datetime
from uuid import UUID

from models.ports import Caller
from models.rules.states import KeyPurpose, Role
from models.tables.setting import ApiKey


async def caller_of(key_id: UUID | None, *, at: datetime) -> Caller | None:
    """The holder of a key; the office's own rights without one; None for a key that has ended."""
    if key_id is None:
        return Caller(Role.ADMIN)
    key = await ApiKey.one(id=key_id)
    if key is None or key.revoked_at is not None or key.purpose is not KeyPurpose.API:
        return None
    if key.expires_at is not None and key.expires_at <= at:
        return None
    return Caller(key.role, key.user_id, key.id, frozenset(key.scopes))
