"""What every test leaves as it found it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command under test sets up logging for its process; here the process goes on."""
    root, ours = logging.getLogger(), logging.getLogger("cadnode")
    libraries = [logging.getLogger(name) for name in ("pynetdicom", "pydicom")]
    levels = [logger.level for logger in (root, ours, *libraries)]
    handlers, hook = root.handlers[:], threading.excepthook
    yield
    for logger, level in zip((root, ours, *libraries), levels, strict=True):
        logger.setLevel(level)
    root.handlers[:], threading.excepthook = handlers, hook
