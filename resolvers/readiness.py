"""How far an integration is set up, for those who set it up."""

from models.actions.readiness import readiness as found
from models.rules.readiness import Item
from resolvers.context import Context
from resolvers.permissions import READINESS, audience


async def readiness(context: Context) -> tuple[Item, ...] | None:
    """The steps of the checklist, None for a viewer whose business it is not."""
    if audience(context.viewer) not in READINESS:
        return None
    return await found(context.clock.now())
