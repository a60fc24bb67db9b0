"""What runs, what came in, who may enter and who changed what."""

from datetime import datetime

import strawberry

from models.rules.states import InboxState, JobState, KeyPurpose, Provider, Role
from resolvers.reads.declare import Node, column, entity, one, part
from resolvers.reads.meaning import ID_SQL
from schema.scalars import URL
from schema.types.shared import NamedValue, Step, named_values, steps

# Tables are called by their own names in audit rows
_SUBJECT = (
    "CASE {row}.subject_type WHEN 'Subscription' THEN 'CardSubscription' WHEN 'InboxEvent' THEN 'WebhookEvent'"
    " ELSE {row}.subject_type END"
)


@strawberry.type(description="How far a job has come.")
class JobProgress:
    """Counted in pieces of work."""

    done: int = column("How many pieces are done.", "{row}.done_count")
    total: int | None = column("How many there are; null while that is not known.", "{row}.total_count")


@strawberry.type(description="Why a job failed the last time.")
class JobError:
    """An error."""

    code: str | None = column("A word for it.", "{row}.error_code")
    message: str | None = column("What happened.", "{row}.error")


@entity("job", "Work done behind the scenes.")
class Job(Node):
    """A job."""

    kind: str = column("What it does.")
    key: str | None = column("The obligation it fulfils; finance and administrators only.")
    status: JobState = column("Where it stands.", "{row}.state")
    progress: JobProgress = part("How far it has come.", "SELECT {parent}.done_count, {parent}.total_count")
    attempts: int = column("How often it was tried; waiting for a provider that is away, or asks for time, is none.")
    error: JobError | None = part(
        "Why it failed the last time; staff only.",
        "SELECT {parent}.error_code, {parent}.error WHERE coalesce({parent}.error_code, {parent}.error) IS NOT NULL",
    )
    user = one("User", "Whom it concerns.")
    result_url: URL | None = column("What it made, where that can be fetched.")
    created_at: datetime = column("When it was asked for.")
    updated_at: datetime = column("When it last changed.")
    run_at: datetime | None = column("When it may run; null for at once.")
    finished_at: datetime | None = column("When it ended.")


@entity("inbox_event", "An event a provider sent us, applied once.")
class WebhookEvent(Node):
    """A webhook's event."""

    provider: Provider = column("Who sent it.")
    event_id: str = column("Its id there.")
    event_type: str = column("Its type there.")
    object_id: str | None = column("The object it is about.")
    state: InboxState = column("What became of it.")
    created_at: datetime = column("When it came in.")
    applied_at: datetime | None = column("When it was applied.")


@entity("access_token", "Leave to pass a centre's gate for one class.")
class AccessToken(Node):
    """An access token."""

    user = one("User", "Who may pass.")
    membership = one("Membership", "By which membership.")
    class_session = one("ClassSession", "For which class.")
    centre = one("Centre", "Through whose gate.")
    valid_from: datetime = column("The first instant it opens.")
    valid_until: datetime = column("The first instant it no longer does.")
    revoked_at: datetime | None = column("When it was taken back.")


@entity("audit_entry", "Who changed what, and why.")
class AuditEntry(Node):
    """An audit entry."""

    actor: str = column("Who.")
    verb: str = column("Did what.")
    subject_id: strawberry.ID = column(
        "To what.", ID_SQL.replace("{row}.id", "{row}.subject_id").replace("'{type}:'", f"({_SUBJECT}) || ':'")
    )
    before: list[NamedValue] = named_values("What it was before.", "{parent}.before")
    after: list[NamedValue] = named_values("What it became.", "{parent}.after")
    because: list[Step] = steps("Why.")
    at: datetime = column("When.")


@entity("api_key", "A caller's key; its secret is shown once, when it is made.")
class ApiKey(Node):
    """An API key."""

    name: str = column("What the caller is called.")
    public_part: str = column("The part of the key that may be seen.")
    role: Role = column("Who the caller is.")
    purpose: KeyPurpose = column("What it was made for.")
    scopes: list[str] = column(
        "What it may do beside its role.", "ARRAY(SELECT jsonb_array_elements_text({row}.scopes))"
    )
    user = one("User", "The person it stands for.")
    created_at: datetime = column("When it was made.")
    expires_at: datetime | None = column("When it ends.")
    previous_until: datetime | None = column("Until when the secret before the present one is good.")
    revoked_at: datetime | None = column("When it was taken back.")


@entity("provider_setting", "How a provider is reached; its secrets are never told.")
class ProviderSetting(Node):
    """A provider's set-up."""

    provider: Provider = column("Which provider.")
    settings: list[NamedValue] = named_values("What is set.", "{parent}.settings")
    hints: list[NamedValue] = named_values("The last letters of each secret.", "{parent}.hints")
    enabled: bool = column("Whether it is used.")
    version: int = column("Rises with each change.")
    updated_at: datetime = column("When it last changed.")
