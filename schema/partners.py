"""What the mutations for partners need beside their actions: whose endpoints they are, and a filter to keep."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import strawberry

from models.actions import exports
from models.actions import webhook_endpoints as endpoints
from models.rules.partners import ExportKind
from models.rules.refusals import Code, Refusal
from models.rules.states import Role
from resolvers.context import Context
from resolvers.partners import Reads, caller_of
from resolvers.reads.ids import BadInput
from schema.doing import Does
from schema.payloads import Answer
from schema.scalars import write_instant

secret: str | None = strawberry.field(
    name="secret",
    description="What its messages are signed with, shown this once; null where it was refused.",
    graphql_type=str | None,
)


def _owner(ctx: Context) -> UUID | None:
    """A partner's own key; None for who may see everybody's endpoints."""
    return ctx.viewer.key_id if ctx.viewer.role is Role.PARTNER else None


async def create_endpoint(ctx: Context, given: dict[str, Any]) -> Answer:
    """An endpoint of the caller's, with its secret."""
    row, token = await endpoints.create_webhook_endpoint(
        **given,
        owner=_owner(ctx),
        vault=ctx.vault,
        local=ctx.sandbox,
        acting=ctx.viewer.actor,
        at=ctx.clock.now(),
    )
    return Answer(subject_id=row.id, token=token)


async def update_endpoint(ctx: Context, given: dict[str, Any]) -> Answer:
    """An endpoint of the caller's, changed."""
    row = await endpoints.update_webhook_endpoint(
        **given, owner=_owner(ctx), local=ctx.sandbox, acting=ctx.viewer.actor, at=ctx.clock.now()
    )
    return Answer(subject_id=row.id)


async def rotate_secret(ctx: Context, given: dict[str, Any]) -> Answer:
    """An endpoint of the caller's, with its fresh secret."""
    row, token = await endpoints.rotate_webhook_secret(
        **given, owner=_owner(ctx), vault=ctx.vault, acting=ctx.viewer.actor, at=ctx.clock.now()
    )
    return Answer(subject_id=row.id, token=token)


def own(action: Callable[..., Awaitable[Any]]) -> Does:
    """An action on an endpoint or message of the caller's."""

    async def run(ctx: Context, given: dict[str, Any]) -> Answer:
        row = await action(**given, owner=_owner(ctx), acting=ctx.viewer.actor, at=ctx.clock.now())
        return Answer(subject_id=row.id)

    return run


def writes(kind: ExportKind) -> Does:
    """A file of the rows of a list that the caller may see."""

    async def run(ctx: Context, given: dict[str, Any]) -> Answer:
        narrowed, caller = _as_variables(given.get("filter")) or {}, caller_of(ctx.viewer)
        try:
            await Reads(ctx.reader, "").total(kind, narrowed, caller)
        except BadInput as bad:
            raise Refusal(Code.INVALID_INPUT, bad.message, field=("filter",)) from None
        job = await exports.export(
            kind,
            format=given["format"],
            narrowed=narrowed,
            caller=caller,
            hours=ctx.deployment.export_hours,
            base=ctx.deployment.public_url,
            acting=ctx.viewer.actor,
            at=ctx.clock.now(),
        )
        return Answer(job_id=job.id, subject_id=job.id)

    return run


def _as_variables(given: Any) -> Any:
    """An input object -> the JSON a client would send for it."""
    if isinstance(given, Enum):
        return given.name
    definition = getattr(given, "__strawberry_definition__", None)
    if definition is not None:
        names = {each.graphql_name or _camel(each.python_name): each.python_name for each in definition.fields}
        values = {name: getattr(given, attribute) for name, attribute in names.items()}
        return {name: _as_variables(value) for name, value in values.items() if value is not strawberry.UNSET}
    if isinstance(given, list):
        return [_as_variables(each) for each in given]
    if isinstance(given, datetime):
        return write_instant(given)
    return given.isoformat() if isinstance(given, date) else given


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
