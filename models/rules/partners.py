"""What partners are told and given, the words for it, and how it is signed and written out.

Webhooks follow the Standard Webhooks convention: https://www.standardwebhooks.com.
"""

import base64
import binascii
import csv
import hashlib
import hmac
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from models.rules.events import TOPIC

SECRET_PREFIX, SECRET_BYTES = "whsec_", 32
OVERLAP = timedelta(hours=24)  # how long a secret that was changed for another still signs
FAILING_AT_MOST = timedelta(days=5)
TEST = "TEST"
MOST_ENDPOINTS = 20  # of one caller
_NUMBER = re.compile(r"-?\d+(\.\d+)?", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class DeliveryState(StrEnum):
    """PENDING until its endpoint took it; FAILED where it never did, and may be asked for again."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class ExportKind(StrEnum):
    """What is written out."""

    USERS = "USERS"
    MEMBERSHIPS = "MEMBERSHIPS"
    INVOICES = "INVOICES"


class ExportFormat(StrEnum):
    """How rows are written out: a JSON object a line, or comma-separated values with a line of names."""

    NDJSON = "NDJSON"
    CSV = "CSV"


class WebhookTopic(StrEnum):
    """What an endpoint may be told about: the topics of live events, jobs apart."""

    MEMBERSHIP = "MEMBERSHIP"
    BOOKING = "BOOKING"
    WAITING_LIST = "WAITING_LIST"
    PAYMENT = "PAYMENT"
    INVOICE = "INVOICE"


SUBJECT: dict[WebhookTopic, str] = {  # where an event of a topic names the object it is about
    WebhookTopic.MEMBERSHIP: "membership_id",
    WebhookTopic.BOOKING: "booking_id",
    WebhookTopic.WAITING_LIST: "waiting_place_id",
    WebhookTopic.PAYMENT: "payment_id",
    WebhookTopic.INVOICE: "invoice_id",
}
assert {topic.value.lower() for topic in WebhookTopic} == set(TOPIC.values())
assert SUBJECT.keys() == set(WebhookTopic)


def written_secret(key: bytes) -> str:
    """A signing key -> the secret to hand over, "whsec_" and base64."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One signature of an attempt (seconds since 1970): "v1," and base64 of HMAC-SHA256 over id.timestamp.body."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a signing secret is whsec_ and base64") from None
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def failed_too_long(since: datetime, at: datetime) -> bool:
    """Whether an endpoint that failed since then without a break is to be switched off."""
    return at - since >= FAILING_AT_MOST


def cell(value: Any) -> str:
    """A value as it stands in a cell; text a spreadsheet would take for a formula gets an apostrophe before it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    return f"'{text}" if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text) else text


def csv_lines(columns: Sequence[str], rows: Iterable[Mapping[str, Any]] | None) -> str:
    """Rows of nested objects -> lines of the columns, each a path like "centre.name"; None for the line of names."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    if rows is None:
        writer.writerow(columns)
    for row in rows or ():
        writer.writerow([cell(_at(row, path.split("."))) for path in columns])
    return text.getvalue()


def _at(row: Any, path: Sequence[str]) -> Any:
    for name in path:
        row = row.get(name) if isinstance(row, Mapping) else None
    return row
