"""What every test leaves as it found it."""

from __future__ import annotations

import contextlib
import importlib
import logging
import socket
import threading
from collections.abc import Iterator

import pytest
from pynetdicom.transport import AssociationSocket

from tests.postgres import database, postgres, postgres_database, postgres_url
from tests.swift import object_store

__all__ = ["database", "object_store", "postgres", "postgres_database", "postgres_url"]

# Tests load TensorFlow in any order; see inference/keras_model.py.
with contextlib.suppress(ImportError):
    importlib.import_module("psycopg")


def _shut_down_and_close(self: AssociationSocket) -> None:
    if self.socket is not None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


# The peers that tests build of pynetdicom itself leave a socket open, a warning and so a failed
# test, when the other end has gone first. The node's own sockets are mended in dimse/transport.py.
AssociationSocket._shutdown_socket = _shut_down_and_close  # type: ignore[method-assign]


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
