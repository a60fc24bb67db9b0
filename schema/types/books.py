"""The books: every movement of money, and the proof that nothing is missing."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.rules import money as amounts
from models.rules import proof as rules
from models.rules.ledger import Account, Movement
from models.rules.proof import Check
from resolvers.books import proved
from resolvers.context import Info
from resolvers.reads.declare import Node, column, entity, one
from resolvers.reads.ids import encode
from schema.types.quotes import told_money
from schema.types.shared import Money, money


@entity("ledger_entry", "A movement of money from one account to another; never changed.")
class LedgerEntry(Node):
    """An entry."""

    movement: Movement = column("What happened.")
    debit: Account = column("The account it is taken to.")
    credit: Account = column("The account it comes from.")
    amount: Money = money("How much.")
    user = one("User", "Whose money.")
    payment = one("Payment", "The payment it moved; null where it is an invoice's.")
    refund = one("Refund", "The refund it belongs to.")
    invoice = one("Invoice", "The invoice it moved; null where it is a payment's.")
    at: datetime = column("When it happened.")
    created_at: datetime = column("When it was written.")


@strawberry.type(description="What the books have of one currency: charged = allocated + refunded + credit + held.")
class MoneySums:
    """Sums of one currency."""

    currency: str = strawberry.field(description="Which currency.")
    charged: Money = strawberry.field(description="What was received, less what banks took back.")
    allocated: Money = strawberry.field(description="What pays for something.")
    refunded: Money = strawberry.field(description="What went back, or is to.")
    credit: Money = strawberry.field(description="What payers may use later, less what they used.")
    held: Money = strawberry.field(description="What is there and pays for nothing yet.")
    fees: Money = strawberry.field(description="What providers kept.")
    receivable: Money = strawberry.field(description="What is asked for and not received.")
    holds: bool = strawberry.field(description="Whether the equation holds.")
    equation: str = strawberry.field(description='The equation in figures: "50.00 = 25.00 + 20.00 + 0.00 + 5.00".')


@strawberry.type(description="A payment or invoice that the books have otherwise than its rows.")
class MoneyBreak:
    """A break."""

    subject_id: strawberry.ID = strawberry.field(description="The id of the payment or invoice.")
    check: Check = strawberry.field(description="What differs.")
    booked: Money = strawberry.field(description="What the books have.")
    told: Money = strawberry.field(description="What the rows say.")
    equation: str = strawberry.field(description="The equation with the figures of the rows.")
    because: str = strawberry.field(description="What differs, in words.")


@strawberry.type(
    description="Whether charged = allocated + refunded + credit + held, and the books say what the rows say."
)
class MoneyProof:
    """A proof of the books."""

    holds: bool = strawberry.field(description="Whether every equation holds and nothing breaks.")
    equation: str = strawberry.field(description="The equation of each currency.")
    sums: list[MoneySums] = strawberry.field(description="Each currency.")
    breaks: list[MoneyBreak] = strawberry.field(description="What breaks; at most some thousands are told.")


def _sums(books: rules.Books) -> MoneySums:
    names = ("charged", "allocated", "refunded", "credit", "held", "fees", "receivable")
    figures = {name: told_money(amounts.Money(getattr(books, name), books.currency)) for name in names}
    return MoneySums(currency=books.currency, holds=books.holds, equation=books.equation, **figures)


def _break(each: rules.Break) -> MoneyBreak:
    currency = each.by_rows.currency
    return MoneyBreak(
        subject_id=strawberry.ID(encode(each.subject, each.subject_id)),
        check=each.check,
        booked=told_money(amounts.Money(each.booked, currency)),
        told=told_money(amounts.Money(each.told, currency)),
        equation=each.equation,
        because=each.because,
    )


async def money_proof(
    info: Info,
    about: Annotated[
        strawberry.ID | None,
        strawberry.argument(description="The id of an invoice, a payment or a user; all money where none is given."),
    ] = None,
) -> MoneyProof | None:
    """The proof, None for who may not see it or where there is nothing of that id. Raises BadInput."""
    found = await proved(info.context, about)
    if found is None:
        return None
    return MoneyProof(
        holds=found.holds,
        equation=found.equation,
        sums=[_sums(each) for each in found.sums],
        breaks=[_break(each) for each in found.breaks],
    )
