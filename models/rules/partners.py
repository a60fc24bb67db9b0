"""What partners are told and given, and the words for it."""

from enum import StrEnum


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
