"""Cursors: the sort values and id of a row, signed together with the order and filter they belong to.

They are made by SQL and checked here, so both sides of the signature stand in this file.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from uuid import UUID

import orjson

from resolvers.reads.ids import BadInput

_BLOCK, _MAC = 64, 12
_WRITTEN = re.compile(r"(?:[0-9a-f]{2})+", re.ASCII)


@lru_cache(maxsize=4096)
def keys(secret: bytes, scope: str) -> tuple[bytes, bytes]:
    """(secret, what is being paged) -> the two paddings of its HMAC-SHA256 key."""
    key = hmac.digest(secret, scope.encode(), "sha256").ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def sql(columns: Sequence[str], inner: str, outer: str) -> str:
    """SQL of the sort values, the id last, and of the two paddings -> SQL of the cursor."""
    if len(columns) == 1:  # a lone id needs no list around it
        payload = f"uuid_send({columns[0]})"
    else:
        listed = ", ".join(f"{column}::text" for column in columns)
        payload = f"convert_to(json_build_array({listed})::text, 'UTF8')"
    mac = f"sha256({outer}::bytea || sha256({inner}::bytea || {payload}))"
    return f"encode(substr({mac}, 1, {_MAC}) || {payload}, 'hex')"


def read(cursor: str, secret: bytes, scope: str) -> list[str]:
    """A cursor -> its sort values. Raises BadInput INVALID_CURSOR for another scope's or a made-up one."""
    raw = bytes.fromhex(cursor) if _WRITTEN.fullmatch(cursor) else b""
    inner, outer = keys(secret, scope)
    mac = hashlib.sha256(outer + hashlib.sha256(inner + raw[_MAC:]).digest()).digest()[:_MAC]
    if not hmac.compare_digest(mac, raw[:_MAC]):
        raise BadInput("This cursor belongs to another list, order or filter.", "INVALID_CURSOR")
    values: list[str] = [str(UUID(bytes=raw[_MAC:]))] if len(raw) == _MAC + 16 else orjson.loads(raw[_MAC:])
    return values
