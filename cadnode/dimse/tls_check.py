"""Does our certificate serve? Tried out in memory, with both ends of a connection ours."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cadnode.core.errors import TlsUnusable
from cadnode.core.peers import TlsFacts
from cadnode.dimse.destination import Destination
from cadnode.dimse.tls import TlsFiles, client_context, server_context

CONNECT_SECONDS = 10.0

FLIGHTS = 3
"""Times that each end has something to say: hello, certificates, done."""


@dataclass(frozen=True, slots=True)
class OwnCertificate:
    """What a peer learns from our certificate once it has verified it."""

    names: tuple[str, ...]
    """Host names and addresses that it is for."""
    expires: datetime


def own_certificate(files: TlsFiles) -> OwnCertificate:
    """Shake hands with ourselves, our certificate on both ends.

    Raises TlsUnusable when a file does not serve, the certificate has expired, its chain does not
    end at our CA, or it is not for servers and clients alike.
    """
    asking = client_context(files)
    asking.check_hostname = False
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(to_client, to_server)
    server = server_context(files).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(FLIGHTS):
        _shake_hands(client, "as a server")
        _shake_hands(server, "as a client")
    shown = client.getpeercert()
    if not shown:
        raise TlsUnusable("tls.certificate: the trial connection did not come about")
    names: Any = shown.get("subjectAltName", ())
    return OwnCertificate(
        names=tuple(str(name) for _kind, name in names), expires=_not_after(shown)
    )


def shown_by(destination: Destination) -> datetime | None:
    """When the certificate of a destination expires; None where it cannot be seen.

    A connection of its own, which asks for no association.
    """
    agreed = agreed_with(destination, CONNECT_SECONDS)
    return None if agreed is None else agreed.expires_at


def agreed_with(destination: Destination, seconds: float) -> TlsFacts | None:
    """What a connection to the destination agrees on; None for a plain one and without an answer.

    A connection of its own, which asks for no association; each step takes `seconds` at most.
    """
    tls = destination.tls
    if tls is None:
        return None
    address = (destination.host, destination.port)
    try:
        with (
            socket.create_connection(address, timeout=seconds) as plain,
            client_context(tls.files).wrap_socket(plain, server_hostname=tls.host_name) as shown,
        ):
            certificate: Mapping[str, Any] = shown.getpeercert() or {}
            cipher = shown.cipher()
            names = certificate.get("subjectAltName", ())
            return TlsFacts(
                version=shown.version() or "",
                cipher=cipher[0] if cipher else "",
                names=tuple(str(name) for _kind, name in names),
                expires_at=_not_after(certificate) if certificate else None,
            )
    except (OSError, TlsUnusable):
        return None


def _not_after(certificate: Mapping[str, Any]) -> datetime:
    seconds = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return datetime.fromtimestamp(seconds, UTC)


def _shake_hands(end: ssl.SSLObject, role: str) -> None:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return
    except ssl.SSLCertVerificationError as error:
        raise TlsUnusable(
            f"tls.certificate: not accepted {role}: {error.verify_message}"
        ) from error
    except ssl.SSLError as error:
        raise TlsUnusable(f"tls.certificate: not accepted {role}: {error.reason}") from error
