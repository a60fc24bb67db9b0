"""Messages to people: written once per cause, then sent where a mail server is set up (R44)."""

from datetime import datetime
from uuid import UUID

from models.tables.notification import Notification
from models.tables.user import User

Message = tuple[Notification, User]


async def write(user_id: UUID, *, kind: str, cause: str, text: str) -> Message | None:
    """A message inside the caller's unit, "Dear Ada, {text}" -> it and its reader, or None where it was sent.

    The same kind and cause give the same message again, with the words it had first.
    """
    user = await User.known(id=user_id)
    message, _ = await Notification.get_or_create(
        kind=kind, cause=cause, defaults={"user_id": user.id, "text": f"Dear {user.first_name}, {text}"}
    )
    return (message, user) if message.sent_at is None else None


async def sent(message_id: UUID, *, at: datetime) -> None:
    """The message left."""
    await Notification.filter(id=message_id).update(sent_at=at)
