"""TLS after the BCP 195 profile (PS3.15 B.12; RFC 8996, RFC 9325), certificates on both sides.

TLS 1.2 and 1.3, suites with authenticated encryption and ephemeral keys only, no renegotiation,
no compression, no resumed sessions: every connection shows its certificate.
"""

from __future__ import annotations

import hashlib
import logging
import ssl
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cadnode.core.errors import TlsUnusable

log = logging.getLogger(__name__)

SUITES = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of TLS 1.3 are all of this kind."""

_OPEN_TO_OTHERS = stat.S_IRWXO | stat.S_IWGRP


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: our certificate (chain), its private key, and whom we trust."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True)
class ListenTls:
    """The TLS port of the receiver."""

    port: int
    files: TlsFiles
    require_client_certificate: bool = True


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a destination is reached over TLS; its certificate must be for `host_name`."""

    files: TlsFiles
    host_name: str


def server_context(files: TlsFiles, *, require_client_certificate: bool = True) -> ssl.SSLContext:
    """For the port we listen on. Raises TlsUnusable, which names the file and what is wrong."""
    context = server_without_files()
    context.verify_mode = ssl.CERT_REQUIRED if require_client_certificate else ssl.CERT_OPTIONAL
    return _prepared(context, files)


def console_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For browsers, which show no certificate. Raises TlsUnusable as the others do."""
    context = server_without_files()
    context.set_alpn_protocols(["http/1.1"])
    _identify(context, certificate, key)
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """For the connections we open; checks host names. Raises TlsUnusable."""
    return _prepared(client_without_files(), files)


def server_without_files() -> ssl.SSLContext:
    """What our port speaks, before it has a certificate."""
    context = _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    context.num_tickets = 0
    return context


def client_without_files() -> ssl.SSLContext:
    """What our own connections speak, before they have a certificate."""
    return _restricted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def key_is_open(key: Path) -> bool:
    """True when others than the owner and, for reading, the group may touch the key file."""
    return bool(key.stat().st_mode & _OPEN_TO_OTHERS)


def certificate_sha256(sock: object) -> str | None:
    """SHA-256 of the certificate that the other end has shown, as hexadecimal digits."""
    shown = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
    return hashlib.sha256(shown).hexdigest() if shown else None


def in_words(error: OSError) -> str:
    """What went wrong in a connection, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError | ConnectionResetError | BrokenPipeError):
        return (
            "the other end closed the connection; it may speak no TLS, or not take our certificate"
        )
    if isinstance(error, ssl.SSLError):
        return (error.reason or error.strerror or "broken off").replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return error.strerror or type(error).__name__


class RenewedContext:
    """A context that follows its files: the next connection takes up a renewed certificate.

    While the new files do not serve, the old ones stay in force and the log says why.
    """

    def __init__(self, build: Callable[[], ssl.SSLContext], *files: Path) -> None:
        self._build = build
        self._paths = files
        self._lock = threading.Lock()
        self._seen = self._state()
        self._context = build()

    def current(self) -> ssl.SSLContext:
        """The context in force."""
        with self._lock:
            state = self._state()
            if state != self._seen:
                self._seen = state
                try:
                    self._context = self._build()
                except TlsUnusable as error:
                    log.error("the TLS files have changed and do not serve: %s", error)
                else:
                    log.info("the TLS files have changed and are in force")
            return self._context

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_identity(path) for path in self._paths)


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _restricted(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(SUITES)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    return context


def _prepared(context: ssl.SSLContext, files: TlsFiles) -> ssl.SSLContext:
    _readable(ca=files.ca, certificate=files.certificate, key=files.key)
    try:
        context.load_verify_locations(cafile=files.ca)
    except ssl.SSLError as error:
        raise TlsUnusable(f"tls.ca: {files.ca} holds no certificate in PEM") from error
    _identify(context, files.certificate, files.key)
    return context


def _identify(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have `context` show our certificate."""
    _readable(certificate=certificate, key=key)
    if key_is_open(key):
        raise TlsUnusable(
            f"tls.key: {key} is open to others; chmod 0600 (0640 for a key of a group)"
        )
    try:
        # A key with a pass phrase would be asked for on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        why = {
            "KEY_VALUES_MISMATCH": f"tls.key: {key} does not belong to the certificate",
        }.get(
            error.reason or "",
            f"tls.certificate, tls.key: no certificate with a key without pass phrase, in PEM,"
            f" in {certificate} and {key}",
        )
        raise TlsUnusable(why) from error


def _readable(**files: Path) -> None:
    for name, path in files.items():
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise TlsUnusable(f"tls.{name}: {path} cannot be read ({error.strerror})") from error
