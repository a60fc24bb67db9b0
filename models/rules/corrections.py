"""What may change at an invoice after it was billed off, and how what was shipped is put right."""

from enum import StrEnum


class ShipmentKind(StrEnum):
    """What is shipped: the invoice itself, or what corrects one that was shipped."""

    INVOICE = "INVOICE"
    VOID = "VOID"
    CREDIT_NOTE = "CREDIT_NOTE"


class CorrectionCause(StrEnum):
    """What changed after an invoice was billed off."""

    ATTENDANCE_CHANGED = "ATTENDANCE_CHANGED"
    REFUNDED = "REFUNDED"
    PAYMENT_LOST = "PAYMENT_LOST"
    INVOICE_CHANGED = "INVOICE_CHANGED"


class Proposal(StrEnum):
    """How what was shipped can be put right."""

    VOID_AND_REISSUE = "VOID_AND_REISSUE"
    CREDIT_NOTE = "CREDIT_NOTE"


class CorrectionState(StrEnum):
    """OPEN until a person decides; APPLIED or DISMISSED by one; DROPPED where the change was undone by itself."""

    OPEN = "OPEN"
    APPLIED = "APPLIED"
    DISMISSED = "DISMISSED"
    DROPPED = "DROPPED"
