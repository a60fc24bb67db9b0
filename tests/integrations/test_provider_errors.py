"""What the vendors' own error answers become: their published bodies, through their own libraries."""

from collections.abc import Callable
from typing import Any

import pytest
import requests
from gocardless_pro import errors

from integrations.gocardless.errors import mapped
from integrations.http import Effect
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
