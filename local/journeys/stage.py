"""What the flows stand on: a caller of the API, the provider sandbox, and somebody to tell each step to."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import httpx

from local.caller import Caller, Json, Watch
from local.demo_data import sandbox_does
from resolvers.reads.ids import split

T = TypeVar("T")
PATIENCE_SECONDS = 60.0
LOOK_AGAIN_SECONDS = 0.1

EVENTS = """
subscription ($topics: [LiveTopic!]!) {
  events(topics: $topics) {
    kind cursor occurredAt
    ... on BookingEvent { booking { id status credits charge { amount currency } } }
    ... on PaymentEvent { payment { id status amount { amount currency } } }
    ... on MembershipEvent { membership { id status availability } }
    ... on InvoiceEvent { invoice { id status allocation { version kind shares { amount { amount } } } } }
  }
}
"""


async def nothing(_point: str) -> None:
    """Disturb nothing."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One running system. `disturb` is called with a name at the points where a crash would hurt most."""

    caller: Caller
    sandbox: str
    coursepro_key: str
    say: Callable[[str], None]
    disturb: Callable[[str], Awaitable[None]] = nothing
    hears: bool = True  # False where the disturbance takes the live stream away

    async def happens(self, provider: str, action: str, **given: Any) -> Json:
        """Something happens at a provider."""
        return await sandbox_does(self.sandbox, provider, action, **given)

    async def held(self, kind: str) -> list[Json]:
        """What the sandbox keeps of one kind of thing."""
        async with httpx.AsyncClient(base_url=self.sandbox, trust_env=False) as client:
            answer = await client.get(f"/state/{kind}")
            answer.raise_for_status()
            things: list[Json] = answer.json()
            return things

    async def twice(self, provider: str, *, on: bool) -> None:
        """Have a provider send each of its webhooks twice, or no more."""
        async with httpx.AsyncClient(base_url=self.sandbox, trust_env=False) as client:
            answer = await client.post("/webhooks", json={"provider": provider, "duplicate": on})
            answer.raise_for_status()

    async def all_delivered(self, provider: str) -> None:
        """Wait until a provider has no webhook left to send."""

        async def look() -> bool | None:
            async with httpx.AsyncClient(base_url=self.sandbox, trust_env=False) as client:
                log: list[Json] = (await client.get("/webhooks")).json()
            waiting = [each for each in log if (each["provider"], each["status"]) == (provider, "pending")]
            return None if waiting else True

        await self.until(f"{provider}'s webhooks to be delivered", look)

    async def now(self) -> datetime:
        """The time all of them go by."""
        async with httpx.AsyncClient(base_url=self.sandbox, trust_env=False) as client:
            return datetime.fromisoformat((await client.get("/clock")).json()["now"])

    async def move_clock(self, to: datetime) -> None:
        """Let time pass, here and at every provider, and wait until it has."""
        payload = await self.caller.do("advanceClock", to=to.isoformat())
        await self.done(payload["job"]["id"])

    async def done(self, job: str) -> Json:
        """Wait for a job to end well -> it."""

        async def look() -> Json | None:
            found: Json = (
                await self.caller.ask(
                    "query ($id: ID!) { job(id: $id) { status resultUrl error { message } } }", id=job
                )
            )["job"]
            if found["status"] == "DEAD":
                raise AssertionError(f"job {job} is dead: {found['error']}")
            return found if found["status"] == "DONE" else None

        return await self.until(f"job {job} to be done", look)

    async def until(self, what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """Look again until there is something to see -> it. Raises TimeoutError."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        seen = await look()
        while seen is None:
            if asyncio.get_running_loop().time() > deadline:
                raise TimeoutError(f"waited {PATIENCE_SECONDS:.0f} s for {what}")
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
            seen = await look()
        return seen

    async def person(self, first_name: str) -> tuple[str, Json]:
        """A new member nobody has met -> (global id, the details)."""
        details = {
            "firstName": first_name,
            "lastName": f"Demo-{secrets.token_hex(3)}",
            "email": f"{first_name.lower()}.{secrets.token_hex(4)}@example.test",
        }
        user = (await self.caller.do("createUser", "user { id }", **details))["user"]["id"]
        return user, details

    @asynccontextmanager
    async def watching(self, *topics: str) -> AsyncIterator[Watch]:
        """Live events of these topics, told as they come."""
        if not self.hears:
            yield Watch()
            return

        def tell(event: Json) -> None:
            self.say(f"    {told(event)}")

        async with self.caller.watching(EVENTS, tell, topics=list(topics)) as watch:
            yield watch

    async def heard(self, watch: Watch, thing: str, global_id: str, *kinds: str) -> list[str]:
        """Wait until these kinds of events about a thing came, and no others since -> all that came."""
        if not self.hears:
            return []

        async def look() -> list[str] | None:
            came = kinds_about(watch, thing, global_id)
            return came if all(came.count(kind) >= kinds.count(kind) for kind in kinds) else None

        return await self.until(f"the live events {', '.join(kinds)}", look)


def raw(global_id: str) -> str:
    """The id other systems know a thing of ours by."""
    return str(split(global_id)[1])


def kinds_about(watch: Watch, thing: str, global_id: str) -> list[str]:
    """The kinds of the events told so far about one thing, each once per cursor, in order."""
    seen: dict[str, str] = {}
    for event in watch.told:
        if event.get(thing) and event[thing]["id"] == global_id:
            seen[event["cursor"]] = event["kind"]
    return list(seen.values())


def told(event: Json) -> str:
    """An event in a line."""
    about = next((value for value in event.values() if isinstance(value, dict)), {})
    facts = [f"{name} {value}" for name, value in about.items() if name in ("status", "availability", "credits")]
    return f"live: {event['kind']} ({', '.join(facts)})"
