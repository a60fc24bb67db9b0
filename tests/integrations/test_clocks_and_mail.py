"""Clocks, the sandbox's own clock, and mail by a server of this test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_string

import pytest

from integrations.clock import SandboxAdmin, SandboxClock, SystemClock
from integrations.mail import Mail
from local.state import held_ports
from models.ports import OutcomeUnknown, Refused, Unavailable
from tests.integrations.conftest import Sandbox

SOON = timedelta(seconds=2)


def test_the_system_clock_is_the_real_one() -> None:
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < SOON


async def test_the_sandbox_clock_runs_ahead() -> None:
    ahead = 0

    async def read() -> int:
        return ahead

    clock = SandboxClock(read)
    assert abs(clock.now() - datetime.now(UTC)) < SOON
    ahead = 86_400
    await clock.refresh()
    assert abs(clock.now() - datetime.now(UTC) - timedelta(days=1)) < SOON


async def test_the_sandbox_clock_keeps_up_and_outlives_an_outage() -> None:
    readings = [OSError("the database is away"), 3600, 7200]

    async def read() -> int:
        found = readings.pop(0) if len(readings) > 1 else readings[0]
        if isinstance(found, OSError):
            raise found
        assert isinstance(found, int)
        return found

    clock = SandboxClock(read)
    running = asyncio.create_task(clock.run())
    async with asyncio.timeout(10):
        while clock.now() - datetime.now(UTC) < timedelta(hours=1, minutes=59):  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(0.05)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_the_sandbox_is_moved_and_only_forward(sandbox: Sandbox) -> None:
    admin = SandboxAdmin(sandbox.urls["admin"])
    to = sandbox.now() + timedelta(days=40)
    await admin.move_clock(to)
    assert to <= sandbox.now() < to + timedelta(seconds=30)
    await admin.move_clock(to)
    await admin.move_clock(to - timedelta(days=10))
    assert to <= sandbox.now() < to + timedelta(seconds=30)
    await admin.close()


async def test_a_sandbox_that_is_gone_is_unavailable() -> None:
    admin = SandboxAdmin(f"http://127.0.0.1:{held_ports(1)[0]}")
    with pytest.raises(Unavailable):
        await admin.move_clock(datetime.now(UTC))
    await admin.close()


# -- mail --------------------------------------------------------------------------------------------------------------


@dataclass
class MailServer:
    """A loopback SMTP server that keeps what it takes; `says` changes its answer to a command."""

    port: int = 0
    says: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            command = line.split(" ")[0].upper()
            if self.says.get(command) == "hang up":
                break
            if command == "DATA" and "DATA" not in self.says:
                writer.write(b"354 go on\r\n")
                self.taken.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(f"{self.says.get(command, '250 fine')}\r\n".encode())
            if command == "QUIT":
                break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def server() -> AsyncIterator[MailServer]:
    made = MailServer()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = listening.sockets[0].getsockname()[1]
    yield made
    listening.close()
    await listening.wait_closed()


def mail(server: MailServer) -> Mail:
    return Mail(f"smtp://127.0.0.1:{server.port}?from=office@example.org")


MESSAGE = {
    "email": "ada@example.org",
    "subject": "Payment\nmissed",
    "text": "Dear Ada,\n£25.00 is owed.\n",
    "key": "n:1",
}


async def test_a_message_is_handed_over_with_its_key(server: MailServer) -> None:
    await mail(server).send(**MESSAGE)
    await mail(server).send(**MESSAGE)
    first, again = map(message_from_string, server.taken)
    assert (first["From"], first["To"], first["Subject"]) == ("office@example.org", "ada@example.org", "Payment missed")
    payload = first.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert "£25.00 is owed." in payload.decode()
    assert first["Message-ID"] == again["Message-ID"]
    assert first["Message-ID"].endswith("@example.org>")


@pytest.mark.parametrize(
    ("says", "raised"),
    [
        ({"RCPT": "550 nobody here"}, Refused),
        ({"RCPT": "451 later"}, Unavailable),
        ({"MAIL": "552 too large"}, Refused),
        ({"DATA": "451 later"}, Unavailable),
        ({"DATA": "hang up"}, OutcomeUnknown),
    ],
)
async def test_what_the_server_says_to_it(server: MailServer, says: dict[str, str], raised: type[Exception]) -> None:
    server.says = says
    with pytest.raises(raised) as failed:
        await mail(server).send(**MESSAGE)
    assert type(failed.value) is raised
    assert server.taken == []


async def test_no_server_is_unavailable() -> None:
    with pytest.raises(Unavailable):
        await Mail(f"smtp://127.0.0.1:{held_ports(1)[0]}?from=office@example.org").send(**MESSAGE)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1", "smtp://127.0.0.1", "smtp://?from=a@example.org"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="SMTP_URL"):
        Mail(url)
