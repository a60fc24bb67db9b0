"""Who may pass a gate."""

from datetime import datetime
from typing import Annotated

import strawberry

from models.rules.access import NoEntry
from resolvers.context import Info
from resolvers.gate import entered
from resolvers.reads.ids import encode, known


@strawberry.type(description="Whether a person may pass a centre's gate at a moment.")
class MayEnter:
    """An answer to `mayEnter`."""

    may_enter: bool = strawberry.field(description="Whether it opens.")
    reason: NoEntry | None = strawberry.field(description="Why it stays shut; null where it opens.")
    until: datetime | None = strawberry.field(description="The first instant it shuts again; null where it is shut.")
    session_id: strawberry.ID | None = strawberry.field(description="The id of the class that decided it.")


async def may_enter(
    info: Info,
    user_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the person.")],
    centre_id: Annotated[strawberry.ID, strawberry.argument(description="The id of the centre.")],
    at: Annotated[datetime | None, strawberry.argument(description="The moment; now by default.")] = None,
) -> MayEnter | None:
    """(person, centre, instant) -> whether the gate opens, None where either is unknown. Raises BadInput."""
    user, centre = known("User")(user_id), known("Centre")(centre_id)
    found = await entered(info.context, user, centre, at) if user and centre else None
    if found is None:
        return None
    session_id = strawberry.ID(encode("ClassSession", found.session_id)) if found.session_id else None
    return MayEnter(may_enter=found.no is None, reason=found.no, until=found.until, session_id=session_id)
