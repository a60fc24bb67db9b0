"""The books: one row a movement of money, between two accounts, never changed."""

from uuid import UUID

from tortoise import fields

from models.rules.ledger import Account, Movement
from models.tables.row import Row, belongs_to, check, choice, minor_units, one_of


class LedgerEntry(Row):
    """Money taken from one account to another: a debit of `debit`, a credit of `credit`; kept as it is.

    `key` names the movement, so that the same news told twice makes one row; `at` is the business instant.
    """

    key = fields.CharField(max_length=160, unique=True)
    movement: Movement = choice(Movement)
    debit: Account = choice(Account)
    credit: Account = choice(Account)
    amount: int = minor_units()
    currency = fields.CharField(max_length=3)
    at = fields.DatetimeField()
    user_id: UUID | None
    user = belongs_to("User", "ledger_entries", null=True)
    payment_id: UUID | None
    payment = belongs_to("Payment", "ledger_entries", null=True)
    refund_id: UUID | None
    refund = belongs_to("Refund", "ledger_entries", null=True)
    invoice_id: UUID | None
    invoice = belongs_to("Invoice", "ledger_entries", null=True)

    class Meta:
        table = "ledger_entry"
        constraints = (
            one_of("ledger_entry", "movement", Movement),
            one_of("ledger_entry", "debit", Account),
            one_of("ledger_entry", "credit", Account),
            check("ledger_entry_amount_positive", "amount > 0"),
            check("ledger_entry_between_two", "debit <> credit"),
            check("ledger_entry_about_one", "(payment_id IS NULL) <> (invoice_id IS NULL)"),
            check("ledger_entry_refund_of_payment", "refund_id IS NULL OR payment_id IS NOT NULL"),
        )
        indexes = (("payment_id", "id"), ("invoice_id", "id"), ("user_id", "id"), ("movement", "id"), ("at", "id"))
