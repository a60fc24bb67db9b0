"""Who is let in, for how long, and with which words: tokens, changed and ended keys, pages of sites, documents."""

import hashlib
import threading
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import httpx
import jwt
import orjson
import pytest
import websockets
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette

from integrations.clock import SystemClock
from integrations.http import Http
from integrations.jwks import Jwks
from local.sandbox.issuer import Issuer as LocalIssuer
from models.actions.keys import create_api_key, rotate_api_key
from models.rules.refusals import Code, Refusal
from models.rules.states import KeyPurpose, Role
from models.tables.audit import AuditEntry
from models.tables.setting import ApiKey
from resolvers.auth import Door
from resolvers.protocol.faults import Rejected
from resolvers.protocol.persisted import Persisted, manifest
from resolvers.reads.ids import encode
from resolvers.tokens import Issuer, Tokens
from schema.root import schema

CORE: Any = schema._schema
ISSUER, AUDIENCE = "https://issuer.example.test", "dueflow"
SHOP = "https://shop.example.test"
WHO = "query Who { viewer { role name user { firstName } } }"
TRUSTED = {"who-1": WHO, "ab" * 20: "{ centres { totalCount } }"}


class KeyServer(BaseHTTPRequestHandler):
    """Serves whatever keys the issuer has at the moment, and counts."""

    keys: ClassVar[list[dict[str, Any]]] = []
    asked: ClassVar[int] = 0

    def do_GET(self) -> None:
        """Answer the key set."""
        type(self).asked += 1
        body = orjson.dumps({"keys": self.keys})
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Signer:
    """An issuer's key."""

    def __init__(self, algorithm: str = "ES256") -> None:
        self.algorithm, self.kid = algorithm, uuid4().hex
        elliptic = algorithm == "ES256"
        self.key: Any = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)

    def public(self) -> dict[str, Any]:
        told = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.key.public_key(), as_dict=True)
        return {**told, "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def token(self, *, lasts: float = 600, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        now = time.time()
        told = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ida|1", "dueflow_role": "FINANCE", "exp": now + lasts, **claims}
        told = {name: value for name, value in told.items() if value is not None}
        return jwt.encode(told, self.key, algorithm=self.algorithm, headers={"kid": self.kid, **(headers or {})})


@pytest.fixture(scope="module")
def jwks_url() -> Iterator[str]:
    """Where the issuer's keys are."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), KeyServer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module", autouse=True)
def set_up(jwks_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The API of this module knows an issuer, a shop's site and a manifest."""
    kept = tmp_path_factory.mktemp("manifest") / "documents.json"
    kept.write_bytes(orjson.dumps(TRUSTED))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUEFLOW_OIDC_ISSUER", ISSUER)
        patch.setenv("DUEFLOW_OIDC_JWKS_URL", jwks_url)
        patch.setenv("DUEFLOW_OIDC_LEEWAY_SECONDS", "0")
        patch.setenv("DUEFLOW_ALLOWED_ORIGINS", f'["{SHOP}"]')
        patch.setenv("DUEFLOW_TRUSTED_DOCUMENTS", str(kept))
        yield


@pytest.fixture(scope="module")
def signer() -> Signer:
    """The issuer's present key."""
    made = Signer()
    KeyServer.keys = [made.public()]
    return made


@pytest.fixture
async def client(api: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Nobody yet."""
    async with api.client(None) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def asks(client: httpx.AsyncClient, token: str, query: str = WHO) -> httpx.Response:
    return await client.post("/graphql", json={"query": query}, headers=bearer(token))


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_a_token_says_who_its_bearer_is(api: Any, client: httpx.AsyncClient, signer: Signer) -> None:
    finance = (await asks(client, signer.token())).json()
    assert finance == {"data": {"viewer": {"role": "FINANCE", "name": "ida|1", "user": None}}}
    for user in (str(api.member.id), encode("User", api.member.id)):
        mia = await asks(client, signer.token(sub="mia", dueflow_role="MEMBER", dueflow_user=user))
        assert mia.json()["data"]["viewer"] == {"role": "MEMBER", "name": "mia", "user": {"firstName": "mia"}}
    partner = signer.token(sub="p", dueflow_role="PARTNER", scope="openid money:read")
    async with api.socket(None) as wire:
        await wire.say(type="connection_init", payload=bearer(partner))
        assert await wire.hear() == {"type": "connection_ack"}
    group = 'mutation { createSettingGroup(input: {name: "By token"}) { settingGroup { id } } }'
    assert (await asks(client, signer.token(dueflow_role="ADMIN"), group)).json()["data"]
    assert (await AuditEntry.filter(verb="create_setting_group").first()).actor == "token:ida|1"  # type: ignore[union-attr]  # it was written


BAD: list[tuple[str, dict[str, Any]]] = [
    ("of another issuer", {"iss": "https://elsewhere.test"}),
    ("for another audience", {"aud": "shop"}),
    ("for nobody", {"aud": None}),
    ("that has ended", {"lasts": -1}),
    ("that never ends", {"exp": None}),
    ("not good yet", {"nbf": time.time() + 900}),
    ("of nobody", {"sub": None}),
    ("without a role", {"dueflow_role": None}),
    ("of a role that is none", {"dueflow_role": "ROOT"}),
    ("of a member who is nobody", {"dueflow_role": "MEMBER"}),
    ("of an unknown user", {"dueflow_user": str(uuid4())}),
    ("of something that is no user", {"dueflow_user": "7"}),
    ("with a key nobody knows", {"headers": {"kid": "unknown"}}),
    ("without a key's name", {"headers": {"kid": ""}}),
]


@pytest.mark.parametrize(("what", "otherwise"), BAD, ids=[what for what, _ in BAD])
async def test_a_token_is_refused(what: str, otherwise: Any, client: httpx.AsyncClient, signer: Signer) -> None:
    answer = await asks(client, signer.token(**otherwise))
    assert (answer.status_code, answer.json()["errors"][0]["extensions"]["code"]) == (401, "UNAUTHENTICATED"), what


async def test_a_token_signed_otherwise_is_refused(client: httpx.AsyncClient, signer: Signer) -> None:
    good = signer.token()
    head, claims, signature = good.split(".")
    forged = Signer()
    forged.kid = signer.kid
    now = {"iss": ISSUER, "aud": AUDIENCE, "sub": "x", "dueflow_role": "ADMIN", "exp": time.time() + 60}
    symmetric = jwt.encode(now, "k" * 64, algorithm="HS256", headers={"kid": signer.kid})
    unsigned = jwt.encode(now, "", algorithm="none", headers={"kid": signer.kid})
    other = symmetric.split(".")[1]
    tried = (forged.token(), symmetric, unsigned, f"{head}.{other}.{signature}", f"{head}.{claims}.", "a.b.c", "..")
    for token in tried:
        assert (await asks(client, token)).status_code == 401
    assert (await asks(client, good)).status_code == 200


async def test_keys_change_and_an_unknown_one_is_looked_for_once_a_minute(jwks_url: str, database: str) -> None:
    first, second, later = Signer("RS256"), Signer(), Signer()
    before, KeyServer.keys = KeyServer.keys, [first.public(), {"kty": "oct", "kid": "s", "k": "c2VjcmV0"}, {"kid": 7}]
    patient, eager = [Jwks(jwks_url, Http("issuer", ""), ask_again_seconds=seconds) for seconds in (3_600, 0)]
    door, other_door = [Door(SystemClock(), tokens=Tokens(Issuer(ISSUER, AUDIENCE), jwks)) for jwks in (patient, eager)]
    began = KeyServer.asked
    assert await door.viewer(f"Bearer {first.token()}") is not None
    KeyServer.keys = [second.public(), first.public()]
    for _ in range(20):
        assert await door.viewer(f"Bearer {second.token()}") is None
    assert KeyServer.asked == began + 1
    KeyServer.keys = [first.public()]
    assert await other_door.viewer(f"Bearer {second.token()}") is None
    KeyServer.keys = [second.public(), first.public()]
    assert await other_door.viewer(f"Bearer {second.token()}") is not None
    KeyServer.keys = []  # an issuer that tells nothing takes nothing away
    assert await other_door.viewer(f"Bearer {later.token()}") is None
    assert await other_door.viewer(f"Bearer {second.token(sub='again')}") is not None
    KeyServer.keys = before
    for jwks in (patient, eager):
        await jwks.close()


async def test_without_a_key_every_field_is_answered_alike(client: httpx.AsyncClient) -> None:
    answers = set()
    for kind in (CORE.query_type, CORE.mutation_type, CORE.subscription_type):
        for name in kind.fields:
            asked = {"query": f"{kind.name.lower()} {{ {name} }}"}
            told = (await client.post("/graphql", json=asked)).json()
            (error,) = told["errors"]
            del error["extensions"]["requestId"]
            answers.add(orjson.dumps(told))
    assert answers == {
        b'{"errors":[{"message":"Send `Authorization: Bearer` with a live key.",'
        b'"extensions":{"code":"UNAUTHENTICATED"}}]}'
    }


# -- what ends while it is used ----------------------------------------------------------------------------------------


async def test_an_open_socket_and_stream_end_with_their_token(
    api: Any, client: httpx.AsyncClient, signer: Signer
) -> None:
    token = signer.token(lasts=1.5)
    began = time.monotonic()
    async with api.socket(None) as wire:
        await wire.say(type="connection_init", payload=bearer(token))
        assert await wire.hear() == {"type": "connection_ack"}
        asked = {"query": "subscription { bookingUpdated { kind } }"}
        stream = await client.post("/graphql", json=asked, headers={**bearer(token), "accept": "text/event-stream"})
        assert stream.text.endswith("event: complete\ndata:\n\n")
        assert await wire.closed() == 4403
    assert 0.5 < time.monotonic() - began < 4


async def test_an_open_socket_ends_when_its_key_is_revoked_and_its_mutation_does_not(
    api: Any, client: httpx.AsyncClient
) -> None:
    key, token = await create_api_key(name="soon gone", role=Role.ADMIN, acting="test", at=datetime.now(UTC))
    end = "mutation E($key: ID!) { revokeApiKey(input: {keyId: $key}) { userErrors { code } } }"
    async with api.socket(None) as wire:
        await wire.say(type="connection_init", payload=bearer(token))
        assert await wire.hear() == {"type": "connection_ack"}
        assert (await asks(client, token)).status_code == 200
        asked = {"query": "subscription { bookingUpdated { kind } }"}
        headers = {**bearer(token), "accept": "text/event-stream"}
        async with client.stream("POST", "/graphql", json=asked, headers=headers) as stream:
            assert stream.status_code == 200
            await wire.subscribe(end, key=encode("ApiKey", key.id))
            assert await wire.closed() == 4403
            assert (await stream.aread()).endswith(b"event: complete\ndata:\n\n")
        assert (await asks(client, token)).status_code == 401
    assert (await ApiKey.get(id=key.id)).revoked_at is not None


async def test_a_changed_key_is_good_twice_for_a_while(database: str) -> None:
    now = datetime.now(UTC)
    key, old = await create_api_key(name="till", role=Role.FRONT_DESK, acting="test", at=now)
    _, new = await rotate_api_key(key.id, acting="test", at=now, overlap_hours=2)
    door = Door(SystemClock())
    before, after = [await door.viewer(f"Bearer {token}") for token in (old, new)]
    assert before is not None
    assert after is not None
    assert before == after
    assert (after.ends, new != old) == (None, True)
    assert 7_000 < (before.ends or 0) - time.monotonic() <= 7_200
    await ApiKey.filter(id=key.id).update(previous_until=now - timedelta(seconds=1))
    door.forget(key.id)
    assert [await door.viewer(f"Bearer {token}") is None for token in (old, new)] == [True, False]
    row, third = await rotate_api_key(key.id, acting="test", at=now, overlap_hours=0)
    assert row.previous_hash is None
    assert [await Door(SystemClock()).viewer(f"Bearer {each}") is None for each in (old, new, third)] == [
        True,
        True,
        False,
    ]
    kept = str(await AuditEntry.filter(subject_id=key.id).values())
    assert not [each for each in (old, new, third) if each.split("_", 2)[2] in kept]
    await ApiKey.filter(id=key.id).update(revoked_at=now)
    with pytest.raises(Refusal) as refused:
        await rotate_api_key(key.id, acting="test", at=now)
    assert refused.value.code is Code.INVALID_INPUT


@pytest.mark.parametrize("purpose", [KeyPurpose.COURSEPRO, KeyPurpose.GATE])
async def test_a_key_for_another_purpose_opens_no_graphql(purpose: KeyPurpose, client: httpx.AsyncClient) -> None:
    _, token = await create_api_key(name="other", role=Role.ADMIN, purpose=purpose, acting="test", at=datetime.now(UTC))
    assert (await asks(client, token)).status_code == 401


# -- pages of other sites ----------------------------------------------------------------------------------------------


async def test_only_pages_of_known_sites_may_ask(api: Any) -> None:
    asked = {"json": {"query": WHO}}
    async with api.client() as client:
        for origin, status in ((api.url, 200), (SHOP, 200), ("https://evil.test", 403), ("null", 403)):
            answer = await client.post("/graphql", headers={"origin": origin}, **asked)
            assert answer.status_code == status, origin
            assert answer.headers.get("access-control-allow-origin") == (SHOP if origin == SHOP else None)
            if status == 403:
                assert answer.json()["errors"][0]["extensions"]["code"] == "ORIGIN_NOT_ALLOWED"
        beforehand = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
        told = await client.options("/graphql", headers={"origin": SHOP, **beforehand})
        assert (told.status_code, told.headers["access-control-allow-methods"]) == (204, "GET, POST")
        assert "authorization" in told.headers["access-control-allow-headers"]
        refused = await client.options("/graphql", headers={"origin": "https://evil.test", **beforehand})
        assert (refused.status_code, refused.headers.get("access-control-allow-methods")) == (403, None)
        rebound = {"origin": "http://evil.test:8000", "host": "evil.test:8000"}  # a name of theirs that leads here
        assert (await client.post("/graphql", headers=rebound, **asked)).status_code == 403
    protocols = [websockets.Subprotocol("graphql-transport-ws")]
    async with websockets.connect(api.socket_url, subprotocols=protocols, origin=websockets.Origin(SHOP)):
        pass
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(api.socket_url, subprotocols=protocols, origin=websockets.Origin(f"{SHOP}:8443"))


@pytest.mark.parametrize(
    ("query", "told"), [(WHO, '"role":"ADMIN"'), ("{", "GRAPHQL_PARSE_FAILED"), ("{ nothing }", "_VALIDATION_FAILED")]
)
async def test_an_answer_that_is_an_event_has_the_headers_of_any_other(api: Any, query: str, told: str) -> None:
    async with api.client() as client:
        client.headers.update({"origin": SHOP, "graphql-cost": "1"})
        plain, event = [
            await client.post("/graphql", json={"query": query}, headers={"accept": accept})
            for accept in ("application/json", "text/event-stream")
        ]
    assert (plain.status_code, event.status_code, event.headers["content-type"][:17]) == (200, 200, "text/event-stream")
    assert told in plain.text
    assert told in event.text
    assert ["requested" in answer.text for answer in (plain, event)] == [query == WHO] * 2
    of_its_form = {"content-length", "transfer-encoding", "x-accel-buffering", "date"}
    of_its_form |= {"cache-control", "x-content-type-options"}  # a stream could be kept, an answer to a POST cannot
    assert set(plain.headers) - of_its_form == set(event.headers) - of_its_form
    assert event.headers["access-control-allow-origin"] == SHOP
    assert "ratelimit" in event.headers


# -- documents by name -------------------------------------------------------------------------------------------------


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def by_digest(text: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": digest(text)}}


def code(told: Any) -> str:
    (error,) = told["errors"]
    return str(error["extensions"]["code"])


async def test_a_document_sent_once_is_known_by_its_digest(api: Any) -> None:
    text = "query Named($yes: Boolean!) { viewer { role @include(if: $yes) } }"
    asked: dict[str, Any] = {"variables": {"yes": True}, "extensions": by_digest(text)}
    role = {"data": {"viewer": {"role": "ADMIN"}}}
    async with api.client() as client:
        unknown = await client.post("/graphql", json=asked)
        assert (unknown.status_code, code(unknown.json())) == (200, "PERSISTED_QUERY_NOT_FOUND")
        assert unknown.json()["errors"][0]["message"] == "PersistedQueryNotFound"
        wrong = await client.post("/graphql", json={**asked, "query": f"{text} "})
        assert (wrong.status_code, code(wrong.json())) == (400, "BAD_REQUEST")
        assert (await client.post("/graphql", json={**asked, "query": text})).json() == role
        assert (await client.post("/graphql", json=asked)).json() == role
        extensions = orjson.dumps(asked["extensions"]).decode()
        got = await client.get("/graphql", params={"extensions": extensions, "variables": '{"yes": true}'})
        assert got.json() == role
        named = {"documentId": f"sha256:{digest(text)}", "variables": {"yes": True}}
        assert (await client.post("/graphql", json=named)).json() == role
        bad = "{ nothing }"
        assert code((await client.post("/graphql", json={"query": bad, "extensions": by_digest(bad)})).json())
        again = (await client.post("/graphql", json={"extensions": by_digest(bad)})).json()
        assert code(again) == "PERSISTED_QUERY_NOT_FOUND"
        other = {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": digest(text)}}}
        assert code((await client.post("/graphql", json=other)).json()) == "PERSISTED_QUERY_NOT_SUPPORTED"
        for wrong_one in (7, {}, {"version": 1, "sha256Hash": None}):
            body = {"extensions": {"persistedQuery": wrong_one}}
            assert code((await client.post("/graphql", json=body)).json()) == "BAD_REQUEST"
    async with api.socket() as wire:
        await wire.say(type="subscribe", id="1", payload=asked)
        assert (await wire.hear())["payload"] == role
        await wire.hear()
        await wire.say(type="subscribe", id="2", payload={"extensions": by_digest("{ never }")})
        assert (await wire.hear())["payload"][0]["extensions"]["code"] == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_document_of_the_manifest_is_known_by_its_id(api: Any) -> None:
    async with api.client() as client:
        for name, data in zip(TRUSTED, ({"role": "ADMIN", "name": "admin", "user": None}, None), strict=True):
            posted = (await client.post("/graphql", json={"documentId": name})).json()
            assert data is None or posted["data"]["viewer"] == data
            assert (await client.get("/graphql", params={"documentId": name})).json() == posted
            by_hash = {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": name}}}
            assert (await client.post("/graphql", json=by_hash)).json() == posted
        assert code((await client.post("/graphql", json={"documentId": "who-2"})).json()) == "PERSISTED_QUERY_NOT_FOUND"
        assert code((await client.post("/graphql", json={"documentId": 2})).json()) == "BAD_REQUEST"


async def test_a_server_of_trusted_documents_takes_no_other(tmp_path: Path) -> None:
    only = Persisted(None, TRUSTED, only_trusted=True)
    named: tuple[dict[str, Any], ...] = (
        {"documentId": "who-1"}, {"query": WHO}, {"extensions": {"persistedQuery": {"sha256Hash": "who-1"}}},
    )  # fmt: skip
    for body in named:
        assert (await only.completed(body))["query"] == WHO
    others: tuple[dict[str, Any], ...] = (
        {}, {"query": f"{WHO} "}, {"documentId": "who-2"}, {"query": "{ __schema { types { name } } }"},
        {"query": WHO + "#", "extensions": by_digest(WHO + "#")}, {"extensions": by_digest(WHO)},
    )  # fmt: skip
    for body in others:
        with pytest.raises(Rejected) as refused:
            await only.completed(body)
        assert refused.value.errors[0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED", body
    with pytest.raises(ValueError, match="nothing at all"):
        Persisted(None, {}, only_trusted=True)
    kept = tmp_path / "apollo.json"
    kept.write_bytes(orjson.dumps({"format": "apollo", "operations": [{"id": "a", "body": WHO, "name": "Who"}]}))
    assert manifest(str(kept)) == {"a": WHO}
    kept.write_bytes(b'{"a": 7}')
    with pytest.raises(ValueError, match="not a manifest"):
        manifest(str(kept))


async def test_the_issuer_of_one_machine_signs_what_its_keys_prove(database: str, api: Any) -> None:
    local = LocalIssuer(ISSUER, AUDIENCE)
    transport = httpx.ASGITransport(Starlette(routes=local.routes()))
    async with httpx.AsyncClient(transport=transport, base_url="http://issuer") as there:
        asked = {"sub": "mia", "role": "MEMBER", "user": str(api.member.id), "scope": "money:read", "seconds": 60}
        made = (await there.post("/issuer/token", json=asked)).json()
        (told,) = (await there.get("/issuer/jwks.json")).json()["keys"]

    class Known:
        async def key(self, kid: str) -> jwt.PyJWK | None:
            return jwt.PyJWK.from_dict(told) if kid == told["kid"] else None

    viewer = await Tokens(Issuer(ISSUER, AUDIENCE), Known()).viewer(made["access_token"])
    assert viewer is not None
    assert (viewer.role, viewer.user_id, viewer.scopes) == (Role.MEMBER, api.member.id, frozenset({"money:read"}))
    assert (made["token_type"], made["expires_in"]) == ("Bearer", 60)
