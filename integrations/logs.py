"""The log of every process: a JSON object per line, or words for a person; no local variables, no rows."""

from collections.abc import MutableMapping
from typing import Any

import structlog


def log_as_json(*, pretty: bool) -> None:
    """Set up the log: a JSON object per line, or words for a person; no local variables, no rows."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_rows,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        cache_logger_on_first_use=True,
    )


def without_rows(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out of a traceback what PostgreSQL quotes of the row it refused: it may be personal or secret."""
    if "exception" in event:
        lines = event["exception"].splitlines()
        event["exception"] = "\n".join(line for line in lines if not line.startswith("DETAIL:"))
    return event
