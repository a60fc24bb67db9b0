"""What came in, and telling who should know: stored webhooks, live events, messages to people, the sandbox's clock."""

from datetime import datetime
from uuid import UUID

from redis.exceptions import RedisError

from models.actions import claims, inbound, notifications, payments, waiting, webhook_messages
from models.actions.notifications import Message
from models.ports import LiveEvent, ReceivedEvent, Unavailable
from models.rules.facts import Mirrored
from models.rules.states import InboxState, Provider
from workers.work import Work


async def apply_webhook(work: Work) -> None:
    """Turn a stored event into facts, from the latest state of its object, and apply them."""
    provider = Provider(work.job.payload["provider"])
    row = await inbound.stored(provider, work.job.payload["event_id"])
    if row.state in (InboxState.APPLIED, InboxState.IGNORED):
        return
    source = await work.providers.webhooks(provider)
    facts = await source.facts(ReceivedEvent(row.event_id, row.event_type, row.object_id, row.body))
    for fact in facts:
        await inbound.apply(fact, acting=f"webhook:{provider}", at=work.now)
    await inbound.applied(row, at=work.now, any_facts=bool(facts))


async def read_mirrored(work: Work) -> None:
    """Read an object that is mirrored as it is now."""
    told = work.job.payload
    source = await work.providers.webhooks(Provider(told["provider"]))
    for fact in await source.read(Mirrored(told["kind"]), told["external_id"]):
        await inbound.apply(fact, acting=f"webhook:{told['provider']}", at=work.now)


async def publish(work: Work) -> None:
    """Append what happened to the live stream, where ids known already are passed over; and tell partners of it.

    Neither waits for the other: while Redis is away, partners are told all the same.
    """
    events = [
        LiveEvent(
            id=told["id"],
            topic=told["topic"],
            name=told["name"],
            ids=told["ids"],
            occurred_at=datetime.fromisoformat(told["occurred_at"]),
        )
        for told in work.job.payload["events"]
    ]
    lost: Exception | None = None
    try:
        await work.outside.bus.publish(events)
    except (RedisError, OSError) as away:
        lost = away
    await webhook_messages.fan_out(
        work.job.id, work.job.payload["events"], reads=work.outside.reads, acting=work.acting, at=work.now
    )
    if lost is not None:
        raise Unavailable(f"Redis is away: {type(lost).__name__}", code="BUS_AWAY") from lost


async def payment_failed(work: Work) -> None:
    """Tell a person of a missed payment, once per attempt (R44)."""
    payment_id = UUID(work.job.payload["payment_id"])
    message = await payments.notify_missed(payment_id, acting=work.acting, at=work.now)
    await _send(work, message, "Your payment could not be taken")


async def place_offered(work: Work) -> None:
    """Tell a person that a place came free, once."""
    place_id = UUID(work.job.payload["waiting_place_id"])
    message = await waiting.notify_offered(place_id, acting=work.acting, at=work.now)
    await _send(work, message, "A place has come free")


async def claim_record(work: Work) -> None:
    """Send people who are known, and signed up again, the link by which their record is theirs (R54)."""
    notifier = await work.providers.notifier()
    for user_id in work.job.payload["user_ids"]:
        message = await claims.offer_claim(
            UUID(user_id),
            claim_url=work.job.payload["claim_url"],
            cause=f"{work.job.id}:{user_id}",
            acting=work.acting,
            at=work.now,
        )
        if message is not None and notifier is not None:
            written, user = message
            await notifier.send(email=user.email, subject="Your record", text=written.text, key=str(written.id))
            await claims.link_sent(written, at=work.now)


async def _send(work: Work, message: Message | None, subject: str) -> None:
    """Hand a message that was written over, where a mail server is set up."""
    notifier = await work.providers.notifier()
    if message is None or notifier is None:
        return
    notification, user = message
    await notifier.send(email=user.email, subject=subject, text=notification.text, key=str(notification.id))
    await notifications.sent(notification.id, at=work.now)


async def move_clock(work: Work) -> None:
    """Move the provider sandbox's clock along with ours."""
    await (await work.providers.sandbox()).move_clock(datetime.fromisoformat(work.job.payload["now"]))
