"""Reports over money, for who keeps it."""

from datetime import date
from uuid import UUID

from models.actions.revenue import By, Line
from models.actions.revenue import revenue as summed
from models.rules.states import Role
from resolvers.context import Context

READERS = frozenset({Role.FINANCE, Role.ADMIN})


async def revenue(context: Context, by: By, since: date, until: date, centre_id: UUID | None) -> list[Line] | None:
    """[since, until), summed -> its lines; None for a viewer whose business it is not."""
    if context.viewer.role not in READERS:
        return None
    return await summed(by, since=since, until=until, centre_id=centre_id)
