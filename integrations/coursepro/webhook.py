"""CoursePro's calls to us, verified and translated. The format is our own contract, docs/coursepro.md."""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import orjson

from models.ports import BadSignature, ReceivedEvent, Refused
from models.rules.facts import Attendee, AttendeesPosted, CourseEnd, CourseEnded, Fact
from models.rules.states import Provider

WHO = Provider.COURSEPRO.value
ENDED, ATTENDEES = "courses.ended", "attendees"
# What tells the calls apart: a key each of them must have.
TOLD_BY = {"outcome": ENDED, "attendees": ATTENDEES}
ENDS = {"cancelled": CourseEnd.CANCELLED, "completed": CourseEnd.COMPLETED}


class CourseProCalls:
    """WebhookSource: signed with the secret token both sides hold; the facts are whole in the call."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """The secret tokens that may have signed."""
        self._secrets = [secret.encode() for secret in secrets]

    def verify(self, body: bytes, headers: Mapping[str, str]) -> list[ReceivedEvent]:
        """One call -> one event. Raises BadSignature."""
        given = headers.get("x-signature", "").encode()
        signed = [hmac.new(secret, body, hashlib.sha256).hexdigest().encode() for secret in self._secrets]
        if not any(hmac.compare_digest(given, right) for right in signed):
            raise BadSignature("X-Signature is not made with a secret token of ours.")
        try:
            told = orjson.loads(body)
            kind = next(TOLD_BY[key] for key in TOLD_BY if key in told)
            event_id = told["event_id"]
            if not isinstance(event_id, str) or not event_id:
                raise ValueError("event_id")
        except (ValueError, TypeError, KeyError, StopIteration):
            raise BadSignature("This is no call of CoursePro's.") from None
        return [ReceivedEvent(event_id, kind, told.get("membership_id"), told)]

    async def facts(self, event: ReceivedEvent) -> list[Fact]:
        """Raises Refused where the call breaks the contract."""
        try:
            return {ENDED: _ended, ATTENDEES: _attendees}[event.event_type](event.body)
        except (KeyError, ValueError, TypeError) as broken:
            raise Refused(f"CoursePro's call breaks the contract: {broken!r}", code="CONTRACT_BROKEN") from broken


def _ended(told: Mapping[str, Any]) -> list[Fact]:
    return [
        CourseEnded(
            provider=WHO,
            membership_id=UUID(told["membership_id"]),
            end=ENDS[told["outcome"]],
            occurred_at=datetime.fromisoformat(told["occurred_at"]),
            effective_on=datetime.fromisoformat(told["effective_at"]).date(),
            actor=told.get("actor"),
        )
    ]


def _attendees(told: Mapping[str, Any]) -> list[Fact]:
    """One fact a class; an attendee with a mark is evidence of the past and opens no gate."""
    roster = sorted((each for each in told["attendees"] if each.get("mark") is None), key=_class_of)
    return [
        AttendeesPosted(
            provider=WHO,
            course_id=course,
            session_id=session,
            starts_at=datetime.fromisoformat(starts_at),
            ends_at=datetime.fromisoformat(ends_at),
            attendees=tuple(
                Attendee(external_id=str(each["attendance_id"]), membership_id=UUID(each["membership_id"]))
                for each in people
            ),
            occurred_at=datetime.fromisoformat(told["occurred_at"]),
        )
        for (course, session, starts_at, ends_at), people in groupby(roster, key=_class_of)
    ]


def _class_of(attendee: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return attendee["course_ref"], attendee["session_ref"], attendee["starts_at"], attendee["ends_at"]
