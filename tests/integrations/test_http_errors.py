"""The error tree of providers without an SDK, and that logs tell no secrets."""

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest
from structlog.testing import capture_logs

from integrations.coursepro.client import CoursePro
from integrations.http import Effect, Http, _retry_after, content
from integrations.nookal.client import Nookal
from integrations.xero.client import Xero
from integrations.xero.session import Session
from models.ports import MembershipPush, OutcomeUnknown, RateLimited, Refused, Unavailable
from tests.integrations.conftest import Sandbox, StoppedClock
from tests.integrations.test_xero_client import INVOICE
from tests.sandbox.conftest import Receiver


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_that_fails(receiver: Receiver, status: int) -> None:
    http = Http("test", receiver.url)
    receiver.told_at = "/thing"
    receiver.statuses = [status] * 4
    with pytest.raises(Unavailable):
        await http.read("GET", "/thing")
    with pytest.raises(OutcomeUnknown):
        await http.write("POST", "/thing")
    assert [one.method for one in receiver.at("/thing")] == ["GET", "GET", "GET", "POST"]
    await http.close()


async def test_a_read_is_asked_again_a_write_is_not(receiver: Receiver) -> None:
    http = Http("test", receiver.url)
    receiver.told_at = "/thing"
    receiver.statuses = [500]
    assert (await http.read("GET", "/thing")).status_code == 200
    receiver.told_at = "/other"
    receiver.statuses = [429]
    with pytest.raises(RateLimited):
        await http.read("GET", "/other")
    assert (len(receiver.at("/thing")), len(receiver.at("/other"))) == (2, 1)
    await http.close()


@pytest.mark.parametrize("status", [200, 201, 302, 400, 401, 404, 422])
async def test_other_answers_are_the_callers_to_read(receiver: Receiver, status: int) -> None:
    http = Http("test", receiver.url)
    receiver.told_at = "/thing"
    receiver.statuses = [status]
    assert (await http.write("POST", "/thing")).status_code == status
    await http.close()


@pytest.mark.parametrize(
    ("said", "seconds"), [("7", 7.0), ("", 1.0), ("soon", 1.0), ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)]
)
def test_when_to_come_back(said: str, seconds: float) -> None:
    assert _retry_after(httpx.Headers({"retry-after": said})) == seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"1"])
def test_an_answer_that_is_no_object_is_a_lost_one(body: bytes) -> None:
    for effect, raised in ((Effect.READ, Unavailable), (Effect.WRITE, OutcomeUnknown)):
        with pytest.raises(raised):
            content(httpx.Response(200, content=body), effect)


async def test_logs_hold_no_key_token_name_or_address(
    sandbox: Sandbox, clock: StoppedClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    told: dict[str, dict[str, Any]] = {**sandbox.credentials}
    base = sandbox.urls["coursepro"]
    coursepro = CoursePro(
        cart_complete_url=f"{base}/cart-complete", user_sync_url=f"{base}/user-sync", **told["coursepro"]
    )
    nookal = Nookal("a_nookal_secret", clock, api_base=sandbox.urls["nookal"])
    url = sandbox.urls["xero"]
    xero = Xero(Session(**told["xero"], api_base=url, identity_base=url), account_code="205")
    push = MembershipPush(
        "e", UUID(int=1), 1, UUID(int=2), None, "ACTIVE", "Active", None, datetime(2026, 1, 1, tzinfo=UTC)
    )
    with capture_logs() as logs:
        await coursepro.push_membership(push)
        await xero.ship(INVOICE)
        with pytest.raises(Refused):
            _ = [page async for page in nookal.changes({})]
    written = json.dumps(logs) + caplog.text
    assert "/Invoices" in written
    for secret in (
        told["coursepro"]["secret_token"],
        told["xero"]["client_secret"],
        "a_nookal_secret",
        "Bearer",
        "ada@example.org",
        "Ada Byron",
    ):
        assert secret not in written
    for client in (coursepro, nookal, xero):
        await client.close()
