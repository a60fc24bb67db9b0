"""GET /exports/{id}?expires=…&signature=…: an exported file to whoever has its link, until it expires.

200 the file · 403 not a link of ours · 404 not whole yet · 410 expired

The signature covers id and expiry, so a link cannot be made up or prolonged. The file is sent part by part as it was
written: it is never whole in memory.
"""

import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from models.actions import exports
from models.ports import Clock
from models.rules.partners import ExportFormat
from models.tables.partner import ExportFile

_TYPES = {
    ExportFormat.NDJSON: "application/x-ndjson; charset=utf-8",
    ExportFormat.CSV: "text/csv; charset=utf-8; header=present",
}
_SAFE = {"cache-control": "private, no-store", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def signed_path(secret: str, file_id: UUID, until: datetime) -> str:
    """(DUEFLOW_SECRET_KEY, a file, the first instant it may not be fetched) -> path and query."""
    expires = int(until.timestamp())
    return f"/exports/{file_id}?expires={expires}&signature={_signature(_keys(secret)[0], file_id, expires)}"


class Exports:
    """The endpoint; `secret` is DUEFLOW_SECRET_KEY: of several keys the first signs and all are believed."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._keys, self._clock = _keys(secret), clock

    async def fetch(self, request: Request) -> Response:
        """Answer one request."""
        file_id: UUID = request.path_params["file_id"]
        expires, given = request.query_params.get("expires", ""), request.query_params.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12 and given.isascii()):
            return _no(403, "This is not a link of ours.")
        signed = [_signature(key, file_id, int(expires)) for key in self._keys]
        if not any(hmac.compare_digest(each, given) for each in signed):
            return _no(403, "This is not a link of ours.")
        now = self._clock.now()
        if now >= datetime.fromtimestamp(int(expires), UTC):
            return _no(410, "This link has expired: ask for the export anew.")
        file = await exports.to_fetch(file_id, at=now)
        if file is None:
            return _no(404, "There is no such file any more, or not yet.")
        name = f"{file.kind.value.lower()}-{file.created_at:%Y%m%d-%H%M}.{file.format.value.lower()}"
        headers = {**_SAFE, "content-disposition": f'attachment; filename="{name}"'}
        return StreamingResponse(_parts(file), headers=headers, media_type=_TYPES[file.format])


async def _parts(file: ExportFile) -> AsyncIterator[bytes]:
    number = 0
    while (content := await exports.part(file, number)) is not None:
        yield content.encode()
        number += 1


def _no(status: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", status, _SAFE)


def _keys(secret: str) -> list[bytes]:
    return [hmac.digest(key.strip().encode(), b"exports", "sha256") for key in secret.split(",") if key.strip()]


def _signature(key: bytes, file_id: UUID, expires: int) -> str:
    return hmac.digest(key, f"{file_id}.{expires}".encode(), "sha256").hex()
