"""Syslog messages (RFC 5424) by UDP (RFC 5426) and by TLS (RFC 5425), as PS3.15 A.6 and A.7 ask."""

from __future__ import annotations

import select
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, cast

from cadnode.core.errors import ConfigError

FACILITY_AUTHPRIV = 10
NOTICE, WARNING = 5, 4
MESSAGE_ID = "DICOM+RFC3881"
TLS_PORT, UDP_PORT = 6514, 514

CONNECT_SECONDS = 5.0
SEND_SECONDS = 10.0

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Header:
    """What does not change from message to message."""

    host: str
    application: str
    process_id: int


def syslog_message(header: Header, message: bytes, *, at: datetime, warning: bool) -> bytes:
    """One syslog message around an XML message in UTF-8."""
    priority = FACILITY_AUTHPRIV * 8 + (WARNING if warning else NOTICE)
    when = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head = (
        f"<{priority}>1 {when} {_token(header.host, 255)} {_token(header.application, 48)} "
        f"{header.process_id} {MESSAGE_ID} - "
    )
    return head.encode("ascii") + _BYTE_ORDER_MARK + message


def _token(text: str, longest: int) -> str:
    printable = "".join(c if "!" <= c <= "~" else "_" for c in text)
    return printable[:longest] or "-"


class Transport(Protocol):
    """The way to an audit repository. Its methods raise OSError when that does not answer."""

    def connect(self) -> None:
        """Make sure of the way, as far as that can be done without a message."""
        ...

    def send(self, message: bytes) -> None:
        """Hand one syslog message over; connects first where it has to."""
        ...

    def close(self) -> None: ...


class UdpTransport:
    """One datagram a message. What gets lost on the way is lost."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._socket: socket.socket | None = None

    def connect(self) -> None:
        """Look the host up; whether something listens there nobody can say."""
        if self._socket is None:
            family, kind, protocol, _, address = socket.getaddrinfo(
                self._host, self._port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, kind, protocol)
            # Connected, so that the answer "nothing listens there" is heard.
            self._socket.connect(address)

    def send(self, message: bytes) -> None:
        """Send one datagram; OSError when the host told us that nothing listens there."""
        self.connect()
        try:
            cast("socket.socket", self._socket).send(message)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Forget the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def open_transport(
    kind: str,
    host: str,
    port: int,
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
) -> Transport:
    """The way to an audit repository by "tls" or "udp"; port 0 is the registered one.

    Nothing is sent yet. Raises ConfigError when a certificate cannot be used.
    """
    if kind == "udp":
        return UdpTransport(host, port or UDP_PORT)
    try:
        return TlsTransport(host, port or TLS_PORT, ca=ca, certificate=certificate, key=key)
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ConfigError(f"audit: a certificate or key cannot be used: {why}") from error


class TlsTransport:
    """One connection with octet counting (RFC 5425 4.3); TLS 1.2 or newer, AEAD only (BCP 195)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        """Raises OSError (ssl.SSLError too) when a file cannot be read or is no PEM."""
        self._host, self._port = host, port
        self._context = ssl.create_default_context(cafile=str(ca) if ca else None)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        if certificate is not None:
            self._context.load_cert_chain(certificate, key)
        self._socket: ssl.SSLSocket | None = None

    def connect(self) -> None:
        """Open the connection if there is none, or none any more."""
        if self._socket is not None and _has_ended(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connected()

    def send(self, message: bytes) -> None:
        """Send one frame."""
        self.connect()
        frame = str(len(message)).encode() + b" " + message
        try:
            cast("ssl.SSLSocket", self._socket).sendall(frame)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> ssl.SSLSocket:
        plain = socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        try:
            connection = self._context.wrap_socket(plain, server_hostname=self._host)
        except OSError:
            plain.close()
            raise
        connection.settimeout(SEND_SECONDS)
        return connection


def _has_ended(connection: ssl.SSLSocket) -> bool:
    """True when the repository has hung up: syslog has no acknowledgement, and a write after that
    would seem to succeed."""
    connection.settimeout(0)
    try:
        while select.select([connection], [], [], 0)[0]:
            # TLS 1.3 session tickets come here too; only an end of the stream returns nothing.
            if not connection.recv(4096):
                return True
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(SEND_SECONDS)
    return False
