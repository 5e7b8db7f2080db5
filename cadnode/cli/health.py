"""`cadnode health`: does this node answer?"""

from __future__ import annotations

import http.client
import socket
import ssl

import typer

from cadnode.cli.output import ConfigOption, app_for, problem
from cadnode.config import Settings

_SECONDS = 5.0
_EVERY_ADDRESS = frozenset({"0.0.0.0", "::"})  # noqa: S104  what is looked for, not listened on


def add_to(cli: typer.Typer) -> None:
    """Add `health` to the command."""
    cli.command()(health)


def health(config: ConfigOption = None) -> None:
    """Exit 0 when the node on this machine answers: its console, and its port where it is plain.

    For the health check of a container. What waits and what is wrong: `cadnode status`.
    """
    settings = app_for(config).settings
    troubles = [*_console(settings), *_receiver(settings)]
    for trouble in troubles:
        problem(trouble)
    if troubles:
        raise typer.Exit(1)


def _console(settings: Settings) -> list[str]:
    table = settings.web
    if not table.enabled:
        return []
    host = "127.0.0.1" if table.host in _EVERY_ADDRESS else table.host
    connection: http.client.HTTPConnection
    if table.tls:
        # The certificate is for the name that others use, not for this address.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(
            host, table.port, timeout=_SECONDS, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, table.port, timeout=_SECONDS)
    try:
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
    except OSError as error:
        return [f"the console does not answer at {host}:{table.port} ({error})"]
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        return [f"the console answers {answer.status} at /healthz"]
    return []


def _receiver(settings: Settings) -> list[str]:
    # Nothing is asked there: this node is no sender that it knows. A connection to the encrypted
    # port alone would be reported as an attempt without TLS.
    node = settings.node
    if not node.plain:
        return []
    host = "127.0.0.1" if node.host in _EVERY_ADDRESS else node.host
    try:
        socket.create_connection((host, node.port), _SECONDS).close()
    except OSError as error:
        return [f"the receiver does not answer at {host}:{node.port} ({error})"]
    return []
