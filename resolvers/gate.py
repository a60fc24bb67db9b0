"""GET /gate/v1/may-enter: whether a person may pass a centre's gate now, by one statement and the rule of `access`.

200 {"may_enter", "reason", "until", "session"} · 400 malformed · 401 no key of purpose GATE · 503 no database

A gate asks often and must not wait: its key is remembered for a few seconds, its connections are its own, and nothing
of it passes through the tables. A person or a centre nobody knows is told as nobody on a roster.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn
from uuid import UUID

import orjson
import structlog
from starlette.requests import Request
from starlette.responses import Response

from models.ports import Clock
from models.rules.access import Entry, Place, Window, at_the_gate
from models.rules.lifecycle import Status
from models.rules.states import KeyPurpose
from models.tables.connections import Connections
from resolvers.auth import Door
from resolvers.context import Context
from resolvers.reads.ids import BadInput, known

AROUND = timedelta(hours=12)  # a class that is farther from now is none of this visit
SECONDS_TO_ANSWER = 2.0
CONNECTIONS = 4
_SESSION = {
    "application_name": "dueflow gate",
    "default_transaction_read_only": "on",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
    "timezone": "UTC",
}
# the tokens around that moment; and where there is none, places on a roster whose membership does not stand
_PLACES = """
WITH token AS (
  SELECT t.class_session_id, m.status, t.valid_from, t.valid_until, t.revoked_at IS NOT NULL AS revoked
  FROM access_token t
  JOIN membership m ON m.id = t.membership_id
  JOIN class_session s ON s.id = t.class_session_id AND s.deleted_at IS NULL
  WHERE t.user_id = $1 AND t.centre_id = $2 AND t.valid_until > $3::timestamptz - $4::interval
    AND t.valid_from < $3::timestamptz + $4::interval
)
SELECT class_session_id, status, valid_from, valid_until, revoked FROM token
UNION ALL
SELECT s.id, m.status, s.starts_at - make_interval(mins => c.minutes_before),
  s.ends_at + make_interval(mins => c.minutes_after), false
FROM attendance a
JOIN class_session s ON s.id = a.class_session_id
JOIN centre c ON c.id = s.centre_id
JOIN membership m ON m.id = a.membership_id AND m.user_id = $1
WHERE NOT EXISTS (SELECT 1 FROM token) AND a.user_id = $1 AND s.centre_id = $2 AND a.mark = 'BOOKED'
  AND s.deleted_at IS NULL AND s.ends_at > $3::timestamptz - $4::interval
  AND s.starts_at < $3::timestamptz + $4::interval AND m.status <> 'ACTIVE'
"""
log = structlog.get_logger("dueflow.gate")


class _Malformed(Exception):
    """The question cannot be read."""


async def entry(
    connections: Connections, user_id: UUID, centre_id: UUID, at: datetime, seconds: float | None = None
) -> Entry:
    """(person, centre, UTC instant) -> whether its gate opens, and why not. Raises TimeoutError after so many."""
    rows = await connections.fetch(_PLACES, user_id, centre_id, at, AROUND, seconds=seconds)
    return at_the_gate(
        (Place(key, Status(status), Window(since, until), revoked) for key, status, since, until, revoked in rows), at
    )


async def entered(context: Context, user_id: UUID, centre_id: UUID, at: datetime | None) -> Entry | None:
    """As the gate would be told, for who may see the person and the centre; None for others."""
    reader, viewer = context.reader, context.viewer
    if not (await reader.sees("User", user_id, viewer) and await reader.sees("Centre", centre_id, viewer)):
        return None
    return await entry(reader.pool, user_id, centre_id, at or context.clock.now())


class Gate:
    """Answers the gates from a few connections of its own."""

    def __init__(self, connections: Connections, clock: Clock) -> None:
        self._connections, self._clock = connections, clock
        self.door = Door(clock, purpose=KeyPurpose.GATE)

    @classmethod
    async def open(cls, database_url: str, clock: Clock) -> "Gate":
        """(postgres://..., clock) -> a gate with connections that are open and know their statement before it asks."""
        connections = Connections(database_url, CONNECTIONS, max_cached_statement_lifetime=0, server_settings=_SESSION)
        await connections.open(CONNECTIONS)
        nobody = UUID(int=0)
        await asyncio.gather(*(entry(connections, nobody, nobody, clock.now()) for _ in range(CONNECTIONS)))
        return cls(connections, clock)

    async def close(self) -> None:
        """Let the connections go."""
        await self._connections.close()

    async def answer(self, request: Request) -> Response:
        """One question of a gate -> its answer."""
        try:
            if await self.door.viewer(request.headers.get("authorization")) is None:
                return _said(401, {"message": "An API key of purpose GATE is needed."})
            asked = request.query_params
            user_id, centre_id = _key(asked.get("user"), "User"), _key(asked.get("centre"), "Centre")
            at = _instant(asked.get("at")) or self._clock.now()
            if user_id and centre_id:
                found = await entry(self._connections, user_id, centre_id, at, SECONDS_TO_ANSWER)
            else:
                found = at_the_gate((), at)
        except _Malformed as wrong:
            return _said(400, {"message": str(wrong)})
        except Exception:
            log.exception("gate not answered")
            return _said(503, {"message": "The gate cannot be answered now; ask again."})
        session = str(found.session_id) if found.session_id else None
        told = {"may_enter": found.no is None, "reason": found.no, "until": found.until, "session": session}
        return _said(200, told)


async def may_enter(request: Request) -> Response:
    """The route of the gates."""
    gate: Gate = request.app.state.gate
    return await gate.answer(request)


def _key(given: str | None, type_name: str) -> UUID | None:
    """A uuid or a global id -> the uuid; None for the id of something else."""
    if not given:
        _malformed(f"{type_name.lower()} is missing")
    try:
        return UUID(given)
    except ValueError:
        pass
    try:
        return known(type_name)(given)
    except BadInput as wrong:
        _malformed(wrong.message)


def _instant(given: str | None) -> datetime | None:
    if not given:
        return None
    try:
        instant = datetime.fromisoformat(given)
        if instant.tzinfo is None:
            _malformed("at has no offset; write + as %2B")
        return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        _malformed("at is no instant")


def _malformed(message: str) -> NoReturn:
    raise _Malformed(message)


def _said(status: int, told: dict[str, Any]) -> Response:
    return Response(orjson.dumps(told), status, {"cache-control": "no-store"}, "application/json")
