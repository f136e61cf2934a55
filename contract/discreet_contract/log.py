"""Structured logs on standard error. Nothing that comes before `summarise` is ever handed to a logger (P1)."""

from __future__ import annotations

import sys

import structlog


def configure_logging(*, json: bool) -> None:
    """One JSON object a line for services, aligned text for people at a terminal."""
    renderer = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
