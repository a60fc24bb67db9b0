"""What every call to Xero passes first: token, tenant, the three limits, the idempotency key."""

import asyncio
import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from local.sandbox.world import Json, World
from local.sandbox.xero.wire import BadRequestError, Call, Reply, dump, load, problem

TOKEN, IDEMPOTENCY, QUOTA, SETTING = "xero.token", "xero.idempotency", "xero.quota", "xero.setting"
TOKEN_LIFE = timedelta(minutes=30)
KEY_LIFE = timedelta(minutes=6)
LONGEST_KEY = 128
APP_PER_MINUTE = 10_000
LIMITS = {"concurrent": 5, "minute": 60, "day": 5000}


class Gate:
    """World and credentials {client_id, client_secret, tenant_id} -> the checks before the books."""

    def __init__(self, world: World, credentials: Json) -> None:
        self.world, self.credentials, self.under_way = world, credentials, 0

    # -- identity ----------------------------------------------------------------------------------------------------

    async def token(self, request: Request) -> Response:
        """POST /connect/token with Basic id:secret and grant_type=client_credentials -> a token for 30 minutes."""
        form = parse_qs((await request.body()).decode())
        if _basic(request.headers.get("authorization", "")) != self._client():
            return JSONResponse({"error": "invalid_client"}, 400)
        if form.get("grant_type") != ["client_credentials"]:
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        scope = form.get("scope", ["accounting.transactions accounting.contacts accounting.settings"])[0]
        token = secrets.token_urlsafe(32)
        expires = self.world.now() + TOKEN_LIFE
        self.world.put(TOKEN, token, {"client_id": self.credentials["client_id"], "expires": expires.isoformat()})
        life = int(TOKEN_LIFE.total_seconds())
        return JSONResponse({"access_token": token, "expires_in": life, "token_type": "Bearer", "scope": scope})

    async def connections(self, request: Request) -> Response:
        """GET /connections -> the one organisation this app may use."""
        if refusal := self._unauthorised(request):
            return refusal
        tenant = {"tenantId": self.credentials["tenant_id"], "tenantType": "ORGANISATION", "tenantName": "Dueflow"}
        return JSONResponse([tenant])

    def _client(self) -> tuple[str, str]:
        return self.credentials["client_id"], self.credentials["client_secret"]

    def _unauthorised(self, request: Request) -> Response | None:
        kind, _, word = request.headers.get("authorization", "").partition(" ")
        known = self.world.get(TOKEN, word) if kind == "Bearer" else None
        if known and datetime.fromisoformat(known["expires"]) > self.world.now():
            return None
        return JSONResponse(problem(401, "Unauthorized", "AuthorizationUnsuccessful"), 401)

    # -- one call ----------------------------------------------------------------------------------------------------

    async def pass_through(self, request: Request, operation: Callable[[Call], Reply]) -> Response:
        """A call -> its answer with the X-...-Remaining headers: 401, 403, 429, a replay, or the operation's own."""
        if refusal := self._unauthorised(request):
            return refusal
        if request.headers.get("xero-tenant-id") != self.credentials["tenant_id"]:
            return JSONResponse(problem(403, "Forbidden", "AuthenticationUnsuccessful"), 403)
        limits = LIMITS | (self.world.get(SETTING, "limits") or {})
        if self.under_way >= limits["concurrent"]:
            return self._too_many("concurrent", limits, None)
        problem_, remaining, retry_after = self._count(limits)
        if problem_:
            return self._too_many(problem_, remaining, retry_after)
        self.under_way += 1
        try:
            await asyncio.sleep((self.world.get(SETTING, "slow") or {"seconds": 0})["seconds"])
            body = await request.body()
            answer = self._once(request, body, operation)
        finally:
            self.under_way -= 1
        answer.headers.update(_headers(remaining))
        return answer

    def _count(self, limits: Json) -> tuple[str | None, Json, int | None]:
        """Count one call in the fixed windows -> (limit that is used up, calls left, seconds until it reopens)."""
        now = self.world.now()
        windows = {"minute": now.strftime("%Y-%m-%dT%H:%M"), "day": now.strftime("%Y-%m-%d")}
        ends = {"minute": 60 - now.second, "day": 86400 - (now.hour * 3600 + now.minute * 60 + now.second)}
        quota = self.world.get(QUOTA, "windows") or {}
        used = {name: quota.get(name, {}).get(window, 0) for name, window in windows.items()}
        over = next((name for name in ("day", "minute") if used[name] >= limits[name]), None)
        if not over:
            used = {name: count + 1 for name, count in used.items()}
            self.world.put(QUOTA, "windows", {name: {window: used[name]} for name, window in windows.items()})
        left = {name: limits[name] - used[name] for name in windows} | {"app": APP_PER_MINUTE - used["minute"]}
        return over, left, ends[over] if over else None

    def _too_many(self, name: str, remaining: Json, retry_after: int | None) -> Response:
        headers = {"X-Rate-Limit-Problem": name} | (_headers(remaining) if name != "concurrent" else {})
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        detail = f"The {name} rate limit was exceeded."
        return JSONResponse(problem(429, "Too Many Requests", detail), 429, headers)

    # -- idempotency -------------------------------------------------------------------------------------------------

    def _once(self, request: Request, body: bytes, operation: Callable[[Call], Reply]) -> Response:
        key = request.headers.get("idempotency-key", "") if request.method != "GET" else ""
        if len(key) > LONGEST_KEY:
            return self._bad(f"The Idempotency-Key is longer than {LONGEST_KEY} characters.", request)
        print_ = _fingerprint(request, body)
        known = self._remembered(key)
        if known and known["fingerprint"] != print_:
            return self._bad("The Idempotency-Key was used before with a different request.", request)
        if known:
            return Response(known["body"].encode(), known["status"], media_type=known["content_type"])
        with self.world.unit():
            status, content, content_type = self._operate(request, body, operation)
            if key:
                entry = {"fingerprint": print_, "at": self.world.now().isoformat(), "status": status}
                answer = {"body": content.decode(), "content_type": content_type}
                self.world.put(IDEMPOTENCY, self._stored_as(key), entry | answer)
        return Response(content, status, media_type=content_type)

    def _operate(self, request: Request, body: bytes, operation: Callable[[Call], Reply]) -> tuple[int, bytes, str]:
        accept = request.headers.get("accept", "")
        try:
            since = request.headers.get("if-modified-since")
            call = Call(
                world=self.world,
                tenant_id=self.credentials["tenant_id"],
                query=dict(request.query_params),
                body=load(body),
                id=request.path_params.get("id", ""),
                modified_since=_moment(since) if since else None,
            )
            reply = operation(call)
        except (BadRequestError, ValueError) as bad:
            reply = Reply(400, _bad_request(str(bad)))
        return (reply.status, *dump(reply.document, accept))

    def _bad(self, message: str, request: Request) -> Response:
        content, content_type = dump(_bad_request(message), request.headers.get("accept", ""))
        return Response(content, 400, media_type=content_type)

    def _stored_as(self, key: str) -> str:
        return f"{self.credentials['client_id']}/{key}"

    def _remembered(self, key: str) -> Json | None:
        known = self.world.get(IDEMPOTENCY, self._stored_as(key)) if key else None
        if known and datetime.fromisoformat(known["at"]) + KEY_LIFE > self.world.now():
            return known
        return None

    def remember_failure(self, headers: dict[str, str], status: int, body: bytes) -> None:
        """A 500 sent after the effect replaces the kept answer: Xero replays errors too."""
        key = headers.get("idempotency-key", "")
        if known := self._remembered(key):
            failed = {"status": status, "body": body.decode(), "content_type": "application/json"}
            self.world.put(IDEMPOTENCY, self._stored_as(key), known | failed)


def _basic(header: str) -> tuple[str, str]:
    kind, _, coded = header.partition(" ")
    try:
        name, _, word = base64.b64decode(coded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return (name, word) if kind == "Basic" else ("", "")


def _fingerprint(request: Request, body: bytes) -> str:
    return hashlib.sha256(json.dumps([request.method, str(request.url), body.hex()]).encode()).hexdigest()


def _headers(remaining: Json) -> dict[str, str]:
    names = {"X-DayLimit-Remaining": "day", "X-MinLimit-Remaining": "minute", "X-AppMinLimit-Remaining": "app"}
    return {header: str(remaining[name]) for header, name in names.items()}


def _bad_request(message: str) -> Json:
    return {"ErrorNumber": 17, "Type": "BadRequestException", "Message": message}


def _moment(text: str) -> datetime:
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else datetime.fromisoformat(f"{text}+00:00")
