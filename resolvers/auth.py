"""Who is asking: a bearer token -> a Viewer, remembered for a few seconds."""

import time
from collections import OrderedDict

from models.actions.keys import find_api_key
from models.ports import Clock
from models.rules.states import KeyPurpose
from resolvers.viewer import Viewer

REMEMBERED_SECONDS = 5.0
REMEMBERED_TOKENS = 10_000
LONGEST_TOKEN = 200


class Door:
    """Lets bearers of live API keys of one purpose in. A revoked key is refused `seconds` later at most."""

    def __init__(
        self, clock: Clock, *, seconds: float = REMEMBERED_SECONDS, purpose: KeyPurpose = KeyPurpose.API
    ) -> None:
        self._clock = clock
        self._purpose = purpose
        self._seconds = seconds
        self._known: OrderedDict[str, tuple[float, Viewer]] = OrderedDict()

    async def viewer(self, authorization: str | None) -> Viewer | None:
        """`Bearer df_<public>_<secret>` -> its viewer; None for no, a malformed, unknown, revoked or expired key."""
        scheme, _, token = (authorization or "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(token) > LONGEST_TOKEN:
            return None
        now = time.monotonic()
        known = self._known.get(token)
        if known is not None and known[0] > now:
            return known[1]
        viewer = await self._look_up(token)
        if viewer is None:
            self._known.pop(token, None)
            return None
        self._known[token] = (now + self._seconds, viewer)
        self._known.move_to_end(token)
        if len(self._known) > REMEMBERED_TOKENS:
            self._known.popitem(last=False)
        return viewer

    async def _look_up(self, token: str) -> Viewer | None:
        key = await find_api_key(token, at=self._clock.now())
        if key is None or key.purpose is not self._purpose:
            return None
        return Viewer(
            role=key.role,
            user_id=key.user_id,
            key_id=key.id,
            name=key.name,
            scopes=frozenset(key.scopes),
        )
