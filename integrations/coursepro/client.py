"""CoursePro: told the status of memberships. The format is our own contract, docs/coursepro.md."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from integrations.http import ANSWER_SECONDS, Effect, Http, content, refusal
from models.ports import MembershipPush, Refused

UNAUTHORISED, UNPROCESSABLE = 401, 422
# Our word for a membership's standing, in lower case -> the contract's; a course that is over is told by `status`.
AVAILABILITY = {
    "active": "active",
    "unavailable": "unavailable",
    "cancelled": "cancelled",
    "completed": "cancelled",
}

_log = structlog.get_logger(__name__)


class CoursePro:
    """CourseSystem: posts events to the user-sync webhook, signed; CoursePro makes repeats and late ones harmless."""

    def __init__(
        self, *, user_sync_url: str, client_id: str, secret_token: str, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        """Address of the user-sync webhook, the identifier and token CoursePro gave us, seconds to wait."""
        self._user_sync_url, self._client_id, self._secret = user_sync_url, client_id, secret_token
        self._http = Http("coursepro", "", answer_seconds=answer_seconds)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def push_membership(self, push: MembershipPush) -> None:
        """Tell a membership's status. Raises Refused (credentials, contract), Unavailable, OutcomeUnknown."""
        if push.availability.lower() not in AVAILABILITY:
            raise Refused(f"CoursePro has no word for {push.availability!r}.", code="UNKNOWN_AVAILABILITY")
        effective_at = push.effective_at.isoformat()
        membership = {
            "id": str(push.membership_id),
            "course_ref": push.course_ref,
            "status": push.status,
            "availability": AVAILABILITY[push.availability.lower()],
            "reason": push.reason,
            "effective_at": effective_at,
            "version": push.version,
        }
        event = {
            "event_id": push.event_id,
            "event": "membership.status_changed",
            "occurred_at": effective_at,
            "user": {"user_id": str(push.user_id)},
            "memberships": [membership],
        }
        await self._post(self._user_sync_url, event)

    async def _post(self, url: str, event: Mapping[str, Any]) -> None:
        body = orjson.dumps(event)
        answer = await self._http.write("POST", url, content=body, headers=self._headers(event["event_id"], body))
        if answer.status_code in (UNAUTHORISED, UNPROCESSABLE):
            raise refusal("CoursePro", answer)
        if not answer.is_success:
            raise Effect.WRITE.lost(f"CoursePro answered {answer.status_code}.")
        said = content(answer, Effect.WRITE)
        if not said.get("applied"):
            _log.info("nothing changed at CoursePro", event_id=event["event_id"], reason=said.get("reason"))

    def _headers(self, event_id: str, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-Client-Identifier": self._client_id,
            "Authorization": f"Bearer {self._secret}",
            "X-Signature": hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest(),
            "X-Event-Id": event_id,
        }
