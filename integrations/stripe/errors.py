"""Stripe's exceptions -> the error tree of the ports.

| reply                                   | a read      | a write        |
|-----------------------------------------|-------------|----------------|
| never sent                              | Unavailable | Unavailable    |
| no answer, 5xx, unreadable answer       | Unavailable | OutcomeUnknown |
| 409: the key's first request still runs | Unavailable | OutcomeUnknown |
| 429                                     | RateLimited | RateLimited    |
| 429: somebody else is at the same thing | Unavailable | Unavailable    |
| 401, 403: our key, not the payer        | Unavailable | Unavailable    |
| 400, 402, 404                           | Refused     | Refused        |
| 400: the key was used with other words  |             | Refused, CONFLICT: the client looks what was made |

A 500 in Stripe's own words is kept under the request's key and would be answered again: its code is ANSWERED_ERROR. A
gateway's 502 to 504 is not, and the request may still be running, so the same key must be used again.
"""

from collections.abc import Awaitable
from decimal import InvalidOperation
from typing import TypeVar

import stripe

from integrations.http import NOT_SENT, Effect
from models.ports import CONFLICT, ProviderError, RateLimited, Refused, Unavailable

T = TypeVar("T")
RETRY_AFTER_SECONDS = 2.0  # Stripe limits by the second and does not say when to come back
OUR_KEY = (401, 403)
IN_USE = 409
LOCKED = "lock_timeout"
SERVER_FAILED = 500
ANSWERED_ERROR = "ANSWERED_ERROR"


async def answered(call: Awaitable[T], effect: Effect) -> T:
    """One call to Stripe -> its result. Raises Refused, Unavailable, RateLimited, OutcomeUnknown, stripe.CardError.

    A CardError passes through where it names the payment intent that failed: that is an outcome, not a fault.
    """
    try:
        return await call
    except stripe.CardError as declined:
        if failed_intent(declined) is not None:
            raise
        raise Refused(_said(declined), code=decline_code(declined)) from declined
    except stripe.StripeError as error:
        raise mapped(error, effect) from error
    except InvalidOperation as unreadable:
        raise effect.lost("Stripe sent a number that is none.") from unreadable


def mapped(error: stripe.StripeError, effect: Effect) -> ProviderError:
    """One of Stripe's exceptions -> the error to raise in its place."""
    match error:
        case stripe.RateLimitError() if _code(error) == LOCKED:
            return Unavailable(_said(error), code="IN_USE", retry_after=RETRY_AFTER_SECONDS)
        case stripe.RateLimitError():
            return RateLimited(_said(error), retry_after=RETRY_AFTER_SECONDS)
        case stripe.APIConnectionError() if isinstance(error.__cause__, NOT_SENT):
            return Unavailable("Stripe is not reachable.", code="UNREACHABLE")
        case stripe.IdempotencyError():
            return Refused(_said(error), code=CONFLICT)
        case stripe.APIConnectionError():
            return effect.lost("Stripe did not answer.")
    status = error.http_status or SERVER_FAILED
    if status in OUR_KEY:
        return Unavailable(_said(error), code="CREDENTIALS")
    if status == SERVER_FAILED and error.error is not None:
        return effect.lost(_said(error), ANSWERED_ERROR)
    if status >= SERVER_FAILED or status == IN_USE or status < 400:
        return effect.lost(_said(error))
    return Refused(_said(error), code=error.code or _code(error) or f"HTTP_{status}")


def failed_intent(declined: stripe.CardError) -> dict[str, object] | None:
    """A declined card -> the payment intent it was for, as the error carries it."""
    body = declined.json_body
    told = body.get("error") if isinstance(body, dict) else None
    found = told.get("payment_intent") if isinstance(told, dict) else None
    return found if isinstance(found, dict) and "id" in found else None


def decline_code(declined: stripe.CardError) -> str:
    """A declined card -> the issuer's word for why, else Stripe's."""
    told = getattr(declined.error, "decline_code", None)
    return str(told or declined.code or "card_declined")


def _code(error: stripe.StripeError) -> str | None:
    return getattr(error.error, "code", None)


def _said(error: stripe.StripeError) -> str:
    return error.user_message or f"Stripe answered {error.http_status}."
