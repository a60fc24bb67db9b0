"""How Tortoise finds the tables, for the app, the workers and the migrations command line."""

import os
from typing import Any

MODULES = [
    f"models.tables.{name}"
    for name in (
        "audit",
        "booking",
        "centre",
        "course",
        "idempotency",
        "inbox",
        "invoice",
        "job",
        "membership",
        "notification",
        "payment",
        "pricing",
        "setting",
        "user",
    )
]


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


TORTOISE = tortoise_config(os.environ.get("DATABASE_URL", "postgres://localhost/dueflow"))
