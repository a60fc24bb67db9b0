"""People, and what ties them to other systems."""

from datetime import date, datetime

from models.actions.user_sync import DIRTY_SQL, LINKED_SQL
from models.rules.states import LinkState, Provider, ReviewKind, ReviewState, SyncState, UserState
from resolvers.reads.declare import Node, all_of, column, entity, many, one
from schema.types.shared import NamedValue, named_values


@entity("user_account", "A person.")
class User(Node):
    """A user."""

    first_name: str = column("Given name.")
    last_name: str = column("Family name.")
    email: str = column("E-mail address, as it was given.")
    phone: str | None = column("Telephone number.")
    date_of_birth: date | None = column("Day of birth.")
    state: UserState = column("Whether the person has bought anything yet.")
    version: int = column("Rises with each change.")
    created_at: datetime = column("When the user was created.")
    updated_at: datetime = column("When the user last changed.")
    fields: list[NamedValue] = named_values(
        "The fields the operator collects beside the fixed ones.", "{parent}.fields"
    )
    sync_state: SyncState = column(
        "Whether the course system knows what is known here.",
        f"CASE WHEN NOT {LINKED_SQL} THEN 'NOT_LINKED' WHEN {DIRTY_SQL} THEN 'DIRTY' ELSE 'IN_SYNC' END",
    )
    links = all_of("ExternalLink", "The user's records in other systems.", on="user_id")
    memberships = many("Membership", "The user's memberships.", on="user_id")
    bookings = many("Booking", "The user's bookings.", on="user_id")
    waiting_places = many("WaitingPlace", "The user's places on waiting lists.", on="user_id")
    packages = many("Package", "The user's packages of credits.", on="user_id")
    attendances = many("Attendance", "The classes the user was expected at or seen in.", on="user_id")
    access_tokens = many("AccessToken", "The user's leave to pass the gates.", on="user_id")
    mandates = many("Mandate", "The user's direct debit instructions.", on="user_id")
    payments = many("Payment", "The user's payments.", on="user_id")
    invoices = many("Invoice", "The user's subscription invoices.", on="user_id")
    subscriptions = many("CardSubscription", "The user's card subscriptions.", on="user_id")
    notifications = many("Notification", "The messages sent to the user.", on="user_id")


@entity("external_link", "A user's record in another system.")
class ExternalLink(Node):
    """A link."""

    user = one("User", "Whose record it is.")
    provider: Provider = column("The other system.")
    kind: str = column('What the record is there, e.g. "customer".')
    external_id: str = column("Its id there.")
    state: LinkState = column("How sure the link is.")
    evidence: list[NamedValue] | None = named_values("What the link was decided by; staff only.", "{parent}.evidence")
    created_at: datetime = column("When the link was made.")


@entity("review_item", "A question that is left to a person.")
class ReviewItem(Node):
    """A question."""

    kind: ReviewKind = column("What is asked.")
    state: ReviewState = column("Whether it is answered.")
    provider: Provider = column("The system it came from.")
    subject: str = column("What it is about there: the id of a record, or of a payment.")
    user = one("User", "Whom it concerns; who was chosen, once it is answered.")
    candidates = all_of(
        "User",
        "The users it may be.",
        join="{row}.id::text IN (SELECT jsonb_array_elements_text({parent}.evidence -> 'candidates'))",
    )
    evidence: list[NamedValue] = named_values("What is known of it.", "{parent}.evidence")
    answer: str | None = column("What was decided.")
    created_at: datetime = column("When it came up.")
    updated_at: datetime = column("When it last changed.")


@entity("notification", "A message to a person.")
class Notification(Node):
    """A message."""

    user = one("User", "To whom.")
    kind: str = column("What it is about.")
    cause: str = column("What gave rise to it; a cause is told once.")
    text: str = column("What it says.")
    created_at: datetime = column("When it was written.")
    sent_at: datetime | None = column("When it was sent; null while it waits.")


@entity("user_field", "A field the operator collects beside the fixed ones.")
class UserField(Node):
    """A configured field."""

    name: str = column("What it is called in `User.fields`.")
    label: str = column("What people read.")
    required: bool = column("Whether a user cannot be without it.")
    version: int = column("Rises with each change of the set.")
