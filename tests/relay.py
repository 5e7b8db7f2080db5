"""A port in front of a server that can be cut like a cable."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Relay:
    """Passes bytes on between clients of its `port` and the server behind it."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._cut_after: int | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._listen()

    def cut(self) -> None:
        """From now on nobody answers on `port`, and what is open ends."""
        with self._lock:
            ending = [self._listener, *self._open]
            self._open.clear()
        for one in ending:
            _end(one)
        self._thread.join()

    def mend(self) -> None:
        """Answer again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listen()

    def cut_after(self, size: int) -> None:
        """End every connection when its client has sent so many bytes."""
        self._cut_after = size

    @contextmanager
    def down(self) -> Iterator[None]:
        """Cut in between."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def _listen(self) -> None:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        listener = self._listener
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                client.close()
                continue
            with self._lock:
                self._open |= {client, server}
            for source, target, most in (
                (client, server, self._cut_after),
                (server, client, None),
            ):
                threading.Thread(
                    target=self._pass_on, args=(source, target, most), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, most: int | None) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
                passed += len(data)
                if most is not None and passed >= most:
                    break
        for one in (source, target):
            _end(one)
        with self._lock:
            self._open -= {source, target}


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
