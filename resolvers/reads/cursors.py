"""Cursors: the sort values and id of a row, signed together with the order and filter they belong to.

They are made by SQL and checked here, so both sides of the signature stand in this file.
"""

import base64
import binascii
import hashlib
import hmac
from functools import lru_cache

import orjson

from resolvers.reads.ids import BadInput

_BLOCK, _MAC = 64, 12


@lru_cache(maxsize=4096)
def keys(secret: bytes, scope: str) -> tuple[bytes, bytes]:
    """(secret, what is being paged) -> the two paddings of its HMAC-SHA256 key."""
    key = hmac.digest(secret, scope.encode(), "sha256").ljust(_BLOCK, b"\0")
    return bytes(byte ^ 0x36 for byte in key), bytes(byte ^ 0x5C for byte in key)


def sql(values: str, inner: str, outer: str) -> str:
    """SQL of the sort values (comma separated texts) and of the two paddings -> SQL of the cursor."""
    payload = f"convert_to(json_build_array({values})::text, 'UTF8')"
    mac = f"sha256({outer}::bytea || sha256({inner}::bytea || {payload}))"
    return f"translate(encode(substr({mac}, 1, {_MAC}) || {payload}, 'base64'), E'+/=\\n', '-_')"


def read(cursor: str, secret: bytes, scope: str) -> list[str]:
    """A cursor -> its sort values. Raises BadInput INVALID_CURSOR for another scope's or a made-up one."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    inner, outer = keys(secret, scope)
    mac = hashlib.sha256(outer + hashlib.sha256(inner + raw[_MAC:]).digest()).digest()[:_MAC]
    if not hmac.compare_digest(mac, raw[:_MAC]):
        raise BadInput("This cursor belongs to another list, order or filter.", "INVALID_CURSOR")
    values: list[str] = orjson.loads(raw[_MAC:])
    return values
