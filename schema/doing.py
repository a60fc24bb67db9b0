"""From an action to a mutation: `does(book_course, BookCourseInput, "Booking", ...)` is all a mutation needs.

The input is decoded to the action's own words, the viewer's right is asked of one table, the action runs once, and
the payload reads its object anew. Whatever an action refuses becomes a `userError`.
"""

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Annotated, Any
from uuid import UUID

import strawberry
from tortoise.exceptions import IntegrityError, ValidationError

from models.actions.unit import PUBLISH, written
from models.rules.money import from_decimal
from models.rules.refusals import Code, Refusal
from models.tables.row import Row
from resolvers.context import Context, Info
from resolvers.may import allow
from resolvers.reads.ids import BadInput, WrongType, decode
from resolvers.viewer import Viewer
from schema.inputs import AS, CLEARS, ID_OF, ClassTimeInput, MoneyInput, NamedValueInput
from schema.payloads import Answer, payload, user_error

Action = Callable[..., Awaitable[Any]]
Does = Callable[[Context, dict[str, Any]], Awaitable[Answer]]
Whose = Callable[[UUID], Awaitable[UUID | None]]


def does(
    action: Action,
    takes: type,
    subject: str,
    description: str,
    *,
    verb: str | None = None,
    whose: Whose | None = None,
    **fixed: Any,
) -> Any:
    """An action and its input -> a mutation field whose payload shows the row it returns.

    `verb` is its name here and in the table of rights where that is not the action's own; `whose` finds the person a
    record is of, where the input names a record and no user; `fixed` are words the action gets that no caller gives.
    """

    async def run(ctx: Context, given: dict[str, Any]) -> Answer:
        row: Row = await action(**given, **fixed, acting=ctx.viewer.actor, at=ctx.clock.now())
        return Answer(subject_id=row.id)

    return done_by(run, takes, subject, description, verb=verb or str(getattr(action, "__name__", "")), whose=whose)


def done_by(
    run: Does,
    takes: type,
    subject: str,
    description: str,
    *,
    verb: str,
    whose: Whose | None = None,
    **extra: Any,
) -> Any:
    """As `does`, for what needs more than an action: `run` gets the context and the decoded input."""
    name = "".join(word.title() for word in verb.split("_"))
    answers = payload(name, subject, "What it is now; null where it was refused.", **extra)

    async def resolve(info: Info, input: Any) -> Any:  # noqa: A002  # the argument's name in the API
        jobs = written.set([])
        try:
            given = decoded(input)
            await _allow(info.context.viewer, verb, given, whose)
            answer = await run(info.context, given)
            asked = [job.id for job in written.get() or () if job.kind != PUBLISH]
            answer.job_id = answer.job_id or next(iter(asked), None)
        except Refusal as refusal:
            return Answer(user_errors=[user_error(refusal)])
        except (ValidationError, IntegrityError) as wrong:
            return Answer(user_errors=[user_error(_not_stored(wrong))])
        finally:
            written.reset(jobs)
        return answer

    own = _own(takes, f"{name}Input")
    argument = Annotated[own, strawberry.argument(description=_said_of(own))]  # type: ignore[valid-type]  # made above
    resolve.__annotations__ = {"info": Info, "input": argument, "return": answers}
    resolve.__name__ = verb
    return strawberry.mutation(resolver=resolve, description=description)


async def _allow(viewer: Viewer, verb: str, given: dict[str, Any], whose: Whose | None) -> None:
    """Ask the table of rights; the record `whose` is about is the input's first field."""
    if whose is None:
        allow(viewer, verb, given.get("user_id"))
        return
    name, record = next(iter(given.items()))
    allow(viewer, verb, await whose(record), field=_camel(name))


def _own(takes: type, name: str) -> type:
    """The input type under the mutation's own name, where several mutations take the same."""
    if takes.__name__ == name:
        return takes
    return strawberry.input(type(name, (takes,), {"__doc__": takes.__doc__}), description=_said_of(takes))


def _said_of(takes: type) -> str | None:
    description: str | None = takes.__strawberry_definition__.description  # type: ignore[attr-defined]  # an input class
    return description


def decoded(asked: Any) -> dict[str, Any]:
    """An input object -> the action's keyword arguments: what was left out, or is null for nothing, stays out.

    Raises Refusal.
    """
    given: dict[str, Any] = {}
    for field in asked.__strawberry_definition__.fields:
        value = getattr(asked, field.python_name)
        if value is strawberry.UNSET or (value is None and not field.metadata.get(CLEARS)):
            continue
        path = (field.graphql_name or _camel(field.python_name),)
        name = field.metadata.get(AS) or field.python_name
        if isinstance(value, MoneyInput):
            given |= {"amount": _minor_units(value, path), "currency": value.currency}
        elif ID_OF in field.metadata:
            given[name] = _ids(value, field.metadata[ID_OF], path)
        elif isinstance(value, str):
            given[name] = _text(value, path)
        elif isinstance(value, list):
            given[name] = _plain(value, path)
        else:
            given[name] = value
    return given


def _ids(value: Any, target: str, path: tuple[str, ...]) -> Any:
    if isinstance(value, list):
        return [_id(each, target, path) for each in value]
    return _id(value, target, path)


def _id(value: str, target: str, path: tuple[str, ...]) -> UUID:
    try:
        return decode(value, target)
    except WrongType as wrong:
        raise Refusal(Code.NOT_FOUND, f"{wrong}.", field=path) from None
    except BadInput as bad:
        raise Refusal(Code.INVALID_INPUT, bad.message, field=path) from None


def _minor_units(value: MoneyInput, path: tuple[str, ...]) -> int:
    try:
        return from_decimal(value.amount, value.currency)
    except ValueError as wrong:
        raise Refusal(Code.INVALID_INPUT, f"{wrong}.", field=(*path, "amount")) from None


def _text(value: str, path: tuple[str, ...]) -> str:
    if not value.strip():
        raise Refusal(Code.INVALID_INPUT, "It is empty.", field=path)
    return value


def _plain(values: list[Any], path: tuple[str, ...]) -> Any:
    """A list of small inputs as the actions take it: records as mappings, class times as pairs."""
    if all(isinstance(each, NamedValueInput) for each in values):
        return {each.name: each.value for each in values}
    if all(isinstance(each, ClassTimeInput) for each in values):
        return [dataclasses.astuple(each) for each in values]
    return [_text(each, path) if isinstance(each, str) else each for each in values]


# What PostgreSQL says of a reference to nothing, and of what there may be once: its word, ours, and what was found.
_KEPT_OUT = {
    "23503": (Code.NOT_FOUND, "It names a record that does not exist."),
    "23505": (Code.INVALID_INPUT, "There is one like it already."),
}


def _not_stored(wrong: ValidationError | IntegrityError) -> Refusal:
    """What the tables refused, where no rule had looked -> a refusal. Raises it anew where it is a fault of ours."""
    if isinstance(wrong, ValidationError):
        column, _, _ = str(wrong).partition(":")
        return Refusal(Code.INVALID_INPUT, "It is longer than what is kept.", field=(_camel(column),))
    if (known := _KEPT_OUT.get(getattr(wrong.__cause__, "sqlstate", ""))) is None:
        raise wrong
    return Refusal(*known)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)
