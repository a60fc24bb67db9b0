"""CoursePro: told of purchases, memberships, users and user fields. The format is our own, docs/coursepro.md."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import orjson
import structlog

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS, Effect, Http, content, refusal
from integrations.pace import Free
from models.ports import CartPush, FieldsPush, MembershipPush, Refused, UserPush

UNAUTHORISED, UNPROCESSABLE = 401, 422
UNKNOWN_USER = "unknown_user"
# Our word for a membership's standing, in lower case -> the contract's; a course that is over is told by `status`.
AVAILABILITY = {
    "active": "active",
    "unavailable": "unavailable",
    "cancelled": "cancelled",
    "completed": "cancelled",
}

_log = structlog.get_logger(__name__)


def standing(push: MembershipPush) -> dict[str, Any]:
    """A membership's status in the words of the contract. Raises Refused for a word that is not among them."""
    if push.availability.lower() not in AVAILABILITY:
        raise Refused(f"CoursePro has no word for {push.availability!r}.", code="UNKNOWN_AVAILABILITY")
    return {
        "id": str(push.membership_id),
        "course_ref": push.course_ref,
        "status": push.status,
        "availability": AVAILABILITY[push.availability.lower()],
        "reason": push.reason,
        "effective_at": push.effective_at.isoformat(),
        "version": push.version,
    }


class CoursePro:
    """CourseSystem: posts events to its two webhooks, signed; CoursePro makes repeats and late ones harmless."""

    def __init__(
        self,
        *,
        cart_complete_url: str,
        user_sync_url: str,
        client_id: str,
        secret_token: str,
        answer_seconds: float = ANSWER_SECONDS,
        reach: Reach | None = None,
        pace: Free | None = None,
    ) -> None:
        """Addresses of its two webhooks, the identifier and token CoursePro gave us, seconds to wait, how far, gate."""
        self._cart_complete_url, self._user_sync_url = cart_complete_url, user_sync_url
        self._client_id, self._secret = client_id, secret_token
        self._http = Http("coursepro", "", answer_seconds=answer_seconds, reach=reach, pace=pace)

    async def close(self) -> None:
        """Give the connections back."""
        await self._http.close()

    async def push_cart(self, push: CartPush) -> str | None:
        """Tell a purchase -> the buyer's id there, where told. Raises Refused, Unavailable, OutcomeUnknown."""
        known = {"coursepro_id": push.coursepro_id} if push.coursepro_id else {}
        item = {
            "membership_id": str(push.membership_id),
            "pricing_option_id": str(push.pricing_option_id),
            "membership_type": push.frequency,
            "course_ref": push.course_ref,
            "centre_id": str(push.centre_id),
            "price_minor": push.price,
            "currency": push.currency,
            "start_date": push.starts_on.isoformat(),
            "end_date": push.ends_on.isoformat() if push.ends_on else None,
        }
        event = {
            "event_id": push.event_id,
            "event": "cart.complete",
            "occurred_at": push.occurred_at.isoformat(),
            "cart_id": push.cart_id,
            "external_reference": str(push.membership_id),
            "client_identifier": self._client_id,
            "user": {"user_id": str(push.user_id), **known, **push.details},
            "items": [item],
            "payment": {"kind": push.payment, "instruction_status": push.instruction},
        }
        record = (await self._post(self._cart_complete_url, event)).get("coursepro_id")
        return str(record) if record else None

    async def push_membership(self, push: MembershipPush) -> None:
        """Tell a membership's status. Raises Refused (credentials, contract), Unavailable, OutcomeUnknown."""
        event = {
            "event_id": push.event_id,
            "event": "membership.status_changed",
            "occurred_at": push.effective_at.isoformat(),
            "user": {"user_id": str(push.user_id)},
            "memberships": [standing(push)],
        }
        await self._post(self._user_sync_url, event)

    async def push_user(self, push: UserPush) -> None:
        """Tell a user's changed details. Raises Refused (also UNKNOWN_USER), Unavailable, OutcomeUnknown."""
        event = {
            "event_id": push.event_id,
            "event": "user.updated",
            "occurred_at": push.occurred_at.isoformat(),
            "user": {"user_id": str(push.user_id), "version": push.version, **push.details},
        }
        said = await self._post(self._user_sync_url, event)
        if said.get("reason") == UNKNOWN_USER:
            raise Refused("CoursePro does not know this user.", code=UNKNOWN_USER.upper())

    async def push_fields(self, push: FieldsPush) -> None:
        """Tell which fields are collected. Raises Refused, Unavailable, OutcomeUnknown."""
        fields = [{"name": each.name, "label": each.label, "required": each.required} for each in push.fields]
        event = {
            "event_id": push.event_id,
            "event": "fields.changed",
            "occurred_at": push.occurred_at.isoformat(),
            "version": push.version,
            "fields": fields,
        }
        await self._post(self._user_sync_url, event)

    async def _post(self, url: str, event: Mapping[str, Any]) -> dict[str, Any]:
        body = orjson.dumps(event)
        answer = await self._http.write("POST", url, content=body, headers=self._headers(event["event_id"], body))
        if answer.status_code in (UNAUTHORISED, UNPROCESSABLE):
            raise refusal("CoursePro", answer)
        if not answer.is_success:
            raise Effect.WRITE.lost(f"CoursePro answered {answer.status_code}.")
        said = content(answer, Effect.WRITE)
        if not said.get("applied"):
            _log.info("nothing changed at CoursePro", event_id=event["event_id"], reason=said.get("reason"))
        return said

    def _headers(self, event_id: str, body: bytes) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-Client-Identifier": self._client_id,
            "Authorization": f"Bearer {self._secret}",
            "X-Signature": hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest(),
            "X-Event-Id": event_id,
        }
