"""Documents a client need not send: kept since they were sent once (automatic), or agreed upon before (trusted).

    extensions.persistedQuery {version: 1, sha256Hash}   the digest, with the text where the server did not know it
    documentId: "sha256:<digest>"                        the same without the protocol around it
    documentId: "<id>"                                   a document of the manifest, by whatever id it has there

A server that takes trusted documents only refuses every other, whatever its text; a text of the manifest is one of it.
"""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from models.ports import Shelf
from resolvers.protocol.asked import bad_request
from resolvers.protocol.faults import Rejected

KEPT_TEXTS = 1_000
_DIGEST = re.compile(r"(?:sha256:)?([0-9a-f]{64})", re.ASCII)


def manifest(path: str) -> dict[str, str]:
    """A file as graphql-codegen and relay write it ({id: text}), or Apollo's ({"operations": [{"id", "body"}]}).

    Raises ValueError.
    """
    read = orjson.loads(Path(path).read_bytes())
    if isinstance(read, dict) and isinstance(read.get("operations"), list):
        read = {each["id"]: each["body"] for each in read["operations"]}
    if not isinstance(read, dict) or not all(isinstance(text, str) for text in read.values()):
        raise ValueError(f"{path} is not a manifest of documents: an object of texts by their ids.")
    return read


class Persisted:
    """What is known by a name instead of its text."""

    def __init__(
        self, shelf: Shelf | None = None, trusted: Mapping[str, str] | None = None, *, only_trusted: bool = False
    ) -> None:
        """`shelf` None serves no automatic ones. Raises ValueError where nothing is trusted and nothing else taken."""
        if only_trusted and not trusted:
            raise ValueError("Without a manifest of trusted documents nothing at all would be taken.")
        self._shelf, self._trusted, self._only = shelf, dict(trusted or {}), only_trusted
        self._texts = frozenset(self._trusted.values())
        self._known: OrderedDict[str, str] = OrderedDict()

    async def completed(self, body: Any) -> Any:
        """A decoded request -> the same with its text in `query`. Raises Rejected."""
        if not isinstance(body, dict):
            return body
        extensions = body.get("extensions")
        told = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
        given = body.get("documentId")
        if told is not None:
            body = await self._automatic(body, told)
        elif given is not None and body.get("query") is None:
            body = {**body, "query": await self._by_id(given)}
        if self._only and body.get("query") not in self._texts:
            words = "Only documents of this server's manifest are taken: send the id of one as `documentId`."
            raise Rejected(400, "DOCUMENT_NOT_TRUSTED", words, spoken=True)
        return body

    async def keep(self, text: str) -> None:
        """Keep a text that has proved to be a valid document, for whoever sends its digest."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        if self._shelf is None or self._only or digest in self._known:
            return
        self._remember(digest, text)
        await self._shelf.keep(digest, text)

    async def _automatic(self, body: dict[str, Any], told: Any) -> dict[str, Any]:
        if not isinstance(told, dict) or not isinstance(told.get("sha256Hash"), str):
            raise bad_request("`persistedQuery` is an object with `version` and `sha256Hash`.")
        digest, text = told["sha256Hash"], body.get("query")
        known = self._trusted.get(digest)
        if known is None and (told.get("version") != 1 or (self._shelf is None and not self._only)):
            raise Rejected(400, "PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported", spoken=True)
        if text is None:
            return {**body, "query": known or await self._found(digest)}
        if isinstance(text, str) and known is None and hashlib.sha256(text.encode()).hexdigest() != digest:
            raise bad_request("`sha256Hash` is not the SHA-256 of `query`.")
        return body

    async def _by_id(self, given: Any) -> str | None:
        if not isinstance(given, str):
            raise bad_request("`documentId` must be a string.")
        return self._trusted.get(given) or self._trusted.get(given.removeprefix("sha256:")) or await self._found(given)

    async def _found(self, given: str) -> str | None:
        if self._only:
            return None  # said otherwise than of what is not kept: a client must not send it whole
        if (digest := _DIGEST.fullmatch(given)) is not None:
            if (text := self._known.get(digest[1])) is not None:
                self._known.move_to_end(digest[1])
                return text
            if self._shelf is not None and (text := await self._shelf.found(digest[1])) is not None:
                self._remember(digest[1], text)
                return text
        raise Rejected(400, "PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound", spoken=True)

    def _remember(self, digest: str, text: str) -> None:
        self._known[digest] = text
        if len(self._known) > KEPT_TEXTS:
            self._known.popitem(last=False)
