"""What is done about what differs elsewhere."""

from uuid import UUID

import strawberry

from models.actions.drift_report import Planned
from models.rules.drifting import Repair
from resolvers.reads.declare import loaded


@strawberry.type(description="What is done, or would be on a dry run, about one difference.")
class DriftRepair:
    """A repair."""

    drift = loaded("Drift", "The difference.")
    action: Repair = strawberry.field(description="What is done.")
    text: str = strawberry.field(description="The same in words.")
    drift_id: strawberry.Private[UUID]


def told_repair(planned: Planned) -> DriftRepair:
    """A repair as it is told."""
    return DriftRepair(drift_id=planned.drift_id, action=planned.action, text=planned.text)
