"""The sheet of ids, names and prices that is taken to the course system, for those who do the mapping."""

import csv
import io
from collections.abc import Iterable
from uuid import UUID

from models.actions.mappings import Entry, mapping_sheet
from models.rules.money import Money
from models.rules.states import Role
from resolvers.context import Context

HEADER = (
    "membership_type_id",
    "membership_type",
    "kind",
    "pricing_option_id",
    "pricing_option",
    "frequency",
    "centre_id",
    "centre",
    "price",
    "currency",
    "level",
)
# what a spreadsheet takes for the beginning of a formula
FORMULA = ("=", "+", "-", "@", "\t", "\r")


async def sheet(context: Context, membership_type_id: UUID | None = None, only_this: bool = False) -> list[Entry]:
    """The lines a viewer may see, at today's prices; members see none. `only_this` of an unknown id has no line."""
    if context.viewer.role is Role.MEMBER or (only_this and membership_type_id is None):
        return []
    return await mapping_sheet(at=context.clock.now(), membership_type_id=membership_type_id)


def as_csv(entries: Iterable[Entry]) -> str:
    """Lines of the sheet -> CSV with a header, a line for each price; ids as the course system knows them.

    No cell is read as a formula: one that would be begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(HEADER)
    for entry in entries:
        kind, option = entry.kind, entry.option
        known = (str(kind.id), kind.name, kind.kind.value, str(option.id), option.name, option.frequency.value)
        # a line without a price, where no centre sells in the option's currency
        for centre_id, centre, price, level in [
            (str(centre.id), centre.name, Money(price.amount, option.currency).decimal_text(), price.level.value)
            for centre, price in entry.prices
        ] or [("", "", "", "")]:
            writer.writerow([_cell(each) for each in (*known, centre_id, centre, price, option.currency, level)])
    return text.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text
