"""Addresses of rows are judged when they are called: real sockets on loopback, names resolved by a seam of ours."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from integrations.guard import Reach, resolved
from integrations.http import Http
from integrations.registry import Registry
from models.actions.vault import Vault
from models.ports import MembershipPush, OutgoingInvoice, Refused, Unavailable
from models.rules.states import Provider
from models.tables.setting import ProviderSetting
from tests.integrations.conftest import StoppedClock, an_order
from tests.sandbox.conftest import Receiver

NAME = "coursepro.example.org"
PUBLIC, INSIDE, HERE = "93.184.215.14", "10.0.0.5", "127.0.0.1"


class Names:
    """Answers a lookup with the next of its answers, the last one for ever, and counts."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers, self.asked = list(answers), list[tuple[str, int]]()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        """A lookup."""
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def called(url: str, reach: Reach) -> int:
    """POST to an address as a provider's client does -> the status."""
    http = Http("test", "", answer_seconds=2, reach=reach)
    try:
        return (await http.write("POST", url, content=b"{}")).status_code
    finally:
        await http.close()


async def test_loopback_is_called_where_the_sandbox_runs_and_nowhere_else(receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    for url in (f"{receiver.url}/a", f"http://localhost:{port}/a"):
        assert await called(url, Reach(local=True)) == 200
        for where in (url, url.replace("http", "https", 1)):
            with pytest.raises(Refused) as refused:
                await called(where, Reach(local=False))
            assert refused.value.code == "ADDRESS_NOT_ALLOWED"
    assert len(receiver.received) == 2
    assert HERE in await resolved("localhost", int(port)), "the lookup in use is the machine's own"


@pytest.mark.parametrize("answer", [[HERE], [INSIDE], [PUBLIC, INSIDE], ["::1"], ["fe80::1%eth0"], ["::ffff:10.0.0.5"]])
async def test_a_name_that_leads_inside_is_not_called_whatever_else_it_leads_to(
    answer: list[str], receiver: Receiver
) -> None:
    names = Names(answer)
    with pytest.raises(Refused) as refused:
        await called(f"https://{NAME}:{receiver.url.rpartition(':')[2]}/a", Reach(local=False, resolve=names))
    assert refused.value.code == "ADDRESS_NOT_ALLOWED"
    assert str(refused.value) == f"{NAME} leads to an address that is not on the internet."
    assert (len(names.asked), receiver.received) == (1, [])


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(receiver: Receiver) -> None:
    port = int(receiver.url.rpartition(":")[2])
    names = Names([HERE], [INSIDE])
    reach = Reach(local=True, resolve=names)
    assert await called(f"http://localhost:{port}/a", reach) == 200
    assert names.asked == [("localhost", port)], "resolved once for one connection"
    with pytest.raises(Refused):
        await called(f"http://localhost:{port}/a", reach)
    assert len(receiver.received) == 1


async def test_an_address_that_does_not_answer_gives_way_to_the_next_and_a_name_nobody_knows_is_tried_later(
    receiver: Receiver,
) -> None:
    port = receiver.url.rpartition(":")[2]
    assert await called(f"http://localhost:{port}/a", Reach(local=True, resolve=Names(["127.0.0.9", HERE]))) == 200

    async def unknown(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    async def silent(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return []

    for resolve in (unknown, Names(["127.0.0.9"]), Names([])):
        with pytest.raises(Unavailable) as later:
            await called(f"http://localhost:{port}/a", Reach(local=True, resolve=resolve))
        assert later.value.code == "UNREACHABLE"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("integrations.http.CONNECT_SECONDS", 0.1)
        with pytest.raises(Unavailable):
            await called(f"http://localhost:{port}/a", Reach(local=True, resolve=silent))


async def test_a_redirect_and_a_proxy_of_the_environment_are_not_followed(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 307 There\r\nLocation: {receiver.url}/inside\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, receiver.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with await asyncio.start_server(elsewhere, HERE, 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await called(f"http://localhost:{port}/hook", Reach(local=True)) == 307
    assert receiver.received == []


# -- TLS --------------------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for one name that vouches for itself -> (its file, its key's)."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    encoding = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    files[1].write_bytes(key.private_bytes(*encoding))
    return files


@asynccontextmanager
async def https_server(files: tuple[Path, Path], heard: list[bytes]) -> AsyncIterator[int]:
    """An https server on loopback that keeps the heads of what it is asked -> its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        await writer.drain()
        writer.close()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    async with await asyncio.start_server(answer, HERE, 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def test_the_certificate_is_checked_against_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, heard = certificate(tmp_path, NAME), list[bytes]()
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    reach = Reach(local=True, resolve=Names([HERE]))
    async with https_server(files, heard) as port:
        assert await called(f"https://{NAME}:{port}/hook", reach) == 200
        assert f"Host: {NAME}:{port}\r\n".encode() in heard[0]
        with pytest.raises(Unavailable):
            await called(f"https://other.example.org:{port}/hook", reach)
    assert len(heard) == 1


# -- rows -------------------------------------------------------------------------------------------------------------


THEN = datetime(2026, 1, 1, tzinfo=UTC)
PUSH = MembershipPush("e", UUID(int=1), 1, UUID(int=2), None, "ACTIVE", "Active", None, THEN)
INVOICE = OutgoingInvoice("r", None, "Ada", "ada@example.org", "AUD", THEN.date(), ())


async def test_no_provider_is_called_inside_whatever_its_row_says(
    database: None, secret_key: str, clock: StoppedClock, receiver: Receiver
) -> None:
    """Rows as they may have come from another machine's database; no client knows a way around the guard."""
    vault, inside = Vault(secret_key), receiver.url
    secrets = {"api_key": "k", "webhook_secret": "s", "access_token": "t", "secret_token": "s", "client_secret": "s"}
    addresses = dict.fromkeys(("api_base", "identity_base", "cart_complete_url", "user_sync_url"), f"{inside}/hook")
    settings = {"client_id": "c", "tenant_id": "t", "account_code": "200", **addresses}
    for provider in Provider:
        await ProviderSetting.create(provider=provider, settings=settings, secrets=vault.seal(secrets))
    registry = Registry(vault, None, clock=clock)

    async def collect(provider: Provider) -> None:
        await (await registry.payments(provider)).collect(an_order(customer="c", payment_method="p", mandate="m"))

    async def changes() -> None:
        async for _ in (await registry.practice()).changes({}):
            pass

    async def find() -> None:
        await (await registry.accounting()).find_invoice(INVOICE)

    async def push() -> None:
        await (await registry.courses()).push_membership(PUSH)

    for one in (collect(Provider.STRIPE), collect(Provider.GOCARDLESS), changes(), find(), push()):
        with pytest.raises(Refused) as refused:
            await one
        assert refused.value.code == "ADDRESS_NOT_ALLOWED"
    assert receiver.received == []
    assert await registry.webhooks(Provider.COURSEPRO), "its calls to us are still understood"
    await registry.close()
