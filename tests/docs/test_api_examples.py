"""docs/api.md as it stands, run against a served API; and each example client beside it, as its reader would run it."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import orjson
import pytest
import pytest_asyncio
import websockets

from integrations.bus import RedisBus
from integrations.guard import Reach
from integrations.hooks import Hooks
from local.state import held_ports
from models.actions.keys import create_api_key
from models.actions.vault import Vault
from models.actions.webhook_endpoints import create_webhook_endpoint
from models.ports import LiveEvent
from models.rules.lifecycle import Status
from models.rules.partners import WebhookTopic, signature, written_secret
from models.rules.states import Role
from models.tables.membership import Membership
from resolvers.reads.ids import encode
from tests.api.conftest import api, database, served
from tests.api.test_live_events import frames
from tests.build import BY, NOW, a_membership

__all__ = ["api", "database", "served"]
ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = (ROOT / "docs" / "api.md").read_text()
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NODE = shutil.which("node")
SECONDS = 20


@dataclass(frozen=True)
class Example:
    """A document shown, with what is asked and answered beside it."""

    query: str
    variables: dict[str, Any]
    answer: Any
    errors: list[str]


def examples() -> list[Example]:
    """Each GraphQL document of the page, in its order."""
    found = []
    for shown in re.split(r"^```graphql\n", DOCUMENT, flags=re.MULTILINE)[1:]:
        query, _, rest = shown.partition("```")
        parts = dict(re.findall(r"^```json (variables|answer|errors)\n(.*?)^```", rest, re.MULTILINE | re.DOTALL))
        variables, answer, errors = (json.loads(parts.get(each, "null")) for each in ("variables", "answer", "errors"))
        assert (answer is None) != (errors is None), f"nothing says what this answers:\n{query}"
        found.append(Example(query, variables or {}, answer, errors or []))
    return found


def fits(told: Any, shown: Any) -> bool:
    """Whether an answer is the one shown: `…` stands for any text, and lists may be longer."""
    if shown == "…":
        return isinstance(told, str)
    if isinstance(shown, dict):
        same = isinstance(told, dict) and told.keys() == shown.keys()
        return same and all(fits(told[key], shown[key]) for key in shown)
    if isinstance(shown, list):
        return isinstance(told, list) and len(told) >= len(shown) and all(map(fits, told, shown))
    return bool(told == shown)


@pytest.fixture(scope="module", autouse=True)
def site() -> Iterator[str]:
    """The address of a site with the page for the web, whose pages the API of this module lets ask."""
    pages = partial(SimpleHTTPRequestHandler, directory=str(ROOT / "examples" / "web"))
    with ThreadingHTTPServer(("127.0.0.1", 0), pages) as server, pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_port}"
        patch.setenv("DUEFLOW_ALLOWED_ORIGINS", json.dumps([address]))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield address
        server.shutdown()
        thread.join()


@pytest_asyncio.fixture(scope="module")
async def ids(api: Any, secret_key: str) -> dict[str, str]:
    """What the page calls <membership> and the like -> their ids."""
    membership = await a_membership()
    endpoint, _ = await create_webhook_endpoint(
        url="https://partner.example.com/dueflow",
        topics=[WebhookTopic.MEMBERSHIP],
        owner=None,
        vault=Vault(secret_key),
        local=False,
        acting=BY,
        at=NOW,
    )
    return {
        "<membership>": encode("Membership", membership.id),
        "<user>": encode("User", membership.user_id),
        "<endpoint>": encode("WebhookEndpoint", endpoint.id),
    }


async def test_every_example_of_the_page_answers_as_it_says(api: Any, ids: dict[str, str]) -> None:
    shown = examples()
    assert len(shown) > 10
    for example in shown:
        text = json.dumps([example.variables, example.answer])
        for word, value in ids.items():
            text = text.replace(word, value)
        assert "<" not in text
        variables, answer = json.loads(text)
        if example.query.startswith("subscription"):
            async with frames(api, example.query, variables) as events:
                told = (await anext(events))["data"]
        else:
            told = await api.ask(example.query, **variables)
        if example.errors:
            assert [error["extensions"]["code"] for error in told["errors"]] == example.errors
        else:
            assert "errors" not in told, told
            assert fits(told["data"], answer), told["data"]


def test_the_lines_that_verify_a_webhook_do() -> None:
    (shown,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    words: dict[str, Any] = {}
    exec(shown, words)
    secrets, body, now = [written_secret(bytes([each]) * 32) for each in (1, 2, 3)], b'{"type":"t"}', int(time.time())
    signed = " ".join(signature(secret, "m1", now, body) for secret in secrets[:2])
    headers = {"webhook-id": "m1", "webhook-timestamp": str(now), "webhook-signature": signed}
    assert [words["verify"](body, headers, secret) for secret in secrets] == [True, True, False]
    for change in ({"webhook-id": "m2"}, {"webhook-timestamp": str(now - 301)}, {"webhook-signature": "v1,AAAA"}):
        assert not words["verify"](body, {**headers, **change}, secrets[0])
    assert not words["verify"](body + b" ", headers, secrets[0])


async def until(what: Callable[[], Awaitable[Any]], true: Callable[[Any], bool]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not true(found := await what()):
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def test_the_partners_script_takes_what_is_genuine_once_and_reads_it(
    api: Any, ids: dict[str, str], secret_key: str
) -> None:
    _, token = await create_api_key(name="partner", role=Role.PARTNER, acting="test", at=NOW)
    vault, (port,), secret = Vault(secret_key), held_ports(1), written_secret(b"k" * 32)
    sealed = vault.seal({"secrets": json.dumps([{"secret": secret, "until": None}])})
    settings = {"DUEFLOW_URL": f"{api.url}/graphql", "DUEFLOW_KEY": token, "DUEFLOW_SECRET": secret}
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "examples/partner/partner.py"), str(port),
        env={**os.environ, **settings}, stdout=subprocess.PIPE,
    )  # fmt: skip
    hooks, url = Hooks(vault, Reach(local=True)), f"http://127.0.0.1:{port}/"
    about = {"membershipId": ids["<membership>"], "userId": ids["<user>"]}
    body = orjson.dumps({"type": "membership.MembershipStatusChanged", "data": about})

    async def send(message_id: str, by: str = sealed) -> int | None:
        return (await hooks.send(url, by, message_id, body, at=NOW, failing=False)).status

    try:
        await until(lambda: send("m1"), lambda status: status == 204)
        other = vault.seal({"secrets": json.dumps([{"secret": written_secret(b"x" * 32), "until": None}])})
        assert [await send("m1"), await send("m2", other), await send("m3")] == [204, 401, 204]
        assert script.stdout
        for _ in range(2):
            line = (await asyncio.wait_for(script.stdout.readline(), SECONDS)).decode()
            kind, _, now = line.partition(" ")
            assert kind == "membership.MembershipStatusChanged"
            (membership,) = json.loads(now)
            assert membership["__typename"] == "Membership"
            assert membership["user"] == {"firstName": "Ada"}
    finally:
        script.kill()
        await script.wait()
        await hooks.close()


@pytest.mark.skipif(NODE is None, reason="needs Node on PATH")
async def test_the_phones_client_falls_back_to_the_query(api: Any, ids: dict[str, str]) -> None:
    argv = [str(NODE), "examples/mobile/persisted.mjs", f"{api.url}/graphql", api.keys["ADMIN"]]
    done = await asyncio.to_thread(
        subprocess.run, argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    first, second = [json.loads(line) for line in done.stdout.splitlines()]
    assert first["sent"] == "query"
    assert first["data"] == second["data"]
    assert [each["type"] is not None for each in first["data"]["memberships"]["nodes"]] == [True]


@asynccontextmanager
async def page(url: str, profile: Path) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """A browser at an address -> a function: JavaScript -> its value there."""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    here = [f"--user-data-dir={profile}", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    browser = await asyncio.create_subprocess_exec(
        str(BROWSER), *flags, *here, url, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        told = profile / "DevToolsActivePort"
        await until(lambda: asyncio.sleep(0, told.exists() and told.read_text()), bool)
        port = told.read_text().split()[0]
        async with httpx.AsyncClient() as client:

            async def targets() -> list[Any]:
                found = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
                return [each for each in found if each["url"].startswith(url[:20])]

            (target, *_) = await until(targets, bool)
        async with websockets.connect(target["webSocketDebuggerUrl"], origin=None) as wire:

            async def run(script: str) -> Any:
                await wire.send(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": {"expression": script}}))
                told = json.loads(await wire.recv()).get("result")  # none where the page went away meanwhile
                return told["result"].get("value") if told else None

            yield run
    finally:
        browser.kill()
        await browser.wait()


@pytest.mark.skipif(BROWSER is None, reason="needs a Chromium on PATH")
async def test_the_page_shows_what_happens_and_goes_on_after_a_reload(
    api: Any, site: str, redis_url: str, tmp_path: Path
) -> None:
    row, bus = await a_membership(), RedisBus(redis_url)
    words = f"url={api.url}/graphql&key={api.keys['ADMIN']}&membership={encode('Membership', row.id)}"
    address = f"{site}/index.html#{words}"

    async def becomes(status: Status) -> None:
        await Membership.filter(id=row.id).update(status=status)
        event = {"membership_id": str(row.id), "user_id": str(row.user_id)}
        await bus.publish([LiveEvent(str(uuid4()), "membership", "MembershipStatusChanged", event, NOW)])

    async with page(address, tmp_path) as run:

        async def shown() -> Any:
            return await run("document.body.innerText")

        await until(shown, lambda text: text is not None and "SNAPSHOT ACTIVE" in text)
        await becomes(Status.SUSPENDED)
        await until(shown, lambda text: text is not None and "Status: SUSPENDED" in text)
        await run("window.stop(); location.href = 'about:blank'; 1")
        await becomes(Status.ACTIVE)
        await run(f"location.href = {json.dumps(address)}; 1")
        text = await until(shown, lambda text: text is not None and "Status: ACTIVE" in text)
        assert "SNAPSHOT" not in text, "it went on behind what it had shown"
    await bus.stop()
