"""The schema: what can be asked (`queries`), done (`mutations`) and watched (`subscriptions`).

How a field comes to its answer:

* A query's fields declare what they stand for in the database (`schema/types`); `resolvers.reads` compiles a selection
  to SQL, the viewer's row rules inside it. No resolver is written for them.
* A mutation asks `resolvers.may` whether its viewer may, calls one action of `models.actions`, and answers with a
  payload whose objects are read back by the same plans; a refusal becomes its `userErrors`.
* A subscription watches the live bus (`resolvers.live`) and re-reads the object of each event for its viewer.
"""

from typing import Annotated

import strawberry
from strawberry.directive import DirectiveLocation

from schema.build import build
from schema.mutations import Mutation
from schema.subscriptions import Subscription


@strawberry.directive(
    locations=[DirectiveLocation.MUTATION],
    description="Run this mutation once for this key: sent again, it answers with the stored answer.",
)
def idempotent(
    key: Annotated[str, strawberry.argument(description="Chosen by the caller, fresh for each thing to be done.")],
) -> None:
    """Read by the protocol before anything runs; on a field it would mean nothing."""


schema = build(Mutation, Subscription, directives=[idempotent])
