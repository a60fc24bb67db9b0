"""GoCardless's words, and what they mean here."""

from models.rules.states import PaymentOutcome, RefundOutcome

SCHEMES = {
    "AUD": "becs",
    "CAD": "pad",
    "DKK": "betalingsservice",
    "EUR": "sepa_core",
    "GBP": "bacs",
    "NZD": "becs_nz",
    "SEK": "autogiro",
    "USD": "ach",
}

# Status of a payment -> what it means; None while it still waits to be sent.
OUTCOMES: dict[str, PaymentOutcome | None] = {
    "pending_customer_approval": None,
    "pending_submission": None,
    "submitted": PaymentOutcome.SUBMITTED,
    "confirmed": PaymentOutcome.CONFIRMED,
    "paid_out": PaymentOutcome.PAID_OUT,
    "cancelled": PaymentOutcome.CANCELLED,
    "customer_approval_denied": PaymentOutcome.FAILED,
    "failed": PaymentOutcome.FAILED,
    "charged_back": PaymentOutcome.CHARGED_BACK,
}
# Status of a refund -> what it means.
REFUNDS: dict[str, RefundOutcome] = {
    "created": RefundOutcome.SUBMITTED,
    "pending_submission": RefundOutcome.SUBMITTED,
    "submitted": RefundOutcome.SUBMITTED,
    "paid": RefundOutcome.SUCCEEDED,
    "cancelled": RefundOutcome.FAILED,
    "failed": RefundOutcome.FAILED,
    "bounced": RefundOutcome.FAILED,
    "funds_returned": RefundOutcome.FAILED,
}
# What cannot be cancelled any more.
MANDATE_OVER = frozenset({"cancelled", "failed", "expired", "consumed"})
REQUEST_OVER = frozenset({"cancelled", "fulfilled"})
# An earlier attempt that is over gives way to one that is not, where a payment was made twice.
OVER = frozenset({"cancelled", "customer_approval_denied", "failed"})
# Outcome -> the actions of the events that tell why.
TELLING: dict[PaymentOutcome | None, frozenset[str]] = {
    PaymentOutcome.FAILED: frozenset({"failed", "customer_approval_denied"}),
    PaymentOutcome.CANCELLED: frozenset({"cancelled"}),
    PaymentOutcome.CHARGED_BACK: frozenset({"charged_back"}),
}
