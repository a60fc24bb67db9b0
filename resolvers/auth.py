"""Who is asking: a bearer token -> a Viewer, remembered for a few seconds, and forgotten at once when its key ends."""

import asyncio
import time
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from models.actions.keys import live_key
from models.ports import Clock, CursorExpired, LiveBus, LiveEvent, SlowConsumer
from models.rules.states import KeyPurpose
from models.tables.row import new_id
from resolvers.tokens import Tokens
from resolvers.viewer import Viewer

REMEMBERED_SECONDS = 5.0
REMEMBERED_TOKENS = 10_000
LONGEST_KEY = 200
LONGEST_TOKEN = 4_096  # with the word before it
SHORTEST_WAIT_SECONDS = 0.02
SECONDS_TO_TELL = 1.0
KEYS = "key"  # the topic of what is told to doors; no caller can watch it
log = structlog.get_logger("dueflow.auth")


class Ended(Protocol):
    """What is called when a bearer is let in no more; not `sure` where that cannot be found out."""

    def __call__(self, *, sure: bool) -> None:
        """Let it go."""


class Door:
    """Lets bearers of live API keys of one purpose in, and of tokens of a known issuer.

    A key that was ended is refused as soon as the bus says so, and `seconds` later at most.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        seconds: float = REMEMBERED_SECONDS,
        purpose: KeyPurpose = KeyPurpose.API,
        tokens: Tokens | None = None,
    ) -> None:
        self._clock = clock
        self._purpose = purpose
        self._seconds = seconds
        self._tokens = tokens
        self._known: OrderedDict[str, tuple[float, Viewer]] = OrderedDict()
        self._news = asyncio.Event()
        self._held: dict[str, set[Ended]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def viewer(self, authorization: str | None) -> Viewer | None:
        """`Bearer df_<public>_<secret>`, or an issuer's token -> its viewer; None for what is not live and known."""
        known = self._known.get(authorization) if authorization else None
        if known is not None and known[0] > time.monotonic():
            return known[1]
        shown = authorization or ""
        scheme, _, token = shown.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or len(shown) > LONGEST_TOKEN:
            return None
        now = time.monotonic()
        viewer = await self._look_up(token)
        if viewer is None:
            self._known.pop(shown, None)
            return None
        until = now + self._seconds
        self._known[shown] = (until if viewer.ends is None else min(until, viewer.ends), viewer)
        self._known.move_to_end(shown)
        if len(self._known) > REMEMBERED_TOKENS:
            self._known.popitem(last=False)
        return viewer

    def hold(self, bearer: str, end: Ended) -> None:
        """Have `end` called once this bearer is let in no more."""
        self._held.setdefault(bearer, set()).add(end)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look())
        elif self._ends(bearer) is not None:
            self._stir()  # it may end before the next look

    def release(self, bearer: str, end: Ended) -> None:
        """Call `end` no more."""
        held = self._held.get(bearer, set())
        held.discard(end)
        if not held:
            self._held.pop(bearer, None)

    def forget(self, key_id: UUID | None = None) -> None:
        """Look a key up anew when it is shown next, or all of them, and have who waits for an end look now."""
        gone = [token for token, (_, viewer) in self._known.items() if key_id in (None, viewer.key_id)]
        for token in gone:
            del self._known[token]
        self._stir()

    async def listen(self, bus: LiveBus) -> None:
        """Forget what the bus says has ended, until cancelled; everything, where something may have been missed."""
        while True:
            with suppress(CursorExpired, SlowConsumer):
                async for event in bus.events(frozenset({KEYS}), None):
                    self.forget(UUID(event.ids["key_id"]))
            self.forget()

    async def _look(self) -> None:
        """See who of those held is still let in, every `seconds` and when one is to end, while there are any."""
        while self._held:
            ends = [at for bearer in self._held if (at := self._ends(bearer)) is not None]
            left = min([self._seconds, *(at - time.monotonic() for at in ends)])
            with suppress(TimeoutError):
                async with asyncio.timeout(max(left, SHORTEST_WAIT_SECONDS)):
                    await self._news.wait()
            for bearer in tuple(self._held):
                sure = True
                try:
                    if await self.viewer(bearer) is not None:
                        continue
                except Exception:
                    log.exception("fault")
                    sure = False
                for end in self._held.pop(bearer, ()):
                    end(sure=sure)

    def _ends(self, bearer: str) -> float | None:
        known = self._known.get(bearer)
        return known and known[1].ends

    def _stir(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def _look_up(self, token: str) -> Viewer | None:
        if self._tokens is not None and token.count(".") == 2:
            return await self._tokens.viewer(token)
        if len(token) > LONGEST_KEY:
            return None
        found = await live_key(token, at=self._clock.now())
        if found is None or found.key.purpose is not self._purpose:
            return None
        key = found.key
        viewer = Viewer(role=key.role, user_id=key.user_id, key_id=key.id, name=key.name, scopes=frozenset(key.scopes))
        if found.until is None:
            return viewer
        return replace(viewer, ends=time.monotonic() + (found.until - self._clock.now()).total_seconds())


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who shows this at a door; two who show the same are equal."""

    door: Door
    shown: str

    async def __call__(self) -> Viewer | None:
        """Who it is by now, None for nobody."""
        return await self.door.viewer(self.shown)


async def tell_doors(bus: LiveBus, key_id: UUID, at: datetime) -> None:
    """Tell the doors of all processes that a key has ended or changed; where nobody can be told they find out late."""
    event = LiveEvent(str(new_id()), KEYS, "ApiKeyEnded", {"key_id": str(key_id)}, at)
    try:
        async with asyncio.timeout(SECONDS_TO_TELL):
            await bus.publish([event])
    except Exception as away:
        log.warning("doors were not told of an ended key", error=type(away).__name__)
