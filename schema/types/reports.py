"""Reports over money."""

from datetime import date
from typing import Annotated, Any

import strawberry

from models.actions.revenue import By, Line
from models.rules.money import Money as Amount
from resolvers.context import Info
from resolvers.reads.ids import encode, known
from resolvers.reports import revenue
from schema.types.quotes import told_money
from schema.types.shared import Money


@strawberry.type(description="What one class type, membership type or month earned, in one currency.")
class RevenueLine:
    """A line of the report."""

    id: strawberry.ID | None = strawberry.field(
        description="The id of the class type or membership type; null for a month, and where money paid for neither."
    )
    name: str | None = strawberry.field(
        description="Its name, or the month; null where money paid for no class, or by no type that is managed."
    )
    classes: int = strawberry.field(description="How many attendances were paid for.")
    invoices: int = strawberry.field(description="By how many invoices.")
    amount: Money = strawberry.field(description="How much was paid and not given back.")
    billed_off: Money = strawberry.field(description="How much of that is final.")


_TYPES = {By.CLASS: "ClassType", By.MEMBERSHIP_TYPE: "MembershipType"}


def _told(by: By, line: Line) -> RevenueLine:
    return RevenueLine(
        id=strawberry.ID(encode(_TYPES[by], line.id)) if line.id else None,
        name=line.name,
        classes=line.classes,
        invoices=line.invoices,
        amount=told_money(Amount(line.amount, line.currency)),
        billed_off=told_money(Amount(line.billed_off, line.currency)),
    )


def _asks(description: str, name: str | None = None) -> Any:
    return strawberry.argument(description=description, name=name)


async def revenue_report(
    info: Info,
    since: Annotated[date, _asks("The first day, in the centre's zone, a period may begin on.", "from")],
    until: Annotated[date, _asks("The first day no longer inside.", "to")],
    by: Annotated[By, _asks("What to sum by.")],
    centre_id: Annotated[strawberry.ID | None, _asks("Only of this centre; of all, if left out.")] = None,
) -> list[RevenueLine] | None:
    """The report, None for who does not keep the money; of an unknown centre nothing. Raises BadInput."""
    only = known("Centre")(centre_id) if centre_id else None
    if centre_id and only is None:
        return []
    lines = await revenue(info.context, by, since, until, only)
    return None if lines is None else [_told(by, line) for line in lines]
