"""How a mutation answers: its object and its job, read anew, or why not."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import strawberry

from models.rules.refusals import REFUSALS, Code, Refusal
from resolvers.reads.declare import loaded, words

words(
    Code,
    "ErrorCode",
    "Why the answer is no. Clients should expect codes to be added.",
    (REFUSALS[code].sentence for code in Code),
)


@strawberry.type(description="A business no: nothing was changed.")
class UserError:
    """One refusal."""

    code: Code = strawberry.field(description="A word to switch on.")
    message: str = strawberry.field(description="What was found, and what to do about it.")
    field: list[str] | None = strawberry.field(description="The path of the input field it is about, if one.")
    because: str = strawberry.field(description="The document or rule that says so.")


@dataclass(slots=True)
class Answer:
    """What a mutation hands to its payload: ids of what to read anew, a fresh key's token, a new quote, or refusals."""

    subject_id: UUID | None = None
    job_id: UUID | None = None
    token: str | None = None
    quote: Any = None
    repairs: list[Any] | None = None
    user_errors: list[UserError] = field(default_factory=list)


def user_error(refusal: Refusal) -> UserError:
    """A refusal -> what its caller reads of it."""
    path = list(refusal.field) or None
    return UserError(code=refusal.code, message=refusal.message, field=path, because=refusal.because)


def payload(name: str, subject: str, description: str, **extra: Any) -> type:
    """("BookCourse", "Booking", what the object is) -> the type BookCoursePayload, with `extra` fields."""
    body: dict[str, Any] = {
        _snake(subject): loaded(subject, description, "subject_id"),
        "job": loaded("Job", "The work that follows from it, to be watched; null where there is none.", "job_id"),
        "user_errors": strawberry.field(
            description="Why nothing was changed; empty where it was.", graphql_type=list[UserError]
        ),
        **extra,
    }
    return strawberry.type(type(f"{name}Payload", (), body), description=f"The answer of `{_camel(name)}`.")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]
