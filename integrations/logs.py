"""The log of every process: a JSON object per line, or words for a person; no local variables, no rows."""

import logging
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
    for name in ("uvicorn.access", "uvicorn.error"):
        logging.getLogger(name).addFilter(without_query)


def without_query(record: logging.LogRecord) -> bool:
    """Leave out of the addresses a server was asked at what stands behind their `?`: documents, signatures, people."""
    if isinstance(record.args, tuple):
        record.args = tuple(each.partition("?")[0] if isinstance(each, str) else each for each in record.args)
    return True


def without_rows(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out of a traceback what PostgreSQL quotes of the row it refused: it may be personal or secret."""
    if "exception" in event:
        lines = event["exception"].splitlines()
        event["exception"] = "\n".join(line for line in lines if not line.startswith("DETAIL:"))
    return event
