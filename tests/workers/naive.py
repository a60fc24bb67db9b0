"""The negative control: a worker as it is often written, which the crash matrix must find guilty.

Jobs live in Redis alone and are put there after the commit; each try makes a fresh key; nothing is looked up; a job is
taken again when its worker died, as arq does. Its clients, its settle function and its exits are those of the real one.
"""

import asyncio
import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import redis.asyncio

from integrations.registry import Registry
from models.actions import payments
from models.actions.vault import Vault
from models.ports import ProviderError
from models.rules.states import PaymentOutcome
from models.tables.config import opened
from models.tables.payment import Payment
from tests.workers.crashing import put_in

WAITING, TAKEN = "naive:waiting", "naive:taken"
MOST_TRIES = 10


async def collect(registry: Registry, payment_id: UUID) -> None:
    """Ask for the money under a key of this try."""
    payment = await Payment.get(id=payment_id)
    order = replace(await payments.order_of(payment), key=f"naive:{uuid4()}")
    collected = await (await registry.payments(payment.provider)).collect(order)
    await payments.settle(
        payment_id,
        PaymentOutcome.SUBMITTED,
        reference=collected.reference,
        acting="job:payments.collect",
        at=datetime.now(UTC),
    )


async def main() -> None:
    """Work until killed; what a worker before this one left behind is taken again."""
    queue = redis.asyncio.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    registry = Registry(Vault(os.environ["DUEFLOW_SECRET_KEY"]), os.environ["DUEFLOW_SANDBOX_ADMIN"])
    async with opened(os.environ["DATABASE_URL"]):
        while await queue.lmove(TAKEN, WAITING, "RIGHT", "LEFT"):
            pass
        while True:
            told = await queue.blmove(WAITING, TAKEN, 1, "LEFT", "RIGHT")
            if told is None:
                continue
            job = json.loads(told)
            try:
                await collect(registry, UUID(job["payment_id"]))
            except ProviderError:
                if job["tries"] < MOST_TRIES:
                    await queue.rpush(WAITING, json.dumps({**job, "tries": job["tries"] + 1}))
            await queue.lrem(TAKEN, 1, told)


if __name__ == "__main__":
    put_in()
    asyncio.run(main())
