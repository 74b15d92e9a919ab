"""The service's log: a line of JSON for every request, with its id and without personal data.

A request is named by its operation and not by its path, and nothing of headers, queries and bodies is written down.
"""

from __future__ import annotations

import logging
import traceback
from contextvars import ContextVar
from typing import Any, Final

from pythonjsonlogger.json import JsonFormatter

from pgface.errors import PgfaceError

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)

_log: Final = logging.getLogger("pgface.server")


class _OfRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Add the request's id; keep out an exception's text, which may repeat what was sent."""
        record.request_id = request_id.get()
        record.__dict__.pop("color_message", None)  # uvicorn's, for terminals
        if record.exc_info and record.exc_info[1] is not None:
            record.failure = describe(record.exc_info[1])
            record.exc_info = None
        return True


def configuration(level: str = "INFO") -> dict[str, Any]:
    """For `logging.config.dictConfig`: one stream of JSON lines on stderr, also of uvicorn's own messages."""
    fields = "{asctime}{levelname}{name}{message}{request_id}"
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request": {"()": _OfRequest}},
        "formatters": {
            "json": {
                "()": JsonFormatter,
                "fmt": fields,
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
            "pgface": {"level": level},
            "uvicorn": {"level": level, "propagate": True},
            "uvicorn.error": {"level": level, "propagate": True},
        },
    }


def log_request(method: str, operation: str, status: int, seconds: float, caller: str | None) -> None:
    """A line for a request that was answered."""
    fields = {
        "method": method,
        "operation": operation,
        "status": status,
        "seconds": round(seconds, 4),
        "caller": caller,
    }
    _log.info("request", extra=fields)


def log_failure(error: BaseException) -> None:
    """A line for what went wrong here."""
    _log.error(str(error) if isinstance(error, PgfaceError) else "failed", extra={"failure": describe(error)})


def describe(error: BaseException) -> str:
    """The classes and the places of an exception and its causes; not their texts, which may repeat what was sent."""
    parts = []
    at: BaseException | None = error
    while at is not None:
        frames = traceback.extract_tb(at.__traceback__)
        places = " < ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in reversed(frames))
        parts.append(f"{type(at).__name__}: {places}")
        at = at.__cause__ or (None if at.__suppress_context__ else at.__context__)
    return " | ".join(parts)
