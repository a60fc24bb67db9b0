"""Calls to Xero's API: the token of the app, the tenant, the one answer to a refused token."""

import time
from typing import Any

import httpx
import orjson

from integrations.guard import Reach
from integrations.http import ANSWER_SECONDS, Effect, Http, content, refusal
from integrations.pace import Free
from models.ports import Refused

API_BASE = "https://api.xero.com"
IDENTITY_BASE = "https://identity.xero.com"
SCOPES = "accounting.invoices accounting.contacts"
RENEW_BEFORE_SECONDS = 60.0
UNAUTHORISED, NOT_FOUND = 401, 404
LONGEST_KEY = 128
Json = dict[str, Any]


class Session:
    """One app in one organisation: the client_credentials token is cached until shortly before it ends."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        tenant_id: str,
        api_base: str = API_BASE,
        identity_base: str = IDENTITY_BASE,
        scopes: str = SCOPES,
        answer_seconds: float = ANSWER_SECONDS,
        reach: Reach | None = None,
        pace: Free | None = None,
    ) -> None:
        """The app's id and secret, the organisation, its addresses, scopes, seconds to wait, how far, the gate."""
        self._app, self._tenant_id, self._scopes = (client_id, client_secret), tenant_id, scopes
        self._api = Http("xero", f"{api_base}/api.xro/2.0", answer_seconds=answer_seconds, reach=reach, pace=pace)
        self._identity = Http("xero", identity_base, answer_seconds=answer_seconds, reach=reach, pace=pace)
        self._token, self._ends = "", 0.0

    async def close(self) -> None:
        """Give the connections back."""
        await self._api.close()
        await self._identity.close()

    async def read(self, path: str, **query: str) -> Json:
        """GET path -> the document; empty where Xero knows nothing there. Raises Refused, Unavailable."""
        answer = await self._api.read("GET", path, params=query, headers=await self._headers())
        if answer.status_code == UNAUTHORISED:
            answer = await self._api.read("GET", path, params=query, headers=await self._headers(anew=True))
        return {} if answer.status_code == NOT_FOUND else _document(answer, Effect.READ)

    async def put(self, plural: str, objects: list[Json], key: str) -> list[Json]:
        """PUT /{plural} -> the objects as created. Raises Refused (Xero's sentences), Unavailable, OutcomeUnknown."""
        created = await self.put_each(plural, objects, key)
        for one in created:
            if refused := refusal_of(one):
                raise refused
        return created

    async def put_each(self, plural: str, objects: list[Json], key: str) -> list[Json]:
        """PUT /{plural} -> what became of each object, those refused among them. Raises as `put` for the whole call."""
        return await self._write("PUT", f"/{plural}", plural, objects, key)

    async def post(self, plural: str, object_id: str, changed: Json, key: str) -> Json:
        """POST /{plural}/{id} -> the object as changed. Raises as `put`."""
        (one,) = await self._write("POST", f"/{plural}/{object_id}", plural, [changed], key)
        if refused := refusal_of(one):
            raise refused
        return one

    async def _write(self, method: str, path: str, plural: str, objects: list[Json], key: str) -> list[Json]:
        """`summarizeErrors` is always given: what it means when absent is not what the specification says."""
        body = orjson.dumps({plural: objects})

        async def send(*, anew: bool = False) -> httpx.Response:
            headers = await self._headers(anew=anew) | {"Idempotency-Key": key[:LONGEST_KEY]}
            query = {"summarizeErrors": "false"}
            return await self._api.write(method, path, params=query, headers=headers, content=body)

        answer = await send()
        if answer.status_code == UNAUTHORISED:
            answer = await send(anew=True)
        written = _document(answer, Effect.WRITE).get(plural)
        if not isinstance(written, list) or len(written) != len(objects):
            raise Effect.WRITE.lost(f"Xero did not say which {plural} it wrote.")
        return written

    async def _headers(self, *, anew: bool = False) -> dict[str, str]:
        if anew or time.monotonic() >= self._ends:
            await self._renew()
        return {
            "Authorization": f"Bearer {self._token}",
            "xero-tenant-id": self._tenant_id,
            "Accept": "application/json",
            "Content-Type": "application/json",
        }

    async def _renew(self) -> None:
        form = {"grant_type": "client_credentials", "scope": self._scopes}
        answer = await self._identity.read("POST", "/connect/token", data=form, auth=self._app)
        if not answer.is_success:
            raise refusal("Xero's identity server", answer, code="CREDENTIALS")
        told = content(answer, Effect.READ)
        self._token = told["access_token"]
        self._ends = time.monotonic() + float(told["expires_in"]) - RENEW_BEFORE_SECONDS


def refusal_of(one: Json) -> Refused | None:
    """An object as Xero answers it -> why it was refused, None where it was not."""
    if one.get("StatusAttributeString") == "ERROR" or one.get("HasErrors") or one.get("HasValidationErrors"):
        return Refused(f"Xero refused: {'; '.join(sentences(one))}", code="VALIDATION")
    return None


def sentences(one: Json) -> list[str]:
    """An object Xero refused -> what it said of it."""
    return [str(error.get("Message")) for error in one.get("ValidationErrors") or ()] or ["no reason given"]


def _document(answer: httpx.Response, effect: Effect) -> Json:
    if answer.is_success:
        return content(answer, effect)
    if "json" not in answer.headers.get("content-type", ""):
        raise refusal("Xero", answer)
    told = content(answer, effect)
    said = [sentence for one in told.get("Elements") or () for sentence in sentences(one)]
    message = "; ".join(said) or told.get("Message") or told.get("Detail") or "no reason given"
    raise Refused(
        f"Xero answered {answer.status_code}: {message}", code=told.get("Type") or f"HTTP_{answer.status_code}"
    )
