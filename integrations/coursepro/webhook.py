"""CoursePro's calls to us, verified and translated. The format is our own contract, docs/coursepro.md."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson

from models.ports import BadSignature, ReceivedEvent, Refused
from models.rules.facts import Attendee, AttendeesPosted, CourseEnd, CourseEnded, Fact, Mirrored, StatusClaimed
from models.rules.invoicing import Mark
from models.rules.states import Provider

WHO = Provider.COURSEPRO.value
ENDED, ATTENDEES, SERVED = "courses.ended", "attendees", "served"
# What tells the calls that are applied later apart: a key each of them must have. The others are served at once.
TOLD_BY = {"outcome": ENDED, "attendees": ATTENDEES}
ENDS = {"cancelled": CourseEnd.CANCELLED, "completed": CourseEnd.COMPLETED}
CLAIMS = {"active", "unavailable"}
MARKS = {None: Mark.BOOKED, "attended": Mark.ATTENDED, "absent": Mark.DNA, "cancelled": Mark.CANCELLED}
LONGEST_REF = 64
Class = tuple[str, str, str, str, str]


class CourseProCalls:
    """WebhookSource: signed with the secret token both sides hold; the facts are whole in the call."""

    def __init__(self, secrets: Sequence[str], client_id: str) -> None:
        """The secret tokens that may have signed, and the client identifier that stands for us over there."""
        self._secrets, self._client_id = [secret.encode() for secret in secrets], client_id

    def verify(self, body: bytes, headers: Mapping[str, str]) -> list[ReceivedEvent]:
        """One call -> one event. Raises BadSignature."""
        given = headers.get("x-signature", "").encode()
        signed = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in self._secrets]
        if not any(hmac.compare_digest(given, right) for right in signed):
            raise BadSignature("X-Signature is not made with a secret token of ours.")
        if headers.get("x-client-identifier", self._client_id) != self._client_id:
            raise BadSignature("X-Client-Identifier is another client's.")
        try:
            told = orjson.loads(body)
            event_id = told["event_id"]
            if not isinstance(event_id, str) or not event_id:
                raise ValueError("event_id")
            kind = next((TOLD_BY[key] for key in TOLD_BY if key in told), SERVED)
        except (ValueError, TypeError, KeyError):
            raise BadSignature("This is no call of CoursePro's.") from None
        return [ReceivedEvent(event_id, kind, told.get("membership_id"), told)]

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """A call that was served has none. Raises Refused where the call breaks the contract."""
        if event.event_type not in TOLD_BY.values():
            return []
        try:
            return {ENDED: _ended, ATTENDEES: _attendees}[event.event_type](event.body)
        except (KeyError, ValueError, TypeError) as broken:
            raise Refused(f"CoursePro's call breaks the contract: {broken!r}", code="CONTRACT_BROKEN") from broken

    async def read(self, _kind: Mirrored, _external_id: str) -> list[Fact]:
        """Nothing of CoursePro is read by its id."""
        return []


def _ended(told: Mapping[str, Any]) -> list[Fact]:
    """An end; or a claim of how the membership stands, which is not CoursePro's to say."""
    who: dict[str, Any] = {"membership_id": UUID(told["membership_id"]), "event_id": str(told["event_id"])}
    occurred_at = _instant(told["occurred_at"])
    if told["outcome"] in CLAIMS:
        return [StatusClaimed(provider=WHO, **who, claimed=told["outcome"], occurred_at=occurred_at)]
    since = told.get("effective_at")
    return [
        CourseEnded(
            provider=WHO,
            **who,
            end=ENDS[told["outcome"]],
            occurred_at=occurred_at,
            effective_at=_instant(since) if since else None,
            actor=told.get("actor"),
        )
    ]


def _attendees(told: Mapping[str, Any]) -> list[Fact]:
    """One fact a class: without a mark a place on its roster, with one what became of that place."""
    occurred_at = _instant(told["occurred_at"])
    return [
        _class(class_, list(people), occurred_at, str(told["event_id"]))
        for class_, people in groupby(sorted(told["attendees"], key=_class_of), key=_class_of)
    ]


def _class(class_: Class, people: Sequence[Mapping[str, Any]], occurred_at: datetime, event_id: str) -> AttendeesPosted:
    course, session, starts_at, ends_at, centre = class_
    posted = AttendeesPosted(
        provider=WHO,
        course_id=course,
        session_id=session,
        starts_at=_instant(starts_at),
        ends_at=_instant(ends_at),
        centre_ref=centre or None,
        attendees=tuple(
            Attendee(
                external_id=str(each["attendance_id"]),
                membership_id=UUID(each["membership_id"]),
                mark=MARKS[each.get("mark")],
            )
            for each in people
        ),
        occurred_at=occurred_at,
        event_id=event_id,
    )
    if posted.ends_at <= posted.starts_at or not 0 < len(session) <= LONGEST_REF:
        raise ValueError(f"class {session[:LONGEST_REF]!r} from {starts_at} to {ends_at}")
    return posted


def _class_of(attendee: Mapping[str, Any]) -> Class:
    names = ("course_ref", "session_ref", "starts_at", "ends_at")
    course, session, starts_at, ends_at = (str(attendee[name]) for name in names)
    return course, session, starts_at, ends_at, str(attendee.get("centre_id") or "")


def _instant(text: str) -> datetime:
    """An instant of the contract; ValueError for one without an offset."""
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no offset")
    return instant.astimezone(UTC)
