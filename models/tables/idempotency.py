"""The answers already given to callers' keys."""

from tortoise import fields

from models.tables.row import Row, document, unique


class IdempotencyKey(Row):
    """A caller's key, what it was used for and the answer it got; `answer` is empty while the first call runs.

    `committed_at` is set by the mutation's own transaction: from then on it never runs again.
    """

    caller = fields.CharField(max_length=80)
    key = fields.CharField(max_length=255)
    request_hash = fields.CharField(max_length=64)
    committed_at = fields.DatetimeField(null=True)
    answer = document(null=True)

    class Meta:
        table = "idempotency_key"
        constraints = (unique("idempotency_key_once", "caller", "key"),)
