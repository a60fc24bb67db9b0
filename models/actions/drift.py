"""What another system said and we did not take over: kept as evidence, once for each of its messages (R1, R45)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from models.actions.unit import Unit
from models.rules.states import Provider
from models.tables.coursepro import Drift
from models.tables.row import Row

LONGEST = 200


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
    said: dict[str, Any] = {"provider": Provider(provider), "cause": cause, "subject_id": subject_id, "field": field}
    if not await Drift.filter(**said).exists():
        drifted = await Drift.create(**said, subject_type=kind, ours=ours, theirs=theirs, at=work.at)
        work.audit("drift", drifted, before={field: ours}, after={field: theirs}, because=[cause])


async def said_of_price(
    subject: Row, said: Mapping[str, Any], *, amount: int, currency: str, centre_id: UUID, cause: str, at: datetime
) -> None:
    """Keep what CoursePro said of a price, its currency or its centre where ours differs; once for each `cause`.

    `amount` is in minor units; whatever is said under another name than `currency` and `centre_id` is an amount.
    """
    ours = {"currency": currency, "centre_id": str(centre_id)}
    rows = [
        Drift(
            provider=Provider.COURSEPRO,
            subject_type=type(subject).__name__,
            subject_id=subject.id,
            field=name,
            ours=ours.get(name, str(amount)),
            theirs=str(theirs)[:LONGEST],
            cause=cause,
            at=at,
        )
        for name, theirs in said.items()
        if str(theirs) != ours.get(name, str(amount))
    ]
    if rows:
        await Drift.bulk_create(rows, ignore_conflicts=True)
