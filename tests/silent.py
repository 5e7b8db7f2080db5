"""A server that accepts everybody and never says a word: what a hanging one looks like."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Silent:
    """It listens on `port`."""

    port: int
    called: threading.Event = field(default_factory=threading.Event)
    """Somebody has come."""


@contextlib.contextmanager
def silent() -> Iterator[Silent]:
    """A server that hangs, until the context ends."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=200)
    server = Silent(listener.getsockname()[1])
    open_ones: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                open_ones.append(listener.accept()[0])
                server.called.set()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for one in open_ones:
            one.close()
