"""How Tortoise finds the tables, for the app, the workers and the migrations command line."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tortoise import Tortoise
from tortoise.backends.base.config_generator import expand_db_url

MODULES = [
    f"models.tables.{name}"
    for name in (
        "audit",
        "booking",
        "centre",
        "course",
        "coursepro",
        "idempotency",
        "inbox",
        "invoice",
        "job",
        "ledger",
        "membership",
        "notification",
        "package",
        "partner",
        "payment",
        "pricing",
        "setting",
        "user",
    )
]


CONNECTIONS = 10  # of one process, unless DATABASE_URL says `maxsize`


def tortoise_config(database_url: str) -> dict[str, Any]:
    """DATABASE_URL (postgres://...) -> the configuration `Tortoise.init` takes."""
    url = database_url.replace("postgres://", "asyncpg://", 1).replace("postgresql://", "asyncpg://", 1)
    return {
        "connections": {"default": url},
        "apps": {
            "models": {"models": MODULES, "default_connection": "default", "migrations": "models.migrations"},
        },
        "use_tz": True,
        "timezone": "UTC",
    }


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[None]:
    """The tables, open in every task of this process: requests run in tasks that know nothing of who opened them."""
    config = tortoise_config(database_url)
    connection = config["connections"]["default"] = expand_db_url(config["connections"]["default"])
    connection["engine"] = "models.tables.client"
    connection["credentials"].setdefault("maxsize", CONNECTIONS)
    await Tortoise.init(config=config, _enable_global_fallback=True)
    try:
        yield
    finally:
        await Tortoise.close_connections()


TORTOISE = tortoise_config(os.environ.get("DATABASE_URL", "postgres://localhost/dueflow"))
