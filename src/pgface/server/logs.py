"""The log of the service: a line of JSON for each request, with its id and without personal data.

A line contains the operation but not the path, the headers, the query or the body.
"""

from __future__ import annotations

import logging
import traceback
from contextvars import ContextVar
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from pgface.errors import PgfaceError

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

log: Final = logging.getLogger("pgface.server")


class _RequestFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Add the request's id, and remove the text of an exception, which may contain a client's data."""
        record.request_id = request_id.get()
        record.__dict__.pop("color_message", None)  # added by uvicorn for terminals
        if record.exc_info and record.exc_info[1] is not None:
            record.failure = describe(record.exc_info[1])
            record.exc_info = None
        return True


def configuration() -> dict[str, Any]:
    """Make a configuration for `logging.config.dictConfig`: JSON lines on stderr, including uvicorn's messages."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request": {"()": _RequestFilter}},
        "formatters": {
            "json": {
                "()": JsonFormatter,
                "fmt": "{asctime}{levelname}{name}{message}{request_id}",
                "style": "{",
                "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
            }
        },
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "stream": "ext://sys.stderr",
                "formatter": "json",
                "filters": ["request"],
            }
        },
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "pgface": {"level": "INFO"},
            "uvicorn": {"level": "INFO"},
        },
    }


def log_failure(error: BaseException) -> None:
    """Log a failure of the service."""
    log.error(str(error) if isinstance(error, PgfaceError) else "failed", extra={"failure": describe(error)})


def describe(error: BaseException) -> str:
    """Return the classes and places of an exception and its causes, without texts, which may contain personal data."""
    parts = []
    current: BaseException | None = error
    while current is not None:
        frames = traceback.extract_tb(current.__traceback__)
        places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
        parts.append(f"{type(current).__name__}: {places}")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return " | ".join(parts)
