"""The console's application on a port."""

from __future__ import annotations

import socket
import ssl
import threading
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from cadnode.core.errors import PortTaken

STOP_SECONDS = 3
"""Answers begun are finished within this time after `stop`."""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """Where the console listens; port 0 takes any free one."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None


class WebServer:
    """Answers on its port from `start` until `stop`."""

    def __init__(self, app: FastAPI, settings: WebSettings) -> None:
        self._settings = settings
        tls = settings.tls
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                # It would hold what was searched for.
                access_log=False,
                server_header=False,
                proxy_headers=False,
                ssl_context_factory=None if tls is None else lambda _config, _default: tls,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._thread: threading.Thread | None = None
        self.port = settings.port

    def start(self) -> None:
        """Listen. Raises PortTaken when the address cannot be had."""
        family, _, _, _, address = _address(self._settings)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            # Whoever comes before the server is ready waits instead of being refused.
            listener.listen()
        except OSError as error:
            listener.close()
            raise PortTaken(
                f"web.host, web.port: cannot listen on {self._settings.host}:"
                f"{self._settings.port} ({error.strerror})"
            ) from error
        self.port = listener.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="web", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Finish what has begun and close the port."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_SECONDS + 2)


def _address(settings: WebSettings) -> tuple[int, int, int, str, tuple[object, ...]]:
    try:
        return socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise PortTaken(f"web.host: {settings.host} is no address of this machine") from error
