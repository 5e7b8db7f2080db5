"""Structured events on standard error, without patient data.

An event is a short sentence plus fields (UIDs, job numbers, counts, codes). Names, birth dates
and patient identifiers never go in: `_no_patient_data` stops a field that is called so, and of
an exception that a library logs only its kind and place are kept.
"""

from __future__ import annotations

import functools
import logging
import os
import sys
import threading
import warnings
from collections.abc import MutableMapping
from enum import Enum
from typing import Any, TextIO

import structlog

from cadnode.core.errors import unexpected

_FORBIDDEN = ("patient", "birth")


def configure(level: str, style: str) -> None:
    """Send structlog and the standard library's records to standard error.

    `style` is `console` or `json`. Libraries below warning level are kept quiet: their messages
    are neither structured nor known to be free of patient data.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _no_patient_data,
        _no_traceback,
        _values,
    ]
    if style == "json":
        renderers: list[Any] = [structlog.processors.JSONRenderer()]
    else:
        renderers = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(_own_stderr())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("cadnode").setLevel(level.upper())
    # pynetdicom and pydicom quote peers' strings and attribute values, a birth date as well.
    for library in ("pynetdicom", "pydicom"):
        logging.getLogger(library).setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore")
    threading.excepthook = _thread_broke


def _thread_broke(args: threading.ExceptHookArgs) -> None:
    """A library's thread ended by an exception; its message may hold anything."""
    if isinstance(args.exc_value, Exception):
        logging.getLogger("cadnode").error("a thread broke: %s", unexpected(args.exc_value))


@functools.cache
def _own_stderr() -> TextIO:
    """A second way to standard error, which stays open while TensorFlow's start is silenced."""
    try:
        return os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1, encoding="utf-8")
    except (OSError, ValueError):
        # Standard error is no file, as under a test that captures it.
        return sys.stderr


def _no_patient_data(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    for field in event:
        if any(word in field.lower() for word in _FORBIDDEN):
            event[field] = "(withheld)"
    return event


def _values(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Members of an enumeration as their values: a console shows `<Kind.NAME: '...'>` otherwise."""
    for field, value in event.items():
        if isinstance(value, Enum):
            event[field] = value.value
    return event


def _no_traceback(
    _logger: Any, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """A traceback shows messages, and on a console local variables: names may be among them."""
    found = event.pop("exc_info", None)
    error = sys.exception() if found is True else found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["error"] = unexpected(error)
    return event
