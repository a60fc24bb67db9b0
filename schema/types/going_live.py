"""Going live with CoursePro: how far it is set up, and the trial purchases that prove it."""

from datetime import datetime

import strawberry

from models.rules import readiness as rules
from models.rules.states import Probe
from resolvers.context import Info
from resolvers.readiness import readiness
from resolvers.reads.declare import Node, column, entity
from schema.types.shared import NamedValue, named_values


@entity("probe_run", "A trial purchase that was looked for.")
class ProbeRun(Node):
    """A run of a probe; it has the id of its job."""

    probe: Probe = column("Which trial.")
    passed: bool = column("Whether what it looks for was found.")
    evidence: list[NamedValue] = named_values("The ids that prove it, or what is to be done.", "{parent}.evidence")
    at: datetime = column("When it was looked for.")


@strawberry.type(description="One step of setting the integration up.")
class ReadinessItem:
    """A step."""

    step: rules.Step = strawberry.field(description="Which step.")
    title: str = strawberry.field(description="What it is.")
    state: rules.Standing = strawberry.field(description="How it stands.")
    evidence: list[NamedValue] = strawberry.field(description="What that is told by.")
    because: str = strawberry.field(description="The requirement it stands for.")


@strawberry.type(description="How far the integration with CoursePro is set up.")
class IntegrationReadiness:
    """The checklist."""

    may_sync_users: bool = strawberry.field(
        description="Whether the sync of users may be switched on: the credentials are there. The rest only warns."
    )
    items: list[ReadinessItem] = strawberry.field(description="The steps, in the order they are taken.")


def _told(item: rules.Item) -> ReadinessItem:
    return ReadinessItem(
        step=item.step,
        title=item.title,
        state=item.state,
        evidence=[NamedValue(name=name, value=value) for name, value in item.evidence],
        because=item.because,
    )


async def integration_readiness(info: Info) -> IntegrationReadiness | None:
    """The checklist, None for who neither works with people nor sets things up."""
    items = await readiness(info.context)
    if items is None:
        return None
    return IntegrationReadiness(may_sync_users=rules.may_sync(items), items=[_told(item) for item in items])
