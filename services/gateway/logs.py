"""Structured log lines through the standard library's logging, so that the process that embeds the gateway decides.

Request, user, thread and run ids are bound with `structlog.contextvars`, which follow tasks and worker threads on both
backends. Nothing here ever logs a message's content or a token.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, cast, final

import structlog


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines are JSON objects with the bound ids."""
    logger: Any = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            # JSON escapes line ends, so no value can forge a second log line.
            structlog.processors.JSONRenderer(),
        ],
    )
    return cast("structlog.stdlib.BoundLogger", logger)


@final
class _JSONLines(logging.Formatter):
    """Lines of the gateway are JSON already; those of libraries become it, so that none can be taken for two."""

    def format(self, record: logging.LogRecord) -> str:
        if record.name.partition(".")[0] == "gateway":
            return record.getMessage()
        fields = {
            "event": record.getMessage(),
            "logger": record.name,
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_to_stderr(level: str) -> None:
    """Send the lines of the gateway and its HTTP servers to stderr. For the command, not for libraries."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONLines())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("gateway").setLevel(level.upper())
