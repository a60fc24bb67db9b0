"""What the vendors' own error answers become: their published bodies, through their own libraries."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
import stripe
from gocardless_pro import errors

from integrations.gocardless.errors import mapped
from integrations.http import Effect
from integrations.stripe.errors import mapped as mapped_of_stripe
from models.ports import OutcomeUnknown, ProviderError, RateLimited, Refused, Unavailable

OFFICIAL = "gocardless_official/"


@pytest.mark.parametrize(
    ("body", "status", "read", "write", "code"),
    [
        ("invalid_api_usage_error.json", 400, Refused, Refused, "invalid_api_usage"),
        ("insufficient_permission.json", 403, Unavailable, Unavailable, "CREDENTIALS"),
        ("rate_limit_exceeded.json", 429, RateLimited, RateLimited, "RATE_LIMITED"),
        ("gocardless_error.json", 500, Unavailable, OutcomeUnknown, "NO_ANSWER"),
    ],
)
def test_the_vendors_error_bodies(
    sample: Callable[[str], Any],
    body: str,
    status: int,
    read: type[ProviderError],
    write: type[ProviderError],
    code: str,
) -> None:
    error = sample(OFFICIAL + body)["error"]
    raised = errors.ApiError.exception_for(status, error["type"], error.get("errors"))(error)
    for effect, expected in ((Effect.READ, read), (Effect.WRITE, write)):
        found = mapped(raised, effect)
        assert (type(found), found.code) == (expected, code)


@pytest.mark.parametrize(
    "error",
    [
        requests.Timeout(),
        requests.ConnectionError(),
        TypeError("'NoneType' object is not iterable"),
        errors.GoCardlessProError("Invalid error type"),
        errors.MalformedResponseError("Malformed response received from server", "<html>", 502),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_leaves_the_outcome_open(error: Exception) -> None:
    assert type(mapped(error, Effect.READ)) is Unavailable
    assert type(mapped(error, Effect.WRITE)) is OutcomeUnknown


@pytest.mark.parametrize(
    ("code", "expected"),
    [("rate_limit", (RateLimited, "RATE_LIMITED", 2.0)), ("lock_timeout", (Unavailable, "IN_USE", 2.0))],
)
def test_a_429_of_stripe_stops_the_account_only_where_it_is_about_the_account(
    code: str, expected: tuple[type[Unavailable], str, float]
) -> None:
    """Another request held the object: `code` of the exception is None, that of the error it carries tells."""
    body = {"error": {"type": "invalid_request_error", "code": code, "message": "later"}}
    found = mapped_of_stripe(stripe.RateLimitError("later", http_status=429, json_body=body), Effect.WRITE)
    assert isinstance(found, Unavailable)
    assert (type(found), found.code, found.retry_after) == expected
