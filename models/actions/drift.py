"""What another system said and we did not take over: kept as evidence, once for each of its messages (R1, R45)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from models.actions.unit import Unit
from models.rules.states import Provider
from models.tables.coursepro import Drift
from models.tables.row import Row

LONGEST, LONGEST_CAUSE = 200, 255


async def note(
    work: Unit,
    provider: str,
    subject: tuple[str, UUID],
    field: str,
    *,
    ours: str | None,
    theirs: str | None,
    cause: str,
) -> None:
    """Write down, inside an open unit, that `field` of a thing is one way here and another there.

    `cause` is the id of the message that said so.
    """
    kind, subject_id = subject
    await Drift.get_or_create(
        provider=Provider(provider),
        cause=cause[:LONGEST_CAUSE],
        subject_id=subject_id,
        field=field,
        defaults={"subject_type": kind, "ours": ours, "theirs": theirs and theirs[:LONGEST], "at": work.at},
    )


async def said_of_price(
    work: Unit, subject: Row, said: Mapping[str, Any], *, amount: int, currency: str, centre_id: UUID, cause: str
) -> None:
    """Keep what CoursePro said of a price, its currency or its centre where ours differs; once for each `cause`.

    `amount` is in minor units; whatever is said under another name than `currency` and `centre_id` is an amount.
    """
    known = {"currency": currency, "centre_id": str(centre_id)}
    about = type(subject).__name__, subject.id
    for name, theirs in said.items():
        ours = known.get(name, str(amount))
        if str(theirs) != ours:
            await note(work, Provider.COURSEPRO, about, name, ours=ours, theirs=str(theirs), cause=cause)
