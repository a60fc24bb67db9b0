"""GoCardless's exceptions -> the error tree of the ports.

| reply                                                | a read      | a write                      |
|------------------------------------------------------|-------------|------------------------------|
| no connection, no answer, HTML, 5xx, unknown kind    | Unavailable | OutcomeUnknown               |
| 429                                                  | RateLimited | RateLimited                  |
| key used before                                      |             | IdempotentCreationConflict.. |
| 401, 403: our token, not the payer                   | Unavailable | Unavailable                  |
| 400, 404, 409, 422                                   | Refused     | Refused                      |

The library repeats a create three times with the same key, so its last error says nothing of the first attempt: a
connection refused at the end may follow a payment made at the beginning.
"""

import time
from typing import Any

import requests
from gocardless_pro import errors

from integrations.http import Effect
from models.ports import ProviderError, RateLimited, Refused, Unavailable

# An `invalid_state` without a list of reasons makes the library fail with a TypeError.
RAISED = (errors.GoCardlessProError, requests.RequestException, TypeError)
Conflict = errors.IdempotentCreationConflictError
WINDOW_SECONDS = 60  # so many requests a minute; the exception does not carry the header that says how long is left
SERVER_FAILED = 500

_OUR_TOKEN = (errors.AuthenticationError, errors.PermissionsError)
_REFUSALS = (
    errors.ValidationFailedError,
    errors.InvalidApiUsageError,
    errors.InvalidStateError,
)


def mapped(error: Exception, effect: Effect) -> ProviderError:
    """One of `RAISED` -> the error to raise in its place."""
    if isinstance(error, errors.RateLimitError):
        left = WINDOW_SECONDS - time.time() % WINDOW_SECONDS
        return RateLimited("GoCardless was asked too often.", retry_after=left)
    if isinstance(error, _OUR_TOKEN):
        return Unavailable(f"GoCardless: {error}", code="CREDENTIALS")
    if isinstance(error, _REFUSALS) and int(error.code or 0) < SERVER_FAILED:
        return Refused(f"GoCardless: {error}", code=reason(error))
    return effect.lost(f"GoCardless did not answer usefully ({type(error).__name__}).")


def reason(error: Any) -> str:
    """An API error -> its first reason, else the field that is wrong, else its type."""
    for one in error.errors or []:
        if found := one.get("reason") or one.get("field"):
            return str(found)
    return str(error.type)
