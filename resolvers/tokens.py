"""Tokens of an OpenID issuer: a signed JWT -> a Viewer, by the issuer's own public keys."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import NAMESPACE_URL, UUID, uuid5

import jwt

from models.rules.scopes import SCOPES
from models.rules.states import Role
from models.tables.user import User
from resolvers.reads.ids import BadInput, known
from resolvers.viewer import Viewer

ALGORITHMS = ("RS256", "ES256")
REQUIRED = ("exp", "iss", "aud", "sub")
LONGEST_NAME = 100


class KeySet(Protocol):
    """An issuer's public keys."""

    async def key(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id, None where the issuer has none."""
        ...


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken, made for whom, and which of their claims tell the role and the user."""

    url: str
    audience: str
    role_claim: str = "dueflow_role"
    user_claim: str = "dueflow_user"
    leeway_seconds: float = 5.0


class Tokens:
    """Verifies the tokens of one issuer."""

    def __init__(self, issuer: Issuer, keys: KeySet) -> None:
        self._issuer, self._keys = issuer, keys

    async def viewer(self, token: str) -> Viewer | None:
        """A token -> its viewer; None where it is not the issuer's, not for us, not valid now, or tells no role."""
        claims = await self._verified(token)
        if claims is None:
            return None
        try:
            role = Role(str(claims.get(self._issuer.role_claim)))
        except ValueError:
            return None
        user_id = _user(claims.get(self._issuer.user_claim))
        if user_id is not None and not await User.has(id=user_id):
            return None
        if user_id is None and (role is Role.MEMBER or claims.get(self._issuer.user_claim) is not None):
            return None
        subject = str(claims["sub"])
        return Viewer(
            role=role,
            user_id=user_id,
            key_id=uuid5(NAMESPACE_URL, f"{self._issuer.url}#{subject}"),
            name=subject[:LONGEST_NAME],
            scopes=_scopes(claims),
            shows="token",
            ends=time.monotonic() + float(claims["exp"]) + self._issuer.leeway_seconds - time.time(),
        )

    async def _verified(self, token: str) -> dict[str, Any] | None:
        issuer = self._issuer
        try:
            head = jwt.get_unverified_header(token)
            kid = head.get("kid")
            if head.get("alg") not in ALGORITHMS or not isinstance(kid, str):
                return None
            key = await self._keys.key(kid)
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(ALGORITHMS),
                audience=issuer.audience,
                issuer=issuer.url,
                leeway=issuer.leeway_seconds,
                options={"require": list(REQUIRED)},
            )
        except (jwt.PyJWTError, ValueError):
            return None
        return claims


def _user(claim: Any) -> UUID | None:
    if not isinstance(claim, str):
        return None
    try:
        return UUID(claim)
    except ValueError:
        pass
    try:
        return known("User")(claim)
    except BadInput:
        return None


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    """The scopes of the token that are ours; an issuer has others for others."""
    told = claims.get("scope", "")
    return frozenset(told.split() if isinstance(told, str) else ()) & SCOPES.keys()
