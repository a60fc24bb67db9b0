"""Reading a mirrored object on its own: whoever hears of it asks, one reader at a time reads it as it is now."""

from datetime import datetime

from models.actions.unit import Unit, unit
from models.rules.facts import Mirrored, ObjectTouched

LONGEST_SUBJECT = 80


def about(provider: str, object_id: str) -> str:
    """The subject of what reads an object: two at once could write what they read in the wrong order."""
    return f"inbox:{provider}:{object_id}"[:LONGEST_SUBJECT]


def read_anew(work: Unit, provider: str, kind: Mirrored, external_id: str) -> None:
    """Have an object read, inside the caller's unit: it changed, or was heard of before it was told."""
    payload = {"provider": provider, "kind": kind, "external_id": external_id}
    work.job("mirror.read", payload=payload, subject=about(provider, external_id))


async def object_touched(fact: ObjectTouched, *, acting: str, at: datetime) -> None:
    """Something else told that an object may have changed."""
    async with unit(acting=acting, at=at) as work:
        read_anew(work, fact.provider, fact.kind, fact.external_id)
